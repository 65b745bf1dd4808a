//! CLIP's text side against transformers (`tests/golden/tokenizer.py`, `tests/golden/text.py`): the tokens of a
//! thousand texts, full-size text towers with both activations, and the probabilities of pictures against prompts.
//!
//! 2e-4 on unit-length embeddings, as for the vision towers: the least visible of the faults that the script tries
//! changes one by 1.3e-3. 1e-4 on probabilities, all of which lie between 0.1 and 0.74.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use deepsweep::networks::clip::{ClipText, ClipTextConfig, ClipTokenizer, ClipVision, ClipVisionConfig};
use deepsweep::networks::preprocess::{self, Resize};
use deepsweep::networks::weights::Weights;
use deepsweep::scorers::prompts::{self, Prompts, TextCheckpoint};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::made_weights::{Fill, worst_difference};

const MAX_DIFFERENCE: f32 = 2e-4;
const MAX_PROBABILITY_DIFFERENCE: f64 = 1e-4;

fn golden(name: &str) -> PathBuf {
    crate::root().join("tests/golden").join(name)
}

fn read<T: for<'a> Deserialize<'a>>(name: &str) -> T {
    serde_json::from_str(&std::fs::read_to_string(golden(name)).unwrap()).unwrap()
}

fn check_tokens(tokenizer_folder: &Path) {
    let tokenizer = ClipTokenizer::open(tokenizer_folder).unwrap();
    let texts: Vec<(String, Vec<u32>)> = read("tokenizer/texts.json");
    assert!(texts.len() > 1000);
    for (text, expected) in texts {
        assert_eq!(tokenizer.encode(&text).unwrap(), expected, "{text:?}");
    }
}

#[test]
fn tokens_from_tokenizer_json_are_transformers() {
    check_tokens(&golden("tokenizer"));
}

#[test]
fn tokens_from_an_older_tokenizer_json_are_the_same() {
    let mut file: Value = read("tokenizer/tokenizer.json");
    file["model"]["merges"] = lines_of_merges(&file).into();
    file["model"].as_object_mut().unwrap().remove("type");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), file.to_string()).unwrap();
    check_tokens(folder.path());
}

#[test]
fn tokens_from_vocab_json_and_merges_txt_are_the_same() {
    let file: Value = read("tokenizer/tokenizer.json");
    let merges = lines_of_merges(&file).join("\n");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("vocab.json"), file["model"]["vocab"].to_string()).unwrap();
    std::fs::write(folder.path().join("merges.txt"), format!("#version: 0.2\n{merges}\n")).unwrap();
    check_tokens(folder.path());
}

fn lines_of_merges(file: &Value) -> Vec<String> {
    let pairs: Vec<(String, String)> = serde_json::from_value(file["model"]["merges"].clone()).unwrap();
    pairs.into_iter().map(|(left, right)| format!("{left} {right}")).collect()
}

#[derive(Deserialize)]
struct Towers {
    towers: BTreeMap<String, Value>,
    poolings: BTreeMap<String, Pooling>,
    #[serde(flatten)]
    weights: Fill,
}

#[derive(Deserialize)]
struct Pooling {
    eos_token_id: u32,
    texts: Vec<Vec<u32>>,
}

impl Towers {
    fn config(&self, tower: &str, activation: &str, eos_token_id: u32) -> ClipTextConfig {
        let mut text = self.towers[tower].clone();
        text["hidden_act"] = activation.into();
        text["eos_token_id"] = eos_token_id.into();
        let projection = text["projection_dim"].take();
        let file = json!({ "model_type": "clip", "projection_dim": projection, "text_config": text });
        ClipTextConfig::parse(&file.to_string()).unwrap()
    }
}

#[test]
fn the_generator_gives_the_numbers_of_the_reference_for_text_too() {
    read::<Towers>("text_towers.json").weights.check_samples();
}

#[test]
fn the_text_tower_beside_b_is_transformers() {
    check_tower("b");
}

#[test]
fn the_text_tower_beside_l_is_transformers() {
    check_tower("l");
}

fn check_tower(name: &str) {
    let towers: Towers = read("text_towers.json");
    let expected = candle_core::safetensors::load(golden("text_towers.safetensors"), &Device::Cpu).unwrap();
    let tensors = towers.weights.text(&towers.config(name, "gelu", 2));
    for activation in ["quick_gelu", "gelu"] {
        for (pooling, Pooling { eos_token_id, texts }) in &towers.poolings {
            let weights = Weights::from_tensors(name, tensors.clone(), &Device::Cpu);
            let tower = ClipText::new(towers.config(name, activation, *eos_token_id), &weights).unwrap();
            let together = tower.forward(texts).unwrap();
            let worst = worst_difference(&expected[&format!("{name}.{activation}.{pooling}")], &together);
            assert!(worst <= MAX_DIFFERENCE, "{name}.{activation}.{pooling}: {worst}");
            // A text in a batch, filled up to the longest, is the text alone.
            let alone: Vec<Tensor> =
                texts.iter().map(|text| tower.forward(std::slice::from_ref(text)).unwrap()).collect();
            let worst = worst_difference(&Tensor::cat(&alone, 0).unwrap(), &together);
            assert!(worst <= 1e-6, "{name}.{activation}.{pooling}, one by one: {worst}");
        }
    }
}

#[derive(Deserialize)]
struct ZeroShot {
    vision: Value,
    text: Value,
    pictures: Vec<String>,
    prompts: BTreeMap<String, Prompts>,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    activation: String,
    case: String,
    /// The probability of the class fake for each picture.
    fake: Vec<f64>,
}

#[test]
fn pictures_against_prompts_have_the_probabilities_of_transformers() {
    let zero_shot: ZeroShot = read("zero_shot.json");
    let fill = read::<Towers>("text_towers.json").weights;
    let config = |activation: &str| {
        let mut file = json!({
            "model_type": "clip", "projection_dim": zero_shot.text["projection_dim"],
            "vision_config": zero_shot.vision, "text_config": zero_shot.text,
        });
        file["vision_config"]["hidden_act"] = activation.into();
        file["text_config"]["hidden_act"] = activation.into();
        file.to_string()
    };
    let mut tensors = fill.vision(&ClipVisionConfig::parse(&config("gelu")).unwrap());
    tensors.extend(fill.text(&ClipTextConfig::parse(&config("gelu")).unwrap()));
    tensors.insert("logit_scale".to_owned(), fill.tensor("logit_scale", &[]));
    let weights = Weights::from_tensors("made", tensors, &Device::Cpu);
    let pixels = pixels(&zero_shot.pictures);

    let mut met = 0;
    for activation in ["quick_gelu", "gelu"] {
        let folder = tempfile::tempdir().unwrap();
        let config_path = folder.path().join("config.json");
        std::fs::write(&config_path, config(activation)).unwrap();
        let tower = ClipVision::new(ClipVisionConfig::read(&config_path).unwrap(), &weights).unwrap();
        let embeddings = tower.forward(&pixels).unwrap().projected.to_vec2::<f32>().unwrap();
        let checkpoint =
            TextCheckpoint { config: &config_path, tokenizer: &golden("tokenizer"), weights: &weights, digest: "made" };
        for answer in zero_shot.answers.iter().filter(|answer| answer.activation == activation) {
            let head =
                prompts::embed(&zero_shot.prompts[&answer.case], &checkpoint, None).unwrap().into_head().unwrap();
            assert_eq!(answer.fake.len(), embeddings.len());
            for (embedding, expected) in embeddings.iter().zip(&answer.fake) {
                let found = f64::from(head.score(embedding, true).unwrap().score);
                let difference = (found - expected).abs();
                let case = format!("{activation}, {}", answer.case);
                assert!(difference <= MAX_PROBABILITY_DIFFERENCE, "{case}: expected {expected}, found {found}");
                met += 1;
            }
        }
    }
    assert_eq!(met, 24, "three cases, four pictures, two activations");
}

/// As a scorer makes them for CLIP: [pictures, 3, 224, 224].
fn pixels(pictures: &[String]) -> Tensor {
    let squares: Vec<_> = pictures
        .iter()
        .map(|name| {
            let picture = image::open(golden(&format!("pictures/{name}.png"))).unwrap().to_rgb8();
            preprocess::square(&picture, Resize::ShortSide, 224)
        })
        .collect();
    let (mean, deviation) = ([0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_55, 0.261_302_6, 0.275_777_1]);
    preprocess::normalise(&squares.iter().collect::<Vec<_>>(), 224, mean, deviation, &Device::Cpu).unwrap()
}
