//! A video file → its wanted frames, a few at a time, in any order, by contained decoders.
//!
//! Probed first; then what decoding will take is set aside, once for the whole video. A frame waits for its taker and its
//! decoder waits with it, so a long video is never in memory.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc::{self, Sender};

use super::frame::Frame;
use super::list::Media;
use super::memory::{ByteBudget, Reserved};
use crate::error::{Rejection, RejectionClass};
use crate::ffmpeg::Ffmpeg;
use crate::ffmpeg::decode::{DecodedFrame, SegmentEnd, decoder_bytes};
use crate::ffmpeg::probe::Video;
use crate::ffmpeg::segment::Segment;
use crate::limits;
use crate::media::sample::{Sampling, SamplingSettings, segments};
use crate::media::still::DecodeLimits;

/// Changes with everything here and in [`crate::ffmpeg`] that changes a frame or which frames are taken.
pub const VIDEO_VERSION: u32 = 2;

/// How videos are looked at.
#[derive(Debug, Clone, Copy)]
pub struct VideoSettings {
    pub sampling: SamplingSettings,
    pub limits: DecodeLimits,
    /// Decoders that one video may keep busy.
    pub side_by_side: usize,
}

/// Sends the wanted frames of `file`; `media` learns what the video is and how decoding went. Ends early where nobody
/// takes them.
///
/// # Errors
/// The row's rejection, where there is not one frame, or where the decoder had to be stopped.
pub async fn decode(
    ffmpeg: &Ffmpeg,
    file: &File,
    demuxer: &str,
    settings: &VideoSettings,
    budget: &ByteBudget,
    media: &mut Media,
    output: Sender<Frame>,
) -> Result<(), Rejection> {
    let start = Instant::now();
    let SamplingSettings { sampling, .. } = settings.sampling;
    let video = ffmpeg.probe(file, demuxer, sampling == Sampling::Keyframes).await?;
    let probing = start.elapsed();
    media.codec = Some(video.codec);
    media.size_px = Some(video.size_px);
    media.duration_s = Some(video.table.duration_s());
    let wanted = sampling.of_video(&video.table);
    media.frames_sampled = i32::try_from(wanted.len()).ok();
    settings.sampling.check(&wanted)?;
    let (reserved, side_by_side) = set_aside(&video, settings, budget).await?;
    let (width, height) = video.coded_px;
    let pieces = segments(&wanted, &video.table, sampling, u64::from(width) * u64::from(height));

    let (decoded_in, mut decoded) = mpsc::channel(1);
    let (ffmpeg, pieces_of) = (&ffmpeg, &video);
    let decoding = async {
        let ends = futures::stream::iter(pieces).map(|piece| {
            let decoded_in = decoded_in.clone();
            async move { decode_piece(ffmpeg, file, demuxer, pieces_of, piece, &decoded_in).await }
        });
        let ends = ends.buffered(side_by_side).try_collect::<Vec<_>>().await;
        drop(decoded_in);
        ends
    };
    let mut had = BTreeSet::new();
    let reserved = Arc::new(reserved);
    let forwarding = async {
        while let Some(DecodedFrame { time, picture }) = decoded.recv().await {
            let index = video.table.frame_at(time);
            // Two pieces may give the same frame in the place of ones that cannot be had.
            if !had.insert(index) {
                continue;
            }
            let frame = Frame {
                index: index as i32,
                pts_s: Some(video.table.pts_s(video.table.time(index))),
                picture,
                reserved: Arc::clone(&reserved),
            };
            if output.send(frame).await.is_err() {
                break;
            }
        }
        drop(decoded);
    };
    let (ends, ()) = tokio::join!(decoding, forwarding);
    let ends: Vec<SegmentEnd> = ends?;
    let complaints: Vec<&str> = ends.iter().flat_map(|end| &end.complaints).map(String::as_str).collect();
    let busy: Duration = ends.iter().map(|end| end.busy).sum();
    media.seconds.decode = (probing + busy).as_secs_f64();
    media.decoder_message = restart(&video).or_else(|| complaints.first().map(|first| (*first).to_owned()));
    let missing = wanted.len().saturating_sub(had.len());
    if missing > 0 && media.decoder_message.is_none() && !output.is_closed() {
        media.decoder_message =
            Some(format!("{missing} of {} frames could not be had; the decoder gave no reason", wanted.len()));
    }
    if had.is_empty() && !output.is_closed() {
        let why = complaints.first().unwrap_or(&"the decoder gave none");
        return Err(Rejection::new(
            RejectionClass::Corrupt,
            format_args!("expected {} frames, found none: {why}", wanted.len()),
        ));
    }
    Ok(())
}

/// What lies behind a clock that starts again has the times of what lies before it, and cannot be asked for.
fn restart(video: &Video) -> Option<String> {
    let (before, behind) = (video.table.frames(), video.table.behind_restart);
    (behind > 0).then(|| {
        format!("the clock starts again behind {before} frames, as where recordings were joined; {behind} more are not looked at")
    })
}

/// From a key where there is one. Where that gives less than it should, once more: with every frame decoded where only
/// key frames were, since some of them a decoder shows only so; else from an earlier place, since an index may lie and
/// a demuxer may land behind the key.
async fn decode_piece(
    ffmpeg: &Ffmpeg,
    file: &File,
    demuxer: &str,
    video: &Video,
    piece: Segment,
    output: &Sender<DecodedFrame>,
) -> Result<SegmentEnd, Rejection> {
    let end = ffmpeg.decode(file, demuxer, video, &piece, output).await;
    match end {
        Ok(first)
            if first.frames < piece.wanted() && (piece.key.is_some() || piece.keys_only) && !output.is_closed() =>
        {
            let earlier = piece.key.filter(|_| first.frames > 0).and_then(|key| video.table.key_before(key.time - 1));
            let again =
                if piece.keys_only { Segment { keys_only: false, ..piece } } else { Segment { key: earlier, ..piece } };
            let mut end = or_complaint(ffmpeg.decode(file, demuxer, video, &again, output).await)?;
            end.busy += first.busy;
            Ok(end)
        }
        end => or_complaint(end),
    }
}

/// A piece that cannot be had does not take the others with it, nor what a first try had of it.
fn or_complaint(end: Result<SegmentEnd, Rejection>) -> Result<SegmentEnd, Rejection> {
    match end {
        Err(Rejection { class: RejectionClass::Corrupt, message }) => {
            Ok(SegmentEnd { complaints: vec![message], ..SegmentEnd::default() })
        }
        end => end,
    }
}

/// Memory for the decoders and the frames on their way; and how many decoders that is for.
async fn set_aside(
    video: &Video,
    settings: &VideoSettings,
    budget: &ByteBudget,
) -> Result<(Reserved, usize), Rejection> {
    let (width, height) = video.size_px;
    let DecodeLimits { max_decode_bytes, .. } = settings.limits;
    let pixels = settings.limits.check_size(video.coded_px).and(settings.limits.check_size(video.size_px))?;
    let bytes = |decoders: usize| {
        let frames = (decoders + limits::VIDEO_FRAMES_IN_FLIGHT + 2) as u64;
        frames * pixels * 3 + decoders as u64 * decoder_bytes(video)
    };
    let side_by_side = (1..=settings.side_by_side).rev().find(|decoders| bytes(*decoders) <= max_decode_bytes);
    let refused = || {
        Rejection::new(
            RejectionClass::TooLarge,
            format_args!(
                "expected a video that takes at most {max_decode_bytes} bytes to decode (a part of --memory), found one of \
                 {width}×{height} that takes {}; give more --memory",
                bytes(1)
            ),
        )
    };
    let side_by_side = side_by_side.ok_or_else(refused)?;
    let reserved = budget.reserve(bytes(side_by_side)).await.ok_or_else(refused)?;
    Ok((reserved, side_by_side))
}
