//! RUN → a finished run, opened: what it says of itself, and its slices with the parts of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::place::RunPlace;
use super::record::{self, Record, RescoredFrom};
use super::{open_results, read_whole};
use crate::error::Error;
use crate::limits;
use crate::storage::s3::S3Options;
use crate::storage::{ObjectMeta, SharedStore};
use crate::tables::part::CommittedPart;

/// What a slice is read from; tracks are made anew.
pub const TABLES: [&str; 4] = ["media", "frames", "faces", "embeddings"];

/// Places in [`TABLES`].
pub const MEDIA: usize = 0;
pub const FRAMES: usize = 1;
pub const FACES: usize = 2;
pub const EMBEDDINGS: usize = 3;

/// A run that stands, and where.
#[derive(Debug, Clone)]
pub struct Source {
    pub store: SharedStore,
    /// As a person would type the destination, whatever folder they are in.
    pub from: RescoredFrom,
    pub record: Arc<Record>,
}

/// One slice of a run: its parts as they stand now.
#[derive(Debug, Clone)]
pub struct SourceSlice {
    /// Place of its run among those that were named.
    pub source: usize,
    /// Rows of its media part.
    pub media_rows: usize,
    /// In the order of [`TABLES`]; the last is missing where the run kept no embeddings.
    pub parts: Vec<ObjectMeta>,
}

impl Source {
    /// # Errors
    /// A run that is not there, not finished, or of another schema.
    pub async fn open(run: &RunPlace, s3: &S3Options) -> Result<Self, Error> {
        let RunPlace { out, run_id } = run;
        let (store, place) = open_results(out, s3).await?;
        let key = record::key(run_id);
        let Some(body) = read_whole(store.as_ref(), &key).await? else {
            return Err(Error::Input(format!(
                "run {run_id:?} at {out}: expected a finished run, found no {key}: it was stopped, still runs, or was \
                 never there"
            )));
        };
        let record = Record::parse(&body)
            .map_err(|e| Error::Input(format!("run {run_id:?} at {out}: {key} cannot be used: {e}")))?;
        Ok(Self { store, from: RescoredFrom { run_id: run_id.clone(), out: place }, record: Arc::new(record) })
    }

    /// The slices in the order in which the run listed its media.
    ///
    /// # Errors
    /// A part that SUCCESS.json names and that is not there, or is another.
    pub async fn slices(&self, source: usize) -> Result<Vec<SourceSlice>, Error> {
        let mut standing = BTreeMap::new();
        for table in TABLES {
            let parts = self.record.parts_of(table);
            let folders: std::collections::BTreeSet<&str> =
                parts.iter().filter_map(|part| Some(part.key.rsplit_once('/')?.0)).collect();
            for folder in folders {
                let mut listing = self.store.list(&format!("{folder}/"));
                while let Some(object) = listing.try_next().await? {
                    standing.insert(object.key.clone(), object);
                }
            }
        }
        let told: BTreeMap<&str, &CommittedPart> =
            self.record.parts.iter().map(|part| (part.key.as_str(), part)).collect();
        let mut slices = vec![];
        for media in self.record.parts_of("media") {
            let below = media.key.strip_prefix("media/").unwrap_or(&media.key);
            let mut parts = vec![];
            for table in TABLES {
                let key = format!("{table}/{below}");
                let Some(part) = told.get(key.as_str()) else { continue };
                parts.push(self.checked(&key, part.bytes as u64, standing.get(&key))?);
            }
            if parts.len() < TABLES.len() - usize::from(!self.record.has_embeddings()) {
                return Err(self.wrong(&media.key, "expected a part of each table in its slice, found some missing"));
            }
            slices.push(SourceSlice { source, media_rows: media.rows, parts });
        }
        Ok(slices)
    }

    fn checked(&self, key: &str, bytes: u64, found: Option<&ObjectMeta>) -> Result<ObjectMeta, Error> {
        match found {
            Some(object) if object.size_bytes == bytes => Ok(object.clone()),
            Some(object) => {
                Err(self
                    .wrong(key, &format!("expected {bytes} bytes as SUCCESS.json has it, found {}", object.size_bytes)))
            }
            None => Err(self.wrong(key, "SUCCESS.json names it, and it is not there")),
        }
    }

    /// An error about one of the run's parts.
    pub fn wrong(&self, key: &str, what: &str) -> Error {
        let RescoredFrom { run_id, out } = &self.from;
        Error::Input(format!("run {run_id:?} at {out}: part {key:?}: {what}"))
    }
}

/// The other finished runs at a destination, for messages: those whose SUCCESS.json can be read, the latest names last.
pub async fn finished_runs(source: &Source) -> Vec<Record> {
    let keys: Vec<String> = source
        .store
        .list("_runs/")
        .filter_map(|object| std::future::ready(object.ok().map(|object| object.key)))
        .filter(|key| std::future::ready(key.ends_with("/SUCCESS.json")))
        .collect()
        .await;
    let latest = &keys[keys.len().saturating_sub(limits::NAMED_RUNS)..];
    let mut runs = vec![];
    for key in latest {
        if let Ok(Some(body)) = read_whole(source.store.as_ref(), key).await {
            runs.extend(Record::parse(&body).ok());
        }
    }
    runs
}
