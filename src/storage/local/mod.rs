//! A folder, or a single file, as a store.
//!
//! Comes in: a path. Goes out: every entry below it that is not a folder, its bytes, and new files.
//! It never replaces a file, never opens a pipe or a device, and never leaves the root but by the
//! symbolic links that somebody put there.

mod find;
mod get;
mod list;
mod open_file;
mod put_new;

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};

pub use open_file::{FileVersion, OriginalFile};

use super::{Body, ObjectMeta, Store, StoreError, key};

/// Our own unfinished writes: hidden, unlike any name of a part, and never listed.
const UNFINISHED_PREFIX: &str = ".deepsweep-";
const UNFINISHED_SUFFIX: &str = ".tmp";

/// The files below one folder. Clones share nothing but the path.
#[derive(Debug, Clone)]
pub struct LocalStore {
    root: PathBuf,
    bucket: String,
    /// The key of the one file that a listing yields, where SOURCE is a file.
    only: Option<String>,
    /// A folder below the root that a listing leaves out, where DEST lies inside SOURCE.
    exclude: Option<PathBuf>,
}

impl LocalStore {
    /// The store of a folder, or of the one file at `path`. `exclude` need not exist.
    ///
    /// # Errors
    /// `NotFound` where nothing stands at `path`, `Denied` where it may not be looked at.
    pub fn open(path: &Path, exclude: Option<&Path>) -> Result<Self, StoreError> {
        let found = path.metadata().map_err(|error| from_io(path, &error))?;
        let absolute = std::path::absolute(path).map_err(|error| from_io(path, &error))?;
        // Of a file the folder is resolved and the name kept: a link to a file goes by its own name.
        let (folder, only) = match (found.is_dir(), absolute.parent(), absolute.file_name()) {
            (false, Some(parent), Some(name)) => (parent, Some(key::part_from_name(name))),
            _ => (absolute.as_path(), None),
        };
        let root = folder.canonicalize().map_err(|error| from_io(folder, &error))?;
        let bucket = root.components().map(|part| key::part_from_name(part.as_os_str())).collect::<Vec<_>>().join("/");
        let bucket = bucket.replacen("//", "/", 1); // the root component is itself a slash
        Ok(Self { root, bucket, only, exclude: exclude.map(canonical_as_far_as_it_exists) })
    }

    /// The key of the file, where the store is of one file alone.
    #[must_use]
    pub fn only(&self) -> Option<&str> {
        self.only.as_deref()
    }

    /// The canonical absolute path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Store for LocalStore {
    fn bucket(&self) -> &str {
        &self.bucket
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
        list::list(self.clone(), prefix.to_owned()).boxed()
    }

    fn find(&self, key: &str, _version_id: Option<&str>) -> BoxFuture<'static, Result<ObjectMeta, StoreError>> {
        find::find(self.root.clone(), key.to_owned()).boxed()
    }

    fn get(&self, object: &ObjectMeta, offset_bytes: u64) -> BoxFuture<'static, Result<Body, StoreError>> {
        get::get(self.root.clone(), object.clone(), offset_bytes).boxed()
    }

    fn open_file(&self, object: &ObjectMeta) -> Option<BoxFuture<'static, Result<OriginalFile, StoreError>>> {
        Some(open_file::open_file(self.root.clone(), object.clone()).boxed())
    }

    fn put_new(&self, key: &str, body: Bytes) -> BoxFuture<'static, Result<Option<String>, StoreError>> {
        put_new::put_new(self.root.clone(), key.to_owned(), body).boxed()
    }
}

/// A path that may not exist yet: its existing ancestors resolved, the rest as it was typed.
pub(crate) fn canonical_as_far_as_it_exists(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    for ancestor in path.ancestors() {
        if let (Ok(exists), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            return if rest.as_os_str().is_empty() { exists } else { exists.join(rest) };
        }
    }
    path
}

/// What a listing says of an entry that is no folder.
fn meta_of(key: String, found: &Metadata) -> ObjectMeta {
    ObjectMeta {
        key,
        size_bytes: if found.is_file() { found.size() } else { 0 },
        etag: Some(etag_of(found)),
        version_id: None,
        modified: found.modified().ok().map(DateTime::<Utc>::from),
    }
}

/// Two versions differ in time, length or file; a copy over an old file keeps the inode but not the time.
fn etag_of(found: &Metadata) -> String {
    let modified_ns = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
    format!("{modified_ns:x}-{:x}-{:x}", found.size(), found.ino())
}

/// Sorts the kernel's word by what the caller can do about it.
fn from_io(path: &Path, error: &io::Error) -> StoreError {
    use io::ErrorKind as Kind;
    let what = path.display().to_string();
    match error.kind() {
        Kind::NotFound => StoreError::NotFound { what },
        Kind::PermissionDenied => StoreError::Denied { what, detail: error.to_string() },
        Kind::StorageFull | Kind::QuotaExceeded => StoreError::Permanent {
            what,
            detail: format!("the disk is full, free some space or choose another --out: {error}"),
        },
        Kind::TimedOut | Kind::Interrupted | Kind::StaleNetworkFileHandle | Kind::ResourceBusy => {
            StoreError::Transient { what, detail: error.to_string() }
        }
        _ => StoreError::Permanent { what, detail: error.to_string() },
    }
}

/// A task of the blocking pool that panicked or was shut down with the runtime.
fn from_join(path: &Path, error: &tokio::task::JoinError) -> StoreError {
    StoreError::Transient { what: path.display().to_string(), detail: format!("reading was broken off: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_permanent_and_says_so() {
        let error = from_io(Path::new("/out/part"), &io::Error::from(io::ErrorKind::StorageFull));
        assert!(matches!(&error, StoreError::Permanent { .. }), "{error}");
        assert!(error.to_string().contains("/out/part: the disk is full"), "{error}");
    }
}
