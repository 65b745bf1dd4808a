//! Max pooling with stride 2 of [`LANES`] pictures side by side, row by row; the last window may hang over the edge
//! (PyTorch's `ceil_mode`).

use std::ops::Range;

use pulp::Simd;

use crate::LANES;
use crate::vector::{load_one, store_one};

/// Of so many rows or columns, in windows of `kernel`.
pub(crate) fn pooled_side(side: usize, kernel: usize) -> usize {
    (side - kernel).div_ceil(2) + 1
}

/// The rows that pooled row `y` sees, of `rows`.
pub(crate) fn seen(y: usize, kernel: usize, rows: usize) -> Range<usize> {
    2 * y..(2 * y + kernel).min(rows)
}

/// One row of windows `kernel` wide, 2 or 3, over three rows of the same length; a row may be there twice.
#[inline(always)]
pub(crate) fn pool_row<S: Simd>(simd: S, rows: [&[f32]; 3], kernel: usize, target: &mut [f32]) {
    let rows = rows.map(|row| row.as_chunks::<LANES>().0);
    let columns = rows[0].len();
    for lane in (0..LANES).step_by(S::F32_LANES) {
        // Of each column the largest, once: a window of three begins with the last column of the one before.
        let mut first = largest(simd, rows, 0, lane);
        for (window, target) in target.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let (second, third) = (2 * window + 1, 2 * window + 2);
            let mut found = first;
            if second < columns {
                found = simd.max_f32s(found, largest(simd, rows, second, lane));
            }
            if third < columns {
                first = largest(simd, rows, third, lane);
                if kernel == 3 {
                    found = simd.max_f32s(found, first);
                }
            }
            store_one::<S>(&mut target[lane..], found);
        }
    }
}

#[inline(always)]
fn largest<S: Simd>(simd: S, rows: [&[[f32; LANES]]; 3], column: usize, lane: usize) -> S::f32s {
    let [a, b, c] = rows.map(|row| load_one::<S>(&row[column][lane..]));
    simd.max_f32s(simd.max_f32s(a, b), c)
}
