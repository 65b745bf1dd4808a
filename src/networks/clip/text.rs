//! The text tower. In: the tokens of texts. Out: one projected vector for each.

use std::path::Path;

use candle_core::{Device, Tensor};

use super::attention::causal_mask;
use super::block::Block;
use super::layers::{LayerNorm, Linear};
use super::text_config::{ClipTextConfig, PooledAt};
use crate::networks::NetworkError;
use crate::networks::weights::Weights;

/// The tensor by which a checkpoint with a text tower is known.
pub const TOKEN_EMBEDDING: &str = "text_model.embeddings.token_embedding.weight";

/// A text transformer as CLIP has it: learned positions, layer norms before each half of a block, and each token
/// sees only those before it. Source: transformers' `CLIPTextModelWithProjection`.
#[derive(Debug)]
pub struct ClipText {
    config: ClipTextConfig,
    tokens: Tensor,    // [vocabulary, hidden]
    positions: Tensor, // [context, hidden]
    blocks: Vec<Block>,
    norm_out: LayerNorm,
    projection: Linear,
}

impl ClipText {
    /// Reads `config.json` and the weights of a transformers CLIP folder.
    ///
    /// # Errors
    /// Whatever is missing or misshapen, by name.
    pub fn open(folder: &Path, device: &Device) -> Result<Self, NetworkError> {
        let config = ClipTextConfig::read(&folder.join("config.json"))?;
        Self::new(config, &Weights::open(folder, device)?)
    }

    /// # Errors
    /// A tensor that is missing or misshapen, by name.
    pub fn new(config: ClipTextConfig, w: &Weights) -> Result<Self, NetworkError> {
        let hidden = config.hidden;
        let blocks = (0..config.layers)
            .map(|i| Block::new(w, &format!("text_model.encoder.layers.{i}"), config.block()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            tokens: w.get(TOKEN_EMBEDDING, &[config.vocabulary, hidden])?,
            positions: w.get("text_model.embeddings.position_embedding.weight", &[config.context, hidden])?,
            blocks,
            norm_out: LayerNorm::new(w, "text_model.final_layer_norm", hidden, config.layer_norm_epsilon)?,
            projection: Linear::from_parts(&w.get("text_projection.weight", &[config.projection, hidden])?, None)?,
            config,
        })
    }

    #[must_use]
    pub fn config(&self) -> &ClipTextConfig {
        &self.config
    }

    /// Texts as their tokens, of any lengths up to `context` → [texts, projection], not normalised.
    ///
    /// # Errors
    /// No text, a text of no or too many tokens, a token outside the vocabulary or none to pool at; a device that
    /// fails.
    pub fn forward(&self, texts: &[Vec<u32>]) -> Result<Tensor, NetworkError> {
        let places = texts.iter().map(|ids| self.pooled_place(ids)).collect::<Result<Vec<_>, _>>()?;
        let n = texts.iter().map(Vec::len).max().unwrap_or(0);
        if n == 0 {
            return Err(NetworkError::Weights("text tower: expected at least one text, found none".to_owned()));
        }
        // What fills up the shorter texts stands after the pooled place, which sees only what is before it.
        let ids: Vec<u32> =
            texts.iter().flat_map(|ids| ids.iter().copied().chain(std::iter::repeat(0)).take(n)).collect();
        let rows: Vec<u32> = places.iter().zip(0..).map(|(place, text)| text * n as u32 + place).collect();

        let device = self.tokens.device();
        let (b, hidden) = (texts.len(), self.config.hidden);
        let tokens = self.tokens.index_select(&Tensor::new(ids, device)?, 0)?.reshape((b, n, hidden))?;
        let mut x = tokens.broadcast_add(&self.positions.narrow(0, 0, n)?)?; // [b, n, hidden]
        let mask = causal_mask(n, device)?;
        for block in &self.blocks {
            x = block.forward(&x, Some(&mask))?;
        }
        let pooled = x.reshape((b * n, hidden))?.index_select(&Tensor::new(rows, device)?, 0)?; // [b, hidden]
        Ok(self.projection.forward(&self.norm_out.forward(&pooled)?)?)
    }

    fn pooled_place(&self, ids: &[u32]) -> Result<u32, NetworkError> {
        let ClipTextConfig { context, vocabulary, pooled_at, .. } = self.config;
        let wrong = |what: String| Err(NetworkError::Weights(format!("text tower: {what}")));
        if !(1..=context).contains(&ids.len()) {
            return wrong(format!("expected a text of 1 to {context} tokens, found {}", ids.len()));
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocabulary) {
            return wrong(format!("expected tokens below {vocabulary}, found {id}: the tokenizer is another tower's"));
        }
        let pooled_id = match pooled_at {
            PooledAt::LargestId => ids.iter().copied().max().unwrap_or(0),
            PooledAt::Id(id) => id,
        };
        match (0..).zip(ids).find(|(_, id)| **id == pooled_id) {
            Some((place, _)) => Ok(place),
            None => wrong(format!("expected token {pooled_id} (eos_token_id) in every text, found one without")),
        }
    }
}
