//! The only door to the outside: objects come in by [`Store::list`] and [`Store::get`], parts go out
//! by [`Store::put_new`].
//!
//! Every store keeps the same contract (the suite in `tests/it/storage_contract.rs` runs over all of
//! them); [`memory`] is its reference. Nothing here knows what an image or a table is.

pub mod faulty;
pub mod key;
pub mod local;
pub mod location;
pub mod memory;
pub mod open;
pub mod rooted;
pub mod s3;

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, TryStreamExt};

pub use local::{FileVersion, OriginalFile};
pub use location::Location;

/// A store as the pipeline sees it.
pub type SharedStore = Arc<dyn Store>;

/// What a listing says about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The full key in the bucket, or the path below the folder with `/` between its parts.
    pub key: String,
    pub size_bytes: u64,
    /// Opaque: says that two versions of one key differ, not how. Without quotes.
    pub etag: Option<String>,
    pub version_id: Option<String>,
    pub modified: Option<DateTime<Utc>>,
}

/// The bytes of an object as they arrive.
pub type Body = BoxStream<'static, Result<Bytes, StoreError>>;

/// A folder, a bucket, or a stand-in for one.
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// What rows call the place: the bucket's name, or the folder's absolute path.
    fn bucket(&self) -> &str;

    /// Every object whose key starts with `prefix`, in ascending byte order of the key, page by page.
    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta, StoreError>>;

    /// What a listing would say about the one object under `key`, or about that version of it.
    ///
    /// # Errors
    /// `NotFound` where nothing stands there.
    fn find(&self, key: &str, version_id: Option<&str>) -> BoxFuture<'static, Result<ObjectMeta, StoreError>> {
        // A key is the first of those that begin with it.
        let (mut listing, key, version_id) = (self.list(key), key.to_owned(), version_id.map(str::to_owned));
        async move {
            match listing.try_next().await? {
                Some(object) if object.key == key && (version_id.is_none() || object.version_id == version_id) => {
                    Ok(object)
                }
                _ => Err(StoreError::NotFound { what: format!("object {key:?}") }),
            }
        }
        .boxed()
    }

    /// The bytes of the listed version of `object`, from `offset_bytes` to the end.
    /// The offset is 0 or lies below the size.
    ///
    /// # Errors
    /// `Changed` where another version stands under the key now or the offset lies behind its end,
    /// `NotFound` where nothing stands there.
    /// The body itself may fail with `Transient` at any point; ask again from where it ended. It fails
    /// with `Changed` where the object was replaced under it, and at its end with `Damaged` where it is not what was sent.
    fn get(&self, object: &ObjectMeta, offset_bytes: u64) -> BoxFuture<'static, Result<Body, StoreError>>;

    /// The listed version of `object` as a file to be read where it lies, without a copy of its bytes. None where a store
    /// is not made of files: its bytes come by [`Store::get`].
    ///
    /// # Errors
    /// As [`Store::get`] at the start of an object.
    fn open_file(&self, _object: &ObjectMeta) -> Option<BoxFuture<'static, Result<OriginalFile, StoreError>>> {
        None
    }

    /// Writes `body` under `key` whole, unless something stands there already. Returns the new ETag.
    /// The key is one that [`key::check_new`] accepts.
    ///
    /// # Errors
    /// `AlreadyExists` where another writer was first. An answer that was lost on the way back is
    /// resolved before this returns: an `AlreadyExists` never speaks of our own write.
    fn put_new(&self, key: &str, body: Bytes) -> BoxFuture<'static, Result<Option<String>, StoreError>>;

    /// How the store is getting on with a server that may throttle. None where there is no server.
    fn pace(&self) -> Option<PaceSnapshot> {
        None
    }
}

/// What a store asks of a server at once, and what it was answered since the start. Attempts count, not requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaceSnapshot {
    /// Requests that may be under way: halved by a throttle, raised by good answers.
    pub limit: usize,
    /// What `limit` starts from and never exceeds.
    pub max_limit: usize,
    pub served: u64,
    pub throttled: u64,
}

/// What went wrong, sorted by what the caller can do about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Nothing stands there.
    #[error("{what}: not found")]
    NotFound { what: String },
    /// Another version stands there than the one asked for.
    #[error("{what}: changed since it was listed")]
    Changed { what: String },
    /// A conditional write found the key taken.
    #[error("{what}: exists already")]
    AlreadyExists { what: String },
    /// No rights, wrong or missing credentials.
    #[error("{what}: access denied: {detail}")]
    Denied { what: String, detail: String },
    /// Timed out, cut off, or a 5xx: the same call may succeed later.
    #[error("{what}: {detail} (try again later)")]
    Transient { what: String, detail: String },
    /// Throttled for as long as the store waits such times out. Where `others_served`, other requests got through
    /// meanwhile; where not, the store has no time for anyone.
    #[error("{what}: {detail} (throttled, try again later)")]
    Throttled { what: String, detail: String, others_served: bool },
    /// The body that came is not the one that was sent: none of its bytes may be used. The same call may succeed.
    #[error("{what}: {detail} (try again)")]
    Damaged { what: String, detail: String },
    /// Anything that trying again will not mend.
    #[error("{what}: {detail}")]
    Permanent { what: String, detail: String },
}
