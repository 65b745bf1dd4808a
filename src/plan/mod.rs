//! The plan of a run: which objects there are, cut into slices, dealt out to shards. It is made once, by one, and read by all.
//!
//! ```text
//! SOURCE ─▶ objects ─▶ slices ─▶ spill ─▶ shards ─▶ _runs/<run_id>/plan-<digest>/shard-<shard>-<file>.parquet
//!              │         about a minute                 └─▶ _runs/<run_id>/plan.json     If-None-Match: the first wins
//!              └── minus what earlier runs finished under the same fingerprint
//! ```
//!
//! # The protocol
//! - The objects of the plan are written first, in files whose folder has the hash of all of them: a planner that was
//!   killed and starts again finds its own files, and two planners that listed different things do not mix theirs.
//! - `plan.json` makes one of them the plan. It is written with `If-None-Match`; whoever comes second reads the one that
//!   stands. No worker ever lists the source for itself, so all of them mean the same objects.
//! - A slice is a fixed range of the plan. Its parts have names that follow from the plan, each is written whole, once, and
//!   `media` last ([`crate::pipeline::commit`]). Resuming is listing the media parts that stand. A kill loses the slices
//!   that were under way, at most two minutes of work each.
//! - Nothing is renamed and nothing deleted: after an unknown outcome nobody could tell whose it was.
//! - `SUCCESS.json` is written when every slice stands ([`crate::finish`]).

pub mod args;
pub mod candidates;
pub mod columns;
pub mod command;
pub mod csv_rows;
pub mod earlier;
pub mod expected;
pub mod inventory;
pub mod keys;
pub mod listed;
pub mod make;
pub mod objects;
pub mod parquet_rows;
pub mod read;
pub mod shards;
mod shown;
pub mod slices;
pub mod sorted;
pub mod source;
mod spill;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::results::place::RunPlace;
use crate::results::record::{Provenance, Setting, first_of_run, used};
use crate::results::{Destination, read_whole};
use crate::settings::Settings;
use crate::storage::{Location, ObjectMeta, SharedStore, Store, StoreError};
use crate::tables::SCHEMA_VERSION;

/// `_runs/<run_id>/plan.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub run_id: String,
    /// Day of the run, `YYYY-MM-DD`.
    pub dt: String,
    pub code_version: String,
    pub schema_version: u32,
    pub fingerprint: String,
    pub detection_fingerprint: String,
    pub scorers: Vec<Provenance>,
    /// Whether the embeddings table is written.
    pub keep_embeddings: bool,
    /// Where the objects are, as a location: not SOURCE where that is a list of them.
    pub place: String,
    /// Whether SOURCE was a list of objects, so that nobody needs to list the place.
    pub is_list: bool,
    /// What rows call that place.
    pub bucket: String,
    /// Everything that decides what the rows are, as flags: what a worker adds to its own.
    pub arguments: Vec<String>,
    /// All that the planner was told, for people.
    pub settings: Vec<Setting>,
    /// Hash of all objects and how they are dealt out: the name of the folder that holds them.
    pub digest: String,
    /// Slices in each of the files there, but for the last of a shard.
    pub slices_per_file: u64,
    pub objects: u64,
    pub bytes: u64,
    /// Expected work on one core.
    pub core_seconds: f64,
    pub left_out: LeftOut,
    pub shards: Vec<Shard>,
}

/// What of the source is no part of the plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Finished by earlier runs under the same fingerprint.
    pub finished: u64,
    /// By the filters.
    pub filtered: u64,
    /// Named twice by a list.
    pub repeated: u64,
}

/// What one worker takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    pub slices: u64,
    pub objects: u64,
    pub bytes: u64,
    pub core_seconds: f64,
}

impl Plan {
    #[must_use]
    pub fn slices(&self) -> u64 {
        self.shards.iter().map(|shard| shard.slices).sum()
    }

    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint { detection: self.detection_fingerprint.clone(), whole: self.fingerprint.clone() }
    }

    #[must_use]
    pub fn destination(&self, store: SharedStore) -> Destination {
        Destination { store, run_id: self.run_id.clone(), dt: self.dt.clone() }
    }

    /// The plan that stands; None where there is none.
    ///
    /// # Errors
    /// A store that fails, or a plan that cannot be read.
    pub async fn standing(store: &dyn Store, run_id: &str) -> Result<Option<Self>, Error> {
        let key = key(run_id);
        let Some(body) = read_whole(store, &key).await? else { return Ok(None) };
        let wrong = |what: &dyn std::fmt::Display| {
            Error::Input(format!(
                "{key}: expected a plan of deepsweep {}, found another: {what}",
                env!("CARGO_PKG_VERSION")
            ))
        };
        let plan: Self = serde_json::from_slice(&body).map_err(|e| wrong(&e))?;
        if plan.run_id != run_id {
            return Err(wrong(&format_args!("it is of run {:?}", plan.run_id)));
        }
        if plan.schema_version != SCHEMA_VERSION {
            let (expected, found) = (SCHEMA_VERSION, plan.schema_version);
            return Err(wrong(&format_args!("expected tables of schema version {expected}, found {found}")));
        }
        Ok(Some(plan))
    }

    /// The plan of a run that was planned.
    ///
    /// # Errors
    /// As [`Self::standing`], and `Input` where there is none.
    pub async fn of_run(store: &dyn Store, run: &RunPlace) -> Result<Self, Error> {
        let RunPlace { out, run_id } = run;
        Self::standing(store, run_id).await?.ok_or_else(|| {
            Error::Input(format!(
                "run {run_id:?} at {out}: expected {}, found none: make it with deepsweep plan --out {out} --run-id {run_id}",
                key(run_id)
            ))
        })
    }

    /// Makes this the plan of the run, unless another is. Returns the one that is.
    ///
    /// # Errors
    /// A store that refuses.
    pub async fn put(self, store: &dyn Store) -> Result<Self, Error> {
        let key = key(&self.run_id);
        let body = serde_json::to_vec_pretty(&self).map_err(|e| Error::Input(format!("{key}: {e}")))?;
        match store.put_new(&key, Bytes::from(body)).await {
            Ok(_) => Ok(self),
            Err(StoreError::AlreadyExists { what }) => Self::standing(store, &self.run_id)
                .await?
                .ok_or_else(|| Error::TryAgain(format!("{what}: another planner writes it"))),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether this is the plan that such settings ask for.
    ///
    /// # Errors
    /// `Usage`, with what differs.
    pub fn check_same(&self, settings: &Settings, fingerprint: &Fingerprint) -> Result<(), Error> {
        let differs = |what: &str, expected: &str, found: &str| {
            Err(Error::Usage(format!(
                "run {:?} was planned with {what} {expected}, found {found}: repeat the command as it was, or choose another \
                 --run-id",
                self.run_id
            )))
        };
        let (planned, asked) = (by_flag(&self.arguments), by_flag(&settings.arguments));
        let none = String::from("nothing");
        let is_same_place = self.is_place_of(settings);
        for flag in planned.keys().chain(asked.keys()) {
            if *flag == "--source" && is_same_place {
                continue;
            }
            let (planned, asked) = (planned.get(flag), asked.get(flag));
            if planned != asked {
                return differs(flag, planned.unwrap_or(&none), asked.unwrap_or(&none));
            }
        }
        if !is_same_place && !self.is_list {
            return differs("SOURCE", &self.place, &settings.source.to_string());
        }
        if settings.dt_is_given && settings.dt.to_string() != self.dt {
            return differs("--dt", &self.dt, &settings.dt.to_string());
        }
        self.check_fingerprint(fingerprint)
    }

    /// Whether a folder is the planned one, however it is called from here.
    fn is_place_of(&self, settings: &Settings) -> bool {
        match &settings.source {
            Location::Local(path) if !self.is_list && path.is_dir() => {
                path.canonicalize().is_ok_and(|path| path.as_path() == Path::new(&self.place))
            }
            // A file, a bucket, a list: as it was typed.
            _ => by_flag(&self.arguments).get("--source") == by_flag(&settings.arguments).get("--source"),
        }
    }

    /// # Errors
    /// `Usage` where workers of such a fingerprint would write other rows.
    pub fn check_fingerprint(&self, fingerprint: &Fingerprint) -> Result<(), Error> {
        if fingerprint.whole == self.fingerprint {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "run {:?} was planned under fingerprint {} by deepsweep {}, found {} in deepsweep {}: the scorer's files or the \
             program are not those of the plan",
            self.run_id,
            self.fingerprint,
            self.code_version,
            fingerprint.whole,
            env!("CARGO_PKG_VERSION")
        )))
    }
}

/// The values of each flag, as messages show them.
fn by_flag(arguments: &[String]) -> BTreeMap<&str, String> {
    let mut flags: BTreeMap<&str, String> = BTreeMap::new();
    for argument in arguments {
        let (flag, value) = argument.split_once('=').unwrap_or((argument, "given"));
        let values = flags.entry(flag).or_default();
        if !values.is_empty() {
            values.push(' ');
        }
        values.push_str(value);
    }
    flags
}

#[must_use]
pub fn key(run_id: &str) -> String {
    format!("_runs/{run_id}/plan.json")
}

/// Where the objects of a shard stand, the slices of one file after those of another.
#[must_use]
pub fn file_key(run_id: &str, digest: &str, shard: u32, file: u64) -> String {
    format!("_runs/{run_id}/plan-{digest}/shard-{shard:05}-{file:03}.parquet")
}

/// A run is planned once: parts of a run that was not planned are never mixed with those of a plan. `media_parts`: all that stand
/// at the destination, whatever the run.
///
/// # Errors
/// `Usage` where a run of this name has parts and no plan.
pub async fn refuse_unplanned(
    store: &dyn Store,
    media_parts: &BTreeMap<String, ObjectMeta>,
    dt: &str,
    run_id: &str,
) -> Result<(), Error> {
    // On whatever day: whoever lost its plan and goes on tomorrow would have its rows twice.
    let of_run = format!("/run={run_id}/");
    let found = match media_parts.keys().find(|key| key.contains(&of_run)) {
        Some(found) => found.clone(),
        None => match first_of_run(store, dt, run_id).await? {
            // What an earlier planner wrote before it was stopped.
            Some(found) if found.starts_with(&format!("_runs/{run_id}/plan")) => return Ok(()),
            Some(found) => found,
            None => return Ok(()),
        },
    };
    // Another planner, and a worker, may have been here since the plan was looked for.
    match read_whole(store, &key(run_id)).await? {
        Some(_) => Ok(()),
        None => Err(used(run_id, &found)),
    }
}
