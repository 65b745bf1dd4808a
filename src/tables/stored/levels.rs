//! The repetition levels of a list column: RLE and bit-packed runs of zeros and ones → how long each list is.
//!
//! Source: "Run Length Encoding / Bit-Packing Hybrid" of the Parquet format. A level of 0 begins a list, a level of 1 goes
//! on with it. Run by run: a vector of 768 numbers costs a handful of steps, not 768.

/// The lengths of the lists whose levels `bytes` holds, `count` of them in all.
///
/// # Errors
/// Levels that end early or that no writer of these tables makes.
pub(super) fn list_lengths(bytes: &[u8], count: usize) -> Result<Vec<u32>, String> {
    let (mut lengths, mut seen, mut rest) = (vec![], 0, bytes);
    while seen < count {
        let (header, behind) = varint(rest).ok_or("the levels of its lists end early")?;
        rest = behind;
        let run = usize::try_from(header >> 1).map_err(|e| e.to_string())?;
        if header & 1 == 0 {
            let (level, behind) = rest.split_first().ok_or("the levels of its lists end early")?;
            rest = behind;
            let run = run.min(count - seen);
            add(&mut lengths, *level, run)?;
            seen += run;
            continue;
        }
        // Eight levels a byte, the first in its lowest bit; the last byte may hold more than there are.
        let (packed, behind) = rest.split_at_checked(run).ok_or("the levels of its lists end early")?;
        rest = behind;
        for byte in packed {
            for bit in 0..8.min(count - seen) {
                add(&mut lengths, byte >> bit & 1, 1)?;
            }
            seen += 8.min(count - seen);
        }
        if run == 0 {
            return Err("a run of no levels".to_owned());
        }
    }
    Ok(lengths)
}

fn add(lengths: &mut Vec<u32>, level: u8, run: usize) -> Result<(), String> {
    let run = u32::try_from(run).map_err(|e| e.to_string())?;
    match (level, lengths.last_mut()) {
        (0, _) => lengths.extend(std::iter::repeat_n(1, run as usize)),
        (1, Some(last)) => *last += run,
        (1, None) => return Err("expected a page to begin with a list, found the end of one".to_owned()),
        (other, _) => return Err(format!("expected levels of 0 and 1, found {other}")),
    }
    Ok(())
}

/// Seven bits a byte, the lowest first.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::list_lengths;

    #[test]
    fn runs_and_packed_levels_give_the_lengths_of_lists() {
        // 0, then 767 ones as a run (header 1534 = 2 · 767), and again.
        let one = [2, 0, 0xFE, 0x0B, 1];
        assert_eq!(list_lengths(&[one, one].concat(), 1536).unwrap(), [768, 768]);
        // One byte of packed levels, lowest bit first: 0 1 1 0 0 1 1 1, of which six count.
        assert_eq!(list_lengths(&[3, 0b1110_0110], 6).unwrap(), [3, 1, 2]);
        assert_eq!(list_lengths(&[3, 0b1110_0110, 4, 1], 10).unwrap(), [3, 1, 6]);
    }

    #[test]
    fn levels_that_cannot_be_are_refused() {
        for (bytes, count) in [(&[][..], 1), (&[2, 0], 2), (&[3], 8), (&[2, 1], 1), (&[2, 7], 1), (&[0x80; 12], 1)] {
            assert!(list_lengths(bytes, count).is_err(), "{bytes:?}");
        }
        for (bytes, count) in [(&[1][..], 8), (&[1, 1, 1], 8)] {
            assert!(list_lengths(bytes, count).is_err(), "{bytes:?}");
        }
    }
}
