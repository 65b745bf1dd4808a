//! Decoded planes → the one picture that is shown, RGB8, upright, over black.

use image::imageops;
use image::{DynamicImage, GrayImage, RgbImage};

use super::HeifPicture;
use super::coded::{Chroma, Codec};
use super::colour::{Conversion, Planes, Spread, level};
use super::node::{Alpha, Node, Place, Source};
use super::properties::{Nclx, Transform};
use crate::error::Rejection;
use crate::media::sniff::StillFormat;
use crate::media::still::{self, Damage, DecodeLimits};

/// Brings a row of pixels of high dynamic range to that of a screen, in place.
pub type ToneMap = fn(Nclx, &mut [[f32; 3]]);

/// A picture over black, multiplied by its alpha; None: opaque everywhere.
struct Layer {
    colours: RgbImage,
    alpha: Option<GrayImage>,
}

struct Composer<'a> {
    picture: &'a HeifPicture,
    planes: &'a [Vec<Vec<u8>>],
    limits: DecodeLimits,
    tone_map: Option<ToneMap>,
}

/// `planes` are the decoded pictures of each stream, in order. `tone_map` is for PQ and HLG; without it their levels are taken
/// as they are.
///
/// # Errors
/// Planes of another size than was promised, colours by an unknown matrix, a JPEG item that is broken.
pub fn compose(
    picture: &HeifPicture,
    planes: &[Vec<Vec<u8>>],
    limits: DecodeLimits,
    tone_map: Option<ToneMap>,
) -> Result<RgbImage, Rejection> {
    Ok(Composer { picture, planes, limits, tone_map }.layer(&picture.root, None)?.colours)
}

impl Composer<'_> {
    /// `nclx`: of the picture that this one is a piece of, before its own.
    fn layer(&self, node: &Node, nclx: Option<Nclx>) -> Result<Layer, Rejection> {
        let nclx = nclx.or(node.nclx);
        let mut layer = match &node.source {
            Source::Coded(place, _) => Layer { colours: self.coded(*place, nclx)?, alpha: None },
            Source::Jpeg(bytes) => Layer { colours: jpeg(bytes, self.limits)?, alpha: None },
            Source::Grid { columns, tiles } => {
                let (width, height) = node.source_px;
                let mut colours = RgbImage::new(width, height);
                let has_alpha = tiles.iter().any(|tile| tile.alpha.is_some());
                let mut alpha = has_alpha.then(|| GrayImage::from_pixel(width, height, image::Luma([255])));
                for (number, tile) in (0..).zip(tiles) {
                    let (x, y) = (number % columns * tile.size_px.0, number / columns * tile.size_px.1);
                    let tile = self.layer(tile, nclx)?;
                    imageops::replace(&mut colours, &tile.colours, i64::from(x), i64::from(y));
                    if let Some((alpha, tile)) = alpha.as_mut().zip(tile.alpha) {
                        imageops::replace(alpha, &tile, i64::from(x), i64::from(y));
                    }
                }
                Layer { colours, alpha }
            }
            Source::Overlay { background, layers } => self.overlay(node.source_px, *background, layers)?,
            Source::Same(base) => self.layer(base, nclx)?,
        };
        for transform in &node.transforms {
            layer.colours = turned(layer.colours, transform)?;
            layer.alpha = layer.alpha.map(|alpha| turned_alpha(alpha, transform)).transpose()?;
        }
        if let Some(alpha) = &node.alpha {
            self.apply(alpha, node, &mut layer)?;
        }
        Ok(layer)
    }

    fn coded(&self, place: Place, nclx: Option<Nclx>) -> Result<RgbImage, Rejection> {
        let (stream, planes) = self.decoded(place)?;
        let spread = match stream {
            Codec::Hevc => Spread::Nearest,
            Codec::Av1 { .. } => Spread::Linear,
        };
        let conversion = Conversion::new(nclx, spread)?;
        let (width, height) = planes.format().size_px;
        let mut colours = RgbImage::new(width, height);
        let tone_map = self.tone_map.zip(nclx.filter(|nclx| matches!(nclx.transfer, 16 | 18)));
        // libheif cuts bits off where colours are shared by two by two pixels, and else not.
        let is_deep = tone_map.is_some() || stream == Codec::Hevc && planes.format().chroma != Chroma::Half;
        let planes = if is_deep { planes.in_full_depth() } else { planes };
        let mut rows = colours.chunks_exact_mut(width as usize * 3);
        conversion.rows(&planes, |_, pixels| {
            if let Some((tone_map, nclx)) = tone_map {
                tone_map(nclx, pixels);
            }
            let Some(row) = rows.next() else { return };
            for (to, from) in row.as_chunks_mut().0.iter_mut().zip(pixels) {
                *to = from.map(level);
            }
        });
        Ok(colours)
    }

    fn decoded(&self, place: Place) -> Result<(Codec, Planes<'_>), Rejection> {
        let missing = || super::boxes::corrupt("expected a decoded picture, found none");
        let stream = self.picture.streams.get(place.stream).ok_or_else(missing)?;
        let bytes = self.planes.get(place.stream).and_then(|planes| planes.get(place.picture)).ok_or_else(missing)?;
        Ok((stream.codec, Planes::new(stream.format, bytes)?))
    }

    fn overlay(
        &self,
        (width, height): (u32, u32),
        [red, green, blue, alpha]: [u8; 4],
        layers: &[(Node, i32, i32)],
    ) -> Result<Layer, Rejection> {
        let mut colours =
            RgbImage::from_pixel(width, height, image::Rgb([red, green, blue].map(|level| times(level, alpha))));
        let mut alphas = (alpha < 255).then(|| GrayImage::from_pixel(width, height, image::Luma([alpha])));
        for (node, left, top) in layers {
            let layer = self.layer(node, None)?;
            for (x, y, from) in layer.colours.enumerate_pixels() {
                let (to_x, to_y) = (i64::from(x) + i64::from(*left), i64::from(y) + i64::from(*top));
                let (Ok(to_x), Ok(to_y)) = (u32::try_from(to_x), u32::try_from(to_y)) else { continue };
                let Some(to) = colours.get_pixel_mut_checked(to_x, to_y) else { continue };
                let alpha = layer.alpha.as_ref().map_or(255, |alpha| alpha.get_pixel(x, y).0[0]);
                let over = |from: u8, below: u8| from.saturating_add(times(below, 255 - alpha));
                to.0 = std::array::from_fn(|at| over(from.0[at], to.0[at]));
                if let Some(below) = alphas.as_mut().and_then(|alphas| alphas.get_pixel_mut_checked(to_x, to_y)) {
                    below.0 = [over(alpha, below.0[0])];
                }
            }
        }
        Ok(Layer { colours, alpha: alphas })
    }

    /// Multiplies, unless that was done already.
    fn apply(&self, alpha: &Alpha, node: &Node, layer: &mut Layer) -> Result<(), Rejection> {
        let mut mask = self.mask(&alpha.picture)?;
        if alpha.picture.transforms.is_empty() {
            // The standard has it turned like the picture that it belongs to; some writers leave that out.
            for transform in node.transforms.iter().filter(|_| alpha.picture.size_px == node.source_px) {
                mask = turned_alpha(mask, transform)?;
            }
        }
        if mask.dimensions() != layer.colours.dimensions() {
            let (width, height) = layer.colours.dimensions();
            mask = imageops::resize(&mask, width, height, imageops::FilterType::Nearest);
        }
        if !alpha.is_premultiplied {
            for (pixel, mask) in layer.colours.pixels_mut().zip(mask.pixels()) {
                pixel.0 = pixel.0.map(|level| times(level, mask.0[0]));
            }
        }
        layer.alpha = Some(mask);
        Ok(())
    }

    /// The light of a picture, as alpha.
    fn mask(&self, node: &Node) -> Result<GrayImage, Rejection> {
        let (width, height) = node.source_px;
        let mut mask = match &node.source {
            Source::Coded(place, _) => {
                let (codec, planes) = self.decoded(*place)?;
                // Alpha has the full range, whatever HEVC takes for granted where nothing is said.
                let full_range = codec == Codec::Hevc || node.nclx.is_none_or(|nclx| nclx.full_range);
                let mut mask = GrayImage::new(width, height);
                let mut rows = mask.chunks_exact_mut(width as usize);
                Conversion::of_alpha(full_range).light(&planes, |light| {
                    let Some(row) = rows.next() else { return };
                    row.iter_mut().zip(light).for_each(|(to, from)| *to = level(*from));
                });
                mask
            }
            Source::Grid { columns, tiles } => {
                let mut mask = GrayImage::new(width, height);
                for (number, tile) in (0..).zip(tiles) {
                    let (x, y) = (number % columns * tile.size_px.0, number / columns * tile.size_px.1);
                    imageops::replace(&mut mask, &self.mask(tile)?, i64::from(x), i64::from(y));
                }
                mask
            }
            Source::Same(base) => self.mask(base)?,
            Source::Jpeg(bytes) => DynamicImage::from(jpeg(bytes, self.limits)?).into_luma8(),
            Source::Overlay { .. } => {
                return Err(super::boxes::unsupported("expected alpha in one picture, found an overlay"));
            }
        };
        for transform in &node.transforms {
            mask = turned_alpha(mask, transform)?;
        }
        Ok(mask)
    }
}

fn times(level: u8, alpha: u8) -> u8 {
    ((u16::from(level) * u16::from(alpha) + 127) / 255) as u8
}

fn jpeg(bytes: &bytes::Bytes, limits: DecodeLimits) -> Result<RgbImage, Rejection> {
    let format = StillFormat::Jpeg;
    let header = still::read_header(bytes, format, limits)?;
    // The item's own properties turn it.
    let header = still::Header { orientation: image::metadata::Orientation::NoTransforms, ..header };
    still::decode(bytes, format, header, Damage::Refused).map(|decoded| decoded.picture)
}

fn turned(picture: RgbImage, transform: &Transform) -> Result<RgbImage, Rejection> {
    match transform {
        Transform::Crop(aperture) => {
            let crop = aperture.crop(picture.dimensions())?;
            Ok(imageops::crop_imm(&picture, crop.left, crop.top, crop.width, crop.height).to_image())
        }
        Transform::Turn(turn) => {
            let mut picture = DynamicImage::from(picture);
            picture.apply_orientation(*turn);
            Ok(picture.into_rgb8())
        }
    }
}

fn turned_alpha(mask: GrayImage, transform: &Transform) -> Result<GrayImage, Rejection> {
    match transform {
        Transform::Crop(aperture) => {
            let crop = aperture.crop(mask.dimensions())?;
            Ok(imageops::crop_imm(&mask, crop.left, crop.top, crop.width, crop.height).to_image())
        }
        Transform::Turn(turn) => {
            let mut mask = DynamicImage::from(mask);
            mask.apply_orientation(*turn);
            Ok(mask.into_luma8())
        }
    }
}
