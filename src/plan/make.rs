//! Settings → a plan, and the files that it stands on.
//!
//! Streams: what is held of each object is the 16 bytes by which earlier runs knew it. Objects go to a file without a name
//! as they are listed, since the shards are known only when all of them are, and from there into the files of the shards.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use parquet::errors::ParquetError;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::candidates::Candidates;
use super::earlier::{Earlier, Wanted};
use super::expected::{Promised, core_seconds};
use super::objects::{SliceReader, SliceWriter};
use super::shards::deal;
use super::slices::{Cutter, SliceFacts};
use super::spill::{Spilled, finer, recut, spill};
use super::{LeftOut, Plan, Shard, file_key};
use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::limits;
use crate::networks::weights::hexadecimal;
use crate::pipeline::compute::Compute;
use crate::pipeline::score::media_number;
use crate::progress::Progress;
use crate::results::record::{Provenance, Setting};
use crate::settings::Settings;
use crate::storage::{ObjectMeta, Store, StoreError};
use crate::tables::SCHEMA_VERSION;
use crate::tables::stored::PartFile;

/// How many shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shards {
    Exactly(u32),
    /// So many that each has about an hour of work.
    ByWork,
}

/// What the planner knows before it looks at the source.
#[derive(Debug, Clone, Copy)]
pub struct Planner<'a> {
    pub settings: &'a Settings,
    pub fingerprint: &'a Fingerprint,
    pub scorers: &'a [Provenance],
    pub shards: Shards,
    pub compute: &'a Compute,
    pub progress: &'a Progress,
}

/// A plan that nobody works by yet.
pub struct Draft {
    pub plan: Plan,
    pub promised: PromisedCounts,
    /// For each shard its slices, by their place in the spilled file.
    dealt: Vec<Vec<u32>>,
    spilled: Arc<SliceReader<PartFile>>,
}

/// Objects by what their endings promise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PromisedCounts {
    pub images: u64,
    pub videos: u64,
    pub others: u64,
}

/// What listing the source came to.
#[derive(Default)]
struct Listed {
    slices: Vec<SliceFacts>,
    /// Expected work of each object, in seconds on one core.
    work: Vec<f32>,
    left_out: LeftOut,
    promised: PromisedCounts,
}

impl Planner<'_> {
    /// Lists the source and deals it out. Writes nothing but to the scratch folder. `media_parts`: those of all earlier runs.
    ///
    /// # Errors
    /// A source that cannot be listed, earlier results that cannot be read, a scratch folder that is full.
    pub async fn draft(
        self,
        destination: &dyn Store,
        media_parts: BTreeMap<String, ObjectMeta>,
        candidates: Candidates,
    ) -> Result<Draft, Error> {
        let settings = self.settings;
        let retry = settings.retry_failed.as_ref();
        let (bucket, place) = (candidates.bucket().to_owned(), candidates.place().to_owned());
        let is_list = candidates.is_list();
        let mut earlier = if settings.include_finished && retry.is_none() {
            Earlier::default()
        } else {
            let (fingerprint, limits) = (&self.fingerprint.whole, settings.limits());
            let wanted = Wanted { fingerprint, limits: &limits, bucket: &bucket, retry };
            Earlier::look(destination, media_parts, wanted, self.compute, &settings.scratch).await?
        };
        let (to_spill, mut slices) = mpsc::channel(limits::SPILLED_SLICES);
        let scratch = settings.scratch.clone();
        let spilling =
            tokio::task::spawn_blocking(move || spill(&scratch, std::iter::from_fn(|| slices.blocking_recv())));
        let keys = std::mem::take(&mut earlier.rejected);
        let listed = if retry.is_some() {
            self.list(candidates.of_keys(keys), &bucket, &earlier, to_spill).await
        } else {
            let (all, repeated) = candidates.all();
            self.list(all, &bucket, &earlier, to_spill).await.map(|listed| listed.with_repeated(repeated()))
        };
        // Where the disk is full the listing ends early, and this says why.
        let died = |e| Error::Input(format!("the plan: {e}"));
        let mut spilled = spilling.await.map_err(died)??;
        let Listed { mut slices, work, left_out, promised } = listed?;

        let total_work: f64 = slices.iter().map(|slice| slice.core_seconds).sum();
        let shards = match self.shards {
            Shards::Exactly(shards) => shards,
            Shards::ByWork => {
                let hours = (total_work / limits::SHARD_CORE_SECONDS).ceil() as u32;
                hours.clamp(1, limits::MAX_SHARDS).min(slices.len().max(1) as u32)
            }
        };
        if let Some(wanted) = finer(&slices, shards) {
            let scratch = settings.scratch.clone();
            let cutting = tokio::task::spawn_blocking(move || recut(&spilled, &work, wanted, &scratch));
            (spilled, slices) = cutting.await.map_err(died)??;
        }
        let Spilled { slices: file, digest } = spilled;
        let dealt = deal(&slices, shards);
        let shard = |of: &Vec<u32>| of.iter().fold(Shard::default(), |sum, slice| sum.with(&slices[*slice as usize]));
        let mut shards: Vec<Shard> = dealt.iter().map(shard).collect();
        if slices.is_empty() {
            shards[0].slices = 1; // tables without rows rather than no tables
        }
        let digest = hexadecimal(&Sha256::digest(format!("{digest} {dealt:?}"))[..8]);
        let plan = Plan {
            run_id: settings.run_id.clone(),
            dt: settings.dt.to_string(),
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            schema_version: SCHEMA_VERSION,
            fingerprint: self.fingerprint.whole.clone(),
            detection_fingerprint: self.fingerprint.detection.clone(),
            scorers: self.scorers.to_vec(),
            keep_embeddings: settings.keep_embeddings,
            place,
            is_list,
            bucket,
            arguments: settings.arguments.clone(),
            settings: Setting::of(&settings.explained),
            digest,
            slices_per_file: limits::PLAN_FILE_SLICES as u64,
            objects: slices.iter().map(|slice| u64::from(slice.objects)).sum(),
            bytes: slices.iter().map(|slice| slice.bytes).sum(),
            core_seconds: total_work,
            left_out,
            shards,
        };
        Ok(Draft { plan, promised, dealt, spilled: Arc::new(file) })
    }

    async fn list(
        self,
        mut objects: BoxStream<'static, Result<ObjectMeta, Error>>,
        bucket: &str,
        earlier: &Earlier,
        to_spill: mpsc::Sender<Vec<ObjectMeta>>,
    ) -> Result<Listed, Error> {
        let Settings { filter, sampling, .. } = self.settings;
        let (mut listed, mut cutter) = (Listed::default(), Cutter::default());
        while let Some(object) = objects.try_next().await? {
            if !filter.lets_through(&object) {
                listed.left_out.filtered += 1;
                continue;
            }
            let id = if earlier.is_empty() { 0 } else { media_number(bucket, &object) };
            if earlier.is_finished(id) {
                listed.left_out.finished += 1;
                continue;
            }
            self.progress.listed(object.size_bytes);
            let work = core_seconds(&object, *sampling, !self.settings.videos, earlier.core_seconds(id));
            listed.promised.count(Promised::by(&object.key));
            listed.work.push(work as f32);
            if let Some((facts, slice)) = cutter.add(object, work) {
                listed.slices.push(facts);
                if to_spill.send(slice).await.is_err() {
                    return Ok(listed);
                }
            }
        }
        if let Some((facts, slice)) = cutter.end() {
            listed.slices.push(facts);
            let _ = to_spill.send(slice).await; // the disk is full, and whoever waits for it says so
        }
        Ok(listed)
    }
}

impl Listed {
    fn with_repeated(mut self, repeated: u64) -> Self {
        self.left_out.repeated = repeated;
        self
    }
}

impl PromisedCounts {
    fn count(&mut self, promised: Promised) {
        match promised {
            Promised::Image => self.images += 1,
            Promised::Video => self.videos += 1,
            Promised::Unknown => self.others += 1,
        }
    }
}

impl Shard {
    fn with(self, slice: &SliceFacts) -> Self {
        Self {
            slices: self.slices + 1,
            objects: self.objects + u64::from(slice.objects),
            bytes: self.bytes + slice.bytes,
            core_seconds: self.core_seconds + slice.core_seconds,
        }
    }
}

impl Draft {
    /// Writes the files of the shards, and then the plan, unless another stands. Returns the one that stands.
    ///
    /// # Errors
    /// A destination that refuses.
    pub async fn commit(self, store: &dyn Store) -> Result<Plan, Error> {
        let Self { plan, dealt, spilled, .. } = self;
        let mut files = vec![];
        for (shard, slices) in dealt.iter().enumerate() {
            for (file, slices) in slices.chunks(limits::PLAN_FILE_SLICES).enumerate() {
                files.push((file_key(&plan.run_id, &plan.digest, shard as u32, file as u64), slices.to_vec()));
            }
        }
        let writes = files.into_iter().map(|(key, slices)| {
            let spilled = Arc::clone(&spilled);
            async move {
                let encoding = tokio::task::spawn_blocking(move || encode(&spilled, &slices)).await;
                let wrong = |e: &dyn std::fmt::Display| Error::Input(format!("{key}: {e}"));
                let body = encoding.map_err(|e| wrong(&e))?.map_err(|e| wrong(&e))?;
                match store.put_new(&key, body).await {
                    // By its name it holds the same.
                    Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
                    Err(error) => Err(Error::from(error)),
                }
            }
        });
        futures::stream::iter(writes).buffer_unordered(limits::PLAN_FILES_AT_ONCE).try_collect::<Vec<()>>().await?;
        plan.put(store).await
    }
}

fn encode(spilled: &SliceReader<PartFile>, slices: &[u32]) -> Result<Bytes, ParquetError> {
    let mut writer = SliceWriter::new(vec![])?;
    for slice in slices {
        writer.add(&spilled.slice(*slice as usize)?)?;
    }
    Ok(Bytes::from(writer.end()?))
}
