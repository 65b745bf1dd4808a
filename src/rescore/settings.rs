//! Flags of `rescore` → settings, each of them in range.

use std::path::PathBuf;

use chrono::NaiveDate;

use super::flags::RescoreArgs;
use crate::cli::LogFormat;
use crate::error::Error;
use crate::limits;
use crate::metrics::MetricsSettings;
use crate::models::s3_options;
use crate::results::place::RunPlace;
use crate::scorers::store::StoreChoice;
use crate::scorers::{ScorerChoice, names};
use crate::settings::{Explained, Origin, Surroundings, check_run_id, in_range};
use crate::shard::Shard;
use crate::storage::Location;
use crate::storage::s3::S3Options;

#[derive(Debug, Clone)]
pub struct RescoreSettings {
    pub runs: Vec<RunPlace>,
    /// At least one.
    pub scorers: Vec<ScorerChoice>,
    pub out: Location,
    pub accept_licence: bool,
    pub keep_embeddings: bool,
    pub threads: usize,
    pub memory_bytes: u64,
    pub scratch: PathBuf,
    pub scratch_bytes: u64,
    pub run_id: String,
    /// None: that of the run that goes on, or else today.
    pub dt: Option<NaiveDate>,
    pub today: NaiveDate,
    pub shard: Shard,
    pub registry: Option<PathBuf>,
    pub models: StoreChoice,
    pub log: LogFormat,
    pub quiet: bool,
    pub metrics: MetricsSettings,
    pub s3: S3Options,
}

impl RescoreSettings {
    /// # Errors
    /// A setting that is out of range.
    pub fn resolve(args: &RescoreArgs, surroundings: &Surroundings) -> Result<Self, Error> {
        Self::resolved(args, surroundings).map_err(Error::Usage)
    }

    fn resolved(args: &RescoreArgs, surroundings: &Surroundings) -> Result<Self, String> {
        let store = &args.store;
        if args.scorer.contains(&ScorerChoice::None) {
            return Err("scorer: expected one that scores, found none".to_owned());
        }
        let first = args.runs.first().map(|run| run.out.as_str()).unwrap_or_default();
        let threads = args.threads.unwrap_or(surroundings.cores);
        in_range("threads", threads, 1, 1024)?;
        let bytes = |given: Option<bytesize::ByteSize>, default| given.map_or(default, |size| size.as_u64());
        let memory_bytes = bytes(args.memory, limits::MEMORY_BYTES);
        in_range("memory (in bytes)", memory_bytes, limits::MIN_MEMORY_BYTES, u64::MAX)?;
        let default_id = format!("{}-{:04x}", surroundings.now.format("%Y%m%dT%H%M%SZ"), surroundings.random);
        let run_id = args.run_id.clone().unwrap_or(default_id);
        check_run_id(&run_id)?;
        if args.run_id.is_none() && args.shard.is_some() {
            return Err("run_id is missing: expected --run-id ID, the same for every shard".to_owned());
        }
        Ok(Self {
            runs: args.runs.clone(),
            scorers: args.scorer.clone(),
            out: args.out.as_deref().unwrap_or(first).parse()?,
            accept_licence: args.accept_licence,
            keep_embeddings: args.keep_embeddings,
            threads,
            memory_bytes,
            scratch: args.scratch.clone().unwrap_or_else(|| surroundings.temporary.clone()),
            scratch_bytes: bytes(args.scratch_size, limits::SCRATCH_BYTES),
            run_id,
            dt: args.dt,
            today: surroundings.now.date_naive(),
            shard: args.shard.unwrap_or_default(),
            registry: store.registry.clone().or_else(|| surroundings.registry.clone().map(PathBuf::from)),
            models: StoreChoice { models: store.models.clone(), offline: store.offline },
            log: args.log.log.unwrap_or(LogFormat::Text),
            quiet: args.log.quiet,
            metrics: MetricsSettings::of(&args.metrics)?,
            s3: s3_options(&args.s3),
        })
    }

    /// What SUCCESS.json keeps of them: the same whichever shard writes it.
    #[must_use]
    pub fn explained(&self) -> Vec<Explained> {
        let runs: Vec<String> = self.runs.iter().map(|run| format!("{}/_runs/{}", run.out, run.run_id)).collect();
        let line = |name, value: String| Explained { name, value, origin: Origin::Flag };
        vec![
            line("runs", runs.join(" ")),
            line("scorer", names(&self.scorers)),
            line("out", self.out.to_string()),
            line("keep_embeddings", self.keep_embeddings.to_string()),
        ]
    }
}
