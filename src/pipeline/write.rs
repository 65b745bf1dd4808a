//! Rows → part files, one slice of the plan at a time.
//!
//! Rows are encoded in the order of the plan, whatever finished first, a fixed number of objects at a time: what a
//! slice holds until it is whole is compressed. When each of its objects has its rows its parts are read back and
//! committed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use parquet::errors::ParquetError;
use tokio::sync::mpsc::Receiver;
use tracing::{Instrument, debug_span};

use super::commit::Commit;
use super::compute::Compute;
use super::embed::Outcome;
use super::list::SliceAt;
use super::score::{MediaRows, RunFacts, rows};
use super::slice::SliceParts;
use crate::error::Error;
use crate::limits;
use crate::progress::{Progress, Stage};
use crate::results::Destination;
use crate::tables::PartContext;

/// What becomes of rows.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    pub destination: &'a Destination,
    pub facts: &'a RunFacts,
    pub compute: &'a Compute,
    pub scratch: &'a Path,
    pub progress: &'a Progress,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    pub slices: u64,
    /// Slices that another worker finished first: their rows are those of the other.
    pub by_others: u64,
    pub objects: u64,
}

impl Write<'_> {
    /// Writes until the stages before close their end.
    ///
    /// Slices that are incomplete when the input ends early are dropped: nothing of them is written.
    ///
    /// # Errors
    /// A part that the destination refuses.
    pub async fn run(self, mut input: Receiver<Outcome>) -> Result<Written, Error> {
        let mut writer = Writer { write: self, open: BTreeMap::new(), written: Written::default() };
        while let Some(outcome) = input.recv().await {
            let rows = rows(outcome, self.facts);
            self.progress.finished(&rows);
            writer.add(rows).await?;
        }
        Ok(writer.written)
    }

    /// Writes a slice without objects: tables without rows rather than no tables.
    ///
    /// # Errors
    /// A part that the destination refuses.
    pub async fn empty(self, at: SliceAt) -> Result<Written, Error> {
        let mut writer = Writer { write: self, open: BTreeMap::new(), written: Written::default() };
        writer.encode(at, BTreeMap::new()).await?;
        writer.commit(at).await?;
        Ok(writer.written)
    }
}

struct Writer<'a> {
    write: Write<'a>,
    /// By the `seq` of their first object.
    open: BTreeMap<u64, Slice>,
    written: Written,
}

/// A slice whose objects do not all have their rows yet.
struct Slice {
    at: SliceAt,
    /// None until there is something to encode.
    parts: Option<SliceParts>,
    /// Objects whose rows are encoded: the first so many of the slice.
    encoded: u64,
    /// What that took.
    encode_time: Duration,
    /// Rows that wait for those of an object before them, by their `seq`.
    waiting: BTreeMap<u64, MediaRows>,
}

impl Slice {
    fn new(at: SliceAt) -> Self {
        Self { at, parts: None, encoded: 0, encode_time: Duration::ZERO, waiting: BTreeMap::new() }
    }

    /// The next objects, where all of them are there. Always the same together, or two attempts would differ in their
    /// bytes.
    fn next_piece(&mut self) -> Option<BTreeMap<u64, MediaRows>> {
        let expected = limits::ENCODED_OBJECTS.min(self.at.objects - self.encoded);
        let end = self.at.first_seq + self.encoded + expected;
        if expected == 0 || self.waiting.range(..end).count() as u64 != expected {
            return None;
        }
        let rest = self.waiting.split_off(&end);
        Some(std::mem::replace(&mut self.waiting, rest))
    }
}

impl Writer<'_> {
    async fn add(&mut self, rows: MediaRows) -> Result<(), Error> {
        let at = rows.slice;
        self.open.entry(at.first_seq).or_insert_with(|| Slice::new(at)).waiting.insert(rows.seq, rows);
        // One object may be all that several pieces waited for.
        while let Some(ready) = self.open.get_mut(&at.first_seq).and_then(Slice::next_piece) {
            self.encode(at, ready).await?;
        }
        if self.open.get(&at.first_seq).is_some_and(|slice| slice.encoded == at.objects) {
            self.commit(at).await?;
        }
        Ok(())
    }

    async fn encode(&mut self, at: SliceAt, ready: BTreeMap<u64, MediaRows>) -> Result<(), Error> {
        let Write { destination, facts, .. } = self.write;
        let slice = self.open.entry(at.first_seq).or_insert_with(|| Slice::new(at));
        let context = PartContext {
            run_id: destination.run_id.clone(),
            dt: destination.dt.clone(),
            fingerprint: facts.fingerprint.whole.clone(),
            detection_fingerprint: facts.fingerprint.detection.clone(),
            limits: facts.limits.clone(),
            shard: at.shard,
            slice: at.slice,
        };
        slice.encoded += ready.len() as u64;
        let (parts, keep_embeddings) = (slice.parts.take(), facts.keep_embeddings);
        let work = move || {
            let mut parts = parts.map_or_else(|| SliceParts::new(&context, keep_embeddings), Ok)?;
            parts.add(&ready.into_values().collect::<Vec<_>>())?;
            Ok(parts)
        };
        let (parts, time) = in_pool(self.write, at, work).await?;
        slice.parts = Some(parts);
        slice.encode_time += time;
        Ok(())
    }

    async fn commit(&mut self, at: SliceAt) -> Result<(), Error> {
        let Some(Slice { parts: Some(parts), encode_time, .. }) = self.open.remove(&at.first_seq) else {
            return Ok(());
        };
        let (whole, time) = in_pool(self.write, at, || parts.finish()).await?;
        let Write { destination, facts, scratch, progress, compute } = self.write;
        let encode_time = encode_time + time;
        let commit = Commit { store: destination.store.as_ref(), scratch, device: &facts.device, encode_time, compute };
        let (_writing, began) = (progress.enter(Stage::Write), Instant::now());
        self.written.slices += 1;
        self.written.objects += at.objects;
        let span = debug_span!("write", shard = at.shard, slice = at.slice);
        let committed = commit.commit(whole).instrument(span).await?;
        progress.spent_on_parts(Duration::ZERO, began.elapsed());
        if committed.is_none() {
            self.written.by_others += 1;
            tracing::info!(shard = at.shard, slice = at.slice, "another worker finished this slice first");
        }
        Ok(())
    }
}

async fn in_pool<T: Send + 'static>(
    write: Write<'_>,
    at: SliceAt,
    work: impl FnOnce() -> Result<T, ParquetError> + Send + 'static,
) -> Result<(T, Duration), Error> {
    let SliceAt { shard, slice, .. } = at;
    let failed = |e: &dyn std::fmt::Display| Error::Input(format!("slice {shard}-{slice}: cannot be encoded: {e}"));
    let _encoding = write.progress.enter(Stage::Encode);
    let encoded = write.compute.run(work).instrument(debug_span!("encode", shard, slice)).await;
    let (result, time) = encoded.map_err(|rejection| failed(&rejection.message))?;
    write.progress.spent_on_parts(time, Duration::ZERO);
    Ok((result.map_err(|e| failed(&e))?, time))
}

#[cfg(test)]
mod tests {
    use super::Slice;
    use crate::limits::ENCODED_OBJECTS;
    use crate::pipeline::list::SliceAt;
    use crate::pipeline::score::MediaRows;

    fn insert(slice: &mut Slice, seq: u64) {
        slice.waiting.insert(seq, MediaRows { seq, ..MediaRows::default() });
    }

    #[test]
    fn one_late_object_lets_every_piece_go_that_waited_for_it() {
        let at = SliceAt { objects: 4 * ENCODED_OBJECTS, ..SliceAt::default() };
        let mut slice = Slice::new(at);
        (1..3 * ENCODED_OBJECTS - 1).for_each(|seq| insert(&mut slice, seq));
        assert!(slice.next_piece().is_none());
        insert(&mut slice, 0);
        for piece in 0..2 {
            let first = piece * ENCODED_OBJECTS;
            let keys: Vec<u64> = slice.next_piece().unwrap().into_keys().collect();
            assert!(keys.into_iter().eq(first..first + ENCODED_OBJECTS));
            slice.encoded += ENCODED_OBJECTS;
        }
        assert!(slice.next_piece().is_none() && slice.waiting.len() as u64 == ENCODED_OBJECTS - 1);
    }
}
