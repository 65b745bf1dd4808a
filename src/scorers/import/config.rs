//! The shape of a CLIP checkpoint, read off its tensors → `config.json`.
//!
//! Two things cannot be seen in weights: the activation, which is asked for, and the number of heads, which follows
//! from the width in every published CLIP ([`heads_of_width`]) and can be given where it does not.

use serde_json::{Value, json};

use crate::networks::weights::Weights;

/// One of the two towers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TowerShape {
    pub(super) width: usize,
    pub(super) layers: usize,
    pub(super) intermediate: usize,
    pub(super) heads: usize,
    pub(super) projection: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VisionShape {
    pub(super) tower: TowerShape,
    pub(super) patch_px: usize,
    pub(super) image_px: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextShape {
    pub(super) tower: TowerShape,
    pub(super) vocabulary: usize,
    pub(super) context: usize,
}

/// Every tensor that a tower must have, with its shape.
pub(super) type Expected = Vec<(String, Vec<usize>)>;

impl VisionShape {
    /// # Errors
    /// One line that names the tensor that is missing or cannot be of a CLIP tower.
    pub(super) fn read(weights: &Weights, heads: Option<usize>) -> Result<Self, String> {
        let patches = "vision_model.embeddings.patch_embedding.weight";
        let (width, patch_px) = match shape(weights, patches)? {
            [width, 3, side, other] if side == other && *side > 0 => (*width, *side),
            found => return Err(format!("tensor {patches:?}: expected shape [width, 3, side, side], found {found:?}")),
        };
        let positions = "vision_model.embeddings.position_embedding.weight";
        let [count, _] = matrix(weights, positions)?;
        let grid = count.saturating_sub(1).isqrt();
        if grid == 0 || grid * grid + 1 != count {
            return Err(format!(
                "tensor {positions:?}: expected a square of patches and the class token (n² + 1 rows), found {count} rows"
            ));
        }
        let heads = heads_of_width(width, heads).ok_or_else(|| {
            format!(
                "expected a tower as wide as a published one, or a multiple of 64, found {width}: the number of heads \
                 cannot be seen in the weights; give it with --heads"
            )
        })?;
        let [projection, _] = matrix(weights, "visual_projection.weight")?;
        let tower = TowerShape::read(weights, "vision_model", width, heads, projection)?;
        Ok(Self { tower, patch_px, image_px: grid * patch_px })
    }

    pub(super) fn expected(&self) -> Expected {
        let TowerShape { width, projection, .. } = self.tower;
        let tokens = (self.image_px / self.patch_px).pow(2) + 1;
        let mut expected = self.tower.expected("vision_model");
        let embeddings = "vision_model.embeddings";
        let patch = vec![width, 3, self.patch_px, self.patch_px];
        expected.push((format!("{embeddings}.patch_embedding.weight"), patch));
        expected.push((format!("{embeddings}.class_embedding"), vec![width]));
        expected.push((format!("{embeddings}.position_embedding.weight"), vec![tokens, width]));
        expected.extend(norm("vision_model.pre_layrnorm", width));
        expected.extend(norm("vision_model.post_layernorm", width));
        expected.push(("visual_projection.weight".to_owned(), vec![projection, width]));
        expected
    }

    fn json(&self, activation: &str) -> Value {
        let mut vision = self.tower.json(activation);
        vision["model_type"] = "clip_vision_model".into();
        vision["image_size"] = self.image_px.into();
        vision["patch_size"] = self.patch_px.into();
        vision["num_channels"] = 3.into();
        vision
    }
}

impl TextShape {
    /// # Errors
    /// One line that names the tensor that is missing or cannot be of a CLIP tower.
    pub(super) fn read(weights: &Weights) -> Result<Self, String> {
        let [vocabulary, width] = matrix(weights, "text_model.embeddings.token_embedding.weight")?;
        let [context, _] = matrix(weights, "text_model.embeddings.position_embedding.weight")?;
        let [projection, _] = matrix(weights, "text_projection.weight")?;
        let heads = if width.is_multiple_of(64) { width / 64 } else { 1 };
        let tower = TowerShape::read(weights, "text_model", width, heads, projection)?;
        Ok(Self { tower, vocabulary, context })
    }

    pub(super) fn expected(&self) -> Expected {
        let TowerShape { width, projection, .. } = self.tower;
        let mut expected = self.tower.expected("text_model");
        let embeddings = "text_model.embeddings";
        expected.push((format!("{embeddings}.token_embedding.weight"), vec![self.vocabulary, width]));
        expected.push((format!("{embeddings}.position_embedding.weight"), vec![self.context, width]));
        expected.extend(norm("text_model.final_layer_norm", width));
        expected.push(("text_projection.weight".to_owned(), vec![projection, width]));
        expected
    }

    fn json(&self, activation: &str) -> Value {
        let mut text = self.tower.json(activation);
        text["model_type"] = "clip_text_model".into();
        text["vocab_size"] = self.vocabulary.into();
        text["max_position_embeddings"] = self.context.into();
        // CLIP's vocabulary ends with these two.
        text["bos_token_id"] = self.vocabulary.saturating_sub(2).into();
        text["eos_token_id"] = self.vocabulary.saturating_sub(1).into();
        text
    }
}

impl TowerShape {
    fn read(weights: &Weights, name: &str, width: usize, heads: usize, projection: usize) -> Result<Self, String> {
        let start = format!("{name}.encoder.layers.");
        let layers =
            weights.shapes().filter_map(|(name, _)| name.strip_prefix(&start)?.split('.').next()?.parse().ok());
        // A layer that is left out between others is missed by name afterwards.
        let layers = layers.max().map_or(0, |last: usize| last.saturating_add(1));
        let [intermediate, _] = matrix(weights, &format!("{start}0.mlp.fc1.weight"))?;
        if layers > MAX_LAYERS {
            return Err(format!("expected at most {MAX_LAYERS} layers of {name}, found layer {}", layers - 1));
        }
        Ok(Self { width, layers, intermediate, heads, projection })
    }

    fn expected(&self, name: &str) -> Expected {
        let Self { width, intermediate, .. } = *self;
        let mut expected = vec![];
        for layer in (0..self.layers).map(|i| format!("{name}.encoder.layers.{i}")) {
            for (linear, inputs, outputs) in [
                ("self_attn.q_proj", width, width),
                ("self_attn.k_proj", width, width),
                ("self_attn.v_proj", width, width),
                ("self_attn.out_proj", width, width),
                ("mlp.fc1", width, intermediate),
                ("mlp.fc2", intermediate, width),
            ] {
                expected.push((format!("{layer}.{linear}.weight"), vec![outputs, inputs]));
                expected.push((format!("{layer}.{linear}.bias"), vec![outputs]));
            }
            expected.extend(norm(&format!("{layer}.layer_norm1"), width));
            expected.extend(norm(&format!("{layer}.layer_norm2"), width));
        }
        expected
    }

    fn json(&self, activation: &str) -> Value {
        json!({
            "hidden_size": self.width,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "projection_dim": self.projection,
            "hidden_act": activation,
            "layer_norm_eps": LAYER_NORM_EPSILON,
        })
    }
}

/// PyTorch's default, which every CLIP kept.
const LAYER_NORM_EPSILON: f64 = 1e-5;
/// Ten times the deepest published tower.
const MAX_LAYERS: usize = 512;

/// `config.json` as transformers reads it.
pub(super) fn config_json(vision: &VisionShape, text: Option<&TextShape>, activation: &str) -> String {
    let config = match text {
        Some(text) => json!({
            "architectures": ["CLIPModel"],
            "model_type": "clip",
            "projection_dim": vision.tower.projection,
            "vision_config": vision.json(activation),
            "text_config": text.json(activation),
        }),
        None => {
            let mut config = vision.json(activation);
            config["architectures"] = json!(["CLIPVisionModelWithProjection"]);
            config
        }
    };
    format!("{config:#}\n")
}

/// 64 numbers to a head up to L; H, g and bigG have sixteen heads however wide they are.
fn heads_of_width(width: usize, given: Option<usize>) -> Option<usize> {
    match (given, width) {
        (Some(given), _) => (given > 0 && width.is_multiple_of(given)).then_some(given),
        (None, 1280 | 1408 | 1664) => Some(16),
        (None, width) => (width > 0 && width.is_multiple_of(64)).then_some(width / 64),
    }
}

fn norm(name: &str, width: usize) -> Expected {
    ["weight", "bias"].map(|part| (format!("{name}.{part}"), vec![width])).to_vec()
}

fn shape<'a>(weights: &'a Weights, name: &str) -> Result<&'a [usize], String> {
    let found = weights.shapes().find(|(found, _)| *found == name).map(|(_, shape)| shape);
    found.ok_or_else(|| format!("expected a tensor {name:?}, found none"))
}

fn matrix(weights: &Weights, name: &str) -> Result<[usize; 2], String> {
    let found = shape(weights, name)?;
    found.try_into().map_err(|_| format!("tensor {name:?}: expected a matrix, found shape {found:?}"))
}
