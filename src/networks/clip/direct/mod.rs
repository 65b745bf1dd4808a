//! The vision tower on a CPU: the same numbers as the candle tower beside this folder, at about half its time.
//!
//! In: pictures. Out: the class token, before and after the projection. Weights are packed once; bias, activation and
//! residual are part of the products; heads read queries, keys and values where the products left them; and behind
//! the last attention only class tokens go on. Work goes to the threads of the pool that this is called in. The
//! buffers are kept from call to call. Never a row of one picture in another's: its numbers are the same to the last bit
//! whatever stands beside it.

mod block;
mod class;
mod patches;
mod product;

use candle_core::{Device, Tensor};
use deepsweep_kernels::{Bf16, Bits, Finish, HeadScratch, LayerNorm};
use rayon::prelude::*;

use self::block::DirectBlock;
use self::patches::Grid;
pub(super) use self::patches::Pictures;
use self::product::{Matrix, PART_ROWS, normalise, part_of, stride};
pub(super) use self::product::{Picked, multiply};
use super::config::ClipVisionConfig;
use super::projection::Projection;
use super::vision::Embeddings;
use crate::networks::NetworkError;
use crate::networks::spaces::Spaces;
use crate::networks::weights::Weights;

/// Layers that are read and packed side by side, which is most of the start of a run: each takes three times its largest
/// matrix meanwhile, 48 MB at L/14.
const LAYERS_AT_ONCE: usize = 4;

#[derive(Debug)]
pub(super) struct DirectVision {
    patch_px: usize,
    image_px: usize,
    hidden: usize,
    patches: Matrix, // [3 · p², hidden]
    /// [1 + n, hidden]: the learned positions, the class token added to the first.
    positions: Vec<f32>,
    norm_in: LayerNorm,
    blocks: Vec<DirectBlock>,
    norm_out: LayerNorm,
    projection: Projection,
    buffers: Spaces<Buffers>,
}

/// What one pass works in. A row is a token of a picture, the class token first; rows lie [`stride`] apart.
#[derive(Debug, Default)]
struct Buffers {
    stream: Vec<f32>,   // [b · (1 + n), hidden], what the blocks add to
    normal: Vec<f32>,   // [b · (1 + n), hidden], a layer norm of it; then what attention mixed
    looked: Vec<f32>,   // [b · (1 + n), 3 · hidden]: queries, keys and values
    class: Vec<f32>,    // [b, hidden], queries of the class tokens; then what attention mixed
    wide: Vec<f32>,     // [b · (1 + n), intermediate], or [b · n, 3 · p²]
    rounded: Vec<Bits>, // what is multiplied next, in bfloat16
    heads: Spaces<HeadScratch>,
}

impl DirectVision {
    /// `bf16`: None multiplies in `f32`.
    pub(super) fn new(config: &ClipVisionConfig, w: &Weights, bf16: Option<Bf16>) -> Result<Self, NetworkError> {
        let (hidden, patch_px) = (config.hidden, config.patch_px);
        let embeddings = "vision_model.embeddings";
        let patches = values(w, &format!("{embeddings}.patch_embedding.weight"), &[hidden, 3, patch_px, patch_px])?;
        let class_token = values(w, &format!("{embeddings}.class_embedding"), &[hidden])?;
        let mut positions = values(w, &format!("{embeddings}.position_embedding.weight"), &[config.tokens(), hidden])?;
        positions.iter_mut().zip(class_token).for_each(|(position, class)| *position += class);
        let epsilon = config.layer_norm_epsilon;
        let mut blocks = Vec::with_capacity(config.layers);
        let layers: Vec<usize> = (0..config.layers).collect();
        for layers in layers.chunks(LAYERS_AT_ONCE) {
            let read: Vec<_> = layers
                .par_iter()
                .map(|i| {
                    let name = format!("vision_model.encoder.layers.{i}");
                    DirectBlock::new(w, &name, config.block(), i + 1 == config.layers, bf16)
                })
                .collect();
            for block in read {
                blocks.push(block?);
            }
        }
        Ok(Self {
            patch_px,
            image_px: config.image_px,
            hidden,
            patches: Matrix::new(&patches, None, 3 * patch_px * patch_px, bf16),
            positions,
            // The misspelling is the checkpoint's.
            norm_in: layer_norm(w, "vision_model.pre_layrnorm", hidden, epsilon)?,
            blocks,
            norm_out: layer_norm(w, "vision_model.post_layernorm", hidden, epsilon)?,
            projection: Projection::new(config, w)?,
            buffers: Spaces::default(),
        })
    }

    pub(super) fn forward(&self, pictures: &Pictures) -> Result<Embeddings, NetworkError> {
        let (count, tokens) = (pictures.len(self.image_px), self.positions.len() / self.hidden);
        // Other threads have other pictures, and do not meet at every layer.
        let groups = count.div_ceil((PART_ROWS / tokens).max(1));
        let pooled = (0..groups).into_par_iter().flat_map_iter(|group| {
            let pictures = pictures.some(part_of(group, groups, count), self.image_px);
            self.buffers.with(Buffers::default, |buffers| self.pooled(&pictures, buffers))
        });
        let pooled: Vec<f32> = pooled.collect(); // [b, hidden]
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
        buffers.make_room(b * tokens, hidden);

        let patch_values = self.patches.depth();
        fit(&mut buffers.wide, b * (tokens - 1) * stride(patch_values));
        let grid = Grid { image_px: self.image_px, patch_px: self.patch_px, stride: stride(patch_values) };
        grid.gather(pictures, &mut buffers.wide); // [b · n, 3 · p²]
        let all = Picked::all_apart(hidden);
        let positions = self.positions.chunks_exact(hidden).cycle();
        for (row, position) in all.rows_mut(&mut buffers.normal).into_iter().zip(positions) {
            row.copy_from_slice(position);
        }
        let behind_class = Picked { of: tokens, from: 1, count: tokens - 1, ..all };
        let patch_rows = Picked::all_apart(patch_values).rows(&buffers.wide);
        let targets = behind_class.rows_mut(&mut buffers.normal);
        self.patches.multiply(patch_rows, Finish::Add, targets, &mut buffers.rounded);
        normalise(&self.norm_in, &all.rows(&buffers.normal), all.rows_mut(&mut buffers.stream));

        for block in &self.blocks {
            block.forward(buffers, tokens);
        }
        let class = Picked { of: tokens, from: 0, count: 1, ..all };
        let mut pooled = vec![0.0; b * hidden];
        normalise(&self.norm_out, &class.rows(&buffers.stream), Picked::all(hidden).rows_mut(&mut pooled));
        pooled
    }
}

impl Buffers {
    fn make_room(&mut self, rows: usize, hidden: usize) {
        fit(&mut self.stream, rows * stride(hidden));
        fit(&mut self.normal, rows * stride(hidden));
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
