//! Entries in any order → ascending byte order of the key, each once, in bounded memory.
//!
//! Chunks are sorted in memory and written to one file without a name in the scratch folder, and merged out of it; where
//! all fits in one chunk no file is made. Of entries with the same key and version the first that came stays.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt, TryStreamExt};

use super::listed::{Listed, Record};
use crate::error::Error;
use crate::limits;

/// Entries that are handed out with one hop to the threads that may wait for a disk.
const BATCH: usize = 1024;

/// What is written at once.
const WRITE_BYTES: usize = 1 << 20;

/// Takes entries in any order.
#[derive(Debug)]
pub struct Sorter {
    scratch: PathBuf,
    chunk_bytes: usize,
    records: Vec<u8>,
    slots: Vec<Slot>,
    /// The file, and where its runs end.
    spilled: Option<(File, Vec<u64>)>,
}

/// A record in memory: its place, and once it is to be sorted the first bytes of its key behind those that all keys share:
/// they tell most apart.
#[derive(Debug, Clone, Copy)]
struct Slot {
    head: u64,
    at: u32,
}

impl Sorter {
    #[must_use]
    pub fn new(scratch: &Path) -> Self {
        Self::with_chunks(scratch, limits::SORT_BYTES)
    }

    /// With so much in memory.
    #[must_use]
    pub fn with_chunks(scratch: &Path, chunk_bytes: usize) -> Self {
        let scratch = scratch.to_owned();
        // Places in a chunk are told in four bytes.
        let chunk_bytes = chunk_bytes.min(1 << 31);
        Self { scratch, chunk_bytes, records: vec![], slots: vec![], spilled: None }
    }

    /// # Errors
    /// A scratch folder that takes no more.
    pub fn push(&mut self, entry: &Listed) -> Result<(), Error> {
        self.slots.push(Slot { head: 0, at: self.records.len() as u32 });
        entry.write(&mut self.records);
        if self.records.len() + self.slots.len() * size_of::<Slot>() < self.chunk_bytes {
            return Ok(());
        }
        self.spill().map_err(|e| no_room(&self.scratch, &e))
    }

    /// Everything that came, in order.
    ///
    /// # Errors
    /// A scratch folder that takes no more.
    pub fn finish(mut self) -> Result<Sorted, Error> {
        let scratch = self.scratch.clone();
        let sorted = |entries| Sorted { entries, last: vec![], duplicates: 0, scratch: scratch.clone() };
        if self.spilled.is_none() {
            self.sort();
            return Ok(sorted(Entries::Memory { records: self.records, slots: self.slots.into_iter() }));
        }
        let merged = self.spill().and_then(|()| match self.spilled.take() {
            Some((file, ends)) => Merge::begin(file, &ends),
            None => Err(io::Error::other("the file went away")),
        });
        Ok(sorted(Entries::Merge(merged.map_err(|e| no_room(&self.scratch, &e))?)))
    }

    fn sort(&mut self) {
        let records = &self.records;
        let record = |slot: &Slot| Record::at_start_of(&records[slot.at as usize..]);
        let Some(first) = self.slots.first().map(|slot| record(slot).key()) else { return };
        let shared = self.slots.iter().fold(first.len(), |shared, slot| {
            first[..shared].iter().zip(record(slot).key()).take_while(|(one, other)| one == other).count()
        });
        for slot in &mut self.slots {
            let rest = &record(slot).key()[shared..];
            let mut head = [0; 8];
            let known = rest.len().min(8);
            head[..known].copy_from_slice(&rest[..known]);
            slot.head = u64::from_be_bytes(head);
        }
        // Quick on what is in order already.
        self.slots.sort_unstable_by(|one, other| {
            let by_key = one.head.cmp(&other.head).then_with(|| record(one).order(record(other)));
            by_key.then(one.at.cmp(&other.at))
        });
    }

    fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let (file, mut ends) = match self.spilled.take() {
            Some(spilled) => spilled,
            None => (tempfile::tempfile_in(&self.scratch)?, vec![]),
        };
        let mut writer = BufWriter::with_capacity(WRITE_BYTES, &file);
        let mut end = ends.last().copied().unwrap_or_default();
        for slot in &self.slots {
            let bytes = Record::at_start_of(&self.records[slot.at as usize..]).bytes();
            writer.write_all(bytes)?;
            end += bytes.len() as u64;
        }
        writer.flush()?;
        drop(writer);
        ends.push(end);
        self.spilled = Some((file, ends));
        self.records.clear();
        self.slots.clear();
        Ok(())
    }
}

/// Hands entries out in order.
#[derive(Debug)]
pub struct Sorted {
    entries: Entries,
    /// The record before.
    last: Vec<u8>,
    duplicates: u64,
    scratch: PathBuf,
}

#[derive(Debug)]
enum Entries {
    Memory { records: Vec<u8>, slots: std::vec::IntoIter<Slot> },
    Merge(Merge),
}

impl Sorted {
    /// Entries that were dropped so far, since one of the same key and version came before.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// # Errors
    /// A scratch folder that fails.
    pub fn next_entry(&mut self) -> Result<Option<Listed>, Error> {
        loop {
            let record = match &mut self.entries {
                Entries::Memory { records, slots } => {
                    slots.next().map(|slot| Record::at_start_of(&records[slot.at as usize..]))
                }
                Entries::Merge(merge) => merge.next().map_err(|e| no_room(&self.scratch, &e))?,
            };
            let Some(record) = record else { return Ok(None) };
            if !self.last.is_empty() && record.order(Record::at_start_of(&self.last)).is_eq() {
                self.duplicates += 1;
                continue;
            }
            self.last.clear();
            self.last.extend_from_slice(record.bytes());
            return Ok(Some(record.listed()));
        }
    }

    /// The same as a stream, which tells `dropped` of what it leaves out.
    pub fn into_stream(
        self,
        dropped: impl Fn(u64) + Clone + Send + 'static,
    ) -> BoxStream<'static, Result<Listed, Error>> {
        let batches = futures::stream::try_unfold(self, move |mut sorted| {
            let dropped = dropped.clone();
            async move {
                let read = move || -> Result<_, Error> {
                    let before = sorted.duplicates;
                    let mut batch = Vec::with_capacity(BATCH);
                    while batch.len() < BATCH
                        && let Some(entry) = sorted.next_entry()?
                    {
                        batch.push(Ok(entry));
                    }
                    dropped(sorted.duplicates - before);
                    Ok((!batch.is_empty()).then_some((batch, sorted)))
                };
                let batch = tokio::task::spawn_blocking(read).await;
                batch.unwrap_or_else(|e| Err(Error::TryAgain(format!("sorting was broken off: {e}"))))
            }
        });
        batches.map_ok(futures::stream::iter).try_flatten().boxed()
    }
}

/// Runs that are read side by side.
#[derive(Debug)]
struct Merge {
    heads: BinaryHeap<Head>,
    runs: Vec<BufReader<Section>>,
    /// The record that is handed out.
    current: Vec<u8>,
}

/// The first record of a run that is still to be handed out.
#[derive(Debug)]
struct Head {
    record: Vec<u8>,
    run: usize,
}

impl Merge {
    fn begin(file: File, ends: &[u64]) -> io::Result<Self> {
        let file = Arc::new(file);
        let buffer_bytes = (limits::MERGE_BYTES / ends.len()).clamp(16 << 10, 1 << 20);
        let (mut heads, mut runs, mut at) = (BinaryHeap::new(), vec![], 0);
        for (run, end) in ends.iter().enumerate() {
            let section = Section { file: Arc::clone(&file), at, end: *end };
            let mut reader = BufReader::with_capacity(buffer_bytes, section);
            let mut record = vec![];
            if read_record(&mut reader, &mut record)? {
                heads.push(Head { record, run });
            }
            runs.push(reader);
            at = *end;
        }
        Ok(Self { heads, runs, current: vec![] })
    }

    fn next(&mut self) -> io::Result<Option<Record<'_>>> {
        let Some(mut head) = self.heads.peek_mut() else { return Ok(None) };
        std::mem::swap(&mut self.current, &mut head.record);
        let run = head.run;
        if !read_record(&mut self.runs[run], &mut head.record)? {
            PeekMut::pop(head);
        }
        Ok(Some(Record::at_start_of(&self.current)))
    }
}

/// False at the end of the run.
fn read_record(run: &mut BufReader<Section>, record: &mut Vec<u8>) -> io::Result<bool> {
    record.clear();
    if run.buffer().is_empty() && run.get_ref().at == run.get_ref().end {
        return Ok(false);
    }
    record.resize(Record::HEADER_BYTES, 0);
    run.read_exact(record)?;
    record.resize(Record::HEADER_BYTES + Record::texts_bytes(record), 0);
    run.read_exact(&mut record[Record::HEADER_BYTES..])?;
    Ok(true)
}

/// One run of the file.
#[derive(Debug)]
struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let wanted = into.len().min(left);
        let read = self.file.read_at(&mut into[..wanted], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Ord for Head {
    /// The smallest is the greatest of a heap; of equals the one that came first.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_key = Record::at_start_of(&other.record).order(Record::at_start_of(&self.record));
        by_key.then(other.run.cmp(&self.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

fn no_room(scratch: &Path, error: &io::Error) -> Error {
    Error::Input(format!(
        "scratch folder {}: expected room to sort a list of objects, found: {error}; choose another with --scratch DIR",
        scratch.display()
    ))
}
