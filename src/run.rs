//! Plan, work and finish in one process.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::finish::{self, Summary};
use crate::heartbeat;
use crate::instruments::Instruments;
use crate::metrics::Metrics;
use crate::pipeline::{compute::Compute, hanging};
use crate::plan::command::{Basis, Planning};
use crate::plan::make::Shards;
use crate::progress::{Display, Progress};
use crate::scorers::OpenStore;
use crate::settings::Settings;
use crate::shutdown::unless_stopped;
use crate::storage::open::open_destination;
use crate::work::Worker;

/// Runs to the end, or until `shutdown`. Goes on where an earlier attempt at the same run ended.
///
/// # Errors
/// What stops a job; see [`Error`].
pub async fn run(
    settings: &Settings,
    models: OpenStore<'_>,
    display: &Display,
    metrics: &Metrics,
    shutdown: CancellationToken,
) -> Result<Summary, Error> {
    let compute = Compute::new(settings.threads)?;
    let progress = Arc::new(Progress::default());
    metrics.follow(Arc::clone(&progress));
    let planning = async {
        let instruments = Instruments::open(settings, models, &compute, display).await?;
        let store = open_destination(&settings.out, &settings.s3).await?;
        let (basis, shards, destination) = (&Basis::of(&instruments), Shards::Exactly(1), store.as_ref());
        let (compute, progress) = (&compute, &*progress);
        let planning = Planning { settings, basis, shards, compute, progress, destination };
        let plan = tokio::select! {
            plan = planning.find_or_make() => plan?,
            never = heartbeat::watch(progress, display, metrics) => match never {},
        };
        Ok((instruments, store, plan))
    };
    let (instruments, store, plan) = unless_stopped(&shutdown, Box::pin(planning)).await?;
    let worker = Worker {
        plan: &plan,
        shards: (0..plan.shards.len() as u32).collect(),
        settings,
        instruments: &instruments,
        store: Arc::clone(&store),
        compute,
        progress: Arc::clone(&progress),
        shutdown: shutdown.clone(),
    };
    Box::pin(worker.work(display, metrics)).await?;
    let summary = tokio::select! {
        summary = finish::finish(&plan, store) => summary?,
        error = hanging(&shutdown) => return Err(error),
    };
    Ok(summary.took(&progress.snapshot(), settings.threads))
}
