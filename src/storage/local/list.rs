//! Listing a folder, one directory in memory at a time.
//!
//! Comes in: a root and a prefix. Goes out: every entry that is not a directory, in the byte order of
//! the full key. It never holds the tree, never walks a loop, and never passes over what it cannot read.
//!
//! A directory sorts as its name and a slash, because that is where its keys lie: `a-b` stands before
//! `a/b`, although `a` stands before `a-b`.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use futures::Stream;
use tokio::sync::mpsc;

use super::{LocalStore, UNFINISHED_PREFIX, UNFINISHED_SUFFIX, from_io, meta_of};
use crate::storage::{ObjectMeta, StoreError, key};

/// Some milliseconds of walking ahead of the reader, and at most a few hundred KiB.
const ENTRIES_AHEAD: usize = 1024;

type Listed = Result<ObjectMeta, StoreError>;

pub(super) fn list(store: LocalStore, prefix: String) -> impl Stream<Item = Listed> + Send {
    // The walk starts with the first poll, so that a listing nobody reads costs nothing.
    let start = Start::NotYet(store, prefix);
    futures::stream::unfold(start, |state| async move {
        let mut listed = match state {
            Start::NotYet(store, prefix) => {
                let (sender, receiver) = mpsc::channel(ENTRIES_AHEAD);
                tokio::task::spawn_blocking(move || walk(&store, prefix, sender));
                receiver
            }
            Start::Walking(receiver) => receiver,
        };
        listed.recv().await.map(|item| (item, Start::Walking(listed)))
    })
}

enum Start {
    NotYet(LocalStore, String),
    Walking(mpsc::Receiver<Listed>),
}

/// The reader went away: the only reason to stop walking in silence.
struct ReaderGone;

struct Walk<'a> {
    store: &'a LocalStore,
    prefix: String,
    listed: mpsc::Sender<Listed>,
    /// Device and inode of the folders above, by which a loop is known.
    above: Vec<(u64, u64)>,
}

/// One entry of the folder being read.
struct Entry {
    /// The full key; a folder's ends with a slash.
    key: String,
    path: PathBuf,
    /// What stands behind the links; of a dangling link, the link itself.
    found: Metadata,
}

fn walk(store: &LocalStore, prefix: String, listed: mpsc::Sender<Listed>) {
    let mut walk = Walk { store, prefix, listed, above: Vec::new() };
    let walked = match &store.only {
        Some(key) => walk.one_file(key),
        None => walk.folder(&store.root, ""),
    };
    if let Err(Stop::Failed(error)) = walked {
        // Nobody left to tell: the reader's going away is what ended the walk.
        let _ = walk.listed.blocking_send(Err(error));
    }
}

enum Stop {
    ReaderGone,
    Failed(StoreError),
}

impl From<ReaderGone> for Stop {
    fn from(_: ReaderGone) -> Self {
        Self::ReaderGone
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl Walk<'_> {
    fn one_file(&self, key: &str) -> Result<(), Stop> {
        if key.starts_with(&self.prefix) {
            let path = key::path_below(&self.store.root, key)?;
            let found = path.metadata().map_err(|error| from_io(&path, &error))?;
            self.emit(key.to_owned(), &found)?;
        }
        Ok(())
    }

    /// Depth is bounded by the length of a path, which the kernel bounds.
    fn folder(&mut self, folder: &Path, key_of_folder: &str) -> Result<(), Stop> {
        for entry in self.entries(folder, key_of_folder)? {
            if !entry.found.is_dir() {
                self.emit(entry.key, &entry.found)?;
                continue;
            }
            let identity = (entry.found.dev(), entry.found.ino());
            if self.above.contains(&identity) {
                // Its content is listed already, under the folder that the link leads back to.
                tracing::warn!(link = %entry.path.display(), "a link to a folder above it is not followed");
                continue;
            }
            self.above.push(identity);
            self.folder(&entry.path, &entry.key)?;
            self.above.pop();
        }
        Ok(())
    }

    /// The folder's entries that the prefix admits, in the order of their keys.
    fn entries(&mut self, folder: &Path, key_of_folder: &str) -> Result<Vec<Entry>, StoreError> {
        if self.above.is_empty() {
            let root = folder.metadata().map_err(|error| from_io(folder, &error))?;
            self.above.push((root.dev(), root.ino()));
        }
        let mut entries = Vec::new();
        let found = match fs::read_dir(folder) {
            // A folder that went away since the one above it was read holds nothing any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !key_of_folder.is_empty() => return Ok(entries),
            found => found.map_err(|error| from_io(folder, &error))?,
        };
        for entry in found {
            let entry = entry.map_err(|error| from_io(folder, &error))?;
            let name = entry.file_name();
            let part = key::part_from_name(&name);
            if part.starts_with(UNFINISHED_PREFIX) && part.ends_with(UNFINISHED_SUFFIX) {
                continue;
            }
            let mut key = format!("{key_of_folder}{part}");
            // Asked before stat: what lies beside the prefix is none of our business, readable or not.
            if !key.starts_with(&self.prefix) && !self.prefix.starts_with(&key) {
                continue;
            }
            let path = entry.path();
            let Some(found) = self.look_at(&path)? else { continue };
            if found.is_dir() {
                if self.store.exclude.as_ref().is_some_and(|exclude| path == *exclude) {
                    continue;
                }
                key.push('/');
            }
            if key.starts_with(&self.prefix) || (found.is_dir() && self.prefix.starts_with(&key)) {
                entries.push(Entry { key, path, found });
            }
        }
        entries.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        Ok(entries)
    }

    /// What stands behind `path`; a link that leads nowhere stands for itself; nothing, where the entry
    /// went away since the folder was read.
    fn look_at(&self, path: &Path) -> Result<Option<Metadata>, StoreError> {
        match fs::metadata(path) {
            Ok(found) => return Ok(Some(found)),
            // The folder may be read but not entered: everything in it would fail, so the folder is named.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && fs::symlink_metadata(path).is_err() => {
                return Err(from_io(path.parent().unwrap_or(path), &error));
            }
            Err(_) => {}
        }
        match fs::symlink_metadata(path) {
            Ok(link) => Ok(Some(link)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(from_io(path, &error)),
        }
    }

    fn emit(&self, key: String, found: &Metadata) -> Result<(), ReaderGone> {
        self.listed.blocking_send(Ok(meta_of(key, found))).map_err(|_| ReaderGone)
    }
}
