//! Probabilities and labels → how far the probabilities can be taken at their word.
//!
//! In: probabilities of being fake, and which rows are. Out: proper scores, and bins that hold what was said against
//! what was so. `None` for no rows, slices of different lengths, or what is no probability (NaN, outside [0, 1]).
//! Sums run in the order of the rows.

/// Guo et al., "On calibration of modern neural networks" (ICML 2017), and most papers since.
pub const DEFAULT_BINS: usize = 15;

/// How near to 0 and 1 a probability may come before its logarithm is taken: scikit-learn's choice for f64, 2.2e-16. One
/// sure and wrong row so costs 36, not infinity.
pub const LOG_LOSS_EPSILON: f64 = f64::EPSILON;

/// Rows whose probability lies above the bin's lower edge and not above its upper one; 0 lies in the first bin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    pub lower: f64,
    pub upper: f64,
    pub count: usize,
    /// Of the rows in it; nothing where there are none.
    pub mean_probability: Option<f64>,
    pub fake_share: Option<f64>,
}

/// Mean of −log of the probability given to what was so (`sklearn.metrics.log_loss`).
#[must_use]
pub fn log_loss(probabilities: &[f64], fake: &[bool]) -> Option<f64> {
    mean(probabilities, fake, |p, fake| {
        let p = p.clamp(LOG_LOSS_EPSILON, 1.0 - LOG_LOSS_EPSILON);
        if fake { -p.ln() } else { -(1.0 - p).ln() }
    })
}

/// Mean squared distance to 1 for a fake and 0 for a real one (`sklearn.metrics.brier_score_loss`).
#[must_use]
pub fn brier_score(probabilities: &[f64], fake: &[bool]) -> Option<f64> {
    mean(probabilities, fake, |p, fake| (p - f64::from(u8::from(fake))).powi(2))
}

/// Bins of equal width, empty ones too, with the edges of `sklearn.calibration.calibration_curve`.
#[must_use]
pub fn bins(probabilities: &[f64], fake: &[bool], n_bins: usize) -> Option<Vec<Bin>> {
    if n_bins == 0 || !are_usable(probabilities, fake) {
        return None;
    }
    let width = 1.0 / n_bins as f64;
    // numpy's linspace: products, and the last edge exact.
    let edges: Vec<f64> = (1..n_bins).map(|edge| edge as f64 * width).chain([1.0]).collect();
    let mut sums = vec![(0_usize, 0.0, 0_usize); n_bins]; // rows, probability, fakes
    for (p, fake) in probabilities.iter().zip(fake) {
        let sum = &mut sums[edges.partition_point(|edge| edge < p)]; // at most the last: p ≤ 1
        *sum = (sum.0 + 1, sum.1 + p, sum.2 + usize::from(*fake));
    }
    let lowers = std::iter::once(&0.0).chain(&edges);
    let bin = |((lower, upper), (count, probability, fakes)): ((&f64, &f64), &(usize, f64, usize))| {
        let of_rows = |sum: f64| (*count > 0).then(|| sum / *count as f64);
        let (mean_probability, fake_share) = (of_rows(*probability), of_rows(*fakes as f64));
        Bin { lower: *lower, upper: *upper, count: *count, mean_probability, fake_share }
    };
    Some(lowers.zip(&edges).zip(&sums).map(bin).collect())
}

/// Σ over bins of its share of the rows · |mean probability − share of fakes|; see [`DEFAULT_BINS`].
#[must_use]
pub fn expected_calibration_error(probabilities: &[f64], fake: &[bool], n_bins: usize) -> Option<f64> {
    let gap = |bin: Bin| Some((bin.mean_probability? - bin.fake_share?).abs() * bin.count as f64);
    let gaps: f64 = bins(probabilities, fake, n_bins)?.into_iter().filter_map(gap).sum();
    Some(gaps / probabilities.len() as f64)
}

fn mean(probabilities: &[f64], fake: &[bool], of_row: impl Fn(f64, bool) -> f64) -> Option<f64> {
    let sum = || probabilities.iter().zip(fake).map(|(p, fake)| of_row(*p, *fake)).sum::<f64>();
    are_usable(probabilities, fake).then(|| sum() / probabilities.len() as f64)
}

fn are_usable(probabilities: &[f64], fake: &[bool]) -> bool {
    !fake.is_empty() && probabilities.len() == fake.len() && probabilities.iter().all(|p| (0.0..=1.0).contains(p))
}

#[cfg(test)]
mod tests {
    use super::{bins, brier_score, expected_calibration_error, log_loss};

    #[test]
    fn what_is_no_probability_has_no_figure() {
        for p in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
            assert_eq!(log_loss(&[p], &[true]), None);
            assert_eq!(brier_score(&[p], &[true]), None);
            assert_eq!(expected_calibration_error(&[p], &[true], 15), None);
        }
        assert_eq!((log_loss(&[], &[]), brier_score(&[0.5], &[]), bins(&[0.5], &[true], 0)), (None, None, None));
    }

    #[test]
    fn a_sure_and_wrong_row_costs_much_and_not_everything() {
        assert!((log_loss(&[0.0], &[true]).unwrap() - 36.04).abs() < 0.01);
        assert!((log_loss(&[1.0], &[false]).unwrap() - 36.04).abs() < 0.01);
        assert_eq!(brier_score(&[0.0, 1.0], &[true, true]), Some(0.5));
    }

    #[test]
    fn an_edge_belongs_to_the_bin_below_it() {
        let counts =
            |p: &[f64], n| bins(p, &vec![true; p.len()], n).unwrap().iter().map(|b| b.count).collect::<Vec<_>>();
        assert_eq!(counts(&[0.0, 0.25, 0.26, 0.5, 0.75, 1.0], 4), [2, 2, 1, 1]);
        assert_eq!(counts(&[0.0, 1.0], 1), [2]);
        let found = bins(&[0.1, 0.9], &[false, true], 2).unwrap();
        assert_eq!((found[0].fake_share, found[1].mean_probability, found[1].upper), (Some(0.0), Some(0.9), 1.0));
        assert_eq!(bins(&[0.9], &[true], 2).unwrap()[0].mean_probability, None);
    }

    #[test]
    fn one_class_alone_still_has_an_error() {
        assert!((expected_calibration_error(&[0.9, 0.9], &[true, true], 15).unwrap() - 0.1).abs() < 1e-15);
    }
}
