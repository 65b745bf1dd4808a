//! Labels × the media of one or more runs → for each media its label or none, and what became of the labels.
//!
//! How a label names its media is chosen, never guessed: where another way would have found more, the error says so.
//! Labels that fit several media, or media that several labels fit, are an error wherever it would matter.

use std::collections::{BTreeMap, HashMap};

use super::labels::{Identifier, LabelRow, Labels};
use super::{quoted, some_of};

/// Between labelling and the sweep some media are always moved or deleted. Where more are gone the names do not fit, and
/// a figure from the rest would be one of a sample that nobody chose.
pub const MAX_UNKNOWN_SHARE: f64 = 0.05;

/// Labels of no media that a message or a warning lists.
const SHOWN_UNKNOWN: usize = 10;

/// Labels or media at odds that a message lists.
const SHOWN_AT_ODDS: usize = 5;

/// A media as the tables of a run name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Media<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
    pub media_id: &'a str,
}

impl<'a> Media<'a> {
    fn name(&self, by: Identifier) -> &'a str {
        match by {
            Identifier::Key => self.key,
            Identifier::MediaId => self.media_id,
        }
    }
}

/// How the key of a label names media. Media ids are always matched whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// It is the media's key.
    Exact,
    /// The media's key ends in it, from a `/` on: `a/b.jpg` names `x/a/b.jpg`, not `xa/b.jpg`.
    Suffix,
}

/// What became of media and labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// For each media the place of its label among the rows.
    pub row_of_media: Vec<Option<usize>>,
    pub media_without_label: usize,
    /// Labels that name no media.
    pub unknown: usize,
    /// The first of them, in the order of the rows.
    pub unknown_examples: Vec<String>,
}

/// The same key may stand in several runs or buckets: its label holds for each.
///
/// `max_unknown_share`: [`MAX_UNKNOWN_SHARE`], unless someone knows better.
///
/// # Errors
/// No media with a label; too many labels of no media; a label that fits several keys; labels at odds about a media.
pub fn matching(labels: &Labels, media: &[Media<'_>], how: Match, max_unknown_share: f64) -> Result<Matched, String> {
    if labels.by == Identifier::MediaId && how == Match::Suffix {
        return Err(
            "expected labels by key for suffix matching, found labels by media_id: match them exactly".to_owned()
        );
    }
    let finder = Finder::new(labels.rows.iter().map(|row| row.name.as_str()));
    let mut media_of_row: Vec<Option<usize>> = vec![None; labels.rows.len()]; // the first of each
    let mut ambiguous = BTreeMap::new(); // row → a media of another key than its first
    let mut at_odds = BTreeMap::new(); // media → two rows
    let mut row_of_media = Vec::with_capacity(media.len());
    for (at, one) in media.iter().enumerate() {
        let mut longest = None;
        for row in finder.find(one.name(labels.by), how) {
            let first = *media_of_row[row].get_or_insert(at);
            if labels.by == Identifier::Key && media[first].key != one.key {
                ambiguous.entry(row).or_insert(at);
            }
            let longest = *longest.get_or_insert(row);
            if !agree(&labels.rows[longest], &labels.rows[row]) {
                at_odds.entry(at).or_insert((longest, row));
            }
        }
        row_of_media.push(longest);
    }
    let key_of_row = |row: usize| media_of_row[row].map_or("", |at| media[at].key);
    if !ambiguous.is_empty() {
        let shown = ambiguous.iter().take(SHOWN_AT_ODDS).map(|(row, at)| {
            let (first, second) = (quoted(key_of_row(*row)), quoted(media[*at].key));
            format!("{} fits {first} and {second}", quoted(&labels.rows[*row].name))
        });
        let shown = some_of(&shown.collect::<Vec<_>>(), ambiguous.len());
        return Err(format!(
            "expected one key for each label, found several for {}: {shown}: write more of the key",
            ambiguous.len()
        ));
    }
    if !at_odds.is_empty() {
        let shown = at_odds.iter().take(SHOWN_AT_ODDS).map(|(at, (longest, other))| {
            let said = [longest, other].map(|row| in_words(&labels.rows[*row]));
            format!("{} fits {} and {}", quoted(media[*at].key), said[0], said[1])
        });
        let shown = some_of(&shown.collect::<Vec<_>>(), at_odds.len());
        return Err(format!("expected labels that agree, found others for {} media: {shown}", at_odds.len()));
    }
    let unknown = || labels.rows.iter().zip(&media_of_row).filter(|(_, media)| media.is_none()).map(|(row, _)| row);
    let matched = Matched {
        media_without_label: row_of_media.iter().filter(|row| row.is_none()).count(),
        row_of_media,
        unknown: unknown().count(),
        unknown_examples: unknown().take(SHOWN_UNKNOWN).map(|row| row.name.clone()).collect(),
    };
    check_unknown(&matched, labels, media, how, max_unknown_share)?;
    Ok(matched)
}

/// Whether it is all the same which of the two holds.
fn agree(one: &LabelRow, other: &LabelRow) -> bool {
    (one.fake, &one.split, &one.group) == (other.fake, &other.split, &other.group)
}

fn in_words(row: &LabelRow) -> String {
    let class = if row.fake { "fake" } else { "real" };
    let split = row.split.as_deref().map_or(String::new(), |split| format!(", split {}", quoted(split)));
    let group = row.group.as_deref().map_or(String::new(), |group| format!(", group {}", quoted(group)));
    format!("{} ({class}{split}{group})", quoted(&row.name))
}

fn check_unknown(matched: &Matched, labels: &Labels, media: &[Media<'_>], how: Match, max: f64) -> Result<(), String> {
    let (count, unknown) = (labels.rows.len(), matched.unknown);
    let share = unknown as f64 / count.max(1) as f64;
    let is_none_labelled = matched.media_without_label == media.len();
    if !is_none_labelled && share <= max {
        return Ok(());
    }
    let names: Vec<_> = matched.unknown_examples.iter().map(|name| quoted(name)).collect();
    let names = some_of(&names, unknown);
    let Some(first) = media.first() else {
        return Err(format!("expected media for {count} labels, found no media at all"));
    };
    let (column, example) = (labels.by.column(), quoted(first.name(labels.by)));
    let hint = hint(labels, media, how, count - unknown);
    if is_none_labelled {
        return Err(format!(
            "labels for other media: none of {count} labels fits any of {} media by {column}: labels are {names}; media \
             are such as {example}{hint}",
            media.len()
        ));
    }
    Err(format!(
        "expected at most {} % of the labels without media, found {unknown} of {count} ({:.1} %): {names}; media are such \
         as {example}{hint}",
        max * 100.0,
        share * 100.0
    ))
}

/// The other ways to read the same names, tried only where this one failed.
fn hint(labels: &Labels, media: &[Media<'_>], how: Match, known: usize) -> String {
    if labels.by == Identifier::MediaId {
        return ": the media_id of a file changes with its content, its key does not".to_owned();
    }
    if how == Match::Exact {
        let finder = Finder::new(labels.rows.iter().map(|row| row.name.as_str()));
        let mut is_found = vec![false; labels.rows.len()];
        media.iter().flat_map(|one| finder.find(one.key, Match::Suffix)).for_each(|row| is_found[row] = true);
        let count = is_found.into_iter().filter(|is_found| *is_found).count();
        if count > known {
            return format!(": suffix matching fits {count} of the labels");
        }
    }
    let finder = Finder::new(media.iter().map(|one| one.key));
    let longer = |row: &&LabelRow| finder.find(&row.name, Match::Suffix).next().is_some();
    match labels.rows.iter().filter(longer).count() {
        count if count > known => {
            format!(": {count} of the labels end in the key of a media: take away what stands before it")
        }
        _ => String::new(),
    }
}

/// Names by what they end in.
struct Finder<'a> {
    places: HashMap<&'a str, usize>,
    /// Whether any name has so many bytes: most ends of a key have a length that no name has, and need not be hashed.
    has_length: Vec<bool>,
}

impl<'a> Finder<'a> {
    fn new(names: impl Iterator<Item = &'a str>) -> Self {
        let mut places = HashMap::with_capacity(names.size_hint().0);
        let mut has_length = vec![];
        for (at, name) in names.enumerate() {
            places.insert(name, at);
            has_length.resize(has_length.len().max(name.len() + 1), false);
            has_length[name.len()] = true;
        }
        Self { places, has_length }
    }

    /// The places of the names that `of` is, or ends in from a `/` on; the longest first.
    fn find(&self, of: &str, how: Match) -> impl Iterator<Item = usize> {
        let tail = of.len().saturating_sub(self.has_length.len()); // what stands before it makes an end too long
        let is_slash = move |at: &usize| how == Match::Suffix && of.as_bytes()[*at] == b'/';
        let ends = (tail..of.len()).filter(is_slash).map(|at| at + 1);
        let suffixes = std::iter::once(0).chain(ends).map(|start| &of[start..]);
        let is_likely = |suffix: &&str| self.has_length.get(suffix.len()) == Some(&true);
        suffixes.filter(is_likely).filter_map(|suffix| self.places.get(suffix).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::{Identifier, LabelRow, Labels, MAX_UNKNOWN_SHARE, Match, Matched, Media, matching};

    /// `fake name`, `real name`, and then `split=` and `group=` where they matter.
    fn labels(by: Identifier, rows: &[&str]) -> Labels {
        let row = |row: &&str| {
            let words: Vec<_> = row.split(' ').collect();
            let word = |start| words.iter().find_map(|word| word.strip_prefix(start)).map(str::to_owned);
            LabelRow {
                name: words[1].to_owned(),
                fake: words[0] == "fake",
                split: word("split="),
                group: word("group="),
            }
        };
        Labels { rows: rows.iter().map(row).collect(), by, duplicates: 0, ignored_columns: vec![] }
    }

    /// `bucket:key`; the media id is `#` and the key.
    fn check_all(
        labels: &Labels,
        media: &[&str],
        how: Match,
        max: f64,
        expected: Result<(&[Option<usize>], &[&str]), &str>,
    ) {
        let ids: Vec<_> = media.iter().map(|one| format!("#{}", one.split_once(':').unwrap().1)).collect();
        let named = media.iter().zip(&ids).map(|(one, media_id)| {
            let (bucket, key) = one.split_once(':').unwrap();
            Media { bucket, key, media_id }
        });
        let expected = expected.map_err(str::to_owned).map(|(rows, unknown)| Matched {
            row_of_media: rows.to_vec(),
            media_without_label: rows.iter().filter(|row| row.is_none()).count(),
            unknown: unknown.len(),
            unknown_examples: unknown.iter().take(10).map(|name| (*name).to_owned()).collect(),
        });
        let found = matching(labels, &named.collect::<Vec<_>>(), how, max);
        assert_eq!(found, expected, "{:?} × {media:?}", labels.rows);
    }

    /// Labels by key, any share of which may be unknown.
    fn check(rows: &[&str], media: &[&str], how: Match, expected: Result<(&[Option<usize>], &[&str]), &str>) {
        check_all(&labels(Identifier::Key, rows), media, how, 1.0, expected);
    }

    #[test]
    fn an_exact_label_is_the_whole_key() {
        let rows = ["fake b.jpg", "real x/a.jpg"];
        check(&rows, &["s:x/a.jpg", "s:x/b.jpg", "s:b.jpg"], Match::Exact, Ok((&[Some(1), None, Some(0)], &[])));
        check(&rows, &["s:x/a.jpg", "s:x/b.jpg", "s:B.jpg"], Match::Exact, Ok((&[Some(1), None, None], &["b.jpg"])));
    }

    #[test]
    fn a_suffix_begins_where_a_part_of_the_path_does() {
        let media = ["s:x/a/b.jpg", "s:xa/b.jpg", "s:a/b.jpg.jpg"];
        check(&["fake a/b.jpg"], &media, Match::Suffix, Ok((&[Some(0), None, None], &[])));
        check(&["fake a/b.jpg"], &["s:a/b.jpg"], Match::Suffix, Ok((&[Some(0)], &[])));
        check(&["fake x/a/b.jpg", "real a/b.jpeg"], &["s:x/a/b.jpg"], Match::Suffix, Ok((&[Some(0)], &["a/b.jpeg"])));
        check(&["fake ä/日.jpg"], &["s:本/ä/日.jpg"], Match::Suffix, Ok((&[Some(0)], &[])));
        check(&["fake b.jpg"], &["s:a//b.jpg", "s:"], Match::Suffix, Ok((&[Some(0), None], &[])));
    }

    #[test]
    fn one_key_in_several_runs_or_buckets_has_one_label() {
        let media = ["s:x/a.jpg", "t:x/a.jpg", "s:x/a.jpg"];
        check(&["fake x/a.jpg"], &media, Match::Exact, Ok((&[Some(0); 3], &[])));
        check(&["fake a.jpg"], &media, Match::Suffix, Ok((&[Some(0); 3], &[])));
        let by_id = labels(Identifier::MediaId, &["fake #x/a.jpg", "real x/a.jpg"]);
        check_all(&by_id, &media, Match::Exact, 0.5, Ok((&[Some(0); 3], &["x/a.jpg"])));
    }

    #[test]
    fn a_suffix_that_fits_several_keys_is_refused() {
        let found = "expected one key for each label, found several for 1: \"a.jpg\" fits \"x/a.jpg\" and \"y/a.jpg\": \
                     write more of the key";
        check(&["fake a.jpg", "fake b.jpg"], &["s:x/a.jpg", "s:b.jpg", "s:y/a.jpg"], Match::Suffix, Err(found));
        check(&["fake a.jpg"], &["s:x/a.jpg", "t:y/a.jpg", "t:z/a.jpg"], Match::Suffix, Err(found));
        // Even where a longer label would have taken one of them.
        check(&["fake a.jpg", "fake x/a.jpg"], &["s:x/a.jpg", "s:y/a.jpg"], Match::Suffix, Err(found));
        let rows: Vec<_> = (0..7).map(|at| format!("fake {at}.jpg")).collect();
        let media: Vec<_> = ["s:x", "s:y"].iter().flat_map(|x| (0..7).map(move |at| format!("{x}/{at}.jpg"))).collect();
        let shown: Vec<_> = (0..5).map(|at| format!("\"{at}.jpg\" fits \"x/{at}.jpg\" and \"y/{at}.jpg\"")).collect();
        let found = format!(
            "expected one key for each label, found several for 7: {}; and 2 more: write more of the key",
            shown.join("; ")
        );
        let (rows, media): (Vec<_>, Vec<_>) =
            (rows.iter().map(String::as_str).collect(), media.iter().map(String::as_str).collect());
        check(&rows, &media, Match::Suffix, Err(&found));
    }

    #[test]
    fn the_longest_of_labels_that_agree_holds() {
        let rows = ["fake b.jpg", "fake x/a/b.jpg", "fake a/b.jpg"];
        check(&rows, &["s:x/a/b.jpg"], Match::Suffix, Ok((&[Some(1)], &[])));
        check(&rows, &["s:y/x/a/b.jpg", "s:c.jpg"], Match::Suffix, Ok((&[Some(1), None], &[])));
    }

    #[test]
    fn labels_at_odds_about_a_media_are_refused() {
        let found = "expected labels that agree, found others for 1 media: \"x/a/b.jpg\" fits";
        let rows = ["fake a/b.jpg", "real b.jpg"];
        let said = format!("{found} \"a/b.jpg\" (fake) and \"b.jpg\" (real)");
        check(&rows, &["s:x/a/b.jpg", "s:c.jpg"], Match::Suffix, Err(&said));
        let rows = ["fake b.jpg split=test", "fake a/b.jpg split=train group=g"];
        let said =
            format!("{found} \"a/b.jpg\" (fake, split \"train\", group \"g\") and \"b.jpg\" (fake, split \"test\")");
        check(&rows, &["s:x/a/b.jpg"], Match::Suffix, Err(&said));
    }

    #[test]
    fn labels_of_no_media_are_listed_up_to_ten() {
        let rows: Vec<_> = (0..20).map(|at| format!("fake {at}")).collect();
        let rows: Vec<_> = rows.iter().map(String::as_str).collect();
        let names: Vec<_> = (1..20).map(|at| at.to_string()).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        check(&rows, &["s:0"], Match::Exact, Ok((&[Some(0)], &names)));
    }

    #[test]
    fn more_unknown_labels_than_allowed_are_refused() {
        let rows: Vec<_> = (0..40).map(|at| format!("fake {at}")).collect();
        let rows: Vec<_> = rows.iter().map(String::as_str).collect();
        let labels = labels(Identifier::Key, &rows);
        let media: Vec<_> = (0..38).map(|at| format!("s:{at}")).collect();
        let media: Vec<_> = media.iter().map(String::as_str).collect();
        let all: Vec<_> = (0..38).map(Some).collect();
        let (two, max) = (&["38", "39"], MAX_UNKNOWN_SHARE);
        check_all(&labels, &media, Match::Exact, max, Ok((&all, two)));
        let found = "expected at most 5 % of the labels without media, found 3 of 40 (7.5 %): \"37\"; \"38\"; \"39\"; \
                     media are such as \"0\"";
        check_all(&labels, &media[..37], Match::Exact, max, Err(found));
        let found =
            found.replace("at most 5 %", "at most 0 %").replace("3 of 40 (7.5 %): \"37\"; ", "2 of 40 (5.0 %): ");
        check_all(&labels, &media, Match::Exact, 0.0, Err(&found));
    }

    #[test]
    fn labels_for_other_media_are_refused_whatever_share_is_allowed() {
        let found = "labels for other media: none of 2 labels fits any of 1 media by key: labels are \"a\"; \"b\"; media \
                     are such as \"x/c\"";
        check(&["fake a", "real b"], &["s:x/c"], Match::Exact, Err(found));
        check(&["fake a", "real b"], &["s:x/c"], Match::Suffix, Err(found));
        check(&["fake a", "real b"], &[], Match::Exact, Err("expected media for 2 labels, found no media at all"));
        let found = "labels for other media: none of 1 labels fits any of 1 media by media_id: labels are \"a\"; media \
                     are such as \"#a\": the media_id of a file changes with its content, its key does not";
        check_all(&labels(Identifier::MediaId, &["fake a"]), &["s:a"], Match::Exact, 1.0, Err(found));
    }

    #[test]
    fn an_error_says_which_other_way_would_have_found_more() {
        let found = "labels for other media: none of 2 labels fits any of 2 media by key: labels are \"a\"; \"b\"; media \
                     are such as \"x/a\": suffix matching fits 2 of the labels";
        check(&["fake a", "real b"], &["s:x/a", "s:x/b"], Match::Exact, Err(found));
        let found = "expected at most 5 % of the labels without media, found 1 of 2 (50.0 %): \"b\"; media are such as \
                     \"a\": suffix matching fits 2 of the labels";
        let labels = labels(Identifier::Key, &["fake a", "real b"]);
        check_all(&labels, &["s:a", "s:x/b"], Match::Exact, 0.05, Err(found));
        let found = "labels for other media: none of 1 labels fits any of 1 media by key: labels are \"s3://s/x/a\"; media \
                     are such as \"x/a\": 1 of the labels end in the key of a media: take away what stands before it";
        check(&["fake s3://s/x/a"], &["s:x/a"], Match::Exact, Err(found));
        check(&["fake s3://s/x/a"], &["s:x/a"], Match::Suffix, Err(found));
    }

    #[test]
    fn media_ids_have_no_suffixes() {
        let found = "expected labels by key for suffix matching, found labels by media_id: match them exactly";
        check_all(&labels(Identifier::MediaId, &["fake #a"]), &["s:a"], Match::Suffix, 1.0, Err(found));
    }
}
