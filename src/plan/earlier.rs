//! What earlier runs left at DEST: what is finished, what was rejected, and how long things took.
//!
//! Every part of `media` there is read once, some columns of it. What is kept is 16 bytes of each finished object, 16 of
//! each video, and the keys of rejected ones where they are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arrow_array::Array;
use futures::{StreamExt, TryStreamExt};
use parquet::file::metadata::ParquetMetaDataReader;

use crate::error::{Error, RejectionClass};
use crate::limits;
use crate::pipeline::compute::Compute;
use crate::results::fetch::fetch;
use crate::storage::{ObjectMeta, Store};
use crate::tables::SCHEMA_VERSION;
use crate::tables::media::Status;
use crate::tables::part::{FINGERPRINT, LIMITS, SCHEMA};
use crate::tables::stored::{Cursor, EarlierMedia, PartFile, number_of, stated, text};

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Under which objects count as finished.
    pub fingerprint: &'a str,
    /// Under which what was rejected by limits is finished too.
    pub limits: &'a str,
    /// Where the objects are that are planned.
    pub bucket: &'a str,
    /// Classes whose objects are tried again: such a row does not finish its object.
    pub retry: Option<&'a BTreeSet<RejectionClass>>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Earlier {
    /// Ids of media, ascending.
    finished: Vec<u128>,
    /// The upper half of the id of a video, and what it took in decoding, detecting and embedding, ascending.
    videos: Vec<(u64, f32)>,
    /// Keys of objects that are to be tried again.
    pub rejected: BTreeSet<String>,
}

impl Earlier {
    /// # Errors
    /// A part that cannot be read.
    pub async fn look(
        store: &dyn Store,
        media_parts: BTreeMap<String, ObjectMeta>,
        wanted: Wanted<'_>,
        compute: &Compute,
        scratch: &Path,
    ) -> Result<Self, Error> {
        let parts: Vec<ObjectMeta> = media_parts.into_values().filter(|part| part.key.ends_with(".parquet")).collect();
        let looks = parts.iter().map(|part| async move {
            let [fingerprint, limits, bucket] = [wanted.fingerprint, wanted.limits, wanted.bucket].map(str::to_owned);
            let retry = wanted.retry.cloned();
            let fetched = fetch(store, part, scratch).await?;
            let read = move || {
                let (fingerprint, limits, bucket) = (&*fingerprint, &*limits, &*bucket);
                read(&fetched.part, Wanted { fingerprint, limits, bucket, retry: retry.as_ref() })
            };
            let wrong = |what: String| {
                Error::Input(format!(
                    "part {:?} of an earlier run: {what}; --include-finished plans without a look at earlier runs",
                    part.key
                ))
            };
            let (found, _) = compute.run(read).await.map_err(|panic| wrong(panic.message))?;
            found.map_err(wrong)
        });
        let mut all = Self::default();
        let mut looked = futures::stream::iter(looks).buffered(limits::RESCORED_SLICES);
        while let Some(found) = looked.try_next().await? {
            all.finished.extend(found.finished);
            all.videos.extend(found.videos);
            all.rejected.extend(found.rejected);
        }
        all.finished.sort_unstable();
        all.finished.dedup();
        // Of what several runs took for a video, the longest.
        all.videos.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        all.videos.dedup_by_key(|video| video.0);
        Ok(all)
    }

    #[must_use]
    pub fn is_finished(&self, id: u128) -> bool {
        self.finished.binary_search(&id).is_ok()
    }

    /// What an earlier run took for a video, in seconds on one core.
    #[must_use]
    pub fn core_seconds(&self, id: u128) -> Option<f32> {
        let at = self.videos.binary_search_by_key(&upper_half(id), |video| video.0).ok()?;
        Some(self.videos[at].1)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.finished.is_empty() && self.videos.is_empty()
    }
}

fn upper_half(id: u128) -> u64 {
    (id >> 64) as u64
}

fn read(part: &PartFile, wanted: Wanted<'_>) -> Result<Earlier, String> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(part).map_err(|e| e.to_string())?;
    let mut found = Earlier::default();
    // Columns of another schema may mean something else: such rows are history, and their objects are swept again.
    if stated(&metadata, SCHEMA) != Some(SCHEMA_VERSION.to_string().as_str()) {
        return Ok(found);
    }
    let Wanted { fingerprint, limits, bucket, retry } = wanted;
    let is_same = stated(&metadata, FINGERPRINT) == Some(fingerprint);
    let same_limits = stated(&metadata, LIMITS) == Some(limits);
    let mut rows = Cursor::<EarlierMedia>::new(part, &metadata.into())?;
    let mut last = None;
    while let Some((columns, row)) = rows.row()? {
        let id = number_of(columns.media_id.value(row))?;
        if last.replace(id) != Some(id) {
            let is_rejected = columns.status.value(row) == Status::Rejected.as_str();
            let class = text(&columns.error_class, row).and_then(RejectionClass::named);
            let is_final = class.is_some_and(|class| {
                let is_wanted = retry.is_some_and(|retry| retry.contains(&class));
                class.is_final() && (same_limits || !class.is_by_limits()) && !is_wanted
            });
            if is_same && (!is_rejected || is_final) {
                found.finished.push(id);
            }
            if columns.kind.is_valid(row) && columns.kind.value(row) == "video" {
                let seconds = [&columns.seconds_decode, &columns.seconds_detect, &columns.seconds_embed];
                let core_seconds: f64 = seconds.iter().map(|column| column.value(row)).sum();
                found.videos.push((upper_half(id), core_seconds as f32));
            }
            if is_rejected
                && let Some((retry, class)) = retry.zip(class)
                && retry.contains(&class)
                && columns.bucket.value(row) == bucket
            {
                found.rejected.insert(columns.key.value(row).to_owned());
            }
        }
        rows.step();
    }
    Ok(found)
}
