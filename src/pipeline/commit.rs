//! A whole slice → its parts in the store, `media` last and alone: where it stands, the slice is done.
//!
//! Every part is written once, under the name that the plan gave it, so two attempts at one slice can meet: a worker that
//! was taken for dead, or one that died between two parts. Whatever stands, stands. An attempt whose part was not taken
//! compares the one that was with its own, object by object. They are alike, since both looked at the same bytes; but
//! where one could read an object and the other could not, tables of two minds would stand side by side. Of such an object
//! the media row says that it was rejected and may be tried again, whatever else stands of it: rows of other tables count
//! where `media` does not say `rejected`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use super::compute::Compute;
use super::slice::{WholeSlice, media_part};
use crate::error::{Error, Rejection, RejectionClass};
use crate::progress::{Finished, Tally};
use crate::results::fetch::fetch;
use crate::results::slice::SliceRecord;
use crate::storage::Store;
use crate::tables::media::{MediaRow, NotScored, Status};
use crate::tables::part::{CommittedPart, EncodedPart};
use crate::tables::stored::{Cursor, MediaIds, PartBytes, PartFile};

/// How many rows of a table each media has.
type RowsByMedia = BTreeMap<String, u64>;

/// Where a slice goes.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    pub store: &'a dyn Store,
    /// For large parts of another attempt while they are compared.
    pub scratch: &'a Path,
    /// What looked at the slice, for its record.
    pub device: &'a str,
    /// What its parts took to encode, for its record.
    pub encode_time: Duration,
    pub compute: &'a Compute,
}

impl Commit<'_> {
    /// Writes what does not stand yet. Returns the slice's parts; None where another attempt finished it first.
    ///
    /// # Errors
    /// A store that refuses, a part of another attempt that cannot be read.
    pub async fn commit(self, slice: WholeSlice) -> Result<Option<Vec<CommittedPart>>, Error> {
        let WholeSlice { context, parts, mut media } = slice;
        let began = Instant::now();
        let looks = parts.into_iter().map(|part| self.commit_or_compare(part));
        let (mut parts, mut disputed) = (vec![], BTreeSet::new());
        for (part, differing) in futures::future::try_join_all(looks).await? {
            parts.push(part);
            disputed.extend(differing);
        }
        media.iter_mut().filter(|row| disputed.contains(&row.media_id)).for_each(reject_disputed);
        let mut tally = tally(&media);
        tally.seconds.encode = self.encode_time.as_secs_f64();
        tally.seconds.write = began.elapsed().as_secs_f64();
        let record = SliceRecord { device: self.device.to_owned(), parts: parts.clone(), tally };
        let failed = format!("media of slice {}-{}: they cannot be encoded", context.shard, context.slice);
        let failed = |e: &dyn std::fmt::Display| Error::Input(format!("{failed}: {e}"));
        let encoding = self.compute.run(move || media_part(&context, &media, Some(&record))).await;
        let (encoded, _) = encoding.map_err(|panic| failed(&panic.message))?;
        match encoded.map_err(|e| failed(&e))?.commit(self.store).await? {
            Ok(last) => Ok(Some(parts.into_iter().chain([last]).collect())),
            Err(_) => Ok(None),
        }
    }

    /// The part that stands now, and the media of which it has other rows than ours.
    async fn commit_or_compare(self, part: EncodedPart) -> Result<(CommittedPart, BTreeSet<String>), Error> {
        let ours = match part.commit(self.store).await? {
            Ok(committed) => return Ok((committed, BTreeSet::new())),
            Err(ours) => ours,
        };
        let key = ours.key();
        let wrong = |what: String| Error::Input(format!("part {key:?} of another attempt: {what}"));
        let found = self.store.find(key, None).await?;
        let theirs = fetch(self.store, &found, self.scratch).await?;
        let rows = theirs.part.metadata().map_err(wrong)?.file_metadata().num_rows() as usize;
        let theirs = rows_by_media(&theirs.part).map_err(wrong)?;
        let size_bytes = ours.body().len() as u64;
        let ours = rows_by_media(&PartFile::new(PartBytes::Memory(ours.body().clone()), size_bytes)).map_err(wrong)?;
        let differ = |id: &&String| ours.get(*id) != theirs.get(*id);
        let differing: BTreeSet<String> = ours.keys().chain(theirs.keys()).filter(differ).cloned().collect();
        tracing::warn!(
            key,
            differing = differing.len(),
            "another attempt at this slice wrote this part; it is taken as it stands"
        );
        let committed = CommittedPart { key: found.key, etag: found.etag, rows, bytes: found.size_bytes as usize };
        Ok((committed, differing))
    }
}

fn rows_by_media(part: &PartFile) -> Result<RowsByMedia, String> {
    let mut rows = Cursor::<MediaIds>::new(part, &part.metadata()?)?;
    let mut counts = RowsByMedia::new();
    while let Some((columns, row)) = rows.row()? {
        let id = columns.media_id.value(row);
        match counts.get_mut(id) {
            Some(count) => *count += 1,
            None => drop(counts.insert(id.to_owned(), 1)),
        }
        rows.step();
    }
    Ok(counts)
}

fn reject_disputed(row: &mut MediaRow) {
    let said = row.rejection.take();
    let before = said.as_ref().map_or_else(|| "read it".to_owned(), |said| format!("found: {}", said.message));
    let message =
        format!("two attempts at its slice disagree about it, and their parts stand side by side; this one {before}");
    *row = MediaRow {
        status: Status::Rejected,
        rejection: Some(Rejection::new(RejectionClass::FetchFailed, message)),
        not_scored: Some(NotScored::Rejected),
        frames_decoded: 0,
        frames_with_face: 0,
        n_faces: 0,
        n_tracks: None,
        scores: None,
        score_track_max: None,
        share_above_threshold: None,
        ..std::mem::take(row)
    };
}

/// Rows of one media stand together.
fn tally(rows: &[MediaRow]) -> Tally {
    let mut tally = Tally::default();
    for of_one in rows.chunk_by(|a, b| a.media_id == b.media_id) {
        Finished::of(of_one).iter().for_each(|media| tally.count(media));
    }
    tally
}
