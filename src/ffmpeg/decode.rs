//! A segment of a video → its wanted frames, upright, with square pixels, by one ffmpeg.

use std::time::{Duration, Instant};

use image::{ImageBuffer, Rgb, RgbImage};
use tokio::sync::mpsc::Sender;

use super::complaint::Severity;
use super::formats::{decoder_list, seeks};
use super::matrix;
use super::segment::Segment;
use super::video::Video;
use super::{Ffmpeg, MediaFile};
use crate::error::{Rejection, RejectionClass};
use crate::limits;

/// One frame as the decoder gave it.
#[derive(Debug)]
pub struct DecodedFrame {
    /// The piece that it was decoded for, as the caller numbers them.
    pub piece: usize,
    /// Its number in the video.
    pub index: usize,
    pub picture: Picture,
}

/// The samples of a frame.
#[derive(Debug)]
pub enum Picture {
    Sdr(RgbImage),
    /// 16 bits a sample, by the transfer function that the video states.
    Hdr(ImageBuffer<Rgb<u16>, Vec<u16>>),
}

/// How a segment ended.
#[derive(Debug, Default)]
pub struct SegmentEnd {
    /// Frames that were decoded.
    pub frames: usize,
    /// What the decoder complained of, first things first.
    pub complaints: Vec<String>,
    /// How long the decoder was waited for.
    pub busy: Duration,
}

impl Ffmpeg {
    /// Sends the wanted frames as they come; ends early where nobody takes them, and before a frame where the decoder had
    /// complained of something worse than `accepted`.
    ///
    /// # Errors
    /// A decoder that hangs, takes too long or too much memory, or breaks before its first frame. One that breaks later
    /// ends the segment: its complaints say why.
    pub async fn decode(
        &self,
        media: MediaFile<'_>,
        video: &Video,
        segment: &Segment,
        accepted: Severity,
        piece: usize,
        output: &Sender<DecodedFrame>,
    ) -> Result<SegmentEnd, Rejection> {
        let _permit = self.running.acquire().await;
        let words = self.decode_words(media, video, segment);
        let limits = self.limits(video.decoder_bytes().saturating_mul(2) + limits::DECODER_ADDRESS_SPACE_BYTES);
        let mut waiting = Instant::now();
        let mut child = self.contained.spawn(&self.ffmpeg, &words, media.file, &limits)?;
        let (width, height) = video.size_px();
        let sample_bytes = if video.is_hdr() { 2 } else { 1 };
        let mut wanted = segment.frames();
        let mut end = SegmentEnd::default();
        let stopped = loop {
            let mut samples = vec![0; width as usize * height as usize * 3 * sample_bytes];
            match child.read_exact(&mut samples).await {
                Ok(true) => {}
                Ok(false) => break None,
                Err(rejection) => break Some(rejection),
            }
            let said = match child.next_frame().await {
                Ok(said) => said,
                Err(rejection) => break Some(rejection),
            };
            let nameless = || Some(Rejection::new(RejectionClass::Corrupt, "expected the time of a frame, found none"));
            let Some(said) = said else { break nameless() };
            if said.worst > accepted {
                end.complaints = child.complaints();
                end.busy += waiting.elapsed();
                return Ok(end);
            }
            let index =
                if video.table.is_counted { wanted.next() } else { said.time.map(|time| video.table.frame_at(time)) };
            let (Some(index), Some(picture)) = (index, picture(width, height, samples, video.is_hdr())) else {
                break nameless();
            };
            end.frames += 1;
            end.busy += waiting.elapsed();
            if output.send(DecodedFrame { piece, index, picture }).await.is_err() {
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

    fn decode_words(&self, media: MediaFile<'_>, video: &Video, segment: &Segment) -> Vec<String> {
        let table = &video.table;
        let mut words: Vec<String> = ["-nostdin", "-hide_banner"].map(str::to_owned).to_vec();
        words.extend(Self::words(media));
        // ffprobe must open what it does not know, to say what it is; what is decoded further is of the list.
        words.extend(["-codec_whitelist".to_owned(), decoder_list()]);
        let mut push = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
        push(&["-max_pixels", &limits::MAX_PIXELS.to_string()]);
        // Several segments run side by side, so each has one thread; and what a broken stream looks like must not depend
        // on how many there are. Filters stay as they are where the size changes, since they count frames.
        push(&["-threads", "1", "-copyts", "-noaccurate_seek", "-seek_timestamp", "1"]);
        push(&["-noautorotate", "-reinit_filter", "0"]);
        if segment.keys_only && !video.has_decode_times_only {
            push(&["-skip_frame", "nokey"]);
        }
        if let Some(seek_s) = segment.seek_s(table, seeks(media.demuxer), video.reorders) {
            push(&["-ss", &format!("{seek_s:.6}")]);
        }
        let filters = filters(video, segment);
        push(&["-i", &media.url(), "-map", &format!("0:{}", video.stream), "-an", "-sn", "-dn", "-vf", &filters]);
        push(self.passthrough());
        let format = pixel_format(video);
        push(&["-frames:v", &segment.wanted().to_string(), "-f", "rawvideo", "-pix_fmt", format, "pipe:1"]);
        words
    }
}

fn pixel_format(video: &Video) -> &'static str {
    if video.is_hdr() { "rgb48le" } else { "rgb24" }
}

fn filters(video: &Video, segment: &Segment) -> String {
    let table = &video.table;
    let ((coded_width, coded_height), (width, height)) = (video.coded_px, video.square_px);
    let trim = if table.is_counted {
        String::new()
    } else {
        let end = table.time(segment.last_wanted()) + table.time_base.units(limits::DECODE_BEYOND_SECS).max(1);
        format!("trim=end_pts={end},")
    };
    // Printed where the stream's own times still hold, and before the frame itself is written.
    let print = "metadata=mode=add:key=k:value=v,metadata=mode=print:key=k:direct=1:file='pipe\\:2'";
    // The filter for interlaced lines must see frames of one size only: it does not check.
    let deinterlace = match video.may_be_interlaced {
        true => format!("scale={coded_width}:{coded_height},estdif=mode=frame:deint=interlaced,"),
        false => String::new(),
    };
    let matrix = match video.is_hdr() {
        true if video.has_color_space => ":flags=bicubic+accurate_rnd+full_chroma_int",
        true => ":in_color_matrix=bt2020:flags=bicubic+accurate_rnd+full_chroma_int",
        false => "",
    };
    // A frame of another size than the first keeps its shape: it is fitted in, with black around it.
    let fit = format!("min({width}/(iw*sar),{height}/ih)");
    let side = |full: u32, own: &str| {
        format!("'if(eq(iw,{coded_width})*eq(ih,{coded_height}),{full},max(1,round({own}*{fit})))'")
    };
    format!(
        "{trim}select='{}',{print},{deinterlace}scale=w={}:h={}:eval=frame{matrix},setsar=1,format={},\
         pad={width}:{height}:(ow-iw)/2:(oh-ih)/2:eval=frame{}",
        segment.select(table),
        side(width, "iw*sar"),
        side(height, "ih"),
        pixel_format(video),
        matrix::filters(video.orientation)
    )
}

fn picture(width: u32, height: u32, samples: Vec<u8>, is_hdr: bool) -> Option<Picture> {
    if !is_hdr {
        return RgbImage::from_raw(width, height, samples).map(Picture::Sdr);
    }
    let samples = samples.chunks_exact(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]])).collect();
    ImageBuffer::from_raw(width, height, samples).map(Picture::Hdr)
}
