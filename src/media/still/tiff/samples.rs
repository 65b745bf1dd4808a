//! Lines of a part → samples of eight bits in their places, and those → RGB8 over black.

use image::RgbImage;

use super::directory::Directory;
use super::layout::{Alpha, Colours, Layout, Numbers, Packing};
use super::parts::Part;
use crate::media::still::{left_by_ink, mix};

/// How floating-point numbers become levels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    pub least: f64,
    pub most: f64,
}

impl Range {
    pub const EMPTY: Self = Self { least: f64::INFINITY, most: f64::NEG_INFINITY };

    /// What is shown as white. Colours are meant to lie between 0 and 1, and what is brighter is white, as libvips has it.
    /// Grey numbers beyond 1 are levels up to 255 already, as Pillow has them.
    #[must_use]
    pub fn white(self, layout: &Layout) -> f64 {
        let is_grey = matches!(layout.colours, Colours::BlackIsZero | Colours::WhiteIsZero);
        if is_grey && self.most > 1.0 { 255.0 } else { 1.0 }
    }

    #[must_use]
    pub fn complaint(self, layout: &Layout) -> Option<String> {
        let white = self.white(layout);
        if self.most < self.least {
            return Some("none of its floating-point samples is a number: the picture is black".to_owned());
        }
        (self.least < 0.0 || self.most > 1.0).then(|| {
            format!(
                "its floating-point samples lie between {} and {}: 0 is shown as black and {white} as white",
                self.least, self.most
            )
        })
    }

    fn take(&mut self, value: f64) {
        if value.is_finite() {
            (self.least, self.most) = (self.least.min(value), self.most.max(value));
        }
    }
}

/// Where samples are read: one line of a part.
struct Line<'a> {
    bytes: &'a [u8],
    layout: &'a Layout,
    is_little: bool,
}

impl Line<'_> {
    fn unsigned(&self, at: usize) -> u32 {
        let bits = self.layout.bits as usize;
        let byte = |at: usize| u32::from(self.bytes.get(at).copied().unwrap_or(0));
        match bits {
            8 => byte(at),
            16 if self.is_little => byte(2 * at) | byte(2 * at + 1) << 8,
            16 => byte(2 * at) << 8 | byte(2 * at + 1),
            _ => {
                let first = at * bits;
                let three = byte(first / 8) << 16 | byte(first / 8 + 1) << 8 | byte(first / 8 + 2);
                three >> (24 - bits - first % 8) & ((1 << bits) - 1)
            }
        }
    }

    fn float(&self, at: usize) -> f64 {
        let wide = (self.layout.bits / 8) as usize;
        let bytes = self.bytes.get(at * wide..(at + 1) * wide).unwrap_or_default();
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        let number = if self.is_little { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) };
        match wide {
            2 => small_float(number, 10, 15),
            3 => small_float(number, 16, 63),
            4 => f64::from(f32::from_bits(number as u32)),
            _ => f64::from_bits(number),
        }
    }

    /// The sample as a level; of a palette its number.
    fn level(&self, at: usize, white: f64) -> u8 {
        if self.layout.numbers == Numbers::Float {
            let value = self.float(at);
            return if value.is_nan() { 0 } else { (value / white * 255.0).round().clamp(0.0, 255.0) as u8 };
        }
        let value = self.unsigned(at);
        match self.layout.bits {
            8 => value as u8,
            _ if self.layout.colours == Colours::Palette && at.is_multiple_of(self.layout.part_samples() as usize) => {
                value as u8
            }
            16 => ((value + 128) / 257) as u8,
            bits => {
                let most = (1 << bits) - 1;
                ((value * 255 + most / 2) / most) as u8
            }
        }
    }
}

/// IEEE 754's layout with fewer bits.
fn small_float(number: u64, fraction_bits: u32, bias: i32) -> f64 {
    let exponent_bits = if fraction_bits == 10 { 5 } else { 7 };
    let fraction = (number & ((1 << fraction_bits) - 1)) as f64 / f64::from(1_u32 << fraction_bits);
    let exponent = (number >> fraction_bits & ((1 << exponent_bits) - 1)) as i32;
    let sign = if number >> (fraction_bits + exponent_bits) & 1 == 1 { -1.0 } else { 1.0 };
    let size = match exponent {
        0 => fraction * 2_f64.powi(1 - bias),
        _ if exponent == (1 << exponent_bits) - 1 => {
            if fraction == 0.0 {
                f64::INFINITY
            } else {
                f64::NAN
            }
        }
        _ => (1.0 + fraction) * 2_f64.powi(exponent - bias),
    };
    sign * size
}

/// Where the samples of a part come from and go to.
pub struct Placing<'a> {
    pub tags: &'a Directory<'a>,
    pub layout: &'a Layout,
    pub white: f64,
}

impl Placing<'_> {
    fn lines<'a>(&'a self, part: &Part, bytes: &'a [u8]) -> impl Iterator<Item = (u32, Line<'a>)> {
        let lines = bytes.chunks_exact(self.layout.line_bytes() as usize);
        (part.top..part.top + part.rows).zip(lines.map(|bytes| Line {
            bytes,
            layout: self.layout,
            is_little: self.tags.is_little,
        }))
    }

    /// Widens the range of floating-point colours by those of a part.
    pub fn measure(&self, part: &Part, bytes: &[u8], range: &mut Range) {
        let (own, used) = (self.layout.part_samples(), self.layout.used_samples());
        let is_alpha = |sample: u32| self.layout.alpha == Alpha::Unassociated && sample + 1 == used;
        for (_, line) in self.lines(part, bytes) {
            for x in 0..part.width {
                for sample in 0..own.min(used) {
                    if !is_alpha(part.plane + sample) {
                        range.take(line.float((x * own + sample) as usize));
                    }
                }
            }
        }
    }

    /// Puts a part into `samples`, as many for each pixel of the picture as are used.
    pub fn place(&self, part: &Part, bytes: &[u8], samples: &mut [u8]) {
        let layout = self.layout;
        if layout.subsampling != (1, 1) {
            return self.place_units(part, bytes, samples);
        }
        let (own, used) = (layout.part_samples() as usize, layout.used_samples() as usize);
        for (y, line) in self.lines(part, bytes) {
            let start = (y as usize * layout.width_px as usize + part.left as usize) * used + part.plane as usize;
            let Some(row) = samples.get_mut(start..) else { continue };
            if layout.bits == 8 && layout.numbers == Numbers::Unsigned && own == used {
                let length = part.width as usize * used;
                row[..length].copy_from_slice(&line.bytes[..length]);
                continue;
            }
            for x in 0..part.width as usize {
                for sample in 0..own.min(used) {
                    row[x * used + sample] = line.level(x * own + sample, self.white);
                }
            }
        }
    }

    /// TIFF 6.0, section 21: units of several samples of brightness and two of colour.
    fn place_units(&self, part: &Part, bytes: &[u8], samples: &mut [u8]) {
        let layout = self.layout;
        let (across, down) = layout.subsampling;
        let unit = (across * down + 2) as usize;
        for (y, line) in (0..part.rows).flat_map(|y| {
            bytes.chunks_exact(layout.line_bytes() as usize).nth((y / down) as usize).map(|line| (y, line))
        }) {
            for x in 0..part.width {
                let start = (x / across) as usize * unit;
                let Some(unit) = line.get(start..start + unit) else { continue };
                let place = ((part.top + y) as usize * layout.width_px as usize + (part.left + x) as usize) * 3;
                let brightness = unit[((y % down) * across + x % across) as usize];
                let colour = [brightness, unit[unit.len() - 2], unit[unit.len() - 1]];
                samples[place..place + 3].copy_from_slice(&colour);
            }
        }
    }
}

/// Samples of eight bits → RGB8 over black.
pub fn rgb(tags: &Directory, layout: &Layout, samples: Vec<u8>) -> Option<RgbImage> {
    let (width, height) = (layout.width_px, layout.height_px);
    let used = layout.used_samples() as usize;
    let is_ready = layout.colours == Colours::Rgb
        || layout.colours == Colours::YCbCr && layout.packing == Packing::Jpeg && !layout.is_planar;
    if is_ready && used == 3 {
        return RgbImage::from_raw(width, height, samples);
    }
    let palette = palette(tags, layout);
    let ycbcr = YCbCr::of(tags);
    let mut picture = RgbImage::new(width, height);
    for (from, to) in samples.chunks_exact(used).zip(picture.pixels_mut()) {
        to.0 = match layout.colours {
            Colours::WhiteIsZero => [255 - from[0]; 3],
            Colours::BlackIsZero => [from[0]; 3],
            Colours::Palette => palette[usize::from(from[0])],
            Colours::Cmyk => [0, 1, 2].map(|ink| left_by_ink(255 - from[ink], 255 - from[3])),
            Colours::YCbCr if !is_ready => ycbcr.rgb([from[0], from[1], from[2]]),
            Colours::Rgb | Colours::YCbCr => [from[0], from[1], from[2]],
        };
        if layout.alpha == Alpha::Unassociated {
            to.0 = to.0.map(|value| mix(value, from[used - 1]));
        }
    }
    Some(picture)
}

/// Of 16 bits a level; some writers have only ever filled eight of them.
fn palette(tags: &Directory, layout: &Layout) -> [[u8; 3]; 256] {
    let mut palette = [[0; 3]; 256];
    if layout.colours != Colours::Palette {
        return palette;
    }
    let count = 1_u64 << layout.bits;
    let level = |at: u64| tags.at(320, at).unwrap_or(0);
    let is_small = (0..3 * count).all(|at| level(at) < 256);
    for (number, colour) in (0..count).zip(&mut palette) {
        *colour = [0, 1, 2].map(|channel| {
            let level = level(channel * count + number);
            (if is_small { level } else { level >> 8 }) as u8
        });
    }
    palette
}

/// TIFF 6.0, section 21: brightness of red and blue, and the codes of black and white.
struct YCbCr {
    red: f64,
    blue: f64,
    black: [f64; 3],
    white: [f64; 3],
}

impl YCbCr {
    fn of(tags: &Directory) -> Self {
        let luma =
            |at: u64, default: f64| tags.rational(529, at).filter(|luma| (0.0..1.0).contains(luma)).unwrap_or(default);
        let code = |at: u64, default: f64| tags.rational(532, at).unwrap_or(default);
        Self {
            red: luma(0, 0.299),
            blue: luma(2, 0.114),
            black: [code(0, 0.0), code(2, 128.0), code(4, 128.0)],
            white: [code(1, 255.0), code(3, 255.0), code(5, 255.0)],
        }
    }

    fn rgb(&self, pixel: [u8; 3]) -> [u8; 3] {
        let [y, cb, cr] = [0, 1, 2].map(|at| {
            let most = if at == 0 { 255.0 } else { 127.0 };
            let range = self.white[at] - self.black[at];
            if range == 0.0 { 0.0 } else { (f64::from(pixel[at]) - self.black[at]) * most / range }
        });
        let red = y + cr * (2.0 - 2.0 * self.red);
        let blue = y + cb * (2.0 - 2.0 * self.blue);
        let green_share = (1.0 - self.red - self.blue).max(0.01);
        let green = (y - self.blue * blue - self.red * red) / green_share;
        [red, green, blue].map(|value| value.round().clamp(0.0, 255.0) as u8)
    }
}
