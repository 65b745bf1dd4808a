//! The picture at falling sizes, by area averaging.
//!
//! In: RGB8. Out: planar `f32`, (value − 127.5) / 128. The average over [⌊i·in/out⌋, ⌈(i+1)·in/out⌉) is that
//! of PyTorch's `interpolate(mode="area")`; it enlarges by the same rule.

use std::ops::Range;

use deepsweep_kernels::{AreaColumns, AreaSums, Source};
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
    let (mut columns, mut sums) = (AreaColumns::default(), AreaSums::default());
    columns.set(window.x1 - window.x0, width, |x| x);
    for y in 0..height {
        let row = source_of_row(picture, window, y, height);
        sums.average(&row, &columns, &mut values[y * width..], width * height);
    }
    values
}

/// The pixels that row `y` of `height` averages.
pub(super) fn source_of_row(picture: &RgbImage, window: Window, y: usize, height: usize) -> Source<'_> {
    let Range { start, end } = AreaColumns::span(y, window.y1 - window.y0, height);
    Source {
        pixels: picture.as_raw(),
        stride: picture.width() as usize * 3,
        rows: window.y0 + start..window.y0 + end,
        columns: window.x0..window.x1,
    }
}
