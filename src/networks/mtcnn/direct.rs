//! The three networks on a CPU, by direct convolutions: the same numbers as the candle networks beside this file,
//! at a fraction of their time and memory.
//!
//! P-Net works on strips of a level that are resized where they are needed, so that no level is ever held; R-Net and
//! O-Net put as many crops side by side as the machine has lanes. Strips and blocks of crops go to the threads of
//! the pool that this is called in; what comes out is in order whatever finished first.

use deepsweep_kernels::{DirectConv, Planes, lanes, max_pool_lanes, max_pool_row_pairs};
use image::RgbImage;
use rayon::prelude::*;

use super::boxes::{Candidate, Window};
use super::onet::{self, Finished};
use super::pnet::{frame_box_from_cell, probability};
use super::pyramid::{LevelSize, area_resize_rows};
use super::rnet::{self, Refined};
use crate::networks::NetworkError;
use crate::networks::weights::Weights;

/// Output rows of P-Net that are computed together: what they need of a 1,280 px wide level stays near the second
/// cache, and a sixth of the first convolution is computed twice.
const STRIP_ROWS: usize = 16;

#[derive(Debug)]
pub(super) struct DirectNetworks {
    pnet: DirectPNet,
    rnet: CropNet,
    onet: CropNet,
}

impl DirectNetworks {
    pub fn new(p: &Weights, r: &Weights, o: &Weights) -> Result<Self, NetworkError> {
        Ok(Self {
            pnet: DirectPNet {
                conv1: conv_prelu(p, 1, 3, 10, 3)?,
                conv2: conv_prelu(p, 2, 10, 16, 3)?,
                conv3: conv_prelu(p, 3, 16, 32, 3)?,
                heads: heads(p, &[("conv4_1", 2), ("conv4_2", 4)], &[32, 1, 1])?,
            },
            rnet: CropNet {
                input_px: rnet::INPUT_PX,
                layers: vec![
                    Layer { conv: conv_prelu(r, 1, 3, 28, 3)?, pool: Some(3) },
                    Layer { conv: conv_prelu(r, 2, 28, 48, 3)?, pool: Some(3) },
                    Layer { conv: conv_prelu(r, 3, 48, 64, 2)?, pool: None },
                ],
                dense: dense_prelu(r, "dense4", "prelu4", 64, 128)?,
                heads: heads(r, &[("dense5_1", 2), ("dense5_2", 4)], &[128])?,
            },
            onet: CropNet {
                input_px: onet::INPUT_PX,
                layers: vec![
                    Layer { conv: conv_prelu(o, 1, 3, 32, 3)?, pool: Some(3) },
                    Layer { conv: conv_prelu(o, 2, 32, 64, 3)?, pool: Some(3) },
                    Layer { conv: conv_prelu(o, 3, 64, 64, 3)?, pool: Some(2) },
                    Layer { conv: conv_prelu(o, 4, 64, 128, 2)?, pool: None },
                ],
                dense: dense_prelu(o, "dense5", "prelu5", 128, 256)?,
                heads: heads(o, &[("dense6_1", 2), ("dense6_2", 4), ("dense6_3", 10)], &[256])?,
            },
        })
    }

    /// The cells of the picture at `scale` whose probability reaches `threshold`, row by row.
    pub fn propose(&self, picture: &RgbImage, scale: f64, threshold: f32) -> Vec<Candidate> {
        self.pnet.propose(picture, scale, threshold)
    }

    pub fn refine(&self, picture: &RgbImage, windows: &[Window]) -> Refined {
        let rows = self.rnet.forward::<6>(picture, windows);
        Refined {
            confidences: rows.iter().map(|row| probability(row[0], row[1])).collect(),
            offsets: rows.iter().map(|row| [row[2], row[3], row[4], row[5]]).collect(),
        }
    }

    pub fn finish(&self, picture: &RgbImage, windows: &[Window]) -> Finished {
        let rows = self.onet.forward::<16>(picture, windows);
        Finished {
            confidences: rows.iter().map(|row| probability(row[0], row[1])).collect(),
            offsets: rows.iter().map(|row| [row[2], row[3], row[4], row[5]]).collect(),
            landmarks: rows.iter().map(|row| std::array::from_fn(|i| row[6 + i])).collect(),
        }
    }
}

#[derive(Debug)]
struct DirectPNet {
    conv1: DirectConv,
    conv2: DirectConv,
    conv3: DirectConv,
    /// Two class logits, then four offsets.
    heads: DirectConv,
}

/// The work space of one thread.
#[derive(Default)]
struct Scratch(Planes, Planes);

impl DirectPNet {
    fn propose(&self, picture: &RgbImage, scale: f64, threshold: f32) -> Vec<Candidate> {
        let level = LevelSize::new(picture.dimensions(), scale);
        let out_rows = (level.height - 2).div_ceil(2).saturating_sub(4);
        let strips = out_rows.div_ceil(STRIP_ROWS);
        let found: Vec<Vec<Candidate>> = (0..strips)
            .into_par_iter()
            .map_init(Scratch::default, |scratch, strip| {
                let first_row = strip * STRIP_ROWS;
                let last_row = (first_row + STRIP_ROWS).min(out_rows);
                self.strip(picture, level, first_row..last_row, scratch);
                let Scratch(out, _) = scratch; // [6, rows, cells]
                let cells = ((level.width - 2).div_ceil(2)).saturating_sub(4);
                let mut found = vec![];
                for y in 0..out.rows {
                    for x in 0..cells {
                        let at = |channel: usize| out.plane(channel)[y * out.row + x];
                        let confidence = probability(at(0), at(1));
                        if confidence >= threshold {
                            let bounds = frame_box_from_cell(x, first_row + y, scale);
                            found.push(Candidate::new(bounds, confidence, std::array::from_fn(|i| at(2 + i))));
                        }
                    }
                }
                found
            })
            .collect();
        found.concat()
    }

    /// Leaves the heads of the output rows `rows` in the first of the work spaces.
    fn strip(&self, picture: &RgbImage, level: LevelSize, rows: std::ops::Range<usize>, scratch: &mut Scratch) {
        let Scratch(a, b) = scratch;
        // The rows that these outputs see: two for each pooled row, four pooled rows of context, two of conv1.
        let top = 2 * rows.start;
        let bottom = (2 * (rows.end + 4) + 2).min(level.height);
        a.reshape(3, bottom - top, level.width.next_multiple_of(lanes()));
        let (plane, row) = (a.rows * a.row, a.row);
        area_resize_rows(picture, Window::whole(picture), level, top..bottom, &mut a.values, |channel, y, x| {
            channel * plane + (y - top) * row + x
        });
        self.conv1.forward(a, 1, b); // [10, h − 2, w − 2]
        max_pool_row_pairs(b, level.width - 2, a); // [10, ⌈(h − 2) / 2⌉, ⌈(w − 2) / 2⌉]
        self.conv2.forward(a, 1, b); // [16, −2, −2]
        self.conv3.forward(b, 1, a); // [32, −2, −2]
        self.heads.forward(a, 1, b); // [6, …]
        std::mem::swap(a, b);
    }
}

/// R-Net or O-Net: convolutions with pooling, a dense layer, and the heads in one.
#[derive(Debug)]
struct CropNet {
    input_px: usize,
    layers: Vec<Layer>,
    dense: DirectConv,
    heads: DirectConv,
}

#[derive(Debug)]
struct Layer {
    conv: DirectConv,
    pool: Option<usize>,
}

impl CropNet {
    /// The heads' outputs for each window of the picture.
    fn forward<const HEADS: usize>(&self, picture: &RgbImage, windows: &[Window]) -> Vec<[f32; HEADS]> {
        let blocks: Vec<Vec<[f32; HEADS]>> = windows
            .par_chunks(lanes())
            .map_init(Scratch::default, |scratch, windows| self.block(picture, windows, scratch))
            .collect();
        blocks.concat()
    }

    fn block<const HEADS: usize>(
        &self,
        picture: &RgbImage,
        windows: &[Window],
        scratch: &mut Scratch,
    ) -> Vec<[f32; HEADS]> {
        let Scratch(a, b) = scratch;
        let (lanes, side) = (lanes(), self.input_px);
        a.reshape(3, side, side * lanes); // lanes without a crop keep what they have: nobody reads their outputs
        let size = LevelSize { width: side, height: side };
        for (lane, window) in windows.iter().enumerate() {
            area_resize_rows(picture, *window, size, 0..side, &mut a.values, |channel, y, x| {
                ((channel * side + y) * side + x) * lanes + lane
            });
        }
        for Layer { conv, pool } in &self.layers {
            conv.forward(a, lanes, b);
            match pool {
                Some(kernel) => max_pool_lanes(b, *kernel, a),
                None => std::mem::swap(a, b),
            }
        }
        // What is left of the picture becomes channels: [c, h, w · lanes] is [c · h · w, 1, lanes] already.
        let pixels = a.rows * a.row / lanes;
        (a.channels, a.rows, a.row) = (a.channels * pixels, 1, lanes);
        self.dense.forward(a, lanes, b);
        self.heads.forward(b, lanes, a); // [heads, 1, lanes]
        (0..windows.len()).map(|lane| std::array::from_fn(|head| a.values[head * lanes + lane])).collect()
    }
}

fn conv_prelu(w: &Weights, i: usize, inputs: usize, outputs: usize, kernel: usize) -> Result<DirectConv, NetworkError> {
    let weight = values(w, &format!("conv{i}.weight"), &[outputs, inputs, kernel, kernel])?;
    let bias = values(w, &format!("conv{i}.bias"), &[outputs])?;
    let slopes = values(w, &format!("prelu{i}.weight"), &[outputs])?;
    Ok(DirectConv::new(&weight, &bias, Some(&slopes), inputs, kernel))
}

/// A dense layer over 3 × 3 pixels of `channels`, as a 1 × 1 convolution. The checkpoint counts (w, h, c), we (c, h, w).
fn dense_prelu(
    w: &Weights,
    name: &str,
    prelu: &str,
    channels: usize,
    outputs: usize,
) -> Result<DirectConv, NetworkError> {
    const SIDE: usize = 3;
    let inputs = channels * SIDE * SIDE;
    let theirs = values(w, &format!("{name}.weight"), &[outputs, inputs])?;
    let mut ours = Vec::with_capacity(theirs.len());
    for row in theirs.chunks_exact(inputs) {
        for channel in 0..channels {
            for y in 0..SIDE {
                for x in 0..SIDE {
                    ours.push(row[(x * SIDE + y) * channels + channel]);
                }
            }
        }
    }
    let bias = values(w, &format!("{name}.bias"), &[outputs])?;
    let slopes = values(w, &format!("{prelu}.weight"), &[outputs])?;
    Ok(DirectConv::new(&ours, &bias, Some(&slopes), inputs, 1))
}

/// Several heads over the same inputs as one convolution of 1 × 1.
fn heads(w: &Weights, parts: &[(&str, usize)], input_shape: &[usize]) -> Result<DirectConv, NetworkError> {
    let (mut weight, mut bias) = (vec![], vec![]);
    for (name, outputs) in parts {
        let shape: Vec<usize> = std::iter::once(*outputs).chain(input_shape.iter().copied()).collect();
        weight.extend(values(w, &format!("{name}.weight"), &shape)?);
        bias.extend(values(w, &format!("{name}.bias"), &[*outputs])?);
    }
    Ok(DirectConv::new(&weight, &bias, None, input_shape.iter().product(), 1))
}

fn values(w: &Weights, name: &str, shape: &[usize]) -> Result<Vec<f32>, NetworkError> {
    Ok(w.get(name, shape)?.flatten_all()?.to_vec1()?)
}
