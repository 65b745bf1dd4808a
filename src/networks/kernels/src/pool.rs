//! Max pooling with stride 2 of [`LANES`] pictures side by side; the last window may hang over the edge
//! (PyTorch's `ceil_mode`).

use pulp::{Arch, Simd, WithSimd};

use crate::vector::{load_one, store_one};
use crate::{LANES, Planes};

/// `kernel` × `kernel` windows.
pub fn max_pool_lanes(x: &Planes, kernel: usize, out: &mut Planes) {
    out.reshape(x.channels, pooled_side(x.rows, kernel), pooled_side(x.row / LANES, kernel) * LANES);
    Arch::new().dispatch(Pool { x, kernel, out });
}

pub(crate) fn pooled_side(side: usize, kernel: usize) -> usize {
    (side - kernel).div_ceil(2) + 1
}

struct Pool<'a> {
    x: &'a Planes,
    kernel: usize,
    out: &'a mut Planes,
}

impl WithSimd for Pool<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, kernel, out } = self;
        let columns = x.row / LANES;
        for channel in 0..x.channels {
            let plane = x.plane(channel);
            for row in 0..out.rows {
                let at = (channel * out.rows + row) * out.row;
                let targets = out.values[at..at + out.row].as_chunks_mut::<LANES>().0;
                for (column, target) in targets.iter_mut().enumerate() {
                    let right = (2 * column + kernel).min(columns);
                    for lane in (0..LANES).step_by(S::F32_LANES) {
                        let mut largest = simd.splat_f32s(f32::NEG_INFINITY);
                        for y in 2 * row..(2 * row + kernel).min(x.rows) {
                            let pixels = plane[y * x.row..][2 * column * LANES..right * LANES].as_chunks::<LANES>().0;
                            for pixel in pixels {
                                largest = simd.max_f32s(largest, load_one::<S>(&pixel[lane..]));
                            }
                        }
                        store_one::<S>(&mut target[lane..], largest);
                    }
                }
            }
        }
    }
}
