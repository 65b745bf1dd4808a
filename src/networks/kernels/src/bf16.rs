//! Products of rows with matrices that stay, both in bfloat16, sums in `f32`: AVX512-BF16, twice the products of `f32` a
//! cycle.
//!
//! In: rows of `f32`, rounded once to the nearest (ties to even), and a matrix packed in panels as wide as two vectors.
//! Out: rows of `f32`, finished as [`crate::PackedMatrix`] finishes them. Subnormal numbers count as zero, as the
//! instruction has it. Nothing here runs on a machine without the instruction: [`Bf16`] is the proof that it is there.

use std::ops::Range;

use crate::matrix::Finish;

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

/// A matrix [depth, width] in bfloat16 and a bias [width] in `f32`, packed for the kernel.
#[derive(Debug, Clone)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "no such matrix is ever made"))]
pub struct Bf16Matrix {
    machine: Bf16,
    depth: usize,
    width: usize,
    /// `[width / COLUMNS][depth / 2][COLUMNS][2]`, what is not there filled up with zeros.
    panels: Vec<[[Bits; 2]; COLUMNS]>,
    /// As long as the panels are wide.
    bias: Vec<f32>,
}

impl Bf16Matrix {
    /// `weight`: [width, depth], as checkpoints have it; `bias`: [width], or nothing.
    ///
    /// # Panics
    /// If the lengths do not agree, or `depth` is odd: a bug of the caller.
    #[must_use]
    pub fn new(machine: Bf16, weight: &[f32], bias: Option<&[f32]>, depth: usize) -> Self {
        let width = weight.len() / depth;
        assert_eq!(weight.len(), width * depth, "a matrix of {depth} rows");
        assert!(depth.is_multiple_of(2), "an even number of rows, found {depth}");
        let mut rounded = vec![0; weight.len()];
        machine.round(weight, &mut rounded);
        let mut panels = vec![[[0; 2]; COLUMNS]; width.div_ceil(COLUMNS) * depth / 2];
        for (column, values) in rounded.chunks_exact(depth).enumerate() {
            let panel = &mut panels[column / COLUMNS * (depth / 2)..];
            for (row, pair) in panel.iter_mut().zip(values.as_chunks::<2>().0) {
                row[column % COLUMNS] = *pair;
            }
        }
        let mut padded = vec![0.0; width.next_multiple_of(COLUMNS)];
        if let Some(bias) = bias {
            assert_eq!(bias.len(), width, "bias");
            padded[..width].copy_from_slice(bias);
        }
        Self { machine, depth, width, panels, bias: padded }
    }

    #[must_use]
    pub fn machine(&self) -> Bf16 {
        self.machine
    }

    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    #[must_use]
    pub fn panels(&self) -> usize {
        self.bias.len() / COLUMNS
    }

    /// The columns that some panels hold.
    #[must_use]
    pub fn columns(&self, panels: &Range<usize>) -> Range<usize> {
        (panels.start * COLUMNS).min(self.width)..(panels.end * COLUMNS).min(self.width)
    }

    /// Row i of `x` times the columns of `panels` → `out[i]`, a slice of just those columns.
    ///
    /// # Panics
    /// If the lengths do not agree: a bug of the caller.
    pub fn multiply(&self, x: &[&[Bits]], panels: Range<usize>, finish: Finish, out: &mut [&mut [f32]]) {
        let columns = self.columns(&panels).len();
        assert_eq!(x.len(), out.len(), "rows");
        assert!(x.iter().all(|row| row.len() == self.depth), "rows of {}", self.depth);
        assert!(out.iter().all(|row| row.len() == columns), "rows of {columns}");
        self.machine.0.multiply(Multiply { matrix: self, x, panels, finish, out });
    }
}

#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "no such product is ever asked for"))]
struct Multiply<'a, 'b> {
    matrix: &'a Bf16Matrix,
    x: &'a [&'a [Bits]],
    panels: Range<usize>,
    finish: Finish,
    out: &'a mut [&'b mut [f32]],
}

#[cfg(target_arch = "x86_64")]
mod machine {
    #![allow(
        unsafe_code,
        reason = "the standard library has the instruction, pulp has not; bits of vectors are renamed"
    )]

    use std::arch::x86_64::{__m512, __m512bh, __m512i, _mm512_cvtneps_pbh, _mm512_dpbf16_ps, _mm512_setzero_ps};
    use std::mem::transmute;
    use std::ops::Range;

    use pulp::x86::V4;

    use super::{Bits, COLUMNS, Multiply};
    use crate::tile::{in_groups, load, store};

    /// Rows of a tile: 24 sums of AVX-512's 32 registers.
    const ROWS: usize = 12;

    /// Pairs of rows of a panel that are multiplied in one go: 128 KiB, as of [`crate::PackedMatrix`].
    const PAIRS: usize = 1024;

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

        pub fn multiply(self, product: Multiply) {
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
    fn multiply(simd: V4, mut product: Multiply) {
        let pairs = product.matrix.depth / 2;
        for start in (0..pairs).step_by(PAIRS) {
            let block = start..(start + PAIRS).min(pairs);
            for panel in product.panels.clone() {
                for group in in_groups(product.x.len(), ROWS) {
                    let (first, block) = (group.start, block.clone());
                    match group.len() {
                        1 => tile::<1>(simd, &mut product, first, panel, block),
                        2 => tile::<2>(simd, &mut product, first, panel, block),
                        3 => tile::<3>(simd, &mut product, first, panel, block),
                        4 => tile::<4>(simd, &mut product, first, panel, block),
                        5 => tile::<5>(simd, &mut product, first, panel, block),
                        6 => tile::<6>(simd, &mut product, first, panel, block),
                        7 => tile::<7>(simd, &mut product, first, panel, block),
                        8 => tile::<8>(simd, &mut product, first, panel, block),
                        9 => tile::<9>(simd, &mut product, first, panel, block),
                        10 => tile::<10>(simd, &mut product, first, panel, block),
                        11 => tile::<11>(simd, &mut product, first, panel, block),
                        _ => tile::<ROWS>(simd, &mut product, first, panel, block),
                    }
                }
            }
        }
    }

    /// `R` rows, one panel, some pairs of the depth: what came before is in `out`.
    #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16,fma,bmi1,bmi2,lzcnt,popcnt")]
    #[inline]
    fn tile<const R: usize>(simd: V4, product: &mut Multiply, first: usize, panel: usize, block: Range<usize>) {
        let (matrix, finish) = (product.matrix, product.finish);
        let pairs = matrix.depth / 2;
        let x: [&[[Bits; 2]]; R] =
            std::array::from_fn(|r| &product.x[first + r].as_chunks::<2>().0[block.start..block.end]);
        let weights = &matrix.panels[panel * pairs + block.start..][..block.len()];
        let sums = sums_of(x, weights);
        let at = (panel - product.panels.start) * COLUMNS;
        let columns = at..at + COLUMNS.min(matrix.width - panel * COLUMNS);
        let is_first = block.start == 0;
        let bias = &matrix.bias[panel * COLUMNS..][..COLUMNS];
        for (r, sums) in sums.into_iter().enumerate() {
            let target = &mut product.out[first + r][columns.clone()];
            let mut sums = [pulp::cast(sums[0]), pulp::cast(sums[1])];
            if is_first {
                sums = add(simd, sums, load(simd, bias));
            }
            if !is_first || finish.adds() {
                sums = add(simd, sums, load(simd, target));
            }
            if block.end == pairs {
                sums = finish.apply(simd, sums);
            }
            store(simd, target, sums);
        }
    }

    type Pair = [pulp::f32x16; 2];

    #[inline(always)]
    fn add(simd: V4, a: Pair, b: Pair) -> Pair {
        use pulp::Simd;
        [simd.add_f32s(a[0], b[0]), simd.add_f32s(a[1], b[1])]
    }

    /// `Σ x[r][k] · panel[k]` over pairs `k`.
    #[target_feature(enable = "avx512f,avx512bf16")]
    #[inline]
    fn sums_of<const R: usize>(x: [&[[Bits; 2]]; R], weights: &[[[Bits; 2]; COLUMNS]]) -> [[__m512; 2]; R] {
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
    fn splat([low, high]: [Bits; 2]) -> __m512i {
        std::arch::x86_64::_mm512_set1_epi32((u32::from(low) | u32::from(high) << 16).cast_signed())
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod machine {
    use super::{Bits, Multiply};

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

        pub fn multiply(self, _: Multiply) {
            match self {}
        }
    }
}
