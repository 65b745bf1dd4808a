//! A label file, CSV or Parquet → labels: one row for each key or media id.
//!
//! Which of the two a file is, its first bytes say, never its name. It opens no file and knows no media. The order is
//! the file's.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::{from_csv, from_parquet, quoted, some_of};

/// A row takes 80 bytes and its texts: this many are 4 GB, and more than anyone has labelled.
pub(super) const MAX_ROWS: usize = 20_000_000;

/// No path is longer on Linux, and no key in S3. What is longer is a quote that was not closed, or no text.
const MAX_TEXT_BYTES: usize = 4096;

/// Keys that a message about duplicates lists.
const SHOWN_DUPLICATES: usize = 5;

/// What a label file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// No two have the same name.
    pub rows: Vec<LabelRow>,
    pub by: Identifier,
    /// Rows left out, since they said what an earlier one had said.
    pub duplicates: usize,
    /// Columns that mean nothing here: sorted, each once.
    pub ignored_columns: Vec<String>,
}

/// What a label calls its media by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identifier {
    Key,
    MediaId,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRow {
    /// The key or the media id, as it stands in the file.
    pub name: String,
    pub fake: bool,
    /// `train`, `test`, `calibrate`, or any other word.
    pub split: Option<String>,
    /// What must not be torn apart by splits: a person, a source video.
    pub group: Option<String>,
}

/// `file`: what messages call it.
///
/// # Errors
/// One line that names the file and the line (CSV) or row (Parquet, counted from 1), what was expected and what was
/// found.
pub fn read(bytes: Bytes, file: &str) -> Result<Labels, String> {
    let table = if bytes.is_empty() {
        Err("expected a header and rows, found an empty file".to_owned())
    } else if bytes.starts_with(b"PAR1") {
        from_parquet::read(bytes)
    } else {
        from_csv::read(&bytes)
    };
    let labels = table.and_then(|(columns, mut rows)| {
        if rows.is_empty() {
            return Err("expected rows, found none".to_owned());
        }
        let duplicates = collapse(&mut rows, columns.by)?;
        Ok(Labels { rows, by: columns.by, duplicates, ignored_columns: columns.ignored })
    });
    labels.map_err(|what| format!("labels {}: {what}", quoted(file)))
}

impl Identifier {
    #[must_use]
    pub fn column(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::MediaId => "media_id",
        }
    }
}

/// A row as the file has it; None is a cell without a value.
pub(super) struct Cells<'a> {
    pub name: Option<&'a str>,
    pub fake: Result<bool, String>,
    pub split: Option<&'a str>,
    pub group: Option<&'a str>,
}

impl LabelRow {
    pub(super) fn parse(cells: Cells<'_>, by: Identifier) -> Result<Self, String> {
        // Blanks may be a part of a key, but they are no key.
        let name = short(cells.name.filter(|name| !name.trim().is_empty()), by.column())?;
        let name = name.ok_or_else(|| format!("{}: expected one, found none", by.column()))?;
        let fake = cells.fake.map_err(|found| {
            format!("label: expected 0 or 1, real or fake, false or true (1, fake and true mean fake), found {found}")
        })?;
        let word = |cell: Option<&str>, column| {
            let word = short(cell.map(str::trim).filter(|word| !word.is_empty()), column)?;
            Ok::<_, String>(word.map(str::to_owned))
        };
        Ok(Self { name: name.to_owned(), fake, split: word(cells.split, "split")?, group: word(cells.group, "group")? })
    }

    fn class(&self) -> &'static str {
        if self.fake { "fake" } else { "real" }
    }
}

/// A label in words; the error is what was found.
pub(super) fn is_fake(word: &str) -> Result<bool, String> {
    let word = word.trim();
    let is = |other: &&str| word.eq_ignore_ascii_case(other);
    if ["0", "real", "false"].iter().any(is) {
        Ok(false)
    } else if ["1", "fake", "true"].iter().any(is) {
        Ok(true)
    } else if word.is_empty() {
        Err("none".to_owned())
    } else {
        Err(quoted(word))
    }
}

fn short<'a>(cell: Option<&'a str>, column: &str) -> Result<Option<&'a str>, String> {
    match cell {
        Some(text) if text.len() > MAX_TEXT_BYTES => {
            Err(format!("{column}: expected at most {MAX_TEXT_BYTES} bytes, found {}: {}", text.len(), quoted(text)))
        }
        _ => Ok(cell),
    }
}

/// Leaves the first row of each name, and says how many others there were.
fn collapse(rows: &mut Vec<LabelRow>, by: Identifier) -> Result<usize, String> {
    let mut first_of: HashMap<&str, usize> = HashMap::with_capacity(rows.len());
    let mut again: Vec<usize> = vec![]; // ascending
    let mut other_label = BTreeMap::new(); // the first row of a name → the first of that name that disagrees
    let mut other_split = BTreeMap::new();
    let mut other_group = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        let first = *first_of.entry(&row.name).or_insert(at);
        if first == at {
            continue;
        }
        again.push(at);
        if rows[first].fake != row.fake {
            other_label.entry(first).or_insert(at);
        }
        if rows[first].split != row.split {
            other_split.entry(first).or_insert(at);
        }
        if rows[first].group != row.group {
            other_group.entry(first).or_insert(at);
        }
    }
    let what = |of: fn(&LabelRow) -> Option<&str>, row: usize| match of(&rows[row]) {
        Some(word) => quoted(word),
        None => "none".to_owned(),
    };
    for (column, disagreeing, of) in [
        ("label", &other_label, (|row| Some(row.class())) as fn(&LabelRow) -> Option<&str>),
        ("split", &other_split, |row| row.split.as_deref()),
        ("group", &other_group, |row| row.group.as_deref()),
    ] {
        if disagreeing.is_empty() {
            continue;
        }
        let shown = disagreeing.iter().take(SHOWN_DUPLICATES).map(|(first, other)| {
            format!("{} has {} and {}", quoted(&rows[*first].name), what(of, *first), what(of, *other))
        });
        return Err(format!(
            "expected one {column} for each {}, found several for {}: {}",
            by.column(),
            disagreeing.len(),
            some_of(&shown.collect::<Vec<_>>(), disagreeing.len())
        ));
    }
    let duplicates = again.len();
    let mut again = again.into_iter().peekable();
    let mut at = 0;
    rows.retain(|_| {
        let is_again = again.next_if_eq(&at).is_some();
        at += 1;
        !is_again
    });
    Ok(duplicates)
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Identifier, LabelRow, Labels, MAX_TEXT_BYTES, is_fake, read};

    /// Name, label, split, group; empty is none.
    type Row<'a> = (&'a str, bool, &'a str, &'a str);

    /// Rows, duplicates and ignored columns of a CSV.
    fn check(text: &str, expected: Result<(&[Row<'_>], usize, &[&str]), &str>) {
        let word = |word: &str| (!word.is_empty()).then(|| word.to_owned());
        let expected =
            expected.map_err(|what| format!("labels \"l.csv\": {what}")).map(|(rows, duplicates, ignored)| {
                let rows = rows.iter().map(|(name, fake, split, group)| LabelRow {
                    name: (*name).to_owned(),
                    fake: *fake,
                    split: word(split),
                    group: word(group),
                });
                let ignored_columns = ignored.iter().map(|name| (*name).to_owned()).collect();
                Labels { rows: rows.collect(), by: Identifier::Key, duplicates, ignored_columns }
            });
        assert_eq!(read(Bytes::copy_from_slice(text.as_bytes()), "l.csv"), expected, "{text:?}");
    }

    #[test]
    fn rows_keep_their_order_and_their_words() {
        check("key,label\nb.jpg,1\na.jpg,0\n", Ok((&[("b.jpg", true, "", ""), ("a.jpg", false, "", "")], 0, &[])));
        let rows: &[Row] = &[("a.jpg", true, "test", "anna b"), (" b .jpg", false, "", "")];
        check("note,split,key,group,label\nx, test ,a.jpg,anna b,1\ny,, b .jpg, ,0\n", Ok((rows, 0, &["note"])));
    }

    #[test]
    fn labels_are_numbers_or_words_in_any_case() {
        let check_word = |word: &str, expected: Result<bool, &str>| {
            assert_eq!(is_fake(word), expected.map_err(str::to_owned), "{word:?}");
        };
        ["0", "real", "Real", "REAL", "false", "False", " 0 "].iter().for_each(|word| check_word(word, Ok(false)));
        ["1", "fake", "Fake", "FAKE", "true", "TRUE", " fake"].iter().for_each(|word| check_word(word, Ok(true)));
        check_word("", Err("none"));
        check_word("  ", Err("none"));
        for word in ["2", "-1", "0.0", "01", "yes", "genuine", "fake!", "ſake", "nan", "１"] {
            check_word(word, Err(&format!("{word:?}")));
        }
    }

    #[test]
    fn a_row_that_is_no_label_is_named_by_its_line() {
        let expected = "label: expected 0 or 1, real or fake, false or true (1, fake and true mean fake), found";
        check("key,label\na,1\nb,maybe\n", Err(&format!("line 3: {expected} \"maybe\"")));
        check("key,label\na,1\nb,\n", Err(&format!("line 3: {expected} none")));
        check("key,label\n,1\n", Err("line 2: key: expected one, found none"));
        check("key,label\n\" \t\",1\n", Err("line 2: key: expected one, found none"));
        check("media_id,key,label\n,a,1\n", Err("line 2: media_id: expected one, found none"));
        let (long, shown) = ("x".repeat(MAX_TEXT_BYTES + 1), "x".repeat(120));
        for (column, row) in [("key", format!("{long},1,,")), ("split", format!("a,1,{long},"))] {
            let found = format!("line 2: {column}: expected at most 4096 bytes, found 4097: \"{shown}\"…");
            check(&format!("key,label,split,group\n{row}\n"), Err(&found));
        }
        check(&format!("key,label\n{},1\n", &long[1..]), Ok((&[(&long[1..], true, "", "")], 0, &[])));
    }

    #[test]
    fn a_file_without_rows_is_refused() {
        check("", Err("expected a header and rows, found an empty file"));
        check("\n\r\n", Err("expected a header and rows, found empty lines"));
        check("key,label", Err("expected rows, found none"));
        check("key,label\r\n\r\n", Err("expected rows, found none"));
    }

    #[test]
    fn rows_that_say_the_same_again_are_counted() {
        let rows: &[Row] = &[("a", true, "", ""), ("b", false, "", ""), ("c", true, "", "")];
        check("key,label\na,1\nb,0\na,fake\nc,true\nb,real\na,1\n", Ok((rows, 3, &[])));
        let rows: &[Row] = &[("a", true, "test", "g")];
        check("key,label,split,group\na,1,test,g\na,1, test,g \n", Ok((rows, 1, &[])));
        // What stands in a column that is ignored makes no row another.
        check("key,label,note\na,1,x\na,1,y\n", Ok((&[("a", true, "", "")], 1, &["note"])));
    }

    #[test]
    fn rows_that_disagree_are_listed_and_counted() {
        let found = "expected one label for each key, found several for 1: \"a\" has \"real\" and \"fake\"";
        check("key,label\na,0\nb,1\na,1\na,0\n", Err(found));
        let found = "expected one split for each key, found several for 1: \"a\" has \"test\" and none";
        check("key,label,split\na,0,test\na,0,\n", Err(found));
        let found = "expected one group for each key, found several for 1: \"a\" has \"g\" and \"h\"";
        check("key,label,group\na,0,g\na,0,h\n", Err(found));
        // In the order of the file, and labels before the rest.
        let mut text = "key,label,split\n".to_owned();
        (0..7).rev().for_each(|at| text += &format!("k{at},0,test\nk{at},1,train\nk{at},1,test\n"));
        let shown: Vec<_> = (2..7).rev().map(|at| format!("\"k{at}\" has \"real\" and \"fake\"")).collect();
        let found = format!("{}; and 2 more", shown.join("; "));
        check(&text, Err(&format!("expected one label for each key, found several for 7: {found}")));
        let media_ids = read(Bytes::from("media_id,label\nm,0\nm,1\n"), "l.csv").unwrap_err();
        assert!(media_ids.contains("expected one label for each media_id, found several for 1"), "{media_ids}");
    }
}
