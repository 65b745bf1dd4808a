//! A segment of a video → its wanted frames as RGB8, upright, with square pixels, by one ffmpeg.

use std::fs::File;
use std::time::{Duration, Instant};

use image::RgbImage;
use tokio::sync::mpsc::Sender;

use super::probe::Video;
use super::segment::Segment;
use super::{CODECS, Ffmpeg, MEDIA};
use crate::error::{Rejection, RejectionClass};
use crate::limits;

/// One frame as the decoder gave it.
#[derive(Debug)]
pub struct DecodedFrame {
    /// When it is shown, in the stream's units.
    pub time: i64,
    pub picture: RgbImage,
}

/// How a segment ended.
#[derive(Debug, Default)]
pub struct SegmentEnd {
    /// Frames that were had.
    pub frames: usize,
    /// What the decoder complained of, first things first.
    pub complaints: Vec<String>,
    /// How long the decoder was waited for.
    pub busy: Duration,
}

impl Ffmpeg {
    /// Sends the wanted frames as they come; ends early where nobody takes them.
    ///
    /// # Errors
    /// A decoder that hangs, takes too long or too much memory, or breaks before its first frame. One that breaks later
    /// ends the segment: its complaints say why.
    pub async fn decode(
        &self,
        file: &File,
        demuxer: &str,
        video: &Video,
        segment: &Segment,
        output: &Sender<DecodedFrame>,
    ) -> Result<SegmentEnd, Rejection> {
        let _permit = self.running.acquire().await;
        let words = self.decode_words(demuxer, video, segment);
        let limits = self.limits(decoder_bytes(video).saturating_mul(2) + limits::DECODER_ADDRESS_SPACE_BYTES);
        let mut waiting = Instant::now();
        let mut child = self.contained.spawn(&self.ffmpeg, &words, file, &limits)?;
        let (width, height) = video.size_px;
        let mut end = SegmentEnd::default();
        let stopped = loop {
            let mut pixels = vec![0; width as usize * height as usize * 3];
            match child.read_exact(&mut pixels).await {
                Ok(true) => {}
                Ok(false) => break None,
                Err(rejection) => break Some(rejection),
            }
            let time = match child.next_frame_time().await {
                Ok(time) => time,
                Err(rejection) => break Some(rejection),
            };
            let (Some(time), Some(picture)) = (time, RgbImage::from_raw(width, height, pixels)) else {
                break Some(Rejection::new(RejectionClass::Corrupt, "expected the time of a frame, found none"));
            };
            end.frames += 1;
            end.busy += waiting.elapsed();
            if output.send(DecodedFrame { time, picture }).await.is_err() {
                return Ok(end);
            }
            waiting = Instant::now();
        };
        let finished = match stopped {
            Some(rejection) => Err(rejection),
            None => child.finish().await,
        };
        end.busy += waiting.elapsed();
        match finished {
            Ok(complaints) => end.complaints = complaints,
            Err(rejection) if end.frames > 0 && rejection.class != RejectionClass::TimedOut => {
                end.complaints.push(rejection.message);
            }
            Err(rejection) => return Err(rejection),
        }
        Ok(end)
    }

    fn decode_words(&self, demuxer: &str, video: &Video, segment: &Segment) -> Vec<String> {
        let Video { table, size_px: (width, height), .. } = video;
        let mut words: Vec<String> = ["-nostdin", "-hide_banner"].map(str::to_owned).to_vec();
        words.extend(Self::words(demuxer));
        // ffprobe must open what it does not know, to say what it is; what is decoded further is of the list.
        words.extend(["-codec_whitelist".to_owned(), format!("{},libdav1d", CODECS.join(","))]);
        let mut push = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
        push(&["-max_pixels", &limits::MAX_PIXELS.to_string()]);
        // Several segments run side by side, so each has one thread; and what a broken stream looks like must not depend
        // on how many there are.
        push(&["-threads", "1", "-copyts", "-noaccurate_seek", "-seek_timestamp", "1"]);
        if segment.keys_only && !video.has_decode_times_only {
            push(&["-skip_frame", "nokey"]);
        }
        if let Some(seek_s) = segment.seek_s(table, demuxer == "mpegts", video.reorders) {
            push(&["-ss", &format!("{seek_s:.6}")]);
        }
        let end = table.time(segment.last_wanted()) + table.time_base.units(limits::DECODE_BEYOND_SECS).max(1);
        // Printed where the stream's own times still hold, and before the frame itself is written.
        let print = "metadata=mode=add:key=k:value=v,metadata=mode=print:key=k:direct=1:file='pipe\\:2'";
        let deinterlace = if video.may_be_interlaced { "estdif=mode=frame:deint=interlaced," } else { "" };
        let filters = format!(
            "trim=end_pts={end},select='{}',{print},{deinterlace}scale={width}:{height},setsar=1,format=rgb24",
            segment.select(table)
        );
        push(&["-i", MEDIA, "-map", "0:V:0", "-an", "-sn", "-dn", "-vf", &filters]);
        push(self.passthrough());
        push(&["-frames:v", &segment.wanted().to_string(), "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]);
        words
    }
}

/// What a decoder holds of a video: the pictures that others refer to, as they are decoded.
#[must_use]
pub fn decoder_bytes(video: &Video) -> u64 {
    let (width, height) = video.coded_px;
    let picture_bytes = u64::from(width) * u64::from(height) * video.pixel_half_bytes / 2;
    picture_bytes * limits::DECODER_PICTURES + limits::DECODER_BASE_BYTES
}
