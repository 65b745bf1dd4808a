//! Opening one file for whoever reads it in place, the version that was listed.
//!
//! Comes in: what the listing said. Goes out: that file, open for reading. It never opens anything but a regular file:
//! opening a pipe would wait for a writer for ever.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::{etag_of, from_io, from_join};
use crate::storage::{ObjectMeta, StoreError, key};

/// A file that somebody may write to while it is read: behind the last read, ask its version.
#[derive(Debug)]
pub struct OriginalFile {
    pub file: File,
    pub version: FileVersion,
}

/// What a file was when it was opened.
#[derive(Debug)]
pub struct FileVersion {
    path: PathBuf,
    etag: String,
}

impl FileVersion {
    /// # Errors
    /// `Changed` where `file` was written to since it was opened: what was read may be half of each version.
    /// A file that was replaced or removed is still the old one to whoever has it open.
    pub fn check_unchanged(&self, file: &File) -> Result<(), StoreError> {
        let found = file.metadata().map_err(|error| from_io(&self.path, &error))?;
        if etag_of(&found) == self.etag { Ok(()) } else { Err(changed(&self.path)) }
    }
}

pub(super) async fn open_file(root: PathBuf, object: ObjectMeta) -> Result<OriginalFile, StoreError> {
    let path = key::path_below(&root, &object.key)?;
    let opening = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || {
            let (file, found) = open_listed(&path, &object)?;
            Ok(OriginalFile { file, version: FileVersion { path, etag: etag_of(&found) } })
        })
    };
    opening.await.map_err(|error| from_join(&path, &error))?
}

/// The file, and what it says of itself now that it is open.
pub(super) fn open_listed(path: &Path, object: &ObjectMeta) -> Result<(File, Metadata), StoreError> {
    let file = crate::files::open(path).map_err(|error| gone_or(path, &error))?;
    // Asked of the open file: what the path leads to may change between two looks.
    let found = file.metadata().map_err(|error| from_io(path, &error))?;
    match &object.etag {
        Some(asked) if *asked != etag_of(&found) => Err(changed(path)),
        _ => Ok((file, found)),
    }
}

pub(super) fn changed(path: &Path) -> StoreError {
    StoreError::Changed { what: path.display().to_string() }
}

/// A folder of the path that became a file took the object with it.
fn gone_or(path: &Path, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::NotADirectory => StoreError::NotFound { what: path.display().to_string() },
        io::ErrorKind::InvalidInput => {
            StoreError::Permanent { what: path.display().to_string(), detail: format!("not a regular file: {error}") }
        }
        _ => from_io(path, error),
    }
}
