//! GIF89a: bytes → the first frame on its canvas, over black.

use std::io::Cursor;

use bytes::Bytes;
use image::metadata::Orientation;
use image::{ImageDecoder, ImageFormat, Rgba, RgbaImage};

use super::others::{decode_by_image, decoder, steps_bytes};
use super::{DECODER_TABLES_BYTES, Damage, DecodeLimits, Decoded, Header, corrupt, rgba_over_black, rows_missing};
use crate::error::Rejection;

pub(super) fn read_header(bytes: &Bytes, limits: DecodeLimits) -> Result<Header, Rejection> {
    let decoder = decoder(bytes, ImageFormat::Gif, limits.max_decode_bytes)?;
    let (width, height) = decoder.dimensions();
    let canvas = u64::from(width) * u64::from(height) * 4;
    let bytes = steps_bytes(&decoder).saturating_add(canvas);
    Header::new((width, height), Orientation::NoTransforms, bytes, limits)
}

pub(super) fn decode(bytes: &Bytes, header: Header, damage: Damage) -> Result<Decoded, Rejection> {
    match decode_by_image(bytes, ImageFormat::Gif, header) {
        Err(rejection) if damage == Damage::Salvaged => salvage(bytes, header).unwrap_or(Err(rejection)),
        decoded => decoded,
    }
}

/// The first frame as far as its data go. None where there is nothing of it.
fn salvage(bytes: &[u8], header: Header) -> Option<Result<Decoded, Rejection>> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    options.set_memory_limit(gif::MemoryLimit::Bytes((header.decode_bytes + DECODER_TABLES_BYTES).try_into().ok()?));
    let mut decoder = options.read_info(Cursor::new(bytes)).ok()?;
    let frame = decoder.next_frame_info().ok()??;
    let (left, top) = (u32::from(frame.left), u32::from(frame.top));
    let (width, height, is_interlaced) = (u32::from(frame.width), u32::from(frame.height), frame.interlaced);
    if u64::from(width) * u64::from(height) * 4 > header.decode_bytes {
        return None;
    }
    let mut canvas = RgbaImage::new(header.width_px, header.height_px);
    let mut line = vec![0; width as usize * 4];
    let mut rows = 0;
    // Row by row, in the order of the file.
    let order: Vec<u32> = if is_interlaced {
        [(0, 8), (4, 8), (2, 4), (1, 2)].iter().flat_map(|(start, step)| (*start..height).step_by(*step)).collect()
    } else {
        (0..height).collect()
    };
    for y in order {
        if !decoder.fill_buffer(&mut line).ok().unwrap_or(false) {
            break;
        }
        rows += 1;
        for (x, pixel) in line.chunks_exact(4).enumerate() {
            let (x, y) = (left + x as u32, top + y);
            if x < header.width_px && y < header.height_px {
                canvas.put_pixel(x, y, Rgba([pixel[0], pixel[1], pixel[2], pixel[3]]));
            }
        }
    }
    if rows == 0 {
        return Some(Err(corrupt("the file ends before the first row of its first frame")));
    }
    let complaint = rows_missing(height - rows, height, "black");
    Some(Ok(Decoded { picture: rgba_over_black(&canvas), complaint: Some(complaint) }))
}
