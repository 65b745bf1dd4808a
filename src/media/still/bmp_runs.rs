//! Run lengths of BMP (BI_RLE8 and BI_RLE4): bytes → numbers of colours → RGB8.
//!
//! As lenient as Pillow and browsers: a run that is longer than its row ends with it, pixels that are passed over have
//! colour 0, rows may come from the top, and what follows the last row is ignored.

use bytes::Bytes;
use image::metadata::Orientation;
use image::{Rgb, RgbImage};

use super::{Damage, DecodeLimits, Decoded, Header, corrupt, rows_missing};
use crate::error::Rejection;

/// The header of Windows, behind the file's.
struct Layout<'a> {
    width_px: u32,
    height_px: u32,
    is_top_down: bool,
    /// Four bits a pixel instead of eight.
    is_narrow: bool,
    /// Blue, green, red and a byte of nothing.
    palette: &'a [u8],
    runs: &'a [u8],
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

impl<'a> Layout<'a> {
    /// None where the picture is not made of run lengths.
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let size = number(bytes, 14).filter(|size| *size >= 40)? as usize;
        let is_narrow = match (number(bytes, 30)?, number(bytes, 28)? & 0xFFFF) {
            (1, 8) => false,
            (2, 4) => true,
            _ => return None,
        };
        let height = number(bytes, 22)?.cast_signed();
        let (start, end) = (14 + size, number(bytes, 10)? as usize);
        Some(Self {
            width_px: number(bytes, 18)?,
            height_px: height.unsigned_abs(),
            is_top_down: height < 0,
            is_narrow,
            palette: bytes.get(start..end.min(bytes.len()))?,
            runs: bytes.get(end..)?,
        })
    }

    fn colour(&self, number: u8) -> [u8; 3] {
        let at = usize::from(number) * 4;
        self.palette.get(at..at + 3).map_or([0; 3], |colour| [colour[2], colour[1], colour[0]])
    }
}

/// None where the picture is not made of run lengths.
pub(super) fn read_header(bytes: &Bytes, limits: DecodeLimits) -> Option<Result<Header, Rejection>> {
    let layout = Layout::of(bytes)?;
    Some(Header::new((layout.width_px, layout.height_px), Orientation::NoTransforms, 0, limits))
}

/// None where the picture is not made of run lengths.
pub(super) fn decode(bytes: &Bytes, header: Header, damage: Damage) -> Option<Result<Decoded, Rejection>> {
    let layout = Layout::of(bytes)
        .filter(|layout| (layout.width_px, layout.height_px) == (header.width_px, header.height_px))?;
    let (width, height) = (header.width_px, header.height_px);
    let mut picture = RgbImage::from_pixel(width, height, Rgb(layout.colour(0)));
    let (mut x, mut y) = (0_u32, 0_u32);
    let mut put = |x: &mut u32, y: u32, number: u8| {
        if *x < width && y < height {
            let row = if layout.is_top_down { y } else { height - 1 - y };
            picture.put_pixel(*x, row, Rgb(layout.colour(number)));
            *x += 1;
        }
    };
    // Of a byte of two pixels the first is the high half.
    let half = |byte: u8, place: usize| match (layout.is_narrow, place % 2) {
        (false, _) => byte,
        (true, 0) => byte >> 4,
        (true, _) => byte & 15,
    };
    let mut runs = layout.runs;
    let mut has_end = false;
    while let [count, value, rest @ ..] = runs {
        runs = rest;
        match (count, value) {
            (0, 0) => (x, y) = (0, y.saturating_add(1)),
            (0, 1) => {
                has_end = true;
                break;
            }
            (0, 2) => {
                let [right, up, rest @ ..] = rest else { break };
                (x, y) = (x.saturating_add(u32::from(*right)), y.saturating_add(u32::from(*up)));
                runs = rest;
            }
            (0, literal) => {
                let pixels = usize::from(*literal);
                let length = if layout.is_narrow { pixels.div_ceil(2) } else { pixels };
                let values = &rest[..length.min(rest.len())];
                for place in 0..pixels {
                    let at = if layout.is_narrow { place / 2 } else { place };
                    values.get(at).into_iter().for_each(|byte| put(&mut x, y, half(*byte, place)));
                }
                runs = rest.get(length.next_multiple_of(2)..).unwrap_or_default();
            }
            (count, value) => (0..usize::from(*count)).for_each(|place| put(&mut x, y, half(*value, place))),
        }
        if y >= height {
            has_end = true;
            break;
        }
    }
    // The last row needs no end.
    let rows = if x >= width { y + 1 } else { y };
    let missing = if has_end { 0 } else { height - rows.min(height) };
    if missing > 0 && (damage == Damage::Refused || rows == 0) {
        return Some(Err(corrupt(format_args!(
            "BMP: expected {height} rows, found the end of the file in row {rows}"
        ))));
    }
    let complaint = (missing > 0).then(|| rows_missing(missing, height, "of one colour"));
    Some(Ok(Decoded { picture, complaint }))
}
