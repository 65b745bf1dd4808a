//! The CPU pool: one thread per core for decoding and networks together, so that nothing is oversubscribed.
//!
//! A task here computes and never waits: no I/O, no channel, no lock that a waiter could hold.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;

use crate::error::{Error, Rejection, RejectionClass};
use crate::limits;
use crate::process;

#[derive(Debug, Clone)]
pub struct Compute {
    pool: Arc<ThreadPool>,
}

impl Compute {
    /// # Errors
    /// An operating system that gives no threads.
    pub fn new(threads: usize) -> Result<Self, Error> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .stack_size(limits::COMPUTE_STACK_BYTES)
            .thread_name(|i| format!("{}{i}", process::COMPUTE_THREAD))
            .build()
            .map_err(|e| Error::Input(format!("--threads {threads}: no thread pool: {e}")))?;
        Ok(Self { pool: Arc::new(pool) })
    }

    /// The threads, for work that is waited for where it is called.
    #[must_use]
    pub fn pool(&self) -> &ThreadPool {
        &self.pool
    }

    /// Runs `work` in the pool; its result, and how long it took. A panic becomes a rejection.
    ///
    /// # Errors
    /// `work` panicked.
    pub async fn run<T, F>(&self, work: F) -> Result<(T, Duration), Rejection>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (done, result) = oneshot::channel();
        let stage = tracing::Span::current();
        self.pool.spawn(move || {
            let _entered = stage.entered();
            let start = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(work)).map(|value| (value, start.elapsed()));
            let _ = done.send(outcome); // nobody waits any more when the run was stopped
        });
        match result.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(panic)) => Err(panicked(panic.as_ref())),
            Err(_) => Err(Rejection::new(RejectionClass::Panicked, "the compute pool stopped")),
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Rejection {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    Rejection::new(RejectionClass::Panicked, format_args!("a decoder or network panicked: {text}"))
}
