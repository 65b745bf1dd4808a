//! An entry that leaves size or ETag open → what stands under its key now.

use futures::TryStreamExt;

use crate::error::Error;
use crate::plan::listed::Listed;
use crate::storage::{ObjectMeta, Store, StoreError};

/// Looks the object up. One that is not there comes out without size, ETag and time, so that the run asks for it and its
/// row says what became of it. An ETag that the list states stays: where another version stands now, the row says so.
///
/// # Errors
/// A store that may not be asked, or that fails again and again.
pub async fn resolve(store: &dyn Store, entry: Listed) -> Result<ObjectMeta, Error> {
    let Listed { key, size_bytes, etag, version_id, .. } = entry;
    let found = match store.find(&key, version_id.as_deref()).await {
        // One object may be closed to us in a bucket that is not.
        Err(StoreError::Denied { .. }) if version_id.is_none() => listed(store, &key).await,
        Err(StoreError::Denied { what, detail }) => {
            return Err(Error::Input(format!(
                "{what}: access denied: {detail}; versions that a list names ask for the right s3:GetObjectVersion"
            )));
        }
        found => found,
    };
    match found {
        Ok(found) => {
            let is_the_same = etag.is_none() || etag == found.etag;
            let size_bytes = if is_the_same { found.size_bytes } else { size_bytes.unwrap_or(found.size_bytes) };
            Ok(ObjectMeta {
                key,
                size_bytes,
                etag: etag.or(found.etag),
                version_id: version_id.or(found.version_id),
                modified: found.modified,
            })
        }
        // A key that cannot be, or a version that is none, is not there either.
        Err(StoreError::NotFound { .. } | StoreError::Permanent { .. }) => {
            Ok(ObjectMeta { key, size_bytes: 0, etag: None, version_id, modified: None })
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether [`resolve`] found nothing.
#[must_use]
pub fn is_gone(object: &ObjectMeta) -> bool {
    object.size_bytes == 0 && object.etag.is_none()
}

async fn listed(store: &dyn Store, key: &str) -> Result<ObjectMeta, StoreError> {
    match store.list(key).try_next().await? {
        Some(object) if object.key == key => Ok(object),
        _ => Err(StoreError::NotFound { what: format!("object {key:?}") }),
    }
}
