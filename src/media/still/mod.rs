//! Bytes of an image → one frame of RGB8, upright.
//!
//! Two steps, so that nothing is allocated on a file's word alone: [`read_header`] says what decoding would take,
//! the pipeline sets that much aside, then [`decode`]. A damaged file is refused unless [`Damage::Salvaged`] is asked for; a
//! picture that is not wholly what its author made comes with a complaint. 16 bits become 8; alpha is laid over black; CMYK
//! and palettes become RGB; colour profiles and gamma are ignored; of several pictures or frames the first counts.

mod bmp;
mod bmp_runs;
mod gif;
mod ico;
mod jpeg;
mod others;
mod pcx;
mod png;
mod tiff;
mod webp;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use image::metadata::Orientation;
use image::{DynamicImage, ImageError, RgbImage, RgbaImage};

use super::orientation::swaps_sides;
use super::sniff::StillFormat;
use crate::error::{Rejection, RejectionClass};
use crate::limits;

/// What the header promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Before orientation.
    pub width_px: u32,
    pub height_px: u32,
    pub orientation: Orientation,
    /// The most that decoding and the frame take together; what finding faces takes beside them is small.
    pub decode_bytes: u64,
}

/// A picture, and what an operator should know of it.
#[derive(Debug, Clone)]
pub struct Decoded {
    pub picture: RgbImage,
    /// What is wrong with the file and what that means for the picture; None where nothing is.
    pub complaint: Option<String>,
}

/// What becomes of a file that is damaged or ends early (`--salvage`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// It is rejected as corrupt.
    Refused,
    /// It is decoded as far as it goes; what is missing stays black or grey, and the complaint says how much that is.
    Salvaged,
}

/// Bounds on a picture, checked before anything is allocated for it.
#[derive(Debug, Clone, Copy)]
pub struct DecodeLimits {
    pub max_pixels: u64,
    /// What one picture may take: the whole budget for pixels.
    pub max_decode_bytes: u64,
}

impl DecodeLimits {
    /// The pixels of a picture of this size.
    ///
    /// # Errors
    /// A picture without pixels, or with more than allowed.
    pub fn check_size(&self, (width_px, height_px): (u32, u32)) -> Result<u64, Rejection> {
        let pixels = u64::from(width_px) * u64::from(height_px);
        if pixels == 0 {
            return Err(corrupt(format_args!("expected a picture, found one of {width_px}×{height_px}")));
        }
        if pixels > self.max_pixels || width_px.max(height_px) > limits::MAX_SIDE_PX {
            return Err(Rejection::new(
                RejectionClass::TooLarge,
                format_args!(
                    "expected at most {} pixels and {} px a side, found {width_px}×{height_px}",
                    self.max_pixels,
                    limits::MAX_SIDE_PX
                ),
            ));
        }
        Ok(pixels)
    }
}

impl Header {
    /// Width and height as a viewer sees them.
    #[must_use]
    pub fn upright_size_px(&self) -> (u32, u32) {
        if swaps_sides(self.orientation) { (self.height_px, self.width_px) } else { (self.width_px, self.height_px) }
    }

    /// `decoder_bytes`: what the decoder takes at most beside the frame.
    ///
    /// # Errors
    /// More pixels or more memory than the limits allow.
    pub(crate) fn new(
        (width_px, height_px): (u32, u32),
        orientation: Orientation,
        decoder_bytes: u64,
        limits: DecodeLimits,
    ) -> Result<Self, Rejection> {
        let pixels = limits.check_size((width_px, height_px))?;
        // The frame itself, and a second one while it is turned.
        let copies = if orientation == Orientation::NoTransforms { 1 } else { 2 };
        let decode_bytes = decoder_bytes.saturating_add(pixels * 3 * copies);
        if decode_bytes > limits.max_decode_bytes {
            return Err(Rejection::new(
                RejectionClass::TooLarge,
                format_args!(
                    "expected a picture that takes at most {} bytes to decode (a part of --memory), \
                     found one of {width_px}×{height_px} that takes {decode_bytes}; give more --memory",
                    limits.max_decode_bytes
                ),
            ));
        }
        Ok(Self { width_px, height_px, orientation, decode_bytes })
    }
}

/// What a decoder may take for its tables whatever the size of the picture; next to a frame it is nothing.
pub(crate) const DECODER_TABLES_BYTES: u64 = 1 << 20;

/// # Errors
/// A header that is broken, unsupported, or promises more than the limits allow.
pub fn read_header(bytes: &Bytes, format: StillFormat, limits: DecodeLimits) -> Result<Header, Rejection> {
    without_panic(|| match format {
        StillFormat::Jpeg => jpeg::read_header(bytes, limits),
        StillFormat::Png => png::read_header(bytes, limits),
        StillFormat::WebP => webp::read_header(bytes, limits),
        StillFormat::Gif => gif::read_header(bytes, limits),
        StillFormat::Bmp => bmp::read_header(bytes, limits),
        StillFormat::Tiff => tiff::read_header(bytes, limits),
        StillFormat::Ico => ico::read_header(bytes, limits),
        StillFormat::Pcx => pcx::read_header(bytes, limits),
        StillFormat::Tga | StillFormat::Pnm | StillFormat::Qoi | StillFormat::Dds => {
            others::read_header(bytes, format, limits)
        }
    })
}

/// # Errors
/// A file that breaks its format's rules or ends early, as far as `damage` does not let it through.
pub fn decode(bytes: &Bytes, format: StillFormat, header: Header, damage: Damage) -> Result<Decoded, Rejection> {
    let Decoded { picture, complaint } = without_panic(|| match format {
        StillFormat::Jpeg => jpeg::decode(bytes, damage),
        StillFormat::Png => png::decode(bytes, header, damage),
        StillFormat::WebP => webp::decode(bytes, header),
        StillFormat::Gif => gif::decode(bytes, header, damage),
        StillFormat::Bmp => bmp::decode(bytes, header, damage),
        StillFormat::Tiff => tiff::decode(bytes, header, damage),
        StillFormat::Ico => ico::decode(bytes, header),
        StillFormat::Pcx => pcx::decode(bytes, header, damage),
        StillFormat::Tga | StillFormat::Pnm | StillFormat::Qoi | StillFormat::Dds => {
            others::decode(bytes, format, header)
        }
    })?;
    let mut picture = DynamicImage::ImageRgb8(picture);
    picture.apply_orientation(header.orientation);
    Ok(Decoded { picture: picture.into_rgb8(), complaint })
}

/// A decoder that panics rejects its file; nothing of it is used again.
fn without_panic<T>(work: impl FnOnce() -> Result<T, Rejection>) -> Result<T, Rejection> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = format!("a bug in the decoder was met: {}", panic_text(panic.as_ref()));
        Err(Rejection::new(RejectionClass::Panicked, message))
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    one_line(text.unwrap_or("it gave no message"))
}

/// RGB8, transparent pixels mixed with black.
fn over_black(picture: DynamicImage) -> RgbImage {
    if let DynamicImage::ImageRgb8(picture) = picture {
        return picture;
    }
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    rgba_over_black(&picture.into_rgba8())
}

pub(crate) fn rgba_over_black(rgba: &RgbaImage) -> RgbImage {
    let (width, height) = rgba.dimensions();
    let mut rgb = RgbImage::new(width, height);
    for (from, to) in rgba.pixels().zip(rgb.pixels_mut()) {
        let [r, g, b, alpha] = from.0;
        to.0 = [mix(r, alpha), mix(g, alpha), mix(b, alpha)];
    }
    rgb
}

/// `value` over black.
fn mix(value: u8, alpha: u8) -> u8 {
    ((u16::from(value) * u16::from(alpha) + 127) / 255) as u8
}

/// Ink on white paper: what is left of a colour under `ink` and black `key`, both 255 where there is none.
fn left_by_ink(without_ink: u8, without_key: u8) -> u8 {
    mix(without_ink, without_key)
}

pub(crate) fn rejection_of(error: &ImageError) -> Rejection {
    let class = match error {
        ImageError::Limits(_) => RejectionClass::TooLarge,
        ImageError::Unsupported(_) => RejectionClass::Unsupported,
        _ => RejectionClass::Corrupt,
    };
    Rejection::new(class, format_args!("cannot be decoded: {}", one_line(&error.to_string())))
}

fn corrupt(message: impl std::fmt::Display) -> Rejection {
    Rejection::new(RejectionClass::Corrupt, message)
}

fn unsupported(message: impl std::fmt::Display) -> Rejection {
    Rejection::new(RejectionClass::Unsupported, message)
}

/// What a salvaged picture lacks, of `rows` in all.
fn rows_missing(missing: u32, rows: u32, colour: &str) -> String {
    format!("the file is damaged or ends early: {missing} of {rows} rows are missing and {colour} in the picture")
}

/// Some decoders speak in several lines; a row has one.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
