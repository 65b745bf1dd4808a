//! k × k convolution of [`LANES`] pictures side by side, without padding, with bias and PReLU.
//!
//! In: `[inputs][rows][columns · LANES]`. Out: `[outputs][rows − k + 1][(columns − k + 1) · LANES]`.

#![allow(clippy::needless_range_loop, reason = "several arrays share an index, and unroll together")]

use pulp::{Arch, Simd, WithSimd};

use crate::vector::{filled_up, for_this_machine, group, load, prelu, store_one};
use crate::{LANES, Planes};

/// A convolution whose weights are packed for the kernel.
#[derive(Debug, Clone)]
pub struct DirectConv {
    inputs: usize,
    outputs: usize,
    kernel: usize,
    /// `[outputs / group][inputs][kernel²][group]`, the last group filled up with zeros.
    packed: Vec<f32>,
    bias: Vec<f32>,
    /// What negative values are multiplied by; 1 leaves them as they are.
    negative: Vec<f32>,
}

impl DirectConv {
    /// `weight`: `[outputs][inputs][kernel][kernel]`; `bias`: `[outputs]`; `negative`: `[outputs]`, PReLU's slopes.
    ///
    /// # Panics
    /// If the lengths do not agree, or the kernel is not 1, 2 or 3: a bug of the caller.
    #[must_use]
    pub fn new(weight: &[f32], bias: &[f32], negative: Option<&[f32]>, inputs: usize, kernel: usize) -> Self {
        let (outputs, group) = (bias.len(), group());
        let taps = inputs * kernel * kernel;
        assert!((1..=3).contains(&kernel), "a kernel of {kernel}²");
        assert_eq!(weight.len(), outputs * taps, "weights of {outputs} × {inputs} × {kernel}²");
        assert!(negative.is_none_or(|negative| negative.len() == outputs), "slopes");
        let mut packed = vec![0.0; outputs.next_multiple_of(group) * taps];
        for (o, weights) in weight.chunks_exact(taps).enumerate() {
            for (tap, value) in weights.iter().enumerate() {
                packed[(o / group * taps + tap) * group + o % group] = *value;
            }
        }
        let negative = filled_up(negative.unwrap_or(&vec![1.0; outputs]), group, 1.0);
        Self { inputs, outputs, kernel, packed, bias: filled_up(bias, group, 0.0), negative }
    }

    /// # Panics
    /// If `x` has other channels or is smaller than the kernel: a bug of the caller.
    pub fn forward(&self, x: &Planes, out: &mut Planes) {
        assert_eq!(x.channels, self.inputs, "channels");
        assert!(x.rows >= self.kernel && x.row >= self.kernel * LANES, "rows and columns");
        let more = self.kernel - 1;
        out.reshape(self.outputs, x.rows - more, x.row - more * LANES);
        Arch::new().dispatch(Forward { conv: self, x, out });
    }
}

struct Forward<'a> {
    conv: &'a DirectConv,
    x: &'a Planes,
    out: &'a mut Planes,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { conv, x, out } = self;
        for_this_machine!(S, forward(simd, conv, x, out));
    }
}

#[inline(always)]
fn forward<S: Simd, const V: usize, const G: usize>(simd: S, conv: &DirectConv, x: &Planes, out: &mut Planes) {
    for group in 0..conv.outputs.div_ceil(G) {
        for row in 0..out.rows {
            match conv.kernel {
                1 => group_row::<S, V, G, 1>(simd, conv, x, (group, row), out),
                2 => group_row::<S, V, G, 2>(simd, conv, x, (group, row), out),
                _ => group_row::<S, V, G, 3>(simd, conv, x, (group, row), out),
            }
        }
    }
}

/// Row `row` of the outputs of a group.
#[inline(always)]
fn group_row<S: Simd, const V: usize, const G: usize, const K: usize>(
    simd: S,
    conv: &DirectConv,
    x: &Planes,
    (group, row): (usize, usize),
    out: &mut Planes,
) {
    let taps = conv.inputs * K * K;
    let plane = x.rows * x.row;
    let packed = conv.packed[group * taps * G..][..taps * G].as_chunks::<G>().0; // [inputs · K²][G]
    let (bias, negative) = (&conv.bias[group * G..][..G], &conv.negative[group * G..][..G]);
    for block in (0..out.row).step_by(LANES) {
        let mut sums = [[simd.splat_f32s(0.0); V]; G];
        for g in 0..G {
            sums[g] = [simd.splat_f32s(bias[g]); V];
        }
        for (input, weights) in packed.chunks_exact(K * K).enumerate() {
            for (ky, weights) in weights.as_chunks::<K>().0.iter().enumerate() {
                let pixels = &x.values[input * plane + (row + ky) * x.row + block..][..K * LANES];
                for kx in 0..K {
                    let values = load::<S, V>(&pixels[kx * LANES..]);
                    for g in 0..G {
                        let weight = simd.splat_f32s(weights[kx][g]);
                        for v in 0..V {
                            sums[g][v] = simd.mul_add_e_f32s(values[v], weight, sums[g][v]);
                        }
                    }
                }
            }
        }
        for g in 0..G {
            let output = group * G + g;
            if output < conv.outputs {
                let target = &mut out.values[(output * out.rows + row) * out.row + block..][..LANES];
                let slope = simd.splat_f32s(negative[g]);
                for v in 0..V {
                    store_one::<S>(&mut target[v * S::F32_LANES..], prelu(simd, sums[g][v], slope));
                }
            }
        }
    }
}
