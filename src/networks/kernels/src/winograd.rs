//! 3 × 3 convolution with bias and PReLU by Winograd's F(m × m, 3 × 3) for m of 3 and 4: 25 products where the
//! definition has 81, and 36 where it has 144.
//!
//! Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv 1509.09308); for m = 3 the same
//! construction at the points 0, 1, −1, 2, ∞. Larger tiles cost more additions and roundings, and are wasted where they
//! hang over the edge. A tile is `SIDE` × `SIDE` values in and two fewer each way out; [`LANES`] tiles are computed side
//! by side.

#![allow(clippy::needless_range_loop, reason = "several arrays share an index, and unroll together")]

use pulp::{Arch, Simd, WithSimd};

use crate::pool::{self, pooled_side};
use crate::vector::{filled_up, for_this_machine, group, load, load_one, prelu, store_one};
use crate::{LANES, Planes, grow};

/// A convolution in tiles of `SIDE` × `SIDE` → `OUT` × `OUT`, whose weights are transformed and packed for the kernel.
#[derive(Debug, Clone)]
pub struct WinogradConv<const SIDE: usize, const OUT: usize> {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// `[outputs / group][SIDE²][inputs][group]`, the last group filled up with zeros.
    packed: Vec<f32>,
    bias: Vec<f32>,
    negative: Vec<f32>,
}

/// F(4 × 4, 3 × 3).
pub type WinogradF4 = WinogradConv<6, 4>;

/// One of either kind, compiled in this crate whoever calls it.
#[derive(Debug, Clone)]
pub enum Winograd {
    F3(WinogradConv<5, 3>),
    F4(WinogradF4),
}

impl Winograd {
    /// F(3 × 3, 3 × 3), for outputs whose sides are multiples of three; arguments as of [`WinogradConv::new`].
    #[must_use]
    pub fn f3(weight: &[f32], bias: &[f32], negative: &[f32], inputs: usize) -> Self {
        Self::F3(WinogradConv::new(weight, bias, negative, inputs))
    }

    /// F(4 × 4, 3 × 3).
    #[must_use]
    pub fn f4(weight: &[f32], bias: &[f32], negative: &[f32], inputs: usize) -> Self {
        Self::F4(WinogradConv::new(weight, bias, negative, inputs))
    }

    /// [`LANES`] pictures side by side: `[inputs][rows][columns · LANES]` → `[outputs][rows − 2][(columns − 2) · LANES]`.
    /// `pool`: the sides of max pooling behind it, 2 or 3, with stride 2, whose last window may hang over the edge.
    ///
    /// # Panics
    /// If `x` has other channels, less than three rows or columns, or less than a window behind the convolution: a bug of the
    /// caller.
    pub fn forward(&self, x: &Planes, pool: Option<usize>, space: &mut WinogradSpace, out: &mut Planes) {
        match self {
            Self::F3(conv) => conv.forward(x, pool, space, out),
            Self::F4(conv) => conv.forward(x, pool, space, out),
        }
    }
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

/// The work space of one thread: the transformed tiles `[SIDE²][inputs][LANES]`, and a group's products.
#[derive(Debug, Default)]
pub(crate) struct TileSpace {
    tiles: Vec<f32>,
    products: Vec<f32>,
}

/// The same for whole pictures: rows that are pooled next are kept, not layers.
#[derive(Debug, Default)]
pub struct WinogradSpace {
    tiles: TileSpace,
    /// `[outputs][row mod KEPT_ROWS][columns · LANES]`
    rows: Vec<f32>,
}

impl<const SIDE: usize, const OUT: usize> WinogradConv<SIDE, OUT> {
    const POINTS: usize = {
        assert!(SIDE == OUT + 2 && (OUT == 3 || OUT == 4), "F(m × m, 3 × 3) for m of 3 or 4");
        SIDE * SIDE
    };

    /// Rows that are kept for pooling: those of a row of tiles, and two before that a window may begin with.
    const KEPT_ROWS: usize = OUT + 2;

    /// `weight`: `[outputs][inputs][3][3]`; `bias`: `[outputs]`; `negative`: `[outputs]`, PReLU's slopes.
    ///
    /// # Panics
    /// If the lengths do not agree: a bug of the caller.
    #[must_use]
    pub fn new(weight: &[f32], bias: &[f32], negative: &[f32], inputs: usize) -> Self {
        let (outputs, group) = (bias.len(), group());
        assert_eq!(weight.len(), outputs * inputs * 9, "weights of {outputs} × {inputs} × 3²");
        assert_eq!(negative.len(), outputs, "slopes");
        let mut packed = vec![0.0; outputs.next_multiple_of(group) * Self::POINTS * inputs];
        for (i, weights) in weight.as_chunks::<9>().0.iter().enumerate() {
            let (o, input) = (i / inputs, i % inputs);
            for (point, value) in transform_weights::<SIDE>(weights).into_iter().enumerate() {
                packed[((o / group * Self::POINTS + point) * inputs + input) * group + o % group] = value;
            }
        }
        Self { inputs, outputs, packed, bias: filled_up(bias, group, 0.0), negative: filled_up(negative, group, 1.0) }
    }

    fn forward(&self, x: &Planes, pool: Option<usize>, space: &mut WinogradSpace, out: &mut Planes) {
        assert_eq!(x.channels, self.inputs, "channels");
        assert!(x.rows >= 3 && x.row >= 3 * LANES, "rows and columns");
        assert!(pool.is_none_or(|kernel| kernel == 2 || kernel == 3), "pooling in windows of 2 or 3");
        let (rows, columns) = (x.rows - 2, x.row / LANES - 2);
        assert!(pool.is_none_or(|kernel| rows.min(columns) >= kernel), "a window of pooling");
        let side = |side: usize| pool.map_or(side, |kernel| pooled_side(side, kernel));
        out.reshape(self.outputs, side(rows), side(columns) * LANES);
        self.fit(&mut space.tiles);
        grow(&mut space.rows, self.outputs * Self::KEPT_ROWS * columns * LANES);
        Arch::new().dispatch(Forward { conv: self, x, pool, space, out });
    }

    pub(crate) fn space(&self) -> TileSpace {
        let mut space = TileSpace::default();
        self.fit(&mut space);
        space
    }

    fn fit(&self, space: &mut TileSpace) {
        grow(&mut space.tiles, Self::POINTS * self.inputs * LANES);
        grow(&mut space.products, Self::POINTS * group() * LANES);
    }
}

/// G · weights · Gᵀ.
fn transform_weights<const SIDE: usize>(weights: &[f32; 9]) -> Vec<f32> {
    let along = |[a, b, c]: [f64; 3]| match SIDE {
        5 => vec![a / 2.0, -(a + b + c) / 2.0, -(a - b + c) / 6.0, (a + 2.0 * b + 4.0 * c) / 6.0, c],
        _ => {
            let (even, double) = ((a + c) / 6.0, a / 24.0 + c / 6.0);
            vec![a / 4.0, -even - b / 6.0, -even + b / 6.0, double + b / 12.0, double - b / 12.0, c]
        }
    };
    let w = weights.map(f64::from);
    let columns = [0, 1, 2].map(|x| along([w[x], w[3 + x], w[6 + x]]));
    (0..SIDE).flat_map(|y| along([0, 1, 2].map(|x| columns[x][y]))).map(|value| value as f32).collect()
}

struct Forward<'a, const SIDE: usize, const OUT: usize> {
    conv: &'a WinogradConv<SIDE, OUT>,
    x: &'a Planes,
    pool: Option<usize>,
    space: &'a mut WinogradSpace,
    out: &'a mut Planes,
}

impl<const SIDE: usize, const OUT: usize> WithSimd for Forward<'_, SIDE, OUT> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for_this_machine!(S, forward::<SIDE, OUT>(simd, self));
    }
}

#[inline(always)]
fn forward<S: Simd, const V: usize, const G: usize, const SIDE: usize, const OUT: usize>(
    simd: S,
    this: Forward<SIDE, OUT>,
) {
    let Forward { conv, x, pool, space, out } = this;
    let (rows, columns) = (x.rows - 2, x.row / LANES - 2);
    // Row y goes to slot y mod `slots`: all of them, or those that are pooled next.
    let (row, slots) = (columns * LANES, if pool.is_some() { WinogradConv::<SIDE, OUT>::KEPT_ROWS } else { rows });
    let mut next_pooled = 0;
    for y in (0..rows).step_by(OUT) {
        let values = if pool.is_some() { &mut space.rows } else { &mut out.values };
        for column in (0..columns).step_by(OUT) {
            // Beyond the picture stands its last row or column again: it reaches only outputs that are not there, but for
            // roundings.
            let source = Tiles {
                plane: x.rows * x.row,
                rows: std::array::from_fn(|i| (y + i).min(x.rows - 1) * x.row),
                columns: std::array::from_fn(|i| (column + i).min(columns + 1) * LANES),
            };
            let target = Tiles {
                plane: slots * row,
                rows: std::array::from_fn(|i| (y + i) % slots * row),
                columns: std::array::from_fn(|i| (column + i) * LANES),
            };
            let there = [OUT.min(rows - y), OUT.min(columns - column)];
            tiles::<S, V, G, SIDE, OUT>(simd, conv, &x.values, source, values, target, there, &mut space.tiles);
        }
        let Some(kernel) = pool else { continue };
        while next_pooled < out.rows {
            let seen = pool::seen(next_pooled, kernel, rows);
            if seen.end > y + OUT {
                break;
            }
            for (channel, kept) in space.rows.chunks_exact(slots * row).take(conv.outputs).enumerate() {
                let seen = [0, 1, 2].map(|i| &kept[(seen.start + i).min(seen.end - 1) % slots * row..][..row]);
                let target = &mut out.values[(channel * out.rows + next_pooled) * out.row..][..out.row];
                pool::pool_row(simd, seen, kernel, target);
            }
            next_pooled += 1;
        }
    }
}

/// `V` vectors of tiles of all channels, [`LANES`] or fewer; `there`: how many of a tile's rows and columns are stored.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "source and target are of the same kind, and nothing else goes in or out"
)]
pub(crate) fn tiles<S: Simd, const V: usize, const G: usize, const SIDE: usize, const OUT: usize>(
    simd: S,
    conv: &WinogradConv<SIDE, OUT>,
    x: &[f32],
    source: Tiles<SIDE>,
    out: &mut [f32],
    target: Tiles<OUT>,
    there: [usize; 2],
    space: &mut TileSpace,
) {
    let points = SIDE * SIDE;
    transform_inputs::<S, V, SIDE>(simd, conv.inputs, x, source, &mut space.tiles);
    let groups = conv.packed.chunks_exact(points * conv.inputs * G);
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
                let result = transform_outputs::<S, G, SIDE, OUT>(simd, &space.products[g * LANES + lane..]);
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
fn transform_inputs<S: Simd, const V: usize, const SIDE: usize>(
    simd: S,
    inputs: usize,
    x: &[f32],
    source: Tiles<SIDE>,
    tiles: &mut [f32],
) {
    let zero = simd.splat_f32s(0.0);
    for input in 0..inputs {
        for lane in (0..V * S::F32_LANES).step_by(S::F32_LANES) {
            let mut half = [[zero; SIDE]; SIDE]; // rows transformed: [column][point]
            for c in 0..SIDE {
                let mut d = [zero; SIDE];
                for r in 0..SIDE {
                    let at = input * source.plane + source.rows[r] + source.columns[c] + lane;
                    d[r] = load_one::<S>(&x[at..at + S::F32_LANES]);
                }
                half[c] = inputs_along(simd, d);
            }
            for r in 0..SIDE {
                let mut d = [zero; SIDE];
                for c in 0..SIDE {
                    d[c] = half[c][r];
                }
                let points = inputs_along(simd, d);
                for c in 0..SIDE {
                    let at = ((SIDE * r + c) * inputs + input) * LANES + lane;
                    store_one::<S>(&mut tiles[at..at + S::F32_LANES], points[c]);
                }
            }
        }
    }
}

/// Bᵀ · d.
#[inline(always)]
fn inputs_along<S: Simd, const SIDE: usize>(simd: S, d: [S::f32s; SIDE]) -> [S::f32s; SIDE] {
    let mut points = d;
    if SIDE == 5 {
        let (two, minus_two, minus_three) = (simd.splat_f32s(2.0), simd.splat_f32s(-2.0), simd.splat_f32s(-3.0));
        let steep = simd.sub_f32s(d[3], d[1]);
        points[0] = simd.mul_add_e_f32s(simd.sub_f32s(d[0], d[2]), two, steep);
        points[1] = simd.mul_add_e_f32s(d[1], minus_two, simd.sub_f32s(d[3], d[2]));
        points[2] = simd.mul_add_e_f32s(d[2], minus_three, simd.mul_add_e_f32s(d[1], two, d[3]));
        points[3] = steep;
        points[4] = simd.mul_add_e_f32s(steep, minus_two, simd.sub_f32s(d[4], d[2]));
    } else {
        let (four, minus_four, minus_five) = (simd.splat_f32s(4.0), simd.splat_f32s(-4.0), simd.splat_f32s(-5.0));
        let (even, odd) = (simd.mul_add_e_f32s(d[2], minus_four, d[4]), simd.mul_add_e_f32s(d[1], minus_four, d[3]));
        let (apart, steep) = (simd.sub_f32s(d[4], d[2]), simd.sub_f32s(d[3], d[1]));
        let steep = simd.add_f32s(steep, steep);
        points[0] = simd.mul_add_e_f32s(d[0], four, simd.mul_add_e_f32s(d[2], minus_five, d[4]));
        points[1] = simd.add_f32s(even, odd);
        points[2] = simd.sub_f32s(even, odd);
        points[3] = simd.add_f32s(apart, steep);
        points[4] = simd.sub_f32s(apart, steep);
        points[5] = simd.mul_add_e_f32s(d[1], four, simd.mul_add_e_f32s(d[3], minus_five, d[5]));
    }
    points
}

/// Aᵀ · products · A of one output channel.
#[inline(always)]
fn transform_outputs<S: Simd, const G: usize, const SIDE: usize, const OUT: usize>(
    simd: S,
    products: &[f32],
) -> [[S::f32s; OUT]; OUT] {
    let zero = simd.splat_f32s(0.0);
    let mut half = [[zero; OUT]; SIDE]; // columns transformed: [row][column]
    for r in 0..SIDE {
        let mut m = [zero; SIDE];
        for c in 0..SIDE {
            m[c] = load_one::<S>(&products[(SIDE * r + c) * G * LANES..]);
        }
        half[r] = outputs_along(simd, m);
    }
    let mut whole = [[zero; OUT]; OUT];
    for c in 0..OUT {
        let mut m = [zero; SIDE];
        for r in 0..SIDE {
            m[r] = half[r][c];
        }
        let column: [S::f32s; OUT] = outputs_along(simd, m);
        for r in 0..OUT {
            whole[r][c] = column[r];
        }
    }
    whole
}

/// Aᵀ · m.
#[inline(always)]
fn outputs_along<S: Simd, const SIDE: usize, const OUT: usize>(simd: S, m: [S::f32s; SIDE]) -> [S::f32s; OUT] {
    let mut outputs = [simd.splat_f32s(0.0); OUT];
    let (sum, apart) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
    if SIDE == 5 {
        outputs[0] = simd.add_f32s(simd.add_f32s(m[0], m[3]), sum);
        outputs[1] = simd.mul_add_e_f32s(m[3], simd.splat_f32s(2.0), apart);
        outputs[2] = simd.add_f32s(simd.mul_add_e_f32s(m[3], simd.splat_f32s(4.0), sum), m[4]);
    } else {
        let (far_sum, far_apart) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
        outputs[0] = simd.add_f32s(simd.add_f32s(m[0], sum), far_sum);
        outputs[1] = simd.mul_add_e_f32s(far_apart, simd.splat_f32s(2.0), apart);
        outputs[2] = simd.mul_add_e_f32s(far_sum, simd.splat_f32s(4.0), sum);
        outputs[3] = simd.add_f32s(simd.mul_add_e_f32s(far_apart, simd.splat_f32s(8.0), apart), m[5]);
    }
    outputs
}
