//! A bucket of Amazon S3, or of anything that speaks its protocol.
//!
//! Comes in: a bucket and how to reach it. Goes out: the contract of [`Store`], one file per operation.
//! It never deletes, never overwrites, and never asks for more than list, get, head and put.

mod connect;
mod errors;
mod find;
mod get;
mod list;
mod pace;
mod page;
mod put_new;
mod throttles;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_s3::Client;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::{Body, ObjectMeta, PaceSnapshot, Store, StoreError};
pub use connect::find_credentials;
use errors::Place;
use pace::Pace;
use put_new::Payload;
pub use throttles::Throttles;

/// One try and four more, over about 15 s: longer outages are the scheduler's to wait out.
const MAX_ATTEMPTS: u32 = 5;

/// What an answer may take once all bytes were sent. Most parts are small, and a write that hangs holds up those behind it.
const PUT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a throttle is waited out before a request fails. S3 makes room for a busy prefix within minutes, and a job that
/// ends meanwhile comes back to the same throttle with less done.
const THROTTLE_PATIENCE: Duration = Duration::from_secs(300);

/// A body that brings no byte for so long is asked for again; a slow disk behind a gateway needs less.
const STALLED_AFTER: Duration = Duration::from_secs(20);

/// How to reach S3, where the standard AWS configuration does not say it or says it wrong.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// Default: `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, the profile; else Amazon S3.
    pub endpoint_url: Option<String>,
    /// Default: `AWS_REGION`, the profile; else `us-east-1` at a custom endpoint, and where the bucket is at Amazon.
    pub region: Option<String>,
    /// The bucket in the path rather than in the host name. Default: yes at a custom endpoint.
    pub path_style: Option<bool>,
    /// Sends unsigned requests: for public buckets.
    pub anonymous: bool,
    /// Default: the standard chain (environment, profile, web identity, container, instance).
    pub credentials: Option<KeyPair>,
    /// `false` where the server lacks `If-None-Match`: a HEAD and a plain PUT, between which another
    /// writer may slip in.
    pub conditional_writes: bool,
    /// Of each request, the first included.
    pub max_attempts: u32,
    /// Of one attempt to write an object, beside what its bytes take on the slowest uplink.
    pub put_timeout: Duration,
    /// How long a throttle is waited out.
    pub throttle_patience: Duration,
    /// How long a body may bring no byte.
    pub stalled_after: Duration,
    /// How often a server asked for fewer requests.
    pub throttles: Throttles,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            endpoint_url: None,
            region: None,
            path_style: None,
            anonymous: false,
            credentials: None,
            conditional_writes: true,
            max_attempts: MAX_ATTEMPTS,
            put_timeout: PUT_TIMEOUT,
            throttle_patience: THROTTLE_PATIENCE,
            stalled_after: STALLED_AFTER,
            throttles: Throttles::default(),
        }
    }
}

/// An access key; its secret shows in no log.
#[derive(Clone)]
pub struct KeyPair {
    pub access_key_id: String,
    pub secret_access_key: String,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// One bucket. Clones share the connection pool.
#[derive(Debug, Clone)]
pub struct S3Store {
    link: Arc<Link>,
}

/// What every operation needs: the client, and the bucket's name for requests and messages.
#[derive(Debug, Clone)]
struct Link {
    client: Client,
    place: Place,
    pace: Arc<Pace>,
    /// The object that was handed out last; empty before the first.
    served_key: Arc<Mutex<String>>,
    /// Asks for the checksums that objects were written with, and holds bodies against them.
    checksums: bool,
    conditional_writes: bool,
    put_timeout: Duration,
    /// Keys that start so are left out of listings, where DEST lies inside SOURCE.
    exclude: Option<String>,
}

impl S3Store {
    /// Finds credentials, endpoint and region. Sends no request, unless the region must be found.
    ///
    /// # Errors
    /// `Denied` where no credentials are found, `Permanent` where endpoint or region make no sense.
    pub async fn connect(bucket: &str, options: &S3Options) -> Result<Self, StoreError> {
        Ok(Self { link: Arc::new(connect::connect(bucket, options).await?) })
    }

    /// The same bucket, with keys that start with `exclude` left out of listings.
    #[must_use]
    pub fn excluding(self, exclude: String) -> Self {
        Self { link: Arc::new(Link { exclude: Some(exclude), ..(*self.link).clone() }) }
    }

    /// As [`Store::put_new`], from a file of up to 5 GiB that is never whole in memory.
    ///
    /// # Errors
    /// Those of [`Store::put_new`], and a file that cannot be read or is larger.
    pub async fn put_new_file(&self, key: &str, path: &Path) -> Result<Option<String>, StoreError> {
        let body = Payload::of_file(path.to_owned()).await?;
        put_new::put_new(Arc::clone(&self.link), key.to_owned(), body).await
    }

    /// Asks for one key under `prefix`, to learn of a missing bucket or missing rights before any work.
    ///
    /// # Errors
    /// Those of a listing.
    pub async fn check(&self, prefix: &str) -> Result<(), StoreError> {
        page::check(&self.link, prefix).await
    }
}

impl Store for S3Store {
    fn bucket(&self) -> &str {
        &self.link.place.bucket
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
        list::list(Arc::clone(&self.link), prefix.to_owned())
    }

    fn find(&self, key: &str, version_id: Option<&str>) -> BoxFuture<'static, Result<ObjectMeta, StoreError>> {
        find::find(Arc::clone(&self.link), key.to_owned(), version_id.map(str::to_owned)).boxed()
    }

    fn get(&self, object: &ObjectMeta, offset_bytes: u64) -> BoxFuture<'static, Result<Body, StoreError>> {
        get::get(Arc::clone(&self.link), object.clone(), offset_bytes).boxed()
    }

    fn put_new(&self, key: &str, body: Bytes) -> BoxFuture<'static, Result<Option<String>, StoreError>> {
        put_new::put_new(Arc::clone(&self.link), key.to_owned(), Payload::Bytes(body)).boxed()
    }

    fn pace(&self) -> Option<PaceSnapshot> {
        Some(self.link.pace.snapshot())
    }
}

/// An ETag as the rest of the program knows it: without quotes, unless it is a weak one.
fn unquoted(etag: &str) -> String {
    etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).unwrap_or(etag).to_owned()
}

fn quoted(etag: &str) -> String {
    if etag.starts_with("W/") { etag.to_owned() } else { format!("\"{etag}\"") }
}
