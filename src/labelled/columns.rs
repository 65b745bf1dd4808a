//! The names of a label file's columns → which of them is which.
//!
//! In any order, in any case, with or without blanks around them. It never looks at a row.

use std::collections::BTreeSet;

use super::labels::Identifier;
use super::{quoted, some_of};

/// Names of columns that a message lists.
const SHOWN_COLUMNS: usize = 10;

/// Where the columns of a label file stand, counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    pub by: Identifier,
    /// Of the key or the media id, whichever decides.
    pub name: usize,
    pub label: usize,
    pub split: Option<usize>,
    pub group: Option<usize>,
    /// Sorted, each once.
    pub ignored: Vec<String>,
}

impl Columns {
    /// # Errors
    /// A column that is missing, and one of ours that stands there twice.
    pub fn find<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Result<Self, String> {
        let (mut key, mut media_id, mut label, mut split, mut group) = (None, None, None, None, None);
        let mut ignored = BTreeSet::new();
        for (at, name) in names.clone().map(str::trim).enumerate() {
            let ours = [
                ("key", &mut key),
                ("media_id", &mut media_id),
                ("label", &mut label),
                ("split", &mut split),
                ("group", &mut group),
            ];
            match ours.into_iter().find(|(word, _)| name.eq_ignore_ascii_case(word)) {
                Some((word, Some(_))) => return Err(format!("column {word}: expected it once, found it twice")),
                Some((_, place)) => *place = Some(at),
                None => _ = ignored.insert(name),
            }
        }
        let (by, name) = match (media_id, key) {
            (Some(at), _) => (Identifier::MediaId, at),
            (None, Some(at)) => (Identifier::Key, at),
            (None, None) => return Err(missing("key or media_id", names)),
        };
        let label = label.ok_or_else(|| missing("label", names))?;
        let ignored = ignored.into_iter().map(|name| if name.is_empty() { "(unnamed)" } else { name }.to_owned());
        Ok(Self { by, name, label, split, group, ignored: ignored.collect() })
    }

    /// Those whose values are read.
    pub fn read(&self) -> impl Iterator<Item = usize> {
        [self.name, self.label].into_iter().chain(self.split).chain(self.group)
    }
}

fn missing<'a>(expected: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    let shown: Vec<_> = names.clone().take(SHOWN_COLUMNS).map(quoted).collect();
    let count = names.clone().count();
    let found = if count == 0 { "none".to_owned() } else { some_of(&shown, count) };
    // What spreadsheets write where the comma is the decimal point.
    let hint = match names.clone().next() {
        Some(name) if count == 1 && name.contains([';', '\t']) => ": separate columns by commas",
        _ => "",
    };
    format!("columns: expected {expected}, found {found}{hint}")
}

#[cfg(test)]
mod tests {
    use super::{Columns, Identifier};

    /// Name, label, split, group.
    type Places = (usize, usize, Option<usize>, Option<usize>);

    fn check(names: &[&str], expected: Result<(Identifier, Places, &[&str]), &str>) {
        let found = Columns::find(names.iter().copied());
        let expected = expected.map_err(str::to_owned).map(|(by, (name, label, split, group), ignored)| {
            let ignored = ignored.iter().map(|name| (*name).to_owned()).collect();
            Columns { by, name, label, split, group, ignored }
        });
        assert_eq!(found, expected, "{names:?}");
    }

    #[test]
    fn columns_stand_in_any_order_and_case() {
        check(&["key", "label"], Ok((Identifier::Key, (0, 1, None, None), &[])));
        check(&["group", "Split", " label ", "KEY"], Ok((Identifier::Key, (3, 2, Some(1), Some(0)), &[])));
        check(&["label", "media_id"], Ok((Identifier::MediaId, (1, 0, None, None), &[])));
    }

    #[test]
    fn the_media_id_decides_where_both_are() {
        check(&["key", "media_id", "label"], Ok((Identifier::MediaId, (1, 2, None, None), &[])));
        check(&["media_id", "key", "label"], Ok((Identifier::MediaId, (0, 2, None, None), &[])));
    }

    #[test]
    fn other_columns_are_listed_once_and_sorted() {
        let ignored: &[&str] = &["(unnamed)", "note", "source"];
        check(&["", "source", "key", "note", "label", "note", " "], Ok((Identifier::Key, (2, 4, None, None), ignored)));
    }

    #[test]
    fn what_is_missing_or_there_twice_is_named() {
        check(&["label"], Err("columns: expected key or media_id, found \"label\""));
        check(&["key", "class"], Err("columns: expected label, found \"key\"; \"class\""));
        check(&[], Err("columns: expected key or media_id, found none"));
        check(&["key", "label", "Label"], Err("column label: expected it once, found it twice"));
        check(&["key", "label", "split", "key"], Err("column key: expected it once, found it twice"));
        let found = "columns: expected key or media_id, found \"key;label\": separate columns by commas";
        check(&["key;label"], Err(found));
        let found = "columns: expected key or media_id, found \"key\\tlabel\": separate columns by commas";
        check(&["key\tlabel"], Err(found));
    }

    #[test]
    fn a_message_stays_short_whatever_the_file() {
        let long = "x".repeat(10 << 20);
        let shown = "x".repeat(120);
        check(&[&long], Err(&format!("columns: expected key or media_id, found \"{shown}\"…")));
        let many = "\"a\"; ".repeat(10);
        check(&["a"; 1000], Err(&format!("columns: expected key or media_id, found {many}and 990 more")));
    }
}
