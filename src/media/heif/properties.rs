//! Properties of an item (ISO/IEC 23008-12, 6.5; ISO/IEC 14496-12, 12.1): size, colour, and how the picture is cropped,
//! turned and mirrored.

use image::metadata::Orientation;

use super::boxes::{Boxed, Reader, corrupt, name_of, unsupported};
use super::items::{Item, Meta};
use crate::error::Rejection;

/// How samples become colours (ITU-T H.273): what `colr` of type `nclx` says, or the coded picture itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nclx {
    pub primaries: u16,
    pub transfer: u16,
    pub matrix: u16,
    pub full_range: bool,
}

/// A number as a quotient; the denominator is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Quotient(i64, i64);

/// The clean aperture (14496-12, 12.1.4): width, height, and how far its centre is from the picture's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanAperture {
    width: Quotient,
    height: Quotient,
    right: Quotient,
    down: Quotient,
}

/// One step from the coded picture to the shown one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    Crop(CleanAperture),
    /// Quarter turns and mirrors.
    Turn(Orientation),
}

/// Pixels that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crop {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

/// The properties of one item that matter for its pixels.
#[derive(Debug, Default, Clone)]
pub struct Properties<'a> {
    /// Width and height as `ispe` has them.
    pub size_px: Option<(u32, u32)>,
    pub nclx: Option<Nclx>,
    /// In their order.
    pub transforms: Vec<Transform>,
    /// `hvcC`, `av1C`, …: how the decoder is set up.
    pub configuration: Option<Boxed<'a>>,
    /// What an auxiliary picture is for.
    pub auxiliary: Option<&'a [u8]>,
    /// Of AV1 in layers, which operating point is shown.
    pub operating_point: Option<u8>,
    /// Tables that are common to several JPEG items.
    pub jpeg_tables: Option<&'a [u8]>,
}

impl<'a> Properties<'a> {
    /// # Errors
    /// A broken property, or one that must be known and is not.
    pub fn of(meta: &Meta<'a>, item: &Item) -> Result<Self, Rejection> {
        let mut properties = Self::default();
        for (found, is_essential) in meta.properties(item)? {
            properties.add(found, is_essential)?;
        }
        Ok(properties)
    }

    fn add(&mut self, found: Boxed<'a>, is_essential: bool) -> Result<(), Rejection> {
        let mut reader = Reader::new(found.body);
        match &found.kind {
            b"ispe" => {
                reader.version_and_flags()?;
                self.size_px = Some((reader.u32()?, reader.u32()?));
            }
            b"colr" => self.nclx = nclx(found.body)?.or(self.nclx),
            b"clap" => self.transforms.push(Transform::Crop(clean_aperture(&mut reader)?)),
            b"irot" => self.transforms.extend(rotation(reader.u8()?)),
            b"imir" => {
                // 0: top and bottom change places; 1: left and right.
                let mirror =
                    if reader.u8()? & 1 == 0 { Orientation::FlipVertical } else { Orientation::FlipHorizontal };
                self.transforms.push(Transform::Turn(mirror));
            }
            b"hvcC" | b"av1C" | b"avcC" | b"vvcC" | b"evcC" | b"j2kH" | b"uncC" | b"lhvC" => {
                self.configuration = Some(found);
            }
            b"jpgC" => self.jpeg_tables = Some(found.body),
            b"auxC" => {
                reader.version_and_flags()?;
                self.auxiliary = reader.rest().split(|byte| *byte == 0).next();
            }
            b"a1op" => self.operating_point = Some(reader.u8()?),
            // Which layer is shown; the decoder shows the highest there is.
            b"lsel" | b"a1lx" | b"pixi" | b"pasp" | b"rloc" | b"udes" | b"cclv" | b"mdcv" | b"clli" | b"amve" => {}
            other if is_essential => {
                let name = name_of(*other);
                return Err(unsupported(format_args!("expected only known properties to be essential, found {name}")));
            }
            _ => {}
        }
        Ok(())
    }
}

/// # Errors
/// A box that ends early.
pub fn nclx(body: &[u8]) -> Result<Option<Nclx>, Rejection> {
    let mut reader = Reader::new(body);
    if reader.four()? != *b"nclx" {
        return Ok(None); // an ICC profile: pictures are not colour-managed
    }
    let (primaries, transfer, matrix) = (reader.u16()?, reader.u16()?, reader.u16()?);
    Ok(Some(Nclx { primaries, transfer, matrix, full_range: reader.u8()? & 0x80 != 0 }))
}

/// Counted in quarters against the clock.
fn rotation(angle: u8) -> Option<Transform> {
    let turn = match angle & 3 {
        0 => return None,
        1 => Orientation::Rotate270,
        2 => Orientation::Rotate180,
        _ => Orientation::Rotate90,
    };
    Some(Transform::Turn(turn))
}

fn clean_aperture(reader: &mut Reader<'_>) -> Result<CleanAperture, Rejection> {
    let mut quotient = |signed: bool| {
        let (above, below) = (reader.u32()?, i64::from(reader.u32()?));
        let above = if signed { i64::from(above.cast_signed()) } else { i64::from(above) };
        if below == 0 { Err(corrupt("clean aperture: a quotient by 0")) } else { Ok(Quotient(above, below)) }
    };
    let (width, height) = (quotient(false)?, quotient(false)?);
    Ok(CleanAperture { width, height, right: quotient(true)?, down: quotient(true)? })
}

impl CleanAperture {
    /// The pixels that it keeps of a picture of this size.
    ///
    /// # Errors
    /// An aperture that keeps none.
    pub fn crop(&self, (width, height): (u32, u32)) -> Result<Crop, Rejection> {
        let across = span(width, self.width, self.right);
        let down = span(height, self.height, self.down);
        let ((left, width), (top, height)) = across.zip(down).ok_or_else(|| {
            corrupt(format_args!("clean aperture: expected a piece of {width}×{height}, found one outside of it"))
        })?;
        Ok(Crop { left, top, width, height })
    }
}

/// The first pixel and how many there are: from `offset + (length - size) / 2` on, rounded down, within the picture.
fn span(length: u32, size: Quotient, offset: Quotient) -> Option<(u32, u32)> {
    let wide = |number: i64| i128::from(number);
    let (size, by, offset, offset_by) = (wide(size.0), wide(size.1), wide(offset.0), wide(offset.1));
    let below = 2 * by * offset_by;
    let first = 2 * offset * by + (i128::from(length) * by - size) * offset_by;
    let last = first + 2 * (size - by) * offset_by;
    let (first, last) = (first.div_euclid(below).max(0), last.div_euclid(below).min(i128::from(length) - 1));
    let count = u32::try_from(last - first + 1).ok().filter(|count| *count > 0)?;
    Some((u32::try_from(first).ok()?, count))
}

/// `first`, then `second`, as one.
#[must_use]
pub fn then(first: Orientation, second: Orientation) -> Orientation {
    // Where x and y of the stored picture point in the shown one.
    let [[a, b], [c, d]] = axes(second);
    let [[e, f], [g, h]] = axes(first);
    let product = [[a * e + b * g, a * f + b * h], [c * e + d * g, c * f + d * h]];
    (1..=8).filter_map(Orientation::from_exif).find(|one| axes(*one) == product).unwrap_or(first)
}

/// As a matrix that turns a direction of the stored picture, y down, into one of the shown.
fn axes(orientation: Orientation) -> [[i8; 2]; 2] {
    match orientation {
        Orientation::NoTransforms => [[1, 0], [0, 1]],
        Orientation::FlipHorizontal => [[-1, 0], [0, 1]],
        Orientation::Rotate180 => [[-1, 0], [0, -1]],
        Orientation::FlipVertical => [[1, 0], [0, -1]],
        Orientation::Rotate90FlipH => [[0, 1], [1, 0]], // over the diagonal: EXIF 5
        Orientation::Rotate90 => [[0, -1], [1, 0]],
        Orientation::Rotate270FlipH => [[0, -1], [-1, 0]],
        Orientation::Rotate270 => [[0, 1], [-1, 0]],
    }
}

/// Whether width and height change places.
#[must_use]
pub fn swaps_sides(orientation: Orientation) -> bool {
    axes(orientation)[0][0] == 0
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, RgbImage};

    use super::*;

    fn turned(picture: &DynamicImage, turns: &[Orientation]) -> RgbImage {
        let mut picture = picture.clone();
        turns.iter().for_each(|turn| picture.apply_orientation(*turn));
        picture.into_rgb8()
    }

    #[test]
    fn two_turns_are_one_by_the_product() {
        let picture = RgbImage::from_fn(3, 2, |x, y| image::Rgb([x as u8, y as u8, 0]));
        let picture = DynamicImage::from(picture);
        let all = || (1..=8).filter_map(Orientation::from_exif);
        for first in all() {
            for second in all() {
                let both = then(first, second);
                assert_eq!(turned(&picture, &[first, second]), turned(&picture, &[both]), "{first:?}, {second:?}");
            }
            let swapped = turned(&picture, &[first]).dimensions() == (2, 3);
            assert_eq!(swaps_sides(first), swapped, "{first:?}");
        }
    }

    #[test]
    fn an_aperture_keeps_what_lies_inside_and_is_refused_where_nothing_does() {
        let centred = |size, offset| span(100, Quotient(size, 1), Quotient(offset, 1));
        assert_eq!(centred(50, 0), Some((25, 50)));
        assert_eq!(centred(51, 0), Some((24, 51))); // half a pixel, rounded down
        assert_eq!(centred(50, 25), Some((50, 50)));
        assert_eq!(centred(50, 40), Some((65, 35)));
        assert_eq!(centred(50, 80), None);
        assert_eq!(centred(0, 0), None);
        assert_eq!(span(100, Quotient(101, 2), Quotient(-1, 2)), Some((24, 50)));
        assert_eq!(span(u32::MAX, Quotient(4_294_967_295, 4_294_967_295), Quotient(i64::from(i32::MIN), 1)), None);
    }
}
