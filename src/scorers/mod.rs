//! What turns a picture into a score: tower + crop recipe + head, versioned, all of it stated in one folder.
//!
//! In: square crops. Out: the pooled embedding, a logit, a score; never a number where there is none.

mod folder;
mod head;
mod recipe;
mod untrained;

use std::path::PathBuf;
use std::str::FromStr;

use candle_core::Device;
use image::RgbImage;

use crate::error::Error;
use crate::networks::clip::ClipVision;
use crate::networks::preprocess;

pub use self::head::{Head, Score};
pub use self::recipe::{CropKind, EmbeddingRecipe, InputRecipe, Tap};

/// What `--scorer` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScorerChoice {
    /// Detections only; every score is null.
    None,
    /// A seeded random tower: shows the way through without a download, and its scores mean nothing.
    UntrainedDemo,
    Folder(PathBuf),
}

impl FromStr for ScorerChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("expected a scorer folder, none or untrained-demo, found nothing".to_owned()),
            "none" => Ok(Self::None),
            "untrained-demo" => Ok(Self::UntrainedDemo),
            folder => Ok(Self::Folder(PathBuf::from(folder))),
        }
    }
}

impl std::fmt::Display for ScorerChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => write!(f, "none"),
            Self::UntrainedDemo => write!(f, "untrained-demo"),
            Self::Folder(path) => write!(f, "{}", path.display()),
        }
    }
}

impl ScorerChoice {
    /// Loads what was named; `None` where no scorer was wanted.
    ///
    /// # Errors
    /// A folder that is missing, or that says or holds something no scorer can be made of.
    pub fn open(&self, device: &Device) -> Result<Option<Scorer>, Error> {
        match self {
            Self::None => Ok(None),
            Self::UntrainedDemo => untrained::scorer(device).map(Some),
            Self::Folder(path) => folder::open(path, device).map(Some),
        }
    }
}

/// A scorer, ready to run.
#[derive(Debug)]
pub struct Scorer {
    /// `name@version`: how every row calls it.
    pub id: String,
    /// How the embeddings table calls the tower: its name and the start of its weights' hash.
    pub tower_id: String,
    pub licence: String,
    pub source: String,
    pub input: InputRecipe,
    pub embedding: EmbeddingRecipe,
    /// sha256 over everything that changes the number, weights included.
    pub digest: String,
    /// Said wherever the scorer appears.
    pub warning: Option<&'static str>,
    tower: ClipVision,
    head: Head,
    device: Device,
}

/// What the scorer says of one crop.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredCrop {
    /// The pooled output, before projection: one stored vector serves every head of the same tower.
    pub pooled: Vec<f32>,
    /// None if the tower or the head gave something that is not a finite number.
    pub score: Option<Score>,
}

impl Scorer {
    /// Scores square crops of `input.size_px`, all in one batch.
    ///
    /// # Errors
    /// Only a device that fails.
    pub fn score(&self, crops: &[RgbImage]) -> Result<Vec<ScoredCrop>, Error> {
        let failed = |e: crate::networks::NetworkError| Error::Input(format!("scorer {:?}: {e}", self.id));
        let InputRecipe { size_px, mean, deviation, .. } = self.input;
        let pixels = preprocess::normalise(crops, size_px, mean, deviation, &self.device).map_err(failed)?;
        let embeddings = self.tower.forward(&pixels).map_err(failed)?;
        let to_rows = |t: &candle_core::Tensor| t.to_vec2::<f32>().map_err(|e| failed(e.into()));
        let pooled = to_rows(&embeddings.pooled)?;
        let tapped = match self.embedding.tap {
            Tap::Pooled => None,
            Tap::Projected => Some(to_rows(&embeddings.projected)?),
        };
        let scores: Vec<Option<Score>> = tapped
            .as_ref()
            .unwrap_or(&pooled)
            .iter()
            .map(|vector| self.head.score(vector, self.embedding.l2))
            .collect();
        Ok(pooled.into_iter().zip(scores).map(|(pooled, score)| ScoredCrop { pooled, score }).collect())
    }
}
