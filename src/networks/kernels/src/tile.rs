//! The innermost product: a few rows times one panel, all sums in registers.

use std::ops::Range;

use pulp::Simd;

/// Rows of a tile: 6 × 2 sums, two vectors of a panel and one value of a row fill the sixteen registers of AVX2; of
/// AVX-512's 32, twice as many are at work, and values of rows need none.
pub(crate) const fn rows<S: Simd>() -> usize {
    if S::F32_LANES == 16 { MOST_ROWS } else { 6 }
}

/// Of any machine.
pub(crate) const MOST_ROWS: usize = 12;

/// Splits rows into groups of at most `most` whose sizes differ by one at most: no group is much slower than another.
#[inline(always)]
pub(crate) fn in_groups(rows: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let groups = rows.div_ceil(most);
    (0..groups).map(move |group| group * rows / groups..(group + 1) * rows / groups)
}

/// Runs `$run` for a group of [`in_groups`], in which `$rows` is the number of its rows, known when it is compiled.
/// Instruction sets of 16 registers have no groups of more than six.
macro_rules! for_rows {
    ($s:ident, $count:expr, $rows:ident => $run:expr) => {
        match $count {
            1 => {
                const $rows: usize = 1;
                $run
            }
            2 => {
                const $rows: usize = 2;
                $run
            }
            3 => {
                const $rows: usize = 3;
                $run
            }
            4 => {
                const $rows: usize = 4;
                $run
            }
            5 => {
                const $rows: usize = 5;
                $run
            }
            count if $crate::tile::rows::<$s>() == 6 || count == 6 => {
                const $rows: usize = 6;
                $run
            }
            7 => {
                const $rows: usize = 7;
                $run
            }
            8 => {
                const $rows: usize = 8;
                $run
            }
            9 => {
                const $rows: usize = 9;
                $run
            }
            10 => {
                const $rows: usize = 10;
                $run
            }
            11 => {
                const $rows: usize = 11;
                $run
            }
            _ => {
                const $rows: usize = 12;
                $run
            }
        }
    };
}
pub(crate) use for_rows;

/// `Σ x[r][k] · panel[k]` over the rows `k` of the panel, each as wide as two vectors.
#[inline(always)]
pub(crate) fn multiply_tile<S: Simd, const R: usize>(simd: S, x: [&[f32]; R], panel: &[f32]) -> [[S::f32s; 2]; R] {
    let (vectors, _) = S::as_simd_f32s(panel);
    let (pairs, _) = vectors.as_chunks::<2>();
    let x = x.map(|row| &row[..pairs.len()]);
    let mut sums = [[simd.splat_f32s(0.0); 2]; R];
    for (k, [left, right]) in pairs.iter().enumerate() {
        for r in 0..R {
            let value = simd.splat_f32s(x[r][k]);
            sums[r][0] = simd.mul_add_e_f32s(value, *left, sums[r][0]);
            sums[r][1] = simd.mul_add_e_f32s(value, *right, sums[r][1]);
        }
    }
    sums
}

/// Two vectors of a slice that may be shorter; zeros behind its end.
#[inline(always)]
pub(crate) fn load<S: Simd>(simd: S, values: &[f32]) -> [S::f32s; 2] {
    match S::as_simd_f32s(values).0 {
        [left, right] => [*left, *right],
        _ => {
            let (left, right) = values.split_at(values.len().min(S::F32_LANES));
            [simd.partial_load_f32s(left), simd.partial_load_f32s(right)]
        }
    }
}

/// As much of two vectors as the slice holds.
#[inline(always)]
pub(crate) fn store<S: Simd>(simd: S, values: &mut [f32], vectors: [S::f32s; 2]) {
    match S::as_mut_simd_f32s(values).0 {
        [left, right] => [*left, *right] = vectors,
        _ => {
            let (left, right) = values.split_at_mut(values.len().min(S::F32_LANES));
            simd.partial_store_f32s(left, vectors[0]);
            simd.partial_store_f32s(right, vectors[1]);
        }
    }
}
