//! HeadObject: what stands under one key.
//!
//! Comes in: a key, and a version where one is meant. Goes out: what a listing would say of it. Of a listing it would cost
//! twelve times as much, and the keys behind it would come along.

use std::sync::Arc;

use chrono::DateTime;

use super::errors::Failure;
use super::{Link, unquoted};
use crate::storage::{ObjectMeta, StoreError};

pub(super) async fn find(link: Arc<Link>, key: String, version_id: Option<String>) -> Result<ObjectMeta, StoreError> {
    let request = link.client.head_object().bucket(&link.place.bucket).key(&key).set_version_id(version_id.clone());
    let send = || async { request.clone().send().await.map_err(|error| Failure::of("HeadObject", &error)) };
    let found = match link.pace.keep(send).await {
        Ok(found) => found,
        // An answer to HEAD has no body that could say more.
        Err(Failure { status: Some(404), .. }) => {
            return Err(StoreError::NotFound { what: link.place.object(&key) });
        }
        Err(failure) => return Err(failure.into_store_error(&link.place, Some(&key))),
    };
    Ok(ObjectMeta {
        size_bytes: found.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        etag: found.e_tag().map(unquoted),
        // What was not asked for is not kept: a listing does not know it either.
        version_id,
        modified: found.last_modified().and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos())),
        key,
    })
}
