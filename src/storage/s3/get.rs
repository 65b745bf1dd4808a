//! GetObject: the bytes of the listed version.
//!
//! Comes in: what the listing said, and an offset. Goes out: a body that ends where S3 said it would, or
//! fails. A body that is read from its start is held against the checksum that the object was written with, where there is
//! one; what is resumed is not. It never resumes by itself: the SDK's retries end with the headers, the caller asks again.

use std::sync::{Arc, PoisonError};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use futures::StreamExt;

use super::errors::{Failure, causes};
use super::{Link, quoted, unquoted};
use crate::storage::{Body, ObjectMeta, StoreError};

pub(super) async fn get(link: Arc<Link>, object: ObjectMeta, offset_bytes: u64) -> Result<Body, StoreError> {
    let what = link.place.object(&object.key);
    let request = link
        .client
        .get_object()
        .bucket(&link.place.bucket)
        .key(&object.key)
        .set_if_match(object.etag.as_deref().map(quoted))
        .set_version_id(object.version_id.clone())
        // Of a part of an object servers know no checksum.
        .set_checksum_mode((link.checksums && offset_bytes == 0).then_some(ChecksumMode::Enabled))
        .set_range((offset_bytes > 0).then(|| format!("bytes={offset_bytes}-")));
    let send = || async { request.clone().send().await.map_err(|error| Failure::of("GetObject", &error)) };
    let answer = match link.pace.keep(send).await {
        Ok(answer) => answer,
        Err(mut failure) => {
            if failure.is_throttled() && !failure.others_served {
                failure.others_served = another_is_served(&link, &object.key).await;
            }
            return Err(failure.into_store_error(&link.place, Some(&object.key)));
        }
    };
    link.served_key.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&object.key);

    // Some servers pass over If-Match and Range; bytes of another version or place must not get through.
    if let (Some(asked), Some(found)) = (&object.etag, answer.e_tag())
        && *asked != unquoted(found)
    {
        return Err(StoreError::Changed { what });
    }
    let range = answer.content_range().unwrap_or("no Content-Range");
    if offset_bytes > 0 && !range.starts_with(&format!("bytes {offset_bytes}-")) {
        let detail = format!("GetObject expected a range from byte {offset_bytes} on, found {range:?}");
        return Err(StoreError::Permanent { what, detail });
    }
    let left_bytes = answer.content_length().and_then(|length| u64::try_from(length).ok());
    let reading = Reading { what, body: answer.body, left_bytes };
    Ok(futures::stream::try_unfold(reading, Reading::next_chunk).boxed())
}

/// Behind the last object of an archive nobody else asks, and the silence says nothing about whom the server throttles.
/// So somebody asks: for the object that was served last.
async fn another_is_served(link: &Link, key: &str) -> bool {
    let other = link.served_key.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if other.is_empty() || other == key {
        return false;
    }
    match link.client.head_object().bucket(&link.place.bucket).key(other).send().await {
        Ok(_) => true,
        Err(error) => Failure::of("HeadObject", &error).status == Some(404),
    }
}

struct Reading {
    what: String,
    body: ByteStream,
    /// Of what S3 promised; unknown where it promised nothing.
    left_bytes: Option<u64>,
}

impl Reading {
    async fn next_chunk(mut self) -> Result<Option<(bytes::Bytes, Self)>, StoreError> {
        match self.body.next().await {
            Some(Ok(chunk)) => {
                self.left_bytes = self.left_bytes.map(|left| left.saturating_sub(chunk.len() as u64));
                Ok(Some((chunk, self)))
            }
            // All of it came, and then the SDK held it against the checksum in the answer.
            Some(Err(error)) if self.left_bytes == Some(0) || causes(&error).contains("checksum mismatch") => {
                let cause = causes(&error);
                Err(StoreError::Damaged {
                    what: self.what,
                    detail: format!("the body was damaged on its way: {cause}"),
                })
            }
            Some(Err(error)) => {
                let cause = causes(&error);
                Err(StoreError::Transient { what: self.what, detail: format!("the body broke off: {cause}") })
            }
            None if self.left_bytes.is_some_and(|left| left > 0) => {
                let left = self.left_bytes.unwrap_or_default();
                Err(StoreError::Transient { what: self.what, detail: format!("the body ended {left} bytes early") })
            }
            None => Ok(None),
        }
    }
}
