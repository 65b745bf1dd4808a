//! The vision tower in candle's operations, for any device. In: normalised pictures. Out: the class token, before and
//! after the projection.

use candle_core::Tensor;

use super::block::Block;
use super::config::ClipVisionConfig;
use super::layers::{LayerNorm, Linear};
use super::vision::Embeddings;
use crate::networks::NetworkError;
use crate::networks::weights::Weights;

/// A vision transformer as CLIP has it: layer norms before each block, a class token, learned positions.
#[derive(Debug)]
pub(super) struct CandleVision {
    config: ClipVisionConfig,
    patches: Linear,
    class_token: Tensor, // [1, 1, hidden]
    positions: Tensor,   // [1, 1 + n, hidden]
    norm_in: LayerNorm,
    blocks: Vec<Block>,
    norm_out: LayerNorm,
    projection: Linear,
}

impl CandleVision {
    pub fn new(config: ClipVisionConfig, w: &Weights) -> Result<Self, NetworkError> {
        let (hidden, patch_px) = (config.hidden, config.patch_px);
        let embeddings = "vision_model.embeddings";
        let patches = w
            .get(&format!("{embeddings}.patch_embedding.weight"), &[hidden, 3, patch_px, patch_px])?
            .reshape((hidden, 3 * patch_px * patch_px))?;
        let class_token = w.get(&format!("{embeddings}.class_embedding"), &[hidden])?.reshape((1, 1, hidden))?;
        let positions =
            w.get(&format!("{embeddings}.position_embedding.weight"), &[config.tokens(), hidden])?.unsqueeze(0)?; // [1, 1 + n, hidden]
        let epsilon = config.layer_norm_epsilon;
        let blocks = (0..config.layers)
            .map(|i| Block::new(w, &format!("vision_model.encoder.layers.{i}"), config.block()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            patches: Linear::from_parts(&patches, None)?,
            class_token,
            positions,
            // The misspelling is the checkpoint's.
            norm_in: LayerNorm::new(w, "vision_model.pre_layrnorm", hidden, epsilon)?,
            blocks,
            norm_out: LayerNorm::new(w, "vision_model.post_layernorm", hidden, epsilon)?,
            projection: Linear::from_parts(&w.get("visual_projection.weight", &[config.projection, hidden])?, None)?,
            config,
        })
    }

    /// `pixels`: [b, 3, `image_px`, `image_px`], normalised.
    pub fn forward(&self, pixels: &Tensor) -> Result<Embeddings, NetworkError> {
        let mut x = self.norm_in.forward(&self.tokens(pixels)?)?; // [b, 1 + n, hidden]
        for block in &self.blocks {
            x = block.forward(&x, None)?;
        }
        let pooled = self.norm_out.forward(&x.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?)?; // [b, hidden]
        let projected = self.projection.forward(&pooled)?; // [b, projection]
        Ok(Embeddings { pooled, projected })
    }

    /// The projected output for pooled vectors that were stored: [b, hidden] → [b, projection].
    pub fn project(&self, pooled: &Tensor) -> Result<Tensor, NetworkError> {
        Ok(self.projection.forward(pooled)?)
    }

    fn tokens(&self, pixels: &Tensor) -> candle_core::Result<Tensor> {
        let p = self.config.patch_px;
        let grid = self.config.image_px / p;
        let (b, _, _, _) = pixels.dims4()?;
        let side = grid * p; // a side that is no multiple of the patch loses its rest, as a strided convolution does
        let patches = pixels
            .narrow(2, 0, side)?
            .narrow(3, 0, side)?
            .reshape((b, 3, grid, p, grid * p))?
            .reshape(&[b, 3, grid, p, grid, p][..])?
            .permute(&[0, 2, 4, 1, 3, 5][..])? // [b, grid, grid, 3, p, p]
            .reshape((b, grid * grid, 3 * p * p))?;
        let patches = self.patches.forward(&patches)?; // [b, n, hidden]
        let class = self.class_token.broadcast_as((b, 1, self.config.hidden))?;
        Tensor::cat(&[&class, &patches], 1)?.broadcast_add(&self.positions) // [b, 1 + n, hidden]
    }
}
