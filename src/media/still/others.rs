//! TGA, PNM, QOI and DDS: bytes → RGB8 by the `image` crate. A damaged file is always refused.

use std::io::Cursor;

use bytes::Bytes;
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::{DECODER_TABLES_BYTES, DecodeLimits, Decoded, Header, corrupt, over_black, rejection_of, unsupported};
use crate::error::{Rejection, RejectionClass};
use crate::media::sniff::StillFormat;

pub(super) fn read_header(bytes: &Bytes, format: StillFormat, limits: DecodeLimits) -> Result<Header, Rejection> {
    if format == StillFormat::Dds {
        let (file, size_px) = in_blocks(bytes)?;
        let header = header_by_image(&file, ImageFormat::Dds, limits).map_err(named_dds)?;
        // The file is copied, and what the blocks have too much is cut off.
        return Header::new(size_px, header.orientation, header.decode_bytes + bytes.len() as u64, limits);
    }
    header_by_image(bytes, format_of(format)?, limits)
}

pub(super) fn decode(bytes: &Bytes, format: StillFormat, header: Header) -> Result<Decoded, Rejection> {
    if format == StillFormat::Dds {
        let (file, (width, height)) = in_blocks(bytes)?;
        let Decoded { picture, complaint } = decode_by_image(&file, ImageFormat::Dds, header).map_err(named_dds)?;
        return Ok(Decoded { picture: image::imageops::crop_imm(&picture, 0, 0, width, height).to_image(), complaint });
    }
    decode_by_image(bytes, format_of(format)?, header)
}

/// The texture with sides of whole blocks, as the decoder wants them, and its own sides. Height and width are the fourth
/// and fifth number of the file.
fn in_blocks(bytes: &Bytes) -> Result<(Bytes, (u32, u32)), Rejection> {
    let number = |at: usize| bytes.get(at..at + 4).map_or(0, |n| u32::from_le_bytes([n[0], n[1], n[2], n[3]]));
    let (height, width) = (number(12), number(16));
    let whole = |side: u32| side.checked_next_multiple_of(4);
    let (Some(tall), Some(wide)) = (whole(height), whole(width)) else {
        return Err(corrupt("DDS: expected a size, found an impossible one"));
    };
    if (tall, wide) == (height, width) || bytes.len() < 20 {
        return Ok((bytes.clone(), (width, height)));
    }
    let mut file = bytes.to_vec();
    file[12..16].copy_from_slice(&tall.to_le_bytes());
    file[16..20].copy_from_slice(&wide.to_le_bytes());
    Ok((Bytes::from(file), (width, height)))
}

fn named_dds(rejection: Rejection) -> Rejection {
    match rejection.class {
        RejectionClass::Unsupported => unsupported("a DDS texture that is not DXT1, DXT3 or DXT5"),
        _ => rejection,
    }
}

fn format_of(format: StillFormat) -> Result<ImageFormat, Rejection> {
    match format {
        StillFormat::Tga => Ok(ImageFormat::Tga),
        StillFormat::Pnm => Ok(ImageFormat::Pnm),
        StillFormat::Qoi => Ok(ImageFormat::Qoi),
        StillFormat::Dds => Ok(ImageFormat::Dds),
        other => Err(unsupported(format_args!("{other:?} has a decoder of its own"))),
    }
}

/// What a decoder of the `image` crate needs: the steps between its colour type and RGB8.
pub(super) fn header_by_image(bytes: &Bytes, format: ImageFormat, limits: DecodeLimits) -> Result<Header, Rejection> {
    let decoder = decoder(bytes, format, limits.max_decode_bytes)?;
    let steps = steps_bytes(&decoder);
    Header::new(decoder.dimensions(), Orientation::NoTransforms, steps, limits)
}

/// What is decoded as RGB8 is the frame already; all else is a step on the way to it, with alpha one more.
pub(super) fn steps_bytes(decoder: &impl ImageDecoder) -> u64 {
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    let steps = if color == ColorType::Rgb8 { 0 } else { decoder.total_bytes() };
    let alpha = if color.has_alpha() { u64::from(width) * u64::from(height) * 4 } else { 0 };
    steps.saturating_add(alpha)
}

pub(super) fn decode_by_image(bytes: &Bytes, format: ImageFormat, header: Header) -> Result<Decoded, Rejection> {
    let decoder = decoder(bytes, format, header.decode_bytes + DECODER_TABLES_BYTES)?;
    let picture = DynamicImage::from_decoder(decoder).map_err(|e| rejection_of(&e))?;
    Ok(Decoded { picture: over_black(picture), complaint: None })
}

pub(super) fn decoder(bytes: &Bytes, format: ImageFormat, max_bytes: u64) -> Result<impl ImageDecoder, Rejection> {
    let mut limits = Limits::default();
    // Sides are checked with a message of our own as soon as the header is read.
    limits.max_alloc = Some(max_bytes);
    let mut reader = ImageReader::with_format(Cursor::new(bytes.clone()), format);
    reader.limits(limits);
    reader.into_decoder().map_err(|e| rejection_of(&e))
}
