//! Writing one new file, whole or not at all.
//!
//! Comes in: a key and all bytes. Goes out: the ETag of a file that survives a power cut. It never
//! replaces a file, and never shows a part of one: the bytes are on disk before the name appears.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{UNFINISHED_PREFIX, UNFINISHED_SUFFIX, etag_of, from_io, from_join};
use crate::storage::{StoreError, key};

/// What a file gets that is created plainly; the umask takes its share. A temporary file would
/// otherwise be readable by its owner alone.
const FILE_MODE: u32 = 0o666;

pub(super) async fn put_new(root: PathBuf, key: String, body: Bytes) -> Result<Option<String>, StoreError> {
    key::check_new(&key)?;
    let path = key::path_below(&root, &key)?;
    let writing = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || write(&root, &path, &body))
    };
    writing.await.map_err(|error| from_join(&path, &error))?.map(Some)
}

fn write(root: &Path, path: &Path, body: &[u8]) -> Result<String, StoreError> {
    let folder = path.parent().unwrap_or(root);
    let changed_folders = create_folders(folder)?;
    let unfinished = tempfile::Builder::new()
        .prefix(UNFINISHED_PREFIX)
        .suffix(UNFINISHED_SUFFIX)
        .permissions(fs::Permissions::from_mode(FILE_MODE))
        .tempfile_in(folder)
        .map_err(|error| from_io(folder, &error))?;
    // From here on dropping `unfinished` removes the file, whatever fails.
    unfinished.as_file().write_all(body).map_err(|error| from_io(path, &error))?;
    unfinished.as_file().sync_all().map_err(|error| from_io(path, &error))?;
    let published = unfinished.persist_noclobber(path).map_err(|failed| match failed.error.kind() {
        std::io::ErrorKind::AlreadyExists => StoreError::AlreadyExists { what: path.display().to_string() },
        std::io::ErrorKind::Unsupported | std::io::ErrorKind::InvalidInput => StoreError::Permanent {
            what: path.display().to_string(),
            detail: format!("this file system cannot publish a file without replacing another: {}", failed.error),
        },
        _ => from_io(path, &failed.error),
    })?;
    let etag = etag_of(&published.metadata().map_err(|error| from_io(path, &error))?);
    for folder in changed_folders {
        sync_folder(&folder)?;
    }
    Ok(etag)
}

/// Creates what is missing and returns every folder that has a new entry, or is about to.
fn create_folders(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut changed = vec![folder.to_path_buf()];
    let missing = folder.ancestors().take_while(|folder| !folder.exists());
    changed.extend(missing.filter_map(Path::parent).map(Path::to_path_buf));
    fs::create_dir_all(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory => StoreError::Permanent {
            what: folder.display().to_string(),
            detail: format!("expected a folder, found a file in its way: {error}"),
        },
        _ => from_io(folder, &error),
    })?;
    Ok(changed)
}

/// A new name is safe from a power cut only once its folder is on disk.
fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| from_io(folder, &error))
}
