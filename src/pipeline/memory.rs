//! The memory budget: a semaphore that counts bytes. Its permit rides with the data and is freed with it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;

/// What one permit of the semaphore stands for: fine enough for thumbnails, coarse enough for its 32-bit counts.
const UNIT_BYTES: u64 = 4096;

/// Bytes that were set aside; given back when this is dropped.
pub type Reserved = OwnedSemaphorePermit;

/// Three budgets in the order in which an object asks for them: it holds one while it waits for the next, never the
/// other way round, and what it holds of the last is given back by a stage that waits for nothing. So none can lock.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    pub compressed: ByteBudget,
    pub pixels: ByteBudget,
    pub crops: ByteBudget,
}

impl MemoryBudget {
    #[must_use]
    pub fn new(total_bytes: u64) -> Self {
        let share = |share: f64| (total_bytes as f64 * share) as u64;
        let (compressed, crops) = (share(limits::COMPRESSED_SHARE), share(limits::CROPS_SHARE));
        Self {
            compressed: ByteBudget::new(compressed),
            pixels: ByteBudget::new(total_bytes - compressed - crops),
            crops: ByteBudget::new(crops),
        }
    }
}

/// A number of bytes that is shared out.
#[derive(Debug, Clone)]
pub struct ByteBudget {
    semaphore: Arc<Semaphore>,
    units: u64,
}

impl ByteBudget {
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let units = (bytes / UNIT_BYTES).clamp(1, u64::from(u32::MAX >> 4)); // within what the semaphore counts
        Self { semaphore: Arc::new(Semaphore::new(units as usize)), units }
    }

    #[must_use]
    pub fn capacity_bytes(&self) -> u64 {
        self.units * UNIT_BYTES
    }

    /// Waits until `bytes` are free, or the whole budget where that is less: what is larger than everything
    /// goes through alone.
    pub async fn reserve_at_most(&self, bytes: u64) -> Option<Reserved> {
        self.reserve(bytes.min(self.capacity_bytes())).await
    }

    /// Waits until `bytes` are free, first come, first served. None if there will never be so many.
    pub async fn reserve(&self, bytes: u64) -> Option<Reserved> {
        let units = bytes.div_ceil(UNIT_BYTES).max(1);
        if units > self.units {
            return None;
        }
        Arc::clone(&self.semaphore).acquire_many_owned(units as u32).await.ok()
    }
}
