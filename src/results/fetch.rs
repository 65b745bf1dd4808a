//! A part where it lies → bytes that can be read at any place: in a folder the file itself, from a bucket a copy in memory,
//! or in a file without a name where it is large.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use crate::error::Error;
use crate::limits;
use crate::storage::{FileVersion, ObjectMeta, OriginalFile, Store, StoreError};
use crate::tables::stored::{PartBytes, PartFile};

/// A part that is here.
pub struct Fetched {
    pub part: PartFile,
    pub key: String,
    /// Of a part that was not copied.
    original: Option<(Arc<std::fs::File>, FileVersion)>,
}

impl Fetched {
    /// To be asked behind the last read.
    ///
    /// # Errors
    /// A part that was written to while it was read.
    pub fn check_unchanged(&self) -> Result<(), StoreError> {
        self.original.as_ref().map_or(Ok(()), |(file, version)| version.check_unchanged(file))
    }
}

/// # Errors
/// A store that fails again and again, a part that changed, a scratch folder that is full.
pub async fn fetch(store: &dyn Store, object: &ObjectMeta, scratch: &Path) -> Result<Fetched, Error> {
    let key = object.key.clone();
    if let Some(opening) = store.open_file(object) {
        let OriginalFile { file, version } = opening.await?;
        let file = Arc::new(file);
        let part = PartFile::new(PartBytes::File(Arc::clone(&file)), object.size_bytes);
        return Ok(Fetched { part, key, original: Some((file, version)) });
    }
    let mut copy = if object.size_bytes <= limits::MEMORY_PART_BYTES {
        Copy::Memory(BytesMut::with_capacity(object.size_bytes as usize))
    } else {
        let file = tempfile::tempfile_in(scratch).map_err(|e| failed(scratch, &object.key, &e))?;
        Copy::File(File::from_std(file), 0)
    };
    let mut pause = Duration::from_millis(limits::FETCH_PAUSE_MS);
    for attempt in 1.. {
        match read_on(store, object, &mut copy, scratch).await {
            Ok(()) => break,
            Err(Stop::Again(error)) if attempt < limits::FETCH_ATTEMPTS => {
                tracing::debug!(key = object.key, attempt, "fetching again: {error}");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            Err(Stop::Again(error)) => {
                return Err(Error::TryAgain(format!("{key:?}: gave up after {attempt} attempts: {error}")));
            }
            Err(Stop::Job(error)) => return Err(error),
        }
    }
    let bytes = match copy {
        Copy::Memory(bytes) => PartBytes::Memory(bytes.freeze()),
        Copy::File(file, _) => PartBytes::File(Arc::new(file.into_std().await)),
    };
    Ok(Fetched { part: PartFile::new(bytes, object.size_bytes), key, original: None })
}

enum Copy {
    Memory(BytesMut),
    File(File, u64),
}

impl Copy {
    fn len_bytes(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, written) => *written,
        }
    }

    async fn clear(&mut self) -> std::io::Result<()> {
        match self {
            Self::Memory(bytes) => bytes.clear(),
            Self::File(file, written) => {
                file.flush().await?;
                file.set_len(0).await?;
                file.rewind().await?;
                *written = 0;
            }
        }
        Ok(())
    }

    async fn write(&mut self, piece: &Bytes) -> std::io::Result<()> {
        match self {
            Self::Memory(bytes) => bytes.extend_from_slice(piece),
            Self::File(file, written) => {
                file.write_all(piece).await?;
                *written += piece.len() as u64;
            }
        }
        Ok(())
    }
}

enum Stop {
    Again(String),
    Job(Error),
}

/// Reads on from where the last attempt ended.
async fn read_on(store: &dyn Store, object: &ObjectMeta, copy: &mut Copy, scratch: &Path) -> Result<(), Stop> {
    let silence = Duration::from_secs(limits::FETCH_SILENCE_SECS);
    let stop = |error: StoreError| match error {
        StoreError::Transient { .. } | StoreError::Damaged { .. } => Stop::Again(error.to_string()),
        error => Stop::Job(error.into()),
    };
    let expected = object.size_bytes;
    if copy.len_bytes() < expected {
        let mut body = store.get(object, copy.len_bytes()).await.map_err(stop)?;
        loop {
            let piece = match tokio::time::timeout(silence, body.next()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(error))) => {
                    if matches!(error, StoreError::Damaged { .. }) {
                        copy.clear().await.map_err(|e| Stop::Job(failed(scratch, &object.key, &e)))?;
                    }
                    return Err(stop(error));
                }
                Ok(None) => break,
                Err(_) => return Err(Stop::Again(format!("no bytes for {} s", silence.as_secs()))),
            };
            copy.write(&piece).await.map_err(|e| Stop::Job(failed(scratch, &object.key, &e)))?;
        }
    }
    if let Copy::File(file, _) = copy {
        file.flush().await.map_err(|e| Stop::Job(failed(scratch, &object.key, &e)))?;
    }
    let found = copy.len_bytes();
    if found < expected {
        return Err(Stop::Again(format!("expected {expected} bytes, the body ended after {found}")));
    }
    if found > expected {
        let what = format!("{:?}: expected {expected} bytes as listed, found more", object.key);
        return Err(Stop::Job(Error::Input(what)));
    }
    Ok(())
}

fn failed(scratch: &Path, key: &str, error: &std::io::Error) -> Error {
    let folder = scratch.display();
    Error::Input(format!(
        "scratch folder {folder}: expected room for {key:?}, found: {error}; choose another with --scratch"
    ))
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use parquet::file::reader::ChunkReader;

    use super::*;
    use crate::storage::faulty::{self, FaultyStore, Operation, Scripted};
    use crate::storage::memory::MemoryStore;

    /// A part of so many bytes, fetched while bodies break off as the script says.
    async fn check(size_bytes: usize, script: &[(u64, faulty::Fault)], is_good: bool) {
        let body: Vec<u8> = (0..size_bytes).map(|at| (at % 251) as u8).collect();
        let inner = MemoryStore::new("results");
        inner.put("part", body.clone());
        let script = script.iter().map(|(nth, fault)| Scripted { operation: Operation::Get, nth: *nth, fault: *fault });
        let store = FaultyStore::new(Arc::new(inner), script.collect());
        let object = store.list("part").try_next().await.unwrap().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        match fetch(store.as_ref(), &object, scratch.path()).await {
            Ok(fetched) => {
                assert!(is_good);
                assert!(fetched.part.get_bytes(0, size_bytes).unwrap() == body);
                let some = fetched.part.get_bytes(7, 100).unwrap();
                assert!(some == body[7..107] && fetched.part.get_bytes(1, size_bytes).is_err());
            }
            Err(error) => assert!(!is_good && error.to_string().contains("part"), "{error}"),
        }
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "a copy has no name");
    }

    #[tokio::test]
    async fn a_part_is_whole_in_memory_and_in_the_scratch_folder_however_often_it_breaks_off() {
        let cuts = [(1, faulty::Fault::Cut { after: 1_000 }), (2, faulty::Fault::Transient)];
        for size_bytes in [1 << 20, limits::MEMORY_PART_BYTES as usize + 12_345] {
            check(size_bytes, &[], true).await;
            check(size_bytes, &cuts, true).await;
            check(size_bytes, &[(1, faulty::Fault::Damaged { flipped: 5_000 }), cuts[1]], true).await;
            check(size_bytes, &[(1, faulty::Fault::ChangedEtag)], false).await;
        }
    }
}
