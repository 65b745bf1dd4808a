//! JPEG (T.81): bytes → RGB8, the pixels of libjpeg-turbo to the last bit, and so those of Pillow, OpenCV and the reference
//! detectors: a cascade answers to a grey level in a few of a hundred faces.
//!
//! What cameras and programs usually write goes to libjpeg-turbo-rs, which has SIMD and refuses all damage. What it cannot
//! read, and what is damaged, goes to the decoder of this folder: rare sampling factors, several baseline scans, restart
//! markers out of order, rubbish between segments, files that end early.

mod coder;
mod colour;
mod frame;
mod huffman;
mod idct;
mod scans;
mod segments;
mod standard;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use image::RgbImage;
use libjpeg_turbo_rs::{DecodeLimits as JpegLimits, Decoder as JpegDecoder, JpegError, PixelFormat};

pub(super) use self::colour::Space;
use self::colour::{Raster, raster};
use self::frame::{Frame, Outline};
use self::scans::{Faults, planes};
use super::{
    Damage, DecodeLimits, Decoded, Header, corrupt, left_by_ink, one_line, panic_text, rows_missing, unsupported,
};
use crate::error::{Rejection, RejectionClass};
use crate::limits;

pub(super) fn read_header(bytes: &Bytes, limits: DecodeLimits) -> Result<Header, Rejection> {
    let Outline { frame, told, scans, .. } = Outline::of(bytes)?;
    let size_px = (frame.width_px, frame.height_px);
    if !frame.has_whole_ratios() {
        return Err(unsupported("a JPEG whose sampling factors are no multiples of each other"));
    }
    if scans > limits::MAX_JPEG_SCANS {
        let message = format!("JPEG: expected at most {} scans, found {scans}", limits::MAX_JPEG_SCANS);
        return Err(Rejection::new(RejectionClass::TooLarge, message));
    }
    limits.check_size(size_px)?;
    // Planes of one byte a sample, and where there are several scans the coefficients, two bytes each. Four components are
    // one more step before they are RGB.
    let samples = frame.samples();
    let decoder_bytes = if frame.is_progressive() || scans > 1 { 3 * samples } else { samples };
    let pixels = u64::from(size_px.0) * u64::from(size_px.1);
    let ink = if frame.components.len() == 4 { 4 * pixels } else { 0 };
    // Segments of metadata are kept, and there may be megabytes of them.
    Header::new(size_px, told.orientation(), decoder_bytes + ink + bytes.len() as u64, limits)
}

pub(super) fn decode(bytes: &Bytes, damage: Damage) -> Result<Decoded, Rejection> {
    let outline = Outline::of(bytes)?;
    let refused = if outline.is_usual() {
        match by_turbo(bytes, &outline.frame) {
            Ok(picture) => return Ok(Decoded { picture, complaint: outline.complaint(&Faults::default()) }),
            Err(rejection) => Some(rejection),
        }
    } else {
        None
    };
    if !outline.frame.is_huffman() {
        let kind = if matches!(outline.frame.marker, 0xC3 | 0xCB) { "a lossless" } else { "an arithmetic" };
        return Err(refused.unwrap_or_else(|| corrupt(format_args!("JPEG: {kind} one that is damaged"))));
    }
    let (planes, faults) = planes(&outline.frame, &[], bytes)?;
    if damage == Damage::Refused
        && let Some(why) = faults.beyond_repair(&outline)
    {
        return Err(corrupt(format_args!("JPEG: {why}")));
    }
    let picture = rgb(raster(&outline.frame, &planes, outline.space())?, &outline.frame)?;
    Ok(Decoded { picture, complaint: outline.complaint(&faults) })
}

/// A tile or strip of a TIFF, which keeps its tables apart and says itself what the components are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub tables: &'a [u8],
    pub bytes: &'a [u8],
    pub space: Space,
    pub width_px: u32,
    /// Rows that are asked for, and those of every part but the last.
    pub rows: u32,
    pub most_rows: u32,
    pub components: usize,
}

/// Its samples, pixel by pixel.
///
/// # Errors
/// Another kind of JPEG than TIFF may hold, another size or number of components than expected, any damage.
pub(super) fn decode_part(part: &Part) -> Result<Vec<u8>, Rejection> {
    let Outline { frame, .. } = Outline::of(part.bytes)?;
    let (width, height, components) = (frame.width_px, frame.height_px, frame.components.len());
    let fits = (part.width_px..=part.width_px + 15).contains(&width)
        && (part.rows..=part.most_rows + 15).contains(&height)
        && components == part.components;
    if !fits {
        return Err(corrupt(format_args!(
            "JPEG in TIFF: expected a part of {}×{} with {} components, found one of {width}×{height} with {components}",
            part.width_px, part.rows, part.components
        )));
    }
    if !frame.is_huffman() || frame.is_progressive() {
        return Err(unsupported("a TIFF of progressive or arithmetic JPEG"));
    }
    let (planes, faults) = planes(&frame, part.tables, part.bytes)?;
    if faults.broken_codes > 0 || faults.missing_rows > 0 {
        return Err(corrupt("JPEG in TIFF: a part is damaged or ends early"));
    }
    let Raster { samples, channels } = raster(&frame, &planes, part.space)?;
    let (line, kept) = (width as usize * channels, part.width_px as usize * channels);
    Ok(samples.chunks_exact(line).take(part.rows as usize).flat_map(|row| &row[..kept]).copied().collect())
}

impl Outline {
    /// What libjpeg-turbo-rs reads as libjpeg-turbo does. It panics on chroma of other sizes and takes several baseline scans
    /// for broken ones.
    fn is_usual(&self) -> bool {
        let Frame { components, .. } = &self.frame;
        let chroma_is_single = components.iter().skip(1).all(|c| (c.across, c.down) == (1, 1));
        let first = components.first().map_or((1, 1), |c| (c.across, c.down));
        let sampling = match components.len() {
            1 => true,
            3 => chroma_is_single && matches!(first, (1 | 2, 1 | 2)),
            _ => chroma_is_single && first == (1, 1),
        };
        let scans = self.frame.marker != 0xC0 && self.frame.marker != 0xC1 || self.scans == 1;
        if !self.frame.is_huffman() {
            return true; // nobody else reads it
        }
        sampling && scans && self.has_end && self.restarts_agree && self.rubbish_bytes == 0
    }

    /// libjpeg's `default_decompress_parms`.
    fn space(&self) -> Space {
        let ids: Vec<u8> = self.frame.components.iter().map(|component| component.id).collect();
        match (ids.len(), self.adobe_transform) {
            (3, _) if self.has_jfif => Space::YCbCr,
            (3, Some(0)) => Space::Plain,
            (3, None) if ids == *b"RGB" => Space::Plain,
            (3, _) => Space::YCbCr,
            (4, None | Some(0)) => Space::Plain,
            (4, _) => Space::Ycck,
            _ => Space::Plain,
        }
    }

    /// What an operator should know, the worst first.
    fn complaint(&self, faults: &Faults) -> Option<String> {
        let height = self.frame.height_px;
        if faults.missing_rows > 0 {
            return Some(rows_missing(faults.missing_rows.min(height), height, "grey"));
        }
        if faults.broken_codes > 0 {
            return Some(format!(
                "the pixel data are damaged in {} places: parts of the picture have wrong colours or places",
                faults.broken_codes
            ));
        }
        if faults.lost_units > 0 {
            let share = 100.0 * faults.lost_units as f64 / faults.units.max(1) as f64;
            return Some(format!("restart markers are missing or out of order: {share:.1} % of the picture are grey"));
        }
        if let Some(scan) = faults.cut_scan {
            return Some(format!(
                "the file ends within scan {scan}: fine detail is missing, the whole picture is there"
            ));
        }
        if self.frame.is_progressive() && !self.is_complete {
            return Some("the last scans are missing: fine detail is missing, the whole picture is there".to_owned());
        }
        if faults.wrong_restarts > 0 {
            return Some("restart markers are out of order: every pixel was decoded".to_owned());
        }
        if self.rubbish_bytes > 0 {
            let bytes = self.rubbish_bytes;
            return Some(format!("{bytes} bytes between its segments belong to none of them: every pixel was decoded"));
        }
        (!self.has_end).then(|| "the file ends early: its end marker is missing, every pixel is there".to_owned())
    }
}

impl Faults {
    /// Why the picture cannot be shown as if it were whole.
    fn beyond_repair(&self, outline: &Outline) -> Option<String> {
        let height = outline.frame.height_px;
        if self.missing_rows > 0 {
            let missing = self.missing_rows.min(height);
            return Some(format!("expected {height} rows, found the end of the data {missing} rows before that"));
        }
        if self.broken_codes > 0 {
            return Some(format!("expected Huffman codes, found {} that are none", self.broken_codes));
        }
        let ends_early = !outline.has_end && outline.frame.is_progressive() && !outline.is_complete;
        match self.cut_scan {
            Some(scan) => Some(format!("expected the whole of scan {scan}, found the end of the data")),
            None => ends_early.then(|| "expected all scans of a progressive picture, found the file's end".to_owned()),
        }
    }
}

/// Strict: a scan that ends early is an error. A panic is one as well.
fn by_turbo(bytes: &[u8], frame: &Frame) -> Result<RgbImage, Rejection> {
    let limits = JpegLimits {
        max_width: usize::from(u16::MAX), // the format's own; ours come before, with their own message
        max_height: usize::from(u16::MAX),
        max_pixels: u64::MAX,
        max_scans: limits::MAX_JPEG_SCANS,
        max_memory: None,
    };
    let work = || {
        let mut decoder = JpegDecoder::new_with_limits(bytes, limits)?;
        decoder.set_output_format(PixelFormat::Rgb);
        decoder.set_block_smoothing(true); // what libjpeg does where the last scans are missing
        decoder.decode_image()
    };
    let decoded = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let message = format!("JPEG: a bug in the decoder was met: {}", panic_text(panic.as_ref()));
        Rejection::new(RejectionClass::Panicked, message)
    })?;
    let picture = decoded.map_err(|e| rejection_of_jpeg(&e))?;
    let (width, height, found) = (frame.width_px, frame.height_px, picture.data.len());
    RgbImage::from_raw(width, height, picture.data)
        .ok_or_else(|| corrupt(format_args!("JPEG: expected {width}×{height} pixels of RGB, found {found} bytes")))
}

/// Grey, RGB or CMYK → RGB. Four components are inverted, as Adobe writes them and every reader takes them.
fn rgb(Raster { channels, samples }: Raster, frame: &Frame) -> Result<RgbImage, Rejection> {
    let samples = match channels {
        1 => samples.iter().flat_map(|grey| [*grey; 3]).collect(),
        4 => samples
            .chunks_exact(4)
            .flat_map(|pixel| [0, 1, 2].map(|channel| left_by_ink(pixel[channel], pixel[3])))
            .collect(),
        _ => samples,
    };
    RgbImage::from_raw(frame.width_px, frame.height_px, samples)
        .ok_or_else(|| corrupt("JPEG: expected as many pixels as its header says, found another number"))
}

fn rejection_of_jpeg(error: &JpegError) -> Rejection {
    let class = match error {
        JpegError::Unsupported(_) => RejectionClass::Unsupported,
        JpegError::LimitExceeded { .. } | JpegError::AllocationFailed { .. } => RejectionClass::TooLarge,
        _ => RejectionClass::Corrupt,
    };
    Rejection::new(class, format_args!("JPEG: {}", one_line(&error.to_string())))
}
