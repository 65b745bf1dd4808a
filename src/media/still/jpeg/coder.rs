//! The coefficients of one block: Huffman codes → numbers, sequential (T.81, F.2) and progressive (G.2).

use super::huffman::{Bits, Broken, Huffman};
use super::idct::ZIGZAG;

/// A run that ends behind the block means its last coefficient to libjpeg, and so to everybody's pictures.
fn place_of(at: usize) -> usize {
    ZIGZAG.get(at).copied().unwrap_or(63)
}

/// What one block leaves for the next.
pub struct Coder {
    dc: [i32; 4],
    /// Blocks that still end before their first coefficient of this scan.
    end_run: u32,
    first: usize,
    last: usize,
    high: u8,
    low: u8,
}

impl Coder {
    #[must_use]
    pub fn new([first, last, high, low]: [u8; 4]) -> Self {
        Self { dc: [0; 4], end_run: 0, first: usize::from(first), last: usize::from(last), high, low }
    }

    pub fn restart(&mut self) {
        (self.dc, self.end_run) = ([0; 4], 0);
    }

    fn difference(&mut self, bits: &mut Bits, place: usize, table: &Huffman) -> Result<i32, Broken> {
        let size = bits.code(table)?;
        self.dc[place] = self.dc[place].wrapping_add(bits.signed(u32::from(size.min(16))));
        Ok(self.dc[place])
    }

    /// T.81, F.2.
    pub fn sequential(
        &mut self,
        bits: &mut Bits,
        block: &mut [i16; 64],
        place: usize,
        dc: &Huffman,
        ac: &Huffman,
    ) -> Result<(), Broken> {
        block[0] = self.difference(bits, place, dc)? as i16;
        let mut at = 1;
        while at < 64 {
            let code = bits.code(ac)?;
            let (run, size) = (usize::from(code >> 4), u32::from(code & 15));
            if size == 0 {
                if run != 15 {
                    break;
                }
                at += 16;
                continue;
            }
            at += run;
            let value = bits.signed(size) as i16;
            block[place_of(at)] = value;
            at += 1;
        }
        Ok(())
    }

    /// T.81, G.2.
    pub fn progressive(
        &mut self,
        bits: &mut Bits,
        block: &mut [i16],
        place: usize,
        dc: &Huffman,
        ac: &Huffman,
    ) -> Result<(), Broken> {
        if self.first == 0 {
            if self.high == 0 {
                block[0] = (self.difference(bits, place, dc)? << self.low) as i16;
            } else if bits.take(1) == 1 {
                block[0] |= 1 << self.low;
            }
            return Ok(());
        }
        if self.high > 0 {
            return self.refine(bits, block, ac);
        }
        if self.end_run > 0 {
            self.end_run -= 1;
            return Ok(());
        }
        let mut at = self.first;
        while at <= self.last {
            let code = bits.code(ac)?;
            let (run, size) = (u32::from(code >> 4), u32::from(code & 15));
            if size == 0 {
                if run < 15 {
                    self.end_run = (1 << run) - 1 + bits.take(run);
                    break;
                }
                at += 16;
                continue;
            }
            at += run as usize;
            let value = (bits.signed(size) << self.low) as i16;
            block[place_of(at)] = value;
            at += 1;
        }
        Ok(())
    }

    /// One more bit of every coefficient that is not zero, and new ones between them (T.81, G.1.2.3).
    fn refine(&mut self, bits: &mut Bits, block: &mut [i16], ac: &Huffman) -> Result<(), Broken> {
        let one = 1_i16 << self.low;
        let sharpen = |bits: &mut Bits, value: &mut i16| {
            if bits.take(1) == 1 && *value & one == 0 {
                *value = value.wrapping_add(if *value >= 0 { one } else { -one });
            }
        };
        let mut at = self.first;
        if self.end_run == 0 {
            while at <= self.last {
                let code = bits.code(ac)?;
                let (mut run, size) = (u32::from(code >> 4), code & 15);
                let mut new = 0;
                if size == 0 {
                    if run < 15 {
                        self.end_run = (1 << run) + bits.take(run);
                        break;
                    }
                } else {
                    new = if bits.take(1) == 1 { one } else { -one };
                }
                while at <= self.last {
                    let value = &mut block[ZIGZAG[at]];
                    if *value != 0 {
                        sharpen(bits, value);
                    } else if run == 0 {
                        break;
                    } else {
                        run -= 1;
                    }
                    at += 1;
                }
                if new != 0
                    && let Some(place) = ZIGZAG.get(at)
                {
                    block[*place] = new;
                }
                at += 1;
            }
        }
        if self.end_run > 0 {
            for place in ZIGZAG.iter().take(self.last + 1).skip(at) {
                if block[*place] != 0 {
                    sharpen(bits, &mut block[*place]);
                }
            }
            self.end_run -= 1;
        }
        Ok(())
    }
}
