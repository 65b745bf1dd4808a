//! A picture of any size → the square that a tower takes.
//!
//! In: RGB8. Out: RGB8 of `size_px` × `size_px`, then normalised planes. Resizing is Pillow's antialiased bicubic
//! (a = −0.5) on 8-bit values and cropping is from the centre, both as transformers' `CLIPImageProcessor` does them;
//! where nothing is resized, the crop is torchvision's.

use candle_core::{Device, Tensor};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::NetworkError;
use super::bicubic::{Span, resize_window};

/// Raised whenever a change here, or in cropping, moves a pixel: scores of two versions are not to be mixed.
pub const PREPROCESS_VERSION: u32 = 2;

/// How a picture is brought to the tower's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// Not at all: the centre is cropped, a smaller picture is padded with black.
    None,
    /// The shorter side to `size_px`, then the centre is cropped.
    ShortSide,
    /// Both sides to `size_px`, whatever that does to the proportions.
    Squash,
}

/// The square picture for the tower: `size_px` × `size_px`.
#[must_use]
pub fn square(picture: &RgbImage, resize: Resize, size_px: u32) -> RgbImage {
    let (width, height) = picture.dimensions();
    let whole = Span { full: size_px, start: 0, length: size_px };
    match resize {
        Resize::None => centre_crop(picture, size_px),
        Resize::Squash => resize_window(picture, whole, whole),
        Resize::ShortSide => {
            // The longer side is rounded down, as transformers and torchvision do; of it only the middle is computed.
            let (shorter, longer) = (u64::from(width.min(height)), u64::from(width.max(height)));
            let full = u32::try_from(longer * u64::from(size_px) / shorter.max(1)).unwrap_or(u32::MAX);
            let middle = Span { full, start: (full - size_px) / 2, length: size_px };
            if width <= height { resize_window(picture, whole, middle) } else { resize_window(picture, middle, whole) }
        }
    }
}

/// Normalises a batch: (v / 255 − mean) / deviation per channel; n pictures of `size_px` → [n, 3, `size_px`, `size_px`].
///
/// # Errors
/// Only a device that refuses.
pub fn normalise(
    pictures: &[&RgbImage],
    size_px: u32,
    mean: [f32; 3],
    deviation: [f32; 3],
    device: &Device,
) -> Result<Tensor, NetworkError> {
    let side = size_px as usize;
    let tables = normal_values(mean, deviation);
    let mut values = vec![0.0_f32; pictures.len() * 3 * side * side];
    for (picture, planes) in pictures.iter().zip(values.chunks_exact_mut(3 * side * side)) {
        let (red, rest) = planes.split_at_mut(side * side);
        let (green, blue) = rest.split_at_mut(side * side);
        for (i, pixel) in picture.as_raw().as_chunks::<3>().0.iter().enumerate() {
            red[i] = tables[0][usize::from(pixel[0])];
            green[i] = tables[1][usize::from(pixel[1])];
            blue[i] = tables[2][usize::from(pixel[2])];
        }
    }
    Ok(Tensor::from_vec(values, (pictures.len(), 3, side, side), device)?)
}

/// What [`normalise`] makes of each of the 256 values of a channel: the arithmetic is done once for each, not once a
/// pixel.
pub(super) fn normal_values(mean: [f32; 3], deviation: [f32; 3]) -> [[f32; 256]; 3] {
    std::array::from_fn(|c| std::array::from_fn(|v| (v as f32 / 255.0 - mean[c]) / deviation[c]))
}

/// The middle `size_px` × `size_px`, padded with black where the picture is smaller.
///
/// As torchvision's `CenterCrop` has it, which is what heads for pictures that nobody resized were trained with: half a
/// pixel goes to the even side where something is cut off, and behind the picture where something is added.
fn centre_crop(picture: &RgbImage, size_px: u32) -> RgbImage {
    let (width, height) = picture.dimensions();
    let mut square = RgbImage::new(size_px, size_px);
    // Where the picture starts in the square.
    let start = |side: u32| {
        if side < size_px {
            i64::from((size_px - side) / 2)
        } else {
            -((f64::from(side - size_px) / 2.0).round_ties_even() as i64)
        }
    };
    image::imageops::replace(&mut square, picture, start(width), start(height));
    square
}
