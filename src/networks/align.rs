//! A face with five landmarks → the upright square that face detectors of one school were trained on.
//!
//! In: RGB8, landmarks in its pixels (a pixel's centre is at a whole number). Out: RGB8. What the landmarks decide is
//! where the face lies in the square; the rest is the school's choice, so a recipe names its school.

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::similarity::{Points, least_median, least_squares};
use super::warp::warp_square;

pub use super::similarity::Similarity;

/// A face that fills a picture of 100 megapixels is 7,000 px wide; the tower sees 224 of them. More takes memory only.
pub const MAX_ALIGN_PX: u32 = 4096;

/// How a recipe wants its faces.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Alignment {
    pub school: School,
    /// How much of the surroundings is shown: 1 is the school's template as it is, 1.3 adds 15 % of its side on each side.
    pub scale: f64,
    /// The square's side. None: as many pixels as the face has in the picture.
    pub side_px: Option<u32>,
}

/// Whose template, and whose fit to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum School {
    /// Yermakov et al., "Deepfake Detection that Generalizes Across Benchmarks" (WACV 2026), `detector.py`: a symmetric
    /// template; the least median of squares, so that a landmark that fits ill does not count.
    GenD,
    /// Yan et al., "`DeepfakeBench`" (NeurIPS 2023), `preprocess.py`: `ArcFace`'s template, moved to the middle of 112 px;
    /// least squares. Its landmarks are dlib's, which lie elsewhere on the eyes and the mouth than MTCNN's.
    DeepfakeBench,
}

impl School {
    /// Left eye, right eye, nose, left and right corner of the mouth at scale 1, and the side of the square they lie in.
    fn template(self) -> (Points, f32) {
        match self {
            Self::GenD => ([[0.34, 0.46], [0.66, 0.46], [0.5, 0.64], [0.37, 0.82], [0.63, 0.82]], 1.0),
            Self::DeepfakeBench => {
                let face = [
                    [30.2946, 51.6963],
                    [65.5318, 51.5014],
                    [48.0252, 71.7366],
                    [33.5493, 92.3655],
                    [62.7299, 92.2041],
                ];
                (face.map(|[x, y]| [x + 8.0, y]), 112.0)
            }
        }
    }
}

/// Where a face's square lies in its picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placement {
    pub to_square: Similarity,
    pub side_px: u32,
}

/// The aligned face.
///
/// None where there is nothing to align or to show: landmarks that are not finite or all in one place, or a square that
/// lies outside the picture.
#[must_use]
pub fn align5(picture: &RgbImage, landmarks: [[f32; 2]; 5], alignment: Alignment) -> Option<RgbImage> {
    let Placement { to_square, side_px } = place(landmarks, alignment)?;
    warp_square(picture, &to_square, side_px)
}

/// Fits the school's template to the landmarks: left eye, right eye, nose, left and right corner of the mouth, (x, y).
#[must_use]
pub fn place(landmarks: [[f32; 2]; 5], alignment: Alignment) -> Option<Placement> {
    let Alignment { school, scale, side_px } = alignment;
    if !landmarks.as_flattened().iter().all(|v| v.is_finite()) {
        return None;
    }
    let (template, full) = school.template();
    let side_px =
        side_px.unwrap_or_else(|| own_side_px(&landmarks, &template, f64::from(full), scale)).min(MAX_ALIGN_PX);
    // In f32, and in this order, as the schools' numpy does it.
    let margin_px = f64::from(side_px) * (scale - 1.0) / 2.0;
    let shrink = (f64::from(side_px) / (f64::from(side_px) + 2.0 * margin_px)) as f32;
    let target = template.map(|point| point.map(|at| (at * side_px as f32 / full + margin_px as f32) * shrink));
    let to_square = match school {
        School::GenD => least_median(&landmarks, &target),
        School::DeepfakeBench => least_squares(&landmarks, &target, [true; 5]),
    }?;
    Some(Placement { to_square, side_px })
}

/// The side at which the mean distance between two landmarks is what it is in the picture.
fn own_side_px(landmarks: &Points, template: &Points, full: f64, scale: f64) -> u32 {
    let distance = |points: &Points, i: usize, j: usize| {
        let [dx, dy] = std::array::from_fn(|axis| f64::from(points[i][axis]) - f64::from(points[j][axis]));
        (dx * dx + dy * dy).sqrt()
    };
    let pairs = (0..5).flat_map(|i| (i + 1..5).map(move |j| (i, j)));
    let ratios: f64 = pairs.map(|(i, j)| distance(landmarks, i, j) / distance(template, i, j)).sum();
    (ratios / 10.0 * full * scale).round_ties_even() as u32 // the cast saturates
}
