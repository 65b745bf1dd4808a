//! Frame and faces → the squares that the scorer's tower takes.

use image::RgbImage;
use image::imageops::crop_imm;

use super::detect::Detection;
use crate::networks::mtcnn::FaceBox;
use crate::networks::preprocess;
use crate::scorers::{CropKind, InputRecipe};

/// One square, ready for the tower, and whose it is.
#[derive(Debug)]
pub struct Crop {
    /// Place of the frame among the media's decoded frames.
    pub frame: usize,
    /// None: the crop is the whole frame.
    pub face: Option<usize>,
    pub pixels: RgbImage,
}

/// What the crops of a frame with so many faces will take.
#[must_use]
pub fn crops_bytes(faces: usize, recipe: &InputRecipe) -> u64 {
    let count = match recipe.crop {
        CropKind::Frame => 1,
        CropKind::Box => faces as u64,
    };
    count * u64::from(recipe.size_px).pow(2) * 3
}

/// The crops of one frame: one for each face, or one of the frame, as the recipe says.
///
/// A face of whose box nothing lies in the frame gives no crop.
#[must_use]
pub fn crops(frame: usize, picture: &RgbImage, detections: &[Detection], recipe: &InputRecipe) -> Vec<Crop> {
    let square = |face: Option<usize>, source: &RgbImage| Crop {
        frame,
        face,
        pixels: preprocess::square(source, recipe.resize, recipe.size_px),
    };
    match recipe.crop {
        CropKind::Frame => vec![square(None, picture)],
        CropKind::Box => detections
            .iter()
            .enumerate()
            .filter_map(|(i, d)| Some(square(Some(i), &cut_out(picture, d.face.bounds, recipe.margin)?)))
            .collect(),
    }
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
