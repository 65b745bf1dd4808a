//! Weights of full size, made on the spot: each tensor is filled from its own name, by the rule that
//! `tests/golden/clip.py` tells and its references follow too.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use deepsweep::networks::clip::{ClipTextConfig, ClipVisionConfig};
use serde::Deserialize;

/// The rule as a golden file states it.
#[derive(Deserialize)]
pub struct Fill {
    /// Ending of the name, offset, "fan_in" or "absolute", gain or scale; the first that fits counts.
    pub fill: Vec<(String, f32, String, f64)>,
    fill_samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    name: String,
    shape: Vec<usize>,
    first: [f32; 4],
    last: f32,
}

impl Fill {
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Tensor {
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

    /// Every tensor of a vision tower, as transformers' checkpoints name them.
    pub fn vision(&self, config: &ClipVisionConfig) -> BTreeMap<String, Tensor> {
        let (hidden, patch) = (config.hidden, config.patch_px);
        let mut shapes: Vec<(String, Vec<usize>)> = vec![
            ("vision_model.embeddings.class_embedding".into(), vec![hidden]),
            ("vision_model.embeddings.patch_embedding.weight".into(), vec![hidden, 3, patch, patch]),
            ("vision_model.embeddings.position_embedding.weight".into(), vec![config.tokens(), hidden]),
            ("visual_projection.weight".into(), vec![config.projection, hidden]),
        ];
        shapes.extend(norm("vision_model.pre_layrnorm", hidden));
        shapes.extend(norm("vision_model.post_layernorm", hidden));
        shapes.extend(blocks("vision_model", config.layers, hidden, config.intermediate));
        self.all(shapes)
    }

    /// Every tensor of a text tower.
    pub fn text(&self, config: &ClipTextConfig) -> BTreeMap<String, Tensor> {
        let hidden = config.hidden;
        let mut shapes: Vec<(String, Vec<usize>)> = vec![
            ("text_model.embeddings.token_embedding.weight".into(), vec![config.vocabulary, hidden]),
            ("text_model.embeddings.position_embedding.weight".into(), vec![config.context, hidden]),
            ("text_projection.weight".into(), vec![config.projection, hidden]),
        ];
        shapes.extend(norm("text_model.final_layer_norm", hidden));
        shapes.extend(blocks("text_model", config.layers, hidden, config.intermediate));
        self.all(shapes)
    }

    fn all(&self, shapes: Vec<(String, Vec<usize>)>) -> BTreeMap<String, Tensor> {
        shapes.into_iter().map(|(name, shape)| (name.clone(), self.tensor(&name, &shape))).collect()
    }

    pub fn check_samples(&self) {
        for sample in &self.fill_samples {
            let values = self.tensor(&sample.name, &sample.shape).flatten_all().unwrap().to_vec1::<f32>().unwrap();
            // The file has as many digits as tell one f32 from the next.
            assert_eq!(values[..4], sample.first, "{}", sample.name);
            assert_eq!(values[values.len() - 1], sample.last, "{}", sample.name);
        }
    }
}

fn blocks(tower: &str, layers: usize, hidden: usize, wide: usize) -> Vec<(String, Vec<usize>)> {
    let mut shapes = vec![];
    for i in 0..layers {
        let layer = format!("{tower}.encoder.layers.{i}");
        shapes.extend(norm(&format!("{layer}.layer_norm1"), hidden));
        shapes.extend(norm(&format!("{layer}.layer_norm2"), hidden));
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
    shapes
}

fn norm(name: &str, width: usize) -> [(String, Vec<usize>); 2] {
    [(format!("{name}.weight"), vec![width]), (format!("{name}.bias"), vec![width])]
}

pub fn unit_rows(t: &Tensor) -> Vec<Vec<f32>> {
    let rows = t.to_vec2::<f32>().unwrap();
    rows.into_iter()
        .map(|row| {
            let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            row.iter().map(|v| (f64::from(*v) / length) as f32).collect()
        })
        .collect()
}

/// The largest difference of any element between rows at unit length; not a number where either is none.
pub fn worst_difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let (a, b) = (unit_rows(a), unit_rows(b));
    let differences = a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs());
    // `f32::max` would take the other number where one is none.
    differences.fold(0.0, |worst, d| if d > worst || d.is_nan() { d } else { worst })
}
