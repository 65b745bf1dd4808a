//! The stages, in the order in which data meets them, joined by bounded channels.
//!
//! ```text
//! list ─▶ fetch ─▶ decode · detect · crop ─▶ embed ─▶ score · write
//!   │       │         CPU pool               CPU pool or GPU   │
//!   │       └── compressed bytes ──┴── frames, crops           └─▶ parts, `media` last
//!   └── everything that cannot go on becomes a rejection and takes the same way to its row
//! ```
//!
//! A stage imports only what stands to its left; this file alone knows them all. Memory is bounded by the three
//! budgets of [`memory`], not by counting tasks.

pub mod compute;
pub mod crop;
pub mod decode;
pub mod detect;
pub mod embed;
pub mod fetch;
pub mod list;
pub mod memory;
pub mod score;
pub mod sniff;
pub mod write;

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::compute::Compute;
use self::decode::{DecodeLimits, Frame, Header};
use self::embed::{Cropped, FrameFaces, Outcome, Rejected};
use self::fetch::Fetched;
use self::list::{Filter, Media};
use self::memory::MemoryBudget;
use self::score::RunFacts;
use self::write::Destination;
use crate::error::{Error, Rejection};
use crate::limits;
use crate::networks::mtcnn::{Mtcnn, MtcnnSettings};
use crate::progress::Progress;
use crate::scorers::ScorerSet;
use crate::storage::Store;
use crate::tables::part::CommittedPart;

/// Everything that a run of the pipeline depends on; nothing else is looked up anywhere.
#[derive(Debug)]
pub struct Pipeline {
    pub source: Arc<dyn Store>,
    pub prefix: String,
    pub filter: Filter,
    pub destination: Destination,
    pub facts: RunFacts,
    pub detector: Arc<Mtcnn>,
    pub detector_settings: MtcnnSettings,
    pub scorers: Arc<ScorerSet>,
    pub compute: Compute,
    pub threads: usize,
    pub memory: MemoryBudget,
    pub max_object_bytes: u64,
    pub decode_limits: DecodeLimits,
    pub progress: Arc<Progress>,
    pub shutdown: CancellationToken,
}

impl Pipeline {
    /// Sweeps the source. On shutdown it takes no more work, commits the slices that are complete and returns
    /// [`Error::TryAgain`].
    ///
    /// # Errors
    /// What stops a job: a listing, a device or a destination that fails. What is wrong with one object is a row.
    pub async fn run(&self) -> Result<Vec<CommittedPart>, Error> {
        let (listed_in, listed) = mpsc::channel(limits::CHANNEL_OBJECTS);
        let (fetched_in, fetched) = mpsc::channel(limits::CHANNEL_OBJECTS);
        let (cropped_in, cropped) = mpsc::channel(limits::CHANNEL_CROPPED);
        let (outcomes_in, outcomes) = mpsc::channel(limits::CHANNEL_OBJECTS);
        let (total_in, total) = watch::channel(None);

        // Dropping these futures closes the channels, and the writer finishes what is complete.
        let stages = {
            let (from_fetch, from_decode) = (outcomes_in.clone(), outcomes_in.clone());
            async {
                tokio::try_join!(
                    self.list(listed_in, total_in),
                    self.fetch(listed, fetched_in, from_fetch),
                    self.decode_detect_crop(fetched, cropped_in, from_decode),
                    embed::embed(Arc::clone(&self.scorers), &self.compute, cropped, outcomes_in),
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
        let write = write::write(&self.destination, &self.facts, &self.compute, outcomes, total, &self.progress);
        // A destination that refuses ends the run at once; stages that end early still let the writer finish.
        let mut early = None;
        let write = async {
            tokio::select! {
                result = write => result,
                error = self.hanging() => Err(error),
            }
        };
        let (parts, ()) = tokio::try_join!(write, async {
            early = until_shutdown.await.err();
            Ok(())
        })?;
        let Some(early) = early else { return Ok(parts) };
        let finished = parts.iter().filter(|part| part.key.starts_with("media/")).map(|part| part.rows);
        Err(early.with(format_args!("; {} objects have their rows", finished.sum::<usize>())))
    }

    /// Ends when a shutdown has lasted too long. What was being written then stands whole or not at all.
    pub async fn hanging(&self) -> Error {
        self.shutdown.cancelled().await;
        tokio::time::sleep(Duration::from_secs(limits::SHUTDOWN_SECS)).await;
        let seconds = limits::SHUTDOWN_SECS;
        Error::TryAgain(format!("stopped by a signal; the destination did not answer for {seconds} s"))
    }

    async fn list(&self, output: Sender<Media>, total: watch::Sender<Option<u64>>) -> Result<(), Error> {
        let mut count = 0;
        let mut listing = std::pin::pin!(list::list(self.source.as_ref(), &self.prefix, &self.filter));
        while let Some(media) = listing.try_next().await? {
            count += 1;
            self.progress.listed(media.object.size_bytes);
            if output.send(media).await.is_err() {
                return Ok(());
            }
        }
        self.progress.listing_ended();
        total.send_replace(Some(count));
        Ok(())
    }

    async fn fetch(
        &self,
        input: Receiver<Media>,
        output: Sender<(Media, Fetched)>,
        outcomes: Sender<Outcome>,
    ) -> Result<(), Error> {
        let (output, outcomes) = (&output, &outcomes);
        stream(input)
            .for_each_concurrent(limits::FETCHES, |mut media| async move {
                let fetched =
                    fetch::fetch(&self.source, &mut media, &self.memory.compressed, self.max_object_bytes).await;
                // A closed channel means that the run is over; the reason is told by whoever closed it.
                let _ = match fetched {
                    Ok(fetched) => output.send((media, fetched)).await.is_ok(),
                    Err(rejection) => outcomes.send(Err(Box::new(Rejected { media, rejection }))).await.is_ok(),
                };
            })
            .await;
        Ok(())
    }

    async fn decode_detect_crop(
        &self,
        input: Receiver<(Media, Fetched)>,
        output: Sender<Cropped>,
        outcomes: Sender<Outcome>,
    ) -> Result<(), Error> {
        let (output, outcomes) = (&output, &outcomes);
        // One more than there are threads, so that the next picture is ready when a thread is.
        stream(input)
            .map(Ok)
            .try_for_each_concurrent(self.threads + 1, |(mut media, fetched)| async move {
                let frame = self.decode(&mut media, fetched).await;
                let cropped = match frame {
                    Ok(frame) => self.detect_and_crop(media, frame).await?,
                    Err(rejection) => Err(Box::new(Rejected { media, rejection })),
                };
                let _ = match cropped {
                    Ok(cropped) => output.send(cropped).await.is_ok(),
                    Err(rejected) => outcomes.send(Err(rejected)).await.is_ok(),
                };
                Ok(())
            })
            .await
    }

    async fn decode(&self, media: &mut Media, fetched: Fetched) -> Result<Frame, Rejection> {
        let Fetched { bytes, image, reserved: compressed } = fetched;
        let (limits, header_bytes) = (self.decode_limits, bytes.clone());
        let (header, header_time) =
            self.compute.run(move || decode::read_header(&header_bytes, image.format, limits)).await?;
        let header: Header = header?;
        media.size_px = Some(header.upright_size_px());
        let Some(reserved) = self.memory.pixels.reserve(header.decode_bytes).await else {
            return Err(Rejection::new(crate::error::RejectionClass::TooLarge, "the memory budget is closed"));
        };
        let (picture, decode_time) = self.compute.run(move || decode::decode(&bytes, image.format, header)).await?;
        drop(compressed);
        media.seconds.decode = (header_time + decode_time).as_secs_f64();
        Ok(Frame { index: 0, pts_s: None, picture: picture?, reserved })
    }

    /// The outer error stops the job, the inner one is a row.
    async fn detect_and_crop(&self, mut media: Media, frame: Frame) -> Result<Result<Cropped, Box<Rejected>>, Error> {
        let (detector, settings) = (Arc::clone(&self.detector), self.detector_settings);
        let work = move || (detect::detect(&detector, &frame.picture, &settings), frame);
        let (detections, frame) = match self.compute.run(work).await {
            Ok(((detections, frame), time)) => {
                media.seconds.detect = time.as_secs_f64();
                (detections?, frame)
            }
            Err(rejection) => return Ok(Err(Box::new(Rejected { media, rejection }))),
        };
        let faces = FrameFaces {
            index: frame.index,
            pts_s: frame.pts_s,
            size_px: frame.picture.dimensions(),
            detections: detections.clone(),
        };
        let bytes = crop::crops_bytes(detections.len(), self.scorers.crops());
        if bytes == 0 {
            return Ok(Ok(Cropped { media, frames: vec![faces], crops: vec![], reserved: None }));
        }
        let reserved = self.memory.crops.reserve_at_most(bytes).await;
        // The frame ends here, and with it its share of the budget.
        let scorers = Arc::clone(&self.scorers);
        let work = move || crop::crops(0, &frame.picture, &detections, scorers.crops());
        match self.compute.run(work).await {
            Ok((crops, time)) => {
                media.seconds.detect += time.as_secs_f64();
                Ok(Ok(Cropped { media, frames: vec![faces], crops, reserved }))
            }
            Err(rejection) => Ok(Err(Box::new(Rejected { media, rejection }))),
        }
    }
}

fn stream<T>(mut input: Receiver<T>) -> impl futures::Stream<Item = T> {
    futures::stream::poll_fn(move |context| input.poll_recv(context))
}
