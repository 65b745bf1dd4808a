//! The slices of a plan that are not done yet → done.
//!
//! Comes in: a plan, the shards that this worker takes, and what the machine has. Goes out: parts. It never lists the source
//! and decides nothing that another worker would decide otherwise.

pub mod args;
mod todo;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::args::WorkArgs;
use crate::error::Error;
use crate::ffmpeg::on_demand::OnDemand;
use crate::heartbeat;
use crate::instruments::Instruments;
use crate::limits;
use crate::media::sample::SamplingSettings;
use crate::media::still::DecodeLimits;
use crate::metrics::Metrics;
use crate::pipeline::compute::Compute;
use crate::pipeline::memory::MemoryBudget;
use crate::pipeline::score::RunFacts;
use crate::pipeline::scratch::Scratch;
use crate::pipeline::video::VideoSettings;
use crate::pipeline::write::Written;
use crate::pipeline::{Pipeline, Videos, hanging};
use crate::plan::Plan;
use crate::progress::{Display, Progress};
use crate::results::open_results;
use crate::scorers::OpenStore;
use crate::settings::{Settings, Surroundings};
use crate::shard::{Shard, Told};
use crate::shutdown::unless_stopped;
use crate::storage::open::{open_media, open_source};
use crate::storage::s3::S3Options;
use crate::storage::{Location, SharedStore};

/// What one worker does of a plan.
pub struct Worker<'a> {
    pub plan: &'a Plan,
    /// Its shards, ascending.
    pub shards: Vec<u32>,
    pub settings: &'a Settings,
    pub instruments: &'a Instruments,
    pub store: SharedStore,
    pub compute: Compute,
    pub progress: Arc<Progress>,
    pub shutdown: CancellationToken,
}

/// What a worker finds where it is started.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// What an array job says of this child.
    pub told: Option<Told>,
    pub surroundings: &'a Surroundings,
    pub s3: &'a S3Options,
    pub models: OpenStore<'a>,
    pub display: &'a Display,
    pub metrics: &'a Metrics,
}

/// `deepsweep work`. Returns the closing lines.
///
/// # Errors
/// No plan, other weights or another program than the plan's, whatever stops a run.
pub async fn command(args: &WorkArgs, around: Around<'_>, shutdown: CancellationToken) -> Result<String, Error> {
    let Around { told, surroundings, s3, models, display, metrics } = around;
    let opening = async {
        let (results, _) = open_results(&args.run.out, s3).await?;
        let plan = Plan::of_run(results.as_ref(), &args.run).await?;
        let shards = shards_of(&plan, args.shard, told)?;
        let mut settings = Settings::of_plan(&plan.arguments, args.flags(), surroundings)?;
        settings.s3 = s3.clone(); // what it counts is told
        let compute = Compute::new(settings.threads)?;
        let instruments = Instruments::open(&settings, models, &compute, display).await?;
        plan.check_fingerprint(&instruments.fingerprint)?;
        Ok::<_, Error>((results, plan, shards, settings, compute, instruments))
    };
    let (results, plan, shards, settings, compute, instruments) = unless_stopped(&shutdown, Box::pin(opening)).await?;
    let worker = Worker {
        plan: &plan,
        shards,
        settings: &settings,
        instruments: &instruments,
        store: results,
        compute,
        progress: Arc::new(Progress::default()),
        shutdown,
    };
    metrics.follow(Arc::clone(&worker.progress));
    let written = Box::pin(worker.work(display, metrics)).await?;
    let took = humantime::format_duration(Duration::from_secs(worker.progress.elapsed().as_secs()));
    Ok(format!(
        "run {}\n  shards     {} of {}\n  slices     {} done, {} by others meanwhile\n  objects    {}\n  time       {took}\n",
        plan.run_id,
        worker.shards.len(),
        plan.shards.len(),
        written.slices - written.by_others,
        written.by_others,
        written.objects,
    ))
}

/// The shards that this worker takes.
fn shards_of(plan: &Plan, flag: Option<Shard>, told: Option<Told>) -> Result<Vec<u32>, Error> {
    let count = plan.shards.len() as u64;
    let shard = match (flag, told) {
        (Some(shard), _) => {
            tracing::info!(%shard, "by --shard");
            shard
        }
        (None, Some(told)) => {
            let shard = told.shard(count)?;
            tracing::info!(%shard, "by {}", told.variable);
            shard
        }
        (None, None) => Shard::default(),
    };
    let shards: Vec<u32> = (0..plan.shards.len() as u32).filter(|at| shard.takes(u64::from(*at))).collect();
    if shards.is_empty() {
        tracing::info!("the plan has {count} shards: none is left for worker {shard}");
    }
    Ok(shards)
}

impl Worker<'_> {
    /// Works until everything that is asked of it is done, or until shutdown.
    ///
    /// # Errors
    /// What stops a job; see [`Error`].
    pub async fn work(&self, display: &Display, metrics: &Metrics) -> Result<Written, Error> {
        let beginning = async {
            let source = self.open_source().await?;
            let pictures = OnDemand::new(self.settings.ffmpeg.clone());
            let videos = videos(self.settings, &pictures).await?;
            let (todo, empty) = self.todo().await?;
            Ok((self.pipeline(source, videos, pictures), todo, empty))
        };
        let (pipeline, todo, empty) = unless_stopped(&self.shutdown, Box::pin(beginning)).await?;
        let working = async {
            let mut written = Box::pin(pipeline.run(todo)).await?;
            if let Some(at) = empty {
                let one = tokio::select! {
                    one = pipeline.write_empty(at) => one?,
                    error = hanging(&self.shutdown) => return Err(error),
                };
                written.slices += one.slices;
                written.by_others += one.by_others;
            }
            Ok(written)
        };
        let result = tokio::select! {
            result = working => result,
            never = heartbeat::watch(&self.progress, display, metrics) => match never {},
        };
        display.clear();
        self.progress.measure();
        let go_on = format_args!("; the same command goes on with run {:?}", self.plan.run_id).to_string();
        result.map_err(|error| if matches!(error, Error::TryAgain(_)) { error.with(go_on) } else { error })
    }

    async fn open_source(&self) -> Result<SharedStore, Error> {
        let place: Location = self.plan.place.parse().map_err(Error::Usage)?;
        let source = if self.plan.is_list {
            open_media(&place, &self.settings.s3).await?
        } else {
            open_source(&place, &self.settings.s3, None).await?.0
        };
        if source.bucket() == self.plan.bucket {
            return Ok(source);
        }
        let (expected, found) = (&self.plan.bucket, source.bucket());
        Err(Error::Input(format!("{place}: expected {expected} as the plan has it, found {found}")))
    }

    fn pipeline(&self, source: SharedStore, videos: Videos, pictures: OnDemand) -> Pipeline {
        let Self { plan, settings, instruments, .. } = self;
        let memory = MemoryBudget::new(settings.memory_bytes);
        let decode_limits =
            DecodeLimits { max_pixels: settings.max_pixels, max_decode_bytes: memory.pixels.capacity_bytes() };
        tracing::info!(
            run_id = plan.run_id,
            place = plan.place,
            out = %settings.out,
            scorers = crate::scorers::names(&settings.scorers),
            device = instruments.device_name,
            threads = settings.threads,
            fingerprint = plan.fingerprint,
            shards = self.shards.len(),
            "starting"
        );
        Pipeline {
            facts: RunFacts {
                bucket: plan.bucket.clone(),
                fingerprint: instruments.fingerprint.clone(),
                scorers: Arc::clone(&instruments.scorers),
                keep_embeddings: plan.keep_embeddings,
                device: instruments.device_name.clone(),
                limits: settings.limits(),
            },
            source,
            destination: plan.destination(Arc::clone(&self.store)),
            detector: Arc::clone(&instruments.detector),
            detector_settings: instruments.detector_settings,
            scorers: Arc::clone(&instruments.scorers),
            compute: self.compute.clone(),
            threads: settings.threads,
            decode_limits,
            videos,
            pictures,
            video_settings: VideoSettings {
                sampling: SamplingSettings { sampling: settings.sampling, max_frames: settings.max_frames },
                limits: decode_limits,
                side_by_side: settings.threads.min(limits::DECODERS_OF_ONE_VIDEO),
            },
            animated: settings.animated,
            damage: settings.damage,
            memory,
            scratch: Scratch::unchecked(&settings.scratch, settings.scratch_bytes),
            max_object_bytes: settings.max_object_bytes,
            progress: Arc::clone(&self.progress),
            shutdown: self.shutdown.clone(),
        }
    }
}

/// Without ffmpeg a run of most images is as good as any.
async fn videos(settings: &Settings, ffmpeg: &OnDemand) -> Result<Videos, Error> {
    if !settings.videos {
        return Ok(Videos::NotWanted);
    }
    match ffmpeg.get().await {
        Ok(found) => {
            tracing::debug!(version = found.version, "videos are decoded by ffmpeg");
            Ok(Videos::Decoded(found.clone()))
        }
        // Whoever names one wants it.
        Err(error) if settings.ffmpeg.named.is_some() => Err(Error::Usage(error.to_owned())),
        Err(error) => {
            tracing::debug!("{error}");
            Ok(Videos::Impossible(error.to_owned()))
        }
    }
}
