//! `deepsweep fit`: stored embeddings and labels → a scorer with a head of one's own.
//!
//! How strongly the head is regularised is chosen by cross-validation over groups; what the report says was measured on
//! crops that the head which scored them had not seen.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::args::FitArgs;
use super::crops::{Crops, collect, levels};
use super::figures::{Level, table};
use super::known::{Counts, Known};
use crate::error::Error;
use crate::results::source::Source;
use crate::scorers::derive::Derived;
use crate::scorers::registry::Registry;
use crate::scorers::{EmbeddingRecipe, Opening, ScorerChoice, ScorerSet, Tap, precision};
use crate::statistics::folds::folds;
use crate::statistics::logistic::{Examples, Logistic, Options, Weights};
use crate::statistics::reliability::log_loss;

/// From strong to hardly any: embeddings of unit length take weights of a hundred to be told apart.
const GRID: [f64; 10] = [1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];

/// Crops that the cross-validation over the grid looks at: more do not change the choice, and it fits fifty heads.
const GRID_CROPS: usize = 100_000;

#[derive(Debug, Serialize)]
pub struct FitReport {
    pub scorer: String,
    pub folder: PathBuf,
    /// What `--scorer` takes: the folder, in the precision whose embeddings it was made of.
    pub choice: String,
    pub labels: Counts,
    pub crops: usize,
    pub width: usize,
    pub c: f64,
    /// Held-out log loss at each C that was tried.
    pub grid: Vec<GridPoint>,
    pub folds: usize,
    pub levels: Vec<Level>,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct GridPoint {
    pub c: f64,
    pub log_loss: f64,
}

/// What fitting depends on beside the flags.
pub struct Around<'a> {
    pub opening: Opening<'a>,
    pub scratch: &'a Path,
}

/// # Errors
/// Labels or embeddings that no head can be made of; a folder that is there already.
pub async fn fit(args: &FitArgs, sources: &[Source], around: &Around<'_>) -> Result<FitReport, Error> {
    if args.out.symlink_metadata().is_ok() {
        let shown = args.out.display().to_string();
        return Err(Error::Usage(format!("scorer folder {shown:?}: expected a new one, found one that exists")));
    }
    let name = check_words(args)?;
    let base = base(args, sources, around.opening.registry)?;
    let known = Known::of(sources, &args.labelled, around.scratch).await?;
    let set = around.opening.open_for_stored(std::slice::from_ref(&base)).await?;
    crate::rescore::serve::check(sources, &set, &base.to_string()).await?;
    let crops = vectors(args, sources, &known, &set, around.scratch).await?;
    let fake = crops.fake(&known);
    super::split::check_classes(fake.iter().copied(), args.labelled.split.as_deref())
        .map_err(|what| Error::Usage(format!("crops of labelled media: {what}")))?;
    let data = Data { width: crops.values.len() / crops.len().max(1), x: &crops.values, fake: &fake };
    let fold_of = folds(&crops.groups(&known), &fake, args.folds.into())
        .map_err(|e| Error::Usage(format!("{e}; label more media, or take fewer --folds")))?;
    let balanced = !args.unbalanced;

    let (c, grid) = match args.c {
        Some(c) => (c, vec![]),
        None => choose_c(&data, &fold_of, args.folds.into(), balanced)?,
    };
    let held_out = held_out(&data, &fold_of, args.folds.into(), balanced, &[c])?;
    let levels = levels(&crops, &known, &held_out[0]);
    let weights = if balanced { Weights::Balanced } else { Weights::Equal };
    let head = fit_one(&data, weights, c, None)?;
    let folder = write(args, &name, &base, &head, sources, &known, around).await?;
    Ok(FitReport {
        scorer: folder,
        folder: args.out.clone(),
        choice: precision::named(&args.out, precision::of(&base).1),
        crops: crops.len(),
        width: data.width,
        labels: known.counts,
        c,
        grid,
        folds: args.folds.into(),
        levels,
    })
}

/// What would be refused when the scorer is written is refused before any work. Gives the name.
fn check_words(args: &FitArgs) -> Result<String, Error> {
    let of_folder = || args.out.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = args.name.clone().unwrap_or_else(of_folder);
    for (flag, word) in [("--name", &name), ("--version", &args.version)] {
        if !crate::scorers::file::is_name(word) {
            return Err(Error::Usage(format!(
                "{flag}: expected letters, digits, '-', '_' and '.', found {word:?}; without --name the folder's name is taken"
            )));
        }
    }
    match args.c {
        Some(c) if !(c.is_finite() && c > 0.0) => {
            Err(Error::Usage(format!("--c: expected a positive number, found {c}")))
        }
        _ => Ok(name),
    }
}

/// The one that was named, or else the one that the runs were scored with, where it has a name.
fn base(args: &FitArgs, sources: &[Source], registry: &Registry) -> Result<ScorerChoice, Error> {
    if let Some(base) = &args.base {
        return Ok(base.clone());
    }
    let mut names: Vec<&str> = sources
        .iter()
        .flat_map(|source| &source.record.scorers)
        .map(|scorer| scorer.id.split('@').next().unwrap_or_default())
        .collect();
    names.sort_unstable();
    names.dedup();
    let one = match names[..] {
        [name] => name.parse().ok().filter(|choice| has_name(choice, registry)),
        _ => None,
    };
    one.ok_or_else(|| {
        Error::Usage(format!(
            "base: expected runs of one scorer that has a name, found {}; name the scorer whose tower and crops the \
             embeddings are of with --base",
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        ))
    })
}

/// Whether it is a scorer that can be had by its name alone.
fn has_name(choice: &ScorerChoice, registry: &Registry) -> bool {
    match precision::of(choice).0 {
        ScorerChoice::Named(name) => registry.entry(&name).is_some(),
        ScorerChoice::UntrainedDemo => true,
        ScorerChoice::None => false,
    }
}

/// What the head will see of each crop.
async fn vectors(
    args: &FitArgs,
    sources: &[Source],
    known: &Known,
    set: &ScorerSet,
    scratch: &Path,
) -> Result<Crops<f32>, Error> {
    let recipe = EmbeddingRecipe { tap: args.tap.into(), l2: !args.no_l2 };
    let of_batch = |pass: usize, pooled: &[f32]| set.tapped(&set.passes()[pass], pooled, recipe);
    let crops = collect(sources, known, set, scratch, of_batch).await?;
    if crops.is_empty() {
        return Err(Error::Usage("labelled media: expected embeddings of their faces, found none".to_owned()));
    }
    Ok(crops)
}

/// Rows of features with their classes.
struct Data<'a> {
    width: usize,
    x: &'a [f32],
    fake: &'a [bool],
}

fn fit_one(data: &Data, weights: Weights, c: f64, start: Option<&Logistic>) -> Result<Logistic, Error> {
    let examples = Examples { x: data.x, width: data.width, fake: data.fake, weights };
    let options = Options { inverse_penalty: c, start, ..Options::default() };
    Logistic::fit(examples, options).map_err(|e| Error::Usage(format!("head: {e}")))
}

/// For each C the probability of each row from a head that was fitted without the row's fold. Rows of that fold weigh
/// nothing, so that no row is copied.
fn held_out(data: &Data, fold_of: &[usize], k: usize, balanced: bool, grid: &[f64]) -> Result<Vec<Vec<f64>>, Error> {
    let mut probabilities = vec![vec![0.0; fold_of.len()]; grid.len()];
    for fold in 0..k {
        let weights = weights_without(fold, fold_of, data.fake, balanced);
        let mut before: Option<Logistic> = None;
        for (at, c) in grid.iter().enumerate() {
            let head = fit_one(data, Weights::PerRow(&weights), *c, before.as_ref())?;
            let rows = data.x.chunks_exact(data.width).zip(fold_of).enumerate();
            for (row, (x, _)) in rows.filter(|(_, (_, of))| **of == fold) {
                probabilities[at][row] = probability(&head, x);
            }
            before = Some(head);
        }
    }
    Ok(probabilities)
}

/// As `Weights::Balanced` or `Weights::Equal` would weigh the rows of the other folds alone.
fn weights_without(fold: usize, fold_of: &[usize], fake: &[bool], balanced: bool) -> Vec<f64> {
    let count = |class: bool| fold_of.iter().zip(fake).filter(|(of, fake)| **of != fold && **fake == class).count();
    let (real, fakes) = (count(false) as f64, count(true) as f64);
    let of_class = |of_class: f64| if balanced { (real + fakes) / (2.0 * of_class) } else { 1.0 };
    let (of_real, of_fake) = (of_class(real), of_class(fakes));
    let weight = |(of, is_fake): (&usize, &bool)| match (*of == fold, is_fake) {
        (true, _) => 0.0,
        (false, true) => of_fake,
        (false, false) => of_real,
    };
    fold_of.iter().zip(fake).map(weight).collect()
}

/// Every so-and-so-many-th row of each fold and class: whatever order they come in, all have their share.
fn thinned_rows(fold_of: &[usize], fake: &[bool], step: usize) -> Vec<usize> {
    let mut seen = std::collections::BTreeMap::<(usize, bool), usize>::new();
    let is_kept = |row: &usize| {
        let count = seen.entry((fold_of[*row], fake[*row])).or_default();
        *count += 1;
        (*count - 1).is_multiple_of(step)
    };
    (0..fold_of.len()).filter(is_kept).collect()
}

/// Both classes count alike, as they do in the fit: the rarer one is not drowned.
fn balanced_log_loss(probabilities: &[f64], fake: &[bool]) -> Option<f64> {
    let of_class = |class: bool| {
        let rows = probabilities.iter().zip(fake).filter(|(_, fake)| **fake == class);
        let (of_rows, labels): (Vec<f64>, Vec<bool>) = rows.map(|(probability, fake)| (*probability, *fake)).unzip();
        log_loss(&of_rows, &labels)
    };
    Some(f64::midpoint(of_class(false)?, of_class(true)?))
}

/// Of being fake.
fn probability(head: &Logistic, x: &[f32]) -> f64 {
    let logit = head.weight.iter().zip(x).map(|(w, x)| w * f64::from(*x)).sum::<f64>() + head.bias;
    1.0 / (1.0 + (-logit).exp())
}

fn choose_c(data: &Data, fold_of: &[usize], k: usize, balanced: bool) -> Result<(f64, Vec<GridPoint>), Error> {
    let step = fold_of.len().div_ceil(GRID_CROPS);
    let thinned: (Vec<f32>, Vec<bool>, Vec<usize>);
    let (data, fold_of) = if step == 1 {
        (Data { ..*data }, fold_of)
    } else {
        let rows = thinned_rows(fold_of, data.fake, step);
        let x = rows.iter().flat_map(|row| &data.x[row * data.width..(row + 1) * data.width]).copied().collect();
        let of = |row: &usize| (data.fake[*row], fold_of[*row]);
        let (fake, folds): (Vec<bool>, Vec<usize>) = rows.iter().map(of).unzip();
        thinned = (x, fake, folds);
        (Data { width: data.width, x: &thinned.0, fake: &thinned.1 }, &thinned.2[..])
    };
    let losses = held_out(&data, fold_of, k, balanced, &GRID)?;
    let point = |(c, held_out): (&f64, &Vec<f64>)| {
        let log_loss = if balanced { balanced_log_loss(held_out, data.fake) } else { log_loss(held_out, data.fake) };
        GridPoint { c: *c, log_loss: log_loss.unwrap_or(f64::NAN) }
    };
    let grid: Vec<GridPoint> = GRID.iter().zip(&losses).map(point).collect();
    // Of equals the stronger penalty.
    let best = grid.iter().min_by(|a, b| a.log_loss.total_cmp(&b.log_loss)).map_or(1.0, |point| point.c);
    Ok((best, grid))
}

/// The new scorer's folder, with a golden vector from the program as it is here. Gives the scorer's id.
async fn write(
    args: &FitArgs,
    name: &str,
    base: &ScorerChoice,
    head: &Logistic,
    sources: &[Source],
    known: &Known,
    around: &Around<'_>,
) -> Result<String, Error> {
    let weight: Vec<f32> = head.weight.iter().map(|weight| *weight as f32).collect();
    let mut derived = Derived::from(base, around.opening.registry)?;
    let runs: Vec<&str> = sources.iter().map(|source| source.from.run_id.as_str()).collect();
    let source = format!(
        "head fitted by deepsweep {} to {} labelled media of {}; tower: {}",
        env!("CARGO_PKG_VERSION"),
        known.counts.labelled_media,
        runs.join(", "),
        derived.text("source")
    );
    let licence = format!("head: {}; tower: {}", args.licence, derived.text("licence"));
    let tap = match Tap::from(args.tap) {
        Tap::Pooled => "pooled",
        Tap::Projected => "projected",
    };
    derived.set("name", name);
    derived.set("version", args.version.as_str());
    derived.set("licence", licence);
    derived.set("source", source);
    derived.drop_head();
    derived.drop_golden();
    derived.remove("calibration");
    let file = derived.put_new_file("head.safetensors", crate::scorers::linear_file(&weight, head.bias as f32));
    derived.set_table("embedding", [("tap", tap.into()), ("l2", (!args.no_l2).into())]);
    derived.set_table("head", [("kind", "linear".into()), ("file", file.into())]);
    let precision = precision::of(base).1;
    let id = derived.write_with_golden(&args.out, precision, &around.opening).await?;
    Ok(precision::id(&id, precision))
}

impl FitReport {
    /// For a person.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { scorer, folder, choice, labels, crops, width, c, folds, levels, .. } = self;
        format!(
            "scorer {scorer} in {}\n  use it     --scorer {choice}\n  media      {} labelled, {} of them fake, in {} groups\n  crops      {crops} of {width} \
             numbers\n  C          {c}\n  held out   by {folds} folds, each of other groups than the head was fitted to\n{}",
            folder.display(),
            labels.labelled_media,
            labels.fake_media,
            labels.groups,
            table(levels)
        )
    }
}
