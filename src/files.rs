//! Files that a person names: regular ones only. A pipe or a device never ends, and a run that waits for one hears no
//! signal.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// Recipes, configurations and job files are a few kB, tokenizers and indices of shards a few MB.
const MAX_TEXT_BYTES: u64 = 16 << 20;

/// # Errors
/// What the system says, and anything that is no regular file.
pub fn open(path: &Path) -> Result<File> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_file() {
        return File::open(path);
    }
    let found = if kind.is_dir() { "a folder" } else { "a pipe or a device" };
    Err(Error::new(ErrorKind::InvalidInput, format!("expected a file, found {found}")))
}

/// # Errors
/// As [`open`], and a text that is too long or no UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    let mut text = String::new();
    open(path)?.take(MAX_TEXT_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_TEXT_BYTES {
        let message = format!("expected at most {MAX_TEXT_BYTES} bytes of text, found more");
        return Err(Error::new(ErrorKind::InvalidData, message));
    }
    Ok(text)
}
