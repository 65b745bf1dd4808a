//! What the tags of a TIFF say together: sizes, parts, samples, colours. What is not decoded is refused here by its name.

use super::directory::Directory;
use crate::error::Rejection;
use crate::media::still::{corrupt, unsupported};

/// How the bytes of a part are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    None,
    Lzw,
    Deflate,
    PackBits,
    Jpeg,
    /// CCITT: modified Huffman, Group 3 of one and of two dimensions, Group 4.
    Huffman,
    Group3,
    Group3Both,
    Group4,
}

/// What the samples of a pixel mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    Palette,
    Cmyk,
    YCbCr,
}

/// The numbers that samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    Unsigned,
    Float,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpha {
    None,
    /// Colours are multiplied with it already.
    Associated,
    Unassociated,
}

#[derive(Debug, Clone)]
pub struct Layout {
    pub width_px: u32,
    pub height_px: u32,
    pub bits: u32,
    pub numbers: Numbers,
    /// Of one pixel, extra ones included.
    pub samples: u32,
    pub colours: Colours,
    pub alpha: Alpha,
    pub packing: Packing,
    /// 1, 2 (differences of integers) or 3 (of floating-point numbers).
    pub predictor: u32,
    /// Each plane has parts of its own.
    pub is_planar: bool,
    pub is_tiled: bool,
    /// Of a tile; of a strip its rows.
    pub part_width_px: u32,
    pub part_height_px: u32,
    /// Bits of a byte begin with the lowest.
    pub is_reversed: bool,
    /// Chroma samples that share one, across and down.
    pub subsampling: (u32, u32),
}

impl Layout {
    /// # Errors
    /// A tag that is missing or impossible; a kind that is not decoded, by its name.
    pub fn of(tags: &Directory) -> Result<Self, Rejection> {
        let side = |tag: u16, name: &str| {
            let value = tags.value(tag).ok_or_else(|| corrupt(format_args!("TIFF: expected a {name}, found none")))?;
            u32::try_from(value).map_err(|_| corrupt(format_args!("TIFF: expected a {name} of 32 bits, found {value}")))
        };
        let (width_px, height_px) = (side(256, "width")?, side(257, "height")?);
        refuse_camera_files(tags)?;
        let packing = packing(tags)?;
        let samples = tags.value(277).unwrap_or(1);
        let samples = u32::try_from(samples).ok().filter(|samples| (1..=64).contains(samples));
        let samples =
            samples.ok_or_else(|| corrupt("TIFF: expected 1 to 64 samples per pixel, found another number"))?;
        let bits = tags.value(258).unwrap_or(1) as u32;
        if (1..tags.count(258).min(u64::from(samples))).any(|at| tags.at(258, at) != Some(u64::from(bits))) {
            return Err(unsupported("a TIFF whose samples have different numbers of bits"));
        }
        let colours = colours(tags, samples)?;
        let numbers = match tags.value(339).unwrap_or(1) {
            3 => Numbers::Float,
            2 => return Err(unsupported("a TIFF of signed integers")),
            5 | 6 => return Err(unsupported("a TIFF of complex numbers")),
            _ => Numbers::Unsigned,
        };
        match (numbers, bits) {
            (Numbers::Unsigned, 1..=16) | (Numbers::Float, 16 | 24 | 32 | 64) => {}
            (Numbers::Float, _) => {
                return Err(unsupported(format_args!("a TIFF of floating-point numbers of {bits} bits")));
            }
            (Numbers::Unsigned, _) => return Err(unsupported(format_args!("a TIFF of integers of {bits} bits"))),
        }
        let is_tiled = tags.has(322) || tags.has(324);
        let (part_width_px, part_height_px) = if is_tiled {
            (side(322, "tile width")?, side(323, "tile height")?)
        } else {
            (width_px, tags.value(278).map_or(height_px, |rows| rows.min(u64::from(height_px)) as u32))
        };
        if part_width_px == 0 || part_height_px == 0 {
            return Err(corrupt("TIFF: expected parts with pixels, found empty ones"));
        }
        let used = colours.samples();
        let alpha = match tags.value(338) {
            Some(1) if samples > used => Alpha::Associated,
            Some(2) if samples > used => Alpha::Unassociated,
            // Without the tag a fourth sample of RGB is what most writers mean by it.
            None if samples > used && matches!(colours, Colours::Rgb) => Alpha::Unassociated,
            _ => Alpha::None,
        };
        let share = |at: u64| tags.at(530, at).unwrap_or(2) as u32;
        let subsampling =
            if colours == Colours::YCbCr && packing != Packing::Jpeg { (share(0), share(1)) } else { (1, 1) };
        let layout = Self {
            width_px,
            height_px,
            bits,
            numbers,
            samples,
            colours,
            alpha,
            packing,
            predictor: tags.value(317).unwrap_or(1) as u32,
            is_planar: tags.value(284) == Some(2) && samples > 1,
            is_tiled,
            part_width_px,
            part_height_px,
            is_reversed: tags.value(266) == Some(2),
            subsampling,
        };
        layout.check()?;
        Ok(layout)
    }

    fn check(&self) -> Result<(), Rejection> {
        let is_fax = self.is_fax();
        if is_fax && (self.bits, self.samples) != (1, 1) {
            return Err(corrupt("TIFF: expected fax codes for one bit per pixel, found more bits"));
        }
        if self.packing == Packing::Jpeg && self.bits != 8 {
            return Err(unsupported(format_args!("a TIFF of JPEG of {} bits", self.bits)));
        }
        if self.colours == Colours::YCbCr {
            let (across, down) = self.subsampling;
            let fits = matches!(across, 1 | 2 | 4) && matches!(down, 1 | 2 | 4);
            if !fits || (across, down) != (1, 1) && (self.is_planar || self.samples != 3 || self.predictor != 1) {
                return Err(unsupported("a TIFF of YCbCr with rare sampling"));
            }
            if self.bits != 8 {
                return Err(unsupported(format_args!("a TIFF of YCbCr with {} bits", self.bits)));
            }
        }
        if self.colours == Colours::Palette && self.bits > 8 {
            return Err(unsupported(format_args!("a TIFF with a palette of {} bits", self.bits)));
        }
        match (self.predictor, self.numbers, self.bits) {
            _ if self.is_fax() || self.packing == Packing::Jpeg => Ok(()),
            (1, ..) | (2, Numbers::Unsigned, 8 | 16) | (3, Numbers::Float, _) => Ok(()),
            (2, Numbers::Float, 16 | 32 | 64) => Ok(()),
            (predictor, _, bits) => Err(unsupported(format_args!("a TIFF with predictor {predictor} at {bits} bits"))),
        }
    }

    #[must_use]
    pub fn is_fax(&self) -> bool {
        matches!(self.packing, Packing::Huffman | Packing::Group3 | Packing::Group3Both | Packing::Group4)
    }

    /// Samples of one pixel in one part.
    #[must_use]
    pub fn part_samples(&self) -> u32 {
        if self.is_planar { 1 } else { self.samples }
    }

    #[must_use]
    pub fn parts_across(&self) -> u32 {
        self.width_px.div_ceil(self.part_width_px)
    }

    #[must_use]
    pub fn parts_down(&self) -> u32 {
        self.height_px.div_ceil(self.part_height_px)
    }

    /// Bytes of one line of a part.
    #[must_use]
    pub fn line_bytes(&self) -> u64 {
        let (across, down) = self.subsampling;
        if (across, down) != (1, 1) {
            // A line of units: their samples of brightness, and two of colour.
            return u64::from(self.part_width_px.div_ceil(across)) * u64::from(across * down + 2);
        }
        (u64::from(self.part_width_px) * u64::from(self.part_samples()) * u64::from(self.bits)).div_ceil(8)
    }

    /// Lines of a part of so many rows.
    #[must_use]
    pub fn lines(&self, rows: u32) -> u32 {
        rows.div_ceil(self.subsampling.1)
    }

    /// Bytes of a whole part, unpacked.
    #[must_use]
    pub fn part_bytes(&self) -> u64 {
        self.line_bytes().saturating_mul(u64::from(self.lines(self.part_height_px)))
    }

    /// Samples of a pixel that the picture is made of. Over black, colours that are multiplied already are the picture.
    #[must_use]
    pub fn used_samples(&self) -> u32 {
        self.colours.samples() + u32::from(self.alpha == Alpha::Unassociated)
    }
}

impl Colours {
    fn samples(self) -> u32 {
        match self {
            Self::WhiteIsZero | Self::BlackIsZero | Self::Palette => 1,
            Self::Rgb | Self::YCbCr => 3,
            Self::Cmyk => 4,
        }
    }
}

/// Cameras' raw files are TIFFs whose first directory is a small preview or holds what no viewer can show.
fn refuse_camera_files(tags: &Directory) -> Result<(), Rejection> {
    let name = match tags.bytes {
        _ if tags.has(50_706) => "DNG (image/x-adobe-dng)",
        [_, _, _, _, _, _, _, _, b'C', b'R', ..] => "CR2 (image/x-canon-cr2)",
        _ if matches!(tags.value(262), Some(32_803 | 34_892)) => "a sensor's own samples",
        _ if tags.value(254).is_some_and(|kind| kind & 1 == 1) && tags.has(330) => "the first picture is a preview",
        _ => return Ok(()),
    };
    Err(unsupported(format_args!("a camera's raw file: {name}")))
}

fn packing(tags: &Directory) -> Result<Packing, Rejection> {
    let name = match tags.value(259).unwrap_or(1) {
        1 => return Ok(Packing::None),
        2 => return Ok(Packing::Huffman),
        3 if tags.value(292).unwrap_or(0) & 1 == 1 => return Ok(Packing::Group3Both),
        3 => return Ok(Packing::Group3),
        4 => return Ok(Packing::Group4),
        5 => return Ok(Packing::Lzw),
        7 => return Ok(Packing::Jpeg),
        8 | 32_946 => return Ok(Packing::Deflate),
        32_773 => return Ok(Packing::PackBits),
        6 => "old-style JPEG (6)".to_owned(),
        9 | 10 | 34_661 => "JBIG".to_owned(),
        32_766 => "NeXT's run lengths (32766)".to_owned(),
        32_771 => "CCITT with words (32771)".to_owned(),
        32_809 => "ThunderScan (32809)".to_owned(),
        33_003 | 33_005 | 34_712 => "JPEG 2000".to_owned(),
        34_676 | 34_677 => "SGI's LogLuv".to_owned(),
        34_887 => "LERC (34887)".to_owned(),
        34_892 => "lossy DNG (34892)".to_owned(),
        34_925 => "LZMA (34925)".to_owned(),
        50_000 => "Zstandard (50000)".to_owned(),
        50_001 | 34_927 => "WebP (50001)".to_owned(),
        50_002 | 52_546 => "JPEG XL".to_owned(),
        other => format!("an unknown kind ({other})"),
    };
    Err(unsupported(format_args!("a TIFF with the compression {name}")))
}

fn colours(tags: &Directory, samples: u32) -> Result<Colours, Rejection> {
    let default = if samples >= 3 { 2 } else { 1 };
    let colours = match tags.value(262).unwrap_or(default) {
        0 => Colours::WhiteIsZero,
        1 => Colours::BlackIsZero,
        2 => Colours::Rgb,
        3 => Colours::Palette,
        5 if tags.value(332).unwrap_or(1) != 1 => return Err(unsupported("a TIFF of inks that are not CMYK")),
        5 => Colours::Cmyk,
        6 => Colours::YCbCr,
        4 => return Err(unsupported("a TIFF that is a mask for another picture")),
        8..=10 => return Err(unsupported("a TIFF of CIE L*a*b*")),
        32_844 | 32_845 => return Err(unsupported("a TIFF of LogLuv")),
        other => return Err(unsupported(format_args!("a TIFF of unknown colours ({other})"))),
    };
    if colours.samples() > samples {
        return Err(corrupt(format_args!(
            "TIFF: expected {} samples for {colours:?}, found {samples}",
            colours.samples()
        )));
    }
    Ok(colours)
}
