//! Splits, groups and classes: whether labels are fit to be measured by, and which of them are asked for.
//!
//! In: rows of labels. Out: the same rows, or the reason why a number from them would mislead. It never moves a row to
//! another split.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::labels::{LabelRow, Labels};
use super::{quoted, some_of};

/// Groups that a message lists.
const SHOWN_GROUPS: usize = 5;

/// Splits that a message lists: there are three or four, or a column was mistaken for one.
const SHOWN_SPLITS: usize = 10;

/// Whether every group is in one split, so that nothing is tested with what it was trained by.
///
/// Of all rows, before any are chosen. Rows in no split count as in a split of their own: whoever left the word out
/// for half a group has forgotten it.
///
/// # Errors
/// Groups in several splits, with their names and splits.
pub fn check_groups(rows: &[LabelRow]) -> Result<(), String> {
    let mut split_of: HashMap<&str, Option<&str>> = HashMap::new();
    let mut torn: BTreeMap<&str, BTreeSet<Option<&str>>> = BTreeMap::new();
    for row in rows {
        let (Some(group), split) = (row.group.as_deref(), row.split.as_deref()) else { continue };
        let first = *split_of.entry(group).or_insert(split);
        if first != split {
            torn.entry(group).or_default().extend([first, split]);
        }
    }
    if torn.is_empty() {
        return Ok(());
    }
    let shown = torn.iter().take(SHOWN_GROUPS).map(|(group, splits)| {
        let names: Vec<_> = splits.iter().take(SHOWN_SPLITS).map(|split| in_words(*split)).collect();
        let more = if splits.len() > names.len() { " and others" } else { "" };
        format!("{} is in {}{more}", quoted(group), names.join(" and "))
    });
    Err(format!(
        "expected every group in one split, found {} in several: {}",
        torn.len(),
        some_of(&shown.collect::<Vec<_>>(), torn.len())
    ))
}

/// The rows of one split, in their order.
///
/// # Errors
/// A split that no row is in: lists those that there are, with their rows.
pub fn choose(mut labels: Labels, split: &str) -> Result<Labels, String> {
    if labels.rows.iter().any(|row| row.split.as_deref() == Some(split)) {
        labels.rows.retain(|row| row.split.as_deref() == Some(split));
        return Ok(labels);
    }
    let mut rows_of: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for row in &labels.rows {
        *rows_of.entry(row.split.as_deref()).or_default() += 1;
    }
    let shown = rows_of.iter().take(SHOWN_SPLITS).map(|(split, rows)| match rows {
        1 => format!("{} (1 row)", in_words(*split)),
        _ => format!("{} ({rows} rows)", in_words(*split)),
    });
    let found = some_of(&shown.collect::<Vec<_>>(), rows_of.len());
    Err(format!("split {}: expected rows of it, found only {found}", quoted(split)))
}

/// Whether both classes are there: with one of them nothing can be told apart, let alone measured.
///
/// `fake`: of what is used, all or a split.
///
/// # Errors
/// One class only, or none: says which, and how often.
pub fn check_classes(fake: impl IntoIterator<Item = bool>, split: Option<&str>) -> Result<(), String> {
    let (mut real, mut fakes) = (0_usize, 0_usize);
    for is_fake in fake {
        *(if is_fake { &mut fakes } else { &mut real }) += 1;
    }
    let found = match (real, fakes) {
        (0, 0) => "none".to_owned(),
        (0, _) => format!("{fakes} fake and no real"),
        (_, 0) => format!("{real} real and no fake"),
        _ => return Ok(()),
    };
    let of = split.map_or(String::new(), |split| format!(" in split {}", quoted(split)));
    Err(format!("expected real and fake media with labels{of}, found {found}"))
}

fn in_words(split: Option<&str>) -> String {
    split.map_or("no split".to_owned(), quoted)
}

#[cfg(test)]
mod tests {
    use super::super::labels::Identifier;
    use super::{LabelRow, Labels, check_classes, check_groups, choose};

    /// Group and split; empty is none.
    fn rows(of: &[(&str, &str)]) -> Vec<LabelRow> {
        let word = |word: &str| (!word.is_empty()).then(|| word.to_owned());
        let row = |(at, (group, split)): (usize, &(&str, &str))| LabelRow {
            name: at.to_string(),
            fake: at % 2 == 1,
            split: word(split),
            group: word(group),
        };
        of.iter().enumerate().map(row).collect()
    }

    fn check_group(of: &[(&str, &str)], expected: Result<(), &str>) {
        assert_eq!(check_groups(&rows(of)), expected.map_err(str::to_owned), "{of:?}");
    }

    #[test]
    fn a_group_is_in_one_split() {
        check_group(&[], Ok(()));
        check_group(&[("anna", "train"), ("ben", "test"), ("anna", "train"), ("", "test"), ("", "train")], Ok(()));
        check_group(&[("anna", ""), ("anna", ""), ("ben", "test")], Ok(()));
        let found = "expected every group in one split, found 1 in several: \"anna\" is in \"test\" and \"train\"";
        check_group(&[("anna", "train"), ("ben", "test"), ("anna", "test"), ("anna", "train")], Err(found));
        let found = "expected every group in one split, found 1 in several: \"a\" is in \"x\" and \"y\" and \"z\"";
        check_group(&[("a", "z"), ("a", "y"), ("a", "x")], Err(found));
    }

    #[test]
    fn a_group_half_of_which_is_in_no_split_is_torn() {
        let found = "expected every group in one split, found 1 in several: \"anna\" is in no split and \"test\"";
        check_group(&[("anna", "test"), ("anna", "")], Err(found));
    }

    #[test]
    fn five_groups_are_named_and_all_counted() {
        let names: Vec<_> = (0..7).map(|at| format!("g{at}")).collect();
        let of: Vec<_> = names.iter().rev().flat_map(|name| [(name.as_str(), "a"), (name.as_str(), "b")]).collect();
        let named: Vec<_> = (0..5).map(|at| format!("\"g{at}\" is in \"a\" and \"b\"")).collect();
        let found = format!("expected every group in one split, found 7 in several: {}; and 2 more", named.join("; "));
        check_group(&of, Err(&found));
        // One in so many splits that they are no splits.
        let splits: Vec<_> = (10..40).map(|at| at.to_string()).collect();
        let of: Vec<_> = splits.iter().map(|split| ("anna", split.as_str())).collect();
        assert!(check_groups(&rows(&of)).unwrap_err().ends_with("and \"19\" and others"));
    }

    /// The names of the rows chosen.
    fn check_choice(of: &[(&str, &str)], split: &str, expected: Result<&[&str], &str>) {
        let labels = Labels { rows: rows(of), by: Identifier::Key, duplicates: 0, ignored_columns: vec![] };
        let chosen = choose(labels, split);
        let names = chosen.map(|labels| labels.rows.into_iter().map(|row| row.name).collect::<Vec<_>>());
        let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(names, expected.map_err(str::to_owned), "{split:?}");
    }

    #[test]
    fn a_split_is_chosen_by_its_name() {
        let of = [("", "train"), ("", "test"), ("", ""), ("", "train")];
        check_choice(&of, "train", Ok(&["0", "3"]));
        check_choice(&of, "test", Ok(&["1"]));
    }

    #[test]
    fn a_split_that_is_not_there_names_those_that_are() {
        let of = [("", "train"), ("", "test"), ("", ""), ("", "train")];
        let found = "found only no split (1 row); \"test\" (1 row); \"train\" (2 rows)";
        check_choice(&of, "Test", Err(&format!("split \"Test\": expected rows of it, {found}")));
        check_choice(&of, "", Err(&format!("split \"\": expected rows of it, {found}")));
        check_choice(&[("", "")], "test", Err("split \"test\": expected rows of it, found only no split (1 row)"));
        let splits: Vec<_> = (10..40).map(|at| at.to_string()).collect();
        let of: Vec<_> = splits.iter().map(|split| ("", split.as_str())).collect();
        let named: Vec<_> = (10..20).map(|at| format!("\"{at}\" (1 row)")).collect();
        let found = format!("found only {}; and 20 more", named.join("; "));
        check_choice(&of, "test", Err(&format!("split \"test\": expected rows of it, {found}")));
    }

    fn check_class(fake: &[bool], split: Option<&str>, expected: Result<(), &str>) {
        assert_eq!(check_classes(fake.iter().copied(), split), expected.map_err(str::to_owned), "{fake:?}");
    }

    #[test]
    fn both_classes_are_needed() {
        check_class(&[true, false], None, Ok(()));
        check_class(&[true; 3], None, Err("expected real and fake media with labels, found 3 fake and no real"));
        let found = "expected real and fake media with labels in split \"test\", found 1 real and no fake";
        check_class(&[false], Some("test"), Err(found));
        check_class(&[], None, Err("expected real and fake media with labels, found none"));
    }
}
