//! Bytes of an image → frames of RGB8, upright.
//!
//! Two steps, so that nothing is allocated on a file's word alone: [`read_header`] says what decoding would take,
//! the pipeline sets that much aside, then [`decode`]. Damaged files are refused, never half-decoded.
//! 16 bits become 8; alpha is laid over black; CMYK and palettes become RGB; of an animation the first frame counts.

use std::io::Cursor;

use bytes::Bytes;
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage, RgbaImage};
use libjpeg_turbo_rs::{DecodeLimits as JpegLimits, Decoder as JpegDecoder, JpegError, PixelFormat};

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
            let message = format!("expected a picture, found one of {width_px}×{height_px}");
            return Err(Rejection::new(RejectionClass::Corrupt, message));
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

    fn new(
        (width_px, height_px): (u32, u32),
        orientation: Orientation,
        decoder_bytes: u64,
        limits: DecodeLimits,
    ) -> Result<Self, Rejection> {
        let pixels = limits.check_size((width_px, height_px))?;
        // The frame itself, and a second one while it is turned.
        let copies = if orientation == Orientation::NoTransforms { 1 } else { 2 };
        let decode_bytes = decoder_bytes + pixels * 3 * copies;
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
pub fn read_header(bytes: &Bytes, format: ImageFormat, limits: DecodeLimits) -> Result<Header, Rejection> {
    if format == ImageFormat::Jpeg {
        let (decoder, size_px) = jpeg(bytes)?;
        let orientation = decoder.exif_orientation().and_then(Orientation::from_exif);
        let samples = u64::from(size_px.0) * u64::from(size_px.1) * decoder.header().components.len() as u64;
        // Planes of one byte a sample, and where there are several scans the coefficients, two bytes each.
        let decoder_bytes = if decoder.has_multiple_scans() { 3 * samples } else { samples };
        return Header::new(size_px, orientation.unwrap_or(Orientation::NoTransforms), decoder_bytes, limits);
    }
    let mut decoder = decoder(bytes, format, limits.max_decode_bytes)?;
    // A broken EXIF block says nothing of the pixels.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let (width, height) = decoder.dimensions();
    if format == ImageFormat::WebP
        && let Some((frame_width, frame_height)) = webp_frame_px(bytes.get(12..).unwrap_or_default())
        && (frame_width > width || frame_height > height)
    {
        let message = format!(
            "expected a frame inside the canvas of {width}×{height}, found one of {frame_width}×{frame_height}"
        );
        return Err(Rejection::new(RejectionClass::Corrupt, message));
    }
    let rgba_bytes = u64::from(width) * u64::from(height) * 4;
    // What is decoded as RGB8 is the frame already; all else is a step on the way to it, with alpha one more.
    let color = decoder.color_type();
    let steps = if color == ColorType::Rgb8 { 0 } else { decoder.total_bytes() };
    let alpha = if color.has_alpha() { rgba_bytes } else { 0 };
    let own = match format {
        ImageFormat::WebP | ImageFormat::Gif => rgba_bytes, // composed on a canvas
        ImageFormat::Tiff => decoder.total_bytes(),         // unpacked strip by strip, of which there may be one
        _ => 0,
    };
    Header::new((width, height), orientation, steps.saturating_add(own).saturating_add(alpha), limits)
}

/// # Errors
/// A file that breaks its format's rules or ends early.
pub fn decode(bytes: &Bytes, format: ImageFormat, header: Header) -> Result<RgbImage, Rejection> {
    let picture = if format == ImageFormat::Jpeg {
        decode_jpeg(bytes)?
    } else {
        let decoder = decoder(bytes, format, header.decode_bytes + DECODER_TABLES_BYTES)?;
        DynamicImage::from_decoder(decoder).map_err(|e| rejection_of(&e))?
    };
    let mut picture = DynamicImage::ImageRgb8(over_black(picture));
    picture.apply_orientation(header.orientation);
    Ok(picture.into_rgb8())
}

/// Strict: a scan that ends early is an error. What it decodes is libjpeg-turbo's picture to the last bit, and so
/// that of Pillow, OpenCV and the reference detectors: a cascade answers to a grey level in a few of a hundred faces.
fn jpeg(bytes: &[u8]) -> Result<(JpegDecoder<'_>, (u32, u32)), Rejection> {
    let limits = JpegLimits {
        max_width: usize::from(u16::MAX), // the format's own; ours come after, with their own message
        max_height: usize::from(u16::MAX),
        max_pixels: u64::MAX,
        max_scans: limits::MAX_JPEG_SCANS,
        max_memory: None,
    };
    let mut decoder = JpegDecoder::new_with_limits(bytes, limits).map_err(|e| rejection_of_jpeg(&e))?;
    decoder.set_output_format(PixelFormat::Rgb);
    let frame = decoder.header();
    let size_px = (u32::from(frame.width), u32::from(frame.height));
    Ok((decoder, size_px))
}

fn decode_jpeg(bytes: &[u8]) -> Result<DynamicImage, Rejection> {
    let (decoder, (width, height)) = jpeg(bytes)?;
    let picture = decoder.decode_image().map_err(|e| rejection_of_jpeg(&e))?;
    let found = picture.data.len();
    RgbImage::from_raw(width, height, picture.data).map(DynamicImage::ImageRgb8).ok_or_else(|| {
        Rejection::new(
            RejectionClass::Corrupt,
            format_args!("JPEG: expected {width}×{height} pixels of RGB, found {found} bytes"),
        )
    })
}

fn decoder(bytes: &Bytes, format: ImageFormat, max_bytes: u64) -> Result<impl ImageDecoder, Rejection> {
    let mut limits = Limits::default();
    // Sides are checked with a message of our own as soon as the header is read.
    limits.max_alloc = Some(max_bytes);
    let mut reader = ImageReader::with_format(Cursor::new(bytes.clone()), format);
    reader.limits(limits);
    reader.into_decoder().map_err(|e| rejection_of(&e))
}

/// What the first frame itself says of its size: the decoder believes it and compares it with the canvas afterwards.
/// `chunks` are those of the container (RFC 9649).
fn webp_frame_px(mut chunks: &[u8]) -> Option<(u32, u32)> {
    while let Some((head, rest)) = chunks.split_at_checked(8) {
        let length = u32::from_le_bytes(head[4..].try_into().ok()?) as usize;
        let number = |at: usize| Some(u32::from_le_bytes(rest.get(at..at + 4)?.try_into().ok()?));
        match &head[..4] {
            b"VP8 " => return number(6).map(|bits| (bits & 0x3FFF, bits >> 16 & 0x3FFF)),
            b"VP8L" => return number(1).map(|bits| ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)),
            b"ANMF" => chunks = rest.get(16..)?,
            _ => chunks = rest.get(length.checked_add(length % 2)?..)?,
        }
    }
    None
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
    let mix = |value: u8, alpha: u8| ((u16::from(value) * u16::from(alpha) + 127) / 255) as u8;
    let mut rgb = RgbImage::new(width, height);
    for (from, to) in rgba.pixels().zip(rgb.pixels_mut()) {
        let [r, g, b, alpha] = from.0;
        to.0 = [mix(r, alpha), mix(g, alpha), mix(b, alpha)];
    }
    rgb
}

fn swaps_sides(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    )
}

pub(crate) fn rejection_of(error: &ImageError) -> Rejection {
    let class = match error {
        ImageError::Limits(_) => RejectionClass::TooLarge,
        ImageError::Unsupported(_) => RejectionClass::Unsupported,
        _ => RejectionClass::Corrupt,
    };
    Rejection::new(class, format_args!("cannot be decoded: {}", one_line(&error.to_string())))
}

fn rejection_of_jpeg(error: &JpegError) -> Rejection {
    let class = match error {
        JpegError::Unsupported(_) => RejectionClass::Unsupported,
        JpegError::LimitExceeded { .. } | JpegError::AllocationFailed { .. } => RejectionClass::TooLarge,
        _ => RejectionClass::Corrupt,
    };
    Rejection::new(class, format_args!("JPEG: {}", one_line(&error.to_string())))
}

/// Some decoders speak in several lines; a row has one.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use image::ImageFormat;

    use super::{DecodeLimits, read_header};

    fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        [name, &(content.len() as u32).to_le_bytes()[..], content, &[0][..content.len() % 2]].concat()
    }

    fn message(chunks: &[Vec<u8>]) -> String {
        let body = chunks.concat();
        let file = [&b"RIFF"[..], &(body.len() as u32 + 4).to_le_bytes(), b"WEBP", &body].concat();
        let limits = DecodeLimits { max_pixels: 1 << 24, max_decode_bytes: 1 << 28 };
        read_header(&Bytes::from(file), ImageFormat::WebP, limits).unwrap_err().message
    }

    #[test]
    fn a_webp_whose_frame_is_larger_than_its_canvas_is_refused_before_the_frame_is_decoded() {
        let canvas = |flags: u8| chunk(b"VP8X", &[flags, 0, 0, 0, 63, 0, 0, 63, 0, 0]);
        let lossy = chunk(b"VP8 ", &[0x10, 0, 0, 0x9D, 0x01, 0x2A, 0xFF, 0x3F, 0xFF, 0x3F, 0, 0]);
        let lossless = chunk(b"VP8L", &[0x2F, 0xFE, 0xBF, 0xFF, 0x0F, 0]);
        let placed = [&[0; 6][..], &[63, 0, 0, 63, 0, 0], &[100, 0, 0, 0], &lossy].concat();
        let animated = [chunk(b"ANIM", &[0; 6]), chunk(b"ANMF", &placed)].concat();
        for (flags, frame) in [(0, lossy), (0, lossless), (2, animated)] {
            let message = message(&[canvas(flags), frame]);
            assert!(message.contains("canvas of 64×64") && message.contains("16383×16383"), "{message}");
        }
    }
}
