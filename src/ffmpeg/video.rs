//! What is known of a video before its frames are decoded.

use image::metadata::Orientation;

use super::answer::{Frame, Stream};
use super::formats::Codec;
use super::matrix;
use super::table::FrameTable;
use crate::error::{Rejection, RejectionClass};
use crate::limits;

/// A video stream that can be decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Video {
    /// The stream's number in the file.
    pub stream: u32,
    pub codec: Codec,
    /// As coded: width and height of a decoded frame.
    pub coded_px: (u32, u32),
    /// Of one decoded pixel, all planes together, in half bytes.
    pub pixel_half_bytes: u64,
    /// With square pixels, before it is turned.
    pub square_px: (u32, u32),
    pub orientation: Orientation,
    /// As the stream states it, in ffmpeg's words.
    pub color_transfer: Option<String>,
    /// As the stream states them, in ffmpeg's words.
    pub color_primaries: Option<String>,
    /// Whether the stream states by which matrix its colours are coded.
    pub has_color_space: bool,
    /// Whether lines may have been taken at different times.
    pub may_be_interlaced: bool,
    /// Frames are stored in another order than they are shown.
    pub reorders: bool,
    /// Its times say when a frame is decoded; how much later it is shown depends on what was decoded before.
    pub has_decode_times_only: bool,
    /// Pictures that a decoder holds at once.
    pub held_pictures: u64,
    pub table: FrameTable,
    /// What is odd about it, for the row.
    pub note: Option<String>,
}

impl Video {
    /// `first`: its first decoded frame, where the container's word on the size is not to be trusted.
    ///
    /// # Errors
    /// A video without a size.
    pub fn new(
        codec: Codec,
        stream: &Stream,
        first: Option<&Frame>,
        table: FrameTable,
        has_decode_times_only: bool,
        note: Option<String>,
    ) -> Result<Self, Rejection> {
        let sized = first.filter(|frame| frame.width > 0 && frame.height > 0);
        let coded_px = sized.map_or((stream.width, stream.height), |frame| (frame.width, frame.height));
        if coded_px.0 == 0 || coded_px.1 == 0 {
            let message = format!("expected a video with a size, found {}×{}", coded_px.0, coded_px.1);
            return Err(Rejection::new(RejectionClass::Corrupt, message));
        }
        let pixels = sized.filter(|frame| !frame.pix_fmt.is_empty()).map_or(&stream.pix_fmt, |frame| &frame.pix_fmt);
        let of_frame = sized.and_then(|frame| frame.color_transfer.clone());
        let known = |transfer: &String| transfer != "unknown" && !transfer.is_empty();
        // What the container says of the picture's place goes before what a frame says.
        let turned = matrix::orientation(&stream.side_data_list);
        let orientation = match (turned, sized) {
            (Orientation::NoTransforms, Some(frame)) => matrix::orientation(&frame.side_data_list),
            (turned, _) => turned,
        };
        Ok(Self {
            stream: stream.index,
            codec,
            coded_px,
            pixel_half_bytes: pixel_half_bytes(pixels),
            square_px: square_px(coded_px, stream.pixel_aspect()),
            orientation,
            color_transfer: of_frame.filter(known).or_else(|| stream.color_transfer.clone().filter(known)),
            color_primaries: stream.color_primaries.clone().filter(known),
            has_color_space: stream.color_space.as_ref().is_some_and(known),
            // A filter for interlaced lines wants three of them.
            may_be_interlaced: stream.field_order != "progressive" && coded_px.1 >= 3,
            reorders: stream.has_b_frames > 0,
            has_decode_times_only,
            held_pictures: held_pictures(codec, stream.level, coded_px),
            table,
            note,
        })
    }

    /// As a viewer sees it: turned upright, with square pixels.
    #[must_use]
    pub fn size_px(&self) -> (u32, u32) {
        let (width, height) = self.square_px;
        if matrix::swaps_sides(self.orientation) { (height, width) } else { (width, height) }
    }

    /// Whether its pictures are HDR (PQ or HLG, BT.2100), which other screens show flat and grey: their frames come with
    /// 16 bits a sample, as they are coded.
    #[must_use]
    pub fn is_hdr(&self) -> bool {
        matches!(self.color_transfer.as_deref(), Some("smpte2084" | "arib-std-b67"))
    }

    /// Bytes that a decoder holds of it: the pictures that others refer to, as they are decoded.
    #[must_use]
    pub fn decoder_bytes(&self) -> u64 {
        self.picture_bytes() * self.held_pictures + limits::DECODER_BASE_BYTES
    }

    /// Bytes of one picture, as it is decoded.
    #[must_use]
    pub fn picture_bytes(&self) -> u64 {
        u64::from(self.coded_px.0) * u64::from(self.coded_px.1) * self.pixel_half_bytes / 2
    }
}

/// The side that is too short grows: nothing that was filmed is lost.
fn square_px((width, height): (u32, u32), stretch: f64) -> (u32, u32) {
    let (width, height) = (f64::from(width), f64::from(height));
    let (width, height) = if stretch >= 1.0 { (width * stretch, height) } else { (width, height / stretch) };
    (width.round() as u32, height.round() as u32)
}

/// By ffmpeg's name of the format, such as `yuv420p10le`; the most that there is for one that tells nothing.
#[must_use]
pub fn pixel_half_bytes(format: &str) -> u64 {
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

/// The pictures that a decoder may have to keep, and [`limits::DECODER_PICTURES_ON_THEIR_WAY`] more. H.264 (table A-1)
/// and HEVC (A.4.2) keep the fewer the larger they are, down to six at the largest size of a level.
fn held_pictures(codec: Codec, level: i32, (width, height): (u32, u32)) -> u64 {
    let kept = match codec.name {
        _ if codec.is_intra_only => 1,
        "h264" => {
            let macroblocks = u64::from(width.div_ceil(16)) * u64::from(height.div_ceil(16));
            (h264_macroblocks(level) / macroblocks).clamp(1, 16)
        }
        "hevc" => {
            let (most, pixels) = (hevc_samples(level), u64::from(width) * u64::from(height));
            match pixels {
                _ if pixels <= most / 4 => 16,
                _ if pixels <= most / 2 => 12,
                _ if pixels <= most / 4 * 3 => 8,
                _ => 6,
            }
        }
        "vp9" | "av1" => 10,
        "vp8" | "theora" | "vp6f" | "vp6a" => 4,
        _ => 3,
    };
    kept + limits::DECODER_PICTURES_ON_THEIR_WAY
}

/// MaxDpbMbs of a level of H.264; of the highest where the level is unknown.
fn h264_macroblocks(level: i32) -> u64 {
    match level {
        1..=10 => 396,
        11 => 900,
        12 | 13 | 20 => 2_376,
        21 => 4_752,
        22 | 30 => 8_100,
        31 => 18_000,
        32 => 20_480,
        40 | 41 => 32_768,
        42 => 34_816,
        50 => 110_400,
        51 | 52 => 184_320,
        _ => 696_320,
    }
}

/// MaxLumaPs of a level of HEVC, which ffmpeg counts in thirtieths; of the highest where the level is unknown.
fn hevc_samples(level: i32) -> u64 {
    match level {
        1..=30 => 36_864,
        31..=60 => 122_880,
        61..=63 => 245_760,
        64..=90 => 552_960,
        91..=93 => 983_040,
        94..=123 => 2_228_224,
        124..=156 => 8_912_896,
        _ => 35_651_584,
    }
}
