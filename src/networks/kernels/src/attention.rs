//! One head of self-attention: no likeness is stored but those of the rows at hand.

use pulp::{Arch, Simd, WithSimd};

use crate::functions::exp;
use crate::lanes;
use crate::tile::{MOST_ROWS, for_rows, in_groups, load, multiply_tile, rows, store};

/// The head of one picture: rows that lie `stride` values apart, of which `width` belong to the head.
#[derive(Debug, Clone, Copy)]
pub struct HeadRows<'a> {
    /// From the first value of the head in the first row on.
    pub values: &'a [f32],
    pub stride: usize,
    pub rows: usize,
    pub width: usize,
}

impl<'a> HeadRows<'a> {
    #[inline(always)]
    fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.stride..][..self.width]
    }
}

/// The work space of one thread; grows to what is asked of it and stays.
#[derive(Debug, Default)]
pub struct HeadScratch {
    /// `[rows / lanes][width][lanes]`: the keys, a column for each.
    keys: Vec<f32>,
    /// `[width / lanes][rows][lanes]`
    values: Vec<f32>,
    /// `[MOST_ROWS][rows rounded up to lanes]`
    weights: Vec<f32>,
}

/// softmax(q · kᵀ) · v: query i → `out[i]`. Queries are scaled already.
///
/// # Panics
/// If the shapes do not agree: a bug of the caller.
pub fn attend(q: HeadRows, k: HeadRows, v: HeadRows, scratch: &mut HeadScratch, out: &mut [&mut [f32]]) {
    assert_eq!((k.width, k.rows, v.rows), (q.width, v.rows, k.rows), "keys and values");
    assert_eq!(out.len(), q.rows, "queries");
    assert!(out.iter().all(|row| row.len() == v.width), "rows of {}", v.width);
    let lanes = lanes();
    let padded_rows = k.rows.next_multiple_of(lanes);
    scratch.keys.resize(padded_rows * k.width, 0.0);
    scratch.values.resize(v.width.next_multiple_of(lanes) * v.rows, 0.0);
    scratch.weights.resize(MOST_ROWS * padded_rows, 0.0);
    // What fills up the last panel is multiplied and never read; it may be left from another call.
    for row in 0..k.rows {
        let panel = &mut scratch.keys[row / lanes * lanes * k.width..][..lanes * k.width];
        for (values, value) in panel.chunks_exact_mut(lanes).zip(k.row(row)) {
            values[row % lanes] = *value;
        }
        for (panel, values) in scratch.values.chunks_exact_mut(lanes * v.rows).zip(v.row(row).chunks(lanes)) {
            panel[row * lanes..][..values.len()].copy_from_slice(values);
        }
    }
    Arch::new().dispatch(Attend { q, places: k.rows, scratch, out });
}

struct Attend<'a, 'b> {
    q: HeadRows<'a>,
    places: usize,
    scratch: &'a mut HeadScratch,
    out: &'a mut [&'b mut [f32]],
}

impl WithSimd for Attend<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for queries in in_groups(self.q.rows, rows::<S>()) {
            for_rows!(S, queries.len(), R => self.group::<S, R>(simd, queries.start));
        }
    }
}

impl Attend<'_, '_> {
    #[inline(always)]
    fn group<S: Simd, const R: usize>(&mut self, simd: S, first: usize) {
        let lanes = 2 * S::F32_LANES;
        let Self { q, places, scratch, out } = self;
        let HeadScratch { keys, values, weights } = &mut **scratch;
        let padded = places.next_multiple_of(lanes);
        let queries: [&[f32]; R] = std::array::from_fn(|r| q.row(first + r));
        for (panel, keys) in keys.chunks_exact(lanes * q.width).enumerate() {
            for (r, sums) in multiply_tile(simd, queries, keys).into_iter().enumerate() {
                store(simd, &mut weights[r * padded + panel * lanes..][..lanes], sums);
            }
        }
        let mut shares = [0.0; R];
        for (weights, share) in weights.chunks_exact_mut(padded).zip(&mut shares) {
            *share = 1.0 / exp_of_row(simd, &mut weights[..*places]);
        }
        let rows: [&[f32]; R] = std::array::from_fn(|r| &weights[r * padded..][..*places]);
        for (panel, values) in values.chunks_exact(lanes * *places).enumerate() {
            let sums = multiply_tile(simd, rows, values);
            for (r, sums) in sums.into_iter().enumerate() {
                let row = &mut out[first + r][panel * lanes..];
                let columns = lanes.min(row.len());
                let share = simd.splat_f32s(shares[r]);
                let mixed = [simd.mul_f32s(sums[0], share), simd.mul_f32s(sums[1], share)];
                store(simd, &mut row[..columns], mixed);
            }
        }
    }
}

/// e to the power of each value less the largest; their sum.
#[inline(always)]
fn exp_of_row<S: Simd>(simd: S, row: &mut [f32]) -> f32 {
    let mut largest = simd.splat_f32s(f32::NEG_INFINITY);
    let (vectors, rest) = S::as_simd_f32s(row);
    for v in vectors {
        largest = simd.max_f32s(*v, largest);
    }
    let largest = rest.iter().copied().fold(simd.reduce_max_f32s(largest), f32::max);
    let largests = simd.splat_f32s(largest);
    let mut sums = simd.splat_f32s(0.0);
    let (vectors, rest) = S::as_mut_simd_f32s(row);
    for v in vectors {
        *v = exp(simd, simd.sub_f32s(*v, largests));
        sums = simd.add_f32s(sums, *v);
    }
    let [last, _] = load(simd, rest);
    simd.partial_store_f32s(rest, exp(simd, simd.sub_f32s(last, largests)));
    simd.reduce_sum_f32s(sums) + rest.iter().sum::<f32>()
}
