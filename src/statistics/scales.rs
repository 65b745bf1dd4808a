//! Rows of features → unknowns in which their logistic loss is about as curved in every direction.
//!
//! v = w · scale for each feature, and last (b + w · mean) · `bias_scale`: features are centred and scaled without being
//! touched. The curvatures are those of the penalised loss at w = 0, so that also a penalty that outweighs a feature
//! counts. What is least stays least, as this is the same function under other names.

use super::FitError;
use super::passes::Rows;

pub(super) struct Scales {
    mean: Vec<f64>,
    scale: Vec<f64>,
    bias_scale: f64,
    /// The bias that is best at w = 0.
    odds: f64,
}

impl Scales {
    /// # Errors
    /// A feature that is not finite.
    pub fn of(rows: &Rows, inverse_penalty: f64) -> Result<Self, FitError> {
        let sums = rows.sums();
        let mean: Vec<f64> = sums.gradient.iter().map(|sum| sum / sums.slope).collect();
        if !mean.iter().all(|mean| mean.is_finite()) {
            return Err(FitError::NotFinite { what: "features" });
        }
        let weigh = |class| -> f64 {
            let of_class = (0..rows.fake.len()).filter(|row| rows.fake[*row] == class);
            of_class.map(|row| rows.weight(row)).sum()
        };
        let (real, fake) = (weigh(false), weigh(true));
        // σ′ at these odds, which is every row's.
        let curvature = inverse_penalty * (real / sums.slope) * (fake / sums.slope);
        let scale = rows.squares(&mean).iter().map(|squares| (1.0 + curvature * squares).sqrt()).collect();
        Ok(Self { mean, scale, bias_scale: (curvature * sums.slope).sqrt(), odds: (fake / real).ln() })
    }

    /// Where to start from when nothing is known.
    pub fn start(&self) -> Vec<f64> {
        self.scaled(&vec![0.0; self.mean.len()], self.odds)
    }

    pub fn scaled(&self, w: &[f64], b: f64) -> Vec<f64> {
        let v = w.iter().zip(&self.scale).map(|(w, scale)| w * scale);
        v.chain([(b + dot(w, &self.mean)) * self.bias_scale]).collect()
    }

    /// (w, b).
    pub fn unscaled(&self, at: &[f64]) -> (Vec<f64>, f64) {
        let w: Vec<f64> = at.iter().zip(&self.scale).map(|(v, scale)| v / scale).collect();
        let b = at.last().copied().unwrap_or_default() / self.bias_scale - dot(&w, &self.mean);
        (w, b)
    }

    /// A gradient in (w, b) → that in the scaled unknowns.
    pub fn gradient(&self, in_w: &[f64], in_b: f64) -> Vec<f64> {
        let in_v = in_w.iter().zip(&self.mean).zip(&self.scale).map(|((g, mean), scale)| (g - mean * in_b) / scale);
        in_v.chain([in_b / self.bias_scale]).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
