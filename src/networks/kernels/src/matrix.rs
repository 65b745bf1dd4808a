//! Products of rows with matrices that stay: packed once, bias and activation applied before a value is stored.
//!
//! In: rows of `f32`, and a matrix packed in panels as wide as two vectors. Out: rows, overwritten or added to.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::lanes;
use crate::packed::{Finish, Packed, Product};
use crate::tile::{for_rows, multiply_tile};

/// A matrix [depth, width] and a bias [width], packed for the kernel.
pub type PackedMatrix = Packed<f32>;

impl PackedMatrix {
    /// `weight`: [width, depth], as checkpoints have it; `bias`: [width], or nothing.
    ///
    /// # Panics
    /// If the lengths do not agree: a bug of the caller.
    #[must_use]
    pub fn new(weight: &[f32], bias: Option<&[f32]>, depth: usize) -> Self {
        Self::pack(weight, bias, depth, lanes())
    }

    #[must_use]
    pub fn depth(&self) -> usize {
        self.rows()
    }

    /// Row i of `x` times the columns of `panels` → `out[i]`, a slice of just those columns.
    ///
    /// # Panics
    /// If the lengths do not agree: a bug of the caller.
    pub fn multiply(&self, x: &[&[f32]], panels: Range<usize>, finish: Finish, out: &mut [&mut [f32]]) {
        Arch::new().dispatch(Multiply(Product::new(self, self.depth(), x, panels, finish, out)));
    }
}

struct Multiply<'a, 'b>(Product<'a, 'b, f32, f32>);

impl WithSimd for Multiply<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for (block, panel, group) in self.0.tiles::<S>() {
            for_rows!(S, group.len(), R => self.tile::<S, R>(simd, group.start, panel, &block));
        }
    }
}

impl Multiply<'_, '_> {
    /// `R` rows, one panel, some of the depth.
    #[inline(always)]
    fn tile<S: Simd, const R: usize>(&mut self, simd: S, first_row: usize, panel: usize, block: &Range<usize>) {
        let Self(product) = self;
        let x: [&[f32]; R] = std::array::from_fn(|r| &product.x[first_row + r][block.clone()]);
        let sums = multiply_tile(simd, x, product.matrix.panel(panel, block));
        product.store(simd, first_row, panel, block, sums);
    }
}
