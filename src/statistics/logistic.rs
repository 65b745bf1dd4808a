//! Embeddings and labels → a linear head: logistic regression with an L2 penalty.
//!
//! In: rows of f32 features, which are fake, how much each counts. Out: weights and bias that minimise
//! ½‖w‖² + C · Σ sᵢ · log(1 + e^(−yᵢ · (w · xᵢ + b))), the bias unpenalised: the objective of scikit-learn's
//! `LogisticRegression(C=…, class_weight=…)`. It has one least, so any way there is right.
//! Never: a copy of the features, or a fit that has not converged.
//!
//! On the way features are centred and scaled, in the unknowns and not in memory: v = w · scale, and a bias that stands
//! for the middle of the rows. That changes how many passes it takes, and not what is minimised.

use super::descent::{self, Limits, Pass};
use super::passes::{RowWeights, Rows};
use super::scales::Scales;
use super::{FitError, both_classes};

/// How much each row counts: the sᵢ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weights<'a> {
    Equal,
    /// rows / (2 · rows of the class): both classes count alike (scikit-learn's `class_weight="balanced"`).
    Balanced,
    ByClass {
        real: f64,
        fake: f64,
    },
    /// One for each row, 0 or more.
    PerRow(&'a [f64]),
}

/// Rows to learn from.
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    /// [n, width], row by row.
    pub x: &'a [f32],
    pub width: usize,
    pub fake: &'a [bool],
    pub weights: Weights<'a>,
}

/// What to minimise, and how far.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// scikit-learn's C. With unit-length embeddings 1 is strong and 1,000 weak.
    pub inverse_penalty: f64,
    /// Of [`Logistic::relative_gradient`]. f64 runs out of digits near 1e-8.
    pub tolerance: f64,
    /// Over the rows. A hundred or two is usual; little penalty and features that say the same take thousands.
    pub max_passes: usize,
    /// The fit for a C nearby, on the way along many.
    pub start: Option<&'a Logistic>,
}

impl Default for Options<'_> {
    /// 1e-7 leaves coefficients within 1e-4 of the exact ones, far less than another draw of the rows moves them.
    fn default() -> Self {
        Self { inverse_penalty: 1.0, tolerance: 1e-7, max_passes: 10_000, start: None }
    }
}

/// logit = weight · x + bias.
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    pub weight: Vec<f64>,
    pub bias: f64,
    /// Over the rows, two of them for the scales: what the time went into.
    pub passes: usize,
    /// ‖gradient‖ / √objective in the scaled unknowns: the objective is within about half its square of the least,
    /// relative to itself.
    pub relative_gradient: f64,
}

impl Logistic {
    /// # Errors
    /// Slices of the wrong length, one class alone (rows that weigh 0 do not count), numbers that are not finite,
    /// settings that mean nothing, or no convergence.
    pub fn fit(examples: Examples, options: Options) -> Result<Self, FitError> {
        let rows = checked(examples, options)?;
        let scales = Scales::of(&rows, options.inverse_penalty)?;
        let start = match options.start {
            Some(Self { weight, .. }) if weight.len() != rows.width => {
                return Err(FitError::Length { what: "start", expected: rows.width, found: weight.len() });
            }
            Some(Self { weight, bias, .. }) => scales.scaled(weight, *bias),
            None => scales.start(),
        };
        let c = options.inverse_penalty;
        let objective = |at: &[f64]| {
            let (w, b) = scales.unscaled(at);
            let sums = rows.loss(&w, b);
            let penalty = w.iter().map(|w| w * w).sum::<f64>() / 2.0;
            let in_w: Vec<f64> = w.iter().zip(&sums.gradient).map(|(w, slope)| w + c * slope).collect();
            Pass { value: penalty + c * sums.loss, gradient: scales.gradient(&in_w, c * sums.slope) }
        };
        let limits = Limits { tolerance: options.tolerance, max_passes: options.max_passes };
        let found = descent::minimise(objective, start, limits)?;
        let (weight, bias) = scales.unscaled(&found.at);
        Ok(Self { weight, bias, passes: found.passes + 2, relative_gradient: found.relative_gradient })
    }
}

fn checked<'a>(examples: Examples<'a>, options: Options) -> Result<Rows<'a>, FitError> {
    let Examples { x, width, fake, weights } = examples;
    let expected = fake.len().saturating_mul(width);
    if x.len() != expected {
        return Err(FitError::Length { what: "features", expected, found: x.len() });
    }
    if width == 0 {
        return Err(FitError::Setting { what: "width", expected: "at least 1", found: 0.0 });
    }
    positive("C", options.inverse_penalty)?;
    positive("tolerance", options.tolerance)?;
    if let Some(start) = options.start
        && !start.weight.iter().chain([&start.bias]).all(|v| v.is_finite())
    {
        return Err(FitError::NotFinite { what: "start" });
    }
    Ok(Rows { x, width, fake, weights: of_rows(weights, fake)? })
}

fn of_rows<'a>(weights: Weights<'a>, fake: &[bool]) -> Result<RowWeights<'a>, FitError> {
    let (reals, fakes) = both_classes("labels", fake.len(), fake)?;
    let balanced = |of_class: usize| fake.len() as f64 / (2.0 * of_class as f64);
    match weights {
        Weights::Equal => Ok(RowWeights::ByClass { real: 1.0, fake: 1.0 }),
        Weights::Balanced => Ok(RowWeights::ByClass { real: balanced(reals), fake: balanced(fakes) }),
        Weights::ByClass { real, fake } => {
            positive("weight of real rows", real)?;
            positive("weight of fake rows", fake)?;
            Ok(RowWeights::ByClass { real, fake })
        }
        Weights::PerRow(of_row) => {
            both_classes("weights", of_row.len(), fake)?;
            if let Some(found) = of_row.iter().copied().find(|weight| !(weight.is_finite() && *weight >= 0.0)) {
                return Err(FitError::Setting { what: "weights", expected: "finite ones of at least 0", found });
            }
            let weighing: Vec<bool> =
                fake.iter().zip(of_row).filter(|(_, weight)| **weight > 0.0).map(|(fake, _)| *fake).collect();
            both_classes("labels", weighing.len(), &weighing)?;
            Ok(RowWeights::PerRow(of_row))
        }
    }
}

fn positive(what: &'static str, found: f64) -> Result<(), FitError> {
    let is_positive = found.is_finite() && found > 0.0;
    if is_positive { Ok(()) } else { Err(FitError::Setting { what, expected: "a positive, finite number", found }) }
}

#[cfg(test)]
#[path = "logistic_tests.rs"]
mod tests;
