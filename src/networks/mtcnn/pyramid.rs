//! The picture at falling sizes, by area averaging.
//!
//! In: RGB8. Out: planar `f32`, (value − 127.5) / 128. The average over [⌊i·in/out⌋, ⌈(i+1)·in/out⌉) is that
//! of PyTorch's `interpolate(mode="area")`; it enlarges by the same rule. Sums are whole numbers, so they are exact.

use image::RgbImage;

use super::MtcnnSettings;
use super::boxes::Window;

/// P-Net's receptive field: the smallest face fills it at the first level.
const CELL_PX: f64 = 12.0;

/// A picture as P-Net sees it: 3 planes of `height` × `width`.
pub(super) struct Level {
    pub width: usize,
    pub height: usize,
    pub values: Vec<f32>,
}

/// The factors of the levels, from the largest picture to the smallest.
pub(super) fn scales((width_px, height_px): (u32, u32), settings: &MtcnnSettings) -> Vec<f64> {
    let mut scale = CELL_PX / f64::from(settings.min_face_px);
    let mut shorter = f64::from(width_px.min(height_px)) * scale;
    let mut scales = vec![];
    while shorter >= CELL_PX {
        scales.push(scale);
        scale *= settings.pyramid_factor;
        shorter *= settings.pyramid_factor;
    }
    scales
}

pub(super) fn level(picture: &RgbImage, scale: f64) -> Level {
    let (full_width, full_height) = picture.dimensions();
    let side = |full: u32| (f64::from(full) * scale + 1.0) as usize;
    let (width, height) = (side(full_width), side(full_height));
    let mut values = Vec::with_capacity(3 * width * height);
    let whole = Window { x0: 0, y0: 0, x1: full_width as usize, y1: full_height as usize };
    area_resize_into(picture, whole, (width, height), &mut values);
    Level { width, height, values }
}

/// The whole picture at another size, planar and normalised: 3 × `height` × `width`.
#[must_use]
pub fn area_resize(picture: &RgbImage, (width, height): (usize, usize)) -> Vec<f32> {
    let mut values = vec![];
    let whole = Window { x0: 0, y0: 0, x1: picture.width() as usize, y1: picture.height() as usize };
    area_resize_into(picture, whole, (width, height), &mut values);
    values
}

/// Appends the three planes of `window` at `width` × `height` to `values`.
pub(super) fn area_resize_into(
    picture: &RgbImage,
    window: Window,
    (width, height): (usize, usize),
    values: &mut Vec<f32>,
) {
    let stride = picture.width() as usize * 3;
    let pixels = picture.as_raw();
    let (in_width, in_height) = (window.x1 - window.x0, window.y1 - window.y0);
    let columns: Vec<(usize, usize)> = (0..width).map(|x| span(x, in_width, width)).collect();
    let start = values.len();
    values.resize(start + 3 * width * height, 0.0);
    let (red, rest) = values[start..].split_at_mut(width * height);
    let (green, blue) = rest.split_at_mut(width * height);
    let mut sums = vec![0_u32; in_width * 3];
    for y in 0..height {
        let (y0, y1) = span(y, in_height, height);
        sums.fill(0);
        for row in y0..y1 {
            let at = (window.y0 + row) * stride + window.x0 * 3;
            for (sum, &value) in sums.iter_mut().zip(&pixels[at..at + in_width * 3]) {
                *sum += u32::from(value);
            }
        }
        for (x, &(x0, x1)) in columns.iter().enumerate() {
            let mut total = [0_u32; 3];
            for sum in sums[x0 * 3..x1 * 3].chunks_exact(3) {
                total[0] += sum[0];
                total[1] += sum[1];
                total[2] += sum[2];
            }
            let count = ((x1 - x0) * (y1 - y0)) as f32;
            let normalised = |total: u32| (total as f32 / count - 127.5) * 0.007_812_5;
            red[y * width + x] = normalised(total[0]);
            green[y * width + x] = normalised(total[1]);
            blue[y * width + x] = normalised(total[2]);
        }
    }
}

/// The inputs that output `i` averages.
fn span(i: usize, inputs: usize, outputs: usize) -> (usize, usize) {
    (i * inputs / outputs, ((i + 1) * inputs).div_ceil(outputs))
}
