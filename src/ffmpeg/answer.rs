//! What ffprobe answers, as types.

use serde::Deserialize;
use serde::de::Deserializer;

use super::json::Elements;
use super::packets::{Packet, check_packets};
use super::table::TimeBase;
use crate::error::{Rejection, RejectionClass};

/// Everything that one call of ffprobe said.
#[derive(Debug, Default)]
pub struct Answer {
    pub streams: Vec<Stream>,
    pub packets: Vec<(u32, Packet)>,
    /// Decoded frames, of which only times and whether they are keys are kept.
    pub frames: Vec<Packet>,
    /// The first of them, with all that is known of it.
    pub first: Option<Frame>,
    /// When the container starts, all streams together.
    pub start_s: Option<f64>,
    elements: Elements,
}

/// A video stream, as the container and the first packets describe it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Stream {
    pub index: u32,
    pub codec_name: String,
    pub codec_tag_string: String,
    pub codec_tag: String,
    pub width: u32,
    pub height: u32,
    pub sample_aspect_ratio: String,
    pub has_b_frames: u32,
    pub field_order: String,
    pub time_base: String,
    pub avg_frame_rate: String,
    pub r_frame_rate: String,
    pub pix_fmt: String,
    pub level: i32,
    pub color_transfer: Option<String>,
    pub color_primaries: Option<String>,
    pub color_space: Option<String>,
    pub disposition: Disposition,
    pub side_data_list: Vec<SideData>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct Disposition {
    pub default: u8,
    pub attached_pic: u8,
    pub timed_thumbnails: u8,
}

/// Side data of a stream, a frame or a packet.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SideData {
    pub side_data_type: String,
    pub displaymatrix: Option<String>,
    pub dv_profile: Option<u32>,
    pub dv_bl_signal_compatibility_id: Option<u32>,
}

/// A decoded frame.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Frame {
    pub key_frame: u8,
    pub best_effort_timestamp: Option<i64>,
    pub duration: Option<i64>,
    /// What releases before 6.0 call the duration; some have both.
    pub pkt_duration: Option<i64>,
    pub width: u32,
    pub height: u32,
    pub pix_fmt: String,
    pub color_transfer: Option<String>,
    pub side_data_list: Vec<SideData>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PacketLine {
    stream_index: u32,
    pts: Option<i64>,
    dts: Option<i64>,
    duration: Option<i64>,
    flags: String,
    #[serde(deserialize_with = "is_encrypted")]
    side_data_list: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Format {
    start_time: Option<String>,
}

/// Nothing else of a packet's side data is of interest, and a long video has millions of them.
fn is_encrypted<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let list = Vec::<SideData>::deserialize(deserializer)?;
    Ok(list.iter().any(|data| data.side_data_type == "Encryption info"))
}

impl Answer {
    /// Takes the next bytes of ffprobe's JSON.
    ///
    /// # Errors
    /// More packets or frames than a video of a day has.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Rejection> {
        let mut elements = std::mem::take(&mut self.elements);
        let taken = elements.take(bytes, |name, element| self.element(name, element));
        self.elements = elements;
        taken
    }

    fn element(&mut self, name: &str, element: &[u8]) -> Result<(), Rejection> {
        let wrong = |e: serde_json::Error| {
            Rejection::new(RejectionClass::Corrupt, format_args!("ffprobe: unexpected words about {name}: {e}"))
        };
        match name {
            "packets" => {
                check_packets(self.packets.len() + 1)?;
                let line: PacketLine = serde_json::from_slice(element).map_err(wrong)?;
                self.packets.push((line.stream_index, line.into()));
            }
            "frames" => {
                check_packets(self.frames.len() + 1)?;
                let frame: Frame = serde_json::from_slice(element).map_err(wrong)?;
                self.frames.push(Packet::from(&frame));
                self.first.get_or_insert(frame);
            }
            "streams" => self.streams.push(serde_json::from_slice(element).map_err(wrong)?),
            "format" => {
                let format: Format = serde_json::from_slice(element).map_err(wrong)?;
                self.start_s = format.start_time.and_then(|start| start.parse().ok());
            }
            _ => {}
        }
        Ok(())
    }
}

impl From<PacketLine> for Packet {
    fn from(line: PacketLine) -> Self {
        Self {
            pts: line.pts,
            dts: line.dts,
            duration: line.duration,
            is_key: line.flags.contains('K'),
            is_hidden: line.flags.contains('D'),
            is_encrypted: line.side_data_list,
        }
    }
}

impl From<&Frame> for Packet {
    fn from(frame: &Frame) -> Self {
        Self {
            pts: frame.best_effort_timestamp,
            dts: None,
            duration: frame.duration.or(frame.pkt_duration),
            is_key: frame.key_frame == 1,
            is_hidden: false,
            is_encrypted: false,
        }
    }
}

impl Stream {
    /// Not a cover picture or a list of thumbnails.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.disposition.attached_pic == 0 && self.disposition.timed_thumbnails == 0
    }

    #[must_use]
    pub fn is_progressive(&self) -> bool {
        ["progressive", "unknown", ""].contains(&self.field_order.as_str())
    }

    #[must_use]
    pub fn time_base(&self) -> Option<TimeBase> {
        ratio(&self.time_base, '/').map(|(num, den)| TimeBase { num, den })
    }

    /// Frames a second: of the whole stream, or of its clock where that is unknown.
    #[must_use]
    pub fn frame_rate(&self) -> Option<f64> {
        let (num, den) = ratio(&self.avg_frame_rate, '/').or_else(|| ratio(&self.r_frame_rate, '/'))?;
        Some(f64::from(num) / f64::from(den))
    }

    /// Width of a stored pixel by its height.
    #[must_use]
    pub fn pixel_aspect(&self) -> f64 {
        let stretch = ratio(&self.sample_aspect_ratio, ':').map_or(1.0, |(num, den)| f64::from(num) / f64::from(den));
        // Nobody films with pixels four times as wide as they are high: such a ratio is noise.
        if (0.25..=4.0).contains(&stretch) { stretch } else { 1.0 }
    }
}

fn ratio(text: &str, between: char) -> Option<(u32, u32)> {
    let (num, den) = text.split_once(between)?;
    Some((num.parse().ok().filter(|n| *n > 0)?, den.parse().ok().filter(|n| *n > 0)?))
}
