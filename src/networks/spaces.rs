//! Work spaces that are used again: made when a thread finds none free, kept for the next picture.
//!
//! In: a piece of work. Out: its result. There are never more spaces than pieces were at work at one time, and they
//! never hold what a result depends on. Nothing is locked while one works: a thread of a pool that waits for a part of its
//! work may come back here with another's.

use std::fmt;
use std::sync::{Mutex, PoisonError};

pub struct Spaces<T>(Mutex<Vec<T>>);

impl<T> Spaces<T> {
    pub fn with<R>(&self, make: impl FnOnce() -> T, work: impl FnOnce(&mut T) -> R) -> R {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut space = free.unwrap_or_else(make);
        let result = work(&mut space);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(space);
        result
    }
}

impl<T> Default for Spaces<T> {
    fn default() -> Self {
        Self(Mutex::new(vec![]))
    }
}

impl<T> fmt::Debug for Spaces<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spaces")
    }
}
