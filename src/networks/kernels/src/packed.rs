//! Matrices that stay, packed in panels for a kernel; and what becomes of a tile's sums. Products share this, in whatever
//! numbers they multiply.

use std::ops::Range;

use pulp::Simd;

use crate::functions::{gelu, quick_gelu};
use crate::tile::{in_groups, load, rows, store};

/// Rows of a panel that are multiplied in one go: 128 KiB of AVX-512's panels and 64 KiB of AVX2's, which the second cache
/// holds beside the rows that they meet. Less of it, and sums are stored and loaded more often, which was slower on both.
const ROWS_AT_ONCE: usize = 1024;

/// What becomes of a product before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// `out = x · W + b`
    Store,
    /// `out += x · W + b`
    Add,
    /// `out = quick_gelu(x · W + b)`: x · sigmoid(1.702 x)
    QuickGelu,
    /// `out = gelu(x · W + b)`, with the error function
    Gelu,
}

/// A matrix of so many rows of `T`, which may each hold several values of a column, and a bias [width].
#[derive(Debug, Clone)]
pub struct Packed<T> {
    rows: usize,
    width: usize,
    /// Columns of a panel: two vectors of sums.
    lanes: usize,
    /// `[width / lanes][rows][lanes]`, the last panel filled up with zeros.
    panels: Vec<T>,
    /// As long as the panels are wide.
    bias: Vec<f32>,
}

impl<T: Copy + Default> Packed<T> {
    /// `columns`: [width][rows]; `bias`: [width], or nothing.
    pub(crate) fn pack(columns: &[T], bias: Option<&[f32]>, rows: usize, lanes: usize) -> Self {
        let width = columns.len() / rows;
        assert_eq!(columns.len(), width * rows, "a matrix of {rows} rows");
        let mut panels = vec![T::default(); width.next_multiple_of(lanes) * rows];
        for (column, values) in columns.chunks_exact(rows).enumerate() {
            let panel = &mut panels[column / lanes * lanes * rows..];
            for (row, value) in panel.chunks_exact_mut(lanes).zip(values) {
                row[column % lanes] = *value;
            }
        }
        let mut padded = vec![0.0; width.next_multiple_of(lanes)];
        if let Some(bias) = bias {
            assert_eq!(bias.len(), width, "bias");
            padded[..width].copy_from_slice(bias);
        }
        Self { rows, width, lanes, panels, bias: padded }
    }
}

impl<T> Packed<T> {
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    #[must_use]
    pub fn panels(&self) -> usize {
        self.bias.len() / self.lanes
    }

    /// The columns that some panels hold.
    #[must_use]
    pub fn columns(&self, panels: &Range<usize>) -> Range<usize> {
        (panels.start * self.lanes).min(self.width)..(panels.end * self.lanes).min(self.width)
    }

    /// Some rows of a panel.
    #[inline(always)]
    pub(crate) fn panel(&self, panel: usize, rows: &Range<usize>) -> &[T] {
        &self.panels[(panel * self.rows + rows.start) * self.lanes..][..rows.len() * self.lanes]
    }
}

/// Rows of `X` times the columns of some panels, on their way.
pub(crate) struct Product<'a, 'b, T, X> {
    pub matrix: &'a Packed<T>,
    pub x: &'a [&'a [X]],
    pub panels: Range<usize>,
    finish: Finish,
    out: &'a mut [&'b mut [f32]],
}

impl<'a, 'b, T, X> Product<'a, 'b, T, X> {
    /// `depth`: values of a row of `x`.
    ///
    /// # Panics
    /// If the lengths do not agree.
    pub fn new(
        matrix: &'a Packed<T>,
        depth: usize,
        x: &'a [&'a [X]],
        panels: Range<usize>,
        finish: Finish,
        out: &'a mut [&'b mut [f32]],
    ) -> Self {
        let columns = matrix.columns(&panels).len();
        assert_eq!(x.len(), out.len(), "rows");
        assert!(x.iter().all(|row| row.len() == depth), "rows of {depth}");
        assert!(out.iter().all(|row| row.len() == columns), "rows of {columns}");
        Self { matrix, x, panels, finish, out }
    }

    /// Where the tiles stand: rows of the matrix, a panel, rows of `x`.
    #[inline(always)]
    pub fn tiles<S: Simd>(&self) -> impl Iterator<Item = (Range<usize>, usize, Range<usize>)> + use<S, T, X> {
        let (depth, panels, x_rows) = (self.matrix.rows, self.panels.clone(), self.x.len());
        (0..depth).step_by(ROWS_AT_ONCE).flat_map(move |start| {
            let block = start..(start + ROWS_AT_ONCE).min(depth);
            panels.clone().flat_map(move |panel| {
                let block = block.clone();
                in_groups(x_rows, rows::<S>()).map(move |group| (block.clone(), panel, group))
            })
        })
    }

    /// The sums of a panel over the rows `block` of the matrix, for `R` rows of `x`: what came before is in `out`.
    #[inline(always)]
    pub fn store<S: Simd, const R: usize>(
        &mut self,
        simd: S,
        first_row: usize,
        panel: usize,
        block: &Range<usize>,
        sums: [[S::f32s; 2]; R],
    ) {
        let Packed { rows, width, bias, .. } = self.matrix;
        let lanes = 2 * S::F32_LANES; // those of the matrix, known when it is compiled
        let at = (panel - self.panels.start) * lanes;
        let columns = at..at + lanes.min(width - panel * lanes);
        let (is_first, is_last) = (block.start == 0, block.end == *rows);
        let bias = if is_first { load(simd, &bias[panel * lanes..][..lanes]) } else { [simd.splat_f32s(0.0); 2] };
        for (r, sums) in sums.into_iter().enumerate() {
            let target = &mut self.out[first_row + r][columns.clone()];
            let mut sums = [simd.add_f32s(sums[0], bias[0]), simd.add_f32s(sums[1], bias[1])];
            if !is_first || self.finish == Finish::Add {
                let before = load(simd, target);
                sums = [simd.add_f32s(sums[0], before[0]), simd.add_f32s(sums[1], before[1])];
            }
            // Loops, not closures: those would be compiled without the vector unit.
            if is_last && self.finish == Finish::QuickGelu {
                for sum in &mut sums {
                    *sum = quick_gelu(simd, *sum);
                }
            } else if is_last && self.finish == Finish::Gelu {
                for sum in &mut sums {
                    *sum = gelu(simd, *sum);
                }
            }
            store(simd, target, sums);
        }
    }
}
