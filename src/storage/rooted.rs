//! A store seen from one of its folders: DEST `s3://bucket/prefix` hands out keys below `prefix/`.
//!
//! Comes in: keys relative to the root. Goes out: the same keys; the inner store sees them under the
//! root. It never lets a caller reach beside the root.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};

use super::{Body, ObjectMeta, OriginalFile, PaceSnapshot, SharedStore, Store, StoreError, key};

/// `inner`, with every key below `root`.
#[derive(Debug)]
pub struct Rooted {
    inner: SharedStore,
    /// Empty, or ends with `/`.
    root: String,
}

impl Rooted {
    /// `root` with or without its last `/`; an empty one changes nothing.
    #[must_use]
    pub fn new(inner: SharedStore, root: &str) -> Self {
        let root = root.trim_end_matches('/');
        let root = if root.is_empty() { String::new() } else { format!("{root}/") };
        Self { inner, root }
    }

    fn below_root(&self, object: &ObjectMeta) -> ObjectMeta {
        ObjectMeta { key: format!("{}{}", self.root, object.key), ..object.clone() }
    }
}

impl Store for Rooted {
    fn bucket(&self) -> &str {
        self.inner.bucket()
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
        let root_bytes = self.root.len();
        self.inner
            .list(&format!("{}{prefix}", self.root))
            .map(move |listed| {
                listed.map(|mut object| {
                    object.key.drain(..root_bytes);
                    object
                })
            })
            .boxed()
    }

    fn find(&self, key: &str, version_id: Option<&str>) -> BoxFuture<'static, Result<ObjectMeta, StoreError>> {
        let (root_bytes, found) = (self.root.len(), self.inner.find(&format!("{}{key}", self.root), version_id));
        async move {
            let mut object = found.await?;
            object.key.drain(..root_bytes);
            Ok(object)
        }
        .boxed()
    }

    fn get(&self, object: &ObjectMeta, offset_bytes: u64) -> BoxFuture<'static, Result<Body, StoreError>> {
        self.inner.get(&self.below_root(object), offset_bytes)
    }

    fn open_file(&self, object: &ObjectMeta) -> Option<BoxFuture<'static, Result<OriginalFile, StoreError>>> {
        self.inner.open_file(&self.below_root(object))
    }

    fn put_new(&self, key: &str, body: Bytes) -> BoxFuture<'static, Result<Option<String>, StoreError>> {
        // Checked before joining: below a root, an absolute key would look like a relative one.
        if let Err(error) = key::check_new(key) {
            return async move { Err(error) }.boxed();
        }
        self.inner.put_new(&format!("{}{key}", self.root), body)
    }

    fn pace(&self) -> Option<PaceSnapshot> {
        self.inner.pace()
    }
}
