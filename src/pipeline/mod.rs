//! The stages, in the order in which data meets them, joined by bounded channels.
//!
//! ```text
//! list ─▶ fetch ─▶ decode · detect · crop ─▶ embed ─▶ score · write
//!   │       │         CPU pool               CPU pool or GPU   │
//!   │       └── compressed bytes ──┴── frames, crops           └─▶ parts, `media` last
//!   └── everything that cannot go on becomes a rejection and takes the same way to its row
//! ```
//!
//! An image is one frame. The frames of a video go through detect, crop and embed one by one, between those of other
//! media, and come together again when the last one is scored.
//!
//! A stage imports only what stands to its left; this file alone knows them all. Memory is bounded by the three
//! budgets of [`memory`], and the disk by that of [`scratch`], not by counting tasks.

pub mod animation;
pub mod commit;
pub mod compute;
pub mod crop;
pub mod detect;
pub mod embed;
pub mod fetch;
pub mod frame;
pub mod heif;
pub mod list;
pub mod memory;
pub mod score;
pub mod scratch;
pub mod slice;
pub mod still;
pub mod track;
pub mod video;
pub mod write;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug_span};

use self::compute::Compute;
use self::embed::{Cropped, CroppedFrame, FrameFaces, Outcome, Rejected};
use self::fetch::{Content, Fetch};
use self::frame::Frame;
use self::heif::HeifDecoding;
use self::list::{Media, PlannedSlice, SliceAt};
use self::memory::MemoryBudget;
use self::score::RunFacts;
use self::scratch::{Scratch, VideoFile};
use self::still::StillDecoder;
use self::video::{VideoDecoder, VideoSettings};
use self::write::{Write, Written};
use crate::error::{Error, Rejection, RejectionClass};
use crate::ffmpeg::on_demand::OnDemand;
use crate::ffmpeg::{Ffmpeg, MediaFile};
use crate::limits;
use crate::media::protection;
use crate::media::sniff::VideoKind;
use crate::media::still::{Damage, DecodeLimits};
use crate::networks::mtcnn::{Mtcnn, MtcnnSettings};
use crate::progress::{Progress, Stage};
use crate::results::Destination;
use crate::scorers::ScorerSet;
use crate::storage::Store;

/// Everything that a run of the pipeline depends on; nothing else is looked up anywhere.
#[derive(Debug)]
pub struct Pipeline {
    pub source: Arc<dyn Store>,
    pub destination: Destination,
    pub facts: RunFacts,
    pub detector: Arc<Mtcnn>,
    pub detector_settings: MtcnnSettings,
    pub scorers: Arc<ScorerSet>,
    pub compute: Compute,
    pub threads: usize,
    pub memory: MemoryBudget,
    pub scratch: Scratch,
    pub max_object_bytes: u64,
    pub decode_limits: DecodeLimits,
    pub videos: Videos,
    /// Decodes the coded pictures of HEIC and AVIF, whether or not videos are wanted.
    pub pictures: OnDemand,
    pub video_settings: VideoSettings,
    /// Whether animations are sampled as videos are.
    pub animated: bool,
    /// What becomes of pictures that are damaged or end early.
    pub damage: Damage,
    pub progress: Arc<Progress>,
    pub shutdown: CancellationToken,
}

/// What there is to do, one slice after another.
pub type Slices = BoxStream<'static, Result<PlannedSlice, Error>>;

/// Who decodes videos.
#[derive(Debug)]
pub enum Videos {
    /// Nobody was asked to: each is rejected.
    NotWanted,
    /// Nobody can, for this reason: each is rejected.
    Impossible(String),
    Decoded(Ffmpeg),
}

impl Pipeline {
    /// Sweeps the slices. On shutdown it takes no more work, commits the slices that are complete and returns
    /// [`Error::TryAgain`].
    ///
    /// # Errors
    /// What stops a job: a plan, a device or a destination that fails. What is wrong with one object is a row.
    pub async fn run(&self, slices: Slices) -> Result<Written, Error> {
        let (listed_in, listed) = mpsc::channel(limits::CHANNEL_OBJECTS);
        let (fetched_in, fetched) = mpsc::channel(limits::CHANNEL_OBJECTS);
        let (cropped_in, cropped) = mpsc::channel(limits::CHANNEL_CROPPED);
        let (outcomes_in, outcomes) = mpsc::channel(limits::CHANNEL_OBJECTS);

        // Dropping these futures closes the channels, and the writer finishes what is complete.
        let stages = {
            let from_fetch = outcomes_in.clone();
            async {
                tokio::try_join!(
                    list(slices, listed_in),
                    self.fetch(listed, fetched_in, from_fetch),
                    self.decode_detect_crop(fetched, cropped_in),
                    embed::embed(Arc::clone(&self.scorers), &self.compute, cropped, outcomes_in, &self.progress),
                )
                .map(|_| ())
            }
        };
        let until_shutdown = async {
            tokio::select! {
                result = stages => result,
                () = self.shutdown.cancelled() => Err(Error::TryAgain("stopped by a signal".to_owned())),
            }
        };
        // A destination that refuses ends the run at once; stages that end early still let the writer finish.
        let mut early = None;
        let write = async {
            tokio::select! {
                result = self.write().run(outcomes) => result,
                error = hanging(&self.shutdown) => Err(error),
            }
        };
        let (written, ()) = tokio::try_join!(write, async {
            early = until_shutdown.await.err();
            Ok(())
        })?;
        let Some(early) = early else { return Ok(written) };
        Err(early.with(format_args!("; {} objects have their rows", written.objects)))
    }

    /// Writes a slice without objects.
    ///
    /// # Errors
    /// A destination that refuses.
    pub async fn write_empty(&self, at: SliceAt) -> Result<Written, Error> {
        self.write().empty(at).await
    }

    fn write(&self) -> Write<'_> {
        Write {
            destination: &self.destination,
            facts: &self.facts,
            compute: &self.compute,
            scratch: self.scratch.folder(),
            progress: &self.progress,
        }
    }

    async fn fetch(
        &self,
        input: Receiver<Media>,
        output: Sender<(Media, Content)>,
        outcomes: Sender<Outcome>,
    ) -> Result<(), Error> {
        let fetch = Fetch {
            store: &self.source,
            compressed: &self.memory.compressed,
            scratch: (!matches!(self.videos, Videos::NotWanted)).then_some(&self.scratch),
            max_object_bytes: self.max_object_bytes,
        };
        let (output, outcomes, fetch) = (&output, &outcomes, &fetch);
        stream(input)
            .map(Ok)
            .try_for_each_concurrent(limits::FETCHES, |mut media| async move {
                self.progress.begun();
                let fetching = self.progress.enter(Stage::Fetch);
                let span = debug_span!("fetch", seq = media.seq, key = media.object.key);
                let fetched = fetch.fetch(&mut media).instrument(span).await?;
                drop(fetching);
                // A closed channel means that the run is over; the reason is told by whoever closed it.
                let _ = match fetched {
                    Ok(content) => output.send((media, content)).await.is_ok(),
                    Err(rejection) => outcomes.send(Err(Box::new(Rejected { media, rejection }))).await.is_ok(),
                };
                Ok(())
            })
            .await
    }

    async fn decode_detect_crop(
        &self,
        input: Receiver<(Media, Content)>,
        output: Sender<Cropped>,
    ) -> Result<(), Error> {
        let output = &output;
        // One more than there are threads, so that the next picture is ready when a thread is.
        stream(input)
            .map(Ok)
            .try_for_each_concurrent(self.threads + 1, |(media, content)| {
                let span = debug_span!("media", seq = media.seq, key = media.object.key);
                self.look(media, content, output).instrument(span)
            })
            .await
    }

    /// Sends the frames of one media as pieces of their own, and then what became of it.
    async fn look(&self, mut media: Media, content: Content, output: &Sender<Cropped>) -> Result<(), Error> {
        let seq = media.seq;
        let (frames_in, frames) = mpsc::channel(1);
        let (detect_time, failed) = (Mutex::new(Duration::ZERO), Mutex::new(None));
        let decoding = self.decode(&mut media, content, frames_in).instrument(debug_span!("decode"));
        let detecting = stream(frames).map(Ok).try_for_each_concurrent(limits::VIDEO_FRAMES_IN_FLIGHT, |frame| {
            let (detect_time, failed) = (&detect_time, &failed);
            async move {
                let span = debug_span!("detect", frame = frame.index);
                match self.detect_and_crop(seq, frame).instrument(span).await? {
                    Ok((cropped, time)) => {
                        *lock(detect_time) += time;
                        let _ = output.send(cropped).await;
                    }
                    Err(rejection) => *lock(failed) = Some(rejection),
                }
                Ok(())
            }
        });
        let (decoded, ()) = tokio::try_join!(decoding, detecting)?;
        media.seconds.detect = lock(&detect_time).as_secs_f64();
        let failed = lock(&failed).take();
        let end = match decoded.and(failed.map_or(Ok(()), Err)) {
            Ok(()) => Ok(media),
            Err(rejection) => Err(Box::new(Rejected { media, rejection })),
        };
        let _ = output.send(Cropped { seq, frames: vec![], reserved: None, end: Some(end) }).await;
        Ok(())
    }

    /// The frames that are wanted. The outer error stops the job, the inner one is a row.
    async fn decode(
        &self,
        media: &mut Media,
        content: Content,
        frames: Sender<Frame>,
    ) -> Result<Result<(), Rejection>, Error> {
        let _decoding = self.progress.enter(Stage::Decode);
        match content {
            Content::Image { bytes, image, reserved } => {
                let decoder = StillDecoder {
                    compute: &self.compute,
                    pixels: &self.memory.pixels,
                    limits: self.decode_limits,
                    damage: self.damage,
                    animated: self.animated.then_some(self.video_settings.sampling),
                };
                Ok(decoder.decode(bytes, image.format, reserved, media, frames).await)
            }
            Content::Heif { bytes, reserved } => {
                let (compute, pixels, limits) = (&self.compute, &self.memory.pixels, self.decode_limits);
                let heif = HeifDecoding { ffmpeg: &self.pictures, compute, pixels, limits };
                Ok(heif.decode(bytes, reserved, media, frames).await)
            }
            Content::Video(file, kind) => self.video(media, &file, kind, frames).await,
        }
    }

    async fn video(
        &self,
        media: &mut Media,
        file: &VideoFile,
        kind: VideoKind,
        frames: Sender<Frame>,
    ) -> Result<Result<(), Rejection>, Error> {
        let ffmpeg = match &self.videos {
            Videos::Decoded(ffmpeg) => ffmpeg,
            Videos::Impossible(why) => {
                let message = format!("a video, which is decoded by ffmpeg: {why}");
                return Ok(Err(Rejection::new(RejectionClass::NoDecoder, message)));
            }
            Videos::NotWanted => {
                return Ok(Err(Rejection::new(RejectionClass::Unsupported, "a video, which --no-video leaves out")));
            }
        };
        ffmpeg.warn_of_missing_layers();
        let (settings, budget, compute) = (&self.video_settings, &self.memory.pixels, &self.compute);
        let decoder = VideoDecoder { ffmpeg, settings, budget, compute };
        let VideoKind { container, demuxer, skip_bytes } = kind;
        let checking = file.in_background(move |file| protection::check(file, container, skip_bytes));
        if let Err(rejection) = checking.await {
            return Ok(Err(rejection));
        }
        let decoding = decoder.decode(MediaFile { file: &file.file, demuxer, skip_bytes }, media, frames);
        // What a bug leaves half done is of this media alone.
        let decoded = AssertUnwindSafe(decoding).catch_unwind().await;
        let decoded = decoded.unwrap_or_else(|_| {
            Err(Rejection::new(
                RejectionClass::Panicked,
                "a bug was met while its frames were asked for; the log tells more",
            ))
        });
        Ok(decoded.and_then(|()| file.check_unchanged()))
    }

    /// One frame's piece, and how long it took. The outer error stops the job, the inner one is a row.
    async fn detect_and_crop(&self, seq: u64, frame: Frame) -> Result<Result<(Cropped, Duration), Rejection>, Error> {
        let _detecting = self.progress.enter(Stage::Detect);
        let (detector, settings) = (Arc::clone(&self.detector), self.detector_settings);
        let work = move || (detect::detect(&detector, &frame.picture, &settings), frame);
        let (detections, frame, detect_time) = match self.compute.run(work).await {
            Ok(((detections, frame), time)) => (detections?, frame, time),
            Err(rejection) => return Ok(Err(rejection)),
        };
        let faces = FrameFaces {
            index: frame.index,
            pts_s: frame.pts_s,
            size_px: frame.picture.dimensions(),
            detections: detections.clone(),
        };
        let piece = |crops, reserved| Cropped { seq, frames: vec![CroppedFrame { faces, crops }], reserved, end: None };
        let bytes = crop::crops_bytes(detections.len(), self.scorers.crops());
        if bytes == 0 {
            return Ok(Ok((piece(vec![], None), detect_time)));
        }
        let reserved = self.memory.crops.reserve_at_most(bytes).await;
        // The frame ends here, and with it its share of the budget.
        let scorers = Arc::clone(&self.scorers);
        let work = move || crop::crops(&frame.picture, &detections, scorers.crops());
        Ok(self.compute.run(work).await.map(|(crops, time)| (piece(crops, reserved), detect_time + time)))
    }
}

/// Ends when a shutdown has lasted too long. What was being written then stands whole or not at all.
pub async fn hanging(shutdown: &CancellationToken) -> Error {
    shutdown.cancelled().await;
    tokio::time::sleep(Duration::from_secs(limits::SHUTDOWN_SECS)).await;
    let seconds = limits::SHUTDOWN_SECS;
    Error::TryAgain(format!("stopped by a signal; the destination did not answer for {seconds} s"))
}

async fn list(mut slices: Slices, output: Sender<Media>) -> Result<(), Error> {
    while let Some(slice) = slices.try_next().await? {
        for media in slice.media() {
            if output.send(media).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn stream<T>(mut input: Receiver<T>) -> impl futures::Stream<Item = T> {
    futures::stream::poll_fn(move |context| input.poll_recv(context))
}
