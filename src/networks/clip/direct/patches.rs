//! Patches as rows, straight from where the pixels are.

use std::ops::Range;

use image::RgbImage;
use rayon::prelude::*;

/// Pictures in one of the two forms that a caller has.
pub(in super::super) enum Pictures<'a> {
    /// [b, 3, `image_px`, `image_px`], normalised.
    Planes(&'a [f32]),
    /// Squares of `image_px`, and what each value of each channel is when normalised.
    Squares(&'a [&'a RgbImage], &'a [[f32; 256]; 3]),
}

impl Pictures<'_> {
    pub(super) fn len(&self, image_px: usize) -> usize {
        match self {
            Self::Planes(planes) => planes.len() / (3 * image_px * image_px),
            Self::Squares(squares, _) => squares.len(),
        }
    }

    pub(super) fn some(&self, which: Range<usize>, image_px: usize) -> Self {
        let values = 3 * image_px * image_px;
        match self {
            Self::Planes(planes) => Self::Planes(&planes[which.start * values..which.end * values]),
            Self::Squares(squares, normal) => Self::Squares(&squares[which], normal),
        }
    }
}

/// Where patches come from and go to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub image_px: usize,
    pub patch_px: usize,
    /// From one patch's values to the next one's.
    pub stride: usize,
}

impl Grid {
    /// → [b · grid², 3 · p²]. A side that is no multiple of the patch loses its rest, as a strided convolution does.
    pub fn gather(self, pictures: &Pictures, out: &mut [f32]) {
        let Self { image_px, patch_px, stride } = self;
        let (grid, area) = (image_px / patch_px, patch_px * patch_px);
        // One row of patches at a time: they share their rows of pixels.
        out.par_chunks_mut(grid * stride).enumerate().for_each(|(band, patches)| {
            let (picture, band) = (band / grid, band % grid);
            for y in 0..patch_px {
                let row = band * patch_px + y;
                for (column, patch) in patches.chunks_exact_mut(stride).enumerate() {
                    let left = column * patch_px;
                    let (red, rest) = patch.split_at_mut(area);
                    let (green, blue) = rest.split_at_mut(area);
                    let mut targets = [red, green, blue].map(|plane| &mut plane[y * patch_px..][..patch_px]);
                    match pictures {
                        Pictures::Planes(planes) => {
                            for (channel, target) in targets.iter_mut().enumerate() {
                                let at = ((picture * 3 + channel) * image_px + row) * image_px + left;
                                target.copy_from_slice(&planes[at..][..patch_px]);
                            }
                        }
                        Pictures::Squares(squares, tables) => {
                            let pixels = squares[picture].as_raw().as_chunks::<3>().0;
                            let pixels = &pixels[row * image_px + left..][..patch_px];
                            for (channel, target) in targets.iter_mut().enumerate() {
                                for (value, pixel) in target.iter_mut().zip(pixels) {
                                    *value = tables[channel][usize::from(pixel[channel])];
                                }
                            }
                        }
                    }
                }
            }
        });
    }
}
