//! Products and layer norms of many rows, in parts for the threads of the pool.

use std::ops::Range;

use deepsweep_kernels::{Finish, LayerNorm, PackedMatrix};
use rayon::prelude::*;

/// Rows of one part of a product: what the kernel takes of them at once, 384 values each, stays in the second cache.
const PART_ROWS: usize = 200;

/// Parts of a product for each thread: few enough to be long, enough to even out a core that is slower.
const PARTS_A_THREAD: usize = 8;

/// Layer norms that are not worth handing on.
const MIN_NORMS: usize = 32;

/// Some rows of each picture: of `of`, those from `from` on, `count` of them.
#[derive(Debug, Clone, Copy)]
pub struct Picked {
    pub of: usize,
    pub from: usize,
    pub count: usize,
    pub width: usize,
}

impl Picked {
    pub fn all(width: usize) -> Self {
        Self { of: 1, from: 0, count: 1, width }
    }

    pub fn rows(self, values: &[f32]) -> Vec<&[f32]> {
        let pictures = values.chunks_exact(self.of * self.width);
        pictures.flat_map(|rows| rows.chunks_exact(self.width).skip(self.from).take(self.count)).collect()
    }

    pub fn rows_mut(self, values: &mut [f32]) -> Vec<&mut [f32]> {
        let pictures = values.chunks_exact_mut(self.of * self.width);
        pictures.flat_map(|rows| rows.chunks_exact_mut(self.width).skip(self.from).take(self.count)).collect()
    }
}

/// `x` · `matrix` → `out`, finished as `finish` says.
pub fn multiply(x: Vec<&[f32]>, matrix: &PackedMatrix, finish: Finish, out: Vec<&mut [f32]>) {
    let threads = rayon::current_num_threads();
    let row_parts = x.len().div_ceil(PART_ROWS);
    let column_parts = (threads * PARTS_A_THREAD.div_ceil(row_parts.max(1))).min(matrix.panels());
    let rows = |part: usize| part_of(part, row_parts, x.len());
    let panels = |part: usize| part_of(part, column_parts, matrix.panels());
    // Parts of the same columns stand side by side: they share what they read of the matrix.
    let mut parts: Vec<Vec<&mut [f32]>> = (0..row_parts * column_parts).map(|_| vec![]).collect();
    let mut out = out.into_iter();
    for row_part in 0..row_parts {
        for row in out.by_ref().take(rows(row_part).len()) {
            let mut rest = row;
            for column_part in 0..column_parts {
                let (part, behind) = rest.split_at_mut(matrix.columns(&panels(column_part)).len());
                parts[column_part * row_parts + row_part].push(part);
                rest = behind;
            }
        }
    }
    parts.into_par_iter().enumerate().for_each(|(part, mut out)| {
        matrix.multiply(&x[rows(part % row_parts)], panels(part / row_parts), finish, &mut out);
    });
}

/// A layer norm of each row of `x` → `out`.
pub(super) fn normalise(norm: &LayerNorm, x: &[&[f32]], out: Vec<&mut [f32]>) {
    x.par_iter().zip(out).with_min_len(MIN_NORMS).for_each(|(x, out)| norm.forward(x, out));
}

/// Parts that differ by one at most.
fn part_of(part: usize, parts: usize, whole: usize) -> Range<usize> {
    part * whole / parts..(part + 1) * whole / parts
}
