//! Which parts of a run stand, and what their footers say: resuming is listing.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::{Destination, read_from};
use crate::error::Error;
use crate::storage::{ObjectMeta, Store, StoreError};
use crate::tables;
use crate::tables::part::folder;

/// What is read of a part's end at first: the footer of a thousand media's rows has 10 kB.
const FOOTER_BYTES: u64 = 64 << 10;

/// Every part of one table of the run, by its key.
///
/// # Errors
/// A destination that cannot be listed.
pub async fn standing(destination: &Destination, table: &str) -> Result<BTreeMap<String, ObjectMeta>, Error> {
    below(destination.store.as_ref(), &folder(table, &destination.dt, &destination.run_id)).await
}

/// Every part of the run.
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

/// Every object whose key begins with `prefix`, by its key.
///
/// # Errors
/// A store that cannot be listed.
pub async fn below(store: &dyn Store, prefix: &str) -> Result<BTreeMap<String, ObjectMeta>, Error> {
    let mut found = BTreeMap::new();
    let mut listing = store.list(prefix);
    loop {
        match listing.try_next().await {
            Ok(Some(object)) => found.insert(object.key.clone(), object),
            Ok(None) | Err(StoreError::NotFound { .. }) => return Ok(found),
            Err(error) => return Err(error.into()),
        };
    }
}

/// What a part says of its rows, without them: a part of embeddings may have gigabytes.
///
/// # Errors
/// A part that cannot be read, or is none.
pub async fn footer(store: &dyn Store, object: &ObjectMeta) -> Result<ParquetMetaData, Error> {
    let wrong = |what: &dyn std::fmt::Display| Error::Input(format!("part {:?}: {what}", object.key));
    let mut wanted = FOOTER_BYTES;
    loop {
        let tail = read_from(store, object, object.size_bytes.saturating_sub(wanted)).await?;
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&tail, object.size_bytes) {
            Ok(()) => return reader.finish().map_err(|e| wrong(&e)),
            Err(ParquetError::NeedMoreData(needed)) if needed as u64 > wanted => wanted = needed as u64,
            Err(error) => return Err(wrong(&error)),
        }
    }
}
