use super::{Counts, Ranking, Threshold, auc, average_precision, equal_error_rate, threshold_at_fpr, tpr_at_fpr};

const T: bool = true;
const F: bool = false;

/// All figures of one case, at a false positive rate of a half.
fn figures(scores: &[f64], fake: &[bool]) -> [Option<f64>; 4] {
    [auc(scores, fake), average_precision(scores, fake), equal_error_rate(scores, fake), tpr_at_fpr(scores, fake, 0.5)]
}

#[test]
fn a_figure_without_both_classes_does_not_exist() {
    for (scores, fake) in [(&[][..], &[][..]), (&[0.1, 0.2], &[T, T]), (&[0.1, 0.2], &[F, F])] {
        assert_eq!(figures(scores, fake), [None; 4], "{scores:?}");
        assert_eq!(threshold_at_fpr(scores, fake, 0.5), None);
    }
}

#[test]
fn a_nan_or_a_missing_label_leaves_no_figure() {
    assert_eq!(figures(&[0.1, f64::NAN], &[F, T]), [None; 4]);
    assert_eq!(figures(&[0.1, 0.2], &[F]), [None; 4]);
    assert_eq!(tpr_at_fpr(&[0.1, 0.2], &[F, T], f64::NAN), None);
    assert_eq!(threshold_at_fpr(&[0.1, 0.2], &[F, T], -0.1), None);
}

#[test]
fn perfect_reversed_and_constant_scores_are_the_ends_and_the_middle() {
    assert_eq!(figures(&[0.1, 0.2, 0.8, 0.9], &[F, F, T, T]), [Some(1.0), Some(1.0), Some(0.0), Some(1.0)]);
    assert_eq!(auc(&[0.9, 0.1], &[F, T]), Some(0.0));
    assert_eq!(equal_error_rate(&[0.9, 0.1], &[F, T]), Some(1.0));
    assert_eq!(figures(&[0.3; 4], &[F, T, T, F]), [Some(0.5), Some(0.5), Some(0.5), Some(0.0)]);
}

#[test]
fn infinities_rank_and_zero_has_no_sign() {
    assert_eq!(auc(&[f64::NEG_INFINITY, 0.0, f64::INFINITY], &[F, F, T]), Some(1.0));
    assert_eq!(auc(&[-0.0, 0.0], &[F, T]), Some(0.5));
    assert_eq!(auc(&[f64::INFINITY; 2], &[F, T]), Some(0.5));
}

#[test]
fn a_threshold_stands_below_no_more_real_ones_than_allowed() {
    let (scores, fake) = ([0.9, 0.8, 0.8, 0.7, 0.6, 0.5], [T, F, T, T, F, F]);
    let check = |fpr, expected| assert_eq!(threshold_at_fpr(&scores, &fake, fpr), Some(expected), "{fpr}");
    check(0.0, Threshold::Score(0.9));
    check(0.33, Threshold::Score(0.9));
    check(1.0 / 3.0, Threshold::Score(0.7));
    check(0.99, Threshold::Score(0.6));
    check(1.0, Threshold::Score(0.5));
    // The highest score is a tie with a real one in it.
    assert_eq!(threshold_at_fpr(&[0.9, 0.9, 0.1], &[T, F, F], 0.4), Some(Threshold::AboveEveryScore));
}

#[test]
fn a_row_that_counts_twice_is_two_rows_and_one_that_counts_zero_times_is_none() {
    let (scores, fake, counts) = ([0.9, 0.8, 0.8, 0.7, 0.6, 0.5], [T, F, T, T, F, T], [1, 2, 0, 3, 1, 2]);
    let repeated = |row: usize| std::iter::repeat_n((scores[row], fake[row]), counts[row] as usize);
    let (long_scores, long_fake): (Vec<_>, Vec<_>) = (0..6).flat_map(repeated).unzip();
    let ranking = Ranking::new(&scores, &fake).unwrap();
    let of = Counts::Of(&counts);
    assert_eq!(ranking.auc(of), auc(&long_scores, &long_fake));
    assert_eq!(ranking.average_precision(of), average_precision(&long_scores, &long_fake));
    assert_eq!(ranking.equal_error_rate(of), equal_error_rate(&long_scores, &long_fake));
    assert_eq!(ranking.tpr_at_fpr(of, 0.7), tpr_at_fpr(&long_scores, &long_fake, 0.7));
    assert_eq!(ranking.threshold_at_fpr(of, 0.7), threshold_at_fpr(&long_scores, &long_fake, 0.7));
    assert_eq!(ranking.auc(Counts::Of(&[1, 0, 1, 1, 0, 1])), None);
    // Fewer counts than rows: what has none counts zero times.
    assert_eq!(ranking.auc(Counts::Of(&[1])), None);
}

#[test]
fn the_largest_counts_do_not_overflow() {
    let (scores, fake): (Vec<f64>, Vec<bool>) = (0_u32..2000).map(|row| (f64::from(row), row % 2 == 0)).unzip();
    let all = vec![u32::MAX; 2000];
    let found = Ranking::new(&scores, &fake).unwrap().auc(Counts::Of(&all)).unwrap();
    assert!((found - auc(&scores, &fake).unwrap()).abs() < 1e-12, "{found}");
}
