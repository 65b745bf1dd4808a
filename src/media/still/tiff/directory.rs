//! The first directory of a TIFF (TIFF 6.0, section 2; BigTIFF): bytes → numbers by tag. Nothing is allocated that is longer
//! than the file.

use std::collections::BTreeMap;

use crate::error::Rejection;
use crate::media::still::corrupt;

/// An entry: its type, how many values, and where they are.
#[derive(Debug, Clone, Copy)]
struct Entry {
    kind: u16,
    count: u64,
    at: u64,
}

#[derive(Debug)]
pub struct Directory<'a> {
    pub bytes: &'a [u8],
    pub is_little: bool,
    entries: BTreeMap<u16, Entry>,
}

/// Entries of one directory: the standards have about a hundred tags.
const MAX_ENTRIES: u64 = 4_096;

impl<'a> Directory<'a> {
    /// # Errors
    /// A header or a directory outside of the file.
    pub fn first(bytes: &'a [u8]) -> Result<Self, Rejection> {
        let is_little = bytes.starts_with(b"II");
        let mut directory = Self { bytes, is_little, entries: BTreeMap::new() };
        let broken = || corrupt("TIFF: expected a directory inside the file, found none");
        let is_big = directory.number(2, 2).ok_or_else(broken)? == 43;
        // Widths of: the place of the directory, its count, a value's count, and of one entry.
        let (at, count_bytes, wide, entry_bytes) =
            if is_big { (directory.number(8, 8), 8, 8, 20) } else { (directory.number(4, 4), 2, 4, 12) };
        let at = at.ok_or_else(broken)?;
        let count = directory.number(at, count_bytes).ok_or_else(broken)?;
        for entry in 0..count.min(MAX_ENTRIES) {
            let place = at + count_bytes as u64 + entry * entry_bytes;
            // A directory that is cut counts as far as it goes.
            let (Some(tag), Some(kind)) = (directory.number(place, 2), directory.number(place + 2, 2)) else { break };
            let Some(count) = directory.number(place + 4, wide) else { break };
            let value = place + 4 + wide as u64;
            let bytes = size_of_kind(kind as u16).map(|size| count.saturating_mul(size));
            let at = match bytes {
                Some(bytes) if bytes > wide as u64 => directory.number(value, wide),
                _ => Some(value),
            };
            let Some(at) = at else { break };
            directory.entries.entry(tag as u16).or_insert(Entry { kind: kind as u16, count, at });
        }
        Ok(directory)
    }

    /// A number of `bytes` bytes, 8 at most, in the file's order.
    #[must_use]
    pub fn number(&self, at: u64, bytes: usize) -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let piece = self.bytes.get(at..at.checked_add(bytes)?)?;
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.is_little { piece.iter().rev().fold(0, join) } else { piece.iter().fold(0, join) })
    }

    #[must_use]
    pub fn has(&self, tag: u16) -> bool {
        self.entries.contains_key(&tag)
    }

    /// How many values a tag has; 0 where it is missing.
    #[must_use]
    pub fn count(&self, tag: u16) -> u64 {
        self.entries.get(&tag).map_or(0, |entry| entry.count)
    }

    /// The value of a tag at `index`, where it is an integer: bytes, shorts, longs, and those of 64 bits.
    #[must_use]
    pub fn at(&self, tag: u16, index: u64) -> Option<u64> {
        let Entry { kind, count, at } = *self.entries.get(&tag)?;
        if index >= count || matches!(kind, 2 | 5 | 10..=12) {
            return None;
        }
        let size = size_of_kind(kind)?;
        self.number(at.checked_add(index.checked_mul(size)?)?, size as usize)
    }

    #[must_use]
    pub fn value(&self, tag: u16) -> Option<u64> {
        self.at(tag, 0)
    }

    /// A fraction.
    #[must_use]
    pub fn rational(&self, tag: u16, index: u64) -> Option<f64> {
        let Entry { kind: 5, count, at } = *self.entries.get(&tag)? else { return None };
        let at = at.checked_add(index.checked_mul(8)?).filter(|_| index < count)?;
        let (numerator, denominator) = (self.number(at, 4)?, self.number(at.checked_add(4)?, 4)?);
        (denominator != 0).then(|| numerator as f64 / denominator as f64)
    }

    /// The bytes of a tag of bytes.
    #[must_use]
    pub fn content(&self, tag: u16) -> Option<&'a [u8]> {
        let Entry { kind, count, at } = *self.entries.get(&tag)?;
        let length = count.checked_mul(size_of_kind(kind)?)?;
        let (at, length) = (usize::try_from(at).ok()?, usize::try_from(length).ok()?);
        self.bytes.get(at..at.checked_add(length)?)
    }
}

fn size_of_kind(kind: u16) -> Option<u64> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16..=18 => Some(8),
        _ => None,
    }
}
