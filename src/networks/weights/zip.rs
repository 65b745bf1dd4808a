//! The directory of a zip archive, as far as PyTorch uses one: which entry lies where in the file.
//!
//! Only stored entries are read, which is all that `torch.save` writes: a tensor then has a place in the file and is
//! read alone, and no entry can be larger than the file. Nothing is inflated, nothing is searched for, and names are
//! keys of a map, never paths. What a directory claims is checked against the file before memory is given to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The directory of a checkpoint with 50,000 tensors takes 5 MB.
const MAX_DIRECTORY_BYTES: u64 = 16 << 20;

const END: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const LOCATOR_64: &[u8] = b"PK\x06\x07";
const LOCATOR_64_BYTES: u64 = 20;
const END_64: &[u8] = b"PK\x06\x06";
const END_64_BYTES: usize = 56;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_BYTES: usize = 30;
const MAX_COMMENT_BYTES: u64 = u16::MAX as u64;

#[derive(Debug)]
pub(super) struct Archive {
    entries: BTreeMap<String, Entry>,
    file_bytes: u64,
}

#[derive(Debug)]
struct Entry {
    header_start: u64,
    size_bytes: u64,
    /// How it is packed, where it is not stored plainly.
    packed: Option<String>,
}

/// Where the bytes of an entry lie in the file; checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) start: u64,
    pub(super) size_bytes: u64,
}

impl Archive {
    /// # Errors
    /// One line: an archive that is cut, or whose directory does not fit the file.
    pub(super) fn read(file: &File) -> Result<Self, String> {
        let file_bytes = file.metadata().map_err(|e| e.to_string())?.len();
        let directory = find_directory(file, file_bytes)?;
        let mut rest: &[u8] = &read_at(file, directory.start, directory.size_bytes)?;
        let mut entries = BTreeMap::new();
        while !rest.is_empty() {
            let (name, entry, after) = parse_entry(rest)?;
            check_name(&name)?;
            rest = after;
            if let Some(twice) = entries.insert(name.clone(), entry) {
                return Err(format!("expected each entry once, found {name:?} twice (at {})", twice.header_start));
            }
        }
        Ok(Self { entries, file_bytes })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Where an entry's bytes lie; `None` if there is no such entry.
    ///
    /// # Errors
    /// An entry that is packed, or lies outside of the file.
    pub(super) fn place(&self, file: &File, name: &str) -> Result<Option<Place>, String> {
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        if let Some(packed) = &entry.packed {
            return Err(format!(
                "entry {name:?}: expected it stored as torch.save does, found it {packed}; unpack the archive and save \
                 the checkpoint again"
            ));
        }
        let header = read_at(file, entry.header_start, LOCAL_BYTES as u64)?;
        if !header.starts_with(LOCAL) {
            return Err(format!("entry {name:?}: expected its header at byte {}, found none", entry.header_start));
        }
        let start = entry.header_start + (LOCAL_BYTES + u16_at(&header, 26) + u16_at(&header, 28)) as u64;
        if start.checked_add(entry.size_bytes).is_none_or(|end| end > self.file_bytes) {
            return Err(format!(
                "entry {name:?}: expected its {} bytes inside the file's {}, found them at byte {start}",
                entry.size_bytes, self.file_bytes
            ));
        }
        Ok(Some(Place { start, size_bytes: entry.size_bytes }))
    }
}

/// The bytes of the list of entries, from the record that ends the archive.
fn find_directory(file: &File, file_bytes: u64) -> Result<Place, String> {
    let tail_bytes = file_bytes.min(END_BYTES as u64 + MAX_COMMENT_BYTES);
    let tail_start = file_bytes - tail_bytes;
    let tail = read_at(file, tail_start, tail_bytes)?;
    // The comment after the record runs to the end of the file: bytes that only look like a record do not fit.
    let fits = |at: &usize| tail[*at..].starts_with(END) && *at + END_BYTES + u16_at(&tail, *at + 20) == tail.len();
    let at = (0..=tail.len().saturating_sub(END_BYTES)).rev().filter(|at| at + END_BYTES <= tail.len()).find(fits);
    let Some(at) = at else {
        return Err("expected the zip's directory at the end of the file, found none: the file is cut".to_owned());
    };
    let mut end = tail_start + at as u64;
    let mut place = Place { start: u32_at(&tail, at + 16), size_bytes: u32_at(&tail, at + 12) };
    // PyTorch always writes the 64-bit record too; it counts where it is there.
    if let Some(locator_start) = end.checked_sub(LOCATOR_64_BYTES) {
        let locator = read_at(file, locator_start, LOCATOR_64_BYTES)?;
        if locator.starts_with(LOCATOR_64) {
            end = u64_at(&locator, 8);
            let record = read_at(file, end, END_64_BYTES as u64)?;
            if !record.starts_with(END_64) {
                return Err(format!("expected the 64-bit end of the zip's directory at byte {end}, found none"));
            }
            place = Place { start: u64_at(&record, 48), size_bytes: u64_at(&record, 40) };
        }
    }
    if place.start.checked_add(place.size_bytes).is_none_or(|after| after > end) {
        return Err(format!(
            "expected the zip's directory before byte {end}, found {} bytes at byte {}",
            place.size_bytes, place.start
        ));
    }
    if place.size_bytes > MAX_DIRECTORY_BYTES {
        return Err(format!(
            "expected a zip directory of at most {MAX_DIRECTORY_BYTES} bytes, found {}",
            place.size_bytes
        ));
    }
    Ok(place)
}

/// One entry of the directory, and what comes after it.
fn parse_entry(bytes: &[u8]) -> Result<(String, Entry, &[u8]), String> {
    let cut = || "expected whole entries in the zip's directory, found one that is cut".to_owned();
    if bytes.len() < ENTRY_BYTES || !bytes.starts_with(ENTRY) {
        return Err(cut());
    }
    let (name_bytes, extra_bytes, comment_bytes) = (u16_at(bytes, 28), u16_at(bytes, 30), u16_at(bytes, 32));
    let name = bytes.get(ENTRY_BYTES..ENTRY_BYTES + name_bytes).ok_or_else(cut)?;
    let extra_start = ENTRY_BYTES + name_bytes;
    let extra = bytes.get(extra_start..extra_start + extra_bytes).ok_or_else(cut)?;
    let after = bytes.get(extra_start + extra_bytes + comment_bytes..).ok_or_else(cut)?;
    let name = String::from_utf8(name.to_vec())
        .map_err(|_| "expected names of zip entries in UTF-8, found other bytes".to_owned())?;

    let mut size_bytes = u32_at(bytes, 24);
    let mut header_start = u32_at(bytes, 42);
    // Whatever does not fit into 32 bits stands in the extra field, in this order.
    let mut wide = wide_numbers(extra);
    let mut packed_bytes = u32_at(bytes, 20);
    for number in [&mut size_bytes, &mut packed_bytes, &mut header_start] {
        if *number == u64::from(u32::MAX) {
            *number = wide.next().ok_or_else(cut)?;
        }
    }
    let packed = match (u16_at(bytes, 8) & 1, u16_at(bytes, 10)) {
        (1, _) => Some("encrypted".to_owned()),
        (_, 0) if size_bytes == packed_bytes => None,
        (_, 0) => Some(format!("stored in {packed_bytes} bytes that claim to be {size_bytes}")),
        (_, 8) => Some("deflated".to_owned()),
        (_, method) => Some(format!("packed by method {method}")),
    };
    Ok((name, Entry { header_start, size_bytes, packed }, after))
}

/// The numbers of the 64-bit extra field (id 1), or none.
fn wide_numbers(mut extra: &[u8]) -> impl Iterator<Item = u64> {
    let mut found: &[u8] = &[];
    while extra.len() >= 4 {
        let (id, size) = (u16_at(extra, 0), u16_at(extra, 2));
        let Some(body) = extra.get(4..4 + size) else { break };
        if id == 1 {
            found = body;
        }
        extra = &extra[4 + size..];
    }
    found.chunks_exact(8).map(|number| u64_at(number, 0))
}

/// Nothing is ever written under such a name; an archive that has one was made to do harm elsewhere.
fn check_name(name: &str) -> Result<(), String> {
    let climbs = name.split(['/', '\\']).any(|part| part == "..");
    if climbs || name.starts_with(['/', '\\']) || name.contains('\0') {
        return Err(format!("expected names of entries inside the archive, found {name:?}: do not trust this file"));
    }
    Ok(())
}

/// # Errors
/// A file that ends before.
pub(super) fn read_at(file: &File, start: u64, size_bytes: u64) -> Result<Vec<u8>, String> {
    let file_bytes = file.metadata().map_err(|e| e.to_string())?.len();
    if start.checked_add(size_bytes).is_none_or(|end| end > file_bytes) {
        return Err(format!("expected {size_bytes} bytes at byte {start}, found a file of {file_bytes}"));
    }
    let mut bytes = vec![0; size_bytes as usize];
    file.read_exact_at(&mut bytes, start).map_err(|e| e.to_string())?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u64 {
    (u16_at(bytes, at) | u16_at(bytes, at + 2) << 16) as u64
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u32_at(bytes, at) | u32_at(bytes, at + 4) << 32
}
