//! Work spaces that are kept from one use to the next: as many as were ever in use at once.

use std::sync::{Mutex, PoisonError};

#[derive(Debug, Default)]
pub(super) struct Shelf<T>(Mutex<Vec<T>>);

impl<T: Default> Shelf<T> {
    /// `work` with a work space of its own. The shelf is not locked meanwhile: a thread of a pool that waits for a part
    /// of its work may come back here with another's.
    pub fn lend<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let mut lent = self.locked().pop().unwrap_or_default();
        let result = work(&mut lent);
        self.locked().push(lent);
        result
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
