//! Groups and labels → folds for cross-validation.
//!
//! In: the group of each row (its video, its person), which rows are fake, how many folds. Out: the fold of each row, all
//! rows of a group in one, every fold with both classes, sizes and shares of the classes about equal.
//! Never: chance. The folds follow from what the groups hold and how their ids sort, whatever the order of the rows.

use std::cmp::Reverse;

use super::numbered;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldsError {
    #[error("folds: expected at least 2, found {found}")]
    OneFold { found: usize },
    #[error("labels: expected one for each of {expected} rows, found {found}")]
    Length { expected: usize, found: usize },
    /// Each fold needs a group of either class.
    #[error("groups with {class} rows: expected at least {expected}, one for each fold, found {found}")]
    TooFewGroups { class: &'static str, expected: usize, found: usize },
    /// Groups that hold both classes can be so few that none fit into the last folds.
    #[error("folds: expected {class} rows in each, found none in fold {fold}")]
    Unfilled { class: &'static str, fold: usize },
}

const CLASSES: [&str; 2] = ["real", "fake"];

/// Rows by class: real, fake.
type PerClass = [usize; 2];

/// The fold, from 0 to `k` − 1, of each row.
///
/// Largest groups first, those of equal size in the order of their ids, each goes where it raises the sum over classes
/// and folds of (rows of the class in the fold / rows of the class)² least. Once a class has only as many groups
/// left as folds that lack it, they go there.
///
/// # Errors
/// Fewer than two folds, labels of another number, or too few groups of a class.
pub fn folds<G: Ord>(groups: &[G], fake: &[bool], k: usize) -> Result<Vec<usize>, FoldsError> {
    if k < 2 {
        return Err(FoldsError::OneFold { found: k });
    }
    if groups.len() != fake.len() {
        return Err(FoldsError::Length { expected: groups.len(), found: fake.len() });
    }
    let (group_of_row, n_groups) = numbered(groups);
    let mut rows_of_group: Vec<PerClass> = vec![[0; 2]; n_groups];
    for (group, fake) in group_of_row.iter().zip(fake) {
        rows_of_group[*group][usize::from(*fake)] += 1;
    }
    let mut groups_left = [0, 1].map(|class| rows_of_group.iter().filter(|rows| rows[class] > 0).count());
    for (found, class) in groups_left.into_iter().zip(CLASSES) {
        if found < k {
            return Err(FoldsError::TooFewGroups { class, expected: k, found });
        }
    }
    let totals = [0, 1].map(|class| rows_of_group.iter().map(|rows| rows[class]).sum::<usize>() as f64);
    let mut order: Vec<usize> = (0..n_groups).collect();
    order.sort_by_key(|group| Reverse(rows_of_group[*group].iter().sum::<usize>())); // stable
    let mut filled: Vec<PerClass> = vec![[0; 2]; k];
    let mut fold_of_group = vec![0; n_groups];
    for group in order {
        let rows = rows_of_group[group];
        let fold = best_fold(&filled, rows, groups_left, totals);
        fold_of_group[group] = fold;
        for class in 0..2 {
            filled[fold][class] += rows[class];
            groups_left[class] -= usize::from(rows[class] > 0);
        }
    }
    for (fold, rows) in filled.iter().enumerate() {
        if let Some((_, class)) = rows.iter().zip(CLASSES).find(|(rows, _)| **rows == 0) {
            return Err(FoldsError::Unfilled { class, fold });
        }
    }
    Ok(group_of_row.into_iter().map(|group| fold_of_group[group]).collect())
}

/// The first of the best.
fn best_fold(filled: &[PerClass], rows: PerClass, groups_left: [usize; 2], totals: [f64; 2]) -> usize {
    let is_urgent = [0, 1].map(|class| {
        let lacking = filled.iter().filter(|fold| fold[class] == 0).count();
        rows[class] > 0 && lacking > 0 && groups_left[class] <= lacking
    });
    let rank = |fold: &PerClass| {
        let missed = (0..2).filter(|class| is_urgent[*class] && fold[*class] > 0).count();
        let raise = |class: usize| (rows[class] * (2 * fold[class] + rows[class])) as f64 / totals[class].powi(2);
        (missed, raise(0) + raise(1), fold[0] + fold[1])
    };
    let better = |a: &(usize, f64, usize), b: &(usize, f64, usize)| {
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)) // min_by keeps the first of equals
    };
    let best = filled.iter().map(rank).enumerate().min_by(|a, b| better(&a.1, &b.1));
    best.map_or(0, |(fold, _)| fold)
}

#[cfg(test)]
mod tests {
    use super::{FoldsError, folds};

    /// (rows, fakes) of each fold.
    fn sizes(found: &[usize], fake: &[bool], k: usize) -> Vec<(usize, usize)> {
        let count = |fold| found.iter().zip(fake).filter(move |(of, _)| **of == fold);
        (0..k).map(|fold| (count(fold).count(), count(fold).filter(|(_, fake)| **fake).count())).collect()
    }

    #[test]
    fn groups_stay_whole_and_folds_are_alike() {
        // 200 groups of 1 to 17 rows, a quarter of them fake.
        let of_group = |group: u64| (0..1 + group * 7 % 17).map(move |_| (group, group.is_multiple_of(4)));
        let (groups, fake): (Vec<u64>, Vec<bool>) = (0..200).flat_map(of_group).unzip();
        let found = folds(&groups, &fake, 5).unwrap();
        for (a, b) in groups.iter().zip(&found).zip(groups.iter().zip(&found).skip(1)).filter(|(a, b)| a.0 == b.0) {
            assert_eq!(a.1, b.1, "group {}", a.0);
        }
        let (rows, fakes) = (groups.len() as f64 / 5.0, fake.iter().filter(|fake| **fake).count() as f64 / 5.0);
        for (size, fake) in sizes(&found, &fake, 5) {
            assert!((size as f64 / rows - 1.0).abs() < 0.01, "{size} rows, {rows} on average");
            assert!((fake as f64 / fakes - 1.0).abs() < 0.03, "{fake} fakes, {fakes} on average");
        }
    }

    #[test]
    fn the_order_of_the_rows_does_not_matter() {
        let groups: Vec<String> = (0..60).map(|row| format!("video {}", row * row % 23)).collect();
        let fake: Vec<bool> = (0..60).map(|row| row * row % 23 % 2 == 0).collect();
        let mut backwards = groups.clone();
        backwards.reverse();
        let found = folds(&backwards, &fake.iter().rev().copied().collect::<Vec<_>>(), 3).unwrap();
        assert_eq!(folds(&groups, &fake, 3).unwrap(), found.into_iter().rev().collect::<Vec<_>>());
    }

    #[test]
    fn as_many_groups_of_a_class_as_folds_go_one_to_each() {
        // Fakes in three groups only, and among so many real rows that balance alone would not spread them.
        let mixed = |group: u64, reals| std::iter::repeat_n((group, false), reals).chain([(group, true)]);
        let rows = mixed(0, 50).chain(mixed(1, 2)).chain(mixed(2, 1)).chain((3..40).map(|group| (group, false)));
        let (groups, fake): (Vec<u64>, Vec<bool>) = rows.unzip();
        let found = folds(&groups, &fake, 3).unwrap();
        assert!(sizes(&found, &fake, 3).iter().all(|(_, fakes)| *fakes == 1), "{found:?}");
    }

    #[test]
    fn what_cannot_be_divided_is_said() {
        let of = |groups: &[u64], fake: &[bool], k| folds(groups, fake, k).unwrap_err();
        assert_eq!(of(&[1, 2], &[true, false], 1), FoldsError::OneFold { found: 1 });
        assert_eq!(of(&[1], &[true, false], 2), FoldsError::Length { expected: 1, found: 2 });
        assert_eq!(of(&[], &[], 2), FoldsError::TooFewGroups { class: "real", expected: 2, found: 0 });
        let fakes_in_one = FoldsError::TooFewGroups { class: "fake", expected: 2, found: 1 };
        assert_eq!(of(&[1, 1, 2, 3], &[true, true, false, false], 2), fakes_in_one);
    }
}
