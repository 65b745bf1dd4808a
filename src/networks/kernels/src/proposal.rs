//! MTCNN's P-Net over rows of a picture: three convolutions, pooling and both heads, without ever holding a layer.
//!
//! Rows flow through: of each layer only the rows that the next one sees are kept. In: rows of the picture, asked
//! for from top to bottom. Out: the cells whose logits may pass. Nothing is decided here that is near.

use pulp::{Arch, Simd, WithSimd};

use crate::first::{self, FirstConv, Seen};
use crate::vector::{for_halves, load_one, store_one};
use crate::winograd::{TileSpace, Tiles, WinogradF4, tiles};
use crate::{LANES, grow};

/// No face, face, and the four offsets.
const HEADS: usize = 6;

/// Rows of the picture that a pooled row sees; row y lies in slot y mod this.
const PICTURE_SLOTS: usize = 4;

/// Rows of the pooled layer and of the second that are kept: a tile sees six, and four more are made at a time. Row y lies
/// in slot y mod this.
const SLOTS: usize = 8;

/// The side of what a tile makes.
const OUT: usize = 4;

/// Sections that these two layers are dealt out over: a step of a tile is a step of one value.
const SECTIONS: usize = OUT;
const _: () = assert!(first::SECTIONS == 2 * SECTIONS, "pooling halves the sections");

/// Values of the third layer for each channel of a block: what [`LANES`] tiles make.
const BLOCK: usize = OUT * OUT * LANES;

/// The network.
#[derive(Debug, Clone)]
pub struct Proposal {
    pub first: FirstConv,
    pub second: WinogradF4,
    pub third: WinogradF4,
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
    /// Of the picture that the rows below are of: what lies right of it is zero, or comes from such rows alone.
    width: usize,
    picture: Vec<f32>, // [PICTURE_SLOTS][3][Strip::SECTIONS][section]
    pooled: Vec<f32>,  // [SLOTS][10][SECTIONS][section]
    second: Vec<f32>,  // [SLOTS][16][SECTIONS][section]
    third: Vec<f32>,   // [32][OUT rows][OUT columns][LANES]
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
    /// Rows of cells.
    pub rows: std::ops::Range<usize>,
    /// Cells whose logits differ by more are found.
    pub least_difference: f32,
}

impl Strip {
    /// What the picture's rows are dealt out over: column x to section x mod this, place x / this.
    pub const SECTIONS: usize = first::SECTIONS;

    /// Values of a section of the picture's rows, with room to read on.
    #[must_use]
    pub fn section(width: usize) -> usize {
        width.div_ceil(Self::SECTIONS).next_multiple_of(LANES) + LANES
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
            third: vec![0.0; third * BLOCK],
            second_tiles: self.second.space(),
            third_tiles: self.third.space(),
            difference: (0..third).map(|i| self.heads[third + i] - self.heads[i]).collect(),
            ..ProposalSpace::default()
        }
    }

    /// Adds the cells of `strip` to `found`, in no order. `read(y, row)` fills `[3][SECTIONS][section]` with the
    /// picture's row y.
    pub fn find(
        &self,
        strip: &Strip,
        read: &mut dyn FnMut(usize, &mut [f32]),
        space: &mut ProposalSpace,
        found: &mut Vec<Cell>,
    ) {
        let section = Strip::section(strip.width);
        grow(&mut space.picture, PICTURE_SLOTS * 3 * Strip::SECTIONS * section);
        grow(&mut space.pooled, SLOTS * self.first.outputs() * SECTIONS * section);
        grow(&mut space.second, SLOTS * self.second.outputs * SECTIONS * section);
        // A tile that hangs over the right edge reads what lies there, and roundings of it reach the cells beside: it must
        // not be what another picture left.
        if space.width != strip.width {
            space.width = strip.width;
            for rows in [&mut space.picture, &mut space.pooled, &mut space.second] {
                rows.fill(0.0);
            }
        }
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
        for_halves!(S, find(simd, this));
    }
}

/// Half of [`LANES`] are enough for what hangs over the edge of many levels.
#[inline(always)]
fn find<S: Simd, N: Simd, const V: usize, const H: usize, const G: usize>(simd: S, narrow: N, this: &mut Find) {
    let (strip, net, section) = (this.strip, this.net, this.section);
    let (columns, rows) = (strip.width - 2, strip.height - 2); // of the first convolution
    let (pooled_columns, pooled_rows) = (columns.div_ceil(2), rows.div_ceil(2));
    let [mut next_row, mut next_pooled, mut next_second] = [2 * strip.rows.start, strip.rows.start, strip.rows.start];
    for y in strip.rows.clone().step_by(OUT) {
        while next_second < y + OUT + 2 {
            while next_pooled < pooled_rows.min(next_second + OUT + 2) {
                while next_row < strip.height.min(2 * next_pooled + 4) {
                    let size = 3 * Strip::SECTIONS * section;
                    (this.read)(next_row, &mut this.space.picture[next_row % PICTURE_SLOTS * size..][..size]);
                    next_row += 1;
                }
                pooled_row(simd, narrow, this, next_pooled, columns, 2 * next_pooled + 1 < rows);
                next_pooled += 1;
            }
            let source = tiles_of(next_second, pooled_rows - 1, net.second.inputs, section);
            let target = target_of(next_second, net.second.outputs, section);
            let ProposalSpace { pooled, second, second_tiles: space, .. } = &mut *this.space;
            let count = (pooled_columns - 2).div_ceil(OUT);
            for block in (0..count).step_by(LANES) {
                let (source, target, conv) = (source.moved(block), target.moved(block), &net.second);
                if count - block <= H * N::F32_LANES {
                    tiles::<N, H, G, 6, OUT>(narrow, conv, pooled, source, second, target, [OUT; 2], space);
                } else {
                    tiles::<S, V, G, 6, OUT>(simd, conv, pooled, source, second, target, [OUT; 2], space);
                }
            }
            next_second += OUT;
        }
        let source = tiles_of(y, pooled_rows - 3, net.third.inputs, section);
        let target = Tiles {
            plane: BLOCK,
            rows: std::array::from_fn(|row| row * OUT * LANES),
            columns: std::array::from_fn(|column| column * LANES),
        };
        let count = (pooled_columns - 4).div_ceil(OUT);
        for block in (0..count).step_by(LANES) {
            let ProposalSpace { second, third, third_tiles: space, .. } = &mut *this.space;
            let (source, conv) = (source.moved(block), &net.third);
            if count - block <= H * N::F32_LANES {
                tiles::<N, H, G, 6, OUT>(narrow, conv, second, source, third, target, [OUT; 2], space);
            } else {
                tiles::<S, V, G, 6, OUT>(simd, conv, second, source, third, target, [OUT; 2], space);
            }
            heads(simd, this, y, block, pooled_columns - 4);
        }
    }
}

/// The tiles at row y of a layer whose last row is `last`.
fn tiles_of(y: usize, last: usize, channels: usize, section: usize) -> Tiles<6> {
    // Beyond the last row stands that row again: it reaches only outputs that are not there, but for roundings.
    let slot = |y: usize| y.min(last) % SLOTS * channels * SECTIONS * section;
    Tiles {
        plane: SECTIONS * section,
        rows: std::array::from_fn(|row| slot(y + row)),
        columns: std::array::from_fn(|column| column % SECTIONS * section + column / SECTIONS),
    }
}

fn target_of(y: usize, channels: usize, section: usize) -> Tiles<OUT> {
    let slot = |y: usize| y % SLOTS * channels * SECTIONS * section;
    Tiles {
        plane: SECTIONS * section,
        rows: std::array::from_fn(|row| slot(y + row)),
        columns: std::array::from_fn(|column| column * section),
    }
}

#[inline(always)]
fn pooled_row<S: Simd, N: Simd>(simd: S, narrow: N, this: &mut Find, y: usize, columns: usize, pair: bool) {
    let (section, last) = (this.section, this.strip.height - 1);
    let (size, pooled) = (3 * Strip::SECTIONS * section, this.net.first.outputs() * SECTIONS * section);
    let row = |y: usize| &this.space.picture[y.min(last) % PICTURE_SLOTS * size..][..size];
    let rows = [row(2 * y), row(2 * y + 1), row(2 * y + 2), row(2 * y + 3)];
    let target = &mut this.space.pooled[y % SLOTS * pooled..][..pooled];
    this.net.first.pooled_row(simd, narrow, Seen { rows, section, columns, pair }, target);
}

/// Of the third layer's tiles those cells whose logits differ enough.
#[inline(always)]
fn heads<S: Simd>(simd: S, this: &mut Find, y: usize, block: usize, columns: usize) {
    let (net, strip, space) = (this.net, this.strip, &*this.space);
    let channels = net.third.outputs;
    for place in 0..OUT * OUT {
        let (row, right) = (y + place / OUT, place % OUT);
        if row >= strip.rows.end {
            continue;
        }
        let mut differences = [0.0; LANES];
        let mut largest = f32::NEG_INFINITY;
        for lane in (0..LANES).step_by(S::F32_LANES) {
            let mut sum = simd.splat_f32s(net.heads_bias[1] - net.heads_bias[0]);
            for (values, weight) in space.third.chunks_exact(BLOCK).zip(&space.difference) {
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
            let column = OUT * (block + lane) + right;
            if *difference > strip.least_difference && column < columns {
                let mut outputs = net.heads_bias;
                for (output, weights) in outputs.iter_mut().zip(net.heads.chunks_exact(channels)) {
                    for (values, weight) in space.third.chunks_exact(BLOCK).zip(weights) {
                        *output += values[place * LANES + lane] * weight;
                    }
                }
                this.found.push(Cell { row, column, outputs });
            }
        }
    }
}
