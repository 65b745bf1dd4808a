//! A video file → its wanted frames, a few at a time, in any order, by contained decoders.
//!
//! Probed first; then what decoding will take is set aside, once for the whole video. A frame waits for its taker and its
//! decoder waits with it, so a long video is never in memory.

mod pieces;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;

use self::pieces::{Decoded, Pieces};
use super::compute::Compute;
use super::frame::Frame;
use super::list::Media;
use super::memory::{ByteBudget, Reserved};
use crate::error::{Rejection, RejectionClass};
use crate::ffmpeg::complaint::in_words;
use crate::ffmpeg::decode::{DecodedFrame, Picture};
use crate::ffmpeg::table::FrameTable;
use crate::ffmpeg::video::Video;
use crate::ffmpeg::{Ffmpeg, MediaFile};
use crate::limits;
use crate::media::sample::{Sampling, SamplingSettings};
use crate::media::still::DecodeLimits;
use crate::media::tone::{self, HdrTransfer, Primaries};

/// Changes with everything here and in [`crate::ffmpeg`] that changes a frame or which frames are taken.
pub const VIDEO_VERSION: u32 = 3;

/// How videos are decoded.
#[derive(Debug, Clone, Copy)]
pub struct VideoSettings {
    pub sampling: SamplingSettings,
    pub limits: DecodeLimits,
    /// Decoders that one video may keep busy.
    pub side_by_side: usize,
}

/// What decodes videos, and where that happens.
#[derive(Debug, Clone, Copy)]
pub struct VideoDecoder<'a> {
    pub ffmpeg: &'a Ffmpeg,
    pub settings: &'a VideoSettings,
    pub budget: &'a ByteBudget,
    pub compute: &'a Compute,
}

impl VideoDecoder<'_> {
    /// Sends the wanted frames of `file`; `media` learns what the video is and how decoding went. Ends early where nobody
    /// takes them.
    ///
    /// # Errors
    /// The row's rejection, where there is not one frame, or where the decoder had to be stopped.
    pub async fn decode(&self, file: MediaFile<'_>, media: &mut Media, output: Sender<Frame>) -> Result<(), Rejection> {
        let start = Instant::now();
        let SamplingSettings { sampling, .. } = self.settings.sampling;
        let video = self.ffmpeg.probe(file, sampling == Sampling::Keyframes).await?;
        let probing = start.elapsed();
        media.codec = Some(video.codec.name);
        media.size_px = Some(video.size_px());
        media.orientation = Some(video.orientation.to_exif());
        media.color_transfer.clone_from(&video.color_transfer);
        media.duration_s = Some(video.table.duration_s());
        let wanted = sampling.of_video(&video.table);
        media.frames_sampled = i32::try_from(wanted.len()).ok();
        self.settings.sampling.check(&wanted)?;
        let room = self.set_aside(&video).await?;
        let pieces = Pieces { ffmpeg: self.ffmpeg, media: file, video: &video, sampling, side_by_side: room.decoders };
        let sink = Sink {
            compute: self.compute,
            hdr: video.color_transfer.as_deref().and_then(HdrTransfer::named),
            primaries: Primaries::named(video.color_primaries.as_deref()),
            table: &video.table,
            room: &room,
            output: &output,
        };
        let decoded = pieces.decode(&wanted, &sink).await?;
        media.seconds.decode = (probing + decoded.busy).as_secs_f64();
        media.decoder_message = message(&video, &decoded, wanted.len(), output.is_closed());
        if decoded.frames.is_empty() && !output.is_closed() {
            let why = decoded.complaints.first().map_or("the decoder gave no reason", String::as_str);
            return Err(Rejection::new(
                RejectionClass::Corrupt,
                format_args!("expected {} frames, found none that can be decoded: {why}", wanted.len()),
            ));
        }
        Ok(())
    }

    /// Memory for the decoders and the frames on their way, and how many of each that is for: as many as are wanted, or
    /// fewer of a video that is too large for that.
    async fn set_aside(&self, video: &Video) -> Result<Room, Rejection> {
        let limits = &self.settings.limits;
        let pixels = limits.check_size(video.coded_px).and(limits.check_size(video.size_px()))?;
        let bytes = |decoders: usize, in_flight: usize| {
            // Each decoder fills one frame, one waits in the channel, and one is handed on. HDR has two bytes a sample, and its
            // frames are there twice for a moment when they have come and when they are turned into SDR.
            let (pixel_bytes, copies) = if video.is_hdr() { (6, 2) } else { (3, 0) };
            let frames = (decoders + 2 + copies) as u64 * pixels * pixel_bytes + in_flight as u64 * pixels * 3;
            frames + decoders as u64 * video.decoder_bytes()
        };
        let most = limits.max_decode_bytes;
        let fewer = (1..limits::VIDEO_FRAMES_IN_FLIGHT).rev().map(|in_flight| (1, in_flight));
        let choices = (1..=self.settings.side_by_side).rev().map(|decoders| (decoders, limits::VIDEO_FRAMES_IN_FLIGHT));
        let refused = || {
            let (width, height) = video.size_px();
            let memory = limits::memory_for_pixels(bytes(1, 1));
            Rejection::new(
                RejectionClass::TooLarge,
                format_args!(
                    "expected a video that takes at most {most} bytes to decode (a part of --memory), found one of {width}×{height} \
                     that takes {}; --memory {memory} is enough for it",
                    bytes(1, 1)
                ),
            )
        };
        let chosen = choices.chain(fewer).find(|(decoders, in_flight)| bytes(*decoders, *in_flight) <= most);
        let (decoders, in_flight) = chosen.ok_or_else(refused)?;
        let reserved = self.budget.reserve(bytes(decoders, in_flight)).await.ok_or_else(refused)?;
        Ok(Room { reserved: Arc::new(reserved), decoders, in_flight: Arc::new(Semaphore::new(in_flight)) })
    }
}

/// Where decoded frames go.
struct Sink<'a> {
    compute: &'a Compute,
    hdr: Option<HdrTransfer>,
    primaries: Primaries,
    table: &'a FrameTable,
    room: &'a Room,
    output: &'a Sender<Frame>,
}

impl Sink<'_> {
    fn is_closed(&self) -> bool {
        self.output.is_closed()
    }

    /// Sends a frame as the detector needs it, once there is room for it; false where nobody takes it.
    async fn send(&self, DecodedFrame { index, picture, .. }: DecodedFrame) -> Result<bool, Rejection> {
        let Ok(place) = Arc::clone(&self.room.in_flight).acquire_owned().await else { return Ok(false) };
        let picture = match (picture, self.hdr) {
            (Picture::Sdr(picture), _) => picture,
            (Picture::Hdr(deep), Some(transfer)) => {
                let primaries = self.primaries;
                self.compute.run(move || tone::to_sdr(&deep, transfer, primaries)).await?.0
            }
            // Only what is HDR is decoded with so many bits.
            (Picture::Hdr(_), None) => return Ok(false),
        };
        let frame = Frame {
            index: index as i32,
            pts_s: Some(self.table.pts_s(self.table.time(index))),
            picture,
            reserved: Arc::clone(&self.room.reserved),
            place: Some(place),
        };
        Ok(self.output.send(frame).await.is_ok())
    }
}

/// What was set aside for one video.
struct Room {
    reserved: Arc<Reserved>,
    decoders: usize,
    /// One permit for each frame that may exist between decoder and detector.
    in_flight: Arc<Semaphore>,
}

/// What is odd about the video, what is missing and what the decoder complained of, for the row.
fn message(video: &Video, decoded: &Decoded, wanted: usize, nobody_takes_them: bool) -> Option<String> {
    let missing = wanted.saturating_sub(decoded.frames.len()) + decoded.replaced;
    let missing = (missing > 0 && !nobody_takes_them).then(|| {
        let replaced = match decoded.replaced {
            0 => String::new(),
            replaced => format!(", and {replaced} were replaced by others"),
        };
        format!("{missing} of {wanted} frames that were asked for could not be decoded{replaced}")
    });
    let complaints: Vec<&str> = decoded.complaints.iter().map(String::as_str).collect();
    let said = in_words(&complaints);
    let silent = (missing.is_some() && said.is_none()).then(|| "the decoder gave no reason".to_owned());
    let changes = decoded.headers_change.then(|| {
        "its pictures are described anew on the way, so the shape or the colours of later frames may be those of the first"
            .to_owned()
    });
    let parts: Vec<String> = [video.note.clone(), changes, missing, said, silent].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}
