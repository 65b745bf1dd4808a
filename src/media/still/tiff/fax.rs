//! Fax codes (ITU-T T.4 and T.6) → bytes of one bit per pixel, as libtiff reads them. The code tables are the `fax` crate's.

use std::convert::Infallible;

use fax::maps::{Mode, black, mode, white};
use fax::{BitReader, ByteReader};

use super::layout::Packing;

/// Fills `part`, `line` bytes for each row of `width` pixels, white as 0. Gives the rows that are whole.
pub fn unpack(packed: &[u8], packing: Packing, width: usize, line: usize, part: &mut [u8]) -> usize {
    // Tables look further than the last code; zeros are the beginning of none.
    let bytes = packed.iter().copied().chain([0; 3]).map(Ok::<u8, Infallible>);
    let Ok(mut bits) = ByteReader::new(bytes);
    let mut reference = vec![];
    let mut rows = 0;
    for row in part.chunks_exact_mut(line) {
        let changes = match packing {
            Packing::Group4 => two_dimensions(&mut bits, &reference, width),
            Packing::Huffman => {
                let changes = one_dimension(&mut bits, width);
                let rest = bits.bits_to_byte_boundary();
                let _ = bits.consume(rest);
                changes
            }
            _ => {
                // A row may begin with its end-of-line code, behind any number of zeros.
                let has_code = skip_end_of_line(&mut bits);
                let is_one = packing == Packing::Group3
                    || (has_code && bits.peek(1).is_some_and(|bit| bits.consume(1).is_ok() && bit == 1));
                if is_one { one_dimension(&mut bits, width) } else { two_dimensions(&mut bits, &reference, width) }
            }
        };
        let Some(changes) = changes else { break };
        paint(row, &changes, width);
        reference = changes;
        rows += 1;
    }
    rows
}

/// Eleven zeros or more and a one.
fn skip_end_of_line<R: BitReader>(bits: &mut R) -> bool {
    if bits.peek(11) != Some(0) {
        return false;
    }
    while bits.peek(1) == Some(0) {
        if bits.consume(1).is_err() {
            return false;
        }
    }
    bits.peek(1) == Some(1) && bits.consume(1).is_ok()
}

/// The length of a run: make-up codes, then one below 64.
fn run<R: BitReader>(bits: &mut R, is_black: bool) -> Option<usize> {
    let mut length = 0;
    loop {
        let code = usize::from(if is_black { black::decode(bits) } else { white::decode(bits) }?);
        length += code;
        if code < 64 || length > 1 << 20 {
            return Some(length);
        }
    }
}

/// Where a row changes its colour, beginning with white.
fn one_dimension<R: BitReader>(bits: &mut R, width: usize) -> Option<Vec<usize>> {
    let (mut at, mut is_black, mut changes) = (0, false, vec![]);
    while at < width {
        at += run(bits, is_black)?;
        changes.push(at.min(width));
        if changes.len() > 2 * width + 2 {
            return None; // runs of no length, over and over
        }
        is_black = !is_black;
    }
    Some(changes)
}

fn two_dimensions<R: BitReader>(bits: &mut R, reference: &[usize], width: usize) -> Option<Vec<usize>> {
    let (mut at, mut is_black, mut changes, mut is_start) = (0, false, vec![], true);
    while at < width {
        if changes.len() > 2 * width + 2 {
            return None;
        }
        // The first change on the row above that is to the right and to the other colour; and the next one.
        let behind = reference.partition_point(|change| *change < at || *change == at && !is_start);
        let first = behind + usize::from((behind % 2 == 1) != is_black);
        let change = |place: usize| reference.get(place).copied().unwrap_or(width);
        match mode::decode(bits)? {
            Mode::Pass => at = change(first + 1),
            Mode::Vertical(delta) => {
                at = change(first).checked_add_signed(isize::from(delta))?.clamp(at, width);
                changes.push(at);
                is_black = !is_black;
            }
            Mode::Horizontal => {
                let (one, two) = (run(bits, is_black)?, run(bits, !is_black)?);
                changes.extend([(at + one).min(width), (at + one + two).min(width)]);
                at = (at + one + two).min(width);
            }
            Mode::Extension | Mode::EOF => return None,
        }
        is_start = false;
    }
    Some(changes)
}

fn paint(row: &mut [u8], changes: &[usize], width: usize) {
    for pair in changes.chunks(2) {
        let end = pair.get(1).copied().unwrap_or(width);
        (pair[0]..end).for_each(|x| row[x / 8] |= 0x80 >> (x % 8));
    }
}
