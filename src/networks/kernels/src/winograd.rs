//! 3 × 3 convolution with bias and PReLU by Winograd's F(2 × 2, 3 × 3): 16 products where the definition has 36.
//!
//! Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv 1509.09308). The transforms only
//! add and halve, so the result differs from the definition by a few roundings. A tile is 4 × 4 values in and 2 × 2 out;
//! [`LANES`] tiles are computed side by side.

#![allow(clippy::needless_range_loop, reason = "several arrays share an index, and unroll together")]

use pulp::{Arch, Simd, WithSimd};

use crate::vector::{for_this_machine, group, in_groups, load, load_one, prelu, store_one};
use crate::{LANES, Planes};

/// Products of a tile.
const POINTS: usize = 16;

/// A convolution whose weights are transformed and packed for the kernel.
#[derive(Debug, Clone)]
pub struct WinogradConv {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// `[outputs / group][POINTS][inputs][group]`, the last group filled up with zeros.
    packed: Vec<f32>,
    bias: Vec<f32>,
    negative: Vec<f32>,
}

/// Where the values of [`LANES`] tiles lie: the tile's value (y, x) of a channel begins at `rows[y] + columns[x]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tiles<const SIDE: usize> {
    /// From one channel to the next.
    pub plane: usize,
    pub rows: [usize; SIDE],
    pub columns: [usize; SIDE],
}

impl<const SIDE: usize> Tiles<SIDE> {
    /// The tiles that many values on.
    pub fn moved(mut self, values: usize) -> Self {
        for column in &mut self.columns {
            *column += values;
        }
        self
    }
}

/// The work space of one thread: the transformed tiles `[POINTS][inputs][LANES]`, and a group's products.
#[derive(Debug, Default)]
pub(crate) struct TileSpace {
    tiles: Vec<f32>,
    products: Vec<f32>,
}

impl WinogradConv {
    /// `weight`: `[outputs][inputs][3][3]`; `bias`: `[outputs]`; `negative`: `[outputs]`, PReLU's slopes.
    ///
    /// # Panics
    /// If the lengths do not agree: a bug of the caller.
    #[must_use]
    pub fn new(weight: &[f32], bias: &[f32], negative: &[f32], inputs: usize) -> Self {
        let (outputs, group) = (bias.len(), group());
        assert_eq!(weight.len(), outputs * inputs * 9, "weights of {outputs} × {inputs} × 3²");
        let mut packed = vec![0.0; outputs.next_multiple_of(group) * POINTS * inputs];
        for (i, weights) in weight.as_chunks::<9>().0.iter().enumerate() {
            let (o, input) = (i / inputs, i % inputs);
            for (point, value) in transformed(weights).into_iter().enumerate() {
                packed[((o / group * POINTS + point) * inputs + input) * group + o % group] = value;
            }
        }
        Self { inputs, outputs, packed, bias: in_groups(bias, group, 0.0), negative: in_groups(negative, group, 1.0) }
    }

    /// [`LANES`] pictures side by side: `[inputs][rows][columns · LANES]` → `[outputs][rows − 2][(columns − 2) · LANES]`.
    ///
    /// # Panics
    /// If `x` has other channels or less than three rows or columns: a bug of the caller.
    pub fn forward(&self, x: &Planes, out: &mut Planes) {
        assert_eq!(x.channels, self.inputs, "channels");
        assert!(x.rows >= 3 && x.row >= 3 * LANES, "rows and columns");
        out.reshape(self.outputs, x.rows - 2, x.row - 2 * LANES);
        let mut space = self.space();
        Arch::new().dispatch(Forward { conv: self, x, out, space: &mut space });
    }

    pub(crate) fn space(&self) -> TileSpace {
        TileSpace { tiles: vec![0.0; POINTS * self.inputs * LANES], products: vec![0.0; POINTS * group() * LANES] }
    }
}

/// G · weights · Gᵀ.
fn transformed(weights: &[f32; 9]) -> [f32; POINTS] {
    let four = |[a, b, c]: [f64; 3]| [a, (a + b + c) / 2.0, (a - b + c) / 2.0, c];
    let w = weights.map(f64::from);
    let columns = [0, 1, 2].map(|x| four([w[x], w[3 + x], w[6 + x]]));
    let mut points = [0.0; POINTS];
    for y in 0..4 {
        for (x, value) in four(columns.map(|column| column[y])).into_iter().enumerate() {
            points[4 * y + x] = value as f32;
        }
    }
    points
}

struct Forward<'a> {
    conv: &'a WinogradConv,
    x: &'a Planes,
    out: &'a mut Planes,
    space: &'a mut TileSpace,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { conv, x, out, space } = self;
        for_this_machine!(S, forward(simd, conv, x, out, space));
    }
}

#[inline(always)]
fn forward<S: Simd, const V: usize, const G: usize>(
    simd: S,
    conv: &WinogradConv,
    x: &Planes,
    out: &mut Planes,
    space: &mut TileSpace,
) {
    for y in (0..out.rows).step_by(2) {
        for column in (0..out.row).step_by(2 * LANES) {
            // What the last tile reads beyond the picture reaches only outputs that are not there.
            let source = Tiles {
                plane: x.rows * x.row,
                rows: [y, y + 1, y + 2, (y + 3).min(x.rows - 1)].map(|y| y * x.row + column),
                columns: [0, LANES, 2 * LANES, 3 * LANES],
            };
            let target = Tiles {
                plane: out.rows * out.row,
                rows: [y * out.row + column, (y + 1) * out.row + column],
                columns: [0, LANES],
            };
            let there = [1 + usize::from(y + 1 < out.rows), 1 + usize::from(column + LANES < out.row)];
            tiles::<S, V, G>(simd, conv, &x.values, source, &mut out.values, target, there, space);
        }
    }
}

/// [`LANES`] tiles of all channels; `there`: how many of a tile's rows and columns are stored.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "source and target are of the same kind, and nothing else goes in or out"
)]
pub(crate) fn tiles<S: Simd, const V: usize, const G: usize>(
    simd: S,
    conv: &WinogradConv,
    x: &[f32],
    source: Tiles<4>,
    out: &mut [f32],
    target: Tiles<2>,
    there: [usize; 2],
    space: &mut TileSpace,
) {
    transform_inputs(simd, conv.inputs, x, source, &mut space.tiles);
    let groups = conv.packed.chunks_exact(POINTS * conv.inputs * G);
    for (group, packed) in groups.enumerate() {
        let points = space.tiles.chunks_exact(conv.inputs * LANES).zip(packed.chunks_exact(conv.inputs * G));
        for ((tiles, weights), products) in points.zip(space.products.chunks_exact_mut(G * LANES)) {
            let mut sums = [[simd.splat_f32s(0.0); V]; G];
            for (values, weights) in tiles.as_chunks::<LANES>().0.iter().zip(weights.as_chunks::<G>().0) {
                let values = load::<S, V>(values);
                for g in 0..G {
                    let weight = simd.splat_f32s(weights[g]);
                    for v in 0..V {
                        sums[g][v] = simd.mul_add_e_f32s(values[v], weight, sums[g][v]);
                    }
                }
            }
            for g in 0..G {
                for v in 0..V {
                    store_one::<S>(&mut products[g * LANES + v * S::F32_LANES..], sums[g][v]);
                }
            }
        }
        for g in 0..G.min(conv.outputs - group * G) {
            let output = group * G + g;
            let bias = simd.splat_f32s(conv.bias[output]);
            let slope = simd.splat_f32s(conv.negative[output]);
            for v in 0..V {
                let lane = v * S::F32_LANES;
                let result = transform_outputs::<S, G>(simd, &space.products[g * LANES + lane..]);
                for y in 0..there[0] {
                    for x in 0..there[1] {
                        let at = output * target.plane + target.rows[y] + target.columns[x] + lane;
                        let value = prelu(simd, simd.add_f32s(result[y][x], bias), slope);
                        store_one::<S>(&mut out[at..at + S::F32_LANES], value);
                    }
                }
            }
        }
    }
}

/// Bᵀ · tile · B of every channel.
#[inline(always)]
fn transform_inputs<S: Simd>(simd: S, inputs: usize, x: &[f32], source: Tiles<4>, tiles: &mut [f32]) {
    let zero = simd.splat_f32s(0.0);
    for input in 0..inputs {
        for lane in (0..LANES).step_by(S::F32_LANES) {
            let mut half = [[zero; 4]; 4]; // rows transformed: [column][point]
            for c in 0..4 {
                let mut d = [zero; 4];
                for r in 0..4 {
                    let at = input * source.plane + source.rows[r] + source.columns[c] + lane;
                    d[r] = load_one::<S>(&x[at..at + S::F32_LANES]);
                }
                half[c] = four(simd, d);
            }
            for r in 0..4 {
                let points = four(simd, [half[0][r], half[1][r], half[2][r], half[3][r]]);
                for c in 0..4 {
                    let at = ((4 * r + c) * inputs + input) * LANES + lane;
                    store_one::<S>(&mut tiles[at..at + S::F32_LANES], points[c]);
                }
            }
        }
    }
}

#[inline(always)]
fn four<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 4] {
    [simd.sub_f32s(a, c), simd.add_f32s(b, c), simd.sub_f32s(c, b), simd.sub_f32s(b, d)]
}

/// Aᵀ · products · A of one output channel.
#[inline(always)]
fn transform_outputs<S: Simd, const G: usize>(simd: S, products: &[f32]) -> [[S::f32s; 2]; 2] {
    let zero = simd.splat_f32s(0.0);
    let mut half = [[zero; 2]; 4]; // columns transformed: [row][column]
    for r in 0..4 {
        let mut m = [zero; 4];
        for c in 0..4 {
            m[c] = load_one::<S>(&products[(4 * r + c) * G * LANES..]);
        }
        half[r] = two(simd, m);
    }
    let left = two(simd, [half[0][0], half[1][0], half[2][0], half[3][0]]);
    let right = two(simd, [half[0][1], half[1][1], half[2][1], half[3][1]]);
    [[left[0], right[0]], [left[1], right[1]]]
}

#[inline(always)]
fn two<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 2] {
    [simd.add_f32s(simd.add_f32s(a, b), c), simd.sub_f32s(simd.sub_f32s(b, c), d)]
}
