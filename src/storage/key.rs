//! Keys: which ones we write, and how a path becomes a key and back.
//!
//! Comes in: a key, or the name of a directory entry as the kernel has it. Goes out: a path below the
//! root, or a key in UTF-8. It never touches the file system.
//!
//! A name that is UTF-8 stands in its key as it is. A name that is not must neither vanish nor collide
//! with another, so each byte that is part of no character becomes one character of the private-use
//! range U+EF80…U+EFFF (0xEF00 + byte; MirBSD's OPTU-8 does the same). Characters of that very range
//! are taken apart into their bytes too, which makes the way back unambiguous.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::StoreError;

/// S3 refuses longer keys, and what we write must fit every store.
pub const MAX_KEY_BYTES: usize = 1024;

/// Added to a byte that is not part of a character; only bytes from 0x80 on can be such.
const ESCAPE_BASE: u32 = 0xEF00;
const ESCAPES: std::ops::RangeInclusive<char> = '\u{EF80}'..='\u{EFFF}';

/// Refuses keys that could leave the root, that no folder can hold, or that S3 would not take.
///
/// # Errors
/// `Permanent`, naming the key and the rule that it breaks.
pub fn check_new(key: &str) -> Result<(), StoreError> {
    let found = if key.is_empty() {
        "an empty key".to_owned()
    } else if key.len() > MAX_KEY_BYTES {
        format!("{} bytes where {MAX_KEY_BYTES} are allowed", key.len())
    } else if key.contains('\0') {
        "a NUL byte".to_owned()
    } else if let Some(part) = key.split('/').find(|part| matches!(*part, "" | "." | "..")) {
        format!("the part {part:?}")
    } else {
        return Ok(());
    };
    let detail = format!("expected a relative key without empty parts, \".\" or \"..\", found {found}");
    Err(StoreError::Permanent { what: format!("key {key:?}"), detail })
}

/// One directory entry's name as a part of a key.
#[must_use]
pub fn part_from_name(name: &OsStr) -> String {
    let mut part = String::with_capacity(name.len());
    for chunk in name.as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            if ESCAPES.contains(&character) {
                let mut bytes = [0; 4];
                character.encode_utf8(&mut bytes).bytes().for_each(|byte| part.push(escaped(byte)));
            } else {
                part.push(character);
            }
        }
        chunk.invalid().iter().for_each(|&byte| part.push(escaped(byte)));
    }
    part
}

/// The path below `root` that [`part_from_name`], applied to each part, would turn into `key`.
///
/// # Errors
/// As [`check_new`], but for the length: a folder may hold longer keys than we would write.
pub fn path_below(root: &Path, key: &str) -> Result<PathBuf, StoreError> {
    let mut path = root.to_path_buf();
    for part in key.split('/') {
        check_new(part)?;
        path.push(name_from_part(part));
    }
    Ok(path)
}

fn name_from_part(part: &str) -> OsString {
    let mut name = Vec::with_capacity(part.len());
    for character in part.chars() {
        match u8::try_from(u32::from(character).wrapping_sub(ESCAPE_BASE)) {
            Ok(byte) if ESCAPES.contains(&character) => name.push(byte),
            _ => name.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    OsString::from_vec(name)
}

fn escaped(byte: u8) -> char {
    // 0xEF00 + byte lies in the private-use area, never among the surrogates.
    char::from_u32(ESCAPE_BASE + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_from_its_key_and_no_two_share_one() {
        let names: [&[u8]; 8] = [
            b"plain.jpg",
            "emoji \u{1F600} and ü".as_bytes(),
            b"latin1-\xe9.jpg",
            b"\xff\xfe\x80",
            "private \u{EFE9} use".as_bytes(),
            "just before \u{EF7F} and after \u{F000}".as_bytes(),
            b"cut \xf0\x9f\x98",
            b"latin1-\xee\xbf\xa9.jpg", // U+EFE9 spelled out: what the escape of 0xE9 looks like
        ];
        let mut parts = std::collections::BTreeSet::new();
        for name in names {
            let part = part_from_name(OsStr::from_bytes(name));
            assert_eq!(name_from_part(&part).as_bytes(), name);
            assert!(parts.insert(part), "{name:?} shares its key with another name");
        }
    }

    #[test]
    fn keys_that_leave_the_root_are_refused() {
        for key in ["", "/etc/passwd", "a/../b", "..", "a//b", "a/", "./a", "a\0b"] {
            assert!(check_new(key).is_err(), "{key:?}");
        }
        for key in ["a", "a..b", "a/..b/c", "media/dt=2026-01-01/run=x/part-0-0.parquet"] {
            assert!(check_new(key).is_ok(), "{key:?}");
        }
    }
}
