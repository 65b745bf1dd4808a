//! Frame and faces → the squares that the scorers' towers take.

use image::RgbImage;
use image::imageops::crop_imm;

use super::detect::Detection;
use crate::networks::align::align5;
use crate::networks::mtcnn::FaceBox;
use crate::scorers::{CropRecipe, Cut};

/// One square, ready for the tower, and whose it is.
#[derive(Debug)]
pub struct Crop {
    /// None: the crop is the whole frame.
    pub face: Option<usize>,
    /// Place of its recipe among those of the run.
    pub recipe: usize,
    pub square: RgbImage,
}

/// What the crops of a frame with so many faces will take.
#[must_use]
pub fn crops_bytes(faces: usize, recipes: &[CropRecipe]) -> u64 {
    let count = |recipe: &CropRecipe| if recipe.cut.is_of_frames() { 1 } else { faces as u64 };
    recipes.iter().map(|recipe| count(recipe) * recipe.square_bytes()).sum()
}

/// The crops of one frame: for each recipe one of the frame, or one for each face.
///
/// A face of whose box nothing lies in the frame gives no crop, nor does one without landmarks to align.
#[must_use]
pub fn crops(picture: &RgbImage, detections: &[Detection], recipes: &[CropRecipe]) -> Vec<Crop> {
    let mut crops = vec![];
    for (i, recipe) in recipes.iter().enumerate() {
        let crop = |face, cut_out: &RgbImage| Crop { face, recipe: i, square: recipe.square(cut_out) };
        if recipe.cut == Cut::Frame {
            crops.push(crop(None, picture));
            continue;
        }
        for (face, detection) in detections.iter().enumerate() {
            let cut_out = match recipe.cut {
                Cut::Box { margin } => cut_out(picture, detection.face.bounds, margin),
                Cut::Align5(alignment) => align5(picture, detection.face.landmarks, alignment),
                Cut::Frame => None,
            };
            crops.extend(cut_out.map(|cut_out| crop(Some(face), &cut_out)));
        }
    }
    crops
}

/// The box, grown by `margin` of its side on each side, rounded to whole pixels and clipped to the frame.
fn cut_out(picture: &RgbImage, bounds: FaceBox, margin: f32) -> Option<RgbImage> {
    let FaceBox { x0, y0, x1, y1 } = bounds;
    let (dx, dy) = ((x1 - x0) * margin, (y1 - y0) * margin);
    let (width, height) = picture.dimensions();
    let clip = |value: f32, side: u32| (value.round_ties_even().max(0.0) as u32).min(side);
    let (left, right) = (clip(x0 - dx, width), clip(x1 + dx, width));
    let (top, bottom) = (clip(y0 - dy, height), clip(y1 + dy, height));
    if right <= left || bottom <= top {
        return None;
    }
    Some(crop_imm(picture, left, top, right - left, bottom - top).to_image())
}
