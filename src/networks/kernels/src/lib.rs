//! The arithmetic of our networks on a CPU: direct convolutions for few channels, such as MTCNN's 10 to 128, and what a
//! transformer is made of.
//!
//! A matrix product over unfolded pixels wastes small convolutions: unfolding alone costs more than the arithmetic. Here
//! pixels lie along the vector and output channels in registers; bias and PReLU are applied before a value is ever
//! stored. The instruction set is chosen at run time (AVX2 + FMA, NEON, else portable).
//!
//! For transformers there are products with matrices that are packed once, with bias, activation and residual applied
//! before a value is stored; layer normalisation; and attention, head by head, without a copy that outlives it. In and
//! out: rows of `f32`.
//!
//! For convolutions, in and out: planes of `f32`, `[channels][rows][row]`. A row is either pixels side by side (one
//! picture; step 1) or pixels of [`lanes`] pictures side by side (many crops; step [`lanes`]). A crate of its own, so
//! that tests of deepsweep run it optimised. No I/O, no threads, no unsafe code.

#![forbid(unsafe_code)]

mod attention;
mod conv;
mod functions;
mod matrix;
mod norm;
mod pool;
mod tile;

pub use attention::{HeadRows, HeadScratch, attend};
pub use conv::DirectConv;
pub use matrix::{Finish, PackedMatrix};
pub use norm::LayerNorm;
pub use pool::{max_pool_lanes, max_pool_row_pairs};

use pulp::{Arch, Simd, WithSimd};

/// Values that a kernel computes side by side: two vectors of this machine. Rows must be a whole number of these.
#[must_use]
pub fn lanes() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;

        fn with_simd<S: Simd>(self, _: S) -> usize {
            2 * S::F32_LANES
        }
    }
    Arch::new().dispatch(Lanes)
}

/// Values behind the last row, for kernels that read on: the widest block (AVX-512: 32) and the overhang of a 3 × 3.
const BEHIND: usize = 32 + 2;

/// Planes of `f32`: `channels` × `rows` × `row` values, each row as long as the others.
#[derive(Debug, Clone, Default)]
pub struct Planes {
    pub channels: usize,
    pub rows: usize,
    /// Values from one row to the next.
    pub row: usize,
    /// Longer than the planes by a little that has no meaning.
    pub values: Vec<f32>,
}

impl Planes {
    /// Makes room for another shape; what the values were before is of no meaning after.
    pub fn reshape(&mut self, channels: usize, rows: usize, row: usize) {
        (self.channels, self.rows, self.row) = (channels, rows, row);
        self.values.resize(channels * rows * row + BEHIND, 0.0);
    }

    #[must_use]
    pub fn new(channels: usize, rows: usize, row: usize) -> Self {
        Self { channels, rows, row, values: vec![0.0; channels * rows * row + BEHIND] }
    }

    #[must_use]
    pub fn plane(&self, channel: usize) -> &[f32] {
        &self.values[channel * self.rows * self.row..][..self.rows * self.row]
    }
}
