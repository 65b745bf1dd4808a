//! The picture at falling sizes, by area averaging.
//!
//! In: RGB8. Out: planar `f32`, (value − 127.5) / 128. The average over [⌊i·in/out⌋, ⌈(i+1)·in/out⌉) is that
//! of PyTorch's `interpolate(mode="area")`; it enlarges by the same rule. Sums are whole numbers, so they are exact.

use std::ops::Range;

use image::RgbImage;

use super::MtcnnSettings;
use super::boxes::Window;

/// P-Net's receptive field: the smallest face fills it at the first level.
pub(super) const CELL_PX: f64 = 12.0;

/// The sides of one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LevelSize {
    pub width: usize,
    pub height: usize,
}

impl LevelSize {
    /// Rounded as the reference rounds: down, after one is added.
    pub fn new((width_px, height_px): (u32, u32), scale: f64) -> Self {
        let side = |full: u32| (f64::from(full) * scale + 1.0) as usize;
        Self { width: side(width_px), height: side(height_px) }
    }
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

/// The picture at another size, planar and normalised: 3 × `height` × `width`.
pub(super) fn area_resize(picture: &RgbImage, window: Window, size: LevelSize) -> Vec<f32> {
    let LevelSize { width, height } = size;
    let mut values = vec![0.0; 3 * width * height];
    area_resize_rows(picture, window, size, 0..height, &mut values, |channel, y, x| (channel * height + y) * width + x);
    values
}

/// The rows `rows` of `window` resized to `size`; `place` says where the value of (channel, y, x) goes in `target`.
pub(super) fn area_resize_rows(
    picture: &RgbImage,
    window: Window,
    LevelSize { width, height }: LevelSize,
    rows: Range<usize>,
    target: &mut [f32],
    place: impl Fn(usize, usize, usize) -> usize,
) {
    let stride = picture.width() as usize * 3;
    let pixels = picture.as_raw();
    let (in_width, in_height) = (window.x1 - window.x0, window.y1 - window.y0);
    let columns: Vec<(usize, usize)> = (0..width).map(|x| span(x, in_width, width)).collect();
    let mut sums = vec![0_u32; in_width * 3];
    for y in rows {
        let (y0, y1) = span(y, in_height, height);
        sums.fill(0);
        for row in y0..y1 {
            let at = (window.y0 + row) * stride + window.x0 * 3;
            for (sum, &value) in sums.iter_mut().zip(&pixels[at..at + in_width * 3]) {
                *sum += u32::from(value);
            }
        }
        let sums = sums.as_chunks::<3>().0;
        for (x, &(x0, x1)) in columns.iter().enumerate() {
            let mut total = [0_u32; 3];
            for sum in &sums[x0..x1] {
                for (total, sum) in total.iter_mut().zip(sum) {
                    *total += sum;
                }
            }
            let count = ((x1 - x0) * (y1 - y0)) as f32;
            for (channel, total) in total.into_iter().enumerate() {
                target[place(channel, y, x)] = (total as f32 / count - 127.5) * 0.007_812_5;
            }
        }
    }
}

/// The inputs that output `i` averages.
fn span(i: usize, inputs: usize, outputs: usize) -> (usize, usize) {
    (i * inputs / outputs, ((i + 1) * inputs).div_ceil(outputs))
}
