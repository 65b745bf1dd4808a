//! Antialiased bicubic resizing as Pillow does it, to the last bit.
//!
//! In: RGB8. Out: a window of the resized picture; only what it needs is computed. Towers were trained on Pillow's
//! pixels, and a resizer with other roundings is off by two grey levels in places, so this one is ours:
//! a = −0.5, weights rounded to 22 fractional bits, across first, then down, 8 bits in between
//! (the order and arithmetic of Pillow up to 12; Pillow 13 sometimes goes down first).

use image::RgbImage;

/// Of Pillow's weights: 32 bits less 8 of the pixel and 2 for the overshoot of a cubic.
const PRECISION_BITS: u32 = 22;

/// How far the cubic reaches, in source pixels when enlarging, in target pixels when reducing.
const SUPPORT: f64 = 2.0;

/// A part [start, start + length) of a side of the resized picture, whose whole side is `full`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub full: u32,
    pub start: u32,
    pub length: u32,
}

/// The window `across` × `down` of `picture` resized to `across.full` × `down.full`.
pub(super) fn resize_window(picture: &RgbImage, across: Span, down: Span) -> RgbImage {
    let (width, height) = picture.dimensions();
    let rows = (down.full != height).then(|| Weights::new(height, down));
    // The rows of the source that the window's rows see.
    let (first_row, row_count) = match &rows {
        Some(rows) => rows.reach(),
        None => (down.start as usize, down.length as usize),
    };
    let source = picture.as_raw();
    let stride = width as usize * 3;
    let out_stride = across.length as usize * 3;
    let mut middle = vec![0_u8; row_count * out_stride];
    let columns = (across.full != width).then(|| Weights::new(width, across));
    for (row, target) in middle.chunks_exact_mut(out_stride.max(1)).enumerate() {
        let source = &source[(first_row + row) * stride..][..stride];
        match &columns {
            Some(columns) => blend_columns(source, columns, target),
            None => target.copy_from_slice(&source[across.start as usize * 3..][..out_stride]),
        }
    }
    let pixels = match &rows {
        Some(rows) => blend_rows(&middle, first_row, out_stride, rows),
        None => middle,
    };
    RgbImage::from_raw(across.length, down.length, pixels).unwrap_or_default()
}

/// For each output: the first input that it sees, and the weights from there on.
struct Weights {
    first: Vec<usize>,
    taps: Vec<Vec<i32>>,
}

impl Weights {
    fn new(inputs: u32, outputs: Span) -> Self {
        let scale = f64::from(inputs) / f64::from(outputs.full);
        let stretch = scale.max(1.0); // when reducing, the filter widens: that is the antialiasing
        let support = SUPPORT * stretch;
        let mut weights = Self { first: vec![], taps: vec![] };
        for i in outputs.start..outputs.start + outputs.length {
            let centre = (f64::from(i) + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(inputs as usize);
            let taps: Vec<f64> = (first..end).map(|x| cubic((x as f64 - centre + 0.5) / stretch)).collect();
            let sum: f64 = taps.iter().sum();
            let fixed = |weight: &f64| (weight / sum * f64::from(1 << PRECISION_BITS)).round() as i32;
            weights.first.push(first);
            weights.taps.push(taps.iter().map(fixed).collect());
        }
        weights
    }

    /// The first input that any output sees, and how many there are up to the last.
    fn reach(&self) -> (usize, usize) {
        let first = self.first.first().copied().unwrap_or(0);
        let end = self.first.iter().zip(&self.taps).map(|(first, taps)| first + taps.len()).max().unwrap_or(first);
        (first, end - first)
    }
}

/// Keys, "Cubic convolution interpolation for digital image processing" (1981), a = −0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn blend_columns(source: &[u8], columns: &Weights, target: &mut [u8]) {
    let source = source.as_chunks::<3>().0;
    let target = target.as_chunks_mut::<3>().0;
    for ((first, taps), target) in columns.first.iter().zip(&columns.taps).zip(target) {
        let mut sums = [1_i32 << (PRECISION_BITS - 1); 3];
        for (pixel, weight) in source[*first..].iter().zip(taps) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += i32::from(*value) * weight;
            }
        }
        *target = sums.map(to_byte);
    }
}

fn blend_rows(middle: &[u8], first_row: usize, stride: usize, rows: &Weights) -> Vec<u8> {
    let mut pixels = vec![0_u8; rows.first.len() * stride];
    let mut sums = vec![0_i32; stride];
    for ((first, taps), target) in rows.first.iter().zip(&rows.taps).zip(pixels.chunks_exact_mut(stride.max(1))) {
        sums.fill(1 << (PRECISION_BITS - 1));
        for (row, weight) in taps.iter().enumerate() {
            let source = &middle[(first - first_row + row) * stride..][..stride];
            for (sum, value) in sums.iter_mut().zip(source) {
                *sum += i32::from(*value) * weight;
            }
        }
        for (target, sum) in target.iter_mut().zip(&sums) {
            *target = to_byte(*sum);
        }
    }
    pixels
}

fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}
