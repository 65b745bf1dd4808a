//! The plan of a run: the one that stands, or a new one.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::candidates::Candidates;
use super::make::{Draft, Planner, Shards};
use super::shown;
use super::{Plan, refuse_unplanned};
use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::heartbeat;
use crate::instruments::Instruments;
use crate::metrics::Metrics;
use crate::pipeline::compute::Compute;
use crate::progress::{Display, Progress};
use crate::results::record::Provenance;
use crate::results::standing::below;
use crate::scorers::OpenStore;
use crate::settings::Settings;
use crate::shutdown::unless_stopped;
use crate::storage::memory::MemoryStore;
use crate::storage::open::open_destination;
use crate::storage::{Location, Store};

/// `deepsweep plan`.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub shards: Shards,
    pub dry_run: bool,
}

/// What rows depend on, without what it takes to make them.
#[derive(Debug, Clone)]
pub struct Basis {
    pub fingerprint: Fingerprint,
    pub scorers: Vec<Provenance>,
}

impl Basis {
    #[must_use]
    pub fn of(instruments: &Instruments) -> Self {
        Self { fingerprint: instruments.fingerprint.clone(), scorers: Provenance::of(&instruments.scorers) }
    }
}

/// Plans, and says what was planned.
///
/// # Errors
/// What keeps a run from starting; a run id of another run.
pub async fn plan(
    settings: &Settings,
    asked: Asked,
    store: OpenStore<'_>,
    display: &Display,
    metrics: &Metrics,
    shutdown: &CancellationToken,
) -> Result<String, Error> {
    let progress = Arc::new(Progress::default());
    metrics.follow(Arc::clone(&progress));
    let planning = async {
        // The weights are let go again: a planner has room for keys alone.
        let compute = Compute::new(settings.threads)?;
        let basis = Basis::of(&Instruments::open(settings, store, &compute, display).await?);
        let destination = match &settings.out {
            // A folder that is not there has nothing, and a dry run makes none.
            Location::Local(folder) if asked.dry_run && !folder.exists() => Arc::new(MemoryStore::new("")),
            out => open_destination(out, &settings.s3).await?,
        };
        let destination = destination.as_ref();
        let (basis, shards, compute, progress) = (&basis, asked.shards, &compute, &*progress);
        let planning = Planning { settings, basis, shards, compute, progress, destination };
        if let Some(plan) = planning.standing().await? {
            check_shards(&plan, asked.shards)?;
            return Ok(shown::table(&plan, None, &settings.out.to_string(), asked.dry_run));
        }
        let draft = planning.draft().await?;
        let promised = Some(draft.promised);
        let plan = if asked.dry_run { draft.plan } else { planning.commit(draft).await? };
        check_shards(&plan, asked.shards)?;
        Ok(shown::table(&plan, promised, &settings.out.to_string(), asked.dry_run))
    };
    let planning = Box::pin(planning);
    let planned = unless_stopped(shutdown, async {
        tokio::select! {
            planned = planning => planned,
            never = heartbeat::watch(&progress, display, metrics) => match never {},
        }
    });
    let planned = planned.await;
    display.clear();
    planned
}

/// What a plan is made of and where it goes.
#[derive(Debug, Clone, Copy)]
pub struct Planning<'a> {
    pub settings: &'a Settings,
    pub basis: &'a Basis,
    pub shards: Shards,
    pub compute: &'a Compute,
    pub progress: &'a Progress,
    pub destination: &'a dyn Store,
}

impl Planning<'_> {
    /// The plan that stands and is what the settings ask for, or a new one.
    ///
    /// # Errors
    /// As [`plan`].
    pub async fn find_or_make(self) -> Result<Plan, Error> {
        match self.standing().await? {
            Some(plan) => Ok(plan),
            None => self.commit(self.draft().await?).await,
        }
    }

    async fn standing(self) -> Result<Option<Plan>, Error> {
        let Some(plan) = Plan::standing(self.destination, &self.settings.run_id).await? else { return Ok(None) };
        plan.check_same(self.settings, &self.basis.fingerprint)?;
        tracing::info!(run_id = plan.run_id, objects = plan.objects, "this run was planned before: it goes on");
        Ok(Some(plan))
    }

    async fn commit(self, draft: Draft) -> Result<Plan, Error> {
        let plan = draft.commit(self.destination).await?;
        plan.check_same(self.settings, &self.basis.fingerprint)?; // another planner may have been first
        Ok(plan)
    }

    async fn draft(self) -> Result<Draft, Error> {
        let Self { settings, basis, shards, compute, progress, destination } = self;
        let earlier = below(destination, "media/").await?;
        refuse_unplanned(destination, &earlier, &settings.dt.to_string(), &settings.run_id).await?;
        let candidates = Candidates::open(settings).await?;
        let Basis { fingerprint, scorers } = basis;
        let draft = Planner { settings, fingerprint, scorers, shards, compute, progress }
            .draft(destination, earlier, candidates)
            .await?;
        let Plan { objects, left_out, .. } = &draft.plan;
        match (objects, left_out.finished) {
            (0, 0) => tracing::warn!(
                "{}: no object was found that the filters let through; the tables are empty",
                settings.source
            ),
            (0, finished) => tracing::warn!(
                "{}: earlier runs at {} finished all {finished} objects under the same settings; the tables of this run are \
                 empty (--include-finished sweeps them again)",
                settings.source,
                settings.out
            ),
            (_, 0) => {}
            (_, finished) => tracing::info!(
                "{finished} objects are left out, which earlier runs finished under the same settings (--include-finished sweeps \
                 them again)"
            ),
        }
        Ok(draft)
    }
}

fn check_shards(plan: &Plan, asked: Shards) -> Result<(), Error> {
    let planned = plan.shards.len();
    match asked {
        Shards::Exactly(asked) if asked as usize != planned => Err(Error::Usage(format!(
            "run {:?} was planned with --shards {planned}, found {asked}: a plan is made once; choose another --run-id",
            plan.run_id
        ))),
        _ => Ok(()),
    }
}
