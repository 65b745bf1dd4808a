//! Windows icons and cursors: bytes → the largest picture, the deepest among those of one size, over black.

use bytes::Bytes;
use image::ImageFormat;

use super::others::{decode_by_image, header_by_image};
use super::{Damage, DecodeLimits, Decoded, Header, corrupt, png};
use crate::error::Rejection;

const DIRECTORY: usize = 6;
const ENTRY: usize = 16;

/// The picture of an icon that counts.
enum Inner {
    Png(Bytes),
    /// An icon of this picture alone.
    Bmp(Bytes),
}

pub(super) fn read_header(bytes: &Bytes, limits: DecodeLimits) -> Result<Header, Rejection> {
    match largest(bytes)? {
        Inner::Png(file) => png::read_header(&file, limits),
        Inner::Bmp(file) => {
            let header = header_by_image(&file, ImageFormat::Ico, limits)?;
            let bytes = header.decode_bytes + file.len() as u64;
            Header::new((header.width_px, header.height_px), header.orientation, bytes, limits)
        }
    }
}

pub(super) fn decode(bytes: &Bytes, header: Header) -> Result<Decoded, Rejection> {
    match largest(bytes)? {
        Inner::Png(file) => png::decode(&file, header, Damage::Refused),
        Inner::Bmp(file) => decode_by_image(&file, ImageFormat::Ico, header),
    }
}

fn largest(bytes: &Bytes) -> Result<Inner, Rejection> {
    let count = bytes.get(4..6).map_or(0, |count| usize::from(u16::from_le_bytes([count[0], count[1]])));
    let entries = bytes.get(DIRECTORY..).unwrap_or_default().chunks_exact(ENTRY).take(count);
    let side = |byte: u8| if byte == 0 { 256 } else { u32::from(byte) };
    let is_icon = bytes.get(2) == Some(&1);
    // A cursor has its hot spot where an icon has its depth.
    let depth = |entry: &[u8]| if is_icon { u16::from_le_bytes([entry[6], entry[7]]) } else { 0 };
    let best = entries.max_by_key(|entry| (side(entry[0]) * side(entry[1]), depth(entry)));
    let best = best.ok_or_else(|| corrupt("expected an icon with a picture, found none"))?;
    let number = |at: usize| u32::from_le_bytes([best[at], best[at + 1], best[at + 2], best[at + 3]]) as usize;
    let (length, offset) = (number(8), number(12));
    let end = offset.saturating_add(length).min(bytes.len());
    if offset >= end {
        return Err(corrupt(format_args!("expected an icon's picture at byte {offset}, found the file's end")));
    }
    let inner = bytes.slice(offset..end);
    if inner.starts_with(b"\x89PNG") {
        return Ok(Inner::Png(inner));
    }
    // The decoder compares the directory's sides with the picture's own, of which the height counts its mask too.
    let own = |at: usize| inner.get(at..at + 4).map_or(0, |n| u32::from_le_bytes([n[0], n[1], n[2], n[3]]));
    let (width, height) = (own(4), own(8) / 2);
    let side = |px: u32| if px >= 256 { 0 } else { px as u8 };
    let mut file = vec![0, 0, 1, 0, 1, 0, side(width), side(height), 0, 0, 1, 0, 0, 0];
    file.extend((inner.len() as u32).to_le_bytes());
    file.extend(((DIRECTORY + ENTRY) as u32).to_le_bytes());
    file.extend(&inner[..]);
    Ok(Inner::Bmp(Bytes::from(file)))
}
