//! Parquet of any length → its rows by what their columns mean, a batch in memory at a time.
//!
//! In: a file. Out: cells. It reads no other column than it needs, whoever wrote the file.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, Utc};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;

use super::columns::{Cells, Columns, Role, short, time, unquoted};
use crate::tables::stored::PartFile;

/// As many as fit the cache with their keys.
const BATCH_ROWS: usize = 4096;

/// Hands every row to `each`, once `check` has seen the columns.
///
/// # Errors
/// What is wrong with the file, or what `check` or `each` says of it; with the number of the row.
pub(super) fn read(
    file: &PartFile,
    check: impl FnOnce(&Columns) -> Result<(), String>,
    each: impl FnMut(Cells<'_>) -> Result<(), String>,
) -> Result<(), String> {
    // In some places the parquet crate trusts what a file says of its own lengths, and panics where that is wrong.
    let read = catch_unwind(AssertUnwindSafe(|| read_trusting(file, check, each)));
    read.unwrap_or_else(|_| Err(damaged("its lengths contradict each other")))
}

fn damaged(found: impl Display) -> String {
    format!("expected a whole Parquet file, found a damaged one: {}", short(&found.to_string()))
}

fn read_trusting(
    file: &PartFile,
    check: impl FnOnce(&Columns) -> Result<(), String>,
    mut each: impl FnMut(Cells<'_>) -> Result<(), String>,
) -> Result<(), String> {
    // What Arrow notes beside the columns only says how they lay in memory: without it text is text.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let file = ParquetRecordBatchReaderBuilder::try_new_with_options(file.clone(), options).map_err(damaged)?;
    let fields = file.schema().fields().clone();
    let columns = Columns::find(fields.iter().map(|field| field.name().as_str()))?;
    check(&columns)?;
    let mut wanted: Vec<(usize, Role)> =
        Role::ALL.into_iter().filter_map(|role| Some((columns.at(role)?, role))).collect();
    wanted.sort_unstable_by_key(|(at, _)| *at);
    for (at, role) in &wanted {
        check_type(fields[*at].name(), fields[*at].data_type(), *role)?;
    }
    for column in file.metadata().row_groups().iter().flat_map(|group| group.columns()) {
        let name = column.column_path().parts().first();
        let is_read = wanted.iter().any(|(at, _)| name == Some(fields[*at].name()));
        check_compression(column.compression(), is_read)?;
    }
    let mask = ProjectionMask::roots(file.parquet_schema(), wanted.iter().map(|(at, _)| *at));
    let batches = file.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(damaged)?;
    let mut row = 0_u64;
    for batch in batches {
        let batch = batch.map_err(damaged)?;
        for at in 0..batch.num_rows() {
            row += 1;
            let cells = cells(&batch, &wanted, at).and_then(&mut each);
            cells.map_err(|what| format!("row {row}: {what}"))?;
        }
    }
    Ok(())
}

fn check_type(name: &str, found: &DataType, role: Role) -> Result<(), String> {
    let is_text = matches!(found, DataType::Utf8 | DataType::Binary);
    let (is_good, expected) = match role {
        Role::Bucket | Role::Key | Role::Etag | Role::VersionId => (is_text, "text"),
        Role::Size => (found.is_integer(), "an integer"),
        Role::Modified => {
            let is_time = matches!(found, DataType::Timestamp(unit, _) if *unit != TimeUnit::Second);
            (is_time || is_text, "a timestamp or text")
        }
        Role::IsLatest | Role::IsDeleteMarker => (*found == DataType::Boolean, "a boolean"),
    };
    // A column of nulls alone has no type in some writers.
    if is_good || *found == DataType::Null {
        return Ok(());
    }
    Err(format!("column {name:?}: expected {expected}, found {}", short(&found.to_string())))
}

/// The crate would call a file damaged that only asks for a codec which was left out.
fn check_compression(found: Compression, is_read: bool) -> Result<(), String> {
    let found = match found {
        Compression::BROTLI(_) if is_read => "brotli",
        Compression::LZO if is_read => "lzo",
        _ => return Ok(()),
    };
    Err(format!("expected snappy, gzip, lz4, zstd or no compression, found {found}: write it with one of those"))
}

/// The row at `at`: a batch has the columns that are wanted and no others.
fn cells<'a>(batch: &'a RecordBatch, wanted: &[(usize, Role)], at: usize) -> Result<Cells<'a>, String> {
    let mut cells = Cells::default();
    for ((_, role), array) in wanted.iter().zip(batch.columns()) {
        let array: &'a dyn Array = array.as_ref();
        if array.is_null(at) || *array.data_type() == DataType::Null {
            continue;
        }
        let named = |what: String| format!("{}: {what}", role.name());
        let filled = |text: &'a str| (!text.is_empty()).then_some(text);
        match role {
            Role::Bucket => cells.bucket = filled(text(array, at).map_err(named)?),
            Role::Key => cells.key = filled(text(array, at).map_err(named)?),
            Role::Etag => cells.etag = filled(unquoted(text(array, at).map_err(named)?)),
            Role::VersionId => cells.version_id = filled(text(array, at).map_err(named)?),
            Role::Size => cells.size_bytes = Some(size(array, at).map_err(named)?),
            Role::Modified => cells.modified = Some(modified(array, at)?),
            Role::IsLatest => cells.is_latest = Some(array.as_boolean().value(at)),
            Role::IsDeleteMarker => cells.is_delete_marker = Some(array.as_boolean().value(at)),
        }
    }
    Ok(cells)
}

/// Some writers do not note that their bytes are text.
fn text(array: &dyn Array, at: usize) -> Result<&str, String> {
    match array.as_binary_opt::<i32>() {
        Some(bytes) => std::str::from_utf8(bytes.value(at)).map_err(|_| "expected UTF-8, found other bytes".to_owned()),
        None => Ok(array.as_string::<i32>().value(at)),
    }
}

fn size(array: &dyn Array, at: usize) -> Result<u64, String> {
    let found = match array.data_type() {
        DataType::Int8 => i128::from(array.as_primitive::<Int8Type>().value(at)),
        DataType::Int16 => i128::from(array.as_primitive::<Int16Type>().value(at)),
        DataType::Int32 => i128::from(array.as_primitive::<Int32Type>().value(at)),
        DataType::Int64 => i128::from(array.as_primitive::<Int64Type>().value(at)),
        DataType::UInt8 => i128::from(array.as_primitive::<UInt8Type>().value(at)),
        DataType::UInt16 => i128::from(array.as_primitive::<UInt16Type>().value(at)),
        DataType::UInt32 => i128::from(array.as_primitive::<UInt32Type>().value(at)),
        _ => i128::from(array.as_primitive::<UInt64Type>().value(at)),
    };
    u64::try_from(found).map_err(|_| format!("expected a number of bytes, found {found}"))
}

fn modified(array: &dyn Array, at: usize) -> Result<DateTime<Utc>, String> {
    let found = match array.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            DateTime::from_timestamp_millis(array.as_primitive::<TimestampMillisecondType>().value(at))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            DateTime::from_timestamp_micros(array.as_primitive::<TimestampMicrosecondType>().value(at))
        }
        DataType::Timestamp(..) => {
            let nanoseconds = array.as_primitive::<TimestampNanosecondType>().value(at);
            Some(DateTime::from_timestamp_nanos(nanoseconds))
        }
        _ => return time(text(array, at)?),
    };
    found.ok_or_else(|| "LastModifiedDate: expected a time, found one that is out of range".to_owned())
}
