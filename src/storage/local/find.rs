//! One entry by its key, without a look at what lies beside it: a folder of a million files is not read a million times.
//!
//! Comes in: a key. Goes out: what a listing would say of it. It opens nothing.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::{from_io, from_join, meta_of};
use crate::storage::{ObjectMeta, StoreError, key};

pub(super) async fn find(root: PathBuf, key: String) -> Result<ObjectMeta, StoreError> {
    let path = key::path_below(&root, &key)?;
    let looked_at = path.clone();
    // A link that leads nowhere stands for itself, as in a listing.
    let look = move || fs::metadata(&looked_at).or_else(|_| fs::symlink_metadata(&looked_at));
    let found = tokio::task::spawn_blocking(look).await.map_err(|error| from_join(&path, &error))?;
    match found {
        Ok(found) if !found.is_dir() => Ok(meta_of(key, &found)),
        Ok(_) => Err(StoreError::NotFound { what: path.display().to_string() }),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            Err(StoreError::NotFound { what: path.display().to_string() })
        }
        Err(error) => Err(from_io(&path, &error)),
    }
}
