//! Products and layer norms of many rows, in parts for the threads of the pool.

use std::ops::Range;

use deepsweep_kernels::{Bf16, Bf16Matrix, Bits, Finish, LayerNorm, Packed, PackedMatrix};
use rayon::prelude::*;

/// Rows of one part of a product, and tokens that a thread takes through the tower together: what the kernel takes of them at once, 1,024 values each, stays in the second cache.
pub(super) const PART_ROWS: usize = 200;

/// Parts of a product for each thread: few enough to be long, enough to even out a core that is slower.
const PARTS_A_THREAD: usize = 8;

/// Rows whose normalising or rounding is not worth handing on.
const MIN_ROWS: usize = 32;

/// Some rows of each picture: of `of`, those from `from` on, `count` of them, `width` values of each.
#[derive(Debug, Clone, Copy)]
pub struct Picked {
    pub of: usize,
    pub from: usize,
    pub count: usize,
    pub width: usize,
    /// From one row to the next.
    pub stride: usize,
}

/// From one row of a buffer to the next. Widths of towers are near powers of two; rows such a distance apart would all fall
/// into the same few lines of the first cache, and a product reads a dozen of them side by side.
pub(super) fn stride(width: usize) -> usize {
    width + 16
}

impl Picked {
    /// All rows, one behind the other.
    pub fn all(width: usize) -> Self {
        Self { of: 1, from: 0, count: 1, width, stride: width }
    }

    /// All rows of a buffer, [`stride`] apart.
    pub(super) fn all_apart(width: usize) -> Self {
        Self { stride: stride(width), ..Self::all(width) }
    }

    pub fn rows(self, values: &[f32]) -> Vec<&[f32]> {
        let Self { of, from, count, width, stride } = self;
        let pictures = values.chunks_exact(of * stride);
        pictures.flat_map(|rows| rows.chunks_exact(stride).skip(from).take(count)).map(|row| &row[..width]).collect()
    }

    pub fn rows_mut(self, values: &mut [f32]) -> Vec<&mut [f32]> {
        let Self { of, from, count, width, stride } = self;
        let pictures = values.chunks_exact_mut(of * stride);
        let rows = pictures.flat_map(|rows| rows.chunks_exact_mut(stride).skip(from).take(count));
        rows.map(|row| &mut row[..width]).collect()
    }
}

/// `x` · `matrix` → `out`, finished as `finish` says.
pub fn multiply(x: Vec<&[f32]>, matrix: &PackedMatrix, finish: Finish, out: Vec<&mut [f32]>) {
    in_parts(matrix, out, |rows, panels, out| matrix.multiply(&x[rows], panels, finish, out));
}

/// A matrix in the numbers that a tower multiplies in.
#[derive(Debug)]
pub(super) enum Matrix {
    F32(PackedMatrix),
    Bf16(Bf16, Bf16Matrix),
}

impl Matrix {
    /// `weight`: [width, depth], as checkpoints have it; `bias`: [width], or nothing; `bf16`: None for `f32`.
    pub fn new(weight: &[f32], bias: Option<&[f32]>, depth: usize, bf16: Option<Bf16>) -> Self {
        match bf16 {
            Some(machine) => Self::Bf16(machine, Bf16Matrix::new(machine, weight, bias, depth)),
            None => Self::F32(PackedMatrix::new(weight, bias, depth)),
        }
    }

    pub fn depth(&self) -> usize {
        match self {
            Self::F32(matrix) => matrix.depth(),
            Self::Bf16(_, matrix) => matrix.depth(),
        }
    }

    pub fn width(&self) -> usize {
        match self {
            Self::F32(matrix) => matrix.width(),
            Self::Bf16(_, matrix) => matrix.width(),
        }
    }

    /// As [`multiply`]; `rounded` is where rows are rounded to before products in bfloat16.
    pub fn multiply(&self, x: Vec<&[f32]>, finish: Finish, out: Vec<&mut [f32]>, rounded: &mut Vec<Bits>) {
        match self {
            Self::F32(matrix) => multiply(x, matrix, finish, out),
            Self::Bf16(machine, matrix) => {
                let (depth, stride) = (matrix.depth(), stride(matrix.depth()));
                rounded.resize(x.len() * stride, 0);
                let targets = rounded.par_chunks_exact_mut(stride).zip(x).with_min_len(MIN_ROWS);
                targets.for_each(|(target, x)| machine.round(x, &mut target[..depth]));
                let x: Vec<&[Bits]> = rounded.chunks_exact(stride).map(|row| &row[..depth]).collect();
                in_parts(matrix, out, |rows, panels, out| matrix.multiply(*machine, &x[rows], panels, finish, out));
            }
        }
    }
}

/// Calls `work` with rows, panels of the matrix and the slices of `out` that are theirs, on the threads of the pool.
fn in_parts<T>(
    matrix: &Packed<T>,
    out: Vec<&mut [f32]>,
    work: impl Fn(Range<usize>, Range<usize>, &mut [&mut [f32]]) + Sync,
) {
    let threads = rayon::current_num_threads();
    let (count, all_panels) = (out.len(), matrix.panels());
    let row_parts = count.div_ceil(PART_ROWS);
    let column_parts = (threads * PARTS_A_THREAD.div_ceil(row_parts.max(1))).min(all_panels);
    let rows = |part: usize| part_of(part, row_parts, count);
    let panels = |part: usize| part_of(part, column_parts, all_panels);
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
        work(rows(part % row_parts), panels(part / row_parts), &mut out);
    });
}

/// A layer norm of each row of `x` → `out`.
pub(super) fn normalise(norm: &LayerNorm, x: &[&[f32]], out: Vec<&mut [f32]>) {
    x.par_iter().zip(out).with_min_len(MIN_ROWS).for_each(|(x, out)| norm.forward(x, out));
}

/// Parts that differ by one at most.
pub(super) fn part_of(part: usize, parts: usize, whole: usize) -> Range<usize> {
    part * whole / parts..(part + 1) * whole / parts
}
