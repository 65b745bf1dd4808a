//! Counts answers that ask for fewer requests. The SDK waits and asks again by itself, so nobody else sees most of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A count that is shared by every store that was opened with the same options.
#[derive(Debug, Clone, Default)]
pub struct Throttles(Arc<AtomicU64>);

impl Throttles {
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn one_more(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}
