//! Decoded planes → rows of red, green and blue (ITU-T H.273, 8.3).
//!
//! Rows are computed in f32 from 0 to 1. Of deep samples the first eight bits count, as in libheif and libavif, but for a
//! picture of high dynamic range that is brought to the range of a screen before it is rounded to 8 bits.

use super::coded::{Chroma, Format};
use super::properties::Nclx;
use crate::error::{Rejection, RejectionClass};

/// One decoded picture: its planes one after another, row by row, samples of 8 bits or of 16 with the low byte first.
#[derive(Debug, Clone, Copy)]
pub struct Planes<'a> {
    format: Format,
    bytes: &'a [u8],
    /// Bits at the end of each sample that do not count.
    cut: u8,
}

/// How a colour sample that pixels share is spread over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Each pixel has the nearest one, as libheif has it.
    Nearest,
    /// Each pixel has a mean of the nearest ones, 3 : 1 across and down, as libavif has it.
    Linear,
}

/// How samples become colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conversion {
    matrix: Matrix,
    full_range: bool,
    spread: Spread,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Matrix {
    /// Shares of red and of blue in the light.
    Shares {
        red: f32,
        blue: f32,
    },
    /// Green, blue, red are the planes.
    Identity,
    YCgCo,
}

impl<'a> Planes<'a> {
    /// # Errors
    /// Another number of bytes than the format has.
    pub fn new(format: Format, bytes: &'a [u8]) -> Result<Self, Rejection> {
        let expected = format.picture_bytes();
        if bytes.len() as u64 != expected {
            let message = format!("expected a decoded picture of {expected} bytes, found {}", bytes.len());
            return Err(Rejection::new(RejectionClass::Corrupt, message));
        }
        Ok(Self { format, bytes, cut: format.depth.saturating_sub(8) })
    }

    /// With all bits of its samples.
    #[must_use]
    pub fn in_full_depth(self) -> Self {
        Self { cut: 0, ..self }
    }

    fn depth(&self) -> u8 {
        self.format.depth - self.cut
    }

    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Row `y` of plane 0, 1 or 2, as numbers of as many bits as count.
    fn row(&self, plane: usize, y: u32, row: &mut Vec<f32>) {
        let (size, chroma) = (self.format.size_px, self.format.chroma_size());
        let area = |(width, height): (u32, u32)| width as usize * height as usize;
        let (width, begins) = match plane {
            0 => (size.0, 0),
            other => (chroma.0, area(size) + (other - 1) * area(chroma)),
        };
        let each = self.format.bytes_a_sample();
        let from = (begins + y as usize * width as usize) * each;
        let bytes = self.bytes.get(from..from + width as usize * each).unwrap_or_default();
        row.clear();
        if each == 1 {
            row.extend(bytes.iter().map(|byte| f32::from(*byte)));
        } else {
            row.extend(bytes.as_chunks().0.iter().map(|two| f32::from(u16::from_le_bytes(*two) >> self.cut)));
        }
    }
}

impl Conversion {
    /// # Errors
    /// A matrix that is not known: its colours would be wrong.
    pub fn new(nclx: Option<Nclx>, spread: Spread) -> Result<Self, Rejection> {
        // Without a word of it: what JPEG has, and what the codecs' own standard has of the range.
        let Nclx { primaries, matrix, full_range, .. } =
            nclx.unwrap_or(Nclx { primaries: 2, transfer: 2, matrix: 2, full_range: false });
        let shares = |red, blue| Matrix::Shares { red, blue };
        let matrix = match matrix {
            0 => Matrix::Identity,
            1 => shares(0.2126, 0.0722),
            2 | 3 | 5 | 6 => shares(0.299, 0.114),
            4 => shares(0.30, 0.11),
            7 => shares(0.212, 0.087),
            8 => Matrix::YCgCo,
            9 | 10 => shares(0.2627, 0.0593),
            12 => of_primaries(primaries),
            other => {
                let message =
                    format!("HEIF: expected colours by a matrix of 0 to 10 or 12 (ITU-T H.273), found {other}");
                return Err(Rejection::new(RejectionClass::Unsupported, message));
            }
        };
        Ok(Self { matrix, full_range, spread })
    }

    /// The planes of light alone, as alpha has them.
    #[must_use]
    pub fn of_alpha(full_range: bool) -> Self {
        Self { matrix: Matrix::Shares { red: 0.299, blue: 0.114 }, full_range, spread: Spread::Nearest }
    }

    /// Calls `with` for each row from the first on: its number, and red, green and blue of its pixels, from 0 to 1 where the
    /// picture keeps to its range.
    pub fn rows(&self, planes: &Planes<'_>, mut with: impl FnMut(u32, &mut [[f32; 3]])) {
        let (Format { size_px: (width, height), chroma, .. }, depth) = (planes.format, planes.depth());
        let (mut light, mut first, mut second, mut around) = (vec![], vec![], vec![], [vec![], vec![]]);
        let mut pixels = vec![[0.0; 3]; width as usize];
        let (black, light_scale, chroma_scale) = self.scales(depth);
        let [r_v, g_u, g_v, b_u] = self.factors();
        let middle = (1_u32 << (depth - 1)) as f32;
        for y in 0..height {
            planes.row(0, y, &mut light);
            if chroma == Chroma::Grey {
                for (pixel, light) in pixels.iter_mut().zip(&light) {
                    *pixel = [(light - black) * light_scale; 3];
                }
                with(y, &mut pixels);
                continue;
            }
            self.chroma_row(planes, 1, y, &mut around, &mut first);
            self.chroma_row(planes, 2, y, &mut around, &mut second);
            let samples = light.iter().zip(&first).zip(&second);
            for (pixel, ((light, first), second)) in pixels.iter_mut().zip(samples) {
                let y = (light - black) * light_scale;
                let (u, v) = ((first - middle) * chroma_scale, (second - middle) * chroma_scale);
                *pixel = match self.matrix {
                    Matrix::Shares { .. } => [y + r_v * v, y - g_u * u - g_v * v, y + b_u * u],
                    Matrix::Identity => [(second - black) * light_scale, y, (first - black) * light_scale],
                    Matrix::YCgCo => [y - u + v, y + u, y - u - v],
                };
            }
            with(y, &mut pixels);
        }
    }

    /// Calls `with` for the light of each row from the first on, from 0 to 1.
    pub fn light(&self, planes: &Planes<'_>, mut with: impl FnMut(&[f32])) {
        let (black, scale, _) = self.scales(planes.depth());
        let mut light = vec![];
        for y in 0..planes.format.size_px.1 {
            planes.row(0, y, &mut light);
            light.iter_mut().for_each(|light| *light = (*light - black) * scale);
            with(&light);
        }
    }

    /// By how much a step of the second colour plane changes red, of the first green, of the second green, of the first blue;
    /// to as many bits as the libraries have, since a detector may answer to a grey level.
    fn factors(&self) -> [f32; 4] {
        let Matrix::Shares { red, blue } = self.matrix else { return [0.0; 4] };
        let green = 1.0 - red - blue;
        let (r_v, b_u) = (2.0 * (1.0 - red), 2.0 * (1.0 - blue));
        let exact = [r_v, b_u * blue / green, r_v * red / green, b_u];
        let steps = match self.spread {
            Spread::Nearest => 256.0,
            Spread::Linear => 64.0,
        };
        exact.map(|factor| (factor * steps).round() / steps)
    }

    /// The sample that is black, and what a step of light and of colour is worth.
    fn scales(&self, depth: u8) -> (f32, f32, f32) {
        let (most, unit) = (((1_u32 << depth) - 1) as f32, (1_u32 << (depth - 8)) as f32);
        if self.full_range {
            (0.0, most.recip(), most.recip())
        } else {
            (16.0 * unit, (219.0 * unit).recip(), (224.0 * unit).recip())
        }
    }

    /// A row of colour samples, one for each pixel.
    fn chroma_row(
        &self,
        planes: &Planes<'_>,
        plane: usize,
        y: u32,
        [near, far]: &mut [Vec<f32>; 2],
        row: &mut Vec<f32>,
    ) {
        let (across, down) = planes.format.chroma.pixels_a_sample();
        let (_, rows) = planes.format.chroma_size();
        planes.row(plane, y / down, near);
        if self.spread == Spread::Linear && down == 2 {
            let other = if y.is_multiple_of(2) { (y / 2).saturating_sub(1) } else { (y / 2 + 1).min(rows - 1) };
            planes.row(plane, other, far);
            near.iter_mut().zip(far.iter()).for_each(|(near, far)| *near = 0.75 * *near + 0.25 * far);
        }
        row.clear();
        let width = planes.format.size_px.0 as usize;
        match (across, self.spread) {
            (1, _) => row.extend_from_slice(near),
            (_, Spread::Nearest) => row.extend(near.iter().flat_map(|sample| [*sample; 2]).take(width)),
            (_, Spread::Linear) => {
                let last = near.len().saturating_sub(1);
                row.extend((0..width).map(|x| {
                    let at = x / 2;
                    let other = if x % 2 == 0 { at.saturating_sub(1) } else { (at + 1).min(last) };
                    (0.75 * near[at] + 0.25 * near[other] + 0.5).floor()
                }));
            }
        }
    }
}

/// As eight bits have it.
#[must_use]
pub fn level(value: f32) -> u8 {
    (value * 255.0 + 0.5) as u8 // below 0 and above 255 are cut
}

/// Shares of light by the primaries' places (H.273, equations 39 to 44).
fn of_primaries(primaries: u16) -> Matrix {
    let (red, green, blue, white): ([f64; 2], [f64; 2], [f64; 2], [f64; 2]) = match primaries {
        9 => ([0.708, 0.292], [0.170, 0.797], [0.131, 0.046], [0.3127, 0.3290]),
        11 => ([0.680, 0.320], [0.265, 0.690], [0.150, 0.060], [0.314, 0.351]),
        12 => ([0.680, 0.320], [0.265, 0.690], [0.150, 0.060], [0.3127, 0.3290]),
        4 => ([0.67, 0.33], [0.21, 0.71], [0.14, 0.08], [0.310, 0.316]),
        5 => ([0.64, 0.33], [0.29, 0.60], [0.15, 0.06], [0.3127, 0.3290]),
        6 | 7 => ([0.630, 0.340], [0.310, 0.595], [0.155, 0.070], [0.3127, 0.3290]),
        8 => ([0.681, 0.319], [0.243, 0.692], [0.145, 0.049], [0.310, 0.316]),
        22 => ([0.630, 0.340], [0.295, 0.605], [0.155, 0.077], [0.3127, 0.3290]),
        _ => ([0.64, 0.33], [0.30, 0.60], [0.15, 0.06], [0.3127, 0.3290]),
    };
    let xyz = |[x, y]: [f64; 2]| [x / y, 1.0, (1.0 - x - y) / y];
    let determinant = |a: [f64; 3], b: [f64; 3], c: [f64; 3]| {
        a[0] * (b[1] * c[2] - b[2] * c[1]) - b[0] * (a[1] * c[2] - a[2] * c[1]) + c[0] * (a[1] * b[2] - a[2] * b[1])
    };
    let (r, g, b, w) = (xyz(red), xyz(green), xyz(blue), xyz(white));
    let all = determinant(r, g, b);
    Matrix::Shares { red: (determinant(w, g, b) / all) as f32, blue: (determinant(r, g, w) / all) as f32 }
}

/// H.273, 8.2, in ffmpeg's words.
#[must_use]
pub fn transfer_name(transfer: u16) -> Option<&'static str> {
    Some(match transfer {
        1 => "bt709",
        4 => "gamma22",
        5 => "gamma28",
        6 => "smpte170m",
        7 => "smpte240m",
        8 => "linear",
        9 => "log100",
        10 => "log316",
        11 => "iec61966-2-4",
        12 => "bt1361e",
        13 => "iec61966-2-1",
        14 => "bt2020-10",
        15 => "bt2020-12",
        16 => "smpte2084",
        17 => "smpte428",
        18 => "arib-std-b67",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primaries_of_bt_709_and_bt_2020_have_the_shares_of_those_standards() {
        for (primaries, expected) in [(1, (0.2126, 0.0722)), (9, (0.2627, 0.0593))] {
            let Matrix::Shares { red, blue } = of_primaries(primaries) else { panic!("{primaries}") };
            assert!((red - expected.0).abs() < 1e-4 && (blue - expected.1).abs() < 1e-4, "{primaries}: {red} {blue}");
        }
    }
}
