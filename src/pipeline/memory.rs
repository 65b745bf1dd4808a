//! The memory budget: a semaphore that counts bytes. Its permit rides with the data and is freed with it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;

/// What one permit of the semaphore stands for: fine enough for thumbnails, coarse enough for its 32-bit counts.
const UNIT_BYTES: u64 = 4096;

/// Bytes that were set aside; given back when this is dropped.
pub type Reserved = OwnedSemaphorePermit;

/// Two budgets: an object holds the first while it waits for the second, and never the other way round.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    pub compressed: ByteBudget,
    pub pixels: ByteBudget,
}

impl MemoryBudget {
    #[must_use]
    pub fn new(total_bytes: u64) -> Self {
        let compressed_bytes = (total_bytes as f64 * limits::COMPRESSED_SHARE) as u64;
        Self { compressed: ByteBudget::new(compressed_bytes), pixels: ByteBudget::new(total_bytes - compressed_bytes) }
    }
}

/// A number of bytes that is shared out.
#[derive(Debug, Clone)]
pub struct ByteBudget {
    semaphore: Arc<Semaphore>,
    units: u64,
}

impl ByteBudget {
    fn new(bytes: u64) -> Self {
        let units = (bytes / UNIT_BYTES).clamp(1, u64::from(u32::MAX >> 4)); // within what the semaphore counts
        Self { semaphore: Arc::new(Semaphore::new(units as usize)), units }
    }

    #[must_use]
    pub fn capacity_bytes(&self) -> u64 {
        self.units * UNIT_BYTES
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
