//! Figures of a run for machines that watch it: lines of CloudWatch's Embedded Metric Format on standard output ([`emf`]),
//! and a file for Prometheus ([`prometheus`]).
//!
//! Comes in: what the run counts, at every heartbeat and at its end. Goes out: figures of bounded cardinality; a run's name
//! is never one of the labels by which they are told apart. Once a run has begun nothing here stops it.

pub mod emf;
pub mod file;
pub mod prometheus;
pub mod settings;

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use self::file::PrometheusFile;
pub use self::settings::{MetricsFlags, MetricsSettings};
use crate::error::Error;
use crate::heartbeat::Beat;
use crate::process;
use crate::progress::{Display, Progress, Snapshot};
use crate::storage::s3::Throttles;

/// What is known of a run before it begins.
#[derive(Debug, Clone)]
pub struct RunIdentity {
    /// `run`, `rescore`, ….
    pub command: &'static str,
    pub run_id: String,
    /// `3/16`; None where one worker does it all.
    pub shard: Option<String>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Running,
    Ended { exit_code: u8 },
}

/// One moment of a run, as both formats take it.
#[derive(Debug)]
pub struct Figures<'a> {
    pub identity: &'a RunIdentity,
    /// Whose figures they are, whatever the run's name.
    pub job_name: &'a str,
    pub phase: Phase,
    pub time: DateTime<Utc>,
    pub started: DateTime<Utc>,
    /// Since the figures before.
    pub beat: &'a Beat,
    /// Answers of S3 that asked for fewer requests: now, and when the figures before were taken.
    pub throttles: u64,
    pub throttles_before: u64,
}

/// Told at every heartbeat and at the end.
#[derive(Debug)]
pub struct Metrics {
    settings: MetricsSettings,
    identity: RunIdentity,
    display: Display,
    throttles: Throttles,
    started: DateTime<Utc>,
    file: Option<PrometheusFile>,
    told: Mutex<Told>,
}

/// What was told last.
#[derive(Debug, Default)]
struct Told {
    /// None until there is something to count.
    progress: Option<Arc<Progress>>,
    snapshot: Snapshot,
    throttles: u64,
}

impl Metrics {
    /// Writes the file for Prometheus for the first time: a run whose figures nobody will see does not begin.
    ///
    /// # Errors
    /// `Input` where the file cannot be written, or is one that something else wrote.
    pub fn open(
        settings: &MetricsSettings,
        identity: RunIdentity,
        display: &Display,
        throttles: &Throttles,
    ) -> Result<Self, Error> {
        let file = settings.prometheus.as_deref().map(PrometheusFile::open).transpose()?;
        let metrics = Self {
            settings: settings.clone(),
            identity,
            display: display.clone(),
            throttles: throttles.clone(),
            started: Utc::now(),
            file,
            told: Mutex::default(),
        };
        let beat = Beat { resident_bytes: process::resident_bytes(), ..Beat::default() };
        metrics.write_file(&metrics.figures(Phase::Running, &beat, 0, 0))?;
        Ok(metrics)
    }

    /// From one heartbeat to the next.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.settings.heartbeat
    }

    /// From here on it is this that is told, from its start.
    pub fn follow(&self, progress: Arc<Progress>) {
        let mut told = self.told();
        told.progress = Some(progress);
        told.snapshot = Snapshot::default();
    }

    /// At every heartbeat. A disk that is full is no reason to stop a run.
    pub fn beat(&self, silence: Option<Duration>) {
        if let Err(error) = self.tell(Phase::Running, silence) {
            tracing::warn!("{error}");
        }
    }

    /// At the end, good or bad.
    pub fn end(&self, outcome: &Result<(), Error>) {
        let exit_code = outcome.as_ref().err().map_or(0, Error::exit_code);
        if let Err(error) = self.tell(Phase::Ended { exit_code }, None) {
            tracing::warn!("{error}");
        }
    }

    fn tell(&self, phase: Phase, silence: Option<Duration>) -> Result<(), Error> {
        if !self.settings.emf && self.file.is_none() {
            return Ok(());
        }
        let mut told = self.told();
        let now = told.progress.as_ref().map_or_else(Snapshot::default, |progress| progress.snapshot());
        let before = std::mem::replace(&mut told.snapshot, now.clone());
        let throttles = self.throttles.count();
        let throttles_before = std::mem::replace(&mut told.throttles, throttles);
        drop(told);
        let beat = Beat { before, now, silence, resident_bytes: process::resident_bytes() };
        let figures = self.figures(phase, &beat, throttles, throttles_before);
        if self.settings.emf {
            let line = format!("{}\n", emf::line(&figures));
            // Whoever reads may have gone; the run goes on.
            let _ = self.display.beside(|| {
                let mut out = std::io::stdout().lock();
                out.write_all(line.as_bytes()).and_then(|()| out.flush())
            });
        }
        self.write_file(&figures)
    }

    fn figures<'a>(&'a self, phase: Phase, beat: &'a Beat, throttles: u64, throttles_before: u64) -> Figures<'a> {
        Figures {
            identity: &self.identity,
            job_name: &self.settings.job_name,
            phase,
            time: Utc::now(),
            started: self.started,
            beat,
            throttles,
            throttles_before,
        }
    }

    fn write_file(&self, figures: &Figures<'_>) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        let is_success = figures.phase == Phase::Ended { exit_code: 0 };
        let last_success = if is_success { Some(figures.time.timestamp()) } else { file.last_success };
        file.write(&prometheus::text(figures, last_success))
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
