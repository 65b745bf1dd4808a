//! Scores and labels → how good the scores are, and what is fitted to them.
//!
//! In: slices of scores, logits, probabilities or embeddings, and for each row whether it is fake. Out: figures
//! ([`ranking`], [`reliability`]), how far they may be trusted ([`bootstrap`]), a linear head ([`logistic`]), calibrations
//! ([`platt`], [`isotonic`]) and a division into folds ([`folds`]).
//! Never: I/O, a clock, the environment, or a random source beside the seed that [`bootstrap`] is handed. The same input
//! gives the same bits whatever the number of threads, and no input panics: a figure that does not exist is `None`, a
//! fit that cannot be made is a [`FitError`].
//!
//! `fake` is the positive class throughout, and a higher score means that it is likelier. scikit-learn is the reference
//! (`tests/golden/figures.py`).

pub mod ranking;
pub mod reliability;

pub mod bootstrap;
pub mod folds;

pub mod isotonic;
pub mod logistic;
pub mod platt;

mod descent;
mod passes;
mod scales;

use std::collections::BTreeMap;

/// Why nothing could be fitted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitError {
    /// Slices that do not belong together.
    #[error("{what}: expected {expected} values, found {found}")]
    Length { what: &'static str, expected: usize, found: usize },
    /// A NaN or an infinity, which has no place on a line.
    #[error("{what}: expected finite numbers, found one that is not")]
    NotFinite { what: &'static str },
    #[error("labels: expected real and fake ones, found {real} real and {fake} fake")]
    OneClass { real: usize, fake: usize },
    #[error("{what}: expected {expected}, found {found}")]
    Setting { what: &'static str, expected: &'static str, found: f64 },
    #[error("logits: expected different ones, found {found} in every row")]
    OneLogit { found: f64 },
    /// What was reached is not handed out: it would look like a fit.
    #[error("fit: expected a relative gradient of at most {wanted:e}, found {found:e} after {passes} passes")]
    NotConverged { wanted: f64, found: f64, passes: usize },
}

/// How often each class occurs: (real, fake). `what` names the other slice, which must be as long as the labels.
///
/// # Errors
/// Another length, or one class only.
fn both_classes(what: &'static str, found: usize, fake: &[bool]) -> Result<(usize, usize), FitError> {
    if found != fake.len() {
        return Err(FitError::Length { what, expected: fake.len(), found });
    }
    let fakes = fake.iter().filter(|fake| **fake).count();
    let reals = fake.len() - fakes;
    if reals == 0 || fakes == 0 { Err(FitError::OneClass { real: reals, fake: fakes }) } else { Ok((reals, fakes)) }
}

/// For each row the place of its group among all groups in ascending order, and how many there are.
fn numbered<G: Ord>(groups: &[G]) -> (Vec<usize>, usize) {
    let mut numbers: BTreeMap<&G, usize> = groups.iter().map(|group| (group, 0)).collect();
    numbers.values_mut().enumerate().for_each(|(at, number)| *number = at);
    (groups.iter().filter_map(|group| numbers.get(group).copied()).collect(), numbers.len())
}

/// 1 / (1 + e^−x), without an overflow at either end.
fn sigmoid(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

/// log(1 + e^x), likewise.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::{numbered, sigmoid, softplus};

    #[test]
    fn groups_are_numbered_in_their_own_order() {
        assert_eq!(numbered(&["b", "a", "c", "b"]), (vec![1, 0, 2, 1], 3));
        assert_eq!(numbered::<u64>(&[]), (vec![], 0));
    }

    #[test]
    fn the_sigmoid_and_its_logarithm_hold_at_both_ends() {
        assert_eq!([f64::NEG_INFINITY, -1e4, 0.0, 1e4, f64::INFINITY].map(sigmoid), [0.0, 0.0, 0.5, 1.0, 1.0]);
        assert_eq!([-1e4, 1e4].map(softplus), [0.0, 1e4]);
        assert!(sigmoid(f64::NAN).is_nan());
    }
}
