//! MTCNN's P-Net over rows of a picture: three convolutions, pooling and both heads, without ever holding a layer.
//!
//! Rows flow through: of each layer only the four rows that the next one sees are kept. In: rows of the picture, asked
//! for from top to bottom. Out: the cells whose logits may pass. Nothing is decided here that is near.

use pulp::{Arch, Simd, WithSimd};

use crate::LANES;
use crate::first::{FirstConv, Seen};
use crate::vector::{for_this_machine, load_one, store_one};
use crate::winograd::{TileSpace, Tiles, WinogradConv, tiles};

/// No face, face, and the four offsets.
const HEADS: usize = 6;

/// Rows of each layer that the next one sees; a row lies in slot y mod this.
const SLOTS: usize = 4;

/// The network.
#[derive(Debug, Clone)]
pub struct Proposal {
    pub first: FirstConv,
    pub second: WinogradConv,
    pub third: WinogradConv,
    /// `[HEADS][outputs of the third]`
    pub heads: Vec<f32>,
    pub heads_bias: [f32; HEADS],
}

/// One place where a face may be: two logits and four offsets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    pub row: usize,
    pub column: usize,
    pub outputs: [f32; HEADS],
}

/// The work space of one thread, for pictures of any size.
#[derive(Debug, Default)]
pub struct ProposalSpace {
    picture: Vec<f32>, // [SLOTS][3][4 sections][section]
    pooled: Vec<f32>,  // [SLOTS][10][2 sections][section]
    second: Vec<f32>,  // [SLOTS][16][2 sections][section]
    third: Vec<f32>,   // [32][2 rows][2 columns][LANES]
    second_tiles: TileSpace,
    third_tiles: TileSpace,
    difference: Vec<f32>,
}

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Strip {
    /// Sides of the picture.
    pub width: usize,
    pub height: usize,
    /// Rows of cells; the first is even.
    pub rows: std::ops::Range<usize>,
    /// Cells whose logits differ by more are found.
    pub least_difference: f32,
}

impl Strip {
    /// Values of a section of the picture's rows: a quarter of them, and room to read on.
    #[must_use]
    pub fn section(width: usize) -> usize {
        width.div_ceil(4).next_multiple_of(LANES) + LANES
    }

    /// Rows and columns of cells of a picture of 12 × 12 pixels or more.
    #[must_use]
    pub fn cells(side: usize) -> usize {
        (side - 2).div_ceil(2).saturating_sub(4)
    }
}

impl Proposal {
    #[must_use]
    pub fn space(&self) -> ProposalSpace {
        let third = self.third.outputs;
        ProposalSpace {
            third: vec![0.0; third * 4 * LANES],
            second_tiles: self.second.space(),
            third_tiles: self.third.space(),
            difference: (0..third).map(|i| self.heads[third + i] - self.heads[i]).collect(),
            ..ProposalSpace::default()
        }
    }

    /// Adds the cells of `strip` to `found`, in no order. `read(y, row)` fills `[3][4][section]` with the picture's
    /// row y, column x at section x mod 4, place x / 4.
    pub fn find(
        &self,
        strip: &Strip,
        read: &mut dyn FnMut(usize, &mut [f32]),
        space: &mut ProposalSpace,
        found: &mut Vec<Cell>,
    ) {
        let section = Strip::section(strip.width);
        let grow = |values: &mut Vec<f32>, length: usize| values.resize(length.max(values.len()), 0.0);
        grow(&mut space.picture, SLOTS * 3 * 4 * section);
        grow(&mut space.pooled, SLOTS * self.first.outputs() * 2 * section);
        grow(&mut space.second, SLOTS * self.second.outputs * 2 * section);
        Arch::new().dispatch(Find { net: self, strip, section, read, space, found });
    }
}

struct Find<'a> {
    net: &'a Proposal,
    strip: &'a Strip,
    section: usize,
    read: &'a mut dyn FnMut(usize, &mut [f32]),
    space: &'a mut ProposalSpace,
    found: &'a mut Vec<Cell>,
}

impl WithSimd for Find<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let this = &mut self;
        for_this_machine!(S, find(simd, this));
    }
}

#[inline(always)]
fn find<S: Simd, const V: usize, const G: usize>(simd: S, this: &mut Find) {
    let (strip, net, section) = (this.strip, this.net, this.section);
    let (columns, rows) = (strip.width - 2, strip.height - 2); // of the first convolution
    let (pooled_columns, pooled_rows) = (columns.div_ceil(2), rows.div_ceil(2));
    let [mut next_row, mut next_pooled, mut next_second] = [2 * strip.rows.start, strip.rows.start, strip.rows.start];
    for y in strip.rows.clone().step_by(2) {
        while next_second < y + 4 {
            while next_pooled < pooled_rows.min(next_second + 4) {
                while next_row < strip.height.min(2 * next_pooled + 4) {
                    let size = 3 * 4 * section;
                    (this.read)(next_row, &mut this.space.picture[next_row % SLOTS * size..][..size]);
                    next_row += 1;
                }
                pooled_row(simd, this, next_pooled, columns, 2 * next_pooled + 1 < rows);
                next_pooled += 1;
            }
            let source = tiles_of(next_second, pooled_rows - 1, net.second.inputs, section);
            let target = target_of(next_second, net.second.outputs, section);
            let space = &mut *this.space;
            for block in (0..(pooled_columns - 2).div_ceil(2)).step_by(LANES) {
                tiles::<S, V, G>(
                    simd,
                    &net.second,
                    &space.pooled,
                    source.moved(block),
                    &mut space.second,
                    target.moved(block),
                    [2, 2],
                    &mut space.second_tiles,
                );
            }
            next_second += 2;
        }
        let source = tiles_of(y, pooled_rows - 3, net.third.inputs, section);
        let target = Tiles { plane: 4 * LANES, rows: [0, 2 * LANES], columns: [0, LANES] };
        for block in (0..(pooled_columns - 4).div_ceil(2)).step_by(LANES) {
            let space = &mut *this.space;
            tiles::<S, V, G>(
                simd,
                &net.third,
                &space.second,
                source.moved(block),
                &mut space.third,
                target,
                [2, 2],
                &mut space.third_tiles,
            );
            heads(simd, this, y, block, pooled_columns - 4);
        }
    }
}

/// The tiles at row y of a layer whose last row is `last`.
fn tiles_of(y: usize, last: usize, channels: usize, section: usize) -> Tiles<4> {
    // Beyond the last row any row does: it reaches only outputs that are not there.
    let slot = |y: usize| y.min(last) % SLOTS * channels * 2 * section;
    let rows = [slot(y), slot(y + 1), slot(y + 2), slot(y + 3)];
    Tiles { plane: 2 * section, rows, columns: [0, section, 1, section + 1] }
}

fn target_of(y: usize, channels: usize, section: usize) -> Tiles<2> {
    let slot = |y: usize| y % SLOTS * channels * 2 * section;
    Tiles { plane: 2 * section, rows: [slot(y), slot(y + 1)], columns: [0, section] }
}

#[inline(always)]
fn pooled_row<S: Simd>(simd: S, this: &mut Find, y: usize, columns: usize, pair: bool) {
    let (section, last) = (this.section, this.strip.height - 1);
    let (size, pooled) = (3 * 4 * section, this.net.first.outputs() * 2 * section);
    let row = |y: usize| &this.space.picture[y.min(last) % SLOTS * size..][..size];
    let rows = [row(2 * y), row(2 * y + 1), row(2 * y + 2), row(2 * y + 3)];
    let target = &mut this.space.pooled[y % SLOTS * pooled..][..pooled];
    this.net.first.pooled_row(simd, Seen { rows, section, columns, pair }, target);
}

/// Of the third layer's tiles those cells whose logits differ enough.
#[inline(always)]
fn heads<S: Simd>(simd: S, this: &mut Find, y: usize, block: usize, columns: usize) {
    let (net, strip, space) = (this.net, this.strip, &*this.space);
    let channels = net.third.outputs;
    for place in 0..4 {
        let (row, right) = (y + place / 2, place % 2);
        if row >= strip.rows.end {
            continue;
        }
        let mut differences = [0.0; LANES];
        let mut largest = f32::NEG_INFINITY;
        for lane in (0..LANES).step_by(S::F32_LANES) {
            let mut sum = simd.splat_f32s(net.heads_bias[1] - net.heads_bias[0]);
            for (values, weight) in space.third.chunks_exact(4 * LANES).zip(&space.difference) {
                let values = load_one::<S>(&values[place * LANES + lane..]);
                sum = simd.mul_add_e_f32s(values, simd.splat_f32s(*weight), sum);
            }
            store_one::<S>(&mut differences[lane..], sum);
            largest = largest.max(simd.reduce_max_f32s(sum));
        }
        if largest <= strip.least_difference {
            continue;
        }
        for (lane, difference) in differences.iter().enumerate() {
            let column = 2 * (block + lane) + right;
            if *difference > strip.least_difference && column < columns {
                let mut outputs = net.heads_bias;
                for (output, weights) in outputs.iter_mut().zip(net.heads.chunks_exact(channels)) {
                    for (values, weight) in space.third.chunks_exact(4 * LANES).zip(weights) {
                        *output += values[place * LANES + lane] * weight;
                    }
                }
                this.found.push(Cell { row, column, outputs });
            }
        }
    }
}
