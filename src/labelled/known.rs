//! Runs and a label file → which of the runs' media are labelled, and how.

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use serde::Serialize;

use super::args::LabelledFlags;
use super::labels::{self, Labels};
use super::matching::{MAX_UNKNOWN_SHARE, Matched, Media, matching};
use super::split;
use crate::error::Error;
use crate::results::fetch::fetch;
use crate::results::source::{MEDIA, Source};
use crate::settings::in_range;
use crate::tables::media::Status;
use crate::tables::stored::{Cursor, MediaNames};

/// The labelled media of some runs.
#[derive(Debug)]
pub struct Known {
    pub media: Vec<LabelledMedia>,
    /// Places in `media`.
    by_id: HashMap<String, u32>,
    pub counts: Counts,
}

#[derive(Debug, Clone, Copy)]
pub struct LabelledMedia {
    pub fake: bool,
    /// Media of one group stand and fall together: no fold and no resample tears them apart.
    pub group: u32,
    /// Place of the run among those that were named; what a later run has of the same media is left out.
    pub source: u32,
    /// What other tables hold of it counts for nothing.
    pub is_rejected: bool,
}

/// What became of the labels.
#[derive(Debug, Clone, Serialize)]
pub struct Counts {
    pub labels: usize,
    pub duplicate_labels: usize,
    pub unknown_labels: usize,
    pub unknown_examples: Vec<String>,
    pub media: usize,
    pub media_without_label: usize,
    pub labelled_media: usize,
    pub fake_media: usize,
    pub groups: usize,
}

impl Known {
    /// # Errors
    /// Labels that cannot be read, are at odds, name other media, or are all of one class.
    pub async fn of(sources: &[Source], flags: &LabelledFlags, scratch: &Path) -> Result<Self, Error> {
        let shown = flags.labels.display().to_string();
        let usage = |what: String| Error::Usage(format!("labels {shown:?}: {what}"));
        let labels = read(&flags.labels, &shown)?;
        if !labels.ignored_columns.is_empty() {
            tracing::info!("labels {shown:?}: columns that mean nothing here: {}", labels.ignored_columns.join(", "));
        }
        split::check_groups(&labels.rows).map_err(usage)?;
        let (all, duplicate_labels) = (labels.rows.len(), labels.duplicates);
        let labels = match &flags.split {
            Some(name) => split::choose(labels, name).map_err(usage)?,
            None => {
                if labels.rows.iter().any(|row| row.split.is_some()) {
                    tracing::warn!(
                        "labels {shown:?}: all {all} are used, whatever their split; --split NAME takes one"
                    );
                }
                labels
            }
        };
        let names = media_names(sources, scratch).await?;
        let media: Vec<Media> =
            names.iter().map(|Named { bucket, key, media_id, .. }| Media { bucket, key, media_id }).collect();
        let max_unknown = flags.max_unknown.unwrap_or(MAX_UNKNOWN_SHARE);
        in_range("max_unknown", max_unknown, 0.0, 1.0).map_err(Error::Usage)?;
        let matched = matching(&labels, &media, flags.matching.into(), max_unknown).map_err(usage)?;
        if matched.unknown > 0 {
            tracing::warn!(
                "labels {shown:?}: {} of {} name no media of these runs, such as {}",
                matched.unknown,
                labels.rows.len(),
                matched.unknown_examples.join(", ")
            );
        }
        let known = Self::new(&names, &labels, &matched, duplicate_labels);
        split::check_classes(known.media.iter().map(|media| media.fake), flags.split.as_deref()).map_err(usage)?;
        Ok(known)
    }

    fn new(names: &[Named], labels: &Labels, matched: &Matched, duplicate_labels: usize) -> Self {
        let (mut media, mut by_id) = (vec![], HashMap::new());
        let mut groups: HashMap<Group, u32> = HashMap::new();
        for (named, row) in names.iter().zip(&matched.row_of_media) {
            let Some(row) = *row else { continue };
            let label = &labels.rows[row];
            let next = groups.len() as u32;
            let group = match &label.group {
                Some(group) => Group::Named(group),
                None => Group::OfLabel(row), // the same key in two runs is the same media
            };
            let group = *groups.entry(group).or_insert(next);
            by_id.insert(named.media_id.clone(), media.len() as u32);
            media.push(LabelledMedia { fake: label.fake, group, source: named.source, is_rejected: named.is_rejected });
        }
        let counts = Counts {
            labels: labels.rows.len(),
            duplicate_labels,
            unknown_labels: matched.unknown,
            unknown_examples: matched.unknown_examples.clone(),
            media: names.len(),
            media_without_label: matched.media_without_label,
            labelled_media: media.len(),
            fake_media: media.iter().filter(|media| media.fake).count(),
            groups: groups.len(),
        };
        Self { media, by_id, counts }
    }

    /// The place of a labelled media, unless it was rejected.
    #[must_use]
    pub fn place(&self, media_id: &str) -> Option<u32> {
        self.by_id.get(media_id).copied().filter(|place| !self.media[*place as usize].is_rejected)
    }

    /// The same, where the media is to be taken from this run.
    #[must_use]
    pub fn place_in(&self, media_id: &str, source: usize) -> Option<u32> {
        self.place(media_id).filter(|place| self.media[*place as usize].source as usize == source)
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Group<'a> {
    Named(&'a str),
    OfLabel(usize),
}

/// A media by its names, from the first run that has it.
struct Named {
    bucket: String,
    key: String,
    media_id: String,
    source: u32,
    is_rejected: bool,
}

async fn media_names(sources: &[Source], scratch: &Path) -> Result<Vec<Named>, Error> {
    let (mut names, mut seen) = (vec![], std::collections::HashSet::new());
    for (at, source) in sources.iter().enumerate() {
        for slice in source.slices(at).await? {
            let part = &slice.parts[MEDIA];
            let wrong = |what: String| source.wrong(&part.key, &what);
            let fetched = fetch(source.store.as_ref(), part, scratch).await?;
            let metadata = fetched.part.metadata().map_err(wrong)?;
            let mut cursor = Cursor::<MediaNames>::new(&fetched.part, &metadata).map_err(wrong)?;
            while let Some((columns, row)) = cursor.row().map_err(wrong)? {
                let media_id = columns.media_id.value(row);
                // With several scorers each has a row.
                if !seen.contains(media_id) {
                    seen.insert(media_id.to_owned());
                    names.push(Named {
                        bucket: columns.bucket.value(row).to_owned(),
                        key: columns.key.value(row).to_owned(),
                        media_id: media_id.to_owned(),
                        source: at as u32,
                        is_rejected: columns.status.value(row) == Status::Rejected.as_str(),
                    });
                }
                cursor.step();
            }
            fetched.check_unchanged()?;
        }
    }
    Ok(names)
}

fn read(path: &Path, shown: &str) -> Result<Labels, Error> {
    let mut bytes = vec![];
    crate::files::open(path)
        .and_then(|mut file| std::io::Read::read_to_end(&mut file, &mut bytes))
        .map_err(|e| Error::Input(format!("labels {shown:?}: cannot be read: {e}")))?;
    labels::read(Bytes::from(bytes), shown).map_err(Error::Usage)
}
