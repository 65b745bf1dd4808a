//! Whole recipes against the libraries of their authors (`tests/golden/recipes.py`): from a decoded picture, with the
//! detector's numbers given, to a probability. `scorer.toml` is written, opened and run as the program does it.
//!
//! 1e-3 on a probability: between two orders of summation lie 6e-6, and each of the 39 faults that the script tries,
//! such as one landmark too many or half a pixel in the crop, moves a probability by 6e-3 or more.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use deepsweep::networks::clip::ClipVisionConfig;
use deepsweep::networks::mtcnn::{Face, FaceBox};
use deepsweep::pipeline::crop::{Crop, crops};
use deepsweep::pipeline::detect::Detection;
use deepsweep::scorers::ScorerSet;
use image::RgbImage;
use serde::Deserialize;

use crate::parity_clip::Golden as Towers;
use crate::probe::open;

const MAX_DIFFERENCE: f32 = 1e-3;

#[derive(Deserialize)]
struct Golden {
    size_px: u32,
    mean: [f64; 3],
    deviation: [f64; 3],
    recipes: BTreeMap<String, Recipe>,
}

#[derive(Deserialize)]
struct Recipe {
    tower: String,
    activation: String,
    input: toml::Table,
    tap: String,
    l2: bool,
    kind: String,
    head: Head,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Head {
    rows: usize,
    /// The name that the numbers are filled by.
    values: String,
    gain: Option<f32>,
    bias: Option<Vec<f32>>,
    logit_scale: Option<f32>,
}

#[derive(Deserialize)]
struct Case {
    picture: String,
    /// What of the picture is taken to be the frame: x0, y0, x1, y1.
    window: Option<[u32; 4]>,
    face: Option<GivenFace>,
    probability: f32,
}

#[derive(Deserialize)]
struct GivenFace {
    #[serde(rename = "box")]
    bounds: [f32; 4],
    landmarks: [[f32; 2]; 5],
}

#[test]
fn recipes_on_b32_give_the_reference_s_scores() {
    check("b32", "quick_gelu", &["clip-b32", "own-probe"]);
    check("b32", "gelu", &["clip-b32-laion"]);
}

#[test]
fn univfd_and_gend_on_l14_give_the_reference_s_scores() {
    check("l14", "quick_gelu", &["univfd", "gend"]);
}

/// All recipes of one tower, which is made and written once.
fn check(tower: &str, activation: &str, names: &[&str]) {
    let text = std::fs::read_to_string(crate::root().join("tests/golden/recipes.json")).unwrap();
    let golden: Golden = serde_json::from_str(&text).unwrap();
    let mut towers = Towers::read();
    towers.weights.fill.push(("head".to_owned(), 0.0, "absolute".to_owned(), 1.0));

    let folder = tempfile::tempdir().unwrap();
    let config = towers.config(tower, activation);
    std::fs::create_dir(folder.path().join("tower")).unwrap();
    std::fs::write(folder.path().join("tower/config.json"), &config).unwrap();
    let config = ClipVisionConfig::parse(&config).unwrap();
    let tensors = towers.weights.vision(&config).into_iter().collect();
    candle_core::safetensors::save(&tensors, folder.path().join("tower/model.safetensors")).unwrap();
    drop(tensors);

    for name in names {
        let recipe = &golden.recipes[*name];
        assert_eq!((recipe.tower.as_str(), recipe.activation.as_str()), (tower, activation), "{name}");
        assert!(recipe.cases.len() >= 5, "{name}: the goldens are incomplete");
        let width = if recipe.tap == "pooled" { config.hidden } else { config.projection };
        let scorer = folder.path().join(name);
        std::fs::create_dir(&scorer).unwrap();
        std::fs::write(scorer.join("scorer.toml"), golden.scorer_toml(name, recipe)).unwrap();
        write_head(&recipe.head, &towers, width, &scorer.join("head.safetensors"));
        compare(name, &recipe.cases, &open(&scorer));
    }
}

fn compare(name: &str, cases: &[Case], scorers: &ScorerSet) {
    let squares: Vec<RgbImage> = cases.iter().map(|case| case.square(scorers)).collect();
    let scored = scorers.score(&scorers.passes()[0], &squares.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(scored.len(), cases.len(), "{name}");
    for (case, scored) in cases.iter().zip(scored) {
        let found = scored.scores[0].unwrap();
        let what = format!("{name}, {}", case.picture);
        let apart = (found.score - case.probability).abs();
        assert!(apart <= MAX_DIFFERENCE, "{what}: expected {}, found {}", case.probability, found.score);
    }
}

impl Golden {
    fn scorer_toml(&self, name: &str, recipe: &Recipe) -> String {
        let Recipe { input, tap, l2, kind, .. } = recipe;
        let scale = recipe.head.logit_scale.map(|scale| format!("logit_scale = {scale}\n")).unwrap_or_default();
        format!(
            "name = \"{name}\"\nversion = \"1\"\nlicence = \"none\"\nsource = \"tests/golden/recipes.py\"\n\
             [tower]\npath = \"../tower\"\n\
             [input]\n{input}size_px = {}\nmean = {:?}\ndeviation = {:?}\n\
             [embedding]\ntap = \"{tap}\"\nl2 = {l2}\n\
             [head]\nkind = \"{kind}\"\nfile = \"head.safetensors\"\n{scale}",
            self.size_px, self.mean, self.deviation
        )
    }
}

fn write_head(head: &Head, towers: &Towers, width: usize, path: &Path) {
    let values = towers.weights.tensor(&head.values, &[head.rows, width]);
    let mut tensors = std::collections::HashMap::new();
    match (head.gain, &head.bias) {
        (Some(gain), Some(bias)) => {
            // A product of two f32, as the script has it: a factor in f64 would round otherwise.
            let gain = Tensor::new(gain, &Device::Cpu).unwrap();
            tensors.insert("weight".to_owned(), values.broadcast_mul(&gain).unwrap());
            tensors.insert("bias".to_owned(), Tensor::new(bias.as_slice(), &Device::Cpu).unwrap());
        }
        _ => {
            tensors.insert("prompt_embeddings".to_owned(), values);
        }
    }
    candle_core::safetensors::save(&tensors, path).unwrap();
}

impl Case {
    /// The one square that the program would show the tower.
    fn square(&self, scorers: &ScorerSet) -> RgbImage {
        let picture = image::open(crate::root().join("tests/golden").join(&self.picture)).unwrap().to_rgb8();
        let frame = match self.window {
            Some([x0, y0, x1, y1]) => image::imageops::crop_imm(&picture, x0, y0, x1 - x0, y1 - y0).to_image(),
            None => picture,
        };
        let detections: Vec<Detection> = self.face.iter().map(GivenFace::detection).collect();
        let mut found = crops(&frame, &detections, scorers.crops());
        assert_eq!(found.len(), 1, "{}", self.picture);
        let Crop { face, square, .. } = found.remove(0);
        assert_eq!(face.is_some(), self.face.is_some(), "{}", self.picture);
        square
    }
}

impl GivenFace {
    fn detection(&self) -> Detection {
        let [x0, y0, x1, y1] = self.bounds;
        let face = Face { bounds: FaceBox { x0, y0, x1, y1 }, confidence: 1.0, landmarks: self.landmarks };
        Detection { face, sharpness: None }
    }
}
