//! `text_config` of a CLIP configuration → [`ClipTextConfig`], valid by construction.

use std::path::Path;

use serde::Deserialize;

use super::block::BlockShape;
use super::config::{Activation, MAX_LAYERS, MAX_WIDTH, check_range, read_config};
use crate::networks::NetworkError;

/// The shape of a text tower. Made by parsing only, so that every field is in range.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipTextConfig {
    /// Rows of the token embedding: CLIP's has 49,408.
    pub vocabulary: usize,
    /// Width of the residual stream: 512 beside B, 768 beside L.
    pub hidden: usize,
    pub intermediate: usize,
    pub layers: usize,
    pub heads: usize,
    /// The most tokens a text may have, those that open and close it included: CLIP's 77.
    pub context: usize,
    /// Width of the projected output, the same as the vision tower's.
    pub projection: usize,
    pub activation: Activation,
    pub layer_norm_epsilon: f64,
    pub pooled_at: PooledAt,
}

/// The place whose output stands for the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PooledAt {
    /// The first of the largest id. OpenAI's and LAION's configurations ask for it by an `eos_token_id` of 2, which
    /// is wrong and which transformers takes as this; CLIP's `<|endoftext|>` is the last of its vocabulary.
    LargestId,
    /// The first of this id.
    Id(u32),
}

impl ClipTextConfig {
    /// # Errors
    /// A file that is missing, that says nothing of a text tower, or has values that no tower can have.
    pub fn read(path: &Path) -> Result<Self, NetworkError> {
        read_config(path, Self::parse)
    }

    /// Reads a full CLIP configuration (its `text_config`) or one of the text tower alone.
    ///
    /// # Errors
    /// One line that says what was expected and what was found.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: ConfigFile = serde_json::from_str(text).map_err(|e| format!("expected JSON of CLIP: {e}"))?;
        let model_type = file.model_type.as_deref().unwrap_or("clip");
        if !model_type.starts_with("clip") {
            return Err(format!("expected model_type \"clip\" or \"clip_text_model\", found {model_type:?}"));
        }
        let tower: TextFile = match file.text_config {
            Some(tower) => tower,
            None if model_type == "clip_text_model" => serde_json::from_str(text).map_err(|e| e.to_string())?,
            None => return Err(format!("text_config: expected the text tower's settings, found none ({model_type})")),
        };
        // The defaults are those of transformers' CLIPTextConfig, which omits fields that equal them.
        let config = Self {
            vocabulary: tower.vocab_size.unwrap_or(49_408),
            hidden: tower.hidden_size.unwrap_or(512),
            intermediate: tower.intermediate_size.unwrap_or(2_048),
            layers: tower.num_hidden_layers.unwrap_or(12),
            heads: tower.num_attention_heads.unwrap_or(8),
            context: tower.max_position_embeddings.unwrap_or(77),
            projection: file.projection_dim.or(tower.projection_dim).unwrap_or(512),
            activation: Activation::named(tower.hidden_act.as_deref())?,
            layer_norm_epsilon: tower.layer_norm_eps.unwrap_or(1e-5),
            pooled_at: match tower.eos_token_id.unwrap_or(49_407) {
                2 => PooledAt::LargestId,
                id => PooledAt::Id(id),
            },
        };
        config.check()?;
        Ok(config)
    }

    pub(super) fn block(&self) -> BlockShape {
        BlockShape {
            hidden: self.hidden,
            intermediate: self.intermediate,
            heads: self.heads,
            activation: self.activation,
            layer_norm_epsilon: self.layer_norm_epsilon,
        }
    }

    fn check(&self) -> Result<(), String> {
        check_range("vocab_size", self.vocabulary, 4_000_000)?; // a multilingual vocabulary has up to a million
        check_range("num_hidden_layers", self.layers, MAX_LAYERS)?;
        check_range("max_position_embeddings", self.context, 4_096)?; // LongCLIP has 248
        check_range("projection_dim", self.projection, MAX_WIDTH)?;
        self.block().check()
    }
}

#[derive(Deserialize)]
struct ConfigFile {
    model_type: Option<String>,
    projection_dim: Option<usize>,
    text_config: Option<TextFile>,
}

#[derive(Deserialize)]
struct TextFile {
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    max_position_embeddings: Option<usize>,
    projection_dim: Option<usize>,
    hidden_act: Option<String>,
    layer_norm_eps: Option<f64>,
    eos_token_id: Option<u32>,
}
