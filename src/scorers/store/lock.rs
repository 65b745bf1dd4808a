//! One process at a time fills a folder of the cache; the others wait and then find it full.
//!
//! In: a folder. Out: a lock that its process's end releases, however it ends. It never breaks a lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

use crate::error::Error;

/// Beside the files that it guards.
const NAME: &str = ".lock";

/// Short beside any download, long beside a system call.
const PAUSE: Duration = Duration::from_millis(100);

/// Held until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Waits for as long as another process holds it; `what` is being pulled.
///
/// # Errors
/// A folder that may not be written, or a file system without locks.
pub(super) async fn lock(folder: &Path, what: &str) -> Result<Lock, Error> {
    let path = folder.join(NAME);
    let failed = |e: &std::io::Error| {
        Error::Input(format!(
            "{}: cannot be locked: {e}; choose a folder of your own on a local disk with --models FOLDER",
            path.display()
        ))
    };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(|e| failed(&e))?;
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(TryLockError::Error(e)) => return Err(failed(&e)),
            Err(TryLockError::WouldBlock) => {
                if !said {
                    tracing::info!("waiting: another process is pulling {what}");
                    said = true;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
