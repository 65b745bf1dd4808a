//! Reading one file, the version that was listed.
//!
//! Comes in: what the listing said. Goes out: exactly as many bytes as it said, or an error. It never
//! opens anything but a regular file: opening a pipe would wait for a writer for ever.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use bytes::Bytes;
use futures::StreamExt;

use super::open_file::{changed, open_listed};
use super::{etag_of, from_io, from_join};
use crate::storage::{Body, ObjectMeta, StoreError, key};

/// Large enough that the hop to the blocking pool does not show, small beside the memory for bodies.
const CHUNK_BYTES: u64 = 1024 * 1024;

pub(super) async fn get(root: PathBuf, object: ObjectMeta, offset_bytes: u64) -> Result<Body, StoreError> {
    let path = key::path_below(&root, &object.key)?;
    let opening = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || Reading::open(path, &object, offset_bytes))
    };
    let reading = opening.await.map_err(|error| from_join(&path, &error))??;
    let body = futures::stream::try_unfold(reading, |reading| async move {
        let path = reading.path.clone();
        let next = tokio::task::spawn_blocking(move || reading.next_chunk());
        next.await.map_err(|error| from_join(&path, &error))?
    });
    Ok(body.boxed())
}

struct Reading {
    path: PathBuf,
    file: File,
    etag: String,
    left_bytes: u64,
}

impl Reading {
    fn open(path: PathBuf, object: &ObjectMeta, offset_bytes: u64) -> Result<Self, StoreError> {
        let (mut file, found) = open_listed(&path, object)?;
        let etag = etag_of(&found);
        let left_bytes = found.len().saturating_sub(offset_bytes);
        if offset_bytes > 0 && left_bytes == 0 {
            return Err(changed(&path));
        }
        file.seek(SeekFrom::Start(offset_bytes)).map_err(|error| from_io(&path, &error))?;
        Ok(Self { path, file, etag, left_bytes })
    }

    /// The next chunk; nothing, once all bytes of the listed version were read and it still stands.
    fn next_chunk(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        if self.left_bytes == 0 {
            // Written to while it was read, the bytes may be half of each version.
            let found = self.file.metadata().map_err(|error| from_io(&self.path, &error))?;
            return if etag_of(&found) == self.etag { Ok(None) } else { Err(changed(&self.path)) };
        }
        let want_bytes = self.left_bytes.min(CHUNK_BYTES);
        let mut chunk = Vec::with_capacity(usize::try_from(want_bytes).unwrap_or_default());
        let read = (&self.file).take(want_bytes).read_to_end(&mut chunk);
        let read_bytes = read.map_err(|error| from_io(&self.path, &error))? as u64;
        if read_bytes < want_bytes {
            return Err(changed(&self.path));
        }
        self.left_bytes -= read_bytes;
        Ok(Some((Bytes::from(chunk), self)))
    }
}
