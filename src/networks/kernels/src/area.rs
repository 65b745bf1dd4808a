//! Area averaging of RGB8 rows: the mean over [⌊i·in/out⌋, ⌈(i+1)·in/out⌉) both ways, then (mean − 127.5) / 128.
//!
//! Sums down the rows run along the vector; sums along a row are differences of running sums. All of them are whole
//! numbers, so the order of adding does not matter, and the result is that of PyTorch's `interpolate(mode="area")`.

#![allow(clippy::needless_range_loop, reason = "several arrays share an index, and unroll together")]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::grow;

/// Rows whose sums of bytes fit 16 bits.
const ROWS_AT_ONCE: usize = 257;

/// Bytes of a row whose sums fit two vectors of AVX-512, four of AVX2.
const COLUMNS_AT_ONCE: usize = 64;

/// The columns of a resized row: what each averages and where it goes.
#[derive(Debug, Clone, Default)]
pub struct AreaColumns(Vec<Column>);

#[derive(Debug, Clone, Copy)]
struct Column {
    start: u32,
    end: u32,
    place: u32,
    count: f32,
}

impl AreaColumns {
    /// `place`: where column x of a row goes.
    pub fn set(&mut self, inputs: usize, outputs: usize, place: impl Fn(usize) -> usize) {
        self.0.clear();
        self.0.extend((0..outputs).map(|x| {
            let Range { start, end } = Self::span(x, inputs, outputs);
            Column { start: start as u32, end: end as u32, place: place(x) as u32, count: (end - start) as f32 }
        }));
    }

    /// The inputs that output `i` averages, of rows as of columns.
    #[must_use]
    pub fn span(i: usize, inputs: usize, outputs: usize) -> Range<usize> {
        i * inputs / outputs..((i + 1) * inputs).div_ceil(outputs)
    }
}

/// The work space of one thread.
#[derive(Debug, Default)]
pub struct AreaSums {
    rows: Vec<u16>, // [columns][3], and one more to read on
    means: Vec<[f32; 4]>,
    running: Vec<[u32; 4]>, // [columns + 1]: sums of all columns before; the fourth only makes a vector of it
}

impl AreaSums {
    /// Averages `rows` of `pixels` (RGB, `stride` bytes from row to row), from byte `left` on, `width` pixels of each.
    /// Channel c of a column goes to its place in `target`, `plane` · c values on.
    pub fn average(&mut self, source: &Source, columns: &AreaColumns, target: &mut [f32], plane: usize) {
        Arch::new().dispatch(Average { sums: self, source, columns, target, plane });
    }
}

/// Some pixels.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// RGB.
    pub pixels: &'a [u8],
    /// Bytes from row to row.
    pub stride: usize,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

struct Average<'a> {
    sums: &'a mut AreaSums,
    source: &'a Source<'a>,
    columns: &'a AreaColumns,
    target: &'a mut [f32],
    plane: usize,
}

impl WithSimd for Average<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { sums: AreaSums { rows: sums, means, running }, source, columns, target, plane } = self;
        let bytes = source.columns.len() * 3;
        grow(sums, bytes + 1);
        grow(running, source.columns.len() + 1);
        grow(means, columns.0.len());
        let (sums, running) = (&mut sums[..bytes + 1], &mut running[..source.columns.len() + 1]);
        let means = &mut means[..columns.0.len()];
        for first in source.rows.clone().step_by(ROWS_AT_ONCE) {
            let rows = first..source.rows.end.min(first + ROWS_AT_ONCE);
            let row = |row: usize| &source.pixels[row * source.stride + source.columns.start * 3..][..bytes];
            // Some columns of all rows, whose sums stay in registers; the last of them again, to be whole.
            let whole = if bytes < COLUMNS_AT_ONCE { 0 } else { bytes.div_ceil(COLUMNS_AT_ONCE) };
            for block in 0..whole {
                let at = (block * COLUMNS_AT_ONCE).min(bytes - COLUMNS_AT_ONCE);
                let mut block_sums = [0_u16; COLUMNS_AT_ONCE];
                for y in rows.clone() {
                    let Some(values) = row(y)[at..].first_chunk::<COLUMNS_AT_ONCE>() else {
                        continue;
                    };
                    for i in 0..COLUMNS_AT_ONCE {
                        block_sums[i] += u16::from(values[i]);
                    }
                }
                sums[at..at + COLUMNS_AT_ONCE].copy_from_slice(&block_sums);
            }
            if whole == 0 {
                sums[..bytes].fill(0);
                for y in rows.clone() {
                    for (sum, value) in sums[..bytes].iter_mut().zip(row(y)) {
                        *sum += u16::from(*value);
                    }
                }
            }
            // Whoever wraps around does so at both ends of a difference.
            let mut total = [0_u32; 4];
            if first == source.rows.start {
                for (running, colours) in running[1..].iter_mut().zip(fours(sums)) {
                    for c in 0..4 {
                        total[c] = total[c].wrapping_add(u32::from(colours[c]));
                    }
                    *running = total;
                }
            } else {
                for (running, colours) in running[1..].iter_mut().zip(fours(sums)) {
                    for c in 0..4 {
                        total[c] = total[c].wrapping_add(u32::from(colours[c]));
                        running[c] = running[c].wrapping_add(total[c]);
                    }
                }
            }
        }
        let rows = source.rows.len() as f32;
        // All four lanes of each, so that they stay a vector; the colours part afterwards.
        for (mean, column) in means.iter_mut().zip(&columns.0) {
            let (before, after) = (running[column.start as usize], running[column.end as usize]);
            let count = column.count * rows;
            for c in 0..4 {
                let sum = after[c].wrapping_sub(before[c]).cast_signed(); // below 2³¹: eight million pixels of 255
                mean[c] = (sum as f32 / count - 127.5) * 0.007_812_5;
            }
        }
        let (red, rest) = target.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        for ([r, g, b, _], column) in means.iter().zip(&columns.0) {
            let place = column.place as usize;
            (red[place], green[place], blue[place]) = (*r, *g, *b);
        }
    }
}

/// Each pixel's three sums and the value behind them, which four lanes of a vector take along.
#[inline(always)]
fn fours(sums: &[u16]) -> impl Iterator<Item = &[u16; 4]> {
    sums.windows(4).step_by(3).filter_map(|four| four.first_chunk())
}
