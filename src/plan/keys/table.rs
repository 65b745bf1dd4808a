//! A list of keys with columns: CSV and Parquet.
//!
//! CSV has a header with `key`; without one it is `bucket,key` or `bucket,key,version` as S3 Batch Operations takes it, and
//! then its keys are percent-encoded. Source: "Specifying a manifest" in the user guide of Amazon S3.

use std::io::{BufReader, Read};

use csv::ByteRecord;

use super::Gathering;
use crate::plan::columns::{Cells, Columns, Role, decoded, short};
use crate::plan::{csv_rows, parquet_rows};
use crate::tables::stored::PartFile;

/// What is read at once.
const READ_BYTES: usize = 256 << 10;

/// # Errors
/// The first row that is no CSV or names no object, with the number of its line.
pub(super) fn read_csv(part: &PartFile, delimiter: u8, gathering: &mut Gathering) -> Result<(), String> {
    let mut form: Option<Form> = None;
    let input = BufReader::with_capacity(READ_BYTES, part.read_from(0));
    let read = csv_rows::read(input, delimiter, |record| match &form {
        Some(form) => form.row(record, gathering),
        None => {
            let (found, is_header) = Form::of_first(record)?;
            if !is_header {
                found.row(record, gathering)?;
            }
            form = Some(found);
            Ok(())
        }
    });
    read.map_err(|bad| format!("line {}: {}", line_at(part, bad.at_byte), bad.what))
}

/// # Errors
/// A file that is no Parquet or has other columns; the first row that names no object.
pub(super) fn read_parquet(part: &PartFile, gathering: &mut Gathering) -> Result<(), String> {
    parquet_rows::read(
        part,
        |columns| match columns.has(Role::Key) {
            true => Ok(()),
            false => Err(format!("columns: expected bucket and key, found {}", columns.shown())),
        },
        |cells| {
            let key = cells.key.ok_or("key: expected one, found none")?;
            check_bucket(cells.bucket.is_some(), key)?;
            gathering.row(&cells, key)
        },
    )
}

/// A key alone is in no bucket.
fn check_bucket(has_bucket: bool, key: &str) -> Result<(), String> {
    match has_bucket || key.starts_with("s3://") {
        true => Ok(()),
        false => Err(format!(
            "expected the bucket of {}, found a key alone: add a column bucket (a name, or the absolute path of a \
             folder), or write s3://bucket/key",
            short(key)
        )),
    }
}

/// What the rows of a CSV are.
struct Form {
    columns: Columns,
    width: usize,
    is_encoded: bool,
}

impl Form {
    /// By the first row, and whether that is a header.
    fn of_first(record: &ByteRecord) -> Result<(Self, bool), String> {
        let names: Vec<_> = record.iter().map(String::from_utf8_lossy).collect();
        let width = record.len();
        let columns = Columns::find(names.iter().map(AsRef::as_ref));
        match columns {
            Ok(columns) if columns.has(Role::Key) => return Ok((Self { columns, width, is_encoded: false }, true)),
            // Two columns of one name are a mistake in a header, and cells like any other in a row.
            Err(what) if names.iter().any(|name| name.trim().eq_ignore_ascii_case("key")) => return Err(what),
            _ => {}
        }
        let is_uri = width == 1 && names[0].starts_with("s3://");
        if is_uri {
            let columns = Columns::find(["key"])?;
            return Ok((Self { columns, width, is_encoded: false }, false));
        }
        if !matches!(width, 2 | 3) {
            let found = short(&names.join(", "));
            return Err(format!(
                "expected a header with bucket and key, or rows of bucket,key or bucket,key,version as S3 Batch \
                 Operations takes them, found {found}; of an S3 Inventory name the manifest.json"
            ));
        }
        Ok((Self { columns: Columns::of_batch_operations(width), width, is_encoded: true }, false))
    }

    fn row(&self, record: &ByteRecord, gathering: &mut Gathering) -> Result<(), String> {
        if record.len() != self.width {
            return Err(format!("expected {} columns as in the first row, found {}", self.width, record.len()));
        }
        let cells = Cells::of(record, &self.columns)?;
        let key = cells.key.ok_or("key: expected one, found none")?;
        check_bucket(cells.bucket.is_some(), key)?;
        if self.is_encoded { gathering.row(&cells, &decoded(key)?) } else { gathering.row(&cells, key) }
    }
}

/// As an editor counts, from 1; the csv crate counts CRLF and empty lines otherwise.
fn line_at(part: &PartFile, at_byte: u64) -> u64 {
    let mut input = BufReader::with_capacity(READ_BYTES, part.read_from(0)).bytes().map_while(Result::ok);
    let mut line = 1;
    line +=
        (&mut input).take(usize::try_from(at_byte).unwrap_or(usize::MAX)).filter(|byte| *byte == b'\n').count() as u64;
    // Empty lines before a row are part of where it begins.
    line + input.take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| *byte == b'\n').count() as u64
}
