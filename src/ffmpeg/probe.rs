//! A file → what video is in it, by ffprobe: codec, size, orientation, and when each frame is shown. Nothing is decoded
//! but what it takes to know the stream; and all of VP8, whose containers do not say which packets are shown, and of
//! AVI with reordered frames where key frames are wanted, because it does not say where those are shown.

use std::fs::File;

use super::child::Running;
use super::table::{FrameTable, Packet, TimeBase, check_packets};
use super::{CODECS, Ffmpeg, MEDIA};
use crate::error::{Rejection, RejectionClass};
use crate::limits;

/// What a file's first video stream that is no cover picture holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Video {
    pub codec: &'static str,
    /// As coded.
    pub coded_px: (u32, u32),
    /// Of one decoded pixel, all planes together, in half bytes.
    pub pixel_half_bytes: u64,
    /// As a viewer sees it: turned upright, with square pixels.
    pub size_px: (u32, u32),
    /// Whether lines may have been taken at different times.
    pub may_be_interlaced: bool,
    /// Frames are stored in another order than they are shown.
    pub reorders: bool,
    /// Its times say when a frame is decoded; how much later it is shown depends on what was decoded before.
    pub has_decode_times_only: bool,
    pub table: FrameTable,
}

/// What was asked for, as ffprobe says it.
#[derive(Debug, Default)]
struct Answer {
    packets: Vec<Packet>,
    stream: Option<Stream>,
    start_s: Option<f64>,
}

#[derive(Debug, Default)]
struct Stream {
    codec: String,
    width_px: u32,
    height_px: u32,
    pixel_aspect: Option<(u32, u32)>,
    rotation_degrees: f64,
    field_order: String,
    /// Frames are stored in another order than they are shown.
    has_b_frames: bool,
    time_base: Option<TimeBase>,
    pixel_format: String,
}

const STREAM: &str = "stream=codec_name,pix_fmt,width,height,sample_aspect_ratio,has_b_frames,field_order,time_base:stream_tags=rotate:\
                      stream_side_data=rotation:format=start_time";

impl Ffmpeg {
    /// `wants_keys`: whether it matters which frames are key frames, beyond where decoding can start.
    ///
    /// # Errors
    /// The row's rejection: no video stream, a codec that is not decoded, a file that breaks its format's rules.
    pub async fn probe(&self, file: &File, demuxer: &str, wants_keys: bool) -> Result<Video, Rejection> {
        let packets = format!("packet=pts,dts,duration,flags:{STREAM}");
        let answer = self.ask(file, demuxer, &["-show_entries", &packets]).await?;
        let Some(stream) = answer.stream else {
            let message = "expected a video stream, found none (sound, or cover pictures alone)";
            return Err(Rejection::new(RejectionClass::NoVideo, message));
        };
        let Some(codec) = CODECS.into_iter().find(|codec| *codec == stream.codec) else {
            let message = format!("expected one of the codecs {}, found {}", CODECS.join(", "), stream.codec);
            return Err(Rejection::new(RejectionClass::Unsupported, message));
        };
        let time_base = stream.time_base.ok_or_else(|| {
            Rejection::new(RejectionClass::Corrupt, "expected a time base of the video stream, found none")
        })?;
        let start = answer.start_s.map(|seconds| (seconds / time_base.seconds(1)).round() as i64);
        let no_pts = |packet: &Packet| packet.pts.is_none() && !packet.is_hidden;
        let has_decode_times_only = codec != "vp8" && answer.packets.iter().any(no_pts);
        let keys_are_elsewhere = wants_keys && has_decode_times_only && stream.has_b_frames;
        let table = if codec == "vp8" || keys_are_elsewhere {
            let frames = ["-show_entries", "frame=best_effort_timestamp,duration,pkt_duration,key_frame"];
            let mut frames = self.ask(file, demuxer, &frames).await?.packets;
            fill_in(&mut frames);
            FrameTable::new(time_base, &frames, start.filter(|_| !has_decode_times_only))?
        } else if has_decode_times_only {
            // AVI says when a frame is decoded, not when it is shown: the order of the shown is known, and the decoder
            // says by how much it is late.
            let packets: Vec<Packet> =
                answer.packets.iter().map(|packet| Packet { pts: packet.dts, ..*packet }).collect();
            let first = ["-read_intervals", "%+#32", "-show_entries", "frame=best_effort_timestamp,key_frame"];
            let first = self.ask(file, demuxer, &first).await?.packets.iter().find_map(|frame| frame.pts);
            let table = FrameTable::new(time_base, &packets, None)?;
            match first {
                Some(first) => table.shifted_to(first)?,
                None => table,
            }
        } else {
            FrameTable::new(time_base, &answer.packets, start)?
        };
        Ok(Video {
            codec,
            coded_px: (stream.width_px, stream.height_px),
            pixel_half_bytes: pixel_half_bytes(&stream.pixel_format),
            size_px: stream.upright_size_px()?,
            // A filter for interlaced lines wants three of them.
            may_be_interlaced: stream.field_order != "progressive" && stream.height_px >= 3,
            reorders: stream.has_b_frames,
            has_decode_times_only,
            table,
        })
    }

    async fn ask(&self, file: &File, demuxer: &str, question: &[&str]) -> Result<Answer, Rejection> {
        let mut words = Self::words(demuxer);
        words.extend(["-select_streams", "V:0", "-of", "compact"].map(str::to_owned));
        words.extend(question.iter().map(|word| (*word).to_owned()));
        words.push(MEDIA.to_owned());
        let _permit = self.running.acquire().await;
        let limits = self.limits(limits::PROBE_ADDRESS_SPACE_BYTES);
        let mut child = self.contained.spawn(&self.ffprobe, &words, file, &limits)?;
        let answer = read(&mut child).await?;
        match child.finish().await {
            Ok(_) => Ok(answer),
            // Enough was read all the same: what the end is missing the decoder will say.
            Err(rejection) if answer.stream.is_some() && rejection.class == RejectionClass::Corrupt => Ok(answer),
            Err(rejection) => Err(rejection),
        }
    }
}

/// The frames that a decoder still held at the end of the file come without a time: each where the one before it ends,
/// from 0 on where there is none before it.
fn fill_in(frames: &mut [Packet]) {
    let mut next = if frames.iter().any(|frame| frame.pts.is_some()) { None } else { Some(0) };
    for frame in frames {
        frame.pts = frame.pts.or(next);
        next = frame.pts.and_then(|pts| pts.checked_add(frame.duration.unwrap_or(1).max(1)));
    }
}

/// Line by line, so that a long video's packets are never all there as text.
async fn read(child: &mut Running) -> Result<Answer, Rejection> {
    let mut answer = Answer::default();
    let (mut buffer, mut line) = (vec![0; 1 << 16], vec![]);
    loop {
        let count = child.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        for byte in &buffer[..count] {
            if *byte == b'\n' {
                answer.take(&String::from_utf8_lossy(&line))?;
                line.clear();
            } else if line.len() < limits::PROBE_LINE_BYTES {
                line.push(*byte);
            }
        }
    }
    answer.take(&String::from_utf8_lossy(&line))?;
    Ok(answer)
}

impl Answer {
    fn take(&mut self, line: &str) -> Result<(), Rejection> {
        let mut fields = line.split('|');
        let section = fields.next().unwrap_or_default();
        let fields = fields.filter_map(|field| field.split_once('='));
        match section {
            "packet" | "frame" => {
                check_packets(self.packets.len() + 1)?;
                self.packets.push(packet(fields));
            }
            "stream" => self.stream = Some(stream(fields)),
            "format" => {
                self.start_s =
                    fields.into_iter().find_map(|(key, value)| (key == "start_time").then(|| value.parse().ok())?)
            }
            _ => {}
        }
        Ok(())
    }
}

fn packet<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Packet {
    let mut packet = Packet { pts: None, dts: None, duration: None, is_key: false, is_hidden: false };
    for (key, value) in fields {
        match key {
            "pts" | "best_effort_timestamp" => packet.pts = value.parse().ok(),
            "dts" => packet.dts = value.parse().ok(),
            "duration" | "pkt_duration" => packet.duration = value.parse().ok(),
            "key_frame" => packet.is_key = value == "1",
            "flags" => (packet.is_key, packet.is_hidden) = (value.contains('K'), value.contains('D')),
            _ => {}
        }
    }
    packet
}

fn stream<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Stream {
    let ratio = |value: &str, between: char| -> Option<(u32, u32)> {
        let (num, den) = value.split_once(between)?;
        Some((num.parse().ok().filter(|n| *n > 0)?, den.parse().ok().filter(|n| *n > 0)?))
    };
    let mut stream = Stream::default();
    for (key, value) in fields {
        match key {
            "codec_name" => value.clone_into(&mut stream.codec),
            "width" => stream.width_px = value.parse().unwrap_or(0),
            "height" => stream.height_px = value.parse().unwrap_or(0),
            "sample_aspect_ratio" => stream.pixel_aspect = ratio(value, ':'),
            "has_b_frames" => stream.has_b_frames = value != "0",
            "field_order" => value.clone_into(&mut stream.field_order),
            "pix_fmt" => value.clone_into(&mut stream.pixel_format),
            "time_base" => stream.time_base = ratio(value, '/').map(|(num, den)| TimeBase { num, den }),
            "rotation" => stream.rotation_degrees = value.parse().unwrap_or(0.0),
            _ => {}
        }
    }
    stream
}

/// By ffmpeg's name of the format, such as `yuv420p10le`; the most that there is for one that tells nothing.
fn pixel_half_bytes(format: &str) -> u64 {
    let has = |words: &[&str]| words.iter().any(|word| format.contains(word));
    let samples = if has(&["420", "411", "410", "nv12", "nv21", "p010"]) {
        3
    } else if has(&["422", "440"]) {
        4
    } else if format.starts_with("gray") {
        2
    } else {
        6
    };
    let alpha = if format.starts_with("yuva") || format.starts_with("gbrap") { 2 } else { 0 };
    let is_deep = format.ends_with("le") || format.ends_with("be") || ["", "unknown"].contains(&format);
    (samples + alpha) * if is_deep { 2 } else { 1 }
}

impl Stream {
    /// ffmpeg turns by quarters; other angles stay in a frame of the same size.
    fn upright_size_px(&self) -> Result<(u32, u32), Rejection> {
        if self.width_px == 0 || self.height_px == 0 {
            let message = format!("expected a video with a size, found {}×{}", self.width_px, self.height_px);
            return Err(Rejection::new(RejectionClass::Corrupt, message));
        }
        let stretch = self.pixel_aspect.map_or(1.0, |(num, den)| f64::from(num) / f64::from(den));
        // Nobody films with pixels four times as wide as they are high: such a ratio is noise.
        let stretch = if (0.25..=4.0).contains(&stretch) { stretch } else { 1.0 };
        let (width, height) = (f64::from(self.width_px), f64::from(self.height_px));
        // The side that is too short grows: nothing that was filmed is lost.
        let (width, height) = if stretch >= 1.0 { (width * stretch, height) } else { (width, height / stretch) };
        let (width, height) = (width.round() as u32, height.round() as u32);
        let quarter = (self.rotation_degrees.rem_euclid(180.0) - 90.0).abs() <= 1.0;
        Ok(if quarter { (height, width) } else { (width, height) })
    }
}
