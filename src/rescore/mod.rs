//! A new run from the embeddings of finished ones: new heads, no media.
//!
//! ```text
//! RUN … ─▶ slices ─▶ parts side by side ─▶ heads ─▶ rows ─▶ parts of the new run (`media` last) ─▶ SUCCESS.json
//! ```
//!
//! A slice of a run becomes a slice of the new one; slices are worked on side by side, and each is a commit of its own,
//! so that workers share them and a run that was stopped goes on. Rows come out of the scoring stage that a run has, and
//! are those that a run with these scorers would have written, but for its times, which are 0. Of a tower no more is read
//! than the projection.

mod claim;
mod finish;
pub mod flags;
mod left_out;
mod recall;
mod scoring;
pub mod serve;
pub mod settings;
mod slice;
mod summary;
mod work;

use std::sync::Arc;
use std::time::Duration;

use candle_core::Device;
use tokio_util::sync::CancellationToken;

use self::settings::RescoreSettings;
pub use self::summary::Summary;
use self::work::Work;
use crate::error::Error;
use crate::heartbeat;
use crate::limits;
use crate::metrics::Metrics;
use crate::progress::Display;
use crate::results::source::Source;
use crate::scorers::registry::Registry;
use crate::scorers::{OpenStore, Opening, names};

/// Scores the stored embeddings of runs to the end, or until `shutdown`.
///
/// # Errors
/// What stops a job; see [`Error`].
pub async fn rescore(
    settings: &RescoreSettings,
    store: OpenStore<'_>,
    display: &Display,
    metrics: &Metrics,
    shutdown: CancellationToken,
) -> Result<Summary, Error> {
    let registry = Registry::open(settings.registry.as_deref())?;
    let opening = Opening {
        registry: &registry,
        store,
        accept_licence: settings.accept_licence,
        device: &Device::Cpu,
        pool: None,
        display,
    };
    let begin = async {
        let mut sources = vec![];
        for run in &settings.runs {
            sources.push(Source::open(run, &settings.s3).await?);
        }
        let scorers = Arc::new(opening.open_for_stored(&settings.scorers).await?);
        serve::check(&sources, &scorers, &names(&settings.scorers)).await?;
        Work::begin(settings, sources, scorers, shutdown.clone()).await
    };
    let work = tokio::select! {
        begun = begin => begun?,
        () = shutdown.cancelled() => return Err(Error::TryAgain("stopped by a signal before any work began".to_owned())),
    };
    metrics.follow(Arc::clone(&work.progress));
    let result = tokio::select! {
        result = work.run() => result,
        error = hanging(&shutdown) => Err(error),
        never = heartbeat::watch(&work.progress, display, metrics) => match never {},
    };
    display.clear();
    work.progress.measure();
    result
}

/// Ends when a shutdown has lasted too long. What was being written then stands whole or not at all.
async fn hanging(shutdown: &CancellationToken) -> Error {
    shutdown.cancelled().await;
    tokio::time::sleep(Duration::from_secs(limits::SHUTDOWN_SECS)).await;
    Error::TryAgain(format!("stopped by a signal; the destination did not answer for {} s", limits::SHUTDOWN_SECS))
}
