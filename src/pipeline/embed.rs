//! Crops of many media → their embeddings and scores, in batches that do not care whose crops they are.
//!
//! One owner: a batch is on the device at a time. While it runs the next one gathers, so batches are full
//! whenever there is enough to do and nothing waits when there is not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use image::RgbImage;
use tokio::sync::mpsc::{Receiver, Sender};
use tracing::{Instrument, debug_span};

use super::compute::Compute;
use super::crop::Crop;
use super::detect::Detection;
use super::list::Media;
use super::memory::Reserved;
use crate::error::{Error, Rejection};
use crate::limits;
use crate::progress::{Progress, Stage};
use crate::scorers::{ScoredCrop, ScorerSet};

/// A piece of a media whose pixels are gone but for its crops: some of its frames, or its end, or both.
#[derive(Debug)]
pub struct Cropped {
    /// The media's place in the listing.
    pub seq: u64,
    pub frames: Vec<CroppedFrame>,
    /// The crops' memory; none where there are none.
    pub reserved: Option<Reserved>,
    /// With the last piece: what became of the media.
    pub end: Option<Result<Media, Box<Rejected>>>,
}

#[derive(Debug)]
pub struct CroppedFrame {
    pub faces: FrameFaces,
    pub crops: Vec<Crop>,
}

/// What is kept of a frame.
#[derive(Debug, Clone)]
pub struct FrameFaces {
    pub index: i32,
    pub pts_s: Option<f64>,
    pub size_px: (u32, u32),
    pub detections: Vec<Detection>,
}

/// A media with everything that its rows are made of.
#[derive(Debug)]
pub struct Embedded {
    pub media: Media,
    pub frames: Vec<FrameFaces>,
    pub crops: Vec<EmbeddedCrop>,
}

#[derive(Debug)]
pub struct EmbeddedCrop {
    pub frame: usize,
    pub face: Option<usize>,
    /// Place of the pass among those of the run.
    pub pass: usize,
    pub scored: ScoredCrop,
}

/// A media that has no result, and why.
#[derive(Debug)]
pub struct Rejected {
    pub media: Media,
    pub rejection: Rejection,
}

/// One object's outcome, as the writer takes it.
pub type Outcome = Result<Embedded, Box<Rejected>>;

/// Embeds until the cropping stage closes its end.
///
/// # Errors
/// A device that fails.
pub async fn embed(
    scorers: Arc<ScorerSet>,
    compute: &Compute,
    mut input: Receiver<Cropped>,
    output: Sender<Outcome>,
    progress: &Progress,
) -> Result<(), Error> {
    let mut gathering = BTreeMap::new();
    while let Some(first) = input.recv().await {
        let mut waiting = vec![first];
        // More may have come since: take it along as long as the batch has room.
        while crops_in(&waiting) < limits::EMBED_BATCH
            && let Ok(more) = input.try_recv()
        {
            waiting.push(more);
        }
        let embedding = progress.enter(Stage::Embed);
        let span = debug_span!("embed", pieces = waiting.len(), crops = crops_in(&waiting));
        let scored = score_all(&scorers, compute, waiting, &mut gathering).instrument(span).await?;
        drop(embedding);
        for outcome in scored {
            if output.send(outcome).await.is_err() {
                return Ok(()); // the writer stopped, and says why itself
            }
        }
    }
    Ok(())
}

fn crops_in(waiting: &[Cropped]) -> usize {
    waiting.iter().flat_map(|cropped| &cropped.frames).map(|frame| frame.crops.len()).sum()
}

/// What is known so far of a media whose end has not come.
#[derive(Default)]
struct Gathered {
    frames: Vec<FrameFaces>,
    crops: Vec<EmbeddedCrop>,
    embed_s: f64,
    failed: Option<Rejection>,
}

impl Gathered {
    fn end(self, end: Result<Media, Box<Rejected>>) -> Outcome {
        let mut media = end?;
        media.seconds.embed += self.embed_s;
        match self.failed {
            Some(rejection) => Err(Box::new(Rejected { media, rejection })),
            None => Ok(Embedded { media, frames: self.frames, crops: self.crops }),
        }
    }
}

/// The outcomes of those media that end with one of the pieces.
async fn score_all(
    scorers: &Arc<ScorerSet>,
    compute: &Compute,
    waiting: Vec<Cropped>,
    gathering: &mut BTreeMap<u64, Gathered>,
) -> Result<Vec<Outcome>, Error> {
    let mut crops = vec![]; // each with its media, and the place of its frame there
    let mut reserved = vec![]; // until the last batch is through
    let mut ends = vec![];
    for Cropped { seq, frames, reserved: of_crops, end } in waiting {
        let gathered: &mut Gathered = gathering.entry(seq).or_default();
        for CroppedFrame { faces, crops: of_frame } in frames {
            crops.extend(of_frame.into_iter().map(|crop| (seq, gathered.frames.len(), crop)));
            gathered.frames.push(faces);
        }
        reserved.extend(of_crops);
        ends.extend(end.map(|end| (seq, end)));
    }
    let crops = Arc::new(crops);
    for (pass_at, pass) in scorers.passes().iter().enumerate() {
        let of_pass: Vec<usize> = (0..crops.len()).filter(|at| crops[*at].2.recipe == pass.crop).collect();
        for batch in of_pass.chunks(limits::EMBED_BATCH) {
            let (owned_scorers, owned_crops, owned_batch) = (Arc::clone(scorers), Arc::clone(&crops), batch.to_vec());
            let work = move || {
                let squares: Vec<&RgbImage> = owned_batch.iter().map(|at| &owned_crops[*at].2.square).collect();
                owned_scorers.score(&owned_scorers.passes()[pass_at], &squares)
            };
            let (scored, share_s) = match compute.run(work).await {
                Ok((scored, time)) => (scored?.into_iter().map(Ok).collect::<Vec<_>>(), share(time, batch.len())),
                Err(panic) => (batch.iter().map(|_| Err(panic.clone())).collect(), 0.0),
            };
            for (scored, at) in scored.into_iter().zip(batch) {
                let (seq, frame, Crop { face, .. }) = &crops[*at];
                let gathered = gathering.entry(*seq).or_default();
                gathered.embed_s += share_s;
                match scored {
                    Ok(scored) => {
                        gathered.crops.push(EmbeddedCrop { frame: *frame, face: *face, pass: pass_at, scored });
                    }
                    Err(panic) => gathered.failed = Some(panic),
                }
            }
        }
    }
    let outcome = |(seq, end)| gathering.remove(&seq).unwrap_or_default().end(end);
    Ok(ends.into_iter().map(outcome).collect())
}

fn share(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() / count as f64
}
