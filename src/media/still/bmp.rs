//! BMP of Windows and OS/2: bytes → RGB8.
//!
//! The `image` crate knows the headers of Windows and of OS/2 1.x. A header of OS/2 2.x has the same fields in the same
//! places and more behind them, so it is handed over as the one of Windows.

use std::borrow::Cow;

use bytes::Bytes;
use image::ImageFormat;

use super::others::{decode_by_image, header_by_image};
use super::{Damage, DecodeLimits, Decoded, Header, bmp_runs, rows_missing, unsupported};
use crate::error::Rejection;

const FILE_HEADER: usize = 14;
/// BITMAPINFOHEADER of Windows.
const INFO_HEADER: usize = 40;

pub(super) fn read_header(bytes: &Bytes, limits: DecodeLimits) -> Result<Header, Rejection> {
    let read = as_windows(bytes)?;
    let copied = if matches!(read, Cow::Owned(_)) { read.len() as u64 } else { 0 };
    let file = handed(bytes, read);
    if let Some(header) = bmp_runs::read_header(&file, limits) {
        let Header { width_px, height_px, orientation, decode_bytes } = header?;
        return Header::new((width_px, height_px), orientation, decode_bytes + copied, limits);
    }
    let header = header_by_image(&file, ImageFormat::Bmp, limits)?;
    // A salvaged file is copied as well.
    let missing = missing_bytes(bytes).map_or(0, |(needed, _)| needed);
    Header::new(
        (header.width_px, header.height_px),
        header.orientation,
        header.decode_bytes + copied.max(missing),
        limits,
    )
}

pub(super) fn decode(bytes: &Bytes, header: Header, damage: Damage) -> Result<Decoded, Rejection> {
    let mut file = as_windows(bytes)?;
    if let Some(decoded) = bmp_runs::decode(&handed(bytes, file.clone()), header, damage) {
        return decoded;
    }
    let mut complaint = None;
    if damage == Damage::Salvaged
        && let Some((needed, rows)) = missing_bytes(&file)
    {
        file.to_mut().resize(usize::try_from(needed).unwrap_or(0), 0);
        complaint = Some(rows_missing(rows.min(header.height_px), header.height_px, "black"));
    }
    let file = handed(bytes, file);
    let decoded = decode_by_image(&file, ImageFormat::Bmp, header)?;
    Ok(Decoded { complaint, ..decoded })
}

fn handed(bytes: &Bytes, file: Cow<[u8]>) -> Bytes {
    match file {
        Cow::Borrowed(_) => bytes.clone(),
        Cow::Owned(file) => Bytes::from(file),
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The file with a header of Windows, if it has one of OS/2 2.x: 64 bytes, or the first 16 of them with zeros for the rest.
fn as_windows(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Rejection> {
    let size = number(bytes, FILE_HEADER).unwrap_or(0) as usize;
    let (Some(offset), true) = (number(bytes, 10), matches!(size, 16..=64)) else { return Ok(Cow::Borrowed(bytes)) };
    if matches!(size, 40 | 52 | 56) || bytes.len() < FILE_HEADER + size {
        return Ok(Cow::Borrowed(bytes));
    }
    if size >= 20 && number(bytes, FILE_HEADER + 16).is_some_and(|compression| compression > 2) {
        return Err(unsupported("a BMP of OS/2 with Huffman codes or run lengths of 24 bits"));
    }
    let mut file = bytes[..FILE_HEADER + size.min(INFO_HEADER)].to_vec();
    file.resize(FILE_HEADER + INFO_HEADER, 0);
    file[FILE_HEADER] = INFO_HEADER as u8;
    file.extend(&bytes[FILE_HEADER + size..]);
    let moved = i64::from(offset) + INFO_HEADER as i64 - size as i64;
    file[10..14].copy_from_slice(&u32::try_from(moved).unwrap_or(offset).to_le_bytes());
    Ok(Cow::Owned(file))
}

/// How long the file would be with all of its pixels, and how many rows it lacks; None where it has them, or where run
/// lengths leave that open.
fn missing_bytes(bytes: &[u8]) -> Option<(u64, u32)> {
    let (offset, size) = (u64::from(number(bytes, 10)?), number(bytes, FILE_HEADER)?);
    let (width, height, bits) = if size == 12 {
        let short = |at: usize| number(bytes, at).map(|both| both & 0xFFFF);
        (short(18)?, short(20)?, short(24)?)
    } else {
        let compression = number(bytes, 30)?;
        if !matches!(compression, 0 | 3 | 6) {
            return None;
        }
        (number(bytes, 18)?, number(bytes, 22)?.cast_signed().unsigned_abs(), number(bytes, 28)? & 0xFFFF)
    };
    let line = (u64::from(width) * u64::from(bits)).div_ceil(32) * 4;
    let needed = line.checked_mul(u64::from(height))?.checked_add(offset)?;
    let missing = needed.checked_sub(bytes.len() as u64).filter(|missing| *missing > 0)?;
    Some((needed, u32::try_from(missing.div_ceil(line.max(1))).ok()?))
}
