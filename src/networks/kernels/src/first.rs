//! 3 × 3 convolution of three colours with bias and PReLU, and 2 × 2 max pooling behind it, in one pass.
//!
//! In: rows whose columns are dealt out over eight sections. Out: one pooled row, over four. Neighbours of the convolution
//! then lie in vectors of their own at the same place, and pooling is the larger of two vectors.

#![allow(clippy::needless_range_loop, reason = "several arrays share an index, and unroll together")]

use pulp::Simd;

use crate::LANES;
use crate::vector::{load_one, prelu, store_one};

const COLOURS: usize = 3;

/// Of the rows that come in.
pub(crate) const SECTIONS: usize = 8;

/// Columns of the convolution that are computed together: eight sums fit the registers of every machine.
const AT_ONCE: usize = 4;

/// Such a convolution.
#[derive(Debug, Clone)]
pub struct FirstConv {
    /// Per output channel: `[COLOURS][3][3]`.
    weights: Vec<[[[f32; 3]; 3]; COLOURS]>,
    bias: Vec<f32>,
    negative: Vec<f32>,
}

/// The rows that a pooled row sees.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    /// `[COLOURS][SECTIONS][section]` each.
    pub rows: [&'a [f32]; 4],
    pub section: usize,
    /// Columns of the convolution: those of the picture less two.
    pub columns: usize,
    /// False for the last pooled row of an odd number of rows: the fourth row is not there.
    pub pair: bool,
}

impl FirstConv {
    /// `weight`: `[outputs][3][3][3]`; `bias`: `[outputs]`; `negative`: `[outputs]`, PReLU's slopes.
    ///
    /// # Panics
    /// If the lengths do not agree: a bug of the caller.
    #[must_use]
    pub fn new(weight: &[f32], bias: &[f32], negative: &[f32]) -> Self {
        assert_eq!(weight.len(), bias.len() * COLOURS * 9, "weights of {} × {COLOURS} × 3²", bias.len());
        assert_eq!(negative.len(), bias.len(), "slopes");
        let taps = weight.as_chunks::<3>().0.as_chunks::<3>().0.as_chunks::<COLOURS>().0;
        Self { weights: taps.to_vec(), bias: bias.to_vec(), negative: negative.to_vec() }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// `pooled`: `[outputs][SECTIONS / 2][section]`; `narrow`: what takes the last columns where its vector holds them.
    #[inline(always)]
    pub(crate) fn pooled_row<S: Simd, N: Simd>(&self, simd: S, narrow: N, seen: Seen, pooled: &mut [f32]) {
        let places = seen.columns.div_ceil(SECTIONS);
        for block in (0..places).step_by(S::F32_LANES) {
            if places - block <= N::F32_LANES {
                self.pooled_block(narrow, seen, block, pooled);
            } else {
                self.pooled_block(simd, seen, block, pooled);
            }
        }
    }

    /// A vector of each section.
    #[inline(always)]
    fn pooled_block<S: Simd>(&self, simd: S, seen: Seen, block: usize, pooled: &mut [f32]) {
        let Seen { rows, section, columns, pair } = seen;
        let channels = self.weights.iter().zip(&self.bias).zip(&self.negative);
        let targets = pooled.chunks_exact_mut(SECTIONS / 2 * section);
        for (((weights, bias), negative), target) in channels.zip(targets) {
            for left in (0..SECTIONS).step_by(AT_ONCE) {
                let mut sums = [[simd.splat_f32s(*bias); AT_ONCE]; 2];
                for (colour, weights) in weights.iter().enumerate() {
                    for (y, row) in rows.iter().enumerate() {
                        let row = &row[colour * SECTIONS * section..][..SECTIONS * section];
                        let mut values = [simd.splat_f32s(0.0); AT_ONCE + 2];
                        for x in 0..AT_ONCE + 2 {
                            let column = left + x;
                            let at = column % SECTIONS * section + column / SECTIONS + block;
                            values[x] = load_one::<S>(&row[at..]);
                        }
                        for (up, sums) in sums.iter_mut().enumerate() {
                            let Some(taps) = y.checked_sub(up).and_then(|ky| weights.get(ky)) else {
                                continue;
                            };
                            for kx in 0..3 {
                                let weight = simd.splat_f32s(taps[kx]);
                                for x in 0..AT_ONCE {
                                    sums[x] = simd.mul_add_e_f32s(values[x + kx], weight, sums[x]);
                                }
                            }
                        }
                    }
                }
                let slope = simd.splat_f32s(*negative);
                let [upper, lower] = if pair { sums } else { [sums[0], sums[0]] };
                let mut larger = upper;
                for x in 0..AT_ONCE {
                    larger[x] = simd.max_f32s(prelu(simd, upper[x], slope), prelu(simd, lower[x], slope));
                }
                for two in 0..AT_ONCE / 2 {
                    let at = (left / 2 + two) * section + block;
                    store_one::<S>(&mut target[at..], simd.max_f32s(larger[2 * two], larger[2 * two + 1]));
                }
                // The last window of an odd number of columns has only its left half.
                let last = columns - 1;
                let (place, section_of_last) = (last / SECTIONS, last % SECTIONS);
                let is_here = (block..block + S::F32_LANES).contains(&place);
                if columns % 2 == 1 && is_here && (left..left + AT_ONCE).contains(&section_of_last) {
                    let mut alone = [0.0; LANES];
                    store_one::<S>(&mut alone, larger[section_of_last - left]);
                    target[section_of_last / 2 * section + place] = alone[place - block];
                }
            }
        }
    }
}
