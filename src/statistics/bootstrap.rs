//! A figure → the interval in which it would lie if other groups had been drawn.
//!
//! In: the group of each row (its video, say), a figure of rows that count so and so often, a seed. Out: a 95 %
//! percentile interval (Efron, "Bootstrap methods", Ann. Stat. 1979). Whole groups are drawn, since faces of one video
//! resemble each other: drawn one by one they would make every interval too narrow.
//! Never: a random source beside the seed, or a result that hangs on the number of threads.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::numbered;

/// Shares of the resamples below and above which the interval ends.
const TAILS: [f64; 2] = [0.025, 0.975];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bootstrap {
    /// A few hundred for an end's first two digits, 2,000 for a third.
    pub resamples: usize,
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
    /// Resamples that the interval is made of …
    pub resamples: usize,
    /// … and those in which the figure does not exist, such as one that drew no fakes. Many of them mean that the
    /// interval tells little.
    pub without_figure: usize,
}

/// As many groups as there are, drawn with replacement, again and again.
///
/// `figure` is told how often each row counts, in the order of `groups`; see [`super::ranking::Counts`]. Rows keep the
/// order of their groups' ids out of it: only which rows belong together matters, and how the ids sort.
/// `None` where the figure exists in no resample, or nothing is to be drawn.
pub fn interval<G: Ord>(
    groups: &[G],
    bootstrap: Bootstrap,
    figure: impl Fn(&[u32]) -> Option<f64> + Sync,
) -> Option<Interval> {
    let (group_of_row, n_groups) = numbered(groups);
    let buffers = || (vec![0_u32; n_groups], vec![0_u32; group_of_row.len()]);
    let of_resample = |(of_group, of_row): &mut (Vec<u32>, Vec<u32>), resample: usize| {
        count_draws(bootstrap.seed, resample, of_group);
        for (count, group) in of_row.iter_mut().zip(&group_of_row) {
            *count = of_group[*group];
        }
        figure(of_row).filter(|figure| !figure.is_nan())
    };
    let figures: Vec<Option<f64>> = (0..bootstrap.resamples).into_par_iter().map_init(buffers, of_resample).collect();
    let mut found: Vec<f64> = figures.into_iter().flatten().collect();
    found.sort_by(f64::total_cmp);
    let [low, high] = TAILS.map(|share| quantile(&found, share));
    let without_figure = bootstrap.resamples - found.len();
    Some(Interval { low: low?, high: high?, resamples: found.len(), without_figure })
}

/// Draws as many groups as there are, and counts how often each came.
fn count_draws(seed: u64, resample: usize, counts: &mut [u32]) {
    counts.fill(0);
    let n = counts.len() as u64;
    for draw in 0..n {
        let bits = random_bits(seed, (resample as u64).wrapping_mul(n).wrapping_add(draw));
        // The high half of a product is uniform to within n / 2⁶⁴, which no resample can show.
        counts[((u128::from(bits) * u128::from(n)) >> 64) as usize] += 1;
    }
}

/// Number `counter` of the sequence that starts at `seed`: SplitMix64 (Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", OOPSLA 2014), whose state is a counter, so that any resample can be drawn first.
fn random_bits(seed: u64, counter: u64) -> u64 {
    let state = seed.wrapping_add(counter.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// numpy's default: straight between the two nearest.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted.get(place.floor() as usize)?, sorted.get(place.ceil() as usize)?);
    // Equal ends, also where both are infinite.
    Some(if low == high { *low } else { low + (high - low) * place.fract() })
}

#[cfg(test)]
mod tests {
    use super::{Bootstrap, interval, random_bits};
    use crate::statistics::ranking::{Counts, Ranking};

    const BOOTSTRAP: Bootstrap = Bootstrap { resamples: 300, seed: 7 };

    #[test]
    fn the_generator_is_splitmix64() {
        // The first three of seed 1234567, as the authors' C prints them.
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([0, 1, 2].map(|counter| random_bits(1_234_567, counter)), expected);
    }

    #[test]
    fn rows_of_one_group_count_equally_often_and_all_draws_are_counted() {
        let groups = ["b", "a", "b", "c", "a", "b"];
        let figure = |counts: &[u32]| {
            assert!(counts[0] == counts[2] && counts[2] == counts[5] && counts[1] == counts[4], "{counts:?}");
            assert_eq!(counts[0] + counts[1] + counts[3], 3);
            Some(f64::from(counts[0]))
        };
        let found = interval(&groups, BOOTSTRAP, figure).unwrap();
        assert_eq!((found.low, found.resamples, found.without_figure), (0.0, 300, 0));
    }

    #[test]
    fn resamples_without_the_figure_are_left_out_and_counted() {
        // One group of fakes of three: absent from (2/3)³ of the resamples.
        let ranking = Ranking::new(&[0.1, 0.2, 0.9], &[false, false, true]).unwrap();
        let found = interval(&[1, 2, 3], BOOTSTRAP, |counts| ranking.auc(Counts::Of(counts))).unwrap();
        assert_eq!((found.low, found.high, found.resamples + found.without_figure), (1.0, 1.0, 300));
        assert!((70..=120).contains(&found.without_figure), "{found:?}");
    }

    #[test]
    fn no_rows_no_resamples_or_no_figure_leave_no_interval() {
        assert_eq!(interval::<u64>(&[], BOOTSTRAP, |_| None), None);
        assert_eq!(interval(&[1], Bootstrap { resamples: 0, seed: 0 }, |_| Some(1.0)), None);
        assert_eq!(interval(&[1], BOOTSTRAP, |_| Some(f64::NAN)), None);
    }

    #[test]
    fn the_interval_does_not_hang_on_the_number_of_threads() {
        let groups: Vec<u64> = (0..500).map(|row| row / 3).collect();
        let mean = |counts: &[u32]| Some(counts.iter().zip(0_u32..).map(|(n, row)| f64::from(n * row)).sum::<f64>());
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| interval(&groups, BOOTSTRAP, mean))
        };
        assert_eq!(with(1), with(4));
    }
}
