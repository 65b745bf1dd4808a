//! Logits and labels → the line that makes probabilities of logits.
//!
//! In: logits, which rows are fake. Out: slope and offset, p = sigmoid(slope · logit + offset), by cross-entropy against
//! Platt's smoothed targets (Platt, "Probabilistic outputs for support vector machines", 1999), as scikit-learn's
//! `CalibratedClassifierCV(method="sigmoid")`. The targets are never quite 0 or 1, so the least is there also where logits
//! divide the classes. Never: a penalty, or a slope for logits that do not differ.

use super::descent::{self, Limits, Pass};
use super::{FitError, both_classes, sigmoid, softplus};

/// f64 has digits for this; two unknowns take a dozen passes.
const LIMITS: Limits = Limits { tolerance: 1e-7, max_passes: 500 };

/// p = sigmoid(slope · logit + offset). Where higher logits are not likelier fakes, the slope is negative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Platt {
    pub slope: f64,
    pub offset: f64,
}

impl Platt {
    /// # Errors
    /// Slices of different lengths, a logit that is not finite, one class alone, one logit alone, or no convergence.
    pub fn fit(logits: &[f64], fake: &[bool]) -> Result<Self, FitError> {
        let (reals, fakes) = both_classes("logits", logits.len(), fake)?;
        let (reals, fakes, n) = (reals as f64, fakes as f64, logits.len() as f64);
        // Halves and shares, so that no sum of finite logits overflows.
        let mean = logits.iter().map(|logit| logit / n).sum::<f64>();
        let spread = logits.iter().map(|logit| (logit / 2.0 - mean / 2.0).abs()).fold(0.0, f64::max) * 2.0;
        if !(logits.iter().all(|logit| logit.is_finite()) && spread.is_finite()) {
            return Err(FitError::NotFinite { what: "logits" });
        }
        if logits.iter().all(|logit| *logit == logits[0]) || spread == 0.0 {
            return Err(FitError::OneLogit { found: mean });
        }
        let centred: Vec<f64> = logits.iter().map(|logit| (logit - mean) / spread).collect(); // −1 to 1
        let target = |fake: bool| if fake { (fakes + 1.0) / (fakes + 2.0) } else { 1.0 / (reals + 2.0) };
        // So scaled that both curvatures are 1 at slope 0.
        let bias_scale = (reals * fakes / n).sqrt();
        let slope_scale = bias_scale * (centred.iter().map(|x| x * x).sum::<f64>() / n).sqrt();
        let cross_entropy = |at: &[f64]| {
            let [slope, offset] = [at[0] / slope_scale, at[1] / bias_scale];
            let (mut value, mut in_slope, mut in_offset) = (0.0, 0.0, 0.0);
            for (x, fake) in centred.iter().zip(fake) {
                let (logit, target) = (slope * x + offset, target(*fake));
                value += target * softplus(-logit) + (1.0 - target) * softplus(logit);
                in_slope += (sigmoid(logit) - target) * x;
                in_offset += sigmoid(logit) - target;
            }
            Pass { value, gradient: vec![in_slope / slope_scale, in_offset / bias_scale] }
        };
        let start = vec![0.0, ((fakes + 1.0) / (reals + 1.0)).ln() * bias_scale];
        let found = descent::minimise(cross_entropy, start, LIMITS)?;
        let (slope, offset) = (found.at[0] / slope_scale / spread, found.at[1] / bias_scale);
        Ok(Self { slope, offset: offset - slope * mean })
    }

    /// The probability of being fake; NaN for a NaN.
    #[must_use]
    pub fn apply(&self, logit: f64) -> f64 {
        sigmoid(self.slope * logit + self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::{FitError, Platt};

    #[test]
    fn logits_that_tell_the_truth_are_left_nearly_alone() {
        // For each logit as many fakes as its sigmoid says, of a thousand.
        let rows = (-40..=40).map(f64::from).map(|logit| logit / 10.0).flat_map(|logit| {
            let fakes = (1000.0 / (1.0 + (-logit).exp())).round() as usize;
            (0..1000).map(move |row| (logit, row < fakes))
        });
        let (logits, fake): (Vec<f64>, Vec<bool>) = rows.unzip();
        let found = Platt::fit(&logits, &fake).unwrap();
        assert!((found.slope - 1.0).abs() < 1e-3 && found.offset.abs() < 1e-3, "{found:?}");
    }

    #[test]
    fn divided_classes_and_odd_scales_still_have_a_line() {
        let fake = [false, false, true, true];
        let divided = Platt::fit(&[-2.0, -1.0, 1.0, 2.0], &fake).unwrap();
        assert!(divided.slope > 0.0 && divided.slope < 10.0, "{divided:?}");
        for factor in [1e-150, 1e-6, 1e6, 1e150, -1.0] {
            let found = Platt::fit(&[-2.0, -1.0, 1.0, 2.0].map(|logit| logit * factor), &fake).unwrap();
            assert!((found.slope * factor / divided.slope - 1.0).abs() < 1e-5, "{factor}: {found:?}");
        }
        let far = Platt::fit(&[1e6, 1e6 + 1.0, 1e6 + 3.0, 1e6 + 4.0], &fake).unwrap();
        assert!((far.slope / divided.slope - 1.0).abs() < 1e-5, "{far:?}");
        let widest = Platt::fit(&[f64::MIN, f64::MAX], &[false, true]).unwrap();
        assert!(widest.slope > 0.0 && widest.apply(f64::MAX) > 0.5, "{widest:?}");
    }

    #[test]
    fn what_cannot_be_fitted_is_said() {
        let of = |logits: &[f64], fake: &[bool]| Platt::fit(logits, fake).unwrap_err();
        assert_eq!(of(&[], &[]), FitError::OneClass { real: 0, fake: 0 });
        assert_eq!(of(&[1.0, 2.0], &[true, true]), FitError::OneClass { real: 0, fake: 2 });
        assert_eq!(of(&[1.0], &[true, false]), FitError::Length { what: "logits", expected: 2, found: 1 });
        assert_eq!(of(&[1.0, f64::NAN], &[true, false]), FitError::NotFinite { what: "logits" });
        assert_eq!(of(&[0.5, 0.5], &[true, false]), FitError::OneLogit { found: 0.5 });
    }
}
