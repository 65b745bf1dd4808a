//! The proposal network: slides over a level, one 12×12 cell every second pixel.

use candle_core::{Device, Tensor};
use image::RgbImage;

use super::boxes::{Candidate, FaceBox, Window};
use super::layers::{ConvPRelu, max_pool};
use super::pyramid::{CELL_PX, LevelSize, area_resize};
use crate::networks::NetworkError;
use crate::networks::weights::Weights;

const STRIDE_PX: f32 = 2.0;

/// Output rows that are computed together: what a strip of a 4,000 px wide level needs stays near 30 MB.
const STRIP_ROWS: usize = 32;

/// A cell of a level that may hold a face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Proposed {
    pub row: usize,
    pub column: usize,
    pub probability: f32,
    /// What moves the corners of the cell, as shares of its side: x0, y0, x1, y1.
    pub offsets: [f32; 4],
}

#[derive(Debug)]
pub(super) struct PNet {
    conv1: ConvPRelu,
    conv2: ConvPRelu,
    conv3: ConvPRelu,
    /// Both heads in one 1×1 convolution: two class logits, then four offsets.
    heads: Tensor, // [6, 32, 1, 1]
    heads_bias: Tensor, // [1, 6, 1, 1]
}

impl PNet {
    pub fn new(w: &Weights) -> Result<Self, NetworkError> {
        let heads =
            Tensor::cat(&[w.get("conv4_1.weight", &[2, 32, 1, 1])?, w.get("conv4_2.weight", &[4, 32, 1, 1])?], 0)?;
        let heads_bias = Tensor::cat(&[w.get("conv4_1.bias", &[2])?, w.get("conv4_2.bias", &[4])?], 0)?;
        Ok(Self {
            conv1: ConvPRelu::new(w, 1, 3, 10, 3)?,
            conv2: ConvPRelu::new(w, 2, 10, 16, 3)?,
            conv3: ConvPRelu::new(w, 3, 16, 32, 3)?,
            heads,
            heads_bias: heads_bias.reshape((1, 6, 1, 1))?,
        })
    }

    /// [1, 3, h, w] → [1, 6, ⌈(h − 2) / 2⌉ − 4, ⌈(w − 2) / 2⌉ − 4]
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let x = max_pool(&self.conv1.forward(x)?, 2)?;
        let x = self.conv3.forward(&self.conv2.forward(&x)?)?;
        x.conv2d(&self.heads, 0, 1, 1, 1)?.broadcast_add(&self.heads_bias)
    }

    /// The cells of the picture at `scale` whose probability reaches `threshold`, row by row, as boxes of the frame.
    pub fn propose(
        &self,
        picture: &RgbImage,
        scale: f64,
        threshold: f32,
        device: &Device,
    ) -> Result<Vec<Candidate>, NetworkError> {
        let level = LevelSize::new(picture.dimensions(), scale);
        let LevelSize { width, height } = level;
        let values = area_resize(picture, Window::whole(picture), level);
        let found = self.propose_in_level(&Tensor::from_vec(values, (1, 3, height, width), device)?, threshold)?;
        let candidate = |cell: Proposed| {
            Candidate::new(frame_box_from_cell(cell.column, cell.row, scale), cell.probability, cell.offsets)
        };
        Ok(found.into_iter().map(candidate).collect())
    }

    /// The cells of a level, [1, 3, h, w], whose probability reaches `threshold`, row by row.
    pub fn propose_in_level(&self, level: &Tensor, threshold: f32) -> Result<Vec<Proposed>, NetworkError> {
        let (_, _, height, _) = level.dims4()?;
        let out_rows = (height - 2).div_ceil(2).saturating_sub(4);
        let mut found = vec![];
        for first_row in (0..out_rows).step_by(STRIP_ROWS) {
            let last_row = (first_row + STRIP_ROWS).min(out_rows);
            // The rows that these outputs see: two for each pooled row, four pooled rows of context, two of conv1.
            let top = 2 * first_row;
            let bottom = (2 * (last_row + 4) + 2).min(height);
            let strip = level.narrow(2, top, bottom - top)?.contiguous()?;
            let out = self.forward(&strip)?.squeeze(0)?; // [6, rows, cells]
            let (_, rows, cells) = out.dims3()?;
            let out: Vec<f32> = out.flatten_all()?.to_vec1()?;
            let plane = |channel: usize| &out[channel * rows * cells..][..rows * cells];
            for cell in 0..rows * cells {
                let probability = probability(plane(0)[cell], plane(1)[cell]);
                if probability >= threshold {
                    let offsets = std::array::from_fn(|i| plane(2 + i)[cell]);
                    found.push(Proposed { row: first_row + cell / cells, column: cell % cells, probability, offsets });
                }
            }
        }
        Ok(found)
    }
}

/// softmax of (no face, face), second entry.
pub(super) fn probability(no_face: f32, face: f32) -> f32 {
    let max = no_face.max(face);
    let (no_face, face) = ((no_face - max).exp(), (face - max).exp());
    face / (no_face + face)
}

/// `generateBoundingBox` of the reference: whole pixels of the frame, rounded down.
pub(super) fn frame_box_from_cell(x: usize, y: usize, scale: f64) -> FaceBox {
    let scale = scale as f32;
    let near = |i: usize| ((STRIDE_PX * i as f32 + 1.0) / scale).floor();
    let far = |i: usize| ((STRIDE_PX * i as f32 + CELL_PX as f32) / scale).floor();
    FaceBox { x0: near(x), y0: near(y), x1: far(x), y1: far(y) }
}
