//! Frame → the faces in it.

use image::RgbImage;

use crate::error::Error;
use crate::networks::mtcnn::{Face, FaceBox, Mtcnn, MtcnnSettings};

/// What rows call the detector.
pub const DETECTOR: &str = "mtcnn";

/// A face, and how sharp the picture is where it lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    pub face: Face,
    /// Variance of the Laplacian of the luma, in squared grey levels; none where less than 3 px lie in the frame.
    pub sharpness: Option<f32>,
}

/// The faces of a frame, the most confident first.
///
/// # Errors
/// Only a device that fails.
pub fn detect(mtcnn: &Mtcnn, picture: &RgbImage, settings: &MtcnnSettings) -> Result<Vec<Detection>, Error> {
    let faces = mtcnn.detect(picture, settings).map_err(|e| Error::Input(format!("detector mtcnn: {e}")))?;
    let detections =
        faces.into_iter().map(|face| Detection { face, sharpness: sharpness(picture, face.bounds) }).collect();
    Ok(detections)
}

/// Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy" (ICPR 2000), with the 4-neighbour Laplacian.
fn sharpness(picture: &RgbImage, bounds: FaceBox) -> Option<f32> {
    let (width, height) = picture.dimensions();
    let inside = |value: f32, side: u32| (value.round().max(0.0) as u32).min(side);
    let (x0, x1) = (inside(bounds.x0, width), inside(bounds.x1, width));
    let (y0, y1) = (inside(bounds.y0, height), inside(bounds.y1, height));
    if x1.saturating_sub(x0) < 3 || y1.saturating_sub(y0) < 3 {
        return None;
    }
    let columns = (x1 - x0) as usize;
    let luma_row = |y: u32, row: &mut Vec<i32>| {
        let start = (y * width + x0) as usize * 3;
        row.clear();
        // ITU-R BT.601, in 1/256 of a grey level.
        row.extend(
            picture.as_raw()[start..start + columns * 3]
                .as_chunks::<3>()
                .0
                .iter()
                .map(|[r, g, b]| 77 * i32::from(*r) + 150 * i32::from(*g) + 29 * i32::from(*b)),
        );
    };
    let mut rows = [vec![], vec![], vec![]];
    luma_row(y0, &mut rows[0]);
    luma_row(y0 + 1, &mut rows[1]);
    let (mut sum, mut sum_of_squares, mut count) = (0.0_f64, 0.0_f64, 0.0_f64);
    for y in y0 + 1..y1 - 1 {
        luma_row(y + 1, &mut rows[2]);
        for x in 1..columns - 1 {
            let around = rows[0][x] + rows[2][x] + rows[1][x - 1] + rows[1][x + 1];
            let laplacian = f64::from(around - 4 * rows[1][x]) / 256.0;
            sum += laplacian;
            sum_of_squares += laplacian * laplacian;
            count += 1.0;
        }
        rows.rotate_left(1);
    }
    let mean = sum / count;
    Some((sum_of_squares / count - mean * mean) as f32)
}
