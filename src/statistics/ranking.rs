//! Scores and labels → how well the scores put fakes above real ones.
//!
//! In: scores of any scale (infinities rank, NaN does not), which rows are fake, and how often each row counts. Out: one
//! figure, or `None` where it does not exist: one class alone, a NaN, slices of different lengths. Rows of equal score
//! are one point of the curve, as in scikit-learn. Never: a threshold in the middle of a tie.
//!
//! A [`Ranking`] sorts once, so that a figure of a resample ([`super::bootstrap`]) is one walk over the rows.

use rayon::slice::ParallelSliceMut;

/// How often each row counts.
#[derive(Debug, Clone, Copy)]
pub enum Counts<'a> {
    Once,
    /// By row; a row that counts 0 times is as good as absent.
    Of(&'a [u32]),
}

impl Counts<'_> {
    fn of(self, row: u32) -> u64 {
        match self {
            Self::Once => 1,
            Self::Of(counts) => counts.get(row as usize).copied().unwrap_or(0).into(),
        }
    }
}

/// Where to call a row fake: from this score on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// A score that occurs.
    Score(f64),
    /// Even the highest score that occurs lets too many real ones through: nothing is called fake.
    AboveEveryScore,
}

/// Rows from the highest score down.
#[derive(Debug, Clone)]
pub struct Ranking {
    rows: Vec<Ranked>,
}

#[derive(Debug, Clone, Copy)]
struct Ranked {
    score: f64,
    row: u32,
    fake: bool,
}

/// A point of the ROC curve: what has at least this score. Integers, so that no order of summation shows.
#[derive(Debug, Clone, Copy)]
struct Point {
    score: f64,
    reals: u64,
    fakes: u64,
}

impl Ranking {
    /// O(n log n). `None` for slices of different lengths, a NaN, or more than 2³² rows.
    #[must_use]
    pub fn new(scores: &[f64], fake: &[bool]) -> Option<Self> {
        let is_usable = scores.len() == fake.len()
            && u32::try_from(scores.len()).is_ok()
            && !scores.iter().any(|score| score.is_nan());
        let ranked = |((score, fake), row): ((&f64, &bool), u32)| Ranked { score: *score, row, fake: *fake };
        let mut rows: Vec<_> = is_usable.then(|| scores.iter().zip(fake).zip(0..).map(ranked).collect())?;
        rows.par_sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
        Some(Self { rows })
    }

    /// The curve after its first point (0, 0). −0 and 0 are one score: the order puts them side by side, `==` joins them.
    fn points<'a>(&'a self, counts: Counts<'a>) -> impl Iterator<Item = Point> + 'a {
        let (mut reals, mut fakes) = (0, 0);
        self.rows.chunk_by(|a, b| a.score == b.score).filter_map(move |tie| {
            let before = reals + fakes;
            for row in tie {
                let count = counts.of(row.row);
                fakes += if row.fake { count } else { 0 };
                reals += if row.fake { 0 } else { count };
            }
            (reals + fakes > before).then_some(Point { score: tie.first()?.score, reals, fakes })
        })
    }

    /// (real, fake), or `None` unless both are there.
    fn totals(&self, counts: Counts) -> Option<(u64, u64)> {
        let (mut reals, mut fakes) = (0, 0);
        for row in &self.rows {
            *(if row.fake { &mut fakes } else { &mut reals }) += counts.of(row.row);
        }
        (reals > 0 && fakes > 0).then_some((reals, fakes))
    }

    /// See [`auc`].
    #[must_use]
    pub fn auc(&self, counts: Counts) -> Option<f64> {
        let (mut reals, mut fakes) = (0, 0);
        // Twice the number of pairs in the right order, a tie being half of one; u128 holds it for any counts.
        let mut twice_right = 0_u128;
        for point in self.points(counts) {
            twice_right += u128::from(point.reals - reals) * (u128::from(fakes) + u128::from(point.fakes));
            (reals, fakes) = (point.reals, point.fakes);
        }
        (reals > 0 && fakes > 0).then(|| twice_right as f64 / (2.0 * reals as f64 * fakes as f64))
    }

    /// See [`average_precision`].
    #[must_use]
    pub fn average_precision(&self, counts: Counts) -> Option<f64> {
        let (mut reals, mut fakes) = (0, 0);
        let mut sum = 0.0;
        for point in self.points(counts) {
            let precision = point.fakes as f64 / (point.fakes + point.reals) as f64;
            sum += (point.fakes - fakes) as f64 * precision;
            (reals, fakes) = (point.reals, point.fakes);
        }
        (reals > 0 && fakes > 0).then(|| sum / fakes as f64)
    }

    /// See [`equal_error_rate`].
    #[must_use]
    pub fn equal_error_rate(&self, counts: Counts) -> Option<f64> {
        let (reals, fakes) = self.totals(counts)?;
        let (mut fpr, mut tpr) = (0.0, 0.0);
        for point in self.points(counts) {
            let (next_fpr, next_tpr) = (point.reals as f64 / reals as f64, point.fakes as f64 / fakes as f64);
            // Grows with every point, from −1 at (0, 0) to 1 at (1, 1).
            let (before, after) = (fpr + tpr - 1.0, next_fpr + next_tpr - 1.0);
            if after >= 0.0 {
                return Some(fpr + (next_fpr - fpr) * (-before / (after - before)));
            }
            (fpr, tpr) = (next_fpr, next_tpr);
        }
        None
    }

    /// See [`tpr_at_fpr`].
    #[must_use]
    pub fn tpr_at_fpr(&self, counts: Counts, fpr: f64) -> Option<f64> {
        let (reals, fakes) = self.totals(counts)?;
        let last = self.points(counts).take_while(|point| point.reals as f64 / reals as f64 <= fpr).last();
        // At (0, 0) nothing is called fake.
        (fpr >= 0.0).then(|| last.map_or(0.0, |point| point.fakes as f64 / fakes as f64))
    }

    /// See [`threshold_at_fpr`].
    #[must_use]
    pub fn threshold_at_fpr(&self, counts: Counts, wanted_fpr: f64) -> Option<Threshold> {
        let (reals, _) = self.totals(counts)?;
        let last = self.points(counts).take_while(|point| point.reals as f64 / reals as f64 <= wanted_fpr).last();
        (wanted_fpr >= 0.0).then(|| last.map_or(Threshold::AboveEveryScore, |point| Threshold::Score(point.score)))
    }
}

/// The area under the ROC curve: how often a fake scores above a real one, a tie being half of it.
#[must_use]
pub fn auc(scores: &[f64], fake: &[bool]) -> Option<f64> {
    Ranking::new(scores, fake)?.auc(Counts::Once)
}

/// `sklearn.metrics.average_precision_score`: Σ (recall − recall before) · precision, without interpolation.
#[must_use]
pub fn average_precision(scores: &[f64], fake: &[bool]) -> Option<f64> {
    Ranking::new(scores, fake)?.average_precision(Counts::Once)
}

/// Where the ROC curve, straight between its points, has a false positive rate of 1 − its true positive rate.
#[must_use]
pub fn equal_error_rate(scores: &[f64], fake: &[bool]) -> Option<f64> {
    Ranking::new(scores, fake)?.equal_error_rate(Counts::Once)
}

/// The highest true positive rate at a point of the ROC curve whose false positive rate is at most `fpr`.
///
/// Every score is a point (scikit-learn's `drop_intermediate=False`): a point left out of a straight line may be the one.
#[must_use]
pub fn tpr_at_fpr(scores: &[f64], fake: &[bool], fpr: f64) -> Option<f64> {
    Ranking::new(scores, fake)?.tpr_at_fpr(Counts::Once, fpr)
}

/// The smallest score t that occurs of which the share of real ones with score ≥ t is at most `wanted_fpr`.
///
/// Between t and the next lower score no number is a safer choice: what scores there has not been seen.
#[must_use]
pub fn threshold_at_fpr(scores: &[f64], fake: &[bool], wanted_fpr: f64) -> Option<Threshold> {
    Ranking::new(scores, fake)?.threshold_at_fpr(Counts::Once, wanted_fpr)
}

#[cfg(test)]
#[path = "ranking_tests.rs"]
mod tests;
