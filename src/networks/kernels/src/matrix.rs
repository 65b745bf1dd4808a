//! Products of rows with matrices that stay: packed once, bias and activation applied before a value is stored.
//!
//! In: rows of `f32`, and a matrix packed in panels as wide as two vectors. Out: rows, overwritten or added to.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::functions::{gelu, quick_gelu};
use crate::lanes;
use crate::tile::{for_rows, in_groups, load, multiply_tile, rows, store};

/// Rows of a panel that are multiplied in one go: 128 KiB of AVX-512's panels and 64 KiB of AVX2's, which the second cache
/// holds beside the rows that they meet. Less of it, and sums are stored and loaded more often, which was slower on both.
const DEPTH: usize = 1024;

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

impl Finish {
    #[inline(always)]
    pub(crate) fn adds(self) -> bool {
        self == Self::Add
    }

    /// The activation, of whole sums.
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, simd: S, mut sums: [S::f32s; 2]) -> [S::f32s; 2] {
        // Loops, not closures: those would be compiled without the vector unit.
        match self {
            Self::Store | Self::Add => {}
            Self::QuickGelu => {
                for sum in &mut sums {
                    *sum = quick_gelu(simd, *sum);
                }
            }
            Self::Gelu => {
                for sum in &mut sums {
                    *sum = gelu(simd, *sum);
                }
            }
        }
        sums
    }
}

/// A matrix [depth, width] and a bias [width], packed for the kernel.
#[derive(Debug, Clone)]
pub struct PackedMatrix {
    depth: usize,
    width: usize,
    /// `[width / lanes][depth][lanes]`, the last panel filled up with zeros.
    panels: Vec<f32>,
    /// As long as the panels are wide.
    bias: Vec<f32>,
}

impl PackedMatrix {
    /// `weight`: [width, depth], as checkpoints have it; `bias`: [width], or nothing.
    ///
    /// # Panics
    /// If the lengths do not agree: a bug of the caller.
    #[must_use]
    pub fn new(weight: &[f32], bias: Option<&[f32]>, depth: usize) -> Self {
        let lanes = lanes();
        let width = weight.len() / depth;
        assert_eq!(weight.len(), width * depth, "a matrix of {depth} rows");
        let mut panels = vec![0.0; width.next_multiple_of(lanes) * depth];
        for (column, values) in weight.chunks_exact(depth).enumerate() {
            let panel = &mut panels[column / lanes * lanes * depth..];
            for (row, value) in panel.chunks_exact_mut(lanes).zip(values) {
                row[column % lanes] = *value;
            }
        }
        let mut padded = vec![0.0; width.next_multiple_of(lanes)];
        if let Some(bias) = bias {
            assert_eq!(bias.len(), width, "bias");
            padded[..width].copy_from_slice(bias);
        }
        Self { depth, width, panels, bias: padded }
    }

    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many panels of [`lanes`] columns there are.
    #[must_use]
    pub fn panels(&self) -> usize {
        self.bias.len() / lanes()
    }

    /// The columns that some panels hold.
    #[must_use]
    pub fn columns(&self, panels: &Range<usize>) -> Range<usize> {
        (panels.start * lanes()).min(self.width)..(panels.end * lanes()).min(self.width)
    }

    /// Row i of `x` times the columns of `panels` → `out[i]`, a slice of just those columns.
    ///
    /// # Panics
    /// If the lengths do not agree: a bug of the caller.
    pub fn multiply(&self, x: &[&[f32]], panels: Range<usize>, finish: Finish, out: &mut [&mut [f32]]) {
        let columns = self.columns(&panels).len();
        assert_eq!(x.len(), out.len(), "rows");
        assert!(x.iter().all(|row| row.len() == self.depth), "rows of {}", self.depth);
        assert!(out.iter().all(|row| row.len() == columns), "rows of {columns}");
        Arch::new().dispatch(Multiply { matrix: self, x, panels, finish, out });
    }
}

struct Multiply<'a, 'b> {
    matrix: &'a PackedMatrix,
    x: &'a [&'a [f32]],
    panels: Range<usize>,
    finish: Finish,
    out: &'a mut [&'b mut [f32]],
}

impl WithSimd for Multiply<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let depth = self.matrix.depth;
        for start in (0..depth).step_by(DEPTH) {
            let block = start..(start + DEPTH).min(depth);
            for panel in self.panels.clone() {
                for group in in_groups(self.x.len(), rows::<S>()) {
                    for_rows!(S, group.len(), self.tile(simd, group.start, panel, block.clone()));
                }
            }
        }
    }
}

impl Multiply<'_, '_> {
    /// `R` rows, one panel, some of the depth: what came before is in `out`.
    #[inline(always)]
    fn tile<S: Simd, const R: usize>(&mut self, simd: S, first_row: usize, panel: usize, block: Range<usize>) {
        let lanes = 2 * S::F32_LANES;
        let PackedMatrix { depth, width, panels, bias } = self.matrix;
        let x: [&[f32]; R] = std::array::from_fn(|r| &self.x[first_row + r][block.clone()]);
        let weights = &panels[(panel * depth + block.start) * lanes..][..block.len() * lanes];
        let at = (panel - self.panels.start) * lanes;
        let columns = at..at + lanes.min(width - panel * lanes);
        let (is_first, is_last) = (block.start == 0, block.end == *depth);
        let bias = if is_first { load(simd, &bias[panel * lanes..][..lanes]) } else { [simd.splat_f32s(0.0); 2] };
        let sums = multiply_tile(simd, x, weights);
        for (r, sums) in sums.into_iter().enumerate() {
            let target = &mut self.out[first_row + r][columns.clone()];
            let mut sums = [simd.add_f32s(sums[0], bias[0]), simd.add_f32s(sums[1], bias[1])];
            if !is_first || self.finish.adds() {
                let before = load(simd, target);
                sums = [simd.add_f32s(sums[0], before[0]), simd.add_f32s(sums[1], before[1])];
            }
            if is_last {
                sums = self.finish.apply(simd, sums);
            }
            store(simd, target, sums);
        }
    }
}
