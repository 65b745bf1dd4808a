//! Max pooling with stride 2 whose last window may hang over the edge (PyTorch's `ceil_mode`).

use crate::{Planes, lanes};

/// 2 × 2 pooling of one picture: `width` pixels of each row count. `out` gets rows of a whole number of [`lanes`].
pub fn max_pool_row_pairs(x: &Planes, width: usize, out: &mut Planes) {
    let rows = x.rows.div_ceil(2);
    let pooled_width = width.div_ceil(2);
    out.reshape(x.channels, rows, pooled_width.next_multiple_of(lanes()));
    for channel in 0..x.channels {
        let plane = x.plane(channel);
        for row in 0..rows {
            let upper = &plane[2 * row * x.row..][..width];
            let lower = &plane[(2 * row + 1).min(x.rows - 1) * x.row..][..width];
            let at = (channel * rows + row) * out.row;
            let target = &mut out.values[at..at + pooled_width];
            let pairs = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
            for (target, (a, b)) in target.iter_mut().zip(pairs) {
                *target = a[0].max(a[1]).max(b[0].max(b[1]));
            }
            if width % 2 == 1 {
                target[pooled_width - 1] = upper[width - 1].max(lower[width - 1]);
            }
        }
    }
}

/// `kernel` × `kernel` pooling of [`lanes`] pictures side by side.
pub fn max_pool_lanes(x: &Planes, kernel: usize, out: &mut Planes) {
    let lanes = lanes();
    let columns = x.row / lanes;
    let pooled = |side: usize| (side - kernel).div_ceil(2) + 1;
    out.reshape(x.channels, pooled(x.rows), pooled(columns) * lanes);
    for channel in 0..x.channels {
        let plane = x.plane(channel);
        for row in 0..out.rows {
            let at = (channel * out.rows + row) * out.row;
            for (column, target) in out.values[at..at + out.row].chunks_exact_mut(lanes).enumerate() {
                target.fill(f32::NEG_INFINITY);
                for y in 2 * row..(2 * row + kernel).min(x.rows) {
                    for source in plane[y * x.row..][..x.row].chunks_exact(lanes).skip(2 * column).take(kernel) {
                        for (target, value) in target.iter_mut().zip(source) {
                            *target = target.max(*value);
                        }
                    }
                }
            }
        }
    }
}
