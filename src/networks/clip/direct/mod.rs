//! The vision tower on a CPU: the same numbers as the candle tower beside this folder, at half its time or less.
//!
//! In: pictures. Out: the class token, before and after the projection. Weights are packed once; bias, activation and
//! residual are part of the products; heads read queries, keys and values where the products left them; and behind
//! the last attention only class tokens go on. Work goes to the threads of the pool that this is called in. The
//! buffers are kept from call to call. Never a row of one picture in another's.

mod block;
mod patches;
mod product;
mod shelf;

use candle_core::{Device, Tensor};
use deepsweep_kernels::{Finish, HeadScratch, LayerNorm, PackedMatrix};

use self::block::DirectBlock;
pub(super) use self::patches::Pictures;
use self::product::normalise;
pub(super) use self::product::{Picked, multiply};
use self::shelf::Shelf;
use super::config::ClipVisionConfig;
use super::projection::Projection;
use super::vision::Embeddings;
use crate::networks::NetworkError;
use crate::networks::weights::Weights;

#[derive(Debug)]
pub(super) struct DirectVision {
    patch_px: usize,
    image_px: usize,
    hidden: usize,
    patches: PackedMatrix, // [3 · p², hidden]
    /// [1 + n, hidden]: the learned positions, the class token added to the first.
    positions: Vec<f32>,
    norm_in: LayerNorm,
    blocks: Vec<DirectBlock>,
    norm_out: LayerNorm,
    projection: Projection,
    buffers: Shelf<Buffers>,
}

/// What one pass works in. A row is a token of a picture, the class token first.
#[derive(Debug, Default)]
struct Buffers {
    stream: Vec<f32>,      // [b · (1 + n), hidden], what the blocks add to
    normal: Vec<f32>,      // [b · (1 + n), hidden], a layer norm of it; then what attention mixed
    queries: Vec<f32>,     // [b · (1 + n), hidden]
    keys_values: Vec<f32>, // [b · (1 + n), 2 · hidden]
    wide: Vec<f32>,        // [b · (1 + n), intermediate], or [b · n, 3 · p²]
    heads: Shelf<HeadScratch>,
}

impl DirectVision {
    pub(super) fn new(config: &ClipVisionConfig, w: &Weights) -> Result<Self, NetworkError> {
        let (hidden, patch_px) = (config.hidden, config.patch_px);
        let embeddings = "vision_model.embeddings";
        let patches = values(w, &format!("{embeddings}.patch_embedding.weight"), &[hidden, 3, patch_px, patch_px])?;
        let class_token = values(w, &format!("{embeddings}.class_embedding"), &[hidden])?;
        let mut positions = values(w, &format!("{embeddings}.position_embedding.weight"), &[config.tokens(), hidden])?;
        positions.iter_mut().zip(class_token).for_each(|(position, class)| *position += class);
        let epsilon = config.layer_norm_epsilon;
        let blocks = (0..config.layers)
            .map(|i| DirectBlock::new(w, &format!("vision_model.encoder.layers.{i}"), config.block()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            patch_px,
            image_px: config.image_px,
            hidden,
            patches: PackedMatrix::new(&patches, None, 3 * patch_px * patch_px),
            positions,
            // The misspelling is the checkpoint's.
            norm_in: layer_norm(w, "vision_model.pre_layrnorm", hidden, epsilon)?,
            blocks,
            norm_out: layer_norm(w, "vision_model.post_layernorm", hidden, epsilon)?,
            projection: Projection::new(config, w)?,
            buffers: Shelf::default(),
        })
    }

    pub(super) fn forward(&self, pictures: &Pictures) -> Result<Embeddings, NetworkError> {
        let pooled = self.buffers.lend(|buffers| self.pooled(pictures, buffers)); // [b, hidden]
        let projected = self.project(&pooled)?; // [b, projection]
        let pooled = Tensor::from_vec(pooled, ((), self.hidden), &Device::Cpu)?;
        Ok(Embeddings { pooled, projected })
    }

    /// [b, hidden] → [b, projection]
    pub(super) fn project(&self, pooled: &[f32]) -> Result<Tensor, NetworkError> {
        Ok(Tensor::from_vec(self.projection.project(pooled), ((), self.projection.width()), &Device::Cpu)?)
    }

    fn pooled(&self, pictures: &Pictures, buffers: &mut Buffers) -> Vec<f32> {
        let (hidden, b) = (self.hidden, pictures.len(self.image_px));
        let tokens = self.positions.len() / hidden;
        let grid = self.image_px / self.patch_px;
        buffers.make_room(b * tokens, hidden);

        let patch_values = self.patches.depth();
        fit(&mut buffers.wide, b * (tokens - 1) * patch_values);
        patches::gather(pictures, self.image_px, self.patch_px, grid, &mut buffers.wide); // [b · n, 3 · p²]
        for picture in buffers.normal.chunks_exact_mut(self.positions.len()) {
            picture.copy_from_slice(&self.positions);
        }
        let behind_class = Picked { of: tokens, from: 1, count: tokens - 1, width: hidden };
        let patch_rows = Picked::all(patch_values);
        let targets = behind_class.rows_mut(&mut buffers.normal);
        multiply(patch_rows.rows(&buffers.wide), &self.patches, Finish::Add, targets);
        let all = Picked::all(hidden);
        normalise(&self.norm_in, &all.rows(&buffers.normal), all.rows_mut(&mut buffers.stream));

        // Of the last block nothing but the class tokens is read.
        let last = self.blocks.len() - 1;
        for (i, block) in self.blocks.iter().enumerate() {
            block.forward(buffers, tokens, if i == last { 1 } else { tokens });
        }
        let class = Picked { of: tokens, from: 0, count: 1, width: hidden };
        let mut pooled = vec![0.0; b * hidden];
        normalise(&self.norm_out, &class.rows(&buffers.stream), all.rows_mut(&mut pooled));
        pooled
    }
}

impl Buffers {
    fn make_room(&mut self, rows: usize, hidden: usize) {
        fit(&mut self.stream, rows * hidden);
        fit(&mut self.normal, rows * hidden);
        fit(&mut self.queries, rows * hidden);
        fit(&mut self.keys_values, rows * 2 * hidden);
    }
}

/// Another length; what the values were before is of no meaning after.
fn fit(buffer: &mut Vec<f32>, length: usize) {
    buffer.resize(length, 0.0);
}

fn layer_norm(w: &Weights, name: &str, width: usize, epsilon: f64) -> Result<LayerNorm, NetworkError> {
    Ok(LayerNorm {
        weight: values(w, &format!("{name}.weight"), &[width])?,
        bias: values(w, &format!("{name}.bias"), &[width])?,
        epsilon: epsilon as f32,
    })
}

fn values(w: &Weights, name: &str, shape: &[usize]) -> Result<Vec<f32>, NetworkError> {
    Ok(w.get(name, shape)?.flatten_all()?.to_vec1()?)
}
