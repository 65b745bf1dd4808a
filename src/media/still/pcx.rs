//! PCX (ZSoft's technical reference manual): bytes → RGB8. One bit, palettes of 4 and 16 colours in bits or planes, of 256
//! colours behind the pixels, and three planes of eight bits.

use bytes::Bytes;
use image::metadata::Orientation;
use image::{Rgb, RgbImage};

use super::{Damage, DecodeLimits, Decoded, Header, corrupt, rows_missing, unsupported};
use crate::error::Rejection;

const HEADER: usize = 128;
/// A byte that says that 256 colours follow.
const PALETTE: usize = 1 + 768;

#[derive(Clone, Copy)]
struct Layout {
    width_px: u32,
    height_px: u32,
    bits: usize,
    planes: usize,
    /// Of one plane.
    line_bytes: usize,
}

fn layout(bytes: &[u8]) -> Result<Layout, Rejection> {
    let header = bytes.get(..HEADER).ok_or_else(|| corrupt("PCX: expected 128 bytes of header, found fewer"))?;
    let at = |place: usize| u32::from(u16::from_le_bytes([header[place], header[place + 1]]));
    let side = |from: usize, to: usize| (at(to) + 1).saturating_sub(at(from));
    Ok(Layout {
        width_px: side(4, 8),
        height_px: side(6, 10),
        bits: usize::from(header[3]),
        planes: usize::from(header[65]),
        line_bytes: at(66) as usize,
    })
}

pub(super) fn read_header(bytes: &Bytes, limits: DecodeLimits) -> Result<Header, Rejection> {
    let Layout { width_px, height_px, bits, planes, line_bytes } = layout(bytes)?;
    if !matches!((bits, planes), (1, 1..=4) | (2 | 4 | 8, 1) | (8, 3)) {
        return Err(unsupported(format_args!("PCX of {planes} planes with {bits} bits each")));
    }
    if line_bytes * 8 < width_px as usize * bits {
        return Err(corrupt(format_args!("PCX: expected lines of {width_px} pixels, found {line_bytes} bytes")));
    }
    Header::new((width_px, height_px), Orientation::NoTransforms, (line_bytes * planes) as u64, limits)
}

pub(super) fn decode(bytes: &Bytes, header: Header, damage: Damage) -> Result<Decoded, Rejection> {
    let layout = layout(bytes)?;
    let Layout { bits, planes, line_bytes, .. } = layout;
    let palette = palette(bytes, layout);
    let mut picture = RgbImage::new(header.width_px, header.height_px);
    let mut line = vec![0; line_bytes * planes];
    let is_packed = bytes.get(2) != Some(&0);
    let mut runs = Runs { data: &bytes[HEADER..], is_packed, value: 0, left: 0 };
    for y in 0..header.height_px {
        if line.iter_mut().any(|byte| runs.next().map(|value| *byte = value).is_none()) {
            let missing = header.height_px - y;
            if damage == Damage::Refused || y == 0 {
                return Err(corrupt(format_args!(
                    "PCX: expected {} rows, found the file's end in row {y}",
                    header.height_px
                )));
            }
            return Ok(Decoded { picture, complaint: Some(rows_missing(missing, header.height_px, "black")) });
        }
        for x in 0..header.width_px as usize {
            let at = |plane: usize| {
                let byte = line[plane * line_bytes + x * bits / 8];
                usize::from(byte) >> (8 - bits - x * bits % 8) & ((1 << bits) - 1)
            };
            let pixel = if (bits, planes) == (8, 3) {
                [at(0) as u8, at(1) as u8, at(2) as u8]
            } else {
                palette[(0..planes).map(|plane| at(plane) << plane).sum::<usize>() & 0xFF]
            };
            picture.put_pixel(x as u32, y, Rgb(pixel));
        }
    }
    Ok(Decoded { picture, complaint: None })
}

fn palette(bytes: &[u8], Layout { bits, planes, .. }: Layout) -> [[u8; 3]; 256] {
    let mut palette = [[0; 3]; 256];
    let behind = bytes.len().checked_sub(PALETTE).filter(|at| *at >= HEADER && bytes[*at] == 0x0C);
    let colours = match (bits, planes, behind) {
        (8, _, Some(at)) => &bytes[at + 1..],
        (8, ..) => {
            (0..=255).zip(&mut palette).for_each(|(grey, colour)| *colour = [grey; 3]);
            return palette;
        }
        (1, 1, _) => &[0, 0, 0, 255, 255, 255],
        _ => &bytes[16..64],
    };
    colours.chunks_exact(3).zip(&mut palette).for_each(|(from, to)| to.copy_from_slice(from));
    palette
}

/// Bytes with the two high bits set say how often the next one stands there.
struct Runs<'a> {
    data: &'a [u8],
    is_packed: bool,
    value: u8,
    left: u8,
}

impl Runs<'_> {
    fn next(&mut self) -> Option<u8> {
        while self.left == 0 {
            let (first, rest) = self.data.split_first()?;
            (self.value, self.left, self.data) = match first {
                0xC0.. if self.is_packed => (*rest.first()?, first & 0x3F, &rest[1..]),
                _ => (*first, 1, rest),
            };
        }
        self.left -= 1;
        Some(self.value)
    }
}
