//! The networks, timed by whoever asks: `cargo bench --bench networks -- INPUTS THREADS` with the folder that
//! `tests/bench/peers/inputs.py` makes.
//!
//! In: lines of standard input, each a task: `mtcnn 1280x720 20` (the smallest face), `pnet`, `rnet`, `onet`,
//! `clip b32 8` (crops), the last also with `bf16`, and with `candle` for the tower in candle's operations. Out: for each a line of JSON,
//! the milliseconds of one run and what came of it. Whatever can be loaded beforehand is no part of them. That the
//! caller says when lets it take turns between this and the peers.

#![expect(clippy::print_stdout, reason = "what it measures goes there")]

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{Device, Tensor};
use deepsweep::networks::clip::{ClipVision, ClipVisionConfig, Precision};
use deepsweep::networks::mtcnn::{Mtcnn, MtcnnSettings};
use deepsweep::networks::weights::Weights;
use image::RgbImage;
use rayon::ThreadPool;
use serde_json::{Value, json};

/// What P-Net's cells must reach: the cascade's default.
const P_THRESHOLD: f32 = 0.6;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // `cargo bench` adds a flag of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [inputs, threads] = arguments.as_slice() else {
        return Err("expected INPUTS THREADS".into());
    };
    let mut bench = Bench::new(Path::new(inputs), threads.parse()?)?;
    for line in std::io::stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let (secs, out) = match words.as_slice() {
            ["mtcnn", size, min_face_px] => bench.mtcnn(size, min_face_px.parse()?),
            ["pnet"] => bench.pnet(),
            ["rnet"] => bench.crops("rnet"),
            ["onet"] => bench.crops("onet"),
            ["clip", tower, crops] => bench.clip(tower, crops.parse()?, "direct"),
            ["clip", tower, crops, way] => bench.clip(tower, crops.parse()?, way),
            _ => Err(format!("expected a task, found {line:?}").into()),
        }?;
        println!("{}", json!({ "ms": secs * 1e3, "out": out }));
    }
    Ok(())
}

struct Bench {
    inputs: PathBuf,
    pool: ThreadPool,
    mtcnn: Mtcnn,
    pictures: HashMap<String, RgbImage>,
    tensors: HashMap<String, HashMap<String, Tensor>>,
    towers: HashMap<String, ClipVision>,
}

impl Bench {
    fn new(inputs: &Path, threads: usize) -> Outcome<Self> {
        Ok(Self {
            inputs: inputs.to_owned(),
            pool: rayon::ThreadPoolBuilder::new().num_threads(threads).build()?,
            mtcnn: Mtcnn::new(&Device::Cpu)?,
            pictures: HashMap::new(),
            tensors: HashMap::new(),
            towers: HashMap::new(),
        })
    }

    /// The faces: corners and confidence.
    fn mtcnn(&mut self, size: &str, min_face_px: f32) -> Outcome<(f64, Value)> {
        if !self.pictures.contains_key(size) {
            let picture = image::open(self.inputs.join(format!("{size}.png")))?.to_rgb8();
            self.pictures.insert(size.to_owned(), picture);
        }
        let settings = MtcnnSettings { min_face_px, ..Default::default() };
        let (secs, faces) = timed(&self.pool, || self.mtcnn.detect(&self.pictures[size], &settings));
        let faces = faces?.into_iter().map(|face| {
            let bounds = face.bounds;
            [bounds.x0, bounds.y0, bounds.x1, bounds.y1, face.confidence]
        });
        Ok((secs, json!(faces.collect::<Vec<_>>())))
    }

    /// How many cells of all levels reach the threshold, and the sum of their probabilities.
    fn pnet(&mut self) -> Outcome<(f64, Value)> {
        self.open("pyramid")?;
        let mut levels: Vec<&Tensor> = self.tensors["pyramid"].values().collect();
        levels.sort_by_key(|level| std::cmp::Reverse(level.elem_count()));
        let (secs, found) = timed(&self.pool, || {
            levels.iter().map(|level| self.mtcnn.p_net(level, P_THRESHOLD)).collect::<Result<Vec<_>, _>>()
        });
        let found = found?.concat();
        Ok((secs, json!([found.len(), found.iter().map(|cell| f64::from(cell.probability)).sum::<f64>()])))
    }

    /// The probability of each crop.
    fn crops(&mut self, network: &str) -> Outcome<(f64, Value)> {
        self.open("crops")?;
        let crops = &self.tensors["crops"][network];
        let (secs, confidences) = timed(&self.pool, || match network {
            "rnet" => self.mtcnn.r_net(crops).map(|found| found.confidences),
            _ => self.mtcnn.o_net(crops).map(|found| found.confidences),
        });
        Ok((secs, json!(confidences?)))
    }

    /// The first crop's projected embedding, of unit length.
    fn clip(&mut self, tower: &str, crops: usize, way: &str) -> Outcome<(f64, Value)> {
        self.open("clip")?;
        let name = format!("{tower} {way}");
        if !self.towers.contains_key(&name) {
            let folder = self.inputs.join(tower);
            let config = ClipVisionConfig::read(&folder.join("config.json"))?;
            let weights = Weights::open(&folder, &Device::Cpu)?;
            let opened = match way {
                "direct" => ClipVision::new(config, &weights)?,
                "candle" => ClipVision::in_candle(config, &weights)?,
                "bf16" => ClipVision::with_precision(config, &weights, Precision::Bf16)?,
                other => return Err(format!("expected direct, bf16 or candle, found {other:?}").into()),
            };
            self.towers.insert(name.clone(), opened);
        }
        let pixels = self.tensors["clip"]["pixels"].narrow(0, 0, crops)?;
        let (secs, embeddings) = timed(&self.pool, || self.towers[&name].forward(&pixels));
        let first: Vec<f32> = embeddings?.projected.get(0)?.to_vec1()?;
        let length = first.iter().map(|value| value * value).sum::<f32>().sqrt();
        Ok((secs, json!(first.iter().map(|value| value / length).collect::<Vec<_>>())))
    }

    fn open(&mut self, name: &str) -> Outcome<()> {
        if !self.tensors.contains_key(name) {
            let path = self.inputs.join(format!("{name}.safetensors"));
            self.tensors.insert(name.to_owned(), candle_core::safetensors::load(path, &Device::Cpu)?);
        }
        Ok(())
    }
}

/// The seconds of one run on the pool.
fn timed<R: Send>(pool: &ThreadPool, work: impl FnOnce() -> R + Send) -> (f64, R) {
    pool.install(|| {
        let start = Instant::now();
        let result = work();
        (start.elapsed().as_secs_f64(), result)
    })
}
