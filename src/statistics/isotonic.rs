//! Logits and labels → the rising function that fits them best.
//!
//! In: logits in any order, which rows are fake. Out: knots from logit to probability. The pool-adjacent-violators
//! algorithm (Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD
//! 2002), as `sklearn.isotonic.IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")`.
//! Never: a probability that was extrapolated, or rounding in the order of pools: fakes and rows are counted.

use super::{FitError, both_classes};

/// Logits closer than this to the lowest of them are one logit: scikit-learn's `np.finfo(np.float64).resolution`.
const SAME_LOGIT: f64 = 1e-15;

/// Rises from knot to knot, straight between them, constant before the first and behind the last.
#[derive(Debug, Clone, PartialEq)]
pub struct Isotonic {
    knots: Vec<Knot>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Knot {
    pub logit: f64,
    pub probability: f64,
}

/// Neighbouring logits that share a probability.
struct Pool {
    first: f64,
    last: f64,
    fakes: u64,
    rows: u64,
}

impl Isotonic {
    /// # Errors
    /// Slices of different lengths, a logit that is not finite, or one class alone.
    pub fn fit(logits: &[f64], fake: &[bool]) -> Result<Self, FitError> {
        both_classes("logits", logits.len(), fake)?;
        if !logits.iter().all(|logit| logit.is_finite()) {
            return Err(FitError::NotFinite { what: "logits" });
        }
        let mut rows: Vec<(f64, bool)> = logits.iter().copied().zip(fake.iter().copied()).collect();
        rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut pools: Vec<Pool> = vec![];
        let mut rest = rows.as_slice();
        while let Some((first, _)) = rest.first() {
            let (tie, others) = rest.split_at(rest.partition_point(|(logit, _)| logit - first < SAME_LOGIT));
            rest = others;
            let fakes = tie.iter().filter(|(_, fake)| *fake).count() as u64;
            let mut pool = Pool { first: *first, last: *first, fakes, rows: tie.len() as u64 };
            // A pool that does not rise above the one before it becomes one with it.
            while let Some(before) = pools.pop_if(|before| before.fakes * pool.rows >= pool.fakes * before.rows) {
                let (fakes, rows) = (before.fakes + pool.fakes, before.rows + pool.rows);
                pool = Pool { first: before.first, last: pool.last, fakes, rows };
            }
            pools.push(pool);
        }
        let ends = |pool: &Pool| {
            let knot = |logit| Knot { logit, probability: pool.fakes as f64 / pool.rows as f64 };
            let end = (pool.last > pool.first).then(|| knot(pool.last));
            std::iter::once(knot(pool.first)).chain(end)
        };
        Ok(Self { knots: pools.iter().flat_map(ends).collect() })
    }

    /// Ascending in both; those that lie between two of their own probability are left out.
    #[must_use]
    pub fn knots(&self) -> &[Knot] {
        &self.knots
    }

    /// The probability of being fake; NaN for a NaN.
    #[must_use]
    pub fn apply(&self, logit: f64) -> f64 {
        if logit.is_nan() {
            return f64::NAN;
        }
        let (below, above) = self.knots.split_at(self.knots.partition_point(|knot| knot.logit < logit));
        match (below.last(), above.first()) {
            (Some(low), Some(high)) => {
                let slope = (high.probability - low.probability) / (high.logit - low.logit);
                // Where the distance of two knots overflows, the slope is 0 and the distance to one infinite.
                let probability = low.probability + slope * (logit - low.logit);
                if probability.is_nan() {
                    low.probability
                } else {
                    probability.clamp(low.probability, high.probability)
                }
            }
            (Some(end), None) | (None, Some(end)) => end.probability,
            (None, None) => f64::NAN, // no fit leaves no knots
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FitError, Isotonic};

    fn knots(logits: &[f64], fake: &[bool]) -> Vec<(f64, f64)> {
        Isotonic::fit(logits, fake).unwrap().knots().iter().map(|knot| (knot.logit, knot.probability)).collect()
    }

    #[test]
    fn pools_keep_their_ends_and_nothing_between_them() {
        let fake = [false, false, true, false, true, true];
        let expected = [(0.0, 0.0), (1.0, 0.0), (2.0, 0.5), (3.0, 0.5), (4.0, 1.0), (5.0, 1.0)];
        assert_eq!(knots(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &fake), expected);
        assert_eq!(knots(&[5.0, 4.0, 3.0, 2.0, 1.0, 0.0], &fake), [(0.0, 0.5), (5.0, 0.5)]);
    }

    #[test]
    fn equal_logits_are_one_knot() {
        assert_eq!(knots(&[1.0, 1.0, 1.0, 1.0], &[true, false, false, false]), [(1.0, 0.25)]);
        assert_eq!(knots(&[0.0, -0.0, 1.0], &[true, false, true]).len(), 2);
    }

    #[test]
    fn outside_the_knots_the_ends_hold_and_between_them_lines() {
        let fit = Isotonic::fit(&[0.0, 2.0], &[false, true]).unwrap();
        let (logits, expected) =
            ([f64::NEG_INFINITY, -1.0, 0.0, 0.5, 2.0, 3.0, f64::INFINITY], [0., 0., 0., 0.25, 1., 1., 1.]);
        assert_eq!(logits.map(|logit| fit.apply(logit)), expected);
        assert!(fit.apply(f64::NAN).is_nan());
        let wide = Isotonic::fit(&[f64::MIN, f64::MAX], &[false, true]).unwrap();
        assert!((0.0..=1.0).contains(&wide.apply(0.0)));
    }

    #[test]
    fn what_cannot_be_fitted_is_said() {
        let of = |logits: &[f64], fake: &[bool]| Isotonic::fit(logits, fake).unwrap_err();
        assert_eq!(of(&[], &[]), FitError::OneClass { real: 0, fake: 0 });
        assert_eq!(of(&[1.0], &[true]), FitError::OneClass { real: 0, fake: 1 });
        assert_eq!(of(&[1.0, f64::NAN], &[true, false]), FitError::NotFinite { what: "logits" });
        assert_eq!(of(&[1.0], &[true, false]), FitError::Length { what: "logits", expected: 2, found: 1 });
    }
}
