//! Planes of a JPEG → rows of RGB, CMYK or grey at full size, with the integers of libjpeg-turbo: its "fancy" upsampling
//! (`jdsample.c`) and its colour conversion (`jdcolor.c`).

use super::frame::Frame;
use super::scans::Plane;
use crate::error::Rejection;
use crate::media::still::unsupported;

/// What the components are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// As they are: grey, RGB, CMYK.
    Plain,
    YCbCr,
    /// YCbCr of inverted CMY, and K.
    Ycck,
}

/// Pixels row by row, `channels` bytes each.
#[derive(Debug)]
pub struct Raster {
    pub channels: usize,
    pub samples: Vec<u8>,
}

/// How one component comes to full size.
#[derive(Debug, Clone, Copy)]
enum Grow {
    Not,
    /// A triangle filter over two columns, two rows, or both.
    Across,
    Down,
    Both,
    /// Each sample so many times.
    Repeat(usize, usize),
}

/// # Errors
/// Sampling factors of which one is no multiple of the other: libjpeg has no rule for them either.
pub fn raster(frame: &Frame, planes: &[Plane], space: Space) -> Result<Raster, Rejection> {
    let grow = frame.components.iter().zip(planes).map(|(component, plane)| {
        let (most_across, most_down) = (frame.most_across(), frame.most_down());
        let fits = most_across % component.across == 0 && most_down % component.down == 0;
        let is_wide = plane.width > 2;
        fits.then(|| match (most_across / component.across, most_down / component.down) {
            (1, 1) => Grow::Not,
            (2, 1) if is_wide => Grow::Across,
            (1, 2) => Grow::Down,
            (2, 2) if is_wide => Grow::Both,
            (across, down) => Grow::Repeat(across as usize, down as usize),
        })
    });
    let grow: Option<Vec<Grow>> = grow.collect();
    let grow = grow.ok_or_else(|| unsupported("a JPEG whose sampling factors are no multiples of each other"))?;
    let (width, height, channels) = (frame.width_px as usize, frame.height_px as usize, planes.len());
    let mut samples = vec![0; width * height * channels];
    let mut rows = vec![vec![0_u8; 2 * (width + 16)]; channels];
    for (y, row) in samples.chunks_exact_mut(width * channels).enumerate() {
        for ((plane, grow), target) in planes.iter().zip(&grow).zip(&mut rows) {
            plane.row(y, *grow, target);
        }
        for (channel, values) in rows.iter().enumerate() {
            row.iter_mut().skip(channel).step_by(channels).zip(values).for_each(|(to, from)| *to = *from);
        }
        match space {
            Space::Plain => {}
            Space::YCbCr => row.chunks_exact_mut(3).for_each(to_rgb),
            Space::Ycck => row.chunks_exact_mut(4).for_each(|pixel| {
                to_rgb(&mut pixel[..3]);
                pixel[..3].iter_mut().for_each(|value| *value = 255 - *value);
            }),
        }
    }
    Ok(Raster { channels, samples })
}

impl Plane {
    fn line_at(&self, y: usize) -> &[u8] {
        let at = y.min(self.height.saturating_sub(1)) * self.line;
        &self.samples[at..at + self.width]
    }

    /// A row of the picture; `target` has room for more than its width.
    fn row(&self, y: usize, grow: Grow, target: &mut [u8]) {
        // Of two rows the nearer one counts three times, the other one once.
        let near = |y: usize| {
            (self.line_at(y / 2), self.line_at(if y.is_multiple_of(2) { (y / 2).saturating_sub(1) } else { y / 2 + 1 }))
        };
        match grow {
            Grow::Not => target.iter_mut().zip(self.line_at(y)).for_each(|(to, from)| *to = *from),
            Grow::Repeat(across, down) => {
                let line = self.line_at(y / down);
                target.chunks_mut(across).zip(line).for_each(|(to, from)| to.fill(*from));
            }
            Grow::Down => {
                let (this, other) = near(y);
                let bias = if y.is_multiple_of(2) { 1 } else { 2 };
                for ((to, this), other) in target.iter_mut().zip(this).zip(other) {
                    *to = ((u16::from(*this) * 3 + u16::from(*other) + bias) >> 2) as u8;
                }
            }
            Grow::Across => {
                let line = self.line_at(y);
                let at = |x: usize| u16::from(line[x]);
                let last = line.len() - 1;
                for x in 0..=last {
                    let left = if x == 0 { at(0) * 4 } else { at(x) * 3 + at(x - 1) + 1 };
                    let right = if x == last { at(x) * 4 } else { at(x) * 3 + at(x + 1) + 2 };
                    (target[2 * x], target[2 * x + 1]) = ((left >> 2) as u8, (right >> 2) as u8);
                }
            }
            Grow::Both => {
                let (this, other) = near(y);
                let at = |x: usize| u16::from(this[x]) * 3 + u16::from(other[x]);
                let last = this.len() - 1;
                for x in 0..=last {
                    let left = if x == 0 { at(0) * 4 + 8 } else { at(x) * 3 + at(x - 1) + 8 };
                    let right = if x == last { at(x) * 4 + 7 } else { at(x) * 3 + at(x + 1) + 7 };
                    (target[2 * x], target[2 * x + 1]) = ((left >> 4) as u8, (right >> 4) as u8);
                }
            }
        }
    }
}

/// JFIF 1.02: fractions of 16 bits, green rounded once.
fn to_rgb(pixel: &mut [u8]) {
    let [y, cb, cr] = [i32::from(pixel[0]), i32::from(pixel[1]) - 128, i32::from(pixel[2]) - 128];
    const HALF: i32 = 1 << 15;
    let red = y + ((91_881 * cr + HALF) >> 16);
    let green = y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16);
    let blue = y + ((116_130 * cb + HALF) >> 16);
    pixel[0] = red.clamp(0, 255) as u8;
    pixel[1] = green.clamp(0, 255) as u8;
    pixel[2] = blue.clamp(0, 255) as u8;
}
