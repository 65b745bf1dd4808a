//! Full-size CLIP towers against transformers (`tests/golden/clip.py`): B/32, B/16, L/14 and L/14-336, both
//! activations, both taps, weights made on the spot from a generator that both sides implement.
//!
//! 2e-4 on unit-length embeddings: the script measured 4e-7 between f32 and f64, and 1.2e-3 for the least visible
//! of thirty faults (a forgotten bias, the other activation, a shifted position).

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use deepsweep::networks::clip::{ClipVision, ClipVisionConfig};
use deepsweep::networks::weights::Weights;
use serde::Deserialize;

const MAX_DIFFERENCE: f32 = 2e-4;

#[derive(Deserialize)]
struct Golden {
    towers: BTreeMap<String, serde_json::Value>,
    /// Ending of the name, offset, "fan_in" or "absolute", gain or scale; the first that fits counts.
    fill: Vec<(String, f32, String, f64)>,
    fill_samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    name: String,
    shape: Vec<usize>,
    first: [f32; 4],
    last: f32,
}

impl Golden {
    fn read() -> Self {
        let path = crate::root().join("tests/golden/clip_towers.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn config(&self, tower: &str, activation: &str) -> String {
        let mut vision = self.towers[tower].clone();
        vision["hidden_act"] = activation.into();
        serde_json::json!({
            "model_type": "clip",
            "projection_dim": vision["projection_dim"],
            "vision_config": vision,
        })
        .to_string()
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Tensor {
        let (_, offset, kind, gain) = self.fill.iter().find(|(ending, ..)| name.ends_with(ending.as_str())).unwrap();
        let count: usize = shape.iter().product();
        let scale = match kind.as_str() {
            "fan_in" => (gain * (3.0 / (count / shape[0]) as f64).sqrt()) as f32,
            "absolute" => *gain as f32,
            other => panic!("{other}"),
        };
        let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3) // FNV-1a
        });
        let value = |i: usize| {
            let mut z = seed.wrapping_add((i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)); // SplitMix64
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            let k = (z >> 40) as i64;
            offset + scale * ((2 * k - (1 << 24)) as f32 / (1 << 24) as f32)
        };
        Tensor::from_vec((0..count).map(value).collect::<Vec<_>>(), shape, &Device::Cpu).unwrap()
    }

    /// Every tensor of a tower, as transformers' checkpoints name them.
    fn tensors(&self, config: &ClipVisionConfig) -> BTreeMap<String, Tensor> {
        let (hidden, wide, patch) = (config.hidden, config.intermediate, config.patch_px);
        let mut shapes: Vec<(String, Vec<usize>)> = vec![
            ("vision_model.embeddings.class_embedding".into(), vec![hidden]),
            ("vision_model.embeddings.patch_embedding.weight".into(), vec![hidden, 3, patch, patch]),
            ("vision_model.embeddings.position_embedding.weight".into(), vec![config.tokens(), hidden]),
            ("visual_projection.weight".into(), vec![config.projection, hidden]),
        ];
        let mut norms = vec!["vision_model.pre_layrnorm".to_owned(), "vision_model.post_layernorm".to_owned()];
        for i in 0..config.layers {
            let layer = format!("vision_model.encoder.layers.{i}");
            norms.extend([format!("{layer}.layer_norm1"), format!("{layer}.layer_norm2")]);
            for (name, inputs, outputs) in [
                ("self_attn.q_proj", hidden, hidden),
                ("self_attn.k_proj", hidden, hidden),
                ("self_attn.v_proj", hidden, hidden),
                ("self_attn.out_proj", hidden, hidden),
                ("mlp.fc1", hidden, wide),
                ("mlp.fc2", wide, hidden),
            ] {
                shapes.push((format!("{layer}.{name}.weight"), vec![outputs, inputs]));
                shapes.push((format!("{layer}.{name}.bias"), vec![outputs]));
            }
        }
        for norm in norms {
            shapes.push((format!("{norm}.weight"), vec![hidden]));
            shapes.push((format!("{norm}.bias"), vec![hidden]));
        }
        shapes.into_iter().map(|(name, shape)| (name.clone(), self.tensor(&name, &shape))).collect()
    }
}

#[test]
fn the_generator_gives_the_reference_s_numbers() {
    let golden = Golden::read();
    for sample in &golden.fill_samples {
        let values = golden.tensor(&sample.name, &sample.shape).flatten_all().unwrap().to_vec1::<f32>().unwrap();
        // The file has as many digits as tell one f32 from the next.
        assert_eq!(values[..4], sample.first, "{}", sample.name);
        assert_eq!(*values.last().unwrap(), sample.last, "{}", sample.name);
    }
}

#[test]
fn b32_is_transformers_b32() {
    check("b32");
}

#[test]
fn b16_is_transformers_b16() {
    check("b16");
}

#[test]
fn l14_is_transformers_l14() {
    check("l14");
}

#[test]
fn l14_336_is_transformers_l14_336() {
    check("l14_336");
}

#[test]
fn folders_in_half_precision_are_read_as_they_are_stored() {
    let golden = Golden::read();
    let config_text = golden.config("b32", "quick_gelu");
    let config = ClipVisionConfig::parse(&config_text).unwrap();
    let tensors = golden.tensors(&config);
    for (name, dtype) in [("fp16", DType::F16), ("bf16", DType::BF16)] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), &config_text).unwrap();
        let rounded = tensors.iter().map(|(name, t)| (name.clone(), t.to_dtype(dtype).unwrap())).collect();
        candle_core::safetensors::save(&rounded, folder.path().join("model.safetensors")).unwrap();
        let tower = ClipVision::open(folder.path(), &Device::Cpu).unwrap();
        compare(&golden, &tower, &format!("b32.quick_gelu.{name}"));
    }
}

fn check(name: &str) {
    let golden = Golden::read();
    for activation in ["quick_gelu", "gelu"] {
        let config = ClipVisionConfig::parse(&golden.config(name, activation)).unwrap();
        let weights = Weights::from_tensors(name, golden.tensors(&config), &Device::Cpu);
        let tower = ClipVision::new(config, &weights).unwrap();
        compare(&golden, &tower, &format!("{name}.{activation}"));
    }
}

fn compare(golden: &Golden, tower: &ClipVision, case: &str) {
    let expected =
        candle_core::safetensors::load(crate::root().join("tests/golden/clip_towers.safetensors"), &Device::Cpu)
            .unwrap();
    let side = tower.config().image_px;
    let pixels = golden.tensor("pixel_values", &[2, 3, side, side]);
    let found = tower.forward(&pixels).unwrap();
    let from_pooled = tower.project(&found.pooled).unwrap();
    for (tap, found) in [("pooled", &found.pooled), ("projected", &found.projected), ("projected", &from_pooled)] {
        let expected = unit_rows(&expected[&format!("{case}.{tap}")]);
        let found = unit_rows(found);
        assert_eq!(found.len(), 2, "{case}.{tap}");
        for (expected, found) in expected.iter().zip(&found) {
            assert_eq!(found.len(), expected.len(), "{case}.{tap}");
            let worst = expected.iter().zip(found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= MAX_DIFFERENCE, "{case}.{tap}: {worst}");
        }
    }
}

fn unit_rows(t: &Tensor) -> Vec<Vec<f32>> {
    let rows = t.to_vec2::<f32>().unwrap();
    rows.into_iter()
        .map(|row| {
            let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            row.iter().map(|v| (f64::from(*v) / length) as f32).collect()
        })
        .collect()
}
