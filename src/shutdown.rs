//! Work that a signal may end at once, since nothing of it would be half done.

use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// # Errors
/// Those of `work`, and `TryAgain` where a shutdown came first.
pub async fn unless_stopped<T>(
    shutdown: &CancellationToken,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        done = work => done,
        () = shutdown.cancelled() => Err(Error::TryAgain("stopped by a signal before any work began".to_owned())),
    }
}
