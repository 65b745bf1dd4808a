//! A scorer whose files are here → [`Opened`], ready for a set: everything is read and checked but the tower's tensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Device;
use sha2::{Digest, Sha256};

use super::file::{HeadEntry, HeadPlace, TowerPlace};
use super::head::{self, Head};
use super::locate::Located;
use super::prompts::{self, TextCheckpoint};
use super::set::{Opened, Tower};
use super::store::HubFiles;
use super::{OpenStore, Scorer, Tap, golden, untrained};
use crate::error::Error;
use crate::networks::NetworkError;
use crate::networks::clip::{ClipVisionConfig, Precision};
use crate::networks::weights::{Weights, checkpoint_files, hexadecimal, sha256_of_file};

/// Configurations that a registry may name where a checkpoint has none of its own.
pub(super) const CONFIGS: [(&str, &str); 1] =
    [("clip-vit-large-patch14.json", include_str!("../../models/configs/clip-vit-large-patch14.json"))];

/// `store`: opened for the embeddings of prompts, which are kept there.
///
/// # Errors
/// Whatever is missing, misshapen, not finite or of another width, by name.
pub(super) fn load(located: &Located, store: OpenStore<'_>, device: &Device) -> Result<Opened, Error> {
    let file = &located.words.file;
    let failed = |e: NetworkError| located.words.wrong(&e);
    let tower = read_tower(located, device).map_err(failed)?;
    let (config, tower_hash) = (&tower.tower.config, &tower.hash);
    for crop in file.input.crops() {
        if crop.size_px as usize != config.image_px {
            return Err(located.words.wrong(&format_args!(
                "input.size_px: expected the tower's image_size {}, found {}",
                config.image_px, crop.size_px
            )));
        }
    }
    let width = match file.embedding.tap {
        Tap::Pooled => config.hidden,
        Tap::Projected => config.projection,
    };
    let (head, head_stated) = read_head(located, width, tower_hash, store).map_err(failed)?;
    let mut hasher = Sha256::new();
    // Paths are left out: where a file lies does not change the number, what is in it does.
    let stated = (&file.name, &file.version, &file.input, &file.embedding, &file.calibration);
    let stated = serde_json::to_string(&stated).map_err(|e| located.words.wrong(&e))?;
    for part in [&stated, tower_hash, &head_stated] {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    Ok(Opened {
        scorer: Scorer {
            id: file.id(),
            licence: file.licence.clone(),
            source: file.source.clone(),
            input: file.input.clone(),
            embedding: file.embedding,
            digest: hexadecimal(&hasher.finalize()),
            warning: (file.tower.place == TowerPlace::Untrained).then_some(untrained::TOWER_WARNING),
            calibration: file.calibration.clone(),
            precision: Precision::F32,
            goldens: golden::read(located).map_err(|what| located.words.wrong(&what))?,
            head,
        },
        tower: tower.tower,
    })
}

/// A tower, and the hash of everything that its numbers come from.
struct ReadTower {
    tower: Tower,
    hash: String,
}

fn read_tower(located: &Located, device: &Device) -> Result<ReadTower, NetworkError> {
    if located.words.file.tower.place == TowerPlace::Untrained {
        let tower = untrained::tower(device)?;
        return Ok(ReadTower { hash: tower.id.clone(), tower });
    }
    let (config, config_hash) = read_config(located)?;
    let hash = tower_hash(located, &config_hash)?;
    let id = tower_id(&config, &hash);
    Ok(ReadTower {
        tower: Tower { id, config, weights: tower_weights(located, device)?, precision: Precision::F32 },
        hash,
    })
}

/// The tower's checkpoint under transformers' names, with what the scorer puts over it.
fn tower_weights(located: &Located, device: &Device) -> Result<Weights, NetworkError> {
    let tower = &located.words.file.tower;
    let weights = Weights::open(&located.tower, device)?.with_prefix(&tower.prefix).in_transformers_layout()?;
    match &tower.overlay {
        Some(overlay) => {
            let overlay = Weights::open(&located.words.beside(overlay), device)?;
            // What was tuned bears the checkpoint's prefix; what an import wrote bears none.
            let is_prefixed = overlay.shapes().any(|(name, _)| name.starts_with(&tower.prefix));
            let overlay = if is_prefixed { overlay.with_prefix(&tower.prefix) } else { overlay };
            weights.overlaid_by(overlay.in_transformers_layout()?)
        }
        None => Ok(weights),
    }
}

/// The head, and everything that its numbers come from.
fn read_head(
    located: &Located,
    width: usize,
    tower_hash: &str,
    store: OpenStore<'_>,
) -> Result<(Head, String), NetworkError> {
    let of_file = || {
        let path = located.head.clone().unwrap_or_default();
        if !path.is_file() {
            let at = path.display().to_string();
            return Err(NetworkError::Weights(format!("head.file: expected a file of weights, found none at {at:?}")));
        }
        Ok((Weights::open(&path, &Device::Cpu)?, sha256_of_file(&path)?))
    };
    Ok(match &located.words.file.head {
        HeadEntry::Linear(HeadPlace::Tower { prefix }) => {
            let weights = Weights::open(&located.tower, &Device::Cpu)?.with_prefix(prefix);
            (Head::linear(&weights, width)?, format!("linear {tower_hash} {prefix:?}"))
        }
        HeadEntry::Linear(_) => {
            let (weights, hash) = of_file()?;
            (Head::linear(&weights, width)?, format!("linear {hash}"))
        }
        HeadEntry::ZeroShot { logit_scale, .. } => {
            let (weights, hash) = of_file()?;
            let head = head::read_zero_shot(&weights, width, *logit_scale)?;
            (head, format!("zero-shot {hash} logit_scale={logit_scale:?}"))
        }
        HeadEntry::Prompts(prompts) => {
            let weights = tower_weights(located, &Device::Cpu)?;
            let config = config_path(located).unwrap_or_else(|| located.tower.join("config.json"));
            let checkpoint =
                TextCheckpoint { config: &config, tokenizer: &located.tower, weights: &weights, digest: tower_hash };
            let cache = match store() {
                Ok(store) => Some(store.settings().cache.join("prompts")),
                Err(error) => {
                    tracing::warn!("the embeddings of prompts are not kept: {error}");
                    None
                }
            };
            let embeddings = prompts::embed(prompts, &checkpoint, cache.as_deref())?;
            let mut stated = Sha256::new();
            for value in embeddings.real.iter().chain(&embeddings.fake).chain([&embeddings.logit_scale]) {
                stated.update(value.to_le_bytes());
            }
            (embeddings.into_head()?, format!("prompts {}", hexadecimal(&stated.finalize())))
        }
    })
}

/// The tower's shape, and the hash of the file that says it.
fn read_config(located: &Located) -> Result<(ClipVisionConfig, String), NetworkError> {
    let built_in = located.words.file.tower.config.as_deref().filter(|_| located.words.folder.is_none());
    if let Some(name) = built_in.and_then(Path::to_str) {
        let (_, text) = CONFIGS.iter().find(|(known, _)| *known == name).ok_or_else(|| {
            NetworkError::Weights(format!("tower.config: expected one that is built in, found {name:?}"))
        })?;
        let config = ClipVisionConfig::parse(text)
            .map_err(|e| NetworkError::Weights(format!("tower configuration {name:?}: {e}")))?;
        return Ok((config, hexadecimal(&Sha256::digest(text))));
    }
    let path = config_path(located).unwrap_or_else(|| located.tower.join("config.json"));
    Ok((ClipVisionConfig::read(&path)?, sha256_of_file(&path)?))
}

/// A configuration that the scorer brings along.
fn config_path(located: &Located) -> Option<PathBuf> {
    located
        .words
        .file
        .tower
        .config
        .as_deref()
        .filter(|_| located.words.folder.is_some())
        .map(|config| located.words.beside(config))
}

/// `clip-vit-768w12l-p32-224px@` and the first twelve digits of the weights' hash.
pub(super) fn tower_id(config: &ClipVisionConfig, hash: &str) -> String {
    let ClipVisionConfig { hidden, layers, patch_px, image_px, .. } = config;
    format!("clip-vit-{hidden}w{layers}l-p{patch_px}-{image_px}px@{}", hash.get(..12).unwrap_or(hash))
}

/// sha256 over the hashes of the configuration, of each file of weights in order of their names, and of what is put
/// over them.
fn tower_hash(located: &Located, config_hash: &str) -> Result<String, NetworkError> {
    let mut hasher = Sha256::new();
    hasher.update(config_hash);
    let tower = &located.words.file.tower;
    let pins = match &tower.place {
        TowerPlace::Folder { files, .. } | TowerPlace::Hub(HubFiles { files, .. }) => files,
        TowerPlace::Untrained => &BTreeMap::new(),
    };
    for file in checkpoint_files(&located.tower)? {
        // What is pinned has just been checked: a gigabyte need not be read twice.
        match file.file_name().and_then(|name| pins.get(name.to_str()?)) {
            Some(pin) => hasher.update(&pin.sha256),
            None => hasher.update(sha256_of_file(&file)?),
        }
    }
    if !tower.prefix.is_empty() {
        hasher.update(format!(" prefix={:?}", tower.prefix));
    }
    if let Some(overlay) = &tower.overlay {
        hasher.update(format!(" overlay={}", sha256_of_file(&located.words.beside(overlay))?));
    }
    Ok(hexadecimal(&hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::CONFIGS;
    use crate::networks::clip::ClipVisionConfig;
    use crate::scorers::registry::Registry;

    #[test]
    fn every_configuration_that_the_built_in_registry_names_is_built_in_and_fits() {
        let mut found = 0;
        for entry in Registry::open(None).unwrap().entries {
            let Some(name) = &entry.file.tower.config else { continue };
            let (_, text) = CONFIGS.iter().find(|(known, _)| Some(*known) == name.to_str()).unwrap();
            let config = ClipVisionConfig::parse(text).unwrap();
            assert_eq!((config.hidden, config.layers, config.patch_px, config.projection), (1024, 24, 14, 768));
            assert!(entry.file.input.crops().iter().all(|crop| crop.size_px as usize == config.image_px));
            found += 1;
        }
        assert_eq!(found, CONFIGS.len());
    }
}
