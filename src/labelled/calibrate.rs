//! `deepsweep calibrate`: labels and what a scorer says of stored embeddings → the same scorer with a calibration.
//!
//! Platt's sigmoid or isotonic regression, whichever has the lower log loss on groups that it was not fitted to. How well
//! the curve can be taken at its word is measured on those groups too.

use std::path::PathBuf;

use serde::Serialize;

use super::args::{CalibrateArgs, CurveChoice};
use super::crops::{Crops, collect, levels};
use super::figures::{Level, table};
use super::fit::Around;
use super::known::{Counts, Known};
use crate::error::Error;
use crate::networks::weights::hexadecimal;
use crate::rescore::serve::check;
use crate::results::source::Source;
use crate::scorers::calibration::{Bin, Calibration, Curve, Measured, Threshold};
use crate::scorers::derive::Derived;
use crate::scorers::precision;
use crate::statistics::bootstrap::{Bootstrap, interval};
use crate::statistics::folds::folds;
use crate::statistics::isotonic::Isotonic;
use crate::statistics::platt::Platt;
use crate::statistics::ranking::{Counts as Draws, Ranking, Threshold as RankedThreshold};
use crate::statistics::reliability::{DEFAULT_BINS, bins, expected_calibration_error, log_loss};

/// Each with both classes and groups of its own: as many as small sets of labels bear.
const FOLDS: usize = 5;

/// The threshold moves little from resample to resample.
const RESAMPLES: usize = 500;
const SEED: u64 = 1;

#[derive(Debug, Serialize)]
pub struct CalibrateReport {
    pub scorer: String,
    pub folder: PathBuf,
    /// What `--scorer` takes: the folder, in the precision whose embeddings it was made of.
    pub choice: String,
    pub labels: Counts,
    pub curve: &'static str,
    /// Held-out log loss of each curve that was tried.
    pub log_loss: Vec<(&'static str, f64)>,
    /// The same of the scores as they were.
    pub log_loss_before: f64,
    pub calibration: Calibration,
    pub levels: Vec<Level>,
}

/// # Errors
/// Labels or scores that no curve can be made of; a scorer whose scores fall where fakes are likelier.
pub async fn calibrate(
    args: &CalibrateArgs,
    sources: &[Source],
    around: &Around<'_>,
) -> Result<CalibrateReport, Error> {
    let usage = |what: String| Error::Usage(format!("calibration: {what}"));
    if !(args.wanted_fpr > 0.0 && args.wanted_fpr < 1.0) {
        return Err(Error::Usage(format!("wanted_fpr: expected a share between 0 and 1, found {}", args.wanted_fpr)));
    }
    if args.out.symlink_metadata().is_ok() {
        let shown = args.out.display().to_string();
        return Err(Error::Usage(format!("scorer folder {shown:?}: expected a new one, found one that exists")));
    }
    let known = Known::of(sources, &args.labelled, around.scratch).await?;
    let set = around.opening.open_for_stored(std::slice::from_ref(&args.scorer)).await?;
    check(sources, &set, &args.scorer.to_string()).await?;
    let of_batch = |pass: usize, pooled: &[f32]| {
        let scores = set.score_stored(&set.passes()[pass], pooled);
        scores.into_iter().map(|of_crop| Some(vec![f64::from(of_crop.first().copied()??.logit)])).collect()
    };
    let crops: Crops<f64> = collect(sources, &known, &set, around.scratch, of_batch).await?;
    if crops.is_empty() {
        return Err(usage("expected scores of labelled media, found none that is a number".to_owned()));
    }
    let (logits, fake, groups) = (&crops.values, crops.fake(&known), crops.groups(&known));
    super::split::check_classes(fake.iter().copied(), args.labelled.split.as_deref()).map_err(usage)?;
    let fold_of = folds(&groups, &fake, FOLDS).map_err(|e| usage(format!("{e}; label more media")))?;

    check_direction(logits, &fake).map_err(usage)?;
    let choices = match args.curve {
        Some(CurveChoice::Platt) => vec![fit_platt as FitCurve],
        Some(CurveChoice::Isotonic) => vec![fit_isotonic as FitCurve],
        None => vec![fit_platt as FitCurve, fit_isotonic],
    };
    let mut tried = vec![];
    for fit in choices {
        let held_out = held_out(fit, logits, &fake, &fold_of).map_err(usage)?;
        let loss = log_loss(&held_out, &fake).unwrap_or(f64::INFINITY);
        tried.push((loss, held_out, fit(logits, &fake).map_err(usage)?));
    }
    let log_loss_of: Vec<(&str, f64)> = tried.iter().map(|(loss, _, curve)| (name(curve), *loss)).collect();
    // Of equals the first: the sigmoid, which has two numbers.
    let best = tried.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
    let (loss, held_out, curve) = best.ok_or_else(|| usage("expected a curve, found none".to_owned()))?;
    let before: Vec<f64> = logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect();

    let calibration = Calibration {
        curve,
        threshold: Some(threshold(logits, &fake, &groups, args.wanted_fpr).map_err(usage)?),
        measured: Some(measured(&known, &held_out, &fake, loss)),
    };
    let scorer = write(args, &calibration, sources, &known, around).await?;
    Ok(CalibrateReport {
        scorer,
        folder: args.out.clone(),
        choice: precision::named(&args.out, precision::of(&args.scorer).1),
        curve: name(&calibration.curve),
        log_loss: log_loss_of,
        log_loss_before: log_loss(&before, &fake).unwrap_or(f64::NAN),
        levels: levels(&crops, &known, &held_out),
        labels: known.counts,
        calibration,
    })
}

type FitCurve = fn(&[f64], &[bool]) -> Result<Curve, String>;

fn fit_platt(logits: &[f64], fake: &[bool]) -> Result<Curve, String> {
    let Platt { slope, offset, .. } = Platt::fit(logits, fake).map_err(|e| e.to_string())?;
    Ok(Curve::Platt { slope, offset })
}

/// Of all rows; in a fold of few a curve may fall by chance.
fn check_direction(logits: &[f64], fake: &[bool]) -> Result<(), String> {
    let Platt { slope, .. } = Platt::fit(logits, fake).map_err(|e| e.to_string())?;
    if slope >= 0.0 {
        return Ok(());
    }
    Err(format!(
        "expected scores that rise where fakes are likelier, found that they fall (slope {slope:.3}): are the labels the \
         right way round?"
    ))
}

fn fit_isotonic(logits: &[f64], fake: &[bool]) -> Result<Curve, String> {
    let fitted = Isotonic::fit(logits, fake).map_err(|e| e.to_string())?;
    let mut knots: Vec<[f64; 2]> = fitted.knots().iter().map(|knot| [knot.logit, knot.probability]).collect();
    knots.dedup_by(|a, b| a[0] == b[0]); // −0 and 0
    Ok(Curve::Isotonic { knots })
}

fn name(curve: &Curve) -> &'static str {
    match curve {
        Curve::Platt { .. } => "platt",
        Curve::Isotonic { .. } => "isotonic",
    }
}

/// The probability of each row by a curve that was fitted without the row's fold.
fn held_out(fit: FitCurve, logits: &[f64], fake: &[bool], fold_of: &[usize]) -> Result<Vec<f64>, String> {
    let mut probabilities = vec![0.0; logits.len()];
    for fold in 0..FOLDS {
        let others = |at: &usize| fold_of[*at] != fold;
        let rows: Vec<usize> = (0..logits.len()).filter(others).collect();
        let of_rows: Vec<f64> = rows.iter().map(|at| logits[*at]).collect();
        let curve = fit(&of_rows, &rows.iter().map(|at| fake[*at]).collect::<Vec<_>>())?;
        for (at, probability) in probabilities.iter_mut().enumerate().filter(|(at, _)| fold_of[*at] == fold) {
            *probability = curve.at(logits[at]);
        }
    }
    Ok(probabilities)
}

fn threshold(logits: &[f64], fake: &[bool], groups: &[u32], wanted_fpr: f64) -> Result<Threshold, String> {
    let ranking = Ranking::new(logits, fake).ok_or("expected logits that are numbers, found others")?;
    let at = |draws: Draws| match ranking.threshold_at_fpr(draws, wanted_fpr)? {
        RankedThreshold::Score(logit) => Some(logit),
        RankedThreshold::AboveEveryScore => None,
    };
    let logit = at(Draws::Once).ok_or_else(|| {
        format!(
            "expected a threshold that at most {wanted_fpr} of the real ones reach, found that the highest logit is real; \
             take a larger --wanted-fpr, or more labels"
        )
    })?;
    let interval = interval(groups, Bootstrap { resamples: RESAMPLES, seed: SEED }, |draws| at(Draws::Of(draws)));
    Ok(Threshold { logit, wanted_fpr, logit_interval: interval.map(|interval| [interval.low, interval.high]) })
}

fn measured(known: &Known, held_out: &[f64], fake: &[bool], log_loss: f64) -> Measured {
    let bins = bins(held_out, fake, DEFAULT_BINS).unwrap_or_default().into_iter();
    let bins = bins.filter_map(|bin| {
        Some(Bin { count: bin.count as u64, mean_score: bin.mean_probability?, fake_share: bin.fake_share? })
    });
    Measured {
        media: known.counts.labelled_media as u64,
        things: fake.len() as u64,
        fakes: fake.iter().filter(|fake| **fake).count() as u64,
        log_loss,
        ece: expected_calibration_error(held_out, fake, DEFAULT_BINS).unwrap_or(f64::NAN),
        bins: bins.collect(),
    }
}

/// The same scorer under a version that names the calibration by its hash. Gives the new scorer's id.
async fn write(
    args: &CalibrateArgs,
    calibration: &Calibration,
    sources: &[Source],
    known: &Known,
    around: &Around<'_>,
) -> Result<String, Error> {
    use sha2::{Digest, Sha256};
    let mut derived = Derived::from(&args.scorer, around.opening.registry)?;
    let words =
        toml::Value::try_from(calibration).map_err(|e| Error::Usage(format!("calibration: cannot be written: {e}")))?;
    let hash = hexadecimal(&Sha256::digest(words.to_string()));
    let version = derived.text("version").split("-cal-").next().unwrap_or_default().to_owned();
    let version = format!("{version}-cal-{}", hash.get(..8).unwrap_or(&hash));
    let runs: Vec<&str> = sources.iter().map(|source| source.from.run_id.as_str()).collect();
    let source = format!(
        "{}; calibrated by deepsweep {} to {} labelled media of {}",
        derived.text("source"),
        env!("CARGO_PKG_VERSION"),
        known.counts.labelled_media,
        runs.join(", ")
    );
    derived.set("version", version);
    derived.set("source", source);
    derived.set("calibration", words);
    derived.write(&args.out)?;
    let opened = crate::scorers::read_folder(&args.out)?;
    Ok(precision::id(&opened.id(), precision::of(&args.scorer).1))
}

impl CalibrateReport {
    /// For a person.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { scorer, folder, choice, labels, curve, log_loss_before, calibration, levels, .. } = self;
        let tried: Vec<String> = self.log_loss.iter().map(|(name, loss)| format!("{name} {loss:.4}")).collect();
        let threshold = calibration.threshold.map_or("none".to_owned(), |threshold| {
            let range = threshold.logit_interval.map_or(String::new(), |[low, high]| format!(" [{low:.3}, {high:.3}]"));
            let score = calibration.curve.at(threshold.logit);
            format!(
                "logit {:.3}{range}, calibrated score {score:.3}: at most {} of the real ones reach it",
                threshold.logit, threshold.wanted_fpr
            )
        });
        let measured = calibration.measured.as_ref();
        let ece = measured.map_or(f64::NAN, |measured| measured.ece);
        format!(
            "scorer {scorer} in {}\n  use it     --scorer {choice}\n  media      {} labelled, {} of them fake, in {} groups\n  curve      {curve}\n  log loss   \
             {} held out, {log_loss_before:.4} before\n  ECE        {ece:.4} held out\n  threshold  {threshold}\n{}",
            folder.display(),
            labels.labelled_media,
            labels.fake_media,
            labels.groups,
            tried.join(", "),
            table(levels)
        )
    }
}
