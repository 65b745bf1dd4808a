//! GetObject: the bytes of the listed version.
//!
//! Comes in: what the listing said, and an offset. Goes out: a body that ends where S3 said it would, or
//! fails. It never resumes by itself: the SDK's retries end with the headers, the caller asks again.

use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use futures::StreamExt;

use super::errors::{Failure, causes};
use super::{Link, quoted, unquoted};
use crate::storage::{Body, ObjectMeta, StoreError};

pub(super) async fn get(link: Arc<Link>, object: ObjectMeta, offset_bytes: u64) -> Result<Body, StoreError> {
    let what = link.place.object(&object.key);
    let answer = link
        .client
        .get_object()
        .bucket(&link.place.bucket)
        .key(&object.key)
        .set_if_match(object.etag.as_deref().map(quoted))
        .set_version_id(object.version_id.clone())
        .set_range((offset_bytes > 0).then(|| format!("bytes={offset_bytes}-")))
        .send()
        .await
        .map_err(|error| Failure::of("GetObject", &error).into_store_error(&link.place, Some(&object.key)))?;

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
