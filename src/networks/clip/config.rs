//! `config.json` of a transformers CLIP folder → [`ClipVisionConfig`], valid by construction.

use std::path::Path;

use serde::Deserialize;

use super::block::BlockShape;
use crate::networks::NetworkError;

/// The shape of a vision tower. Made by parsing only, so that every field is in range.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipVisionConfig {
    /// Width of the residual stream: 768 for B, 1024 for L.
    pub hidden: usize,
    pub intermediate: usize,
    pub layers: usize,
    pub heads: usize,
    /// Side of the square input.
    pub image_px: usize,
    /// Side of a square patch.
    pub patch_px: usize,
    /// Width of the projected output: 512 for B, 768 for L.
    pub projection: usize,
    pub activation: Activation,
    pub layer_norm_epsilon: f64,
}

/// The two that CLIP checkpoints use; they are not interchangeable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x · sigmoid(1.702 x): OpenAI's weights.
    QuickGelu,
    /// x · Φ(x), with the error function: LAION's weights.
    Gelu,
}

impl Activation {
    /// `hidden_act` of a configuration; transformers leaves it out where it is its default.
    pub(super) fn named(hidden_act: Option<&str>) -> Result<Self, String> {
        match hidden_act.unwrap_or("quick_gelu") {
            "quick_gelu" => Ok(Self::QuickGelu),
            "gelu" => Ok(Self::Gelu),
            other => Err(format!("hidden_act: expected \"quick_gelu\" or \"gelu\", found {other:?}")),
        }
    }
}

impl ClipVisionConfig {
    /// # Errors
    /// A file that is missing, no CLIP configuration, or one with values that no tower can have.
    pub fn read(path: &Path) -> Result<Self, NetworkError> {
        read_config(path, Self::parse)
    }

    /// Reads a full CLIP configuration (with `vision_config`) or one of the vision tower alone.
    ///
    /// # Errors
    /// One line that says what was expected and what was found.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: ConfigFile = serde_json::from_str(text).map_err(|e| format!("expected JSON of CLIP: {e}"))?;
        if let Some(kind) = file.model_type.as_deref().filter(|kind| !kind.starts_with("clip")) {
            return Err(format!("expected model_type \"clip\" or \"clip_vision_model\", found {kind:?}"));
        }
        let projection = file.projection_dim;
        let vision = match file.vision_config {
            Some(vision) => vision,
            None => serde_json::from_str(text).map_err(|e| e.to_string())?,
        };
        // The defaults are those of transformers' CLIPVisionConfig, which omits fields that equal them.
        let config = Self {
            hidden: vision.hidden_size.unwrap_or(768),
            intermediate: vision.intermediate_size.unwrap_or(3072),
            layers: vision.num_hidden_layers.unwrap_or(12),
            heads: vision.num_attention_heads.unwrap_or(12),
            image_px: vision.image_size.unwrap_or(224),
            patch_px: vision.patch_size.unwrap_or(32),
            projection: projection.or(vision.projection_dim).unwrap_or(512),
            activation: Activation::named(vision.hidden_act.as_deref())?,
            layer_norm_epsilon: vision.layer_norm_eps.unwrap_or(1e-5),
        };
        config.check()?;
        Ok(config)
    }

    /// Patches along a side, squared, and the class token.
    #[must_use]
    pub fn tokens(&self) -> usize {
        let grid = self.image_px / self.patch_px;
        grid * grid + 1
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
        check_range("num_hidden_layers", self.layers, MAX_LAYERS)?;
        check_range("image_size", self.image_px, 4_096)?;
        check_range("patch_size", self.patch_px, self.image_px)?;
        check_range("projection_dim", self.projection, MAX_WIDTH)?;
        self.block().check()
    }
}

// Ten times the largest published tower (bigG: 1664 wide, 48 layers); beyond that it is a damaged file.
pub(super) const MAX_WIDTH: usize = 16_384;
pub(super) const MAX_LAYERS: usize = 512;

/// Reads a file and has `parse` make a configuration of it; what either finds wrong names the file.
pub(super) fn read_config<T>(path: &Path, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, NetworkError> {
    let origin = path.display().to_string();
    let text = crate::files::read_text(path)
        .map_err(|e| NetworkError::Weights(format!("tower configuration {origin:?}: cannot be read: {e}")))?;
    parse(&text).map_err(|e| NetworkError::Weights(format!("tower configuration {origin:?}: {e}")))
}

pub(super) fn check_range(name: &str, value: usize, max: usize) -> Result<(), String> {
    if (1..=max).contains(&value) { Ok(()) } else { Err(format!("{name}: expected 1 to {max}, found {value}")) }
}

#[derive(Deserialize)]
struct ConfigFile {
    model_type: Option<String>,
    projection_dim: Option<usize>,
    vision_config: Option<VisionFile>,
}

#[derive(Deserialize)]
struct VisionFile {
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    image_size: Option<usize>,
    patch_size: Option<usize>,
    projection_dim: Option<usize>,
    hidden_act: Option<String>,
    layer_norm_eps: Option<f64>,
}
