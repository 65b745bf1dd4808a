//! A file against its pin.
//!
//! In: a path and what should be there. Out: what is there. It reads every byte, and changes nothing.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::pins::FilePin;
use crate::error::Error;
use crate::networks::weights::hexadecimal;

/// Large enough that reading, not calling, takes the time.
const PIECE_BYTES: usize = 1 << 20;

/// What stands where a file should stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    Whole,
    Missing,
    /// Something else, and what: a size, or a sha256.
    Other(String),
}

/// # Errors
/// A file that is there and cannot be read.
pub fn look(path: &Path, pin: &FilePin) -> Result<Finding, Error> {
    let unreadable = |e: &std::io::Error| Error::Input(format!("model file {}: cannot be read: {e}", path.display()));
    let mut file = match crate::files::open(path) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Finding::Missing),
        Err(e) => return Err(unreadable(&e)),
    };
    let found_bytes = file.metadata().map_err(|e| unreadable(&e))?.len();
    if found_bytes != pin.size_bytes {
        return Ok(Finding::Other(format!("{found_bytes} bytes")));
    }
    let found = sha256(&mut file).map_err(|e| unreadable(&e))?;
    Ok(if found == pin.sha256 { Finding::Whole } else { Finding::Other(format!("sha256 {found}")) })
}

/// Whether it is there, by its size: what a list shows without reading gigabytes.
#[must_use]
pub fn is_present(path: &Path, pin: &FilePin) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.len() == pin.size_bytes)
}

/// In the same words as the finding: a size where the size is wrong, else the hash.
#[must_use]
pub fn expected(pin: &FilePin, found: &str) -> String {
    if found.ends_with(" bytes") { format!("{} bytes", pin.size_bytes) } else { format!("sha256 {}", pin.sha256) }
}

fn sha256(file: &mut File) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hexadecimal(&hasher.finalize()));
        }
        hasher.update(&piece[..read]);
    }
}
