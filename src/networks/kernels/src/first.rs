//! 3 × 3 convolution of three colours with bias and PReLU, and 2 × 2 max pooling behind it, in one pass.
//!
//! In: rows whose columns are dealt out over four sections. Out: one pooled row, over two. Four neighbours of the
//! convolution then lie in four vectors at the same place, and pooling is the larger of two vectors.

#![allow(clippy::needless_range_loop, reason = "several arrays share an index, and unroll together")]

use pulp::Simd;

use crate::LANES;
use crate::vector::{load_one, prelu, store_one};

const COLOURS: usize = 3;

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
    /// `[COLOURS][4 sections][section]` each.
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
        let taps = weight.as_chunks::<3>().0.as_chunks::<3>().0.as_chunks::<COLOURS>().0;
        Self { weights: taps.to_vec(), bias: bias.to_vec(), negative: negative.to_vec() }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// `pooled`: `[outputs][2 sections][section]`.
    #[inline(always)]
    pub(crate) fn pooled_row<S: Simd>(&self, simd: S, seen: Seen, pooled: &mut [f32]) {
        let Seen { rows, section, columns, pair } = seen;
        let channels = self.weights.iter().zip(&self.bias).zip(&self.negative);
        for block in (0..columns.div_ceil(4)).step_by(S::F32_LANES) {
            for (((weights, bias), negative), target) in channels.clone().zip(pooled.chunks_exact_mut(2 * section)) {
                let mut sums = [[simd.splat_f32s(*bias); 4]; 2];
                for (colour, weights) in weights.iter().enumerate() {
                    for (y, row) in rows.iter().enumerate() {
                        let row = &row[colour * 4 * section..][..4 * section];
                        let values: [S::f32s; 6] = [
                            load_one::<S>(&row[block..]),
                            load_one::<S>(&row[section + block..]),
                            load_one::<S>(&row[2 * section + block..]),
                            load_one::<S>(&row[3 * section + block..]),
                            load_one::<S>(&row[block + 1..]),
                            load_one::<S>(&row[section + block + 1..]),
                        ];
                        for (up, sums) in sums.iter_mut().enumerate() {
                            let Some(taps) = y.checked_sub(up).and_then(|ky| weights.get(ky)) else { continue };
                            for kx in 0..3 {
                                let weight = simd.splat_f32s(taps[kx]);
                                for x in 0..4 {
                                    sums[x] = simd.mul_add_e_f32s(values[x + kx], weight, sums[x]);
                                }
                            }
                        }
                    }
                }
                let slope = simd.splat_f32s(*negative);
                let [upper, lower] = if pair { sums } else { [sums[0], sums[0]] };
                let mut larger = upper;
                for x in 0..4 {
                    larger[x] = simd.max_f32s(prelu(simd, upper[x], slope), prelu(simd, lower[x], slope));
                }
                store_one::<S>(&mut target[block..], simd.max_f32s(larger[0], larger[1]));
                store_one::<S>(&mut target[section + block..], simd.max_f32s(larger[2], larger[3]));
                // The last window of an odd number of columns has only its left half.
                let last = columns - 1;
                if columns % 2 == 1 && (block..block + S::F32_LANES).contains(&(last / 4)) {
                    let mut alone = [0.0; LANES];
                    store_one::<S>(&mut alone, larger[last % 4]);
                    target[last % 4 / 2 * section + last / 4] = alone[last / 4 - block];
                }
            }
        }
    }
}
