//! What turns a picture into a score: tower + crop recipe + head, versioned, all of it stated in one place.
//!
//! ```text
//! --scorer NAME|FOLDER ─▶ locate ─▶ load ─▶ ScorerSet ─▶ squares in; pooled embeddings, logits and scores out
//!          registry · store (pulls)   head · prompts
//! ```
//!
//! A scorer gives a number or says that there is none; it never makes one up.

pub mod calibration;
pub mod derive;
pub mod file;
mod golden;
mod head;
pub mod import;
mod licence;
mod load;
mod locate;
pub mod precision;
mod prompt_cache;
pub mod prompts;
mod recipe;
pub mod registry;
mod set;
pub mod store;
mod stored;
mod untrained;

use std::path::Path;
use std::str::FromStr;

use candle_core::Device;
use rayon::ThreadPool;

use self::registry::Registry;
use self::store::ModelStore;
use crate::error::Error;
use crate::progress::Display;

pub use self::calibration::Calibration;
pub use self::head::{Head, Score, linear_file};
pub use self::recipe::{CropRecipe, Cut, EmbeddingRecipe, InputRecipe, Tap};
pub use self::set::{Pass, ScoredCrop, Scorer, ScorerSet};

/// What a run takes where nobody names a scorer.
pub const DEFAULT_SCORER: &str = "clip-b32";

/// What `--scorer` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScorerChoice {
    /// Detections only; every score is null.
    None,
    /// A seeded random tower: shows the way through without a download, and its scores mean nothing.
    UntrainedDemo,
    /// A name of the registry, or else a scorer folder; with the ending of [`precision`] or without.
    Named(String),
}

impl FromStr for ScorerChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("expected a scorer's name, a scorer folder, none or untrained-demo, found nothing".to_owned()),
            "none" => Ok(Self::None),
            text if text.strip_suffix(precision::BF16_ENDING) == Some("none") => {
                Err(format!("expected a scorer before {}, found none, which has no tower", precision::BF16_ENDING))
            }
            "untrained-demo" => Ok(Self::UntrainedDemo),
            named => Ok(Self::Named(named.to_owned())),
        }
    }
}

impl std::fmt::Display for ScorerChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => write!(f, "none"),
            Self::UntrainedDemo => write!(f, "untrained-demo"),
            Self::Named(name) => write!(f, "{name}"),
        }
    }
}

/// The choices as a person typed them, for a log line.
#[must_use]
pub fn names(choices: &[ScorerChoice]) -> String {
    choices.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// What a scorer folder says of itself.
///
/// # Errors
/// A folder without `scorer.toml`, or words that are wrong.
pub fn read_folder(folder: &Path) -> Result<file::ScorerFile, Error> {
    Ok(locate::Words::of_folder(folder)?.file)
}

/// Opens the model store: only scorers with files need one.
pub type OpenStore<'a> = &'a (dyn Fn() -> Result<ModelStore, Error> + Sync);

/// What opening a scorer depends on.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    pub registry: &'a Registry,
    pub store: OpenStore<'a>,
    /// Somebody says that licences which forbid commercial use were read.
    pub accept_licence: bool,
    pub device: &'a Device,
    /// Where towers are packed and golden pictures are looked at; None: the global one.
    pub pool: Option<&'a ThreadPool>,
    /// Shows what is being pulled.
    pub display: &'a Display,
}

impl Opening<'_> {
    /// Loads what was named, pulling what is missing. `none` stands for no scorer, and so does an empty list.
    ///
    /// # Errors
    /// Files that cannot be had; words or weights that no scorer can be made of; a licence that was not accepted;
    /// golden vectors that are missed.
    pub async fn open(&self, choices: &[ScorerChoice]) -> Result<ScorerSet, Error> {
        // Before anything is pulled.
        for choice in choices {
            if let Some(obstacle) = precision::obstacle(precision::of(choice).1, self.device.is_cpu()) {
                return Err(Error::Usage(format!("scorer \"{choice}\": {obstacle}")));
            }
        }
        let mut opened = vec![];
        for choice in choices {
            opened.extend(self.open_one(choice).await?);
        }
        let build = || {
            let set = ScorerSet::new(opened)?;
            golden::check(&set)?;
            Ok(set)
        };
        match self.pool {
            Some(pool) => pool.install(build),
            None => build(),
        }
    }

    async fn open_one(&self, choice: &ScorerChoice) -> Result<Option<set::Opened>, Error> {
        let (choice, precision) = precision::of(choice);
        let opened = match choice {
            ScorerChoice::None => return Ok(None),
            ScorerChoice::UntrainedDemo => untrained::open(self.device)?,
            ScorerChoice::Named(name) => self.open_named(&name).await?,
        };
        Ok(Some(opened.with_precision(precision)))
    }

    async fn open_named(&self, name: &str) -> Result<set::Opened, Error> {
        let known = self.registry.entry(name);
        let words = match known {
            Some(entry) => locate::Words::of_entry(entry, self.registry),
            None => locate::Words::of_folder(Path::new(name))?,
        };
        // Before anything is pulled: nobody should fetch gigabytes that they may not use.
        let file = &words.file;
        if licence::is_non_commercial(&file.licence) && !self.accept_licence {
            return Err(Error::Usage(format!(
                "scorer {:?}: its licence {:?} forbids commercial use: expected --accept-licence from someone who has \
                 read it ({})",
                file.id(),
                file.licence,
                file.source
            )));
        }
        let located = locate::locate(words, self.store, self.display)
            .await
            .map_err(|e| if known.is_some() { e.with(format_args!("; {}", ways_out(name))) } else { e })?;
        load::load(&located, self.store, self.device)
    }
}

/// What one can do where a scorer's files cannot be had.
fn ways_out(name: &str) -> String {
    format!(
        "ways out: deepsweep models pull {name} --models DEST elsewhere, then --models DEST here; \
         --scorer none (detections only, scores null); --scorer untrained-demo (random weights, to try the way through)"
    )
}
