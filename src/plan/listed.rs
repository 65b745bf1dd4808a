//! One object as a list names it, and its form in bytes while a list is sorted.
//!
//! In: what a row says. Out: the same, in byte order of the key. What the row leaves open is looked up later; nothing is
//! made up here.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};

use crate::storage::ObjectMeta;

/// An object that a list names, and what the list says of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    pub key: String,
    pub size_bytes: Option<u64>,
    /// Without quotes.
    pub etag: Option<String>,
    pub version_id: Option<String>,
    pub modified: Option<DateTime<Utc>>,
}

impl Listed {
    /// What a listing would say, if the list says all of it.
    ///
    /// # Errors
    /// The entry itself, where it does not.
    pub fn complete(self, needs_modified: bool) -> Result<ObjectMeta, Self> {
        match self {
            Self { size_bytes: Some(size_bytes), etag: Some(etag), key, version_id, modified }
                if modified.is_some() || !needs_modified =>
            {
                Ok(ObjectMeta { key, size_bytes, etag: Some(etag), version_id, modified })
            }
            incomplete => Err(incomplete),
        }
    }

    pub(super) fn write(&self, into: &mut Vec<u8>) {
        let version_id = self.version_id.as_deref();
        let etag = self.etag.as_deref();
        let modified = self.modified.map(|time| time.timestamp_micros());
        let said = [self.size_bytes.is_some(), etag.is_some(), version_id.is_some(), modified.is_some()];
        into.push(said.iter().enumerate().map(|(bit, said)| u8::from(*said) << bit).sum());
        into.extend_from_slice(&self.size_bytes.unwrap_or_default().to_le_bytes());
        into.extend_from_slice(&modified.unwrap_or_default().to_le_bytes());
        let texts = [self.key.as_str(), version_id.unwrap_or_default(), etag.unwrap_or_default()];
        for text in texts {
            // A row has a megabyte at most.
            into.extend_from_slice(&(text.len() as u32).to_le_bytes());
        }
        texts.iter().for_each(|text| into.extend_from_slice(text.as_bytes()));
    }
}

/// An entry in bytes: what is said (a bit each), size, time, three lengths, and key, version and ETag one behind the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a>(&'a [u8]);

impl<'a> Record<'a> {
    /// Bytes before the texts, from which the length of them all is known.
    pub const HEADER_BYTES: usize = 1 + 8 + 8 + 3 * 4;
    const LENGTHS_AT: usize = 17;

    /// The record that `bytes` begin with.
    pub fn at_start_of(bytes: &'a [u8]) -> Self {
        Self(&bytes[..Self::HEADER_BYTES + Self::texts_bytes(bytes)])
    }

    pub fn texts_bytes(header: &[u8]) -> usize {
        (0..3).map(|text| Self::length(header, text)).sum()
    }

    fn length(header: &[u8], text: usize) -> usize {
        let at = Self::LENGTHS_AT + 4 * text;
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize
    }

    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    fn says(self, bit: u8) -> bool {
        self.0[0] >> bit & 1 == 1
    }

    fn number(self, at: usize) -> [u8; 8] {
        let mut number = [0; 8];
        number.copy_from_slice(&self.0[at..at + 8]);
        number
    }

    fn text(self, text: usize) -> &'a [u8] {
        let start = Self::HEADER_BYTES + (0..text).map(|before| Self::length(self.0, before)).sum::<usize>();
        &self.0[start..start + Self::length(self.0, text)]
    }

    pub fn key(self) -> &'a [u8] {
        self.text(0)
    }

    fn version_id(self) -> Option<&'a [u8]> {
        self.says(2).then(|| self.text(1))
    }

    /// By key; versions of one key by their ids, the current one first.
    pub fn order(self, other: Record<'_>) -> Ordering {
        self.key().cmp(other.key()).then_with(|| self.version_id().cmp(&other.version_id()))
    }

    /// Reads what [`Listed::write`] wrote. What went through a file is not trusted to be text.
    pub fn listed(self) -> Listed {
        let text = |at| String::from_utf8_lossy(self.text(at)).into_owned();
        Listed {
            key: text(0),
            size_bytes: self.says(0).then(|| u64::from_le_bytes(self.number(1))),
            etag: self.says(1).then(|| text(2)),
            version_id: self.says(2).then(|| text(1)),
            modified: self
                .says(3)
                .then(|| i64::from_le_bytes(self.number(9)))
                .and_then(DateTime::from_timestamp_micros),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_as_it_was_whatever_it_leaves_open() {
        let time = DateTime::from_timestamp_micros(-1_234_567).unwrap();
        for said in 0..16_u8 {
            let listed = Listed {
                key: "ä/日本 🎭.jpg".to_owned(),
                size_bytes: (said & 1 > 0).then_some(u64::MAX),
                etag: (said & 2 > 0).then(String::new),
                version_id: (said & 4 > 0).then(|| "null".to_owned()),
                modified: (said & 8 > 0).then_some(time),
            };
            let mut bytes = vec![];
            listed.write(&mut bytes);
            let end = bytes.len();
            bytes.extend_from_slice(b"the next one");
            let record = Record::at_start_of(&bytes);
            assert_eq!((record.listed(), record.bytes().len()), (listed, end));
        }
    }
}
