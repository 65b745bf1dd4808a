//! Every slice of a plan stands → SUCCESS.json; or the list of those that do not.
//!
//! What is read are listings and the footers of media parts: each says what its slice came to, and which parts it has.

pub mod args;
pub mod compact;
mod summary;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::Parser;
use futures::{StreamExt, TryStreamExt};

use self::args::FinishArgs;
pub use self::summary::Summary;
use crate::cli::JobFlags;
use crate::error::Error;
use crate::limits;
use crate::plan::Plan;
use crate::progress::Tally;
use crate::results::record::{self, Record, Success};
use crate::results::slice::SliceRecord;
use crate::results::standing::{all_standing, footer};
use crate::results::{open_results, read_whole};
use crate::settings::in_range;
use crate::storage::{ObjectMeta, SharedStore, Store, StoreError};
use crate::tables::SCHEMA_VERSION;
use crate::tables::part::{self, CommittedPart, FINGERPRINT, SCHEMA};
use crate::tables::stored::stated;

/// `deepsweep finish`: what the run came to, and which share of it may be unreadable.
///
/// # Errors
/// Slices that are missing, parts that are not the plan's.
pub async fn command(args: &FinishArgs, temporary: &Path) -> Result<(Summary, f64), Error> {
    let (store, _) = open_results(&args.run.out, &crate::models::s3_options(&args.s3)).await?;
    let plan = Plan::of_run(store.as_ref(), &args.run).await?;
    let max_failed_share = args.max_failed.map_or_else(|| planned_share(&plan), Ok)?;
    in_range("max_failed", max_failed_share, 0.0, 1.0).map_err(Error::Usage)?;
    let summary = finish(&plan, SharedStore::clone(&store)).await?;
    if args.compact {
        let scratch = args.scratch.as_deref().unwrap_or(temporary);
        let large = compact::compact(&plan, store, summary.parts(), scratch).await?;
        let bytes: usize = large.iter().map(|part| part.bytes).sum();
        let size = bytesize::ByteSize(bytes as u64).display().iec();
        tracing::info!(parts = large.len(), %size, "compacted, below compact/");
    }
    Ok((summary, max_failed_share))
}

fn planned_share(plan: &Plan) -> Result<f64, Error> {
    let planned = JobFlags::try_parse_from(&plan.arguments).map_err(|e| {
        Error::Usage(format!("the plan's arguments are none of deepsweep {}: {e}", env!("CARGO_PKG_VERSION")))
    })?;
    Ok(planned.flags.max_failed.unwrap_or(limits::MAX_FAILED_SHARE))
}

/// Checks every slice, and says that the run is done. A run that is finished is finished again to the same end.
///
/// # Errors
/// `Input` with the list of what is missing, or of what is there and should not be.
pub async fn finish(plan: &Plan, store: SharedStore) -> Result<Summary, Error> {
    let standing = all_standing(&plan.destination(SharedStore::clone(&store))).await?;
    let media = media_parts(plan, &standing)?;
    let footers = media.iter().map(|object| slice_of(plan, store.as_ref(), object));
    let slices: Vec<(SliceRecord, CommittedPart)> =
        futures::stream::iter(footers).buffered(limits::FETCHES).try_collect().await?;
    let (mut tally, mut devices, mut parts) = (Tally::default(), BTreeSet::new(), vec![]);
    for (slice, media) in slices {
        tally.add(&slice.tally);
        devices.insert(slice.device);
        parts.extend(slice.parts);
        parts.push(media);
    }
    parts.sort_by(|a: &CommittedPart, b| a.key.cmp(&b.key));
    check_parts(plan, &parts, &standing)?;
    if tally.objects != plan.objects {
        let (expected, found) = (plan.objects, tally.objects);
        return Err(Error::Input(format!("run {:?}: expected {expected} objects, found {found}: a bug", plan.run_id)));
    }
    let success = Success {
        run_id: &plan.run_id,
        schema_version: SCHEMA_VERSION,
        code_version: env!("CARGO_PKG_VERSION"),
        fingerprint: Some(&plan.fingerprint),
        detection_fingerprint: Some(&plan.detection_fingerprint),
        device: &devices.into_iter().collect::<Vec<_>>().join(" "),
        scorers: &plan.scorers,
        rescored_from: None,
        settings: &plan.settings,
        tally: &tally,
        parts: &parts,
    };
    match success.put(store.as_ref()).await {
        Ok(()) => {}
        Err(StoreError::AlreadyExists { .. }) => check_success(plan, store.as_ref(), &parts).await?,
        Err(error) => return Err(error.into()),
    }
    if tally.scored == 0 && tally.faces > 0 && !plan.scorers.is_empty() {
        tracing::warn!("not one of {} faces has a score; not_scored_reason in the rows says why", tally.faces);
    }
    Ok(Summary::new(plan, tally, parts))
}

/// A SUCCESS.json that stands must tell of the parts that stand.
async fn check_success(plan: &Plan, store: &dyn Store, parts: &[CommittedPart]) -> Result<(), Error> {
    let key = record::key(&plan.run_id);
    let wrong = |what: &str| {
        Error::Input(format!("{key}: {what}; it or parts were changed by hand: remove it, and finish the run again"))
    };
    let body = read_whole(store, &key).await?.unwrap_or_default();
    let told = Record::parse(&body).map_err(|what| wrong(&what))?;
    let sizes = |parts: &[CommittedPart]| parts.iter().map(|part| (part.key.clone(), part.bytes)).collect::<Vec<_>>();
    if sizes(&told.parts) == sizes(parts) { Ok(()) } else { Err(wrong("expected the parts that stand, found others")) }
}

/// The media part of every slice of the plan, in its order.
fn media_parts<'a>(plan: &Plan, standing: &'a BTreeMap<String, ObjectMeta>) -> Result<Vec<&'a ObjectMeta>, Error> {
    let (mut found, mut missing) = (vec![], vec![]);
    for (shard, facts) in plan.shards.iter().enumerate() {
        let of_shard = (0..facts.slices).map(|slice| part::key("media", &plan.dt, &plan.run_id, shard as u32, slice));
        let mut absent = vec![];
        for (slice, key) in of_shard.enumerate() {
            match standing.get(&key) {
                Some(part) => found.push(part),
                None => absent.push(slice),
            }
        }
        if !absent.is_empty() {
            missing.push((shard, absent));
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    let slices: usize = missing.iter().map(|(_, slices)| slices.len()).sum();
    let shown = missing.iter().take(limits::SHOWN_SHARDS).map(|(shard, slices)| {
        format!("\n  shard {shard}: {} of {} slices: {}", slices.len(), plan.shards[*shard].slices, ranges(slices))
    });
    let more = missing.len().saturating_sub(limits::SHOWN_SHARDS);
    let more = if more > 0 { format!("\n  and {more} shards more") } else { String::new() };
    Err(Error::Input(format!(
        "run {:?}: expected {} slices, found {slices} missing:{}{more}\ndeepsweep work with the same RUN does them; finish again \
         then",
        plan.run_id,
        plan.slices(),
        shown.collect::<String>()
    )))
}

/// `0-3 7 9-12`.
fn ranges(ascending: &[usize]) -> String {
    let runs = ascending.chunk_by(|a, b| a + 1 == *b);
    let shown = runs.map(|run| match run {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    shown.collect::<Vec<_>>().join(" ")
}

async fn slice_of(plan: &Plan, store: &dyn Store, object: &ObjectMeta) -> Result<(SliceRecord, CommittedPart), Error> {
    let wrong = |what: &str| Error::Input(format!("part {:?}: {what}", object.key));
    let metadata = footer(store, object).await?;
    let schema_version = SCHEMA_VERSION.to_string();
    let found = stated(&metadata, SCHEMA).unwrap_or("none");
    if found != schema_version {
        return Err(wrong(&format!("expected schema version {schema_version}, found {found}")));
    }
    let found = stated(&metadata, FINGERPRINT).unwrap_or("none");
    if found != plan.fingerprint {
        return Err(wrong(&format!("expected fingerprint {}, found {found}", plan.fingerprint)));
    }
    let slice = SliceRecord::of(&metadata).map_err(|what| wrong(&what))?;
    let media = CommittedPart {
        key: object.key.clone(),
        etag: object.etag.clone(),
        rows: metadata.file_metadata().num_rows() as usize,
        bytes: object.size_bytes as usize,
    };
    Ok((slice, media))
}

/// Exactly the parts that the slices name stand: a reader of a folder reads whatever lies there.
fn check_parts(plan: &Plan, parts: &[CommittedPart], standing: &BTreeMap<String, ObjectMeta>) -> Result<(), Error> {
    let run_id = &plan.run_id;
    for part in parts {
        let found = standing.get(&part.key).map(|object| object.size_bytes);
        if found != Some(part.bytes as u64) {
            let found = found.map_or_else(|| "none".to_owned(), |bytes| format!("one of {bytes}"));
            return Err(Error::Input(format!(
                "run {run_id:?}: expected part {:?} of {} bytes, found {found}",
                part.key, part.bytes
            )));
        }
    }
    let named: BTreeSet<&str> = parts.iter().map(|part| part.key.as_str()).collect();
    match standing.keys().find(|key| !named.contains(key.as_str())) {
        None => Ok(()),
        Some(key) => Err(Error::Input(format!(
            "run {run_id:?}: expected the parts of its plan alone, found {key:?} among them: readers would take it for the run's"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn what_is_missing_is_told_in_ranges() {
        for (slices, told) in [(&[3][..], "3"), (&[0, 1, 2, 5, 7, 8], "0-2 5 7-8"), (&[], "")] {
            assert_eq!(ranges(slices), told);
        }
    }
}
