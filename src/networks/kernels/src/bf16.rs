//! Products of rows with matrices that stay, both in bfloat16, sums in `f32`: AVX512-BF16, twice the products of `f32` a
//! cycle.
//!
//! In: rows of `f32`, rounded once to the nearest (ties to even), and a matrix packed in panels as wide as two vectors.
//! Out: rows of `f32`, finished as [`crate::PackedMatrix`] finishes them. Subnormal numbers count as zero, as the
//! instruction has it. Nothing here runs on a machine without the instruction: [`Bf16`] is the proof that it is there.

use std::ops::Range;

use crate::packed::{Finish, Packed, Product};

/// Bits of a bfloat16: the upper half of an `f32`.
pub type Bits = u16;

/// This machine multiplies in bfloat16.
#[derive(Debug, Clone, Copy)]
pub struct Bf16(machine::Proof);

impl Bf16 {
    /// None: it does not.
    #[must_use]
    pub fn detect() -> Option<Self> {
        machine::Proof::find().map(Self)
    }

    /// # Panics
    /// If the lengths differ: a bug of the caller.
    pub fn round(self, x: &[f32], out: &mut [Bits]) {
        assert_eq!(x.len(), out.len(), "values");
        self.0.round(x, out);
    }
}

/// Columns of a panel: two vectors.
const COLUMNS: usize = 32;

/// Two values of a column, one below the other: what the instruction multiplies at once.
pub type Pair = [Bits; 2];

/// A matrix [depth, width] in bfloat16 and a bias [width] in `f32`, packed for the kernel.
pub type Bf16Matrix = Packed<Pair>;

impl Bf16Matrix {
    /// `weight`: [width, depth], as checkpoints have it; `bias`: [width], or nothing.
    ///
    /// # Panics
    /// If the lengths do not agree, or `depth` is odd: a bug of the caller.
    #[must_use]
    pub fn new(machine: Bf16, weight: &[f32], bias: Option<&[f32]>, depth: usize) -> Self {
        assert!(depth.is_multiple_of(2), "an even number of rows, found {depth}");
        let mut rounded = vec![0; weight.len()];
        machine.round(weight, &mut rounded);
        Self::pack(rounded.as_chunks().0, bias, depth / 2, COLUMNS)
    }

    #[must_use]
    pub fn depth(&self) -> usize {
        2 * self.rows()
    }

    /// Row i of `x` times the columns of `panels` → `out[i]`, a slice of just those columns.
    ///
    /// # Panics
    /// If the lengths do not agree: a bug of the caller.
    pub fn multiply(&self, machine: Bf16, x: &[&[Bits]], panels: Range<usize>, finish: Finish, out: &mut [&mut [f32]]) {
        machine.0.multiply(Product::new(self, self.depth(), x, panels, finish, out));
    }
}

#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
mod machine {
    #![allow(
        unsafe_code,
        reason = "the standard library has the instruction, pulp has not; bits of vectors are renamed"
    )]

    use std::arch::x86_64::{__m512, __m512bh, __m512i, _mm512_cvtneps_pbh, _mm512_dpbf16_ps, _mm512_setzero_ps};
    use std::mem::transmute;
    use std::ops::Range;

    use pulp::Simd;
    use pulp::x86::V4;

    use super::{Bits, COLUMNS, Pair, Product};
    use crate::tile::for_rows;

    #[derive(Debug, Clone, Copy)]
    pub(super) struct Proof(V4);

    impl Proof {
        pub fn find() -> Option<Self> {
            let simd = V4::try_new()?;
            std::arch::is_x86_feature_detected!("avx512bf16").then_some(Self(simd))
        }

        pub fn round(self, x: &[f32], out: &mut [Bits]) {
            // SAFETY: a proof is made only where every one of the function's features was found.
            unsafe { round(x, out) }
        }

        pub fn multiply(self, product: Product<Pair, Bits>) {
            // SAFETY: as above.
            unsafe { multiply(self.0, product) }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16,fma,bmi1,bmi2,lzcnt,popcnt")]
    fn round(x: &[f32], out: &mut [Bits]) {
        let (vectors, rest) = x.as_chunks::<16>();
        let (targets, rest_of_out) = out.as_chunks_mut::<16>();
        for (target, values) in targets.iter_mut().zip(vectors) {
            *target = rounded(*values);
        }
        let mut last = [0.0; 16];
        last[..rest.len()].copy_from_slice(rest);
        rest_of_out.copy_from_slice(&rounded(last)[..rest.len()]);
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn rounded(values: [f32; 16]) -> [Bits; 16] {
        // SAFETY: vectors and arrays of the same size, all of whose bits are values.
        unsafe { transmute(_mm512_cvtneps_pbh(transmute::<[f32; 16], __m512>(values))) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16,fma,bmi1,bmi2,lzcnt,popcnt")]
    fn multiply(simd: V4, mut product: Product<Pair, Bits>) {
        for (block, panel, group) in product.tiles::<V4>() {
            for_rows!(V4, group.len(), R => tile::<R>(simd, &mut product, group.start, panel, &block));
        }
    }

    /// `R` rows, one panel, some pairs of the depth.
    #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16,fma,bmi1,bmi2,lzcnt,popcnt")]
    #[inline]
    fn tile<const R: usize>(
        simd: V4,
        product: &mut Product<Pair, Bits>,
        first_row: usize,
        panel: usize,
        block: &Range<usize>,
    ) {
        let x: [&[Pair]; R] = std::array::from_fn(|r| &product.x[first_row + r].as_chunks().0[block.clone()]);
        let sums = sums_of(x, product.matrix.panel(panel, block).as_chunks().0);
        // A loop, not closures: those would be compiled without the vector unit.
        let mut as_pulp_has_them = [[simd.splat_f32s(0.0); 2]; R];
        for r in 0..R {
            as_pulp_has_them[r] = [pulp::cast(sums[r][0]), pulp::cast(sums[r][1])];
        }
        product.store(simd, first_row, panel, block, as_pulp_has_them);
    }

    /// `Σ x[r][k] · panel[k]` over pairs `k`.
    #[target_feature(enable = "avx512f,avx512bf16")]
    #[inline]
    fn sums_of<const R: usize>(x: [&[Pair]; R], weights: &[[Pair; COLUMNS]]) -> [[__m512; 2]; R] {
        let x = x.map(|row| &row[..weights.len()]);
        let mut sums = [[_mm512_setzero_ps(); 2]; R];
        for (k, columns) in weights.iter().enumerate() {
            // SAFETY: 32 pairs of 16 bits are two vectors of 512, all of whose bits are values.
            let [left, right]: [__m512bh; 2] = unsafe { transmute(*columns) };
            for r in 0..R {
                // SAFETY: as above, of 16 times the same pair.
                let pair: __m512bh = unsafe { transmute::<__m512i, _>(splat(x[r][k])) };
                sums[r][0] = _mm512_dpbf16_ps(sums[r][0], left, pair);
                sums[r][1] = _mm512_dpbf16_ps(sums[r][1], right, pair);
            }
        }
        sums
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn splat([low, high]: Pair) -> __m512i {
        std::arch::x86_64::_mm512_set1_epi32((u32::from(low) | u32::from(high) << 16).cast_signed())
    }
}

#[cfg(not(all(target_arch = "x86_64", feature = "avx512")))]
mod machine {
    use super::{Bits, Pair, Product};

    /// There is none.
    #[derive(Debug, Clone, Copy)]
    pub(super) enum Proof {}

    impl Proof {
        pub fn find() -> Option<Self> {
            None
        }

        pub fn round(self, _: &[f32], _: &mut [Bits]) {
            match self {}
        }

        pub fn multiply(self, _: Product<Pair, Bits>) {
            match self {}
        }
    }
}
