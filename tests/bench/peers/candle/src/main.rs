//! CLIP's tower by candle-transformers, as a peer of the benchmark.
//!
//! In: the folder of inputs.py, the number of threads, and tasks on standard input, such as `clip b32 8`.
//! Out: one JSON line a task: milliseconds, and the first crop's embedding at unit length.
//! Never: loads anything while it measures.

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{DType, Device, Module, Tensor, safetensors};
use candle_nn::VarBuilder;
use candle_transformers::models::clip::text_model::Activation;
use candle_transformers::models::clip::vision_model::{ClipVisionConfig, ClipVisionTransformer};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The transformer gives the pooled class token; projecting it is left to the user.
struct Tower {
    transformer: ClipVisionTransformer,
    projection: Tensor, // [d, proj]
}

impl Tower {
    fn open(folder: &Path) -> Result<Self> {
        let config: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?;
        let number = |name: &str| config[name].as_u64().map(|n| n as usize).ok_or(format!("config without {name}"));
        if config["hidden_act"] != "quick_gelu" {
            return Err(format!("expected quick_gelu, found {}", config["hidden_act"]).into());
        }
        let config = ClipVisionConfig {
            embed_dim: number("hidden_size")?,
            activation: Activation::QuickGelu,
            intermediate_size: number("intermediate_size")?,
            num_hidden_layers: number("num_hidden_layers")?,
            num_attention_heads: number("num_attention_heads")?,
            projection_dim: number("projection_dim")?,
            num_channels: 3,
            image_size: number("image_size")?,
            patch_size: number("patch_size")?,
        };
        let weights = safetensors::load(folder.join("model.safetensors"), &Device::Cpu)?;
        let projection = weights.get("visual_projection.weight").ok_or("no visual_projection.weight")?.t()?;
        let projection = projection.contiguous()?;
        let weights = VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu);
        let transformer = ClipVisionTransformer::new(weights.pp("vision_model"), &config)?;
        Ok(Self { transformer, projection })
    }

    fn embed(&self, pixels: &Tensor) -> Result<Vec<f32>> {
        let pooled = self.transformer.forward(pixels)?; // [b, d]
        Ok(pooled.contiguous()?.matmul(&self.projection)?.flatten_all()?.to_vec1()?) // [b · proj]
    }
}

struct Peer {
    inputs: PathBuf,
    pixels: Tensor, // [32, 3, 224, 224]
    towers: HashMap<String, Tower>,
    batches: HashMap<usize, Tensor>,
}

impl Peer {
    fn run(&mut self, task: &str) -> Result<String> {
        let words: Vec<&str> = task.split_whitespace().collect();
        let ["clip", name, batch] = words[..] else {
            return Err(format!("expected `clip TOWER BATCH`, found {task:?}").into());
        };
        if !self.towers.contains_key(name) {
            self.towers.insert(name.to_owned(), Tower::open(&self.inputs.join(name))?);
        }
        let size: usize = batch.parse()?;
        if !self.batches.contains_key(&size) {
            self.batches.insert(size, self.pixels.narrow(0, 0, size)?.copy()?);
        }
        let (tower, pixels) = (&self.towers[name], &self.batches[&size]);
        let begin = Instant::now();
        let embeddings = tower.embed(pixels)?;
        let ms = begin.elapsed().as_secs_f64() * 1e3;
        let first = &embeddings[..embeddings.len() / size];
        let length = first.iter().map(|v| v * v).sum::<f32>().sqrt();
        let unit: Vec<f32> = first.iter().map(|v| v / length).collect();
        Ok(serde_json::json!({ "ms": ms, "out": unit }).to_string())
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, inputs, threads] = &arguments[..] else {
        return Err("usage: candle-peer INPUTS THREADS".into());
    };
    // gemm asks the variable, candle's own loops ask the pool.
    if std::env::var("RAYON_NUM_THREADS").as_deref() != Ok(threads) {
        return Err(format!("expected RAYON_NUM_THREADS={threads} in the environment").into());
    }
    rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;
    let inputs = PathBuf::from(inputs);
    let mut tensors = safetensors::load(inputs.join("clip.safetensors"), &Device::Cpu)?;
    let pixels = tensors.remove("pixels").ok_or("clip.safetensors without pixels")?;
    let mut peer = Peer { inputs, pixels, towers: HashMap::new(), batches: HashMap::new() };
    for task in std::io::stdin().lock().lines() {
        let line = peer.run(&task?)?;
        println!("{line}");
        std::io::stdout().flush()?;
    }
    Ok(())
}
