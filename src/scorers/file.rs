//! `scorer.toml` as it is written. A field that is missing, unknown or out of range is an error that names it.
//!
//! In: text. Out: [`ScorerFile`], checked as far as words alone can be; it opens no other file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::prompts::Prompts;
use super::store::{FilePin, HubFiles, UrlFile};
use super::untrained::VERSION as UNTRAINED_VERSION;
use super::{Calibration, EmbeddingRecipe, InputRecipe, Tap};

/// One scorer, in the words of its author.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScorerFile {
    pub name: String,
    pub version: String,
    pub licence: String,
    pub source: String,
    pub tower: TowerEntry,
    pub input: InputRecipe,
    pub embedding: EmbeddingRecipe,
    pub head: HeadEntry,
    pub calibration: Option<Calibration>,
    #[serde(default)]
    pub golden: Vec<GoldenEntry>,
}

/// `[tower]`: where its files are, and how they are to be read.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "TowerWords")]
pub struct TowerEntry {
    pub place: TowerPlace,
    /// Taken in place of the folder's own `config.json`; relative to the scorer's own folder.
    pub config: Option<PathBuf>,
    /// Stands before every key of the checkpoint.
    pub prefix: String,
    /// Tensors that replace the tower's, such as tuned layer norms; relative to the scorer's own folder.
    pub overlay: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TowerPlace {
    /// A transformers CLIP folder; relative to the scorer's own. Its files are checked where `files` names them.
    Folder {
        path: PathBuf,
        files: BTreeMap<String, FilePin>,
    },
    Hub(HubFiles),
    /// The random tower of `untrained-demo`: nothing is fetched, and what is scored with it is an example.
    Untrained,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TowerWords {
    path: Option<PathBuf>,
    untrained: Option<String>,
    repository: Option<String>,
    revision: Option<String>,
    #[serde(default)]
    files: BTreeMap<String, FilePin>,
    config: Option<PathBuf>,
    #[serde(default)]
    prefix: String,
    overlay: Option<PathBuf>,
}

impl TryFrom<TowerWords> for TowerEntry {
    type Error = String;

    fn try_from(words: TowerWords) -> Result<Self, String> {
        let TowerWords { path, untrained, repository, revision, files, config, prefix, overlay } = words;
        let place = match (path, repository, revision) {
            (Some(path), None, None) => {
                for (name, pin) in &files {
                    pin.check().map_err(|what| format!("tower.files.{name:?}.{what}"))?;
                }
                TowerPlace::Folder { path, files }
            }
            (None, Some(repository), Some(revision)) => {
                let files = HubFiles { repository, revision, files };
                files.check().map_err(|what| format!("tower.{what}"))?;
                TowerPlace::Hub(files)
            }
            (None, None, None) if untrained.is_some() => {
                let alone = files.is_empty() && config.is_none() && prefix.is_empty() && overlay.is_none();
                match untrained {
                    Some(version) if alone && version == UNTRAINED_VERSION => TowerPlace::Untrained,
                    _ => {
                        return Err(format!(
                            "tower.untrained: expected \"{UNTRAINED_VERSION}\", and nothing beside it"
                        ));
                    }
                }
            }
            _ => return Err("tower: expected either path, or repository with revision and files".to_owned()),
        };
        Ok(Self { place, config, prefix: dotted(prefix), overlay })
    }
}

/// Names of tensors are words joined by dots: `model.linear` and `model.linear.` mean the same.
fn dotted(prefix: String) -> String {
    if prefix.is_empty() || prefix.ends_with('.') { prefix } else { prefix + "." }
}

/// `[head]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "HeadWords")]
pub enum HeadEntry {
    Linear(HeadPlace),
    /// Prompt embeddings in a file; the logit scale stands there or here, as a logarithm.
    ZeroShot {
        file: PathBuf,
        logit_scale: Option<f32>,
    },
    Prompts(Prompts),
}

/// Where `weight` [k, d] and `bias` [k] are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadPlace {
    /// Relative to the scorer's own folder.
    File(PathBuf),
    Url(UrlFile),
    /// In the tower's own checkpoint: their names begin so.
    Tower {
        prefix: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "kebab-case")]
enum HeadWords {
    Linear {
        file: Option<PathBuf>,
        url: Option<String>,
        pin: Option<FilePin>,
        prefix: Option<String>,
    },
    ZeroShot {
        file: Option<PathBuf>,
        #[serde(default)]
        real: Vec<String>,
        #[serde(default)]
        fake: Vec<String>,
        logit_scale: Option<f32>,
    },
}

impl TryFrom<HeadWords> for HeadEntry {
    type Error = String;

    fn try_from(words: HeadWords) -> Result<Self, String> {
        Ok(match words {
            HeadWords::Linear { file: Some(file), url: None, pin: None, prefix: None } => {
                Self::Linear(HeadPlace::File(file))
            }
            HeadWords::Linear { file: None, url: Some(url), pin: Some(pin), prefix: None } => {
                let file = UrlFile { url, pin };
                file.check().map_err(|what| format!("head.{what}"))?;
                Self::Linear(HeadPlace::Url(file))
            }
            HeadWords::Linear { url: Some(_), pin: None, .. } => {
                return Err("head.pin: expected the sha256 and size of what url gives, found none".to_owned());
            }
            HeadWords::Linear { file: None, url: None, pin: None, prefix: Some(prefix) } => {
                Self::Linear(HeadPlace::Tower { prefix: dotted(prefix) })
            }
            HeadWords::Linear { .. } => {
                return Err("head: expected one of file, url with pin, and prefix".to_owned());
            }
            HeadWords::ZeroShot { file: Some(file), real, fake, logit_scale } if real.is_empty() && fake.is_empty() => {
                Self::ZeroShot { file, logit_scale }
            }
            HeadWords::ZeroShot { file: None, real, fake, logit_scale } if !real.is_empty() && !fake.is_empty() => {
                Self::Prompts(Prompts { real, fake, logit_scale })
            }
            HeadWords::ZeroShot { .. } => {
                return Err("head: expected either prompts for both classes, real and fake, or file".to_owned());
            }
        })
    }
}

/// `[[golden]]`: what the scorer gave where it was made.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenEntry {
    /// What cropping would give, before it is resized.
    pub picture: PathBuf,
    pub logit: f32,
}

/// What a scorer or its version may be called: it stands in rows and in queries.
#[must_use]
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

impl ScorerFile {
    /// # Errors
    /// One line that names the field, what was expected and what was found.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: Self = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        file.check()?;
        Ok(file)
    }

    /// From the words of a registry.
    ///
    /// # Errors
    /// As [`ScorerFile::parse`].
    pub fn from_table(table: toml::Table) -> Result<Self, String> {
        let file: Self = table.try_into().map_err(|e| e.to_string().trim_end().to_owned())?;
        file.check()?;
        Ok(file)
    }

    /// `name@version`: how every row calls it.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    fn check(&self) -> Result<(), String> {
        for (field, value) in [("name", &self.name), ("version", &self.version)] {
            if !is_name(value) {
                return Err(format!("{field}: expected letters, digits, '-', '_' and '.', found {value:?}"));
            }
        }
        for (field, value) in [("licence", &self.licence), ("source", &self.source)] {
            if value.trim().is_empty() {
                return Err(format!(
                    "{field}: expected words, found none: whoever scores must know what it may be used for"
                ));
            }
        }
        if !matches!(self.head, HeadEntry::Linear(_)) && self.embedding.tap != Tap::Projected {
            return Err("embedding.tap: expected \"projected\" for a zero-shot head, found \"pooled\"".to_owned());
        }
        match self.golden.iter().find(|golden| !golden.logit.is_finite()) {
            Some(golden) => Err(format!("golden.logit: expected a finite number, found {}", golden.logit)),
            None => Ok(()),
        }
    }
}
