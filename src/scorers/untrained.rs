//! `untrained-demo`: a small tower with seeded random weights.
//!
//! It needs no download and shows the whole way from a picture to a row. Its scores mean nothing, it says so
//! wherever it appears, and nothing picks it unless it is named.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};

use super::golden::Golden;
use super::head;
use super::load::tower_id;
use super::set::{Opened, Tower};
use super::{CropRecipe, Cut, EmbeddingRecipe, Head, InputRecipe, Scorer, Tap};
use crate::error::Error;
use crate::networks::NetworkError;
use crate::networks::clip::{Activation, ClipVisionConfig, Precision};
use crate::networks::preprocess::Resize;
use crate::networks::weights::Weights;

/// Changes the numbers, and therefore the version below.
const SEED: u64 = 0x6465_6570_7377_6565; // "deepswee"
pub(super) const VERSION: &str = "1";

/// A hundredth of B/32: start-up and scoring take no time that anyone would notice.
const CONFIG: ClipVisionConfig = ClipVisionConfig {
    hidden: 192,
    intermediate: 768,
    layers: 2,
    heads: 3,
    image_px: 224,
    patch_px: 32,
    projection: 64,
    activation: Activation::QuickGelu,
    layer_norm_epsilon: 1e-5,
};

/// Also the golden picture of scorers that are made on somebody's machine.
pub(super) const PICTURE: &[u8] = include_bytes!("../../models/untrained-demo/golden.png");

const LICENCE: &str = "none needed: random numbers";
const SOURCE: &str = "drawn at start-up from a fixed seed";

const RECIPE: CropRecipe = CropRecipe {
    cut: Cut::Box { margin: 0.3 },
    resize: Resize::ShortSide,
    size_px: 224,
    mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
    deviation: [0.268_629_55, 0.261_302_6, 0.275_777_1],
};

/// Said of whatever scores with it.
pub(super) const WARNING: &str = "scores of untrained-demo come from random weights and mean nothing";

/// Said of a scorer of somebody's own on this tower.
pub(super) const TOWER_WARNING: &str =
    "the tower is untrained-demo's, of random weights: an example of the way, and no detector";

/// What its scorer.toml would say, with [`head_file`] beside it.
pub(super) fn words() -> toml::Table {
    let input = [
        ("crop", toml::Value::from("box")),
        ("margin", 0.3.into()),
        ("resize", "short-side".into()),
        ("size_px", i64::from(RECIPE.size_px).into()),
        ("mean", numbers(RECIPE.mean)),
        ("deviation", numbers(RECIPE.deviation)),
    ];
    let table = |fields: &[(&str, toml::Value)]| {
        toml::Value::Table(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    };
    let fields = [
        ("name", "untrained-demo".into()),
        ("version", VERSION.into()),
        ("licence", LICENCE.into()),
        ("source", SOURCE.into()),
        ("tower", table(&[("untrained", VERSION.into())])),
        ("input", table(&input)),
        ("embedding", table(&[("tap", "pooled".into()), ("l2", true.into())])),
        ("head", table(&[("kind", "linear".into()), ("file", "head.safetensors".into())])),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// As short as they are written, not as long as their f32 is in f64.
fn numbers(values: [f32; 3]) -> toml::Value {
    let short = |value: f32| value.to_string().parse::<f64>().unwrap_or_else(|_| f64::from(value));
    values.into_iter().map(short).collect::<Vec<_>>().into()
}

/// The head as a file of safetensors.
pub(super) fn head_file() -> Vec<u8> {
    head::linear_file(&head_weight(), 0.0)
}

fn head_weight() -> Vec<f32> {
    uniform("head.weight", CONFIG.hidden, 3.0)
}

/// The tower alone, for a scorer of somebody's own.
pub(super) fn tower(device: &Device) -> Result<Tower, NetworkError> {
    let weights = Weights::from_tensors("untrained-demo", tensors()?, device);
    Ok(Tower { id: tower_id(&CONFIG, "untrained"), config: CONFIG, weights, precision: Precision::F32 })
}

pub(super) fn open(device: &Device) -> Result<Opened, Error> {
    let failed = |e: NetworkError| Error::Input(format!("scorer \"untrained-demo\": {e}"));
    let scorer = Scorer {
        id: format!("untrained-demo@{VERSION}"),
        licence: LICENCE.to_owned(),
        source: SOURCE.to_owned(),
        input: InputRecipe::one(RECIPE),
        embedding: EmbeddingRecipe { tap: Tap::Pooled, l2: true },
        digest: format!("untrained-demo {VERSION} {SEED:016x}"),
        warning: Some(WARNING),
        calibration: None,
        precision: Precision::F32,
        goldens: vec![golden()?],
        head: Head::Sigmoid { weight: head_weight(), bias: 0.0 },
    };
    Ok(Opened { scorer, tower: tower(device).map_err(failed)? })
}

/// What transformers gives for the same draw (`tests/golden/untrained.py`).
pub(super) fn golden() -> Result<Golden, Error> {
    let failed = |e: image::ImageError| Error::Input(format!("scorer \"untrained-demo\": its golden picture: {e}"));
    let picture = image::load_from_memory(PICTURE).map_err(failed)?.to_rgb8();
    Ok(Golden { name: "models/untrained-demo/golden.png".to_owned(), picture, logit: 1.954_199 })
}

fn tensors() -> candle_core::Result<BTreeMap<String, Tensor>> {
    let ClipVisionConfig { hidden, intermediate, layers, patch_px, projection, .. } = CONFIG;
    let mut tensors = BTreeMap::new();
    let mut add = |name: &str, shape: &[usize], kind: Kind| -> candle_core::Result<()> {
        let count: usize = shape.iter().product();
        let values = match kind {
            Kind::Ones => vec![1.0; count],
            Kind::Zeros => vec![0.0; count],
            // Variance 1 / inputs keeps activations at their size from layer to layer.
            Kind::Random => uniform(name, count, (3.0 / (count / shape[0]) as f32).sqrt()),
        };
        tensors.insert(name.to_owned(), Tensor::from_vec(values, shape, &Device::Cpu)?);
        Ok(())
    };
    add("vision_model.embeddings.patch_embedding.weight", &[hidden, 3, patch_px, patch_px], Kind::Random)?;
    add("vision_model.embeddings.class_embedding", &[hidden], Kind::Random)?;
    add("vision_model.embeddings.position_embedding.weight", &[CONFIG.tokens(), hidden], Kind::Random)?;
    add("visual_projection.weight", &[projection, hidden], Kind::Random)?;
    let mut norms = vec!["vision_model.pre_layrnorm".to_owned(), "vision_model.post_layernorm".to_owned()];
    for i in 0..layers {
        let layer = format!("vision_model.encoder.layers.{i}");
        norms.extend(["layer_norm1", "layer_norm2"].map(|norm| format!("{layer}.{norm}")));
        let linears = [
            ("self_attn.q_proj", hidden, hidden),
            ("self_attn.k_proj", hidden, hidden),
            ("self_attn.v_proj", hidden, hidden),
            ("self_attn.out_proj", hidden, hidden),
            ("mlp.fc1", hidden, intermediate),
            ("mlp.fc2", intermediate, hidden),
        ];
        for (name, inputs, outputs) in linears {
            add(&format!("{layer}.{name}.weight"), &[outputs, inputs], Kind::Random)?;
            add(&format!("{layer}.{name}.bias"), &[outputs], Kind::Zeros)?;
        }
    }
    for norm in norms {
        add(&format!("{norm}.weight"), &[hidden], Kind::Ones)?;
        add(&format!("{norm}.bias"), &[hidden], Kind::Zeros)?;
    }
    Ok(tensors)
}

#[derive(Clone, Copy)]
enum Kind {
    Ones,
    Zeros,
    Random,
}

/// `count` numbers in [−`bound`, `bound`), fixed by the seed and the name (SplitMix64, Steele et al. 2014).
fn uniform(name: &str, count: usize, bound: f32) -> Vec<f32> {
    let mut state = name.bytes().fold(SEED, |state, byte| mix(state ^ u64::from(byte)));
    (0..count)
        .map(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let unit = (mix(state) >> 40) as f32 / (1_u32 << 24) as f32; // 24 bits: exact in f32
            bound * (2.0 * unit - 1.0)
        })
        .collect()
}

fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
