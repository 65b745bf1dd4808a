//! The many small parts of a finished run → a few large ones, for readers to whom a file costs more than its rows.
//!
//! No store can swap a set of objects for another at once, so nothing is swapped. The large parts stand below `compact/`, a
//! second root with the same tables; the small ones stay where they are. Whoever reads one root sees each row once, at any
//! moment. `_runs/<run_id>/COMPACT.json` is written when the second root has all of the run.

use std::path::Path;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;

use crate::error::Error;
use crate::limits;
use crate::plan::Plan;
use crate::results::fetch::fetch;
use crate::results::standing::below;
use crate::storage::{ObjectMeta, SharedStore, Store, StoreError};
use crate::tables::embeddings::EmbeddingRow;
use crate::tables::faces::FaceRow;
use crate::tables::frames::FrameRow;
use crate::tables::media::MediaRow;
use crate::tables::part::{self, CommittedPart};
use crate::tables::stored::{Cursor, MediaNames};
use crate::tables::tracks::TrackRow;
use crate::tables::{PartContext, Table, schema};

/// `_runs/<run_id>/COMPACT.json`.
#[derive(Debug, Serialize)]
struct Compacted<'a> {
    run_id: &'a str,
    fingerprint: &'a str,
    parts: Vec<CommittedPart>,
}

/// Where the large parts of a table are.
#[must_use]
pub fn folder(table: &str, dt: &str, run_id: &str) -> String {
    format!("compact/{}", part::folder(table, dt, run_id))
}

/// Merges the parts of a run that is finished. Returns the large ones; done again, it finds them.
///
/// # Errors
/// Parts that cannot be read, a destination that refuses.
pub async fn compact(
    plan: &Plan,
    store: SharedStore,
    small: &[CommittedPart],
    scratch: &Path,
) -> Result<Vec<CommittedPart>, Error> {
    let merge = Merge { plan, store: store.as_ref(), scratch };
    let slices = merge.in_order(small).await?;
    let mut parts = merge.table::<MediaRow>(&slices).await?;
    parts.extend(merge.table::<FrameRow>(&slices).await?);
    parts.extend(merge.table::<FaceRow>(&slices).await?);
    parts.extend(merge.table::<TrackRow>(&slices).await?);
    if plan.keep_embeddings {
        parts.extend(merge.table::<EmbeddingRow>(&slices).await?);
    }
    let key = format!("_runs/{}/COMPACT.json", plan.run_id);
    let said = Compacted { run_id: &plan.run_id, fingerprint: &plan.fingerprint, parts: parts.clone() };
    let body = serde_json::to_vec_pretty(&said).map_err(|e| Error::Input(format!("{key}: {e}")))?;
    match store.put_new(&key, Bytes::from(body)).await {
        Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(parts),
        Err(error) => Err(error.into()),
    }
}

struct Merge<'a> {
    plan: &'a Plan,
    store: &'a dyn Store,
    scratch: &'a Path,
}

impl Merge<'_> {
    /// The names of the slices' parts, by the first key of each: slices are ranges of the sorted plan.
    async fn in_order(&self, small: &[CommittedPart]) -> Result<Vec<String>, Error> {
        let of_media = small.iter().filter(|part| part.key.starts_with("media/"));
        let firsts = of_media.map(|part| async move {
            let wrong = |what: String| Error::Input(format!("part {:?}: {what}", part.key));
            let fetched = fetch(self.store, &listed(part), self.scratch).await?;
            let metadata = fetched.part.metadata().map_err(wrong)?;
            let mut rows = Cursor::<MediaNames>::new(&fetched.part, &metadata).map_err(wrong)?;
            let first = rows.row().map_err(wrong)?.map(|(columns, row)| columns.key.value(row).to_owned());
            let name = part.key.rsplit_once('/').map(|(_, name)| name.to_owned()).unwrap_or_default();
            Ok::<_, Error>((first, name))
        });
        let mut firsts: Vec<_> = futures::stream::iter(firsts).buffered(limits::RESCORED_SLICES).try_collect().await?;
        firsts.sort_unstable();
        Ok(firsts.into_iter().map(|(_, name)| name).collect())
    }

    async fn table<T: Table>(&self, slices: &[String]) -> Result<Vec<CommittedPart>, Error> {
        let Plan { dt, run_id, .. } = self.plan;
        let standing = below(self.store, &part::folder(T::NAME, dt, run_id)).await?;
        let (mut parts, mut open) = (vec![], None);
        let fetches = slices.iter().map(|name| {
            let key = format!("{}{name}", part::folder(T::NAME, dt, run_id));
            let found = standing.get(&key).cloned();
            async move {
                let found = found.ok_or_else(|| Error::Input(format!("part {key:?}: it is not there any more")))?;
                fetch(self.store, &found, self.scratch).await
            }
        });
        let mut fetched = std::pin::pin!(futures::stream::iter(fetches).buffered(limits::COMPACTED_PARTS));
        while let Some(small) = fetched.try_next().await? {
            let wrong = |e: &dyn std::fmt::Display| Error::Input(format!("part {:?}: {e}", small.key));
            let reader = ParquetRecordBatchReaderBuilder::try_new(small.part.clone()).and_then(|reader| reader.build());
            for rows in reader.map_err(|e| wrong(&e))? {
                let rows = rows.map_err(|e| wrong(&e))?;
                let mut writer = match open.take() {
                    Some(writer) => writer,
                    None => self.writer::<T>()?,
                };
                writer.write(&rows).map_err(|e| wrong(&e))?;
                if writer.bytes_written() + writer.in_progress_size() >= limits::COMPACT_PART_BYTES {
                    parts.push(self.commit::<T>(writer, parts.len()).await?);
                } else {
                    open = Some(writer);
                }
            }
        }
        if open.is_some() || parts.is_empty() {
            let writer = match open {
                Some(writer) => writer,
                None => self.writer::<T>()?, // a table without rows rather than no table
            };
            parts.push(self.commit::<T>(writer, parts.len()).await?);
        }
        Ok(parts)
    }

    fn writer<T: Table>(&self) -> Result<ArrowWriter<Vec<u8>>, Error> {
        let Plan { run_id, dt, fingerprint, detection_fingerprint, .. } = self.plan.clone();
        let limits = String::new(); // of several workers
        let context = PartContext { run_id, dt, fingerprint, detection_fingerprint, limits, shard: 0, slice: 0 };
        let writer = part::properties::<T>(&context)
            .and_then(|properties| ArrowWriter::try_new(vec![], schema::<T>(), Some(properties)));
        writer.map_err(|e| Error::Input(format!("{}: {e}", T::NAME)))
    }

    async fn commit<T: Table>(&self, writer: ArrowWriter<Vec<u8>>, at: usize) -> Result<CommittedPart, Error> {
        let key = format!("{}part-{at:05}.parquet", folder(T::NAME, &self.plan.dt, &self.plan.run_id));
        let wrong = |e: &dyn std::fmt::Display| Error::Input(format!("part {key:?}: {e}"));
        let flushed: i64 = writer.flushed_row_groups().iter().map(|group| group.num_rows()).sum();
        let rows = flushed as usize + writer.in_progress_rows();
        let body = Bytes::from(writer.into_inner().map_err(|e| wrong(&e))?);
        let bytes = body.len();
        let etag = match self.store.put_new(&key, body).await {
            Ok(etag) => etag,
            // The same rows in the same order: another attempt wrote it.
            Err(StoreError::AlreadyExists { .. }) => {
                let found = below(self.store, &key).await?.remove(&key);
                let found = found.filter(|object| object.size_bytes == bytes as u64);
                found.ok_or_else(|| wrong(&format_args!("expected {bytes} bytes, found another part")))?.etag
            }
            Err(error) => return Err(error.into()),
        };
        Ok(CommittedPart { key, etag, rows, bytes })
    }
}

fn listed(part: &CommittedPart) -> ObjectMeta {
    ObjectMeta {
        key: part.key.clone(),
        size_bytes: part.bytes as u64,
        etag: part.etag.clone(),
        version_id: None,
        modified: None,
    }
}
