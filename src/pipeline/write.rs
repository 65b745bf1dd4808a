//! Rows → part files, one slice of the listing at a time.
//!
//! A slice is complete when each of its objects has its rows; then its parts are encoded, read back and
//! committed: `media` last, so that a slice with a media part is a slice that is done. Rows are in the order of
//! the listing whatever finished first.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;

use super::compute::Compute;
use super::embed::Outcome;
use super::score::{MediaRows, RunFacts, rows};
use crate::error::Error;
use crate::limits;
use crate::progress::Progress;
use crate::storage::Store;
use crate::tables::PartContext;
use crate::tables::part::{CommittedPart, EncodedPart, encode};

/// Where parts go and how they are named.
#[derive(Debug, Clone)]
pub struct Destination {
    pub store: Arc<dyn Store>,
    pub run_id: String,
    pub dt: String,
}

/// Writes until the stages before close their end. `total` says how many objects the listing had, once it is known.
///
/// Slices that are incomplete when the input ends early are dropped: their objects have no rows in this run.
///
/// # Errors
/// A part that the destination refuses.
pub async fn write(
    destination: &Destination,
    facts: &RunFacts,
    compute: &Compute,
    mut input: Receiver<Outcome>,
    total: watch::Receiver<Option<u64>>,
    progress: &Progress,
) -> Result<Vec<CommittedPart>, Error> {
    let mut open: BTreeMap<u64, Vec<MediaRows>> = BTreeMap::new();
    let mut parts = vec![];
    while let Some(outcome) = input.recv().await {
        let rows = rows(outcome, facts);
        progress.finished(&rows);
        let slice = rows.seq / limits::SLICE_OBJECTS;
        let complete = {
            let slice_rows = open.entry(slice).or_default();
            slice_rows.push(rows);
            slice_rows.len() as u64 == limits::SLICE_OBJECTS
        };
        if complete && let Some(rows) = open.remove(&slice) {
            parts.extend(commit_slice(destination, facts, compute, slice, rows).await?);
        }
    }
    // The last slice is shorter than the others; which one it is, is known when the listing has ended.
    let total = *total.borrow();
    if let Some(total) = total {
        if total == 0 {
            open.insert(0, vec![]); // tables without rows rather than no tables
        }
        for (slice, rows) in open {
            let expected = (total - slice * limits::SLICE_OBJECTS).min(limits::SLICE_OBJECTS);
            if rows.len() as u64 == expected {
                parts.extend(commit_slice(destination, facts, compute, slice, rows).await?);
            }
        }
    }
    Ok(parts)
}

async fn commit_slice(
    destination: &Destination,
    facts: &RunFacts,
    compute: &Compute,
    slice: u64,
    mut rows: Vec<MediaRows>,
) -> Result<Vec<CommittedPart>, Error> {
    rows.sort_by_key(|rows| rows.seq);
    let context = PartContext {
        run_id: destination.run_id.clone(),
        dt: destination.dt.clone(),
        fingerprint: facts.fingerprint.clone(),
        shard: 0,
        slice,
    };
    let failed = |e: &dyn std::fmt::Display| Error::Input(format!("slice {slice}: cannot be encoded: {e}"));
    let keep_embeddings = facts.keep_embeddings;
    let encoded = compute.run(move || encode_slice(&rows, &context, keep_embeddings)).await;
    let (encoded, _) = encoded.map_err(|rejection| failed(&rejection.message))?;
    let mut parts = vec![];
    for part in encoded.map_err(|e| failed(&e))? {
        parts.push(part.commit(destination.store.as_ref()).await?);
    }
    Ok(parts)
}

/// The parts of a slice in the order in which they are committed. A table without rows has its part all the same:
/// readers of a folder want to find its columns.
fn encode_slice(
    rows: &[MediaRows],
    context: &PartContext,
    keep_embeddings: bool,
) -> Result<Vec<EncodedPart>, parquet::errors::ParquetError> {
    let mut parts = vec![];
    if keep_embeddings {
        parts.push(encode(&rows.iter().flat_map(|r| &r.embeddings).collect::<Vec<_>>(), context)?);
    }
    parts.push(encode(&rows.iter().flat_map(|r| &r.faces).collect::<Vec<_>>(), context)?);
    parts.push(encode(&rows.iter().flat_map(|r| &r.frames).collect::<Vec<_>>(), context)?);
    parts.push(encode(&rows.iter().map(|r| &r.media).collect::<Vec<_>>(), context)?);
    Ok(parts)
}
