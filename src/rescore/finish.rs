//! The slices that others wrote, or an earlier attempt did → what SUCCESS.json says of them.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use futures::TryStreamExt;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;

use super::fetch::{Fetched, fetch};
use crate::error::{Error, RejectionClass};
use crate::fingerprint::Fingerprint;
use crate::pipeline::write::Destination;
use crate::progress::{Finished, Progress};
use crate::storage::{ObjectMeta, Store, StoreError};
use crate::tables::media::{Seconds, Status};
use crate::tables::part::{CommittedPart, DETECTION_FINGERPRINT, FINGERPRINT, folder};
use crate::tables::stored::{Cursor, MediaColumns, stated, text};
use crate::tables::{self};

/// What is read of a part's end at first: the footer of a thousand media's rows has 10 kB.
const FOOTER_BYTES: u64 = 64 << 10;

/// Every part of the run that stands, by its key.
///
/// # Errors
/// A destination that cannot be listed.
pub async fn standing(destination: &Destination, table: &str) -> Result<BTreeMap<String, ObjectMeta>, Error> {
    let prefix = folder(table, &destination.dt, &destination.run_id);
    let mut found = BTreeMap::new();
    let mut listing = destination.store.list(&prefix);
    loop {
        match listing.try_next().await {
            Ok(Some(object)) => found.insert(object.key.clone(), object),
            Ok(None) | Err(StoreError::NotFound { .. }) => return Ok(found),
            Err(error) => return Err(error.into()),
        };
    }
}

/// Every part of the run that stands.
///
/// # Errors
/// As [`standing`].
pub async fn all_standing(destination: &Destination) -> Result<BTreeMap<String, ObjectMeta>, Error> {
    let mut all = BTreeMap::new();
    for table in tables::describe() {
        all.extend(standing(destination, table.name).await?);
    }
    Ok(all)
}

/// How many rows a part has that somebody else wrote; of a media part its media are counted.
///
/// # Errors
/// A part that cannot be read.
pub async fn look_at(
    store: &dyn Store,
    object: &ObjectMeta,
    scratch: &Path,
    progress: &Progress,
) -> Result<(CommittedPart, Option<Fingerprint>), Error> {
    let wrong = |what: String| Error::Input(format!("part {:?}: {what}", object.key));
    let committed = |rows: i64| CommittedPart {
        key: object.key.clone(),
        etag: object.etag.clone(),
        rows: rows as usize,
        bytes: object.size_bytes as usize,
    };
    if !object.key.starts_with("media/") {
        return Ok((committed(rows_of(store, object).await?), None));
    }
    let part = fetch(store, object, scratch).await?;
    let (rows, fingerprint) = count(&part, progress).map_err(wrong)?;
    Ok((committed(rows), Some(fingerprint)))
}

fn count(media: &Fetched, progress: &Progress) -> Result<(i64, Fingerprint), String> {
    let metadata = media.part.metadata()?;
    let said =
        |name| stated(&metadata, name).map(str::to_owned).ok_or_else(|| format!("expected a {name}, found none"));
    let fingerprint = Fingerprint { detection: said(DETECTION_FINGERPRINT)?, whole: said(FINGERPRINT)? };
    let mut rows = Cursor::<MediaColumns>::new(&media.part, &metadata)?;
    let mut last: Option<(String, Finished)> = None;
    while let Some((columns, row)) = rows.row()? {
        use arrow_array::Array;
        let (id, is_scored) = (columns.media_id.value(row), columns.score_max.is_valid(row));
        match &mut last {
            Some((same, media)) if same == id => media.is_scored |= is_scored,
            last => {
                let is_rejected = columns.status.value(row) == Status::Rejected.as_str();
                let class = text(&columns.error_class, row).and_then(RejectionClass::named);
                let media = Finished {
                    bytes: columns.size_bytes.value(row) as u64,
                    frames: columns.frames_decoded.value(row) as u64,
                    faces: columns.n_faces.value(row) as u64,
                    is_scored,
                    rejection: class.filter(|_| is_rejected),
                    seconds: Seconds::default(),
                };
                if let Some((_, media)) = last.replace((id.to_owned(), media)) {
                    progress.count(&media);
                }
            }
        }
        rows.step();
    }
    if let Some((_, media)) = last {
        progress.count(&media);
    }
    Ok((metadata.file_metadata().num_rows(), fingerprint))
}

/// By the footer alone: a part of embeddings may have gigabytes.
async fn rows_of(store: &dyn Store, object: &ObjectMeta) -> Result<i64, Error> {
    let wrong = |what: &dyn std::fmt::Display| Error::Input(format!("part {:?}: {what}", object.key));
    let mut wanted = FOOTER_BYTES;
    loop {
        let pieces: Vec<Bytes> =
            store.get(object, object.size_bytes.saturating_sub(wanted)).await?.try_collect().await?;
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&Bytes::from(pieces.concat()), object.size_bytes) {
            Ok(()) => {
                let metadata = reader.finish().map_err(|e| wrong(&e))?;
                return Ok(metadata.file_metadata().num_rows());
            }
            Err(ParquetError::NeedMoreData(needed)) if needed as u64 > wanted => wanted = needed as u64,
            Err(error) => return Err(wrong(&error)),
        }
    }
}
