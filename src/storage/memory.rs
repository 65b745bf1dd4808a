//! The reference store: what the contract means, in the fewest lines.
//!
//! Comes in: keys and bytes. Goes out: the same bytes, with an ETag that no two versions share.
//! It never forgets an object by itself and never fails but for the reasons of the contract.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};

use super::{Body, ObjectMeta, Store, StoreError, key};

/// Small, so that tests meet the seam between two pages.
const PAGE_OBJECTS: usize = 100;

/// Small, so that tests meet bodies of more than one chunk.
const CHUNK_BYTES: usize = 64 * 1024;

/// Objects in the memory of this process; clones share them.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    bucket: String,
    objects: Arc<Mutex<Objects>>,
}

#[derive(Debug, Default)]
struct Objects {
    by_key: BTreeMap<String, Version>,
    versions_written: u64,
}

#[derive(Debug, Clone)]
struct Version {
    number: u64,
    body: Bytes,
    modified: DateTime<Utc>,
}

impl MemoryStore {
    #[must_use]
    pub fn new(bucket: impl Into<String>) -> Self {
        Self { bucket: bucket.into(), objects: Arc::default() }
    }

    /// Writes without asking, and returns the new ETag: how tests set up and replace objects.
    pub fn put(&self, key: impl Into<String>, body: impl Into<Bytes>) -> String {
        let mut objects = lock(&self.objects);
        objects.versions_written += 1;
        let number = objects.versions_written;
        objects.by_key.insert(key.into(), Version { number, body: body.into(), modified: Utc::now() });
        etag_of(number)
    }

    /// Takes an object away; says whether there was one.
    pub fn remove(&self, key: &str) -> bool {
        lock(&self.objects).by_key.remove(key).is_some()
    }

    /// What stands under `key` now.
    #[must_use]
    pub fn read(&self, key: &str) -> Option<Bytes> {
        lock(&self.objects).by_key.get(key).map(|version| version.body.clone())
    }

    fn what(&self, key: &str) -> String {
        format!("memory://{}/{key}", self.bucket)
    }
}

impl Store for MemoryStore {
    fn bucket(&self) -> &str {
        &self.bucket
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
        let objects = Arc::clone(&self.objects);
        let prefix = prefix.to_owned();
        let from = Bound::Included(prefix.clone());
        futures::stream::unfold(from, move |from| {
            let page: Vec<ObjectMeta> = lock(&objects)
                .by_key
                .range((from, Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(&prefix))
                .take(PAGE_OBJECTS)
                .map(|(key, version)| meta_of(key, version))
                .collect();
            let next = page.last().map(|last| Bound::Excluded(last.key.clone()));
            async move { next.map(|next| (futures::stream::iter(page.into_iter().map(Ok)), next)) }
        })
        .flatten()
        .boxed()
    }

    fn get(&self, object: &ObjectMeta, offset_bytes: u64) -> BoxFuture<'static, Result<Body, StoreError>> {
        let what = self.what(&object.key);
        let found = lock(&self.objects).by_key.get(&object.key).cloned();
        let asked = object.etag.clone();
        async move {
            let Some(version) = found else { return Err(StoreError::NotFound { what }) };
            let size_bytes = version.body.len() as u64;
            let other_version = asked.is_some_and(|asked| asked != etag_of(version.number));
            if other_version || (offset_bytes > 0 && offset_bytes >= size_bytes) {
                return Err(StoreError::Changed { what });
            }
            let mut rest = version.body.slice(usize::try_from(offset_bytes).unwrap_or(usize::MAX)..);
            let chunks = std::iter::from_fn(move || {
                let chunk = rest.split_to(rest.len().min(CHUNK_BYTES));
                (!chunk.is_empty()).then_some(Ok(chunk))
            });
            Ok(futures::stream::iter(chunks).boxed())
        }
        .boxed()
    }

    fn put_new(&self, key: &str, body: Bytes) -> BoxFuture<'static, Result<Option<String>, StoreError>> {
        let store = self.clone();
        let key = key.to_owned();
        async move {
            key::check_new(&key)?;
            let mut objects = lock(&store.objects);
            if objects.by_key.contains_key(&key) {
                return Err(StoreError::AlreadyExists { what: store.what(&key) });
            }
            objects.versions_written += 1;
            let number = objects.versions_written;
            objects.by_key.insert(key, Version { number, body, modified: Utc::now() });
            Ok(Some(etag_of(number)))
        }
        .boxed()
    }
}

/// A panic of another test must not hide this one's result, and no write leaves the map half done.
fn lock(objects: &Mutex<Objects>) -> MutexGuard<'_, Objects> {
    objects.lock().unwrap_or_else(PoisonError::into_inner)
}

fn etag_of(number: u64) -> String {
    format!("version-{number}")
}

fn meta_of(key: &str, version: &Version) -> ObjectMeta {
    ObjectMeta {
        key: key.to_owned(),
        size_bytes: version.body.len() as u64,
        etag: Some(etag_of(version.number)),
        version_id: Some(version.number.to_string()),
        modified: Some(version.modified),
    }
}
