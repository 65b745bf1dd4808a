//! Scorer folders: what the tables say is what tower and head give, computed here in plain arithmetic; and
//! everything that is wrong with a folder is named before any work starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use deepsweep::networks::clip::ClipVision;
use deepsweep::networks::preprocess::{Resize, normalise, square};
use image::{RgbImage, imageops};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};
use serde_json::Value;

use crate::program::{Landed, Row, Sweep, finish, landed_in_folder, media, rows};

/// The smallest tower that has every part: two patches a side, one layer, two heads.
const HIDDEN: usize = 8;
const PROJECTION: usize = 4;
const IMAGE_PX: usize = 32;
const PATCH_PX: usize = 16;
const CONFIG: &str = r#"{"model_type": "clip_vision_model", "hidden_size": 8, "intermediate_size": 16,
    "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 16, "projection_dim": 4,
    "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}"#;

const MEAN: [f32; 3] = [0.48, 0.46, 0.41];
const DEVIATION: [f32; 3] = [0.27, 0.26, 0.28];

/// Two roundings of f32 on the way of a logit of this size, many times over.
const NEAR: f64 = 1e-4;

/// Tensors by name: shape and values.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A scorer folder's parts, each of which a case may spoil before they are written.
struct Folder {
    recipe: String,
    config: String,
    tower: Tensors,
    head: Tensors,
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

fn add(tensors: &mut Tensors, name: &str, shape: &[usize]) {
    tensors.insert(name.to_owned(), (shape.to_vec(), numbers(name, shape.iter().product())));
}

fn tower() -> Tensors {
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

/// What a recipe says where cases differ.
#[derive(Debug, Clone, Copy)]
struct Choices {
    crop: &'static str,
    resize: &'static str,
    tap: &'static str,
    l2: bool,
    /// `linear` with so many rows, or `zero-shot`.
    head: Head,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Head {
    Linear(usize),
    ZeroShot,
}

const PLAIN: Choices =
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
    fn new(choices: Choices) -> Self {
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

    fn write(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tower")).unwrap();
        std::fs::write(folder.path().join("scorer.toml"), &self.recipe).unwrap();
        std::fs::write(folder.path().join("tower/config.json"), &self.config).unwrap();
        write_tensors(&self.tower, &folder.path().join("tower/model.safetensors"));
        write_tensors(&self.head, &folder.path().join("head.safetensors"));
        folder
    }
}

fn write_tensors(tensors: &Tensors, path: &Path) {
    let bytes: BTreeMap<&String, Vec<u8>> = tensors
        .iter()
        .map(|(name, (_, values))| (name, values.iter().flat_map(|value| value.to_le_bytes()).collect()))
        .collect();
    let views = tensors
        .iter()
        .map(|(name, (shape, _))| (name, TensorView::new(Dtype::F32, shape.clone(), &bytes[name]).unwrap()));
    serialize_to_file(views, None, path).unwrap();
}

fn pictures() -> PathBuf {
    crate::root().join("tests/media/good")
}

fn run_with(scorer: &Path, source: &Path) -> Landed {
    let out = tempfile::tempdir().unwrap();
    let flags = ["--suffix", ".jpg", "--suffix", ".png", "--min-face-px", "20"];
    let [source, destination, scorer] = [source, out.path(), scorer].map(|path| path.to_str().unwrap());
    Sweep { source, out: destination, scorer, flags: &flags }.succeed(&[]);
    landed_in_folder(out.path())
}

// --- What comes out.

/// The picture as the program decodes it; that it does so rightly is `run_formats`'s concern.
fn picture(key: &str) -> RgbImage {
    use deepsweep::pipeline::{decode, sniff};
    let bytes = bytes::Bytes::from(std::fs::read(pictures().join(key)).unwrap());
    let format = sniff::sniff(&bytes[..512]).unwrap().format;
    let limits = decode::DecodeLimits { max_pixels: 10_000_000, max_decode_bytes: 1 << 30 };
    decode::decode(&bytes, format, decode::read_header(&bytes, format, limits).unwrap()).unwrap()
}

/// The box of a row of `faces`, with a margin of a quarter on each side, as the README's words have it.
fn box_of(picture: &RgbImage, face: &Row) -> RgbImage {
    let side = |name: &str| face[name].as_f64().unwrap() as f32;
    let (x0, y0, x1, y1) = (side("box_x0"), side("box_y0"), side("box_x1"), side("box_y1"));
    let (dx, dy) = ((x1 - x0) * 0.25, (y1 - y0) * 0.25);
    let clip = |value: f32, side: u32| (value.round_ties_even().max(0.0) as u32).min(side);
    let (left, right) = (clip(x0 - dx, picture.width()), clip(x1 + dx, picture.width()));
    let (top, bottom) = (clip(y0 - dy, picture.height()), clip(y1 + dy, picture.height()));
    imageops::crop_imm(picture, left, top, right - left, bottom - top).to_image()
}

/// The tapped embedding of one crop.
fn embed(tower: &ClipVision, crop: &RgbImage, choices: Choices) -> (Vec<f64>, Vec<f64>) {
    let resize = match choices.resize {
        "squash" => Resize::Squash,
        "short-side" => Resize::ShortSide,
        _ => Resize::None,
    };
    let pixels =
        normalise(&[square(crop, resize, IMAGE_PX as u32)], IMAGE_PX as u32, MEAN, DEVIATION, &Device::Cpu).unwrap();
    let embeddings = tower.forward(&pixels).unwrap();
    let row = |tensor: &Tensor| tensor.to_vec2::<f32>().unwrap()[0].iter().map(|v| f64::from(*v)).collect();
    let pooled: Vec<f64> = row(&embeddings.pooled);
    let tapped = if choices.tap == "pooled" { pooled.clone() } else { row(&embeddings.projected) };
    (pooled, tapped)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn unit(x: &[f64]) -> Vec<f64> {
    let length = dot(x, x).sqrt();
    x.iter().map(|v| v / length).collect()
}

/// The log of the odds of fake against real, from the head's own numbers.
fn logit(head: &Tensors, tapped: &[f64], choices: Choices) -> f64 {
    let values = |name: &str| head[name].1.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
    let x = if choices.l2 { unit(tapped) } else { tapped.to_vec() };
    match choices.head {
        Head::Linear(1) => dot(&values("weight"), &x) + values("bias")[0],
        Head::Linear(_) => {
            let (weight, bias) = (values("weight"), values("bias"));
            let (real, fake) = weight.split_at(x.len());
            // softmax([r, f])[1] = sigmoid(f − r)
            (dot(fake, &x) + bias[1]) - (dot(real, &x) + bias[0])
        }
        Head::ZeroShot => {
            let prompts = values("prompt_embeddings");
            let (real, fake) = prompts.split_at(x.len());
            let x = unit(tapped);
            f64::from(4.6052_f32).exp() * (dot(&unit(fake), &x) - dot(&unit(real), &x))
        }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn check_near(found: &Value, expected: f64, what: &str) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{what}: expected {expected}, found {found}"));
    assert!((found - expected).abs() <= NEAR * expected.abs().max(1.0), "{what}: expected {expected}, found {found}");
}

fn check(choices: Choices) {
    let parts = Folder::new(choices);
    let folder = parts.write();
    let tower = ClipVision::open(&folder.path().join("tower"), &Device::Cpu).unwrap();
    let landed = run_with(folder.path(), &pictures());
    let (frames, faces, embeddings) = (rows(&landed, "frames"), rows(&landed, "faces"), rows(&landed, "embeddings"));
    assert_eq!((frames.len(), faces.len()), (4, 11), "{choices:?}");
    let whole = choices.crop.contains("frame");
    let scored = if whole { &frames } else { &faces };
    assert_eq!(embeddings.len(), scored.len(), "{choices:?}");
    let mut of_media: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (row, embedding) in scored.iter().zip(&embeddings) {
        let what = format!("{choices:?}: {} {:?}", row["key"], row.get("face_index"));
        let picture = picture(row["key"].as_str().unwrap());
        let crop = if whole { picture } else { box_of(&picture, row) };
        let (pooled, tapped) = embed(&tower, &crop, choices);
        let logit = logit(&parts.head, &tapped, choices);
        if whole {
            check_near(&row["frame_score"], sigmoid(logit), &what);
        } else {
            check_near(&row["logit"], logit, &what);
            check_near(&row["score"], sigmoid(logit), &what);
        }
        assert_eq!((&row["key"], row["scorer"].as_str()), (&embedding["key"], Some("probe@1")), "{what}");
        assert_eq!(embedding["face_index"], *row.get("face_index").unwrap_or(&Value::Null), "{what}");
        for (found, expected) in embedding["vector"].as_array().unwrap().iter().zip(&pooled) {
            check_near(found, *expected, &what);
        }
        of_media.entry(row["key"].as_str().unwrap().to_owned()).or_default().push(sigmoid(logit));
    }
    for (key, mut scores) in of_media {
        scores.sort_by(|a, b| b.total_cmp(a));
        let row = media(&landed, &key);
        let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len() as f64;
        check_near(&row["score_max"], scores[0], &key);
        check_near(&row["score_mean"], mean(&scores), &key);
        check_near(&row["score_top3_mean"], mean(&scores[..scores.len().min(3)]), &key);
        let median = f64::midpoint(scores[(scores.len() - 1) / 2], scores[scores.len() / 2]);
        check_near(&row["score_median"], median, &key);
    }
}

const BOX: &str = "crop = \"box\"\nmargin = 0.25";

#[test]
fn a_linear_head_of_one_row_is_a_sigmoid() {
    check(PLAIN);
    check(Choices { crop: BOX, resize: "short-side", tap: "pooled", l2: false, ..PLAIN });
}

#[test]
fn a_linear_head_of_two_rows_is_a_softmax_with_fake_as_its_second() {
    check(Choices { head: Head::Linear(2), ..PLAIN });
    check(Choices { head: Head::Linear(2), crop: BOX, tap: "pooled", ..PLAIN });
}

#[test]
fn a_zero_shot_head_compares_directions_whatever_l2_says() {
    check(Choices { head: Head::ZeroShot, crop: BOX, ..PLAIN });
    check(Choices { head: Head::ZeroShot, resize: "none", l2: false, ..PLAIN });
}

#[test]
fn a_picture_as_thin_as_a_hair_is_scored_as_any_other() {
    let folder = Folder::new(Choices { resize: "short-side", ..PLAIN }).write();
    let source = crate::root().join("tests/media/bad/thin.png");
    let row = media(&run_with(folder.path(), &source), "thin.png");
    assert_eq!((&row["status"], row["score_mean"].is_number()), (&"ok".into(), true), "{row:?}");
}

#[test]
fn numbers_that_overflow_give_null_and_the_run_goes_on() {
    let huge = |tensors: &mut Tensors, name: &str| {
        tensors.get_mut(name).unwrap().1.iter_mut().for_each(|value| *value = 3e38);
    };
    let mut in_tower = Folder::new(Choices { crop: BOX, ..PLAIN });
    huge(&mut in_tower.tower, "visual_projection.weight");
    huge(&mut in_tower.tower, "vision_model.post_layernorm.bias");
    let mut in_head = Folder::new(Choices { crop: BOX, tap: "pooled", l2: false, ..PLAIN });
    huge(&mut in_head.head, "weight");
    in_head.tower.get_mut("vision_model.post_layernorm.bias").unwrap().1.fill(1e6);
    for parts in [in_tower, in_head] {
        let landed = run_with(parts.write().path(), &pictures());
        let faces = rows(&landed, "faces");
        assert_eq!(faces.len(), 11);
        for face in &faces {
            assert!(face["score"].is_null() && face["logit"].is_null(), "{face:?}");
            assert_eq!(face["not_scored_reason"], "not_finite");
        }
        for (key, reason) in [("group.jpg", "not_finite"), ("no_face.jpg", "no_face")] {
            let row = media(&landed, key);
            assert!(row["score_mean"].is_null() && row["score_max"].is_null(), "{row:?}");
            assert_eq!(row["not_scored_reason"], reason, "{key}");
        }
    }
}

// --- What is refused.

/// Ends with 2 and a message with each of `named` in it.
fn check_refused(folder: &Path, named: &[&str]) {
    let out = tempfile::tempdir().unwrap();
    let source = pictures();
    let [source, destination, scorer] = [&*source, out.path(), folder].map(|path| path.to_str().unwrap());
    let finished = finish(Sweep { source, out: destination, scorer, flags: &[] }.command(&[]));
    assert_eq!(finished.code, Some(2), "{named:?}\n{}", finished.stderr);
    for name in named {
        assert!(finished.stderr.contains(name), "expected {name:?} in\n{}", finished.stderr);
    }
    assert!(landed_in_folder(out.path()).is_empty(), "{named:?}");
}

/// The recipe with one text in place of another.
fn check_recipe(from: &str, to: &str, named: &[&str]) {
    let mut parts = Folder::new(PLAIN);
    assert!(parts.recipe.contains(from), "{from:?}");
    parts.recipe = parts.recipe.replace(from, to);
    check_refused(parts.write().path(), &[&["scorer.toml"], named].concat());
}

#[test]
fn a_recipe_that_says_too_much_too_little_or_something_else_is_refused() {
    check_recipe("licence", "license", &["license"]);
    check_recipe("l2 = true\n", "", &["l2"]);
    check_recipe("l2 = true", "l2 = true\nlayer = 3", &["layer"]);
    check_recipe("source = \"a test\"\n", "", &["source"]);
    check_recipe("\"squash\"", "\"stretch\"", &["stretch"]);
    check_recipe("\"projected\"", "\"logits\"", &["logits"]);
    check_recipe("crop = \"frame\"", "crop = \"align5\"", &["align5"]);
    check_recipe("crop = \"frame\"", "crop = \"frame\"\nmargin = 0.3", &["input.margin", "0.3"]);
    check_recipe("crop = \"frame\"", "crop = \"box\"\nmargin = -0.1", &["input.margin", "-0.1"]);
    check_recipe("size_px = 32", "size_px = 224", &["size_px", "32", "224"]);
    check_recipe("deviation = [0.27", "deviation = [0.0", &["input.deviation"]);
    check_recipe("mean = [0.48", "mean = [nan", &["input.mean"]);
    check_recipe("kind = \"linear\"", "kind = \"mlp\"", &["mlp"]);
    check_recipe("name = \"probe\"", "name = \"my probe\"", &["name", "my probe"]);
    check_recipe("file = \"head.safetensors\"", "file = \"nowhere.safetensors\"", &["nowhere.safetensors"]);
    check_recipe("path = \"tower\"", "path = \"nowhere\"", &["nowhere"]);
}

#[test]
fn a_zero_shot_head_on_the_pooled_tap_or_with_a_scale_that_is_no_logarithm_is_refused() {
    let pooled = Folder::new(Choices { head: Head::ZeroShot, tap: "pooled", ..PLAIN });
    check_refused(pooled.write().path(), &["embedding.tap", "projected", "pooled"]);
    let mut exponentiated = Folder::new(Choices { head: Head::ZeroShot, ..PLAIN });
    exponentiated.head.insert("logit_scale".to_owned(), (vec![], vec![100.0]));
    check_refused(exponentiated.write().path(), &["logit_scale", "logarithm", "100"]);
    let mut in_recipe = Folder::new(Choices { head: Head::ZeroShot, ..PLAIN });
    in_recipe.recipe.push_str("logit_scale = 100.0\n");
    check_refused(in_recipe.write().path(), &["logit_scale", "logarithm", "100"]);
    let mut zeros = Folder::new(Choices { head: Head::ZeroShot, ..PLAIN });
    zeros.head.insert("prompt_embeddings".to_owned(), (vec![2, PROJECTION], vec![0.0; 2 * PROJECTION]));
    check_refused(zeros.write().path(), &["prompt", "zeros"]);
}

#[test]
fn a_configuration_that_no_tower_has_is_refused() {
    for (from, to, named) in [
        ("quick_gelu", "swish", "swish"),
        ("\"num_attention_heads\": 2", "\"num_attention_heads\": 3", "num_attention_heads"),
        ("\"hidden_size\": 8", "\"hidden_size\": 0", "hidden_size"),
        ("clip_vision_model", "vit", "vit"),
        ("{", "", "config.json"),
    ] {
        let mut parts = Folder::new(PLAIN);
        parts.config = parts.config.replacen(from, to, 1);
        check_refused(parts.write().path(), &["config.json", named]);
    }
}

#[test]
fn weights_that_are_missing_misshapen_or_not_finite_are_refused_by_name() {
    let projection = "visual_projection.weight";
    let mut missing = Folder::new(PLAIN);
    missing.tower.remove(projection);
    check_refused(missing.write().path(), &["/tower", projection]);
    let mut misshapen = Folder::new(PLAIN);
    add(&mut misshapen.tower, projection, &[PROJECTION + 1, HIDDEN]);
    check_refused(misshapen.write().path(), &[projection, "[4, 8]", "[5, 8]"]);
    let mut not_finite = Folder::new(PLAIN);
    not_finite.tower.get_mut(projection).unwrap().1[3] = f32::NAN;
    check_refused(not_finite.write().path(), &[projection, "NaN"]);
    let mut head_missing = Folder::new(PLAIN);
    head_missing.head.remove("bias");
    check_refused(head_missing.write().path(), &["head.safetensors", "bias"]);
    let mut three_classes = Folder::new(Choices { head: Head::Linear(3), ..PLAIN });
    check_refused(three_classes.write().path(), &["weight", "3 rows"]);
    three_classes.head =
        Tensors::from([("weight".to_owned(), (vec![], vec![1.0])), ("bias".to_owned(), (vec![1], vec![1.0]))]);
    check_refused(three_classes.write().path(), &["weight"]);
    let mut other_width = Folder::new(PLAIN);
    add(&mut other_width.head, "weight", &[1, HIDDEN]);
    check_refused(other_width.write().path(), &["weight", "[1, 4]", "[1, 8]"]);
}

/// The file `name` of a good folder, with its bytes changed.
fn check_file(name: &str, change: impl Fn(&mut Vec<u8>), named: &[&str]) {
    let folder = Folder::new(PLAIN).write();
    let path = folder.path().join(name);
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    check_refused(folder.path(), &[&[name], named].concat());
}

#[test]
fn files_that_are_cut_or_lie_about_their_length_are_refused() {
    for name in ["head.safetensors", "tower/model.safetensors"] {
        check_file(name, |bytes| bytes.truncate(bytes.len() - 3), &["cut"]);
        check_file(name, |bytes| bytes.truncate(30), &["header"]);
        check_file(name, |bytes| bytes.truncate(5), &["cannot be read"]);
        check_file(name, Vec::clear, &["cannot be read"]);
        check_file(name, |bytes| bytes[..8].copy_from_slice(&10_000_000_000_u64.to_le_bytes()), &["10000000000"]);
        check_file(name, |bytes| bytes[8..12].copy_from_slice(b"zzzz"), &["malformed"]);
        check_file(name, |bytes| bytes.extend([0; 9]), &["damaged"]);
    }
}
