//! Names of columns → which is which: those of S3 Inventory in CSV (`IsLatest`) and in Parquet (`is_latest`), of query
//! results, and of the table `media`.
//!
//! In: names, and the cells of a row. Out: the cells by what they mean. What no plan needs is not read.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use csv::ByteRecord;
use percent_encoding::percent_decode;

/// What a column says of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Bucket,
    Key,
    Size,
    Etag,
    VersionId,
    Modified,
    IsLatest,
    IsDeleteMarker,
}

impl Role {
    pub const ALL: [Self; 8] = [
        Self::Bucket,
        Self::Key,
        Self::Size,
        Self::Etag,
        Self::VersionId,
        Self::Modified,
        Self::IsLatest,
        Self::IsDeleteMarker,
    ];

    /// As S3 Inventory calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bucket => "Bucket",
            Self::Key => "Key",
            Self::Size => "Size",
            Self::Etag => "ETag",
            Self::VersionId => "VersionId",
            Self::Modified => "LastModifiedDate",
            Self::IsLatest => "IsLatest",
            Self::IsDeleteMarker => "IsDeleteMarker",
        }
    }

    /// Whatever its case, and with underscores or without.
    fn named(name: &str) -> Option<Self> {
        let name: String = name.trim().chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect();
        Some(match name.as_str() {
            "bucket" => Self::Bucket,
            "key" => Self::Key,
            "size" | "sizebytes" => Self::Size,
            "etag" => Self::Etag,
            "versionid" => Self::VersionId,
            "modified" | "lastmodified" | "lastmodifieddate" => Self::Modified,
            "islatest" => Self::IsLatest,
            "isdeletemarker" => Self::IsDeleteMarker,
            _ => return None,
        })
    }
}

/// Where each role stands in a row.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    at: [Option<usize>; 8],
    names: Vec<String>,
}

impl Columns {
    /// # Errors
    /// Two columns that say the same.
    pub fn find<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut columns = Self::default();
        for (at, name) in names.into_iter().enumerate() {
            columns.names.push(name.trim().to_owned());
            let Some(role) = Role::named(name) else { continue };
            if let Some(before) = columns.at[role as usize].replace(at) {
                let before = &columns.names[before];
                return Err(format!("columns: expected one for the {}, found {before:?} and {name:?}", role.name()));
            }
        }
        Ok(columns)
    }

    /// The columns of a manifest of S3 Batch Operations, which has no header.
    pub fn of_batch_operations(width: usize) -> Self {
        let mut columns = Self::default();
        for (at, role) in [Role::Bucket, Role::Key, Role::VersionId].into_iter().enumerate().take(width) {
            columns.at[role as usize] = Some(at);
        }
        columns
    }

    pub fn at(&self, role: Role) -> Option<usize> {
        self.at[role as usize]
    }

    pub fn has(&self, role: Role) -> bool {
        self.at(role).is_some()
    }

    pub fn width(&self) -> usize {
        self.names.len()
    }

    /// The columns that there are, for messages.
    pub fn shown(&self) -> String {
        let mut shown: Vec<String> = self.names.iter().take(20).map(|name| short(name)).collect();
        if self.names.len() > shown.len() {
            shown.push(format!("{} more", self.names.len() - shown.len()));
        }
        shown.join(", ")
    }
}

/// One row by what its cells mean; an empty cell says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cells<'a> {
    pub bucket: Option<&'a str>,
    pub key: Option<&'a str>,
    pub size_bytes: Option<u64>,
    pub etag: Option<&'a str>,
    pub version_id: Option<&'a str>,
    pub modified: Option<DateTime<Utc>>,
    pub is_latest: Option<bool>,
    pub is_delete_marker: Option<bool>,
}

impl<'a> Cells<'a> {
    /// # Errors
    /// A cell that is not what its column says.
    pub fn of(record: &'a ByteRecord, columns: &Columns) -> Result<Self, String> {
        let text = |role: Role| -> Result<Option<&'a str>, String> {
            let cell = columns.at(role).and_then(|at| record.get(at)).filter(|cell| !cell.is_empty());
            let cell = cell.map(std::str::from_utf8).transpose();
            cell.map_err(|_| format!("{}: expected UTF-8, found other bytes", role.name()))
        };
        let flag = |role: Role| {
            let cell = text(role)?;
            cell.map(|cell| {
                let found = cell.to_ascii_lowercase().parse();
                found.map_err(|_| format!("{}: expected true or false, found {}", role.name(), short(cell)))
            })
            .transpose()
        };
        Ok(Self {
            bucket: text(Role::Bucket)?,
            key: text(Role::Key)?,
            size_bytes: text(Role::Size)?.map(size).transpose()?,
            etag: text(Role::Etag)?.map(unquoted),
            version_id: text(Role::VersionId)?,
            modified: text(Role::Modified)?.map(time).transpose()?,
            is_latest: flag(Role::IsLatest)?,
            is_delete_marker: flag(Role::IsDeleteMarker)?,
        })
    }
}

fn size(cell: &str) -> Result<u64, String> {
    cell.trim().parse().map_err(|_| format!("Size: expected a number of bytes, found {}", short(cell)))
}

pub(super) fn time(cell: &str) -> Result<DateTime<Utc>, String> {
    // With a T or a space, as query engines print it; without a zone it is UTC.
    let (text, naive) = (cell.trim().trim_end_matches(" UTC"), "%Y-%m-%d %H:%M:%S%.f");
    // DuckDB and PostgreSQL leave the minutes of a zone out.
    let text = match text.len().checked_sub(3) {
        Some(zone) if zone >= 19 && text.is_char_boundary(zone) && text[zone..].starts_with(['+', '-']) => {
            &format!("{text}:00").replacen(' ', "T", 1)
        }
        _ => text,
    };
    let found = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    let found =
        found.or_else(|_| chrono::NaiveDateTime::parse_from_str(&text.replace('T', " "), naive).map(|t| t.and_utc()));
    found.map_err(|_| format!("LastModifiedDate: expected a time like 2026-11-25T07:00:00Z, found {}", short(cell)))
}

/// Some lists keep the quotes that HTTP puts around an ETag.
pub(super) fn unquoted(etag: &str) -> &str {
    etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).unwrap_or(etag)
}

/// A key as S3 writes it into CSV: percent-encoded, and as in a form a plus is a space.
///
/// # Errors
/// What is no text when it is decoded.
pub(super) fn decoded(key: &str) -> Result<Cow<'_, str>, String> {
    if !key.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(key));
    }
    let spaced = key.replace('+', " ");
    let decoded = percent_decode(spaced.as_bytes()).decode_utf8().map(Cow::into_owned);
    decoded
        .map(Cow::Owned)
        .map_err(|_| format!("key {}: expected percent-encoded UTF-8, found other bytes", short(key)))
}

/// In quotes, cut where it is too long for a message.
pub(super) fn short(text: &str) -> String {
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_known_by_every_name_that_others_give_them() {
        let csv = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass";
        let parquet = "bucket,key,version_id,is_latest,is_delete_marker,size,last_modified_date,e_tag,storage_class";
        let all = [Role::Bucket, Role::Key, Role::VersionId, Role::IsLatest, Role::IsDeleteMarker, Role::Size];
        for names in [csv, parquet] {
            let columns = Columns::find(names.split(',')).unwrap();
            let found: Vec<_> =
                all.iter().chain(&[Role::Modified, Role::Etag]).map(|role| columns.at(*role).unwrap()).collect();
            assert_eq!(found, [0, 1, 2, 3, 4, 5, 6, 7]);
        }
        let message = Columns::find(["key", "size", "size_bytes"]).unwrap_err();
        assert_eq!(message, "columns: expected one for the Size, found \"size\" and \"size_bytes\"");
    }

    #[test]
    fn keys_are_decoded_as_forms_are() {
        for (encoded, key) in [
            ("plain/a.jpg", "plain/a.jpg"),
            ("with+space.jpg", "with space.jpg"),
            ("with%20space.jpg", "with space.jpg"),
            ("a%2Bb.jpg", "a+b.jpg"),
            ("100%25.jpg", "100%.jpg"),
            ("%E6%97%A5%E6%9C%AC%0A.jpg", "日本\n.jpg"),
            ("%22quoted%22%2C", "\"quoted\","),
            ("lone%", "lone%"),
        ] {
            assert_eq!(decoded(encoded).unwrap(), key);
        }
        assert!(decoded("%FF").unwrap_err().starts_with("key \"%FF\": expected percent-encoded UTF-8"));
    }

    #[test]
    fn times_are_read_as_s3_and_query_engines_write_them() {
        let expected = DateTime::from_timestamp_millis(1_478_467_925_000).unwrap();
        for text in [
            "2016-11-06T21:32:05.000Z",
            "2016-11-06 21:32:05",
            "2016-11-06 21:32:05.000 UTC",
            "2016-11-06T22:32:05+01:00",
            "2016-11-06 22:32:05+01",
            "2016-11-06 21:32:05.000000+00",
        ] {
            assert_eq!(time(text), Ok(expected), "{text}");
        }
        assert!(time("yesterday").is_err());
    }
}
