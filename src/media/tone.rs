//! HDR pictures (PQ and HLG, ITU-R BT.2100) → SDR pictures as a screen without HDR should show them.
//!
//! In: RGB of 16 bits a sample, BT.2020 primaries, coded by PQ or HLG. Out: RGB of 8 bits, BT.709 primaries. The steps, all
//! in light of the display, where 1 is HDR reference white of 203 cd/m² (BT.2408):
//! 1. PQ: the EOTF of SMPTE ST 2084. HLG: the inverse OETF and the OOTF of a display of 1,000 cd/m² (BT.2100, gamma 1.2).
//! 2. BT.2020 primaries to BT.709 (BT.2087).
//! 3. The largest of the three samples goes through a curve that leaves it alone up to 0.5 and maps 1,000 cd/m² to 1, a
//!    Möbius transformation as in ffmpeg's filter `tonemap=mobius`; the others are scaled with it, so that colours stay.
//! 4. The inverse EOTF of an SDR display (BT.1886, gamma 2.4).
//!
//! ffmpeg's filters do the same where it is built with them (`zscale`, which not every build has); so that a face has the
//! same score on every machine, this does not depend on them, and a test compares both.

use std::sync::OnceLock;

use image::{ImageBuffer, Rgb, RgbImage};

/// Changes with every change to a sample.
pub const TONE_VERSION: u32 = 1;

/// A picture of 16 bits a sample.
pub type DeepImage = ImageBuffer<Rgb<u16>, Vec<u16>>;

/// How HDR pictures are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HdrTransfer {
    Pq,
    Hlg,
}

const REFERENCE_WHITE_NITS: f32 = 203.0;
/// What HDR is mastered for, and what phones film; light above it is clipped.
const PEAK_NITS: f32 = 1_000.0;
/// Up to here the curve leaves light alone: faces in daylight lie below.
const KNEE: f32 = 0.5;
/// Luminance of BT.2020's primaries.
const LUMA: [f32; 3] = [0.2627, 0.6780, 0.0593];
/// The colours that red, green and blue of a picture stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Primaries {
    Bt2020,
    /// Those of phones' still pictures (SMPTE EG 432-1).
    DisplayP3,
    Bt709,
}

impl Primaries {
    /// By their number in H.273; BT.2020 where none is stated, as BT.2100 has it.
    #[must_use]
    pub fn numbered(number: u16) -> Self {
        match number {
            1 | 4..=7 => Self::Bt709,
            11 | 12 => Self::DisplayP3,
            _ => Self::Bt2020,
        }
    }

    /// By ffmpeg's name of them.
    #[must_use]
    pub fn named(name: Option<&str>) -> Self {
        match name {
            Some("bt709" | "bt470m" | "bt470bg" | "smpte170m" | "smpte240m") => Self::Bt709,
            Some("smpte431" | "smpte432") => Self::DisplayP3,
            _ => Self::Bt2020,
        }
    }

    /// Linear light to linear light of BT.709 (BT.2087; for P3 by the same rule).
    fn to_bt709(self) -> [[f32; 3]; 3] {
        match self {
            Self::Bt2020 => [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
            Self::DisplayP3 => [[1.2249, -0.2249, 0.0], [-0.0421, 1.0421, 0.0], [-0.0196, -0.0786, 1.0983]],
            Self::Bt709 => [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        }
    }
}

/// Steps of the square root of light, for the last table: a fifteenth of a grey level where it is darkest.
const SDR_STEPS: usize = 1 << 14;
/// Steps of the luminance of HLG.
const LUMA_STEPS: usize = 1 << 12;

impl HdrTransfer {
    /// By ffmpeg's name of the transfer function; None of one that is not HDR.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "smpte2084" => Some(Self::Pq),
            "arib-std-b67" => Some(Self::Hlg),
            _ => None,
        }
    }

    fn tables(self) -> &'static Tables {
        static PQ: OnceLock<Tables> = OnceLock::new();
        static HLG: OnceLock<Tables> = OnceLock::new();
        match self {
            Self::Pq => PQ.get_or_init(|| Tables::new(|code| pq_nits(code) / REFERENCE_WHITE_NITS)),
            Self::Hlg => HLG.get_or_init(|| Tables::new(hlg_scene)),
        }
    }
}

/// Numbers that every picture needs again.
struct Tables {
    /// By sample of 16 bits: light in terms of reference white; of HLG the scene's, 0 to 1.
    linear: Vec<f32>,
    /// By the square root of the scene's luminance: what HLG's OOTF multiplies light with, in terms of reference white.
    ootf: Vec<f32>,
    /// By the square root of light: a sample of 8 bits.
    sdr: Vec<u8>,
    mobius: Mobius,
}

impl Tables {
    fn new(linear: impl Fn(f32) -> f32) -> Self {
        let ootf = |step: usize| {
            let luma = (step as f32 / (LUMA_STEPS - 1) as f32).powi(2);
            PEAK_NITS / REFERENCE_WHITE_NITS * luma.powf(0.2)
        };
        let sdr = |step: usize| {
            let light = (step as f32 / (SDR_STEPS - 1) as f32).powi(2);
            (light.powf(1.0 / 2.4) * 255.0).round() as u8
        };
        Self {
            linear: (0..=u16::MAX).map(|code| linear(f32::from(code) / 65_535.0)).collect(),
            ootf: (0..LUMA_STEPS).map(ootf).collect(),
            sdr: (0..SDR_STEPS).map(sdr).collect(),
            mobius: Mobius::new(KNEE, PEAK_NITS / REFERENCE_WHITE_NITS),
        }
    }
}

impl Tables {
    fn sdr(&self, codes: [u16; 3], transfer: HdrTransfer, to_bt709: &[[f32; 3]; 3]) -> [u8; 3] {
        let mut light = codes.map(|code| self.linear[usize::from(code)]);
        if transfer == HdrTransfer::Hlg {
            let luma: f32 = light.iter().zip(LUMA).map(|(light, weight)| light * weight).sum();
            let gain = self.ootf[step(luma, LUMA_STEPS)];
            light = light.map(|light| light * gain);
        }
        let light = to_bt709.map(|row| row.iter().zip(light).map(|(weight, light)| weight * light).sum::<f32>());
        let largest = light.iter().copied().fold(1e-6, f32::max);
        let gain = self.mobius.map(largest) / largest;
        light.map(|light| self.sdr[step(light * gain, SDR_STEPS)])
    }
}

/// `scale · (x + a) / (x + b)` above the knee, where it meets the straight line with the same slope; 1 at the peak.
struct Mobius {
    scale: f32,
    a: f32,
    b: f32,
}

impl Mobius {
    fn new(knee: f32, peak: f32) -> Self {
        // f(knee) = knee, f'(knee) = 1 and f(peak) = 1, solved for a, b and scale.
        let a = -knee * knee * (peak - 1.0) / (knee * knee - 2.0 * knee + peak);
        let b = (knee * knee - 2.0 * knee * peak + peak) / (peak - 1.0);
        Self { scale: (knee + b).powi(2) / (b - a), a, b }
    }

    fn map(&self, light: f32) -> f32 {
        if light <= KNEE { light } else { self.scale * (light + self.a) / (light + self.b) }
    }
}

/// SMPTE ST 2084, 5.1: light in cd/m² of a code from 0 to 1.
fn pq_nits(code: f32) -> f32 {
    const M1: f32 = 2610.0 / 16384.0;
    const M2: f32 = 2523.0 / 4096.0 * 128.0;
    const C1: f32 = 3424.0 / 4096.0;
    const C2: f32 = 2413.0 / 4096.0 * 32.0;
    const C3: f32 = 2392.0 / 4096.0 * 32.0;
    let power = code.powf(1.0 / M2);
    10_000.0 * ((power - C1).max(0.0) / (C2 - C3 * power)).powf(1.0 / M1)
}

/// The inverse OETF of HLG (BT.2100, table 5): light of the scene from 0 to 1 of a code from 0 to 1.
fn hlg_scene(code: f32) -> f32 {
    const A: f32 = 0.178_832_77;
    const B: f32 = 0.284_668_92;
    const C: f32 = 0.559_910_7;
    if code <= 0.5 { code * code / 3.0 } else { (((code - C) / A).exp() + B) / 12.0 }
}

/// The same picture for a screen without HDR.
#[must_use]
pub fn to_sdr(picture: &DeepImage, transfer: HdrTransfer, primaries: Primaries) -> RgbImage {
    let (width, height) = picture.dimensions();
    let tables = transfer.tables();
    let mut sdr = RgbImage::new(width, height);
    let to_bt709 = primaries.to_bt709();
    for (from, to) in picture.pixels().zip(sdr.pixels_mut()) {
        to.0 = tables.sdr(from.0, transfer, &to_bt709);
    }
    sdr
}

/// The same of pixels whose samples are codes from 0 to 1, in place: what comes out is codes of SDR from 0 to 1.
pub fn row_to_sdr(row: &mut [[f32; 3]], transfer: HdrTransfer, primaries: Primaries) {
    let (tables, to_bt709) = (transfer.tables(), primaries.to_bt709());
    for pixel in row {
        let codes = pixel.map(|code| (code.clamp(0.0, 1.0) * 65_535.0).round() as u16);
        *pixel = tables.sdr(codes, transfer, &to_bt709).map(|sample| f32::from(sample) / 255.0);
    }
}

/// The place of a light from 0 to 1 in a table by its square root.
fn step(light: f32, steps: usize) -> usize {
    (light.clamp(0.0, 1.0).sqrt() * (steps - 1) as f32).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_standards_give_their_light() {
        // ST 2084 and BT.2408: 58 % PQ is 203 cd/m², 75 % HLG is 203 cd/m² on a display of 1,000.
        assert!((pq_nits(0.5807) - 203.0).abs() < 0.5, "{}", pq_nits(0.5807));
        assert!((pq_nits(1.0) - 10_000.0).abs() < 1.0);
        assert!(pq_nits(0.0).abs() < 1e-6);
        let white = 1_000.0 * hlg_scene(0.75).powf(1.2);
        assert!((white - 203.0).abs() < 1.0, "{white}");
        assert!((hlg_scene(1.0) - 1.0).abs() < 1e-4);
    }

    #[test]
    fn the_curve_is_straight_up_to_the_knee_and_ends_at_one() {
        let peak = PEAK_NITS / REFERENCE_WHITE_NITS;
        let curve = Mobius::new(KNEE, peak);
        assert!((curve.map(peak) - 1.0).abs() < 1e-5);
        assert!((curve.map(KNEE + 1e-4) - KNEE - 1e-4).abs() < 1e-6);
        let values: Vec<f32> = (0..500).map(|i| curve.map(i as f32 / 100.0)).collect();
        assert!(values.is_sorted());
    }

    #[test]
    fn black_is_black_and_peak_is_white() {
        for transfer in [HdrTransfer::Pq, HdrTransfer::Hlg] {
            let picture = DeepImage::from_fn(2, 1, |x, _| Rgb([if x == 0 { 0 } else { u16::MAX }; 3]));
            let sdr = to_sdr(&picture, transfer, Primaries::Bt2020);
            assert_eq!([sdr.get_pixel(0, 0).0, sdr.get_pixel(1, 0).0], [[0; 3], [255; 3]], "{transfer:?}");
        }
    }
}
