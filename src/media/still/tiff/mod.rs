//! TIFF 6.0 and BigTIFF: bytes → RGB8 of the first page.
//!
//! Grey, RGB, palettes, CMYK and YCbCr of 1 to 16 bits; floating-point numbers; strips and tiles, in planes or not; LZW,
//! Deflate, PackBits, JPEG and fax codes. Whatever else there is, is refused by its name. Memory: one part at a time, the
//! samples of eight bits that the picture is made of, and the picture.

mod directory;
mod fax;
mod layout;
mod parts;
mod samples;

use bytes::Bytes;

use self::directory::Directory;
use self::layout::{Layout, Numbers, Packing};
use self::parts::{parts, unpack};
use self::samples::{Placing, Range, rgb};
use super::{Damage, DecodeLimits, Decoded, Header, corrupt, rows_missing};
use crate::error::{Rejection, RejectionClass};
use crate::media::orientation::Told;

pub(super) fn read_header(bytes: &Bytes, limits: DecodeLimits) -> Result<Header, Rejection> {
    let tags = Directory::first(bytes)?;
    let layout = Layout::of(&tags)?;
    let pixels = limits.check_size((layout.width_px, layout.height_px))?;
    let mut told = Told::default();
    told.tag(tags.value(274));
    if let Some(packet) = tags.content(700) {
        told.xmp(packet);
    }
    refuse_bombs(&tags, &layout)?;
    let part = layout.part_bytes();
    let unpacking = match layout.packing {
        // Planes filled up to units of 32 px, the same at full size, and the part.
        Packing::Jpeg => {
            let side = |px: u32| u64::from(px) + 64;
            side(layout.part_width_px)
                .saturating_mul(side(layout.part_height_px))
                .saturating_mul(3 * u64::from(layout.part_samples()))
        }
        _ if layout.predictor == 3 => layout.line_bytes(),
        _ => 0,
    };
    let copy = if layout.is_reversed { bytes.len() as u64 } else { 0 };
    let samples = pixels.saturating_mul(u64::from(layout.used_samples()));
    let decoder_bytes = part.saturating_add(unpacking).saturating_add(samples).saturating_add(copy);
    Header::new((layout.width_px, layout.height_px), told.orientation(), decoder_bytes, limits)
}

/// Parts that lie over each other unpack a small file to gigabytes; no writer does that to a picture of some size.
fn refuse_bombs(tags: &Directory, layout: &Layout) -> Result<(), Rejection> {
    const SMALL_BYTES: u64 = 64 << 20;
    const OVERLAP: u64 = 4;
    let planes = if layout.is_planar { u64::from(layout.samples) } else { 1 };
    let count = u64::from(layout.parts_across()) * u64::from(layout.parts_down()) * planes;
    if layout.packing == Packing::None || layout.part_bytes().saturating_mul(count) <= SMALL_BYTES {
        return Ok(());
    }
    let lengths = if tags.has(325) { 325 } else { 279 };
    let packed = (0..count).map_while(|part| tags.at(lengths, part)).fold(0_u64, u64::saturating_add);
    if packed <= OVERLAP * tags.bytes.len() as u64 {
        return Ok(());
    }
    let message = format!("TIFF: expected parts side by side, found {packed} bytes of them in {}", tags.bytes.len());
    Err(Rejection::new(RejectionClass::TooLarge, message))
}

pub(super) fn decode(bytes: &Bytes, header: Header, damage: Damage) -> Result<Decoded, Rejection> {
    let tags = Directory::first(bytes)?;
    let layout = Layout::of(&tags)?;
    if layout.part_bytes() > header.decode_bytes {
        return Err(corrupt("TIFF: expected parts as the header said, found larger ones"));
    }
    let mut lines = vec![];
    let mut range = Range { least: 0.0, most: 1.0 };
    if layout.numbers == Numbers::Float {
        range = Range::EMPTY;
        let placing = Placing { tags: &tags, layout: &layout, white: 1.0 };
        for part in parts(&layout) {
            if unpack(&tags, &layout, &part, &mut lines).is_ok() {
                placing.measure(&part, &lines, &mut range);
            }
        }
    }
    let placing = Placing { tags: &tags, layout: &layout, white: range.white(&layout) };
    let pixels = layout.width_px as usize * layout.height_px as usize;
    let mut samples = vec![0; pixels * layout.used_samples() as usize];
    let (mut lost, mut whole, mut first_error) = (0_u64, 0_u64, None);
    for part in parts(&layout) {
        let rows = match unpack(&tags, &layout, &part, &mut lines) {
            Ok(rows) => rows,
            Err(rejection) if damage == Damage::Refused => return Err(rejection),
            Err(rejection) => {
                first_error = first_error.or(Some(rejection));
                lines.fill(0);
                0
            }
        };
        if rows < part.rows && damage == Damage::Refused {
            return Err(corrupt(format_args!(
                "TIFF: expected {} rows in the part at {}, {}, found {rows}",
                part.rows, part.left, part.top
            )));
        }
        whole += u64::from(rows) * u64::from(part.width);
        lost += u64::from(part.rows - rows) * u64::from(part.width);
        if rows > 0 {
            placing.place(&part, &lines, &mut samples);
        }
    }
    if whole == 0 {
        return Err(first_error.unwrap_or_else(|| corrupt("TIFF: expected pixels, found none")));
    }
    // Of all planes together, in rows of the picture.
    let missing = (lost * u64::from(layout.height_px)).div_ceil(lost + whole) as u32;
    let complaint =
        if missing > 0 { Some(rows_missing(missing, layout.height_px, "black")) } else { range.complaint(&layout) };
    let picture = rgb(&tags, &layout, samples).ok_or_else(|| corrupt("TIFF: expected as many samples as pixels"))?;
    Ok(Decoded { picture, complaint })
}
