//! k × k convolution of [`LANES`] pictures side by side, without padding, with bias, PReLU and pooling.
//!
//! In: `[inputs][rows][columns · LANES]`. Out: `[outputs][rows − k + 1][(columns − k + 1) · LANES]`.

#![allow(clippy::needless_range_loop, reason = "several arrays share an index, and unroll together")]

use pulp::{Arch, Simd, WithSimd};

use crate::pool::pooled_side;
use crate::vector::{for_this_machine, group, in_groups, load, load_one, prelu, store_one};
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
        let mut packed = vec![0.0; outputs.next_multiple_of(group) * taps];
        for (o, weights) in weight.chunks_exact(taps).enumerate() {
            for (tap, value) in weights.iter().enumerate() {
                packed[(o / group * taps + tap) * group + o % group] = *value;
            }
        }
        let negative = in_groups(negative.unwrap_or(&vec![1.0; outputs]), group, 1.0);
        Self { inputs, outputs, kernel, packed, bias: in_groups(bias, group, 0.0), negative }
    }

    /// `pool`: the sides of max pooling behind it, with stride 2, whose last window may hang over the edge.
    ///
    /// # Panics
    /// If `x` has other channels or is smaller than the kernel: a bug of the caller.
    pub fn forward(&self, x: &Planes, pool: Option<usize>, out: &mut Planes) {
        assert_eq!(x.channels, self.inputs, "channels");
        assert!(x.rows >= self.kernel && x.row >= self.kernel * LANES, "rows and columns");
        let more = self.kernel - 1;
        let side = |side: usize| pool.map_or(side, |kernel| pooled_side(side, kernel));
        out.reshape(self.outputs, side(x.rows - more), side(x.row / LANES - more) * LANES);
        let mut space = vec![];
        Arch::new().dispatch(Forward { conv: self, x, pool, space: &mut space, out });
    }
}

struct Forward<'a> {
    conv: &'a DirectConv,
    x: &'a Planes,
    pool: Option<usize>,
    space: &'a mut Vec<f32>,
    out: &'a mut Planes,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { conv, x, pool, space, out } = self;
        for_this_machine!(S, forward(simd, conv, x, pool, space, out));
    }
}

/// Row `row` of the outputs of a group, whose weights are `packed`, to `[G][columns · LANES]`.
#[inline(always)]
fn group_row<S: Simd, const V: usize, const G: usize, const K: usize>(
    simd: S,
    conv: &DirectConv,
    x: &Planes,
    (group, row): (usize, usize),
    out: &mut [f32],
) {
    let taps = conv.inputs * K * K;
    let (plane, length) = (x.rows * x.row, out.len() / G);
    let packed = conv.packed[group * taps * G..][..taps * G].as_chunks::<G>().0; // [inputs · K²][G]
    let (bias, negative) = (&conv.bias[group * G..][..G], &conv.negative[group * G..][..G]);
    for block in (0..length).step_by(LANES) {
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
            let target = &mut out[g * length + block..][..LANES];
            let slope = simd.splat_f32s(negative[g]);
            for v in 0..V {
                store_one::<S>(&mut target[v * S::F32_LANES..], prelu(simd, sums[g][v], slope));
            }
        }
    }
}

#[inline(always)]
fn forward<S: Simd, const V: usize, const G: usize>(
    simd: S,
    conv: &DirectConv,
    x: &Planes,
    pool: Option<usize>,
    space: &mut Vec<f32>,
    out: &mut Planes,
) {
    let more = conv.kernel - 1;
    let (rows, length) = (x.rows - more, x.row - more * LANES);
    let kernel = pool.unwrap_or(1);
    let stride = if pool.is_some() { 2 } else { 1 };
    space.resize(space.len().max(2 * G * length), 0.0);
    let (row_values, rest) = space.split_at_mut(G * length);
    let tallest = &mut rest[..G * length];
    for group in 0..conv.outputs.div_ceil(G) {
        for y in 0..out.rows {
            // The largest of the rows that a pooled row sees; the first of them was the last of the row before.
            let first = y * stride;
            for row in first..(first + kernel).min(rows) {
                if row > first || y == 0 || kernel <= stride {
                    match conv.kernel {
                        1 => group_row::<S, V, G, 1>(simd, conv, x, (group, row), row_values),
                        2 => group_row::<S, V, G, 2>(simd, conv, x, (group, row), row_values),
                        _ => group_row::<S, V, G, 3>(simd, conv, x, (group, row), row_values),
                    }
                }
                if row == first {
                    tallest.copy_from_slice(row_values);
                } else {
                    for (tallest, value) in tallest.iter_mut().zip(row_values.iter()) {
                        *tallest = if *value > *tallest { *value } else { *tallest };
                    }
                }
            }
            for g in 0..G.min(conv.outputs - group * G) {
                let at = ((group * G + g) * out.rows + y) * out.row;
                let targets = out.values[at..at + out.row].as_chunks_mut::<LANES>().0;
                let pixels = tallest[g * length..][..length].as_chunks::<LANES>().0;
                for (x, target) in targets.iter_mut().enumerate() {
                    let window = &pixels[x * stride..(x * stride + kernel).min(pixels.len())];
                    for lane in (0..LANES).step_by(S::F32_LANES) {
                        let mut largest = load_one::<S>(&window[0][lane..]);
                        for pixel in &window[1..] {
                            largest = simd.max_f32s(largest, load_one::<S>(&pixel[lane..]));
                        }
                        store_one::<S>(&mut target[lane..], largest);
                    }
                }
            }
        }
    }
}
