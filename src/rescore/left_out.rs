//! Media that several of the runs have: taken from the first, left out of the others.
//!
//! One run lists each media once, so of one run alone nothing is read. Of several every media's id is: 16 bytes each are
//! in memory until all slices were seen, in their order, whichever of them this worker takes.

use std::collections::HashSet;
use std::path::Path;

use futures::{StreamExt, TryStreamExt};

use crate::error::Error;
use crate::limits;
use crate::pipeline::compute::Compute;
use crate::results::fetch::fetch;
use crate::results::source::{Source, SourceSlice};
use crate::tables::stored::{Cursor, MediaIds, PartFile, number_of};

/// For each slice the media that stand in an earlier one.
///
/// # Errors
/// A part that cannot be read.
pub async fn left_out(
    sources: &[Source],
    slices: &[SourceSlice],
    compute: &Compute,
    scratch: &Path,
) -> Result<Vec<HashSet<u128>>, Error> {
    if sources.len() < 2 {
        return Ok(vec![HashSet::new(); slices.len()]);
    }
    let ids = |slice: &SourceSlice| {
        let (source, media) = (&sources[slice.source], slice.parts[0].clone());
        async move {
            let fetched = fetch(source.store.as_ref(), &media, scratch).await?;
            let read = compute.run(move || ids_of(&fetched.part)).await;
            let (ids, _) = read.map_err(|panic| source.wrong(&media.key, &panic.message))?;
            ids.map_err(|what| source.wrong(&media.key, &what))
        }
    };
    let (mut seen, mut left_out) = (HashSet::new(), vec![]);
    let mut all = futures::stream::iter(slices.iter().map(ids)).buffered(limits::RESCORED_SLICES);
    while let Some(ids) = all.try_next().await? {
        left_out.push(ids.into_iter().filter(|id| !seen.insert(*id)).collect());
    }
    Ok(left_out)
}

/// Each media's once, however many scorers have a row of it.
fn ids_of(part: &PartFile) -> Result<Vec<u128>, String> {
    let mut rows = Cursor::<MediaIds>::new(part, &part.metadata()?)?;
    let mut ids: Vec<u128> = vec![];
    while let Some((columns, row)) = rows.row()? {
        let id = number_of(columns.media_id.value(row))?;
        if ids.last() != Some(&id) {
            ids.push(id);
        }
        rows.step();
    }
    Ok(ids)
}
