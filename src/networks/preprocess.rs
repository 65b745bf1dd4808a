//! A picture of any size → the square that a tower takes.
//!
//! In: RGB8. Out: RGB8 of `size_px` × `size_px`, then normalised planes. Resizing is Pillow's antialiased bicubic
//! (a = −0.5) on 8-bit values and cropping is from the centre, both as transformers' `CLIPImageProcessor` does them.

use candle_core::{Device, Tensor};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::NetworkError;

/// Raised whenever a change here, or in cropping, moves a pixel: scores of two versions are not to be mixed.
pub const PREPROCESS_VERSION: u32 = 1;

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
///
/// # Errors
/// Only an empty picture or one beyond the resizer's range.
pub fn square(picture: &RgbImage, resize: Resize, size_px: u32) -> Result<RgbImage, NetworkError> {
    let (width, height) = picture.dimensions();
    match resize {
        Resize::None => Ok(centre_crop(picture, size_px)),
        Resize::Squash => bicubic(picture, (size_px, size_px)),
        Resize::ShortSide => {
            let shorter = u64::from(width.min(height));
            let longer = u64::from(width.max(height));
            // Rounded down, as transformers and torchvision do.
            let longer = u32::try_from(longer * u64::from(size_px) / shorter.max(1)).unwrap_or(u32::MAX);
            let size = if width <= height { (size_px, longer) } else { (longer, size_px) };
            // Only the columns or rows that the crop keeps are ever computed.
            bicubic_centre(picture, size, size_px)
        }
    }
}

/// Normalises a batch: (v / 255 − mean) / deviation per channel; n pictures of `size_px` → [n, 3, `size_px`, `size_px`].
///
/// # Errors
/// Only a device that refuses.
pub fn normalise(
    pictures: &[RgbImage],
    size_px: u32,
    mean: [f32; 3],
    deviation: [f32; 3],
    device: &Device,
) -> Result<Tensor, NetworkError> {
    let side = size_px as usize;
    // 256 possible values a channel: the arithmetic is done once for each, not once a pixel.
    let tables: [[f32; 256]; 3] =
        std::array::from_fn(|c| std::array::from_fn(|v| (v as f32 / 255.0 - mean[c]) / deviation[c]));
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

fn bicubic(picture: &RgbImage, (width, height): (u32, u32)) -> Result<RgbImage, NetworkError> {
    let whole = (f64::from(picture.width()), f64::from(picture.height()));
    bicubic_window(picture, (0.0, 0.0), whole, (width, height))
}

fn bicubic_centre(picture: &RgbImage, size: (u32, u32), size_px: u32) -> Result<RgbImage, NetworkError> {
    let resized = bicubic(picture, size)?;
    Ok(centre_crop(&resized, size_px))
}

fn bicubic_window(
    picture: &RgbImage,
    (left, top): (f64, f64),
    (in_width, in_height): (f64, f64),
    (width, height): (u32, u32),
) -> Result<RgbImage, NetworkError> {
    let failed = |e: &dyn std::fmt::Display| {
        NetworkError::Compute(candle_core::Error::Msg(format!(
            "resizing {}×{} to {width}×{height}: {e}",
            picture.width(),
            picture.height()
        )))
    };
    let source =
        ImageRef::new(picture.width(), picture.height(), picture.as_raw(), PixelType::U8x3).map_err(|e| failed(&e))?;
    let mut target = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom)) // cubic with a = −0.5, Pillow's BICUBIC
        .crop(left, top, in_width, in_height);
    Resizer::new().resize(&source, &mut target, &options).map_err(|e| failed(&e))?;
    RgbImage::from_raw(width, height, target.into_vec()).ok_or_else(|| failed(&"the resizer's buffer is short"))
}

/// The middle `size_px` × `size_px`, padded with black where the picture is smaller.
fn centre_crop(picture: &RgbImage, size_px: u32) -> RgbImage {
    let (width, height) = picture.dimensions();
    let mut square = RgbImage::new(size_px, size_px);
    // Where the crop starts in the picture (negative: where the picture starts in the crop), rounded towards
    // the top left of the crop as transformers does: (h − size) / 2 for a crop, ⌈(size − h) / 2⌉ for padding.
    let start = |side: u32| (i64::from(side) - i64::from(size_px)).div_euclid(2);
    image::imageops::replace(&mut square, picture, -start(width), -start(height));
    square
}
