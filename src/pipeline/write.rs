//! Rows → part files, one slice of the listing at a time.
//!
//! Rows are encoded in the order of the listing, whatever finished first, a fixed number of objects at a time: what a
//! slice holds until it is whole is compressed. When each of its objects has its rows its parts are read back and
//! committed: `media` last, so that a slice with a media part is a slice that is done.

use std::collections::BTreeMap;
use std::sync::Arc;

use parquet::errors::ParquetError;
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;

use super::compute::Compute;
use super::embed::Outcome;
use super::score::{MediaRows, RunFacts, rows};
use super::slice::SliceParts;
use crate::error::Error;
use crate::limits;
use crate::progress::Progress;
use crate::storage::Store;
use crate::tables::PartContext;
use crate::tables::part::CommittedPart;

/// Where parts go and how they are named.
#[derive(Debug, Clone)]
pub struct Destination {
    pub store: Arc<dyn Store>,
    pub run_id: String,
    pub dt: String,
}

/// Writes until the stages before close their end. `total` says how many objects the listing had, once it is known.
///
/// Slices that are incomplete when the input ends early are dropped: their objects have no rows in this run.
///
/// # Errors
/// A part that the destination refuses.
pub async fn write(
    destination: &Destination,
    facts: &RunFacts,
    compute: &Compute,
    mut input: Receiver<Outcome>,
    total: watch::Receiver<Option<u64>>,
    progress: &Progress,
) -> Result<Vec<CommittedPart>, Error> {
    let mut writer = Writer { destination, facts, compute, open: BTreeMap::new(), parts: vec![] };
    while let Some(outcome) = input.recv().await {
        let rows = rows(outcome, facts);
        progress.finished(&rows);
        writer.add(rows).await?;
    }
    // The last slice is shorter than the others; which one it is, is known when the listing has ended.
    let total = *total.borrow();
    if let Some(total) = total {
        writer.end(total).await?;
    }
    Ok(writer.parts)
}

struct Writer<'a> {
    destination: &'a Destination,
    facts: &'a RunFacts,
    compute: &'a Compute,
    open: BTreeMap<u64, Slice>,
    parts: Vec<CommittedPart>,
}

/// A slice whose objects do not all have their rows yet.
#[derive(Default)]
struct Slice {
    /// None until there is something to encode.
    parts: Option<SliceParts>,
    /// Objects whose rows are encoded: the first so many of the slice.
    encoded: u64,
    /// Rows that wait for those of an object before them, by their place in the listing.
    waiting: BTreeMap<u64, MediaRows>,
}

impl Slice {
    /// The next objects, where all of them are there. Always the same together, or two attempts would differ in their
    /// bytes.
    fn next_piece(&mut self, slice_at: u64) -> Option<BTreeMap<u64, MediaRows>> {
        let next = slice_at * limits::SLICE_OBJECTS + self.encoded;
        let end = next + limits::ENCODED_OBJECTS;
        if self.waiting.range(..end).count() as u64 != limits::ENCODED_OBJECTS {
            return None;
        }
        let rest = self.waiting.split_off(&end);
        Some(std::mem::replace(&mut self.waiting, rest))
    }
}

impl Writer<'_> {
    async fn add(&mut self, rows: MediaRows) -> Result<(), Error> {
        let slice_at = rows.seq / limits::SLICE_OBJECTS;
        self.open.entry(slice_at).or_default().waiting.insert(rows.seq, rows);
        // One object may be all that several pieces waited for.
        while let Some(ready) = self.open.get_mut(&slice_at).and_then(|slice| slice.next_piece(slice_at)) {
            self.encode(slice_at, ready).await?;
        }
        if self.open.get(&slice_at).is_some_and(|slice| slice.encoded == limits::SLICE_OBJECTS) {
            self.commit(slice_at).await?;
        }
        Ok(())
    }

    /// What is left: the short end of the last slice, and a slice without rows where nothing was listed.
    async fn end(&mut self, total: u64) -> Result<(), Error> {
        if total == 0 {
            self.open.entry(0).or_default(); // tables without rows rather than no tables
        }
        let left: Vec<u64> = self.open.keys().copied().collect();
        for slice_at in left {
            let expected = (total - slice_at * limits::SLICE_OBJECTS).min(limits::SLICE_OBJECTS);
            let Some(slice) = self.open.get_mut(&slice_at) else { continue };
            let ready = std::mem::take(&mut slice.waiting);
            if slice.encoded + ready.len() as u64 == expected {
                self.encode(slice_at, ready).await?;
                self.commit(slice_at).await?;
            }
        }
        Ok(())
    }

    async fn encode(&mut self, slice_at: u64, ready: BTreeMap<u64, MediaRows>) -> Result<(), Error> {
        let Some(slice) = self.open.get_mut(&slice_at) else { return Ok(()) };
        let context = PartContext {
            run_id: self.destination.run_id.clone(),
            dt: self.destination.dt.clone(),
            fingerprint: self.facts.fingerprint.whole.clone(),
            detection_fingerprint: self.facts.fingerprint.detection.clone(),
            shard: 0,
            slice: slice_at,
        };
        slice.encoded += ready.len() as u64;
        let (parts, keep_embeddings) = (slice.parts.take(), self.facts.keep_embeddings);
        let work = move || {
            let mut parts = parts.map_or_else(|| SliceParts::new(&context, keep_embeddings), Ok)?;
            parts.add(&ready.into_values().collect::<Vec<_>>())?;
            Ok(parts)
        };
        slice.parts = Some(in_pool(self.compute, slice_at, work).await?);
        Ok(())
    }

    async fn commit(&mut self, slice_at: u64) -> Result<(), Error> {
        let Some(parts) = self.open.remove(&slice_at).and_then(|slice| slice.parts) else { return Ok(()) };
        for part in in_pool(self.compute, slice_at, || parts.finish()).await? {
            self.parts.push(part.commit(self.destination.store.as_ref()).await?);
        }
        Ok(())
    }
}

async fn in_pool<T: Send + 'static>(
    compute: &Compute,
    slice_at: u64,
    work: impl FnOnce() -> Result<T, ParquetError> + Send + 'static,
) -> Result<T, Error> {
    let failed = |e: &dyn std::fmt::Display| Error::Input(format!("slice {slice_at}: cannot be encoded: {e}"));
    let (result, _) = compute.run(work).await.map_err(|rejection| failed(&rejection.message))?;
    result.map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests {
    use super::Slice;
    use crate::limits::ENCODED_OBJECTS;
    use crate::pipeline::score::MediaRows;

    fn insert(slice: &mut Slice, seq: u64) {
        slice.waiting.insert(seq, MediaRows { seq, ..MediaRows::default() });
    }

    #[test]
    fn one_late_object_lets_every_piece_go_that_waited_for_it() {
        let mut slice = Slice::default();
        (1..3 * ENCODED_OBJECTS - 1).for_each(|seq| insert(&mut slice, seq));
        assert!(slice.next_piece(0).is_none());
        insert(&mut slice, 0);
        for piece in 0..2 {
            let first = piece * ENCODED_OBJECTS;
            let keys: Vec<u64> = slice.next_piece(0).unwrap().into_keys().collect();
            assert!(keys.into_iter().eq(first..first + ENCODED_OBJECTS));
            slice.encoded += ENCODED_OBJECTS;
        }
        assert!(slice.next_piece(0).is_none() && slice.waiting.len() as u64 == ENCODED_OBJECTS - 1);
    }
}
