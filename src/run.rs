//! One run from its settings to its closing table: open everything, sweep, say that it is done.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::ffmpeg::{Ffmpeg, FfmpegChoice};
use crate::fingerprint::Fingerprint;
use crate::limits;
use crate::networks::mtcnn::{Mtcnn, MtcnnSettings};
use crate::pipeline::compute::Compute;
use crate::pipeline::decode::DecodeLimits;
use crate::pipeline::memory::MemoryBudget;
use crate::pipeline::sample::SamplingSettings;
use crate::pipeline::score::RunFacts;
use crate::pipeline::scratch::Scratch;
use crate::pipeline::video::VideoSettings;
use crate::pipeline::write::Destination;
use crate::pipeline::{Pipeline, Videos};
use crate::progress::{Display, Progress, Tally};
use crate::record::{self, Provenance, Success};
use crate::scorers::registry::Registry;
use crate::scorers::{OpenStore, Opening, names};
use crate::settings::Settings;
use crate::storage::open::{open_destination, open_source};
use crate::tables::SCHEMA_VERSION;
use crate::tables::part::CommittedPart;

/// What a run came to.
#[derive(Debug)]
pub struct Summary {
    pub run_id: String,
    pub tally: Tally,
    pub elapsed: Duration,
    pub parts: Vec<CommittedPart>,
    warnings: Vec<&'static str>,
}

/// Runs to the end, or until `shutdown`.
///
/// # Errors
/// What stops a job; see [`Error`].
pub async fn run(
    settings: &Settings,
    store: OpenStore<'_>,
    display: &Display,
    shutdown: CancellationToken,
) -> Result<Summary, Error> {
    let (device, device_name) = settings.device.open()?;
    let registry = Registry::open(settings.registry.as_deref())?;
    let accept_licence = settings.accept_licence;
    let opening = Opening { registry: &registry, store, accept_licence, device: &device, display };
    let scorers = tokio::select! {
        opened = opening.open(&settings.scorers) => Arc::new(opened?),
        () = shutdown.cancelled() => return Err(Error::TryAgain("stopped by a signal before any work began".to_owned())),
    };
    let detector = Mtcnn::new(&device).map_err(|e| Error::Input(format!("detector mtcnn: {e}")))?;
    let detector_settings = MtcnnSettings { min_face_px: settings.min_face_px, ..MtcnnSettings::default() };
    let fingerprint = Fingerprint::new(&detector_settings, settings.sampling, settings.animated, &scorers);
    let warnings: Vec<&'static str> = scorers.scorers().iter().filter_map(|scorer| scorer.warning).collect();
    for scorer in scorers.scorers() {
        tracing::info!(scorer = scorer.id, licence = scorer.licence, source = scorer.source, "scores by");
    }
    for warning in &warnings {
        tracing::warn!("{warning}");
    }

    let opening = async {
        let (source, prefix) = open_source(&settings.source, &settings.s3, Some(&settings.out)).await?;
        let store = open_destination(&settings.out, &settings.s3).await?;
        record::refuse_used_run_id(store.as_ref(), &settings.dt.to_string(), &settings.run_id).await?;
        Ok::<_, Error>((source, prefix, store))
    };
    let (source, prefix, store) = tokio::select! {
        opened = opening => opened?,
        () = shutdown.cancelled() => return Err(Error::TryAgain("stopped by a signal before any work began".to_owned())),
    };
    tracing::info!(
        run_id = settings.run_id,
        source = %settings.source,
        out = %settings.out,
        scorers = names(&settings.scorers),
        device = device_name,
        threads = settings.threads,
        fingerprint = fingerprint.whole,
        "starting"
    );

    let memory = MemoryBudget::new(settings.memory_bytes);
    let decode_limits =
        DecodeLimits { max_pixels: settings.max_pixels, max_decode_bytes: memory.pixels.capacity_bytes() };
    let videos = tokio::select! {
        found = videos(settings.ffmpeg.as_ref()) => found?,
        () = shutdown.cancelled() => return Err(Error::TryAgain("stopped by a signal before any work began".to_owned())),
    };
    let progress = Arc::new(Progress::default());
    let pipeline = Pipeline {
        facts: RunFacts {
            bucket: source.bucket().to_owned(),
            fingerprint: fingerprint.clone(),
            scorers: Arc::clone(&scorers),
            keep_embeddings: settings.keep_embeddings,
        },
        source,
        prefix,
        filter: settings.filter.clone(),
        destination: Destination {
            store: Arc::clone(&store),
            run_id: settings.run_id.clone(),
            dt: settings.dt.to_string(),
        },
        detector: Arc::new(detector),
        detector_settings,
        scorers: Arc::clone(&scorers),
        compute: Compute::new(settings.threads)?,
        threads: settings.threads,
        decode_limits,
        videos,
        video_settings: VideoSettings {
            sampling: SamplingSettings { sampling: settings.sampling, max_frames: settings.max_frames },
            limits: decode_limits,
            side_by_side: settings.threads.min(limits::DECODERS_OF_ONE_VIDEO),
        },
        animated: settings.animated,
        memory,
        scratch: Scratch::unchecked(&settings.scratch, settings.scratch_bytes),
        max_object_bytes: settings.max_object_bytes,
        progress: Arc::clone(&progress),
        shutdown,
    };
    let result = tokio::select! {
        result = pipeline.run() => result,
        () = progress.show(display) => Err(Error::TryAgain("the display ended".to_owned())),
    };
    display.clear();
    let parts = result?;
    let hanging = pipeline.hanging();
    let tally = progress.tally();
    let success = Success {
        run_id: &settings.run_id,
        schema_version: SCHEMA_VERSION,
        code_version: env!("CARGO_PKG_VERSION"),
        fingerprint: Some(&fingerprint.whole),
        detection_fingerprint: Some(&fingerprint.detection),
        device: &device_name,
        scorers: Provenance::of(&scorers),
        rescored_from: None,
        settings: &settings.explained,
        tally: &tally,
        parts: &parts,
    };
    tokio::select! {
        written = success.put(store.as_ref()) => written?,
        error = hanging => return Err(error),
    };
    if tally.scored == 0 && tally.faces > 0 && !scorers.scorers().is_empty() {
        tracing::warn!("not one of {} faces has a score; not_scored_reason in the rows says why", tally.faces);
    }
    if tally.objects == 0 {
        tracing::warn!("{}: no object was found that the filters let through; the tables are empty", settings.source);
    }
    let summary = Summary { run_id: settings.run_id.clone(), tally, elapsed: progress.elapsed(), parts, warnings };
    Ok(summary)
}

impl Summary {
    /// # Errors
    /// More objects than allowed could not be read; broken files do not count.
    pub fn check(&self, max_failed_share: f64) -> Result<(), Error> {
        let Tally { objects, unreadable, .. } = self.tally;
        let share = unreadable as f64 / objects.max(1) as f64;
        if share <= max_failed_share {
            return Ok(());
        }
        Err(Error::TooManyFailed(format!(
            "{unreadable} of {objects} objects could not be read, more than --max-failed {max_failed_share} allows; \
             the rows say why (status = 'rejected', error_class)"
        )))
    }

    /// The closing table.
    #[must_use]
    pub fn table(&self, out: &str) -> String {
        let Tally { objects, bytes, frames, faces, scored, no_face, rejected, seconds, rejected_by_class, .. } =
            &self.tally;
        let elapsed = self.elapsed.as_secs_f64();
        let written: usize = self.parts.iter().map(|part| part.bytes).sum();
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<10} {value}"); // writing to a String cannot fail
        };
        let rate = |count: u64| count as f64 / elapsed.max(1e-3);
        line("objects", format!("{objects} ({}, {:.1}/s)", ByteSize(*bytes).display().iec(), rate(*objects)));
        line("frames", format!("{frames} ({:.1}/s)", rate(*frames)));
        line("faces", format!("{faces} ({no_face} media without)"));
        line("scored", format!("{scored} media"));
        let classes: Vec<String> = rejected_by_class.iter().map(|(class, n)| format!("{n} {class}")).collect();
        let classes = if classes.is_empty() { String::new() } else { format!(": {}", classes.join(", ")) };
        line("rejected", format!("{rejected}{classes}"));
        line("time", format!("{elapsed:.1} s"));
        line(
            "stages",
            format!(
                "fetch {:.1} s, decode {:.1} s, detect {:.1} s, embed {:.1} s (summed over objects)",
                seconds.fetch, seconds.decode, seconds.detect, seconds.embed
            ),
        );
        line("written", format!("{} parts, {} to {out}", self.parts.len(), ByteSize(written as u64).display().iec()));
        let warnings: String = self.warnings.iter().map(|warning| format!("  note       {warning}\n")).collect();
        format!("run {}\n{text}{warnings}", self.run_id)
    }
}

/// Without ffmpeg a run of images is as good as any.
async fn videos(choice: Option<&FfmpegChoice>) -> Result<Videos, Error> {
    let Some(choice) = choice else { return Ok(Videos::NotWanted) };
    match Ffmpeg::find(choice).await {
        Ok(found) => {
            tracing::debug!(version = found.version, "videos are decoded by ffmpeg");
            Ok(Videos::Decoded(found))
        }
        // Whoever names one wants it.
        Err(error) if choice.named.is_some() => Err(error),
        Err(error) => {
            tracing::debug!("{error}");
            Ok(Videos::Impossible(error.to_string()))
        }
    }
}
