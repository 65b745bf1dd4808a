//! HEVC items: `hvcC` and length-prefixed NAL units (ISO/IEC 14496-15, 8.3) → what the picture is, and one stream of start
//! codes (ITU-T H.265, Annex B) for all pictures that look alike.

use std::io::{self, Write};

use bytes::Bytes;

use super::bits::Bits;
use super::boxes::{Reader, corrupt, unsupported};
use super::coded::{Chroma, Format};
use super::properties::Nclx;
use crate::error::Rejection;

const SPS: u8 = 33;
const PARAMETER_SETS: std::ops::RangeInclusive<u8> = 32..=34;
/// Pictures that refer to no other.
const STAND_ALONE: std::ops::RangeInclusive<u8> = 16..=23;

/// `hvcC`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    length_bytes: usize,
    /// VPS, SPS and PPS, in that order as far as the file keeps it.
    parameter_sets: Vec<Bytes>,
    pub format: Format,
    pub nclx: Option<Nclx>,
}

impl Configuration {
    /// `body` is what is in the box, a piece of `file`.
    ///
    /// # Errors
    /// A broken box; a picture of a form that is not decoded.
    pub fn read(body: &[u8], file: &Bytes) -> Result<Self, Rejection> {
        let mut reader = Reader::new(body);
        reader.take(21)?;
        let length_bytes = usize::from(reader.u8()? & 3) + 1;
        let mut parameter_sets = vec![];
        for _ in 0..reader.u8()? {
            let kind = reader.u8()? & 0x3f;
            for _ in 0..reader.u16()? {
                let length = usize::from(reader.u16()?);
                let unit = reader.take(length)?;
                if PARAMETER_SETS.contains(&kind) && layer(unit) == Some(0) {
                    parameter_sets.push(file.slice_ref(unit));
                }
            }
        }
        let sps = parameter_sets.iter().find(|unit| kind_of(unit) == Some(SPS));
        let sps = sps.ok_or_else(|| unsupported("expected a sequence parameter set in \"hvcC\", found none"))?;
        let (format, nclx) = read_sps(sps)?;
        Ok(Self { length_bytes, parameter_sets, format, nclx })
    }

    /// Writes the first picture in `pieces`, the bytes of one item.
    ///
    /// # Errors
    /// What the writer says; a length beyond the item, or no picture that stands alone.
    pub fn write(
        &self,
        pieces: &[Bytes],
        with_parameter_sets: bool,
        output: &mut impl Write,
    ) -> io::Result<Result<(), Rejection>> {
        let joined;
        let mut rest: &[u8] = match pieces {
            [one] => one,
            several => {
                joined = several.concat();
                &joined
            }
        };
        if with_parameter_sets {
            self.parameter_sets.iter().try_for_each(|unit| write_unit(unit, output))?;
        }
        let mut has_picture = false;
        while rest.len() > self.length_bytes {
            let (length, behind) = rest.split_at(self.length_bytes);
            let length = length.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
            let Some((unit, behind)) = behind.split_at_checked(length) else {
                let message = format!("expected a unit of {length} bytes, the item ends after {}", behind.len());
                return Ok(Err(corrupt(message)));
            };
            rest = behind;
            let Some(kind) = kind_of(unit).filter(|_| layer(unit) == Some(0)) else { continue };
            if kind < 32 {
                let begins_picture = unit.get(2).is_some_and(|byte| byte & 0x80 != 0);
                if begins_picture && has_picture {
                    break; // an item has one
                }
                let may_begin = begins_picture && STAND_ALONE.contains(&kind);
                if !(has_picture || may_begin) {
                    return Ok(Err(corrupt(format_args!("expected a picture that stands alone, found unit {kind}"))));
                }
                has_picture = true;
                write_unit(unit, output)?;
            } else if PARAMETER_SETS.contains(&kind) {
                write_unit(unit, output)?;
            }
        }
        Ok(if has_picture { Ok(()) } else { Err(corrupt("expected a coded picture, found none")) })
    }
}

fn write_unit(unit: &[u8], output: &mut impl Write) -> io::Result<()> {
    output.write_all(&[0, 0, 0, 1])?;
    output.write_all(unit)
}

fn kind_of(unit: &[u8]) -> Option<u8> {
    unit.first().map(|byte| byte >> 1 & 0x3f)
}

fn layer(unit: &[u8]) -> Option<u8> {
    Some((unit.first()? & 1) << 5 | unit.get(1)? >> 3)
}

/// The sequence parameter set (H.265, 7.3.2.2) up to its colours (E.2.1).
fn read_sps(unit: &[u8]) -> Result<(Format, Option<Nclx>), Rejection> {
    let plain = without_emulation(unit.get(2..).unwrap_or_default());
    let mut bits = Bits::new(&plain);
    bits.skip(4)?;
    let sub_layers = bits.small(3)?;
    bits.skip(1)?;
    profile_tier_level(&mut bits, sub_layers)?;
    bits.exp_golomb()?;
    let chroma = match bits.exp_golomb()? {
        0 => Chroma::Grey,
        1 => Chroma::Half,
        2 => Chroma::HalfAcross,
        3 => Chroma::Full,
        other => return Err(corrupt(format_args!("expected a chroma format of 0 to 3, found {other}"))),
    };
    let separate_planes = chroma == Chroma::Full && bits.bit()?;
    let coded = (bits.exp_golomb()?, bits.exp_golomb()?);
    let mut window = [0; 4];
    if bits.bit()? {
        for side in &mut window {
            *side = bits.exp_golomb()?;
        }
    }
    let depth = bits.exp_golomb()?.saturating_add(8);
    let chroma_depth = bits.exp_golomb()?.saturating_add(8);
    if separate_planes || chroma != Chroma::Grey && chroma_depth != depth {
        return Err(unsupported(format_args!(
            "HEVC: expected planes of one depth in one picture, found {depth} and {chroma_depth} bits"
        )));
    }
    let (across, down) = chroma.pixels_a_sample();
    let side = |coded: u32, before: u32, after: u32, unit: u32| {
        let cut = before.checked_add(after)?.checked_mul(unit)?;
        coded.checked_sub(cut).filter(|left| *left > 0)
    };
    let size_px = side(coded.0, window[0], window[1], across).zip(side(coded.1, window[2], window[3], down));
    let size_px = size_px.ok_or_else(|| {
        corrupt(format_args!("HEVC: expected a window inside of {}×{}, found {window:?}", coded.0, coded.1))
    })?;
    let format = Format { size_px, chroma, depth: u8::try_from(depth).unwrap_or(u8::MAX) };
    // Where the rest cannot be read, the picture still can.
    Ok((format, colours(&mut bits, sub_layers).unwrap_or_default()))
}

/// Without the bytes that keep start codes from appearing by chance (7.4.1).
fn without_emulation(unit: &[u8]) -> Vec<u8> {
    let (mut plain, mut zeros) = (Vec::with_capacity(unit.len()), 0);
    for byte in unit {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        plain.push(*byte);
    }
    plain
}

/// 7.3.3
fn profile_tier_level(bits: &mut Bits<'_>, sub_layers: u32) -> Result<(), Rejection> {
    bits.skip(88 + 8)?;
    let present = (0..sub_layers).map(|_| Ok((bits.bit()?, bits.bit()?))).collect::<Result<Vec<_>, Rejection>>()?;
    if sub_layers > 0 {
        bits.skip(2 * (8 - sub_layers))?;
    }
    for (profile, level) in present {
        bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
    }
    Ok(())
}

fn colours(bits: &mut Bits<'_>, sub_layers: u32) -> Result<Option<Nclx>, Rejection> {
    let poc_bits = bits.exp_golomb()?.saturating_add(4);
    let first = if bits.bit()? { 0 } else { sub_layers };
    for _ in first..=sub_layers {
        for _ in 0..3 {
            bits.exp_golomb()?;
        }
    }
    for _ in 0..6 {
        bits.exp_golomb()?; // sizes of blocks
    }
    if bits.bit()? && bits.bit()? {
        scaling_lists(bits)?;
    }
    bits.skip(2)?;
    if bits.bit()? {
        bits.skip(8)?;
        bits.exp_golomb()?;
        bits.exp_golomb()?;
        bits.skip(1)?;
    }
    reference_sets(bits)?;
    if bits.bit()? {
        for _ in 0..bits.exp_golomb()? {
            bits.skip(poc_bits.saturating_add(1))?;
        }
    }
    bits.skip(2)?;
    if !bits.bit()? {
        return Ok(None);
    }
    if bits.bit()? && bits.small(8)? == 255 {
        bits.skip(32)?;
    }
    if bits.bit()? {
        bits.skip(1)?;
    }
    if !bits.bit()? {
        return Ok(None);
    }
    bits.skip(3)?;
    let full_range = bits.bit()?;
    let mut three = [2; 3]; // unspecified
    if bits.bit()? {
        for code in &mut three {
            *code = bits.small(8)? as u16;
        }
    }
    let [primaries, transfer, matrix] = three;
    Ok(Some(Nclx { primaries, transfer, matrix, full_range }))
}

/// 7.3.4
fn scaling_lists(bits: &mut Bits<'_>) -> Result<(), Rejection> {
    for size in 0..4 {
        for _ in (0..6).step_by(if size == 3 { 3 } else { 1 }) {
            if !bits.bit()? {
                bits.exp_golomb()?;
                continue;
            }
            let coefficients = 64.min(1 << (4 + 2 * size)) + u32::from(size > 1);
            for _ in 0..coefficients {
                bits.exp_golomb()?; // signed ones are as long
            }
        }
    }
    Ok(())
}

/// 7.3.7
fn reference_sets(bits: &mut Bits<'_>) -> Result<(), Rejection> {
    let mut before = 0_u32;
    for number in 0..bits.exp_golomb()?.min(65) {
        if number > 0 && bits.bit()? {
            bits.skip(1)?;
            bits.exp_golomb()?;
            let mut kept = 0;
            for _ in 0..=before {
                let used = bits.bit()?;
                if used || bits.bit()? {
                    kept += 1;
                }
            }
            before = kept;
            continue;
        }
        let (negative, positive) = (bits.exp_golomb()?, bits.exp_golomb()?);
        for _ in 0..negative.saturating_add(positive) {
            bits.exp_golomb()?;
            bits.skip(1)?;
        }
        before = negative.saturating_add(positive);
    }
    Ok(())
}
