//! The strips and tiles of a TIFF: where they lie, and their packed bytes → lines of samples.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::ZlibDecoder;
use weezl::BitOrder;
use weezl::decode::Decoder as Lzw;

use super::directory::Directory;
use super::fax;
use super::layout::{Colours, Layout, Numbers, Packing};
use crate::error::Rejection;
use crate::media::still::jpeg::{Part as JpegPart, Space, decode_part};
use crate::media::still::{corrupt, unsupported};

/// A strip or a tile of one plane, or of all.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    pub plane: u32,
    pub left: u32,
    pub top: u32,
    /// Those that the picture shows; its bytes may hold more.
    pub width: u32,
    pub rows: u32,
    number: u64,
}

/// All parts, plane after plane, from the top.
pub fn parts(layout: &Layout) -> impl Iterator<Item = Part> + '_ {
    let (across, down) = (layout.parts_across(), layout.parts_down());
    let planes = if layout.is_planar { layout.used_samples() } else { 1 };
    (0..planes).flat_map(move |plane| {
        (0..down).flat_map(move |y| {
            (0..across).map(move |x| {
                let (left, top) = (x * layout.part_width_px, y * layout.part_height_px);
                Part {
                    plane,
                    left,
                    top,
                    width: layout.part_width_px.min(layout.width_px - left),
                    rows: layout.part_height_px.min(layout.height_px - top),
                    number: (u64::from(plane) * u64::from(down) + u64::from(y)) * u64::from(across) + u64::from(x),
                }
            })
        })
    })
}

/// Fills `lines` with the part's samples, differences resolved; `lines` is as long as all of its lines. Gives how many
/// rows are there.
///
/// # Errors
/// A part that lies outside of the file or cannot be unpacked at all.
pub fn unpack(tags: &Directory, layout: &Layout, part: &Part, lines: &mut Vec<u8>) -> Result<u32, Rejection> {
    // A tile has all of its lines, the last strip only those of the picture.
    let rows = if layout.is_tiled { layout.part_height_px } else { part.rows };
    let line = layout.line_bytes() as usize;
    lines.clear();
    lines.resize(line * layout.lines(rows) as usize, 0);
    let packed = packed(tags, layout, part, lines.len())?;
    let filled = match layout.packing {
        Packing::None => copy(&packed, lines),
        Packing::PackBits => pack_bits(&packed, lines),
        Packing::Lzw => lzw(&packed, lines)?,
        Packing::Deflate => inflate(&packed, lines),
        Packing::Jpeg => jpeg(tags, layout, &packed, rows, lines)?,
        _ => fax::unpack(&packed, layout.packing, layout.part_width_px as usize, line, lines) * line,
    };
    if layout.predictor == 3 && layout.numbers == Numbers::Float {
        lines.chunks_exact_mut(line).for_each(|line| undo_float_differences(line, layout, tags.is_little));
    } else if layout.predictor == 2 && !layout.is_fax() && layout.packing != Packing::Jpeg {
        lines.chunks_exact_mut(line).for_each(|line| undo_differences(line, layout, tags.is_little));
    }
    let whole = (filled / line.max(1)) as u32;
    Ok((whole * layout.subsampling.1).min(part.rows))
}

/// The part's bytes as the file has them, the lowest bit last.
fn packed<'a>(tags: &Directory<'a>, layout: &Layout, part: &Part, unpacked: usize) -> Result<Cow<'a, [u8]>, Rejection> {
    let (places, lengths) = if tags.has(324) { (324, 325) } else { (273, 279) };
    let outside = || corrupt("TIFF: expected strips or tiles inside the file, found one outside");
    let at = tags.at(places, part.number).and_then(|at| usize::try_from(at).ok()).ok_or_else(outside)?;
    let rest = tags.bytes.get(at..).filter(|rest| !rest.is_empty()).ok_or_else(outside)?;
    let length = match tags.at(lengths, part.number) {
        // Lengths are often wrong where nothing is packed, and nobody needs them.
        _ if layout.packing == Packing::None => unpacked,
        Some(length @ 1..) => usize::try_from(length).unwrap_or(usize::MAX),
        _ => rest.len(),
    };
    let packed = &rest[..length.min(rest.len())];
    if layout.is_reversed && layout.packing != Packing::Jpeg {
        return Ok(Cow::Owned(packed.iter().map(|byte| byte.reverse_bits()).collect()));
    }
    Ok(Cow::Borrowed(packed))
}

fn copy(packed: &[u8], lines: &mut [u8]) -> usize {
    let length = packed.len().min(lines.len());
    lines[..length].copy_from_slice(&packed[..length]);
    length
}

/// TIFF 6.0, section 9.
fn pack_bits(mut packed: &[u8], lines: &mut [u8]) -> usize {
    let mut filled = 0;
    while let Some((first, rest)) = packed.split_first()
        && filled < lines.len()
    {
        let (run, taken) = match first {
            0..=127 => {
                let run = &rest[..rest.len().min(usize::from(*first) + 1)];
                (Cow::Borrowed(run), run.len())
            }
            128 => (Cow::Borrowed(&[][..]), 0),
            129..=255 => match rest.first() {
                Some(byte) => (Cow::Owned(vec![*byte; 257 - usize::from(*first)]), 1),
                None => return filled,
            },
        };
        filled += copy(&run, &mut lines[filled..]);
        packed = &rest[taken..];
    }
    filled
}

/// TIFF 6.0, section 13.
fn lzw(packed: &[u8], lines: &mut [u8]) -> Result<usize, Rejection> {
    if matches!(packed, [0, second, ..] if second & 1 == 1) {
        return Err(unsupported("a TIFF with the LZW codes of libtiff before 1988"));
    }
    let mut decoder = Lzw::with_tiff_size_switch(BitOrder::Msb, 8);
    let (mut read, mut filled) = (0, 0);
    while filled < lines.len() {
        let step = decoder.decode_bytes(&packed[read..], &mut lines[filled..]);
        read += step.consumed_in;
        filled += step.consumed_out;
        if step.status.is_err() || step.consumed_in == 0 && step.consumed_out == 0 || decoder.has_ended() {
            break;
        }
    }
    Ok(filled)
}

fn inflate(packed: &[u8], lines: &mut [u8]) -> usize {
    let mut decoder = ZlibDecoder::new(packed);
    let mut filled = 0;
    while filled < lines.len() {
        match decoder.read(&mut lines[filled..]) {
            Ok(0) | Err(_) => break,
            Ok(read) => filled += read,
        }
    }
    filled
}

/// Adobe's technical note 2: each part a JPEG whose tables may stand in a tag of their own.
fn jpeg(tags: &Directory, layout: &Layout, packed: &[u8], rows: u32, lines: &mut [u8]) -> Result<usize, Rejection> {
    let is_ycbcr = layout.colours == Colours::YCbCr && !layout.is_planar;
    let samples = decode_part(&JpegPart {
        tables: tags.content(347).unwrap_or_default(),
        bytes: packed,
        space: if is_ycbcr { Space::YCbCr } else { Space::Plain },
        width_px: layout.part_width_px,
        rows,
        most_rows: layout.part_height_px,
        components: layout.part_samples() as usize,
    })?;
    Ok(copy(&samples, lines))
}

/// TIFF 6.0, section 14: each sample is the difference from the one to its left.
fn undo_differences(line: &mut [u8], layout: &Layout, is_little: bool) {
    let wide = (layout.bits / 8) as usize;
    let stride = wide * layout.part_samples() as usize;
    if wide == 1 {
        return (stride..line.len()).for_each(|at| line[at] = line[at].wrapping_add(line[at - stride]));
    }
    let number = |bytes: &[u8]| {
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if is_little { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) }
    };
    for at in (stride..(line.len() + 1).saturating_sub(wide)).step_by(wide) {
        let sum = number(&line[at..at + wide]).wrapping_add(number(&line[at - stride..at - stride + wide]));
        for (place, byte) in line[at..at + wide].iter_mut().enumerate() {
            let shift = if is_little { place } else { wide - 1 - place };
            *byte = (sum >> (8 * shift)) as u8;
        }
    }
}

/// Adobe's technical note 3: differences of bytes, of which the highest of all samples come first.
fn undo_float_differences(line: &mut [u8], layout: &Layout, is_little: bool) {
    let (wide, stride) = ((layout.bits / 8) as usize, layout.part_samples() as usize);
    for at in stride..line.len() {
        line[at] = line[at].wrapping_add(line[at - stride]);
    }
    let (sorted, count) = (line.to_vec(), line.len() / wide.max(1));
    for sample in 0..count {
        for byte in 0..wide {
            let place = if is_little { wide - 1 - byte } else { byte };
            line[sample * wide + place] = sorted[byte * count + sample];
        }
    }
}
