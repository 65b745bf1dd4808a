//! The prompts of a zero-shot head → one unit vector for each class.
//!
//! Each prompt goes through the checkpoint's text tower and is brought to unit length; the mean over a class's
//! prompts, brought to unit length again, stands for the class. Source: the notebook "Prompt engineering for
//! ImageNet" of openai/CLIP, which averages its templates this way.
//!
//! Beside L/14, on two cores that others used too: 16 prompts 6 s, 160 prompts 19 s, 0.9 GB until it is done; from
//! the cache half a second, which is the vocabulary's.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::head::{Head, read_logit_scale};
use super::prompt_cache::PromptCache;
use crate::networks::NetworkError;
use crate::networks::clip::{ClipText, ClipTextConfig, ClipTokenizer, TOKEN_EMBEDDING};
use crate::networks::weights::{Weights, hexadecimal};

/// Raised whenever a change here, in the tokenizer or in the tower moves an embedding: older cache files are then
/// not read again.
const PROMPTS_VERSION: u32 = 1;

/// 16 texts of 77 tokens keep the widest activation below 16 MB, and are enough to keep the cores at work.
const PROMPTS_PER_BATCH: usize = 16;

/// What pictures are compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prompts {
    pub real: Vec<String>,
    pub fake: Vec<String>,
    /// The logarithm of the scale; without it the checkpoint's own counts.
    pub logit_scale: Option<f32>,
}

/// A CLIP checkpoint with its text tower.
#[derive(Debug, Clone, Copy)]
pub struct TextCheckpoint<'a> {
    /// The configuration with a `text_config`.
    pub config: &'a Path,
    /// The folder of `tokenizer.json`, or of `vocab.json` and `merges.txt`.
    pub tokenizer: &'a Path,
    /// Under transformers' names. Opened on the CPU, prompts have the same embeddings whatever device scores.
    pub weights: &'a Weights,
    /// Says which weights these are: the sha256 of their files.
    pub digest: &'a str,
}

/// Unit vectors `[projection]`, and the scale that goes with them.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptEmbeddings {
    pub real: Vec<f32>,
    pub fake: Vec<f32>,
    /// The logarithm, as checkpoints store it.
    pub logit_scale: f32,
}

impl PromptEmbeddings {
    /// # Errors
    /// A logit scale that is no logarithm.
    pub fn into_head(self) -> Result<Head, NetworkError> {
        Head::zero_shot([self.real, self.fake], self.logit_scale)
    }
}

/// Embeds the prompts, or finds in `cache` what an earlier run embedded. The cache is a folder; where it cannot be
/// written, or what lies there is damaged, a warning says so and the prompts are embedded anew.
///
/// # Errors
/// A checkpoint without a text tower, tokenizer or logit scale; no prompt, or one that is empty, too long for the
/// tower, or that the vocabulary does not know.
pub fn embed(
    prompts: &Prompts,
    checkpoint: &TextCheckpoint<'_>,
    cache: Option<&Path>,
) -> Result<PromptEmbeddings, NetworkError> {
    let TextCheckpoint { weights, .. } = *checkpoint;
    let config = text_tower(checkpoint)?;
    let logit_scale = match prompts.logit_scale {
        Some(scale) => scale,
        None => read_logit_scale(weights)?,
    };
    let tokenizer = ClipTokenizer::open(checkpoint.tokenizer)?;
    let tokens = [
        tokens_of("real", &prompts.real, &tokenizer, config.context)?,
        tokens_of("fake", &prompts.fake, &tokenizer, config.context)?,
    ];
    let cache = cache.map(|folder| PromptCache {
        folder,
        key: cache_key(checkpoint.digest, &config, &tokens),
        width: config.projection,
    });
    let found = cache.as_ref().and_then(PromptCache::read);
    let [real, fake] = match found {
        Some(classes) => classes,
        None => {
            let tower = ClipText::new(config, weights)?;
            let [real, fake] = &tokens;
            let classes = [class_vector(&tower, real)?, class_vector(&tower, fake)?];
            if let Some(cache) = &cache {
                cache.write(&classes);
            }
            classes
        }
    };
    Ok(PromptEmbeddings { real, fake, logit_scale })
}

/// The text tower's configuration, where the checkpoint has such a tower.
fn text_tower(checkpoint: &TextCheckpoint<'_>) -> Result<ClipTextConfig, NetworkError> {
    let advised = |e: NetworkError| {
        NetworkError::Weights(format!(
            "{e}; prompts need a text tower: take a full CLIP checkpoint, or give prompt embeddings by head.file"
        ))
    };
    let config = ClipTextConfig::read(checkpoint.config).map_err(advised)?;
    if !checkpoint.weights.contains(TOKEN_EMBEDDING) {
        // Asking for it words the error.
        checkpoint.weights.get(TOKEN_EMBEDDING, &[config.vocabulary, config.hidden]).map_err(advised)?;
    }
    Ok(config)
}

fn tokens_of(
    class: &str,
    prompts: &[String],
    tokenizer: &ClipTokenizer,
    context: usize,
) -> Result<Vec<Vec<u32>>, NetworkError> {
    let wrong = |what: String| Err(NetworkError::Weights(format!("head.{class}: {what}")));
    if prompts.is_empty() {
        return wrong("expected at least one prompt, found none".to_owned());
    }
    let mut tokens = vec![];
    for prompt in prompts {
        let ids = tokenizer.encode(prompt)?;
        let words = &ids[1..ids.len() - 1];
        if words.is_empty() {
            return wrong(format!("expected words in every prompt, found {prompt:?}"));
        }
        if words.iter().any(|id| tokenizer.marks().contains(id)) {
            return wrong(format!(
                "expected words that the vocabulary has tokens for, and none of its marks, found {prompt:?}"
            ));
        }
        if ids.len() > context {
            // Cut short it would be another prompt than the one that was written.
            return wrong(format!(
                "expected prompts of at most {context} tokens, found {} in {prompt:?}: shorten it",
                ids.len()
            ));
        }
        tokens.push(ids);
    }
    Ok(tokens)
}

/// Everything that moves an embedding. The tokens stand for the prompts and the tokenizer at once.
fn cache_key(digest: &str, config: &ClipTextConfig, classes: &[Vec<Vec<u32>>; 2]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(format!("{PROMPTS_VERSION} {digest} {config:?} {classes:?}"));
    hexadecimal(&hasher.finalize())
}

/// Each text at unit length, then their mean at unit length: `[projection]`.
fn class_vector(tower: &ClipText, texts: &[Vec<u32>]) -> Result<Vec<f32>, NetworkError> {
    let mut mean = vec![0.0; tower.config().projection];
    for batch in texts.chunks(PROMPTS_PER_BATCH) {
        for row in tower.forward(batch)?.to_vec2::<f32>()? {
            for (sum, v) in mean.iter_mut().zip(unit_length(row.iter().map(|v| f64::from(*v)))?) {
                *sum += v / texts.len() as f64;
            }
        }
    }
    Ok(unit_length(mean.into_iter())?.map(|v| v as f32).collect())
}

fn unit_length(x: impl Iterator<Item = f64> + Clone) -> Result<impl Iterator<Item = f64>, NetworkError> {
    let length = x.clone().map(|v| v * v).sum::<f64>().sqrt();
    if length.is_finite() && length > 0.0 {
        Ok(x.map(move |v| v / length))
    } else {
        Err(NetworkError::Weights(format!("text tower: expected an embedding with a direction, found length {length}")))
    }
}
