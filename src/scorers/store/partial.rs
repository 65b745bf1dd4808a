//! A file on its way: its bytes so far, their hash, and the version that they are of.
//!
//! In: pieces in their order. Out: a file under its own name, once and only once it is the pinned one. Whatever ends
//! the process in between, no name in the cache ever stands for less than a whole file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::networks::weights::hexadecimal;

/// Large enough that reading, not calling, takes the time.
const PIECE_BYTES: usize = 1 << 20;

/// Bytes that came so far. One process at a time holds it: see `lock`.
#[derive(Debug)]
pub(super) struct Partial {
    target: PathBuf,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    pub length: u64,
    /// Of the version that the bytes are of, where the server named one.
    pub etag: Option<String>,
    /// Some of the bytes were there before this process.
    pub was_resumed: bool,
}

impl Partial {
    /// Takes up what an earlier pull left, or begins. More than `size_bytes` is no part of the file.
    pub fn open(target: &Path, size_bytes: u64) -> io::Result<Self> {
        let path = path_of(target);
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        let mut hasher = Sha256::new();
        let mut length = 0;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                break;
            }
            hasher.update(&piece[..read]);
            length += read as u64;
        }
        let etag = fs::read_to_string(etag_path_of(target)).ok();
        let mut partial = Self { target: target.to_owned(), path, file, hasher, length, etag, was_resumed: length > 0 };
        if length > size_bytes {
            partial.restart()?;
        }
        Ok(partial)
    }

    /// Forgets every byte.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        io::Seek::rewind(&mut self.file)?;
        self.hasher = Sha256::new();
        (self.length, self.was_resumed) = (0, false);
        self.set_etag(None)
    }

    /// Keeps beside the bytes which version they are of.
    pub fn set_etag(&mut self, etag: Option<String>) -> io::Result<()> {
        let path = etag_path_of(&self.target);
        match &etag {
            Some(etag) => fs::write(path, etag)?,
            None => remove(&path)?,
        }
        self.etag = etag;
        Ok(())
    }

    pub fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece)?;
        self.hasher.update(piece);
        self.length += piece.len() as u64;
        Ok(())
    }

    /// The sha256 of all bytes.
    pub fn sha256(&self) -> String {
        hexadecimal(&self.hasher.clone().finalize())
    }

    /// Gives the file its name. The caller has checked size and hash.
    pub fn publish(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.target)?;
        remove(&etag_path_of(&self.target))?;
        // A new name is safe from a power cut only once its folder is on disk.
        match self.target.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }

    /// Leaves nothing behind.
    pub fn discard(self) -> io::Result<()> {
        remove(&self.path)?;
        remove(&etag_path_of(&self.target))
    }
}

/// Bytes that an earlier pull left of `target`.
pub(super) fn length_of(target: &Path) -> u64 {
    path_of(target).metadata().map_or(0, |found| found.len())
}

fn path_of(target: &Path) -> PathBuf {
    beside(target, "part")
}

fn etag_path_of(target: &Path) -> PathBuf {
    beside(target, "part-etag")
}

fn beside(target: &Path, ending: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    target.with_file_name(format!(".{name}.{ending}"))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
