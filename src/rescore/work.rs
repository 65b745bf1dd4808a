//! The slices of some runs, side by side: fetched, scored, committed; and the run's end.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;

use super::claim::Claim;
use super::recall::Taken;
use super::settings::RescoreSettings;
use super::slice::{Done, Slice, Stop};
use super::{Summary, finish, left_out, serve};
use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::limits;
use crate::pipeline::compute::Compute;
use crate::pipeline::memory::{ByteBudget, Reserved};
use crate::progress::{Progress, Stage};
use crate::results::fetch::{Fetched, fetch};
use crate::results::record::{self, Provenance, RescoredFrom, Setting, Success};
use crate::results::source::{Source, SourceSlice, TABLES};
use crate::results::standing::{all_standing, standing};
use crate::results::{Destination, read_whole};
use crate::scorers::{Pass, ScorerSet, names};
use crate::storage::open::open_destination;
use crate::storage::{ObjectMeta, StoreError};
use crate::tables::part::CommittedPart;
use crate::tables::{self, SCHEMA_VERSION};

/// Everything that the slices are worked on with.
pub(super) struct Work<'a> {
    settings: &'a RescoreSettings,
    sources: Vec<Source>,
    scorers: Arc<ScorerSet>,
    destination: Destination,
    slices: Vec<SourceSlice>,
    left_out: Vec<HashSet<u128>>,
    compute: Compute,
    memory: ByteBudget,
    scratch: ByteBudget,
    pub(super) progress: Arc<Progress>,
    shutdown: CancellationToken,
}

/// A slice whose parts stand.
struct Committed {
    parts: Vec<CommittedPart>,
    fingerprint: Fingerprint,
    embeddings: u64,
}

impl<'a> Work<'a> {
    /// Opens what there is to work on, and takes the run id.
    ///
    /// # Errors
    /// Runs that are not whole, a destination that refuses, a run id of another run.
    pub(super) async fn begin(
        settings: &'a RescoreSettings,
        sources: Vec<Source>,
        scorers: Arc<ScorerSet>,
        shutdown: CancellationToken,
    ) -> Result<Self, Error> {
        for scorer in scorers.scorers() {
            tracing::info!(scorer = scorer.id, licence = scorer.licence, source = scorer.source, "scores by");
            if let Some(warning) = scorer.warning {
                tracing::warn!("{warning}");
            }
        }
        let mut slices = vec![];
        for (at, source) in sources.iter().enumerate() {
            slices.extend(source.slices(at).await?);
        }
        let compute = Compute::new(settings.threads)?;
        let left_out = left_out::left_out(&sources, &slices, &compute, &settings.scratch).await?;
        let several: usize = left_out.iter().map(HashSet::len).sum();
        if several > 0 {
            tracing::info!("{several} media stand in several of the runs: each is taken from the first that has it");
        }
        let store = open_destination(&settings.out, &settings.s3).await?;
        let claim = Claim {
            dt: settings.dt.unwrap_or(settings.today).to_string(),
            rescored_from: sources.iter().map(|source| source.from.clone()).collect(),
            scorers: scorers.scorers().iter().map(|scorer| (scorer.id.clone(), scorer.digest.clone())).collect(),
            keep_embeddings: settings.keep_embeddings,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let dt = claim.take(store.as_ref(), &settings.run_id, settings.dt.is_some()).await?;
        let runs: Vec<String> = sources.iter().map(|s| format!("{}/_runs/{}", s.from.out, s.from.run_id)).collect();
        tracing::info!(
            run_id = settings.run_id,
            runs = runs.join(" "),
            out = %settings.out,
            scorers = names(&settings.scorers),
            slices = slices.len(),
            shard = %settings.shard,
            threads = settings.threads,
            "scoring again"
        );
        Ok(Self {
            settings,
            sources,
            scorers,
            destination: Destination { store, run_id: settings.run_id.clone(), dt },
            slices,
            left_out,
            compute,
            memory: ByteBudget::new(settings.memory_bytes),
            scratch: ByteBudget::new(settings.scratch_bytes),
            progress: Arc::new(Progress::default()),
            shutdown,
        })
    }

    /// Works on the slices of this shard that do not stand yet, and says that the run is done if it is.
    ///
    /// # Errors
    /// A slice that cannot be read, scored or written; a shutdown.
    pub(super) async fn run(&self) -> Result<Summary, Error> {
        let standing = standing(&self.destination, "media").await?;
        let is_ours =
            |slice: &u64| self.settings.shard.takes(*slice) && !standing.contains_key(&self.key("media", *slice));
        let ours: Vec<u64> = (0..self.slices.len() as u64).filter(is_ours).collect();
        for slice in &ours {
            let (objects, bytes) = self.size_of(*slice);
            self.progress.listed_several(objects, bytes);
        }
        self.progress.listing_ended();
        let mut committed = BTreeMap::new();
        let working = futures::stream::iter(&ours)
            .take_until(self.shutdown.cancelled())
            .map(|slice| async move { Ok::<_, Error>((*slice, self.slice(*slice).await?)) })
            .buffer_unordered(limits::RESCORED_SLICES);
        let mut working = std::pin::pin!(working);
        while let Some((slice, done)) = working.try_next().await? {
            if let Some(done) = done {
                committed.insert(slice, done);
            }
        }
        if committed.len() < ours.len() {
            return Err(Error::TryAgain(format!(
                "stopped by a signal; {} of {} slices stand: the same command with --run-id {} goes on",
                standing.len() + committed.len(),
                self.slices.len(),
                self.settings.run_id
            )));
        }
        let (elapsed, tally) = (self.progress.elapsed(), self.progress.tally());
        let is_finished = self.finish(&committed).await?;
        Ok(Summary {
            run_id: self.settings.run_id.clone(),
            tally,
            elapsed,
            embeddings: committed.values().map(|slice| slice.embeddings).sum(),
            slices: (ours.len(), self.slices.len()),
            parts: committed.into_values().flat_map(|slice| slice.parts).collect(),
            is_finished,
            warnings: self.scorers.scorers().iter().filter_map(|scorer| scorer.warning).collect(),
        })
    }

    /// Reads, scores and commits one slice; None where a shutdown came first.
    async fn slice(&self, at: u64) -> Result<Option<Committed>, Error> {
        let SourceSlice { source, parts, .. } = &self.slices[at as usize];
        let source = &self.sources[*source];
        let reserved = tokio::select! {
            reserved = self.reserve(source, parts) => reserved?,
            () = self.shutdown.cancelled() => return Ok(None),
        };
        let store = source.store.as_ref();
        let fetching = self.progress.enter(Stage::Fetch);
        let fetched = tokio::select! {
            fetched = futures::future::try_join_all(parts.iter().map(|part| fetch(store, part, &self.settings.scratch))) => fetched?,
            () = self.shutdown.cancelled() => return Ok(None),
        };
        drop(fetching);
        let Ok(parts) = <[Fetched; TABLES.len()]>::try_from(fetched) else {
            return Err(source.wrong("embeddings", "expected a part of each table in its slice, found some missing"));
        };
        let work = Slice {
            parts,
            takes: self.takes(source),
            scorers: Arc::clone(&self.scorers),
            keep_embeddings: self.settings.keep_embeddings,
            run_id: self.destination.run_id.clone(),
            dt: self.destination.dt.clone(),
            slice: at,
            left_out: self.left_out[at as usize].clone(),
            progress: Arc::clone(&self.progress),
            shutdown: self.shutdown.clone(),
        };
        let RescoredFrom { run_id, out } = &source.from;
        let wrong = |what: &str| Error::Input(format!("run {run_id:?} at {out}: {what}"));
        let scoring = self.progress.enter(Stage::Embed);
        let (scored, _) = self.compute.run(move || work.score()).await.map_err(|panic| wrong(&panic.message))?;
        let Done { parts, fingerprint, embeddings } = match scored {
            Ok(done) => done,
            Err(Stop::Shutdown) => return Ok(None),
            Err(Stop::Wrong(what)) => return Err(wrong(&what)),
        };
        drop(scoring);
        let _writing = self.progress.enter(Stage::Write);
        // `media` last and alone: where it stands, the others do.
        let (mut committed, mut parts) = (vec![], parts);
        let media = parts.pop();
        let store = self.destination.store.as_ref();
        committed
            .extend(futures::future::try_join_all(parts.into_iter().map(|part| part.commit_or_find(store))).await?);
        if let Some(media) = media {
            committed.push(media.commit_or_find(store).await?);
        }
        drop(reserved);
        Ok(Some(Committed { parts: committed, fingerprint, embeddings }))
    }

    /// Room for a slice: what is read of it into memory, what is written of it there, and the disk for copies.
    async fn reserve(&self, source: &Source, parts: &[ObjectMeta]) -> Result<[Option<Reserved>; 2], Error> {
        let is_copied = source.from.out.starts_with("s3://");
        let (mut memory, mut disk) = (limits::RESCORE_BASE_BYTES, 0);
        let many_scorers = self.scorers.scorers().len().div_ceil(source.record.scorers.len().max(1)) as u64;
        for part in parts {
            let is_written = !part.key.starts_with("embeddings/") || self.settings.keep_embeddings;
            memory += if is_written { part.size_bytes * many_scorers } else { 0 };
            match (is_copied, part.size_bytes > limits::MEMORY_PART_BYTES) {
                (true, true) => disk += part.size_bytes,
                (true, false) => memory += part.size_bytes,
                (false, _) => {}
            }
        }
        let memory = self.memory.reserve_at_most(memory).await;
        if disk == 0 {
            return Ok([memory, None]);
        }
        let disk_reserved = self.scratch.reserve(disk).await.ok_or_else(|| {
            let most = self.scratch.capacity_bytes();
            Error::Input(format!(
                "scratch space: expected room for a slice of {disk} bytes, found {most} in all: raise --scratch-size"
            ))
        })?;
        Ok([memory, Some(disk_reserved)])
    }

    fn takes(&self, source: &Source) -> Vec<Taken> {
        let of_pass = |(pass, wanted): (&Pass, serve::Wanted)| Taken {
            seen_by: serve::scorers_of(&source.record, &wanted),
            wanted,
            width: self.scorers.stored_width(pass).unwrap_or_default(),
            of_frames: self.scorers.crops()[pass.crop].cut.is_of_frames(),
            scorers: pass.scorers.len(),
        };
        self.scorers.passes().iter().zip(serve::wanted(&self.scorers)).map(of_pass).collect()
    }

    /// Objects and bytes of media, as far as the source's SUCCESS.json tells.
    fn size_of(&self, slice: u64) -> (u64, u64) {
        let SourceSlice { source, media_rows, .. } = &self.slices[slice as usize];
        let record = &self.sources[*source].record;
        let objects = *media_rows as u64 / record.scorers.len().max(1) as u64;
        (objects, (record.tally.bytes as f64 * objects as f64 / record.tally.objects.max(1) as f64) as u64)
    }

    fn key(&self, table: &str, slice: u64) -> String {
        tables::part::key(table, &self.destination.dt, &self.destination.run_id, 0, slice)
    }

    /// Writes SUCCESS.json if all slices stand; says whether they do.
    async fn finish(&self, committed: &BTreeMap<u64, Committed>) -> Result<bool, Error> {
        let store = self.destination.store.as_ref();
        let total = self.slices.len() as u64;
        let media = standing(&self.destination, "media").await?;
        if !(0..total).all(|slice| media.contains_key(&self.key("media", slice))) {
            return Ok(false);
        }
        if read_whole(store, &record::key(&self.settings.run_id)).await?.is_some() {
            return Ok(true);
        }
        let mut parts: Vec<CommittedPart> = committed.values().flat_map(|slice| slice.parts.clone()).collect();
        let mut fingerprints: Vec<Fingerprint> = committed.values().map(|slice| slice.fingerprint.clone()).collect();
        let ours: HashSet<String> = parts.iter().map(|part| part.key.clone()).collect();
        let others: Vec<_> = all_standing(&self.destination).await?.into_values().collect();
        let looks = others
            .iter()
            .filter(|object| !ours.contains(&object.key))
            .map(|object| finish::look_at(store, object, &self.settings.scratch, &self.progress));
        let looked: Vec<_> = futures::stream::iter(looks).buffered(limits::FETCHES).try_collect().await?;
        for (part, fingerprint) in looked {
            parts.push(part);
            fingerprints.extend(fingerprint);
        }
        parts.sort_by(|a, b| a.key.cmp(&b.key));
        fingerprints.sort_unstable();
        fingerprints.dedup();
        let whole = if let [one] = fingerprints.as_slice() { Some(one.whole.as_str()) } else { None };
        let mut detections: Vec<&str> = fingerprints.iter().map(|one| one.detection.as_str()).collect();
        detections.dedup();
        let detection = if let [one] = detections.as_slice() { Some(*one) } else { None };
        let success = Success {
            run_id: &self.settings.run_id,
            schema_version: SCHEMA_VERSION,
            code_version: env!("CARGO_PKG_VERSION"),
            fingerprint: whole,
            detection_fingerprint: detection,
            device: "cpu",
            scorers: &Provenance::of(&self.scorers),
            rescored_from: Some(self.sources.iter().map(|source| source.from.clone()).collect()),
            settings: &Setting::of(&self.settings.explained()),
            tally: &self.progress.tally(),
            parts: &parts,
        };
        match success.put(store).await {
            Ok(()) | Err(StoreError::AlreadyExists { .. }) => Ok(true), // another shard saw the same
            Err(error) => Err(error.into()),
        }
    }
}
