//! Figures, fits and calibrations as scikit-learn computes them (`tests/golden/figures.py`).
//!
//! Sums of the same numbers in another order, f64 throughout: figures and isotonic knots lie within 1e-12. Fits are
//! where a descent stopped: 1e-3 of a coefficient or of 1, whichever is more, as near as scikit-learn's own solvers come
//! to each other (`lbfgs_apart`, up to 4e-4); Platt's two unknowns 1e-5, since scikit-learn stops at a gradient of 1e-6.

use deepsweep::statistics::bootstrap::{Bootstrap, interval};
use deepsweep::statistics::isotonic::Isotonic;
use deepsweep::statistics::logistic::{Examples, Logistic, Options, Weights};
use deepsweep::statistics::platt::Platt;
use deepsweep::statistics::ranking::{Counts, Ranking, Threshold};
use deepsweep::statistics::reliability;
use serde::Deserialize;

const FIGURES_APART: f64 = 1e-12;
const FITS_APART: f64 = 1e-3;
const PLATT_APART: f64 = 1e-5;

#[derive(Deserialize)]
struct Golden {
    ranked: Vec<Ranked>,
    bootstrapped: Vec<Bootstrapped>,
    calibrated: Vec<Calibrated>,
    fitted: Vec<Fitted>,
}

#[derive(Deserialize)]
struct Ranked {
    name: String,
    scores: Vec<f64>,
    fake: Vec<u8>,
    counts: Vec<u32>,
    once: Figures,
    counted: Figures,
    at_fpr: Vec<AtFpr>,
}

#[derive(Deserialize)]
struct Figures {
    auc: f64,
    average_precision: f64,
    equal_error_rate: f64,
}

#[derive(Deserialize)]
struct AtFpr {
    fpr: f64,
    tpr: f64,
    threshold: Option<f64>,
}

#[derive(Deserialize)]
struct Bootstrapped {
    seed: u64,
    resamples: usize,
    groups: Vec<u64>,
    scores: Vec<f64>,
    fake: Vec<u8>,
    low: f64,
    high: f64,
    found: usize,
}

#[derive(Deserialize)]
struct Calibrated {
    logits: Vec<f64>,
    fake: Vec<u8>,
    slope: f64,
    offset: f64,
    knots: Vec<[f64; 2]>,
    places: Vec<f64>,
    isotonic: Vec<f64>,
    platt: Vec<f64>,
    probabilities: Vec<f64>,
    log_loss: f64,
    brier: f64,
    reliability: Vec<Reliability>,
}

/// Counts of all bins; shares and means of those that are not empty.
#[derive(Deserialize)]
struct Reliability {
    bins: usize,
    counts: Vec<usize>,
    shares: Vec<f64>,
    means: Vec<f64>,
    ece: f64,
}

/// Embeddings by formula, and fits to them.
#[derive(Deserialize)]
struct Fitted {
    name: String,
    seed: u64,
    rows: u64,
    width: u64,
    fake_share: f64,
    kind: Kind,
    class_weight: Option<ClassWeight>,
    fakes: usize,
    first: [f32; 4],
    last: [f32; 4],
    row_weights: Option<[f64; 3]>,
    fits: Vec<Fit>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Unit,
    Correlated,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum ClassWeight {
    Balanced,
    Rows,
}

#[derive(Deserialize)]
struct Fit {
    c: f64,
    weight: Vec<f64>,
    bias: f64,
}

fn golden() -> Golden {
    let text = std::fs::read_to_string(crate::root().join("tests/golden/statistics.json")).unwrap();
    let golden: Golden = serde_json::from_str(&text).unwrap();
    let counts = [golden.ranked.len(), golden.bootstrapped.len(), golden.calibrated.len(), golden.fitted.len()];
    assert_eq!(counts, [9, 2, 6, 7], "the goldens are incomplete");
    golden
}

fn labels(fake: &[u8]) -> Vec<bool> {
    fake.iter().map(|fake| *fake == 1).collect()
}

/// Relative to what is expected where that is above 1.
fn check(what: &str, found: f64, expected: f64, apart: f64) {
    assert!((found - expected).abs() <= apart * expected.abs().max(1.0), "{what}: expected {expected}, found {found}");
}

#[test]
fn a_ranking_has_scikit_learn_s_figures() {
    for case in golden().ranked {
        let ranking = Ranking::new(&case.scores, &labels(&case.fake)).unwrap();
        let name = &case.name;
        for (counts, expected) in [(Counts::Once, &case.once), (Counts::Of(&case.counts), &case.counted)] {
            let check = |what, found: Option<f64>, expected| {
                check(&format!("{name}: {what}"), found.unwrap(), expected, FIGURES_APART);
            };
            check("auc", ranking.auc(counts), expected.auc);
            check("average precision", ranking.average_precision(counts), expected.average_precision);
            check("equal error rate", ranking.equal_error_rate(counts), expected.equal_error_rate);
        }
        for AtFpr { fpr, tpr, threshold } in case.at_fpr {
            check(&format!("{name}: tpr at {fpr}"), ranking.tpr_at_fpr(Counts::Once, fpr).unwrap(), tpr, FIGURES_APART);
            let expected = threshold.map_or(Threshold::AboveEveryScore, Threshold::Score);
            assert_eq!(ranking.threshold_at_fpr(Counts::Once, fpr), Some(expected), "{name}: threshold at {fpr}");
        }
    }
}

#[test]
fn an_interval_ends_where_numpy_s_percentiles_of_scikit_learn_s_figures_do() {
    for case in golden().bootstrapped {
        let ranking = Ranking::new(&case.scores, &labels(&case.fake)).unwrap();
        let bootstrap = Bootstrap { resamples: case.resamples, seed: case.seed };
        let found = interval(&case.groups, bootstrap, |counts| ranking.auc(Counts::Of(counts))).unwrap();
        check("low", found.low, case.low, FIGURES_APART);
        check("high", found.high, case.high, FIGURES_APART);
        assert_eq!((found.resamples, found.without_figure), (case.found, case.resamples - case.found));
    }
}

#[test]
fn platt_s_line_is_scikit_learn_s() {
    for case in golden().calibrated {
        let found = Platt::fit(&case.logits, &labels(&case.fake)).unwrap();
        check("slope", found.slope, case.slope, PLATT_APART);
        check("offset", found.offset, case.offset, PLATT_APART);
        for (place, expected) in case.places.iter().zip(case.platt) {
            check("probability", found.apply(*place), expected, PLATT_APART);
        }
    }
}

#[test]
fn the_isotonic_function_is_scikit_learn_s() {
    for case in golden().calibrated {
        let found = Isotonic::fit(&case.logits, &labels(&case.fake)).unwrap();
        assert_eq!(found.knots().len(), case.knots.len(), "{:?}", found.knots());
        for (knot, [logit, probability]) in found.knots().iter().zip(case.knots) {
            check("logit", knot.logit, logit, FIGURES_APART);
            check("probability", knot.probability, probability, FIGURES_APART);
        }
        for (place, expected) in case.places.iter().zip(case.isotonic) {
            check("probability", found.apply(*place), expected, FIGURES_APART);
        }
    }
}

#[test]
fn reliability_is_scikit_learn_s() {
    for case in golden().calibrated {
        let (p, fake) = (&case.probabilities, &labels(&case.fake));
        check("log loss", reliability::log_loss(p, fake).unwrap(), case.log_loss, FIGURES_APART);
        check("Brier score", reliability::brier_score(p, fake).unwrap(), case.brier, FIGURES_APART);
        for expected in case.reliability {
            let bins = reliability::bins(p, fake, expected.bins).unwrap();
            assert_eq!(bins.iter().map(|bin| bin.count).collect::<Vec<_>>(), expected.counts);
            let filled = bins.iter().filter_map(|bin| bin.fake_share.zip(bin.mean_probability));
            for ((share, mean), (expected_share, expected_mean)) in
                filled.zip(expected.shares.iter().zip(expected.means))
            {
                check("share of fakes", share, *expected_share, FIGURES_APART);
                check("mean probability", mean, expected_mean, FIGURES_APART);
            }
            let found = reliability::expected_calibration_error(p, fake, expected.bins).unwrap();
            check("calibration error", found, expected.ece, FIGURES_APART);
        }
    }
}

#[test]
fn coefficients_are_scikit_learn_s() {
    for case in golden().fitted {
        let (x, fake) = embeddings(&case);
        let row_weights: Vec<f64> = (0..case.rows).map(|row| share(case.seed + 3, row) * 3.0).collect();
        if let Some(expected) = case.row_weights {
            assert_eq!(row_weights[..3], expected, "the formula differs");
        }
        let weights = match case.class_weight {
            None => Weights::Equal,
            Some(ClassWeight::Balanced) => Weights::Balanced,
            Some(ClassWeight::Rows) => Weights::PerRow(&row_weights),
        };
        let examples = Examples { x: &x, width: case.width as usize, fake: &fake, weights };
        let mut before: Option<Logistic> = None;
        for Fit { c, weight, bias } in &case.fits {
            // From nothing, and from the fit for the C before.
            for start in [None, before.clone()] {
                let options = Options { inverse_penalty: *c, start: start.as_ref(), ..Options::default() };
                let found = Logistic::fit(examples, options).unwrap();
                let what = format!("{}, C = {c}", case.name);
                found
                    .weight
                    .iter()
                    .zip(weight)
                    .for_each(|(found, expected)| check(&what, *found, *expected, FITS_APART));
                check(&what, found.bias, *bias, FITS_APART);
                before = Some(found);
            }
        }
    }
}

/// `embeddings` of the script, operation by operation.
fn embeddings(case: &Fitted) -> (Vec<f32>, Vec<bool>) {
    let bell = |seed: u64, at: u64| (0..4).map(|part| share(seed, 4 * at + part)).fold(0.0, |sum, one| sum + one) - 2.0;
    let fake: Vec<bool> = (0..case.rows).map(|row| share(case.seed + 1, row) < case.fake_share).collect();
    let row = |(row, fake): (u64, &bool)| -> Vec<f32> {
        let noise = (0..case.width).map(|at| (at, bell(case.seed, row * case.width + at)));
        if case.kind == Kind::Unit {
            let values: Vec<f64> =
                noise.map(|(at, v)| v + if at % 4 == 0 { 1.0 } else { 0.0 } + if *fake { 0.2 } else { 0.0 }).collect();
            let length = values.iter().fold(0.0, |sum, v| sum + v * v).sqrt();
            return values.iter().map(|v| (v / length) as f32).collect();
        }
        let common = bell(case.seed + 2, row);
        let value = |(at, v): (u64, f64)| {
            let shift = if *fake && at % 2 == 0 { 0.3 } else { 0.0 };
            ((0.4 * v + common + shift) * [1.0, 0.1, 4.0][at as usize % 3] + (at % 7) as f64) as f32
        };
        noise.map(value).collect()
    };
    let x: Vec<f32> = (0..).zip(&fake).flat_map(row).collect();
    assert_eq!(fake.iter().filter(|fake| **fake).count(), case.fakes, "the formula differs");
    assert_eq!((&x[..4], &x[x.len() - 4..]), (&case.first[..], &case.last[..]), "the formula differs");
    (x, fake)
}

/// Number `counter` of SplitMix64's sequence that starts at `seed`, as a share of 1.
fn share(seed: u64, counter: u64) -> f64 {
    let z = seed.wrapping_add((counter + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}
