//! A scorer folder: `scorer.toml` and the safetensors that it names → [`Scorer`].
//!
//! Everything that changes the number is stated there; a field that is missing, unknown or out of range is an error.

use std::path::{Path, PathBuf};

use candle_core::Device;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::head::{self, Head};
use super::{EmbeddingRecipe, InputRecipe, Scorer, Tap};
use crate::error::Error;
use crate::networks::NetworkError;
use crate::networks::clip::{ClipVision, ClipVisionConfig};
use crate::networks::weights::{Weights, checkpoint_files, hexadecimal, sha256_of_file};

/// `scorer.toml` as it is written.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ScorerFile {
    name: String,
    version: String,
    licence: String,
    source: String,
    tower: TowerEntry,
    input: InputRecipe,
    embedding: EmbeddingRecipe,
    head: HeadEntry,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TowerEntry {
    /// A transformers CLIP folder; relative to the scorer's own.
    path: PathBuf,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "kebab-case")]
enum HeadEntry {
    Linear {
        file: PathBuf,
    },
    ZeroShot {
        /// Prompt embeddings [2, d], and `logit_scale` unless it stands here.
        file: PathBuf,
        logit_scale: Option<f32>,
    },
}

/// # Errors
/// Whatever is missing, unknown, misshapen or out of range, by name.
pub(super) fn open(folder: &Path, device: &Device) -> Result<Scorer, Error> {
    let path = folder.join("scorer.toml");
    let text = std::fs::read_to_string(&path).map_err(|e| {
        Error::Usage(format!(
            "scorer {:?}: expected a folder with scorer.toml, found: {e}; \
             other choices: --scorer none (detections only), --scorer untrained-demo",
            folder.display().to_string()
        ))
    })?;
    let in_file =
        |what: &dyn std::fmt::Display| Error::Usage(format!("scorer file {:?}: {what}", path.display().to_string()));
    let file: ScorerFile = toml::from_str(&text).map_err(|e| in_file(&e))?;
    file.check().map_err(|what| in_file(&what))?;

    let failed = |e: NetworkError| in_file(&e);
    let tower_folder = folder.join(&file.tower.path);
    let config = ClipVisionConfig::read(&tower_folder.join("config.json")).map_err(failed)?;
    if file.input.size_px as usize != config.image_px {
        return Err(in_file(&format_args!(
            "input.size_px: expected the tower's image_size {}, found {}",
            config.image_px, file.input.size_px
        )));
    }
    let width = match file.embedding.tap {
        Tap::Pooled => config.hidden,
        Tap::Projected => config.projection,
    };
    let head_path = folder.join(file.head.path());
    if !head_path.is_file() {
        let what =
            format_args!("head.file: expected a safetensors file, found none at {:?}", head_path.display().to_string());
        return Err(in_file(&what));
    }
    let head_weights = Weights::open(&head_path, &Device::Cpu).map_err(failed)?;
    let head = match &file.head {
        HeadEntry::Linear { .. } => Head::linear(&head_weights, width),
        HeadEntry::ZeroShot { logit_scale, .. } => head::read_zero_shot(&head_weights, width, *logit_scale),
    }
    .map_err(failed)?;

    let tower_hash = tower_hash(&tower_folder).map_err(failed)?;
    let mut hasher = Sha256::new();
    // Paths are left out: where a file lies does not change the number, what is in it does.
    let stated = serde_json::to_string(&(&file.name, &file.version, &file.input, &file.embedding, file.head.kind()))
        .map_err(|e| in_file(&e))?;
    for part in [&stated, &tower_hash, &sha256_of_file(&head_path).map_err(failed)?] {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    let tower = ClipVision::open(&tower_folder, device).map_err(failed)?;
    Ok(Scorer {
        id: format!("{}@{}", file.name, file.version),
        tower_id: tower_id(&config, &tower_hash),
        licence: file.licence,
        source: file.source,
        input: file.input,
        embedding: file.embedding,
        digest: hexadecimal(&hasher.finalize()),
        warning: None,
        tower,
        head,
        device: device.clone(),
    })
}

/// `clip-vit-768w12l-p32-224px@` and the first twelve digits of the weights' hash.
pub(super) fn tower_id(config: &ClipVisionConfig, hash: &str) -> String {
    let ClipVisionConfig { hidden, layers, patch_px, image_px, .. } = config;
    format!("clip-vit-{hidden}w{layers}l-p{patch_px}-{image_px}px@{}", hash.get(..12).unwrap_or(hash))
}

/// sha256 over the hashes of `config.json` and of each file of weights, in order of their names.
fn tower_hash(folder: &Path) -> Result<String, NetworkError> {
    let mut hasher = Sha256::new();
    hasher.update(sha256_of_file(&folder.join("config.json"))?);
    for file in checkpoint_files(folder)? {
        hasher.update(sha256_of_file(&file)?);
    }
    Ok(hexadecimal(&hasher.finalize()))
}

impl HeadEntry {
    fn path(&self) -> &Path {
        match self {
            Self::Linear { file } | Self::ZeroShot { file, .. } => file,
        }
    }

    fn kind(&self) -> (&'static str, Option<f32>) {
        match self {
            Self::Linear { .. } => ("linear", None),
            Self::ZeroShot { logit_scale, .. } => ("zero-shot", *logit_scale),
        }
    }
}

impl ScorerFile {
    fn check(&self) -> Result<(), String> {
        for (field, value) in [("name", &self.name), ("version", &self.version)] {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if value.is_empty() || !value.chars().all(allowed) {
                return Err(format!("{field}: expected letters, digits, '-', '_' and '.', found {value:?}"));
            }
        }
        if matches!(self.head, HeadEntry::ZeroShot { .. }) && self.embedding.tap != Tap::Projected {
            return Err("embedding.tap: expected \"projected\" for a zero-shot head, found \"pooled\"".to_owned());
        }
        self.input.check()
    }
}
