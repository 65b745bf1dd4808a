//! A square cut out of a picture at any angle and scale, as OpenCV's `warpAffine` with `INTER_LINEAR` does it.
//!
//! In: RGB8 and a similarity from the picture to the square. Out: RGB8, black where the picture does not reach. Detectors
//! were trained on OpenCV's fixed-point pixels, so these are the same (up to 4.x; OpenCV 5 interpolates in floats and
//! differs by up to 6 grey levels on noise): places rounded to 1/1024 px in two parts, then down to 1/32 px.

use image::RgbImage;

use super::similarity::Similarity;

/// Places along a row and a column are rounded to this share of a pixel before they are added.
const PLACE_BITS: u32 = 10;
/// Between two pixels there are 32 places.
const WEIGHT_BITS: u32 = 5;

/// The square of `side_px`, or nothing if no pixel of the picture lies in it.
pub(super) fn warp_square(picture: &RgbImage, to_square: &Similarity, side_px: u32) -> Option<RgbImage> {
    let [m0, m1, m2, m3, m4, m5] = inverse(to_square);
    let place = |v: f64| i64::from((v * f64::from(1 << PLACE_BITS)).round_ties_even() as i32); // the cast saturates
    let half_a_weight = 1 << (PLACE_BITS - WEIGHT_BITS - 1);
    let columns: Vec<[i64; 2]> = (0..side_px).map(f64::from).map(|x| [place(m0 * x), place(m3 * x)]).collect();
    let source = Source { pixels: picture.as_raw(), width: picture.width().into(), height: picture.height().into() };
    let mut square = RgbImage::new(side_px, side_px);
    let mut touched = false;
    let rows = square.as_chunks_mut::<3>().0.chunks_exact_mut(side_px.max(1) as usize);
    for (y, row) in (0..side_px).map(f64::from).zip(rows) {
        let start = [place(m1 * y + m2) + half_a_weight, place(m4 * y + m5) + half_a_weight];
        for (target, column) in row.iter_mut().zip(&columns) {
            let at = [start[0] + column[0], start[1] + column[1]].map(|v| v >> (PLACE_BITS - WEIGHT_BITS));
            if let Some(pixel) = source.between(at) {
                *target = pixel;
                touched = true;
            }
        }
    }
    touched.then_some(square)
}

/// From the square to the picture, rows of a 2 × 3 matrix, in OpenCV's order of operations.
fn inverse(to_square: &Similarity) -> [f64; 6] {
    let Similarity { a, b, shift: [tx, ty] } = *to_square;
    let d = 1.0 / (a * a + b * b);
    let (m0, m1, m3, m4) = (a * d, b * d, -b * d, a * d);
    [m0, m1, -m0 * tx - m1 * ty, m3, m4, -m3 * tx - m4 * ty]
}

struct Source<'a> {
    pixels: &'a [u8],
    width: i64,
    height: i64,
}

impl Source<'_> {
    /// The blend of the four pixels around a place in 1/32 px, or nothing if all of them lie outside.
    fn between(&self, [x, y]: [i64; 2]) -> Option<[u8; 3]> {
        const PLACES: i64 = 1 << WEIGHT_BITS;
        let (left, top) = (x >> WEIGHT_BITS, y >> WEIGHT_BITS);
        let (across, down) = ((x & (PLACES - 1)) as u32, (y & (PLACES - 1)) as u32);
        if left < -1 || left >= self.width || top < -1 || top >= self.height {
            return None;
        }
        let four = if left >= 0 && left + 1 < self.width && top >= 0 && top + 1 < self.height {
            let first = ((top * self.width + left) * 3) as usize;
            let second = first + self.width as usize * 3;
            let (upper, lower) = (&self.pixels[first..first + 6], &self.pixels[second..second + 6]);
            [
                [upper[0], upper[1], upper[2]],
                [upper[3], upper[4], upper[5]],
                [lower[0], lower[1], lower[2]],
                [lower[3], lower[4], lower[5]],
            ]
        } else {
            [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(dx, dy)| self.at(left + dx, top + dy))
        };
        let full = PLACES as u32;
        let weights = [(full - across) * (full - down), across * (full - down), (full - across) * down, across * down];
        const HALF: u32 = 1 << (2 * WEIGHT_BITS - 1);
        Some(std::array::from_fn(|channel| {
            let sum: u32 = weights.iter().zip(&four).map(|(weight, pixel)| weight * u32::from(pixel[channel])).sum();
            ((sum + HALF) >> (2 * WEIGHT_BITS)) as u8
        }))
    }

    fn at(&self, x: i64, y: i64) -> [u8; 3] {
        if (0..self.width).contains(&x) && (0..self.height).contains(&y) {
            let first = ((y * self.width + x) * 3) as usize;
            [self.pixels[first], self.pixels[first + 1], self.pixels[first + 2]]
        } else {
            [0; 3]
        }
    }
}
