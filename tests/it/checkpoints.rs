//! Checkpoints as PyTorch wrote them, against what Python reads out of them (`tests/golden/checkpoints.py`): bit by
//! bit, under every layout of names; and towers made of them against what transformers answers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use deepsweep::networks::clip::{ClipVision, ClipVisionConfig};
use deepsweep::networks::weights::{Weights, hexadecimal};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// On vectors of unit length. The script measured 1e-7 between two orders of summation, and 0.2 for the least visible
/// of three wrong layouts.
const MAX_DIFFERENCE: f64 = 1e-5;

/// Tensors by name.
pub type Table = BTreeMap<String, Golden>;

#[derive(Debug, Deserialize, PartialEq)]
pub struct Golden {
    dtype: String,
    shape: Vec<usize>,
    /// Of the row-major bytes.
    sha256: String,
}

pub fn folder() -> PathBuf {
    crate::root().join("tests/golden/checkpoints")
}

pub fn golden() -> BTreeMap<String, Table> {
    serde_json::from_str(&std::fs::read_to_string(folder().join("checkpoints.json")).unwrap()).unwrap()
}

pub fn open(name: &str) -> Weights {
    Weights::open(&folder().join(name), &Device::Cpu).unwrap()
}

fn found(weights: &Weights, name: &str) -> Golden {
    let stored = weights.stored(name).unwrap();
    let dtype = match format!("{:?}", stored.dtype).as_str() {
        "F32" => "float32",
        "F16" => "float16",
        "BF16" => "bfloat16",
        "F64" => "float64",
        "I64" => "int64",
        "I32" => "int32",
        "I16" => "int16",
        "I8" => "int8",
        "U8" => "uint8",
        "BOOL" => "bool",
        other => panic!("{other}"),
    };
    Golden { dtype: dtype.to_owned(), shape: stored.shape, sha256: hexadecimal(&Sha256::digest(&stored.bytes)) }
}

/// Each of these tensors is there, and is the same to the last bit.
pub fn check_table(weights: &Weights, expected: &Table, what: &str) {
    for (name, golden) in expected {
        assert!(weights.contains(name), "{what}: {name}");
        assert_eq!(found(weights, name), *golden, "{what}: {name}");
    }
}

#[test]
fn what_torch_saved_is_read_to_the_last_bit_however_it_saved_it() {
    let mut files = 0;
    for (file, expected) in golden().iter().filter(|(file, _)| file.contains('.')) {
        let weights = open(file);
        check_table(&weights, expected, file);
        let (found, expected): (Vec<&str>, Vec<&String>) =
            (weights.shapes().map(|(name, _)| name).collect(), expected.keys().collect());
        assert_eq!(found, expected, "{file}");
        files += 1;
    }
    assert_eq!(files, 23);
    // As published: it lay on a GPU when it was saved, which no machine that reads it needs to have.
    let published = std::fs::read(folder().join("heads/fc_weights.pth")).unwrap();
    assert!(published.windows(6).any(|window| window == b"cuda:0"));
}

#[test]
fn numbers_come_out_as_f32_whatever_they_were_stored_as() {
    let weights = open("kinds.pth");
    let values =
        |name: &str, shape: &[usize]| weights.get(name, shape).unwrap().flatten_all().unwrap().to_vec1::<f32>();
    // Of torch.as_strided(torch.arange(40), (3, 5), (2, 7), 3) the element [i, j] is 3 + 2i + 7j.
    let by_hand: Vec<f32> = (0..3).flat_map(|i| (0..5).map(move |j| (3 + 2 * i + 7 * j) as f32)).collect();
    assert_eq!(values("strided_by_hand", &[3, 5]).unwrap(), by_hand);
    assert_eq!(values("scalar", &[]).unwrap(), [4.6052]);
    assert!(values("no_elements", &[0, 7]).unwrap().is_empty());
    for (name, shape) in [("float16", &[3][..]), ("bfloat16", &[2, 3]), ("float64", &[2])] {
        assert!(values(name, shape).unwrap().iter().all(|value| *value != 0.0), "{name}");
    }
    let refused = weights.get("position_ids", &[1, 10]).unwrap_err().to_string();
    assert!(refused.contains("\"position_ids\"") && refused.contains("I64"), "{refused}");
}

/// The checkpoints of the one small CLIP, with the table that each holds.
const TOWERS: [(&str, &str); 7] = [
    ("tower/transformers", "tower"),
    ("tower/sharded_safetensors", "tower"),
    ("tower/sharded_bin", "tower"),
    ("tower/open_clip_pytorch_model.bin", "tower"),
    ("tower/open_clip_model.safetensors", "tower"),
    ("tower/epoch_1.pt", "tower"),
    ("tower/openai_state_dict.pt", "tower_half"),
];

#[test]
fn every_layout_of_names_leads_to_the_same_tensors() {
    let golden = golden();
    for (file, table) in TOWERS {
        check_table(&open(file).in_transformers_layout().unwrap(), &golden[table], file);
    }
}

/// What transformers answered.
pub fn answers() -> std::collections::HashMap<String, Tensor> {
    candle_core::safetensors::load(folder().join("answers.safetensors"), &Device::Cpu).unwrap()
}

pub fn check_tower(tower: &ClipVision, case: &str, what: &str) {
    let answers = answers();
    let found = tower.forward(&answers["pixels"]).unwrap();
    for (tap, found) in [("pooled", &found.pooled), ("projected", &found.projected)] {
        let (found, expected) = (unit_rows(found), unit_rows(&answers[&format!("{case}.{tap}")]));
        assert_eq!((found.len(), found[0].len()), (expected.len(), expected[0].len()), "{what} {tap}");
        let differences = found.iter().flatten().zip(expected.iter().flatten()).map(|(a, b)| (a - b).abs());
        let worst = differences.fold(0.0, f64::max);
        assert!(worst <= MAX_DIFFERENCE, "{what} {tap}: {worst}");
    }
}

fn unit_rows(tensor: &Tensor) -> Vec<Vec<f64>> {
    let rows = tensor.to_vec2::<f32>().unwrap();
    rows.into_iter()
        .map(|row| {
            let length = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            row.iter().map(|value| f64::from(*value) / length).collect()
        })
        .collect()
}

pub fn config() -> ClipVisionConfig {
    ClipVisionConfig::read(&folder().join("tower/transformers/config.json")).unwrap()
}

#[test]
fn towers_of_every_layout_answer_as_transformers_does() {
    for (file, table) in TOWERS {
        let weights = open(file).in_transformers_layout().unwrap();
        let case = if table == "tower_half" { "half" } else { "plain" };
        check_tower(&ClipVision::new(config(), &weights).unwrap(), case, file);
    }
    for folder_name in ["transformers", "sharded_safetensors", "sharded_bin"] {
        let tower = ClipVision::open(&folder().join("tower").join(folder_name), &Device::Cpu).unwrap();
        check_tower(&tower, "plain", folder_name);
    }
    let wrapped = open("tower/wrapped.safetensors").with_prefix("feature_extractor.");
    check_tower(&ClipVision::new(config(), &wrapped).unwrap(), "plain", "wrapped");
}

#[test]
fn safetensors_count_before_pickles_in_a_folder_that_has_both() {
    let both = tempfile::tempdir().unwrap();
    std::fs::copy(folder().join("bad/os_system.pth"), both.path().join("pytorch_model.bin")).unwrap();
    let model = folder().join("tower/transformers/model.safetensors");
    std::fs::copy(model, both.path().join("model.safetensors")).unwrap();
    let weights = Weights::open(both.path(), &Device::Cpu).unwrap();
    check_table(&weights, &golden()["tower"], "both");
}

#[test]
fn tuned_norms_over_a_tower_answer_as_the_tuned_tower_does() {
    let tuned = open("tower/tuned.pth").with_prefix("backbone.");
    for base in ["tower/transformers", "tower/open_clip_pytorch_model.bin"] {
        let base = open(base).in_transformers_layout().unwrap();
        let tuned = open("tower/tuned.pth").with_prefix("backbone.");
        let weights = base.overlaid_by(tuned).unwrap();
        check_tower(&ClipVision::new(config(), &weights).unwrap(), "tuned", "overlay");
    }
    assert!(tuned.contains("vision_model.post_layernorm.weight"));
}

#[test]
fn an_overlay_that_does_not_fit_is_refused_by_name() {
    for (file, named) in [
        (
            "tower/tuned_too_deep.pth",
            ["tuned_too_deep.pth", "vision_model.encoder.layers.7.layer_norm1.weight", "[16]"],
        ),
        ("tower/tuned_too_narrow.pth", ["vision_model.post_layernorm.weight", "[12]", "[16]"]),
    ] {
        let overlay = open(file).with_prefix("backbone.");
        let refused = open("tower/transformers").overlaid_by(overlay).unwrap_err().to_string();
        for name in named {
            assert!(refused.contains(name), "expected {name:?} in {refused}");
        }
    }
}

#[test]
fn messages_name_what_is_missing_below_a_prefix_and_in_a_layout() {
    let below = open("tower/wrapped.safetensors").with_prefix("feature_extractor.");
    let refused = below.get("vision_model.pre_layernorm.weight", &[16]).unwrap_err().to_string();
    for name in ["wrapped.safetensors", "below \"feature_extractor.\"", "vision_model.pre_layernorm.weight", "[16]"] {
        assert!(refused.contains(name), "expected {name:?} in {refused}");
    }
    let refused = open("kinds.pth").in_transformers_layout().unwrap_err().to_string();
    for name in ["kinds.pth", "vision_model.", "visual.", "21 tensors"] {
        assert!(refused.contains(name), "expected {name:?} in {refused}");
    }
    let odd = BTreeMap::from([(
        "visual.transformer.resblocks.0.attn.in_proj_weight".to_owned(),
        Tensor::zeros((7, 4), candle_core::DType::F32, &Device::Cpu).unwrap(),
    )]);
    let refused = Weights::from_tensors("odd", odd, &Device::Cpu).in_transformers_layout().unwrap_err().to_string();
    assert!(refused.contains("attn.in_proj_weight") && refused.contains("[7, 4]"), "{refused}");
}
