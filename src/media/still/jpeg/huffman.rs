//! Huffman tables (T.81, annex C and F.2.2.3) and the bits of one scan.

use super::segments::is_restart;

/// Codes up to this length are looked up at once.
const LOOKUP_BITS: u32 = 9;

#[derive(Debug, Clone)]
pub struct Huffman {
    /// Length in the high byte, value in the low one; 0 for longer codes.
    lookup: Vec<u16>,
    /// The largest code of each length, in 16 bits from the left; and where its values begin.
    limits: [u32; 17],
    offsets: [i32; 17],
    values: Vec<u8>,
}

impl Huffman {
    /// None where the counts make no code, or promise more values than there are. What follows the table comes back.
    #[must_use]
    pub fn parse(content: &[u8]) -> Option<(Self, &[u8])> {
        let (counts, rest) = content.split_at_checked(16)?;
        let total: usize = counts.iter().map(|count| usize::from(*count)).sum();
        let values = rest.get(..total).filter(|_| total <= 256)?;
        let mut table =
            Self { lookup: vec![0; 1 << LOOKUP_BITS], limits: [0; 17], offsets: [0; 17], values: values.to_vec() };
        let (mut code, mut first) = (0_u32, 0_usize);
        for (length, count) in (1_u32..).zip(counts) {
            let count = usize::from(*count);
            table.offsets[length as usize] = first as i32 - code as i32;
            for (place, value) in values[first..first + count].iter().enumerate() {
                let code = code + place as u32;
                if code >> length != 0 {
                    return None;
                }
                if length <= LOOKUP_BITS {
                    let from = (code << (LOOKUP_BITS - length)) as usize;
                    let entries = table.lookup.get_mut(from..from + (1 << (LOOKUP_BITS - length)))?;
                    entries.fill((length as u16) << 8 | u16::from(*value));
                }
            }
            first += count;
            code += count as u32;
            // No code of this length is as large.
            table.limits[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some((table, &rest[total..]))
    }
}

/// The bits of a scan up to the next restart marker or the scan's end, and zeros from there on.
#[derive(Debug)]
pub struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    bits: u64,
    count: u32,
    /// More bits were read than there are: everything since the last restart is lost from there on.
    pub ran_out: bool,
    /// Codes that are in no table.
    pub broken_codes: u32,
}

/// A sign of damage beyond which nothing of a block can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

impl<'a> Bits<'a> {
    #[must_use]
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, bits: 0, count: 0, ran_out: false, broken_codes: 0 }
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let byte = match self.data.get(self.at) {
                Some(0xFF) => match self.data.get(self.at + 1) {
                    Some(0) => {
                        self.at += 2;
                        0xFF
                    }
                    Some(0xFF) => {
                        self.at += 1; // fill
                        continue;
                    }
                    _ => return,
                },
                Some(byte) => {
                    self.at += 1;
                    *byte
                }
                None => return,
            };
            self.bits = self.bits << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// The next 16 bits, zeros behind the last one.
    fn peek16(&mut self) -> u32 {
        if self.count < 16 {
            self.fill();
        }
        if self.count >= 16 {
            (self.bits >> (self.count - 16)) as u32 & 0xFFFF
        } else {
            (self.bits << (16 - self.count)) as u32 & 0xFFFF
        }
    }

    fn skip(&mut self, count: u32) {
        if count > self.count {
            self.ran_out = true;
            (self.bits, self.count) = (0, 0);
        } else {
            self.count -= count;
        }
    }

    /// Up to 16 bits.
    pub fn take(&mut self, count: u32) -> u32 {
        if count == 0 {
            return 0;
        }
        let value = self.peek16() >> (16 - count.min(16));
        self.skip(count.min(16));
        value
    }

    pub fn code(&mut self, table: &Huffman) -> Result<u8, Broken> {
        let next = self.peek16();
        let found = table.lookup[(next >> (16 - LOOKUP_BITS)) as usize];
        if found != 0 {
            self.skip(u32::from(found >> 8));
            return Ok(found as u8);
        }
        for length in LOOKUP_BITS + 1..=16 {
            if next < table.limits[length as usize] {
                let place = (next >> (16 - length)) as i32 + table.offsets[length as usize];
                self.skip(length);
                return usize::try_from(place).ok().and_then(|at| table.values.get(at)).copied().ok_or(Broken);
            }
        }
        self.skip(16);
        // Zeros behind the end are nobody's codes.
        self.broken_codes += u32::from(!self.ran_out);
        Err(Broken)
    }

    /// A difference of so many bits (T.81, F.2.2.1, EXTEND).
    pub fn signed(&mut self, count: u32) -> i32 {
        let value = self.take(count) as i32;
        if count > 0 && value < 1 << (count - 1) { value - (1 << count) + 1 } else { value }
    }

    /// Goes on behind the restart marker `number` by the rules of libjpeg's `jpeg_resync_to_restart`: a marker that came too
    /// early leaves this interval without data, one that came too late is passed over. False where it was not the next thing.
    pub fn restart(&mut self, number: u8) -> bool {
        (self.bits, self.count) = (0, 0);
        let mut as_expected = true;
        loop {
            // Up to the next restart marker.
            while let Some(byte) = self.data.get(self.at) {
                let code = self.data.get(self.at + 1).copied().unwrap_or(0);
                if *byte == 0xFF && is_restart(code) {
                    break;
                }
                as_expected &= *byte == 0xFF && code == 0xFF;
                self.at += 1;
            }
            let Some(code) = self.data.get(self.at + 1) else {
                return false; // zeros from here on, as libjpeg has it
            };
            let ahead = (code & 7).wrapping_sub(number) & 7;
            match ahead {
                0 => self.at += 2,
                1 | 2 => return false, // this interval is lost, the marker waits for its turn
                6 | 7 => {
                    as_expected = false;
                    self.at += 2;
                    continue;
                }
                _ => {
                    as_expected = false;
                    self.at += 2;
                }
            }
            self.ran_out = false;
            return as_expected;
        }
    }

    /// Whether no restart marker follows.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        let rest = self.data.get(self.at..).unwrap_or_default();
        !rest.windows(2).any(|pair| pair[0] == 0xFF && is_restart(pair[1]))
    }
}
