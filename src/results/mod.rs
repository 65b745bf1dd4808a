//! What stands at a destination: runs, what they say of themselves, and their parts, to be read again.
//!
//! Comes in: a place and a store. Goes out: parts that can be read, and records. It never makes a row.

pub mod fetch;
pub mod place;
pub mod record;
pub mod slice;
pub mod source;
pub mod standing;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;

use crate::error::Error;
use crate::limits;
use crate::storage::open::open_source;
use crate::storage::rooted::Rooted;
use crate::storage::s3::S3Options;
use crate::storage::{Location, ObjectMeta, SharedStore, Store, StoreError};

/// Where the parts of one run go, and how they are named.
#[derive(Debug, Clone)]
pub struct Destination {
    pub store: SharedStore,
    pub run_id: String,
    /// Day of the run, `YYYY-MM-DD`.
    pub dt: String,
}

/// The store of a destination that is there already, its keys relative to it.
///
/// # Errors
/// No such folder or bucket, or no rights.
pub async fn open_results(out: &str, s3: &S3Options) -> Result<(SharedStore, String), Error> {
    let location: Location = out.parse().map_err(Error::Usage)?;
    let (store, prefix) = open_source(&location, s3, None).await?;
    Ok(match location {
        Location::Local(_) => {
            let place = store.bucket().to_owned();
            (store, place)
        }
        Location::S3 { bucket, prefix: root } => {
            let place = format!("s3://{bucket}/{root}").trim_end_matches('/').to_owned();
            (Arc::new(Rooted::new(store, &prefix)), place)
        }
    })
}

/// All of a small object; None where there is none.
///
/// # Errors
/// A store that fails again and again.
pub async fn read_whole(store: &dyn Store, key: &str) -> Result<Option<Bytes>, Error> {
    let object = ObjectMeta { key: key.to_owned(), size_bytes: 0, etag: None, version_id: None, modified: None };
    match read_from(store, &object, 0).await {
        Ok(body) => Ok(Some(body)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The bytes of an object from `offset_bytes` on, in memory. A body that breaks off is asked for again.
///
/// # Errors
/// Those of the store, where it fails again and again.
pub async fn read_from(store: &dyn Store, object: &ObjectMeta, offset_bytes: u64) -> Result<Bytes, StoreError> {
    let silence = Duration::from_secs(limits::FETCH_SILENCE_SECS);
    let mut pause = Duration::from_millis(limits::FETCH_PAUSE_MS);
    for attempt in 1.. {
        let reading = async {
            let mut body = store.get(object, offset_bytes).await?;
            let mut bytes = BytesMut::new();
            loop {
                match tokio::time::timeout(silence, body.try_next()).await {
                    Ok(Ok(Some(piece))) => bytes.extend_from_slice(&piece),
                    Ok(Ok(None)) => return Ok(bytes.freeze()),
                    Ok(Err(error)) => return Err(error),
                    Err(_) => {
                        let detail = format!("no bytes for {} s", silence.as_secs());
                        return Err(StoreError::Transient { what: object.key.clone(), detail });
                    }
                }
            }
        };
        match reading.await {
            Err(error @ (StoreError::Transient { .. } | StoreError::Damaged { .. }))
                if attempt < limits::FETCH_ATTEMPTS =>
            {
                tracing::debug!(key = object.key, attempt, "reading again: {error}");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            read => return read,
        }
    }
    Ok(Bytes::new()) // the loop above ends by returning
}
