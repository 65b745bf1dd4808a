//! A scorer folder of the smallest tower, each part of which a test may spoil before it is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Device;
use deepsweep::progress::Display;
use deepsweep::scorers::registry::Registry;
use deepsweep::scorers::store::{ModelStore, StoreChoice, StoreSettings};
use deepsweep::scorers::{Opening, ScorerChoice, ScorerSet};
use deepsweep::storage::s3::S3Options;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};

use crate::program::{Landed, Sweep, landed_in_folder};

/// The smallest tower that has every part: two patches a side, one layer, two heads.
pub const HIDDEN: usize = 8;
pub const PROJECTION: usize = 4;
pub const IMAGE_PX: usize = 32;
const PATCH_PX: usize = 16;
pub const CONFIG: &str = r#"{"model_type": "clip_vision_model", "hidden_size": 8, "intermediate_size": 16,
    "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 16, "projection_dim": 4,
    "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}"#;

pub const MEAN: [f32; 3] = [0.48, 0.46, 0.41];
pub const DEVIATION: [f32; 3] = [0.27, 0.26, 0.28];

/// Tensors by name: shape and values.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A scorer folder's parts, each of which a case may spoil before they are written.
pub struct Folder {
    pub recipe: String,
    pub config: String,
    pub tower: Tensors,
    pub head: Tensors,
}

/// Numbers in [−1, 1), the same in every run.
fn numbers(seed: &str, count: usize) -> Vec<f32> {
    let mut state = seed.bytes().fold(7_u64, |state, byte| state.wrapping_mul(31).wrapping_add(byte.into()));
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        })
        .collect()
}

pub fn add(tensors: &mut Tensors, name: &str, shape: &[usize]) {
    tensors.insert(name.to_owned(), (shape.to_vec(), numbers(name, shape.iter().product())));
}

pub fn tower() -> Tensors {
    let mut tensors = Tensors::new();
    let patches = (IMAGE_PX / PATCH_PX).pow(2);
    add(&mut tensors, "vision_model.embeddings.patch_embedding.weight", &[HIDDEN, 3, PATCH_PX, PATCH_PX]);
    add(&mut tensors, "vision_model.embeddings.class_embedding", &[HIDDEN]);
    add(&mut tensors, "vision_model.embeddings.position_embedding.weight", &[patches + 1, HIDDEN]);
    add(&mut tensors, "visual_projection.weight", &[PROJECTION, HIDDEN]);
    let layer = "vision_model.encoder.layers.0";
    for (name, inputs, outputs) in [
        ("self_attn.q_proj", HIDDEN, HIDDEN),
        ("self_attn.k_proj", HIDDEN, HIDDEN),
        ("self_attn.v_proj", HIDDEN, HIDDEN),
        ("self_attn.out_proj", HIDDEN, HIDDEN),
        ("mlp.fc1", HIDDEN, 2 * HIDDEN),
        ("mlp.fc2", 2 * HIDDEN, HIDDEN),
    ] {
        add(&mut tensors, &format!("{layer}.{name}.weight"), &[outputs, inputs]);
        add(&mut tensors, &format!("{layer}.{name}.bias"), &[outputs]);
    }
    let norms = ["layer_norm1", "layer_norm2"].map(|norm| format!("{layer}.{norm}"));
    for norm in ["vision_model.pre_layrnorm", "vision_model.post_layernorm"].map(str::to_owned).into_iter().chain(norms)
    {
        add(&mut tensors, &format!("{norm}.weight"), &[HIDDEN]);
        add(&mut tensors, &format!("{norm}.bias"), &[HIDDEN]);
    }
    tensors
}

/// Each face, with a quarter of its box on each side.
pub const BOX: &str = "crop = \"box\"\nmargin = 0.25";

/// Each face, turned upright.
pub const ALIGNED: &str = "crop = \"align5\"\nalign = \"gend\"\nscale = 1.3";

/// What a recipe says where cases differ.
#[derive(Debug, Clone, Copy)]
pub struct Choices {
    pub crop: &'static str,
    pub resize: &'static str,
    pub tap: &'static str,
    pub l2: bool,
    /// `linear` with so many rows, or `zero-shot`.
    pub head: Head,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Head {
    Linear(usize),
    ZeroShot,
}

pub const PLAIN: Choices =
    Choices { crop: "crop = \"frame\"", resize: "squash", tap: "projected", l2: true, head: Head::Linear(1) };

fn recipe(choices: Choices) -> String {
    let Choices { crop, resize, tap, l2, head } = choices;
    let kind = if head == Head::ZeroShot { "zero-shot" } else { "linear" };
    format!(
        "name = \"probe\"\nversion = \"1\"\nlicence = \"MIT\"\nsource = \"a test\"\n\
         [tower]\npath = \"tower\"\n\
         [input]\n{crop}\nresize = \"{resize}\"\nsize_px = {IMAGE_PX}\nmean = {MEAN:?}\ndeviation = {DEVIATION:?}\n\
         [embedding]\ntap = \"{tap}\"\nl2 = {l2}\n\
         [head]\nkind = \"{kind}\"\nfile = \"head.safetensors\"\n"
    )
}

impl Folder {
    pub fn new(choices: Choices) -> Self {
        let width = if choices.tap == "pooled" { HIDDEN } else { PROJECTION };
        let mut head = Tensors::new();
        match choices.head {
            Head::Linear(classes) => {
                add(&mut head, "weight", &[classes, width]);
                add(&mut head, "bias", &[classes]);
            }
            Head::ZeroShot => {
                add(&mut head, "prompt_embeddings", &[2, width]);
                head.insert("logit_scale".to_owned(), (vec![], vec![4.6052]));
            }
        }
        Self { recipe: recipe(choices), config: CONFIG.to_owned(), tower: tower(), head }
    }

    pub fn write(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tower")).unwrap();
        std::fs::write(folder.path().join("scorer.toml"), &self.recipe).unwrap();
        std::fs::write(folder.path().join("tower/config.json"), &self.config).unwrap();
        write_tensors(&self.tower, &folder.path().join("tower/model.safetensors"));
        write_tensors(&self.head, &folder.path().join("head.safetensors"));
        folder
    }
}

/// A folder like those of [`Folder::new`] under another name.
pub fn named(name: &str, choices: Choices) -> Folder {
    let mut folder = Folder::new(choices);
    folder.recipe = folder.recipe.replace("\"probe\"", &format!("{name:?}"));
    folder
}

pub fn write_tensors(tensors: &Tensors, path: &Path) {
    let bytes: BTreeMap<&String, Vec<u8>> = tensors
        .iter()
        .map(|(name, (_, values))| (name, values.iter().flat_map(|value| value.to_le_bytes()).collect()))
        .collect();
    let views = tensors
        .iter()
        .map(|(name, (shape, _))| (name, TensorView::new(Dtype::F32, shape.clone(), &bytes[name]).unwrap()));
    serialize_to_file(views, None, path).unwrap();
}

pub fn pictures() -> PathBuf {
    crate::root().join("tests/media/good")
}

/// A scorer folder opened as the program opens it, with nowhere to pull from.
pub fn open(folder: &Path) -> ScorerSet {
    open_all(&[folder])
}

/// Several, in one set.
pub fn open_all(folders: &[&Path]) -> ScorerSet {
    let registry = Registry::open(None).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let place = cache.path().to_str().unwrap().to_owned();
    let store = || {
        let choice = StoreChoice { models: Some(place.clone()), offline: true };
        Ok(ModelStore::new(StoreSettings::resolve(&choice, S3Options::default(), &|_| None)?))
    };
    let (device, display) = (Device::Cpu, Display::None);
    let (registry, store, device, display) = (&registry, &store, &device, &display);
    let opening = Opening { registry, store, accept_licence: false, device, pool: None, display };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let choices: Vec<_> =
        folders.iter().map(|folder| ScorerChoice::Named(folder.to_str().unwrap().to_owned())).collect();
    runtime.block_on(opening.open(&choices)).unwrap()
}

pub fn run_with(scorer: &Path, source: &Path) -> Landed {
    let out = tempfile::tempdir().unwrap();
    let flags = ["--suffix", ".jpg", "--suffix", ".png", "--min-face-px", "20"];
    let [source, destination, scorer] = [source, out.path(), scorer].map(|path| path.to_str().unwrap());
    Sweep { source, out: destination, scorer, flags: &flags }.succeed(&[]);
    landed_in_folder(out.path())
}
