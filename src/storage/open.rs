//! From a SOURCE or DEST to a store that answers.
//!
//! Comes in: a location and S3 options. Goes out: a store, or the reason why no work should start: no
//! such folder or bucket, no credentials, no rights. It never writes but for DEST's own folder.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::local::{LocalStore, canonical_as_far_as_it_exists};
use super::rooted::Rooted;
use super::s3::{S3Options, S3Store};
use super::{Location, SharedStore, StoreError, key};
use crate::error::Error;

/// The store behind SOURCE, and the prefix under which to list it. Objects keep their full keys.
/// `exclude` is DEST: where it lies inside SOURCE, listings leave it out.
///
/// # Errors
/// `Usage` where SOURCE and DEST are the same; `Input` where SOURCE is missing or may not be read;
/// `TryAgain` where it could not be reached.
pub async fn open_source(
    location: &Location,
    options: &S3Options,
    exclude: Option<&Location>,
) -> Result<(SharedStore, String), Error> {
    match location {
        Location::Local(path) => {
            let exclude = match exclude {
                Some(Location::Local(exclude)) => Some(exclude.as_path()),
                _ => None,
            };
            let store = LocalStore::open(path, exclude)?;
            let prefix = store.only().unwrap_or_default().to_owned();
            if exclude
                .is_some_and(|exclude| canonical_as_far_as_it_exists(exclude) == store.root() && prefix.is_empty())
            {
                return Err(same_place(location));
            }
            Ok((Arc::new(store), prefix))
        }
        Location::S3 { bucket, prefix } => {
            let mut store = S3Store::connect(bucket, options).await?;
            if let Some(Location::S3 { bucket: other_bucket, prefix: results }) = exclude
                && other_bucket == bucket
            {
                let results = as_folder(results);
                if results == as_folder(prefix) {
                    return Err(same_place(location));
                }
                if results.starts_with(prefix.as_str()) {
                    store = store.excluding(results);
                }
            }
            store.check(prefix).await?;
            Ok((Arc::new(store), prefix.clone()))
        }
    }
}

/// The store of media whose keys are known: it need not be one that may be listed.
///
/// # Errors
/// As [`open_source`], but for rights that are missing.
pub async fn open_media(location: &Location, options: &S3Options) -> Result<SharedStore, Error> {
    let Location::S3 { bucket, prefix } = location else { return Ok(open_source(location, options, None).await?.0) };
    let store = S3Store::connect(bucket, options).await?;
    match store.check(prefix).await {
        Ok(()) => {}
        Err(StoreError::Denied { detail, .. }) => tracing::info!("{location} may not be listed: {detail}"),
        Err(error) => return Err(error.into()),
    }
    Ok(Arc::new(store))
}

/// The store behind DEST, its keys relative to DEST. A folder is created where it is missing.
///
/// # Errors
/// `Input` where DEST is a file, cannot be created, or is a bucket that does not exist or refuses;
/// `TryAgain` where it could not be reached.
pub async fn open_destination(location: &Location, options: &S3Options) -> Result<SharedStore, Error> {
    match location {
        Location::Local(path) => {
            create_folder(path)?;
            Ok(Arc::new(LocalStore::open(path, None)?))
        }
        Location::S3 { bucket, prefix } => {
            let folder = prefix.trim_end_matches('/');
            if !folder.is_empty() {
                key::check_new(folder).map_err(|e| Error::Usage(format!("{location}: {e}")))?;
            }
            let store = S3Store::connect(bucket, options).await?;
            store.check(&as_folder(prefix)).await?;
            Ok(Arc::new(Rooted::new(Arc::new(store), prefix)))
        }
    }
}

fn create_folder(path: &Path) -> Result<(), Error> {
    if path.exists() && !path.is_dir() {
        return Err(Error::Input(format!("{}: expected a folder for the results, found a file", path.display())));
    }
    fs::create_dir_all(path).map_err(|error| {
        Error::Input(format!("{}: the folder for the results cannot be created: {error}", path.display()))
    })
}

fn as_folder(prefix: &str) -> String {
    let prefix = prefix.trim_end_matches('/');
    if prefix.is_empty() { String::new() } else { format!("{prefix}/") }
}

fn same_place(location: &Location) -> Error {
    Error::Usage(format!(
        "{location}: expected results beside or below the source, found the same place for both; the next run would \
         take its own results for media"
    ))
}
