//! AV1 items (AV1 Image File Format, 2.1): the units of one picture → what it is, and a packet of an IVF file.

use std::io::{self, Write};

use bytes::Bytes;

use super::bits::Bits;
use super::boxes::corrupt;
use super::coded::{Chroma, Format};
use super::properties::Nclx;
use crate::error::Rejection;

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;

/// What the sequence header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    pub format: Format,
    pub nclx: Option<Nclx>,
    /// Units of `av1C` that go first, where the item itself has no sequence header.
    before: Option<Bytes>,
}

/// One unit (AV1 specification, 5.3): its type, itself whole, and what is in it.
struct Unit<'a> {
    kind: u8,
    whole: &'a [u8],
    body: &'a [u8],
}

impl Configuration {
    /// `av1c` is what is in the box, `pieces` the bytes of the item; both are pieces of `file`.
    ///
    /// # Errors
    /// No sequence header, or a broken one.
    pub fn read(av1c: &[u8], pieces: &[Bytes], file: &Bytes) -> Result<Self, Rejection> {
        let joined = join(pieces);
        if let Some(header) = sequence_header(&joined)? {
            let (format, nclx) = read_sequence_header(header)?;
            return Ok(Self { format, nclx, before: None });
        }
        let units = av1c.get(4..).unwrap_or_default();
        let header = sequence_header(units)?.ok_or_else(|| corrupt("AV1: expected a sequence header, found none"))?;
        let (format, nclx) = read_sequence_header(header)?;
        Ok(Self { format, nclx, before: Some(file.slice_ref(units)) })
    }

    /// Writes one picture as a packet of IVF.
    ///
    /// # Errors
    /// What the writer says; units that are broken.
    pub fn write(&self, pieces: &[Bytes], number: usize, output: &mut impl Write) -> io::Result<Result<(), Rejection>> {
        let joined = join(pieces);
        let units: Result<Vec<&[u8]>, Rejection> = units(&joined)
            .filter(|unit| !unit.as_ref().is_ok_and(|unit| unit.kind == TEMPORAL_DELIMITER))
            .map(|unit| unit.map(|unit| unit.whole))
            .collect();
        let units = match units {
            Ok(units) => units,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let before = self.before.as_deref().unwrap_or_default();
        let length = 2 + before.len() + units.iter().map(|unit| unit.len()).sum::<usize>();
        let Ok(length) = u32::try_from(length) else { return Ok(Err(corrupt("AV1: an item of 4 GiB"))) };
        output.write_all(&length.to_le_bytes())?;
        output.write_all(&(number as u64).to_le_bytes())?;
        output.write_all(&[TEMPORAL_DELIMITER << 3 | 2, 0])?;
        output.write_all(before)?;
        units.iter().try_for_each(|unit| output.write_all(unit))?;
        Ok(Ok(()))
    }
}

/// The header of an IVF file: version 0, one frame a unit of time.
pub fn write_header((width, height): (u32, u32), pictures: usize, output: &mut impl Write) -> io::Result<()> {
    let size = |side: u32| u16::try_from(side).unwrap_or(u16::MAX).to_le_bytes();
    output.write_all(b"DKIF\0\0\x20\0AV01")?;
    output.write_all(&[size(width), size(height)].concat())?;
    let numbers = [25, 1, u32::try_from(pictures).unwrap_or(u32::MAX), 0];
    output.write_all(numbers.map(u32::to_le_bytes).as_flattened())
}

fn join(pieces: &[Bytes]) -> Bytes {
    match pieces {
        [one] => one.clone(),
        several => several.concat().into(),
    }
}

fn units(mut bytes: &[u8]) -> impl Iterator<Item = Result<Unit<'_>, Rejection>> {
    std::iter::from_fn(move || {
        let first = *bytes.first()?;
        // Some writers pad an item with zeros.
        if first == 0 && bytes.iter().all(|byte| *byte == 0) {
            return None;
        }
        let whole = bytes;
        let head = 1 + usize::from(first >> 2 & 1);
        let measured = if first & 2 == 0 {
            bytes.get(head..).map(|body| (head, body.len())) // the last may be as long as what is left
        } else {
            leb128(bytes.get(head..).unwrap_or_default()).map(|(size, taken)| (head + taken, size))
        };
        let cut =
            measured.and_then(|(head, size)| Some((head, head.checked_add(size).filter(|end| *end <= whole.len())?)));
        let Some((head, end)) = cut else {
            bytes = &[];
            return Some(Err(corrupt("AV1: a unit goes beyond the end of its item")));
        };
        bytes = &whole[end..];
        Some(Ok(Unit { kind: first >> 3 & 0xf, whole: &whole[..end], body: &whole[head..end] }))
    })
}

/// 4.10.5
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, at + 1));
        }
    }
    None
}

fn sequence_header(bytes: &[u8]) -> Result<Option<&[u8]>, Rejection> {
    for unit in units(bytes) {
        let unit = unit?;
        match unit.kind {
            SEQUENCE_HEADER => return Ok(Some(unit.body)),
            FRAME_HEADER | FRAME => break,
            _ => {}
        }
    }
    Ok(None)
}

/// 5.5
fn read_sequence_header(body: &[u8]) -> Result<(Format, Option<Nclx>), Rejection> {
    let mut bits = Bits::new(body);
    let profile = bits.small(3)?;
    bits.skip(1)?;
    let reduced = bits.bit()?;
    if reduced {
        bits.skip(5)?;
    } else {
        timing_and_points(&mut bits)?;
    }
    let (width_bits, height_bits) = (bits.small(4)? + 1, bits.small(4)? + 1);
    let size_px = (bits.small(width_bits)? + 1, bits.small(height_bits)? + 1);
    if !reduced && bits.bit()? {
        bits.skip(7)?;
    }
    bits.skip(3)?;
    if !reduced {
        tools(&mut bits)?;
    }
    bits.skip(3)?;
    colours(&mut bits, profile, size_px)
}

/// 5.5.1, 5.5.3 to 5.5.5
fn timing_and_points(bits: &mut Bits<'_>) -> Result<(), Rejection> {
    let mut delay_bits = None;
    if bits.bit()? {
        bits.skip(64)?;
        if bits.bit()? {
            bits.uvlc()?;
        }
        if bits.bit()? {
            delay_bits = Some(bits.small(5)? + 1);
            bits.skip(32 + 5 + 5)?;
        }
    }
    let has_display_delay = bits.bit()?;
    for _ in 0..=bits.small(5)? {
        bits.skip(12)?;
        if bits.small(5)? > 7 {
            bits.skip(1)?;
        }
        if let Some(delay_bits) = delay_bits
            && bits.bit()?
        {
            bits.skip(2 * delay_bits + 1)?;
        }
        if has_display_delay && bits.bit()? {
            bits.skip(4)?;
        }
    }
    Ok(())
}

fn tools(bits: &mut Bits<'_>) -> Result<(), Rejection> {
    bits.skip(4)?;
    let has_order = bits.bit()?;
    if has_order {
        bits.skip(2)?;
    }
    // 2: each frame chooses.
    let screen = if bits.bit()? { 2 } else { bits.small(1)? };
    if screen > 0 && !bits.bit()? {
        bits.skip(1)?;
    }
    bits.skip(if has_order { 3 } else { 0 })
}

/// 5.5.2
fn colours(bits: &mut Bits<'_>, profile: u32, size_px: (u32, u32)) -> Result<(Format, Option<Nclx>), Rejection> {
    let is_high = bits.bit()?;
    let depth = match (is_high, profile) {
        (true, 2) => {
            if bits.bit()? {
                12
            } else {
                10
            }
        }
        (true, _) => 10,
        (false, _) => 8,
    };
    let is_grey = profile != 1 && bits.bit()?;
    let mut three = [2; 3]; // unspecified
    if bits.bit()? {
        for code in &mut three {
            *code = bits.small(8)? as u16;
        }
    }
    let [primaries, transfer, matrix] = three;
    let is_rgb = !is_grey && three == [1, 13, 0];
    let full_range = is_rgb || bits.bit()?;
    let chroma = match profile {
        _ if is_grey => Chroma::Grey,
        _ if is_rgb => Chroma::Full,
        0 => Chroma::Half,
        1 => Chroma::Full,
        _ if depth < 12 => Chroma::HalfAcross,
        _ if !bits.bit()? => Chroma::Full,
        _ if bits.bit()? => Chroma::Half,
        _ => Chroma::HalfAcross,
    };
    Ok((Format { size_px, chroma, depth }, Some(Nclx { primaries, transfer, matrix, full_range })))
}
