//! Numbers of any count of bits, as the headers of HEVC and AV1 have them.

use super::boxes::corrupt;
use crate::error::Rejection;

/// Reads from the first bit on.
#[derive(Debug)]
pub struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// # Errors
    /// The end, here and below.
    pub fn bit(&mut self) -> Result<bool, Rejection> {
        let byte = self.bytes.get(self.at / 8).ok_or_else(|| corrupt("the coded picture's header ends early"))?;
        let bit = byte >> (7 - self.at % 8) & 1 == 1;
        self.at += 1;
        Ok(bit)
    }

    /// At most 64 bits.
    pub fn number(&mut self, bits: u32) -> Result<u64, Rejection> {
        (0..bits).try_fold(0, |number, _| Ok(number << 1 | u64::from(self.bit()?)))
    }

    pub fn small(&mut self, bits: u32) -> Result<u32, Rejection> {
        self.number(bits.min(32)).map(|number| number as u32)
    }

    pub fn skip(&mut self, bits: u32) -> Result<(), Rejection> {
        (0..bits).try_for_each(|_| self.bit().map(drop))
    }

    /// Exp-Golomb, unsigned: `ue(v)` of ITU-T H.265, 9.2.
    pub fn exp_golomb(&mut self) -> Result<u32, Rejection> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return Err(corrupt("a number in the coded picture's header is too long"));
            }
        }
        Ok(((1 << zeros) - 1) + self.small(zeros)?)
    }

    /// `uvlc()` of the AV1 specification, 4.10.3.
    pub fn uvlc(&mut self) -> Result<(), Rejection> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
        }
        if zeros < 32 { self.skip(zeros) } else { Ok(()) }
    }
}
