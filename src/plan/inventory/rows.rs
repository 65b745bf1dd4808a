//! One file of an inventory → its rows, once its size and checksum are what the manifest says.
//!
//! In: the file, here. Out: entries into the sorter: the current version of each object and nothing else. A row that
//! lacks what a run needs stops the job and names the field to switch on.

use std::io::{BufReader, Read};

use flate2::read::MultiGzDecoder;
use md5::{Digest, Md5};

use super::manifest::{File, Format};
use crate::error::Error;
use crate::networks::weights::hexadecimal;
use crate::plan::columns::{Cells, Columns, Role, decoded, short};
use crate::plan::listed::Listed;
use crate::plan::sorted::Sorter;
use crate::plan::source::Counts;
use crate::plan::{csv_rows, parquet_rows};
use crate::tables::stored::{PartFile, ReadFrom};

/// What is read at once.
const READ_BYTES: usize = 256 << 10;

/// What rows must say.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub bucket: String,
    pub needs_modified: bool,
}

/// # Errors
/// A file that is not the one of the manifest, that is damaged, or whose rows say too little.
pub(super) fn read(
    part: &PartFile,
    file: &File,
    format: &Format,
    wanted: &Wanted,
    sorter: &mut Sorter,
    counts: &Counts,
) -> Result<(), Error> {
    let bad = |what: String| Error::Input(format!("inventory file {:?}: {what}", file.key));
    check(part, file).map_err(bad)?;
    // The sorter's own error stops the job as it is.
    let mut sorting = None;
    let mut push = |cells: Cells<'_>, is_encoded: bool| -> Result<(), String> {
        Counts::add(&counts.rows, 1);
        let Some(entry) = entry(cells, is_encoded, wanted, counts)? else { return Ok(()) };
        sorter.push(&entry).map_err(|error| {
            let said = error.to_string();
            sorting = Some(error);
            said
        })
    };
    let read = match format {
        Format::Parquet => {
            parquet_rows::read(part, |columns| check_columns(columns, wanted), |cells| push(cells, false))
        }
        Format::Csv(schema) => check_columns(&schema.0, wanted).and_then(|()| {
            let read = csv_rows::read(unpacked(part), b',', |record| {
                let expected = schema.0.width();
                if record.len() != expected {
                    return Err(format!("expected {expected} columns as in fileSchema, found {}", record.len()));
                }
                push(Cells::of(record, &schema.0)?, true)
            });
            read.map_err(|bad| format!("row {}: {}", bad.row, bad.what))
        }),
    };
    match (read, sorting) {
        (_, Some(error)) => Err(error),
        (read, None) => read.map_err(bad),
    }
}

/// The very bytes that the manifest speaks of.
fn check(part: &PartFile, file: &File) -> Result<(), String> {
    let mut digest = Md5::new();
    let mut input = plain(part);
    let mut piece = vec![0; READ_BYTES];
    loop {
        match input.read(&mut piece).map_err(|e| e.to_string())? {
            0 => break,
            read => digest.update(&piece[..read]),
        }
    }
    let found = hexadecimal(&digest.finalize());
    if found.eq_ignore_ascii_case(&file.md5) {
        return Ok(());
    }
    Err(format!("expected MD5 {} as in the manifest, found {found}: it is damaged, or of another inventory", file.md5))
}

fn plain(part: &PartFile) -> BufReader<ReadFrom> {
    BufReader::with_capacity(READ_BYTES, part.read_from(0))
}

/// Amazon packs its CSV; others may not.
fn unpacked(part: &PartFile) -> Box<dyn Read> {
    let mut mark = [0; 2];
    let is_packed = plain(part).read_exact(&mut mark).is_ok() && mark == [0x1f, 0x8b];
    if is_packed { Box::new(MultiGzDecoder::new(plain(part))) } else { Box::new(plain(part)) }
}

fn check_columns(columns: &Columns, wanted: &Wanted) -> Result<(), String> {
    let mut needed = vec![Role::Bucket, Role::Key, Role::Size, Role::Etag];
    if wanted.needs_modified {
        needed.push(Role::Modified);
    }
    // With all versions, which of them is the object.
    if [Role::VersionId, Role::IsLatest, Role::IsDeleteMarker].iter().any(|role| columns.has(*role)) {
        needed.extend([Role::IsLatest, Role::IsDeleteMarker]);
    }
    let Some(missing) = needed.into_iter().find(|role| !columns.has(*role)) else { return Ok(()) };
    let (name, found) = (missing.name(), columns.shown());
    Err(match missing {
        Role::Size | Role::Etag | Role::Modified => format!(
            "expected the field {name}, found {found}: add {name} to the optional fields of the inventory's configuration \
             and wait for the next delivery"
        ),
        _ => format!("expected the field {name}, found {found}"),
    })
}

/// None: a row that stands for no object.
fn entry(cells: Cells<'_>, is_encoded: bool, wanted: &Wanted, counts: &Counts) -> Result<Option<Listed>, String> {
    if cells.is_latest == Some(false) {
        Counts::add(&counts.older_versions, 1);
        return Ok(None);
    }
    if cells.is_delete_marker == Some(true) {
        Counts::add(&counts.delete_markers, 1);
        return Ok(None);
    }
    let missing = |role: Role| format!("{}: expected one, found none", role.name());
    let bucket = cells.bucket.ok_or_else(|| missing(Role::Bucket))?;
    if bucket != wanted.bucket {
        return Err(format!("expected the bucket {:?} as in the manifest, found {}", wanted.bucket, short(bucket)));
    }
    let key = cells.key.ok_or_else(|| missing(Role::Key))?;
    let key = if is_encoded { decoded(key)? } else { key.into() };
    let about = |role: Role| format!("{} of {}: expected one, found none", role.name(), short(&key));
    let size_bytes = cells.size_bytes.ok_or_else(|| about(Role::Size))?;
    // As in a listing: consoles make a folder visible so.
    if size_bytes == 0 && key.ends_with('/') {
        Counts::add(&counts.folder_markers, 1);
        return Ok(None);
    }
    let etag = cells.etag.ok_or_else(|| about(Role::Etag))?.to_owned();
    if wanted.needs_modified && cells.modified.is_none() {
        return Err(about(Role::Modified));
    }
    // A listing names no version, and by it or by an inventory an object must be the same one.
    Ok(Some(Listed {
        key: key.into_owned(),
        size_bytes: Some(size_bytes),
        etag: Some(etag),
        version_id: None,
        modified: cells.modified,
    }))
}
