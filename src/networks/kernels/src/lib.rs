//! The arithmetic of our networks on a CPU: for MTCNN area resizing, convolutions of few channels, pooling and overlaps of
//! boxes; and what a transformer is made of.
//!
//! A matrix product over unfolded pixels wastes small convolutions: unfolding alone costs more than the arithmetic. Here
//! [`LANES`] values lie along the vector and output channels in registers; bias and PReLU are applied before a value is
//! ever stored. The instruction set is chosen at run time: AVX-512, AVX2 + FMA, NEON, else portable.
//!
//! For transformers there are products with matrices that are packed once, with bias, activation and residual applied
//! before a value is stored; layer normalisation; and attention, head by head, without a copy that outlives it. In and
//! out: rows of `f32`.
//!
//! For convolutions, in and out: planes of `f32`, `[channels][rows][row]`. A row is either the pixels of [`LANES`]
//! pictures side by side (many crops), or one picture's pixels dealt out over sections, column x to section x mod n, so
//! that a step of n pixels is a step of one value and no kernel ever shuffles ([`first`], [`proposal`]). A crate of its
//! own, so that tests of deepsweep run it optimised. No I/O, no threads; unsafe code in one place, where an instruction is
//! used that pulp does not know ([`bf16`]).

#![deny(unsafe_code)]

mod area;
mod attention;
mod bf16;
mod conv;
mod first;
mod functions;
mod matrix;
mod norm;
mod overlap;
mod packed;
mod pool;
mod proposal;
mod tile;
mod vector;
mod winograd;

pub use area::{AreaColumns, AreaSums, Source};
pub use attention::{HeadRows, HeadScratch, attend};
pub use bf16::{Bf16, Bf16Matrix, Bits};
pub use conv::DirectConv;
pub use first::FirstConv;
pub use matrix::PackedMatrix;
pub use norm::LayerNorm;
pub use overlap::{Against, KeptBoxes};
pub use packed::{Finish, Packed};
pub use proposal::{Cell, Proposal, ProposalSpace, Strip};
pub use winograd::{Winograd, WinogradConv, WinogradF4, WinogradSpace};

use pulp::{Arch, Simd, WithSimd};

/// Values that a product's kernel computes side by side: two vectors of this machine.
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

/// Values that a kernel computes side by side: one vector of AVX-512, two of AVX2, four of NEON.
pub const LANES: usize = 16;

/// Makes a work space at least so long; what was there stays, which has no meaning. Never shrinks it, so that nothing is filled
/// twice.
fn grow<T: Copy + Default>(values: &mut Vec<T>, length: usize) {
    if values.len() < length {
        values.resize(length, T::default());
    }
}

/// Planes of `f32`: `channels` × `rows` × `row` values, each row as long as the others.
#[derive(Debug, Clone, Default)]
pub struct Planes {
    pub channels: usize,
    pub rows: usize,
    /// Values from one row to the next.
    pub row: usize,
    /// Longer than the planes by what has no meaning.
    pub values: Vec<f32>,
}

impl Planes {
    /// Makes room for another shape; what the values were before is of no meaning after. Never shrinks, so that a work
    /// space that is used again touches no new memory.
    pub fn reshape(&mut self, channels: usize, rows: usize, row: usize) {
        (self.channels, self.rows, self.row) = (channels, rows, row);
        grow(&mut self.values, channels * rows * row);
    }

    #[must_use]
    pub fn new(channels: usize, rows: usize, row: usize) -> Self {
        let mut planes = Self::default();
        planes.reshape(channels, rows, row);
        planes
    }

    #[must_use]
    pub fn plane(&self, channel: usize) -> &[f32] {
        &self.values[channel * self.rows * self.row..][..self.rows * self.row]
    }
}
