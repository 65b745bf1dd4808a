//! `_runs/<run_id>/SUCCESS.json`: written last, when every row stands; and read by whoever goes on from a run.

use bytes::Bytes;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::progress::Tally;
use crate::scorers::ScorerSet;
use crate::settings::Explained;
use crate::storage::{Store, StoreError};
use crate::tables::part::{self, CommittedPart};
use crate::tables::{self, SCHEMA_VERSION};

/// What a run says of itself when it is done.
#[derive(Debug, Serialize)]
pub struct Success<'a> {
    pub run_id: &'a str,
    pub schema_version: u32,
    pub code_version: &'static str,
    /// None where the rows have several: of a run that was made from others of different settings.
    pub fingerprint: Option<&'a str>,
    pub detection_fingerprint: Option<&'a str>,
    pub device: &'a str,
    pub scorers: &'a [Provenance],
    /// The runs whose embeddings were scored; None of a run that decoded its media.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rescored_from: Option<Vec<RescoredFrom>>,
    pub settings: &'a [Setting],
    pub tally: &'a Tally,
    pub parts: &'a [CommittedPart],
}

/// Whose numbers the scores are, what one may do with them, and which embeddings they come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    pub id: String,
    pub licence: String,
    pub source: String,
    /// As the embeddings table calls it.
    pub tower: String,
    /// Likewise.
    pub crops: Vec<String>,
    /// What is to be said wherever its scores appear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// A run whose embeddings were scored, and where they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescoredFrom {
    pub run_id: String,
    /// The destination of that run: `embeddings/` lies below it.
    pub out: String,
}

impl Success<'_> {
    /// # Errors
    /// `AlreadyExists` where another was first, and whatever else the store says.
    pub async fn put(&self, store: &dyn Store) -> Result<(), StoreError> {
        let body = serde_json::to_vec_pretty(self)
            .map_err(|e| StoreError::Permanent { what: key(self.run_id), detail: format!("cannot be written: {e}") })?;
        store.put_new(&key(self.run_id), Bytes::from(body)).await.map(|_| ())
    }
}

impl Provenance {
    #[must_use]
    pub fn of(scorers: &ScorerSet) -> Vec<Self> {
        let of_one = |(at, scorer): (usize, &crate::scorers::Scorer)| {
            let passes: Vec<_> = scorers.passes().iter().filter(|pass| pass.scorers.contains(&at)).collect();
            Self {
                id: scorer.id.clone(),
                licence: scorer.licence.clone(),
                source: scorer.source.clone(),
                tower: passes.first().map(|pass| scorers.tower_id(pass).to_owned()).unwrap_or_default(),
                crops: passes.iter().map(|pass| scorers.crop_id(pass).to_owned()).collect(),
                warning: scorer.warning.map(str::to_owned),
            }
        };
        scorers.scorers().iter().enumerate().map(of_one).collect()
    }
}

/// A finished run as its SUCCESS.json tells it: what others need of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Record {
    pub run_id: String,
    pub schema_version: u32,
    pub scorers: Vec<Provenance>,
    pub settings: Vec<Setting>,
    pub tally: Counts,
    pub parts: Vec<CommittedPart>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    pub name: String,
    pub value: String,
    /// `flag`, `job-file` or `default`.
    #[serde(default)]
    pub origin: String,
}

impl Setting {
    #[must_use]
    pub fn of(explained: &[Explained]) -> Vec<Self> {
        let of_one = |Explained { name, value, origin }: &Explained| Self {
            name: (*name).to_owned(),
            value: value.clone(),
            origin: origin.as_str().replace(' ', "-"),
        };
        explained.iter().map(of_one).collect()
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Counts {
    pub objects: u64,
    pub bytes: u64,
}

impl Record {
    /// # Errors
    /// What is wrong with it, where it is none, or one of a schema whose columns mean something else.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            schema_version: u32,
        }
        let Version { schema_version } = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        if schema_version != SCHEMA_VERSION {
            return Err(format!("expected tables of schema version {SCHEMA_VERSION}, found {schema_version}"));
        }
        serde_json::from_slice(body).map_err(|e| e.to_string())
    }

    /// What the run was told, where it was told something.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|setting| setting.name == name).map(|setting| setting.value.as_str())
    }

    /// The run's parts of one table, in the order of their slices.
    #[must_use]
    pub fn parts_of(&self, table: &str) -> Vec<&CommittedPart> {
        let is_of_table = |part: &&CommittedPart| part.key.split('/').next() == Some(table);
        let mut parts: Vec<_> = self.parts.iter().filter(is_of_table).collect();
        parts.sort_by(|a, b| a.key.cmp(&b.key));
        parts
    }

    #[must_use]
    pub fn has_embeddings(&self) -> bool {
        !self.parts_of("embeddings").is_empty()
    }
}

#[must_use]
pub fn key(run_id: &str) -> String {
    format!("_runs/{run_id}/SUCCESS.json")
}

/// The first object of a run of this name, where there is one.
///
/// # Errors
/// A destination that cannot be listed.
pub async fn first_of_run(store: &dyn Store, dt: &str, run_id: &str) -> Result<Option<String>, Error> {
    let tables = tables::describe().into_iter().map(|table| part::folder(table.name, dt, run_id));
    for prefix in tables.chain([format!("_runs/{run_id}/")]) {
        match store.list(&prefix).try_next().await {
            Ok(None) | Err(StoreError::NotFound { .. }) => {}
            Ok(Some(found)) => return Ok(Some(found.key)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

#[must_use]
pub fn used(run_id: &str, found: &str) -> Error {
    Error::Usage(format!("run {run_id:?} exists at this destination ({found}): choose another --run-id"))
}
