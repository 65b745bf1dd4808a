//! PutObject with `If-None-Match: *`: one writer wins, and knows it.
//!
//! Comes in: a key and all bytes, in memory or in a file. Goes out: an ETag, or `AlreadyExists` where another writer
//! was first.
//! It never overwrites, and never deletes after an unknown outcome: that is how others lost data.
//!
//! A conditional write that is retried is not idempotent: applied, answer lost, sent again (by us or by
//! the SDK), it meets its own object and reads 412. So every write carries a random attempt id in the
//! object's metadata, and whoever is told that the key is taken looks whose it is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::config::Config;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::connect::CONNECT_TIMEOUT;
use super::errors::Failure;
use super::{Link, unquoted};
use crate::storage::{StoreError, key};

/// The key of the object's user metadata that says which write made it.
const ATTEMPT_KEY: &str = "deepsweep-attempt";

/// How often an unknown outcome or a conflict is met with another try, on top of the SDK's own: a
/// conflict lasts as long as the other write, which is seconds.
const MAX_TRIES: u32 = 5;

/// Doubles with each try.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The slowest uplink that an upload is waited for: 4 Mbit/s.
const SLOWEST_BYTES_PER_SEC: u64 = 500_000;

/// One PutObject takes no more; larger files would need an upload in parts.
const MAX_PUT_BYTES: u64 = 5 << 30;

/// What is written. Read anew for each try.
pub(super) enum Payload {
    Bytes(Bytes),
    File { path: PathBuf, size_bytes: u64 },
}

impl Payload {
    /// # Errors
    /// A file that is missing, or larger than one request may be.
    pub(super) async fn of_file(path: PathBuf) -> Result<Self, StoreError> {
        let what = path.display().to_string();
        let found = tokio::fs::metadata(&path).await;
        let size_bytes = found.map_err(|e| unreadable(&path, &e))?.len();
        if size_bytes > MAX_PUT_BYTES {
            let detail = format!("expected at most {MAX_PUT_BYTES} bytes for one PutObject, found {size_bytes}");
            return Err(StoreError::Permanent { what, detail });
        }
        Ok(Self::File { path, size_bytes })
    }

    fn size_bytes(&self) -> u64 {
        match self {
            Self::Bytes(body) => body.len() as u64,
            Self::File { size_bytes, .. } => *size_bytes,
        }
    }

    async fn stream(&self) -> Result<ByteStream, StoreError> {
        match self {
            Self::Bytes(body) => Ok(ByteStream::from(body.clone())),
            Self::File { path, .. } => ByteStream::from_path(path).await.map_err(|e| unreadable(path, &e)),
        }
    }

    /// Of one try: the read timeout runs from the first byte sent, so it must leave room for the upload.
    fn timeout(&self, answer: Duration) -> Duration {
        answer + Duration::from_secs(self.size_bytes() / SLOWEST_BYTES_PER_SEC)
    }
}

pub(super) async fn put_new(link: Arc<Link>, key: String, body: Payload) -> Result<Option<String>, StoreError> {
    key::check_new(&key)?;
    let attempt = attempt_id(&key)?;
    let write = Write { link: &link, key: &key, attempt: &attempt };
    if !link.conditional_writes && matches!(write.look().await?, Standing::Ours(_) | Standing::Another) {
        return Err(write.already_exists());
    }
    let mut pause = FIRST_PAUSE;
    for tries_left in (0..MAX_TRIES).rev() {
        let failure = match link.pace.keep(|| write.send(&body)).await {
            Ok(etag) => return Ok(etag),
            Err(failure) => failure,
        };
        if link.conditional_writes && failure.lacks_conditional_writes() {
            let cause = failure.into_store_error(&link.place, Some(&key));
            let detail = format!(
                "the server at {} lacks conditional writes (If-None-Match on PutObject); where one writer at a \
                 time is certain, give --unconditional-writes: {cause}",
                link.place.endpoint
            );
            return Err(StoreError::Permanent { what: link.place.object(&key), detail });
        }
        let taken_or_conflict = matches!(failure.status, Some(409 | 412));
        // A throttle was waited out already. Should an attempt before it have been carried out, whoever writes the key next
        // finds that it exists.
        if failure.is_throttled() || (!taken_or_conflict && !failure.leaves_outcome_unknown()) {
            return Err(failure.into_store_error(&link.place, Some(&key)));
        }
        match write.look().await? {
            Standing::Ours(etag) => return Ok(etag),
            Standing::Another => return Err(write.already_exists()),
            Standing::Nothing if tries_left == 0 => {
                let cause = failure.into_store_error(&link.place, Some(&key));
                let detail = format!("PutObject failed {MAX_TRIES} times and nothing was written: {cause}");
                return Err(StoreError::Transient { what: link.place.object(&key), detail });
            }
            // The request may still be on its way; sent again, it carries the same id.
            Standing::Nothing => tokio::time::sleep(pause).await,
        }
        pause *= 2;
    }
    Err(write.already_exists())
}

/// What stands under the key, as far as this write is concerned.
enum Standing {
    Nothing,
    Ours(Option<String>),
    Another,
}

struct Write<'a> {
    link: &'a Link,
    key: &'a str,
    attempt: &'a str,
}

impl Write<'_> {
    async fn send(&self, body: &Payload) -> Result<Option<String>, Failure> {
        let stream = body.stream().await.map_err(|error| Failure::unsendable(error.to_string()))?;
        let timeout = body.timeout(self.link.put_timeout);
        let patient = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(timeout)
            .operation_attempt_timeout(timeout);
        self.link
            .client
            .put_object()
            .bucket(&self.link.place.bucket)
            .key(self.key)
            .set_if_none_match(self.link.conditional_writes.then(|| "*".to_owned()))
            .metadata(ATTEMPT_KEY, self.attempt)
            .content_length(i64::try_from(body.size_bytes()).unwrap_or(i64::MAX))
            .body(stream)
            .customize()
            .config_override(Config::builder().timeout_config(patient.build()))
            .send()
            .await
            .map(|written| written.e_tag().map(unquoted))
            .map_err(|error| Failure::of("PutObject", &error))
    }

    async fn look(&self) -> Result<Standing, StoreError> {
        let place = &self.link.place;
        let request = self.link.client.head_object().bucket(&place.bucket).key(self.key);
        let send = || async { request.clone().send().await.map_err(|error| Failure::of("HeadObject", &error)) };
        match self.link.pace.keep(send).await {
            Ok(found) if found.metadata().and_then(|map| map.get(ATTEMPT_KEY)).is_some_and(|id| id == self.attempt) => {
                Ok(Standing::Ours(found.e_tag().map(unquoted)))
            }
            Ok(_) => Ok(Standing::Another),
            Err(Failure { status: Some(404), .. }) => Ok(Standing::Nothing),
            Err(failure) => Err(failure.into_store_error(place, Some(self.key))),
        }
    }

    fn already_exists(&self) -> StoreError {
        StoreError::AlreadyExists { what: self.link.place.object(self.key) }
    }
}

fn unreadable(path: &std::path::Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Permanent { what: path.display().to_string(), detail: format!("cannot be read: {error}") }
}

fn attempt_id(key: &str) -> Result<String, StoreError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| StoreError::Permanent {
        what: format!("attempt id for {key:?}"),
        detail: format!("the system gave no random bytes: {error}"),
    })?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
