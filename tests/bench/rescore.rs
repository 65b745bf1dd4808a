#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a program for whoever measures")]
//! Makes what `rescore.sh` measures: a finished run with a million embeddings of 768 numbers, by the code that writes the
//! tables of a run, and two scorers of its tower.
//!
//! `cargo bench --profile dev --bench rescore -- FOLDER videos|pictures [EMBEDDINGS]`: videos of 32 frames with two faces each, or pictures
//! with one. Vectors are drawn as they come out of a layer norm, from a fixed seed; faces stand where no one looks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use candle_core::Device;
use deepsweep::fingerprint::Fingerprint;
use deepsweep::networks::mtcnn::{Face, FaceBox};
use deepsweep::pipeline::commit::Commit;
use deepsweep::pipeline::compute::Compute;
use deepsweep::pipeline::detect::Detection;
use deepsweep::pipeline::embed::{Embedded, EmbeddedCrop, FrameFaces};
use deepsweep::pipeline::list::{Media, SliceAt};
use deepsweep::pipeline::score::{RunFacts, rows};
use deepsweep::pipeline::slice::SliceParts;
use deepsweep::progress::{Display, Progress};
use deepsweep::results::record::{Provenance, Success};
use deepsweep::scorers::registry::Registry;
use deepsweep::scorers::store::{ModelStore, StoreChoice, StoreSettings};
use deepsweep::scorers::{Opening, Score, ScoredCrop, ScorerChoice, ScorerSet};
use deepsweep::storage::ObjectMeta;
use deepsweep::storage::local::LocalStore;
use deepsweep::storage::s3::S3Options;
use deepsweep::tables::{PartContext, SCHEMA_VERSION};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};

const HIDDEN: usize = 768;
const PROJECTION: usize = 512;
const SLICE_MEDIA: usize = 1_000;

/// SplitMix64 (Steele et al. 2014).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Nearly normal: four uniform numbers of 16 bits, which fill a mantissa.
    fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum: f64 = (0..4).map(|at| (bits >> (16 * at) & 0xFFFF) as f64 / 65_536.0).sum();
        ((sum - 2.0) * 1.732) as f32
    }

    fn vector(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.normal()).collect()
    }
}

/// A tower of B/32's width that does nothing in between, and a head on either tap.
fn write_scorers(folder: &Path) {
    let mut numbers = Numbers(1);
    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
    let mut add = |name: &str, shape: &[usize]| {
        let values = numbers.vector(shape.iter().product());
        tensors.insert(name.to_owned(), (shape.to_vec(), values.iter().flat_map(|v| v.to_le_bytes()).collect()));
    };
    add("vision_model.embeddings.patch_embedding.weight", &[HIDDEN, 3, 32, 32]);
    add("vision_model.embeddings.class_embedding", &[HIDDEN]);
    add("vision_model.embeddings.position_embedding.weight", &[2, HIDDEN]);
    add("visual_projection.weight", &[PROJECTION, HIDDEN]);
    let layer = "vision_model.encoder.layers.0";
    for (name, inputs, outputs) in [
        ("self_attn.q_proj", HIDDEN, HIDDEN),
        ("self_attn.k_proj", HIDDEN, HIDDEN),
        ("self_attn.v_proj", HIDDEN, HIDDEN),
        ("self_attn.out_proj", HIDDEN, HIDDEN),
        ("mlp.fc1", HIDDEN, 16),
        ("mlp.fc2", 16, HIDDEN),
    ] {
        add(&format!("{layer}.{name}.weight"), &[outputs, inputs]);
        add(&format!("{layer}.{name}.bias"), &[outputs]);
    }
    let norms = ["layer_norm1", "layer_norm2"].map(|norm| format!("{layer}.{norm}"));
    for norm in ["pre_layrnorm", "post_layernorm"].map(|norm| format!("vision_model.{norm}")).into_iter().chain(norms) {
        add(&format!("{norm}.weight"), &[HIDDEN]);
        add(&format!("{norm}.bias"), &[HIDDEN]);
    }
    std::fs::create_dir_all(folder.join("tower")).unwrap();
    let config = r#"{"model_type": "clip_vision_model", "hidden_size": 768, "intermediate_size": 16,
        "num_hidden_layers": 1, "num_attention_heads": 12, "image_size": 32, "patch_size": 32, "projection_dim": 512,
        "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}"#;
    std::fs::write(folder.join("tower/config.json"), config).unwrap();
    write_tensors(&tensors, &folder.join("tower/model.safetensors"));
    for (name, width) in [("pooled", HIDDEN), ("projected", PROJECTION)] {
        let place = folder.join(name);
        std::fs::create_dir_all(&place).unwrap();
        let text = format!(
            "name = \"{name}\"\nversion = \"1\"\nlicence = \"MIT\"\nsource = \"a bench\"\n[tower]\npath = \"../tower\"\n\
             [input]\ncrop = \"box\"\nmargin = 0.3\nresize = \"short-side\"\nsize_px = 32\nmean = [0.5, 0.5, 0.5]\n\
             deviation = [0.25, 0.25, 0.25]\n[embedding]\ntap = \"{name}\"\nl2 = false\n\
             [head]\nkind = \"linear\"\nfile = \"head.safetensors\"\n"
        );
        std::fs::write(place.join("scorer.toml"), text).unwrap();
        let values = |count| numbers.vector(count).iter().flat_map(|v| (v / 30.0).to_le_bytes()).collect::<Vec<u8>>();
        let mut values = values;
        let head = BTreeMap::from([
            ("weight".to_owned(), (vec![1, width], values(width))),
            ("bias".to_owned(), (vec![1], values(1))),
        ]);
        write_tensors(&head, &place.join("head.safetensors"));
    }
}

fn write_tensors(tensors: &BTreeMap<String, (Vec<usize>, Vec<u8>)>, path: &Path) {
    let view = |(shape, bytes): &'_ (Vec<usize>, Vec<u8>)| (shape.clone(), bytes.clone());
    let owned: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), view(tensor))).collect();
    let views =
        owned.iter().map(|(name, (shape, bytes))| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    serialize_to_file(views, None, path).unwrap();
}

async fn open(folder: &Path) -> ScorerSet {
    let registry = Registry::open(None).unwrap();
    let place = folder.join("models").to_str().unwrap().to_owned();
    let store = || {
        let choice = StoreChoice { models: Some(place.clone()), offline: true };
        Ok(ModelStore::new(StoreSettings::resolve(&choice, S3Options::default(), &|_| None)?))
    };
    let (device, display) = (Device::Cpu, Display::None);
    let opening = Opening {
        registry: &registry,
        store: &store,
        accept_licence: false,
        device: &device,
        pool: None,
        display: &display,
    };
    let scorer = ScorerChoice::Named(folder.join("pooled").to_str().unwrap().to_owned());
    opening.open(&[scorer]).await.unwrap()
}

/// A media with the faces that its kind has.
fn media(at: usize, seq: u64, is_video: bool, numbers: &mut Numbers) -> Embedded {
    let (n_frames, n_faces) = if is_video { (32, 2) } else { (1, 1) };
    let ending = if is_video { "mp4" } else { "jpg" };
    let object = ObjectMeta {
        key: format!("archive/2026/{at:09}.{ending}"),
        size_bytes: 1_000_000,
        etag: Some(format!("{:032x}", numbers.next())),
        version_id: None,
        modified: None,
    };
    let media = Media {
        kind: Some(if is_video { "video" } else { "image" }),
        container: Some(if is_video { "mp4" } else { "jpeg" }),
        codec: is_video.then_some("h264"),
        size_px: Some((1920, 1080)),
        duration_s: is_video.then_some(60.0),
        frames_sampled: is_video.then_some(n_frames),
        ..Media::new(seq, SliceAt::default(), object)
    };
    let (mut frames, mut crops) = (vec![], vec![]);
    for frame in 0..n_frames as usize {
        let mut detections = vec![];
        for face in 0..n_faces {
            let (x0, y0) = (400.0 + 700.0 * face as f32 + numbers.normal(), 300.0 + numbers.normal());
            let bounds = FaceBox { x0, y0, x1: x0 + 150.0 + numbers.normal(), y1: y0 + 200.0 + numbers.normal() };
            let landmarks = [[x0 + 50.0, y0 + 70.0]; 5].map(|[x, y]| [x + numbers.normal(), y + numbers.normal()]);
            let confidence = 0.99 + numbers.normal() / 1e3;
            let sharpness = Some(100.0 + numbers.normal());
            detections.push(Detection { face: Face { bounds, landmarks, confidence }, sharpness });
            let scored =
                ScoredCrop { pooled: numbers.vector(HIDDEN), scores: vec![Some(Score { logit: 0.0, score: 0.5 })] };
            crops.push(EmbeddedCrop { frame, face: Some(face), pass: 0, scored });
        }
        let pts_s = is_video.then_some(frame as f64 * 1.875);
        frames.push(FrameFaces { index: frame as i32 * 47, pts_s, size_px: (1920, 1080), detections });
    }
    Embedded { media, frames, crops }
}

async fn make(folder: &Path, is_video: bool, embeddings: usize) {
    write_scorers(folder);
    let scorers = Arc::new(open(folder).await);
    let out = folder.join("results");
    std::fs::create_dir_all(&out).unwrap();
    let store = LocalStore::open(&out, None).unwrap();
    let fingerprint = Fingerprint::of("made up", &scorers);
    let (bucket, device) = ("archive".to_owned(), "cpu".to_owned());
    let facts = RunFacts {
        bucket,
        fingerprint,
        scorers: Arc::clone(&scorers),
        keep_embeddings: true,
        device,
        limits: String::new(),
    };
    let (scratch, compute) = (std::env::temp_dir(), Compute::new(1).unwrap());
    let total = embeddings.div_ceil(if is_video { 64 } else { 1 });
    let (progress, mut parts) = (Progress::default(), vec![]);
    for (slice, first) in (0..total).step_by(SLICE_MEDIA).enumerate() {
        let mut numbers = Numbers(slice as u64 + 2);
        let context = PartContext {
            run_id: "made".to_owned(),
            dt: "2026-01-02".to_owned(),
            fingerprint: facts.fingerprint.whole.clone(),
            detection_fingerprint: facts.fingerprint.detection.clone(),
            limits: String::new(),
            shard: 0,
            slice: slice as u64,
        };
        let mut tables = SliceParts::new(&context, true).unwrap();
        let all: Vec<usize> = (first..total.min(first + SLICE_MEDIA)).collect();
        for some in all.chunks(50) {
            let made = |at: &usize| rows(Ok(media(*at, *at as u64, is_video, &mut numbers)), &facts);
            let made: Vec<_> = some.iter().map(made).collect();
            made.iter().for_each(|rows| progress.finished(rows));
            tables.add(&made).unwrap();
        }
        let commit =
            Commit { store: &store, scratch: &scratch, device: "cpu", encode_time: Duration::ZERO, compute: &compute };
        parts.extend(commit.commit(tables.finish().unwrap()).await.unwrap().expect("a folder of its own"));
    }
    let success = Success {
        run_id: "made",
        schema_version: SCHEMA_VERSION,
        code_version: "bench",
        fingerprint: Some(&facts.fingerprint.whole),
        detection_fingerprint: Some(&facts.fingerprint.detection),
        device: "cpu",
        scorers: &Provenance::of(&scorers),
        rescored_from: None,
        settings: &[],
        tally: &progress.tally(),
        parts: &parts,
    };
    success.put(&store).await.unwrap();
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [folder, kind, more @ ..] = words.as_slice() else {
        println!("rescore: expected FOLDER videos|pictures [EMBEDDINGS]"); // cargo runs every bench without arguments
        return;
    };
    let embeddings = more.first().map_or(1_000_000, |count| count.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(make(Path::new(folder), kind == "videos", embeddings));
}
