//! The objects that a plan may take: all that SOURCE names, or those of it that earlier runs rejected.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::source::{Asked, Counts, Opened, SourceKind, open};
use crate::error::Error;
use crate::limits;
use crate::settings::Settings;
use crate::storage::{Location, ObjectMeta, SharedStore, Store, StoreError, key};

/// An open source.
pub struct Candidates {
    store: SharedStore,
    place: String,
    /// How keys below SOURCE begin.
    prefix: String,
    is_list: bool,
    all: BoxStream<'static, Result<ObjectMeta, Error>>,
    counts: Arc<Counts>,
}

impl Candidates {
    /// # Errors
    /// A source that is not there, may not be read, or is a list that cannot be understood.
    pub async fn open(settings: &Settings) -> Result<Self, Error> {
        let kind = SourceKind::of(&settings.source);
        if settings.retry_failed.is_some() && kind != SourceKind::Place {
            return Err(Error::Usage(format!(
                "retry_failed: expected SOURCE to be a place, whose rows of earlier runs say which objects it means, found the list {}",
                settings.source
            )));
        }
        let opened = open(Asked {
            location: &settings.source,
            s3: &settings.s3,
            scratch: &settings.scratch,
            exclude: Some(&settings.out),
            needs_modified: settings.filter.modified_after.is_some() || settings.filter.modified_before.is_some(),
        });
        let Opened { place, store, objects: all, counts } = opened.await?;
        let (place, prefix) = match (&settings.source, kind) {
            // Whoever may read the prefix alone can open it again.
            (location @ Location::S3 { prefix, .. }, SourceKind::Place) => (location.to_string(), prefix.clone()),
            (Location::Local(path), SourceKind::Place) if path.is_file() => {
                let name = path.file_name().map(key::part_from_name).unwrap_or_default();
                (place, name)
            }
            _ => (place, String::new()),
        };
        Ok(Self { store, place, prefix, is_list: kind != SourceKind::Place, all, counts })
    }

    /// As a location that every worker can open.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Whether the objects were named by a list or an inventory: then nobody needs to list the place.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.is_list
    }

    #[must_use]
    pub fn bucket(&self) -> &str {
        self.store.bucket()
    }

    /// All objects in ascending order of their keys, and what a list says twice, once they were all handed out.
    pub fn all(self) -> (BoxStream<'static, Result<ObjectMeta, Error>>, impl Fn() -> u64) {
        let counts = self.counts;
        (self.all, move || counts.duplicates.load(Relaxed))
    }

    /// Those of `keys` that lie below SOURCE and are there now, in order.
    pub fn of_keys(self, keys: BTreeSet<String>) -> BoxStream<'static, Result<ObjectMeta, Error>> {
        let Self { store, prefix, .. } = self;
        let below = futures::stream::iter(keys.into_iter().filter(move |key| key.starts_with(&prefix)));
        let looks = below.map(move |key| {
            let store = Arc::clone(&store);
            async move {
                match store.find(&key, None).await {
                    Ok(object) => Ok(Some(object)),
                    Err(StoreError::NotFound { .. }) => Ok(None),
                    // Still closed to us: whoever asks for it says so in its row.
                    Err(StoreError::Denied { .. }) => Ok(Some(in_listing(store.as_ref(), key).await?)),
                    Err(error) => Err(Error::from(error)),
                }
            }
        });
        looks.buffered(limits::LOOKUPS).try_filter_map(|found| std::future::ready(Ok(found))).boxed()
    }
}

/// What a listing says of one object, or nothing but its key.
async fn in_listing(store: &dyn Store, key: String) -> Result<ObjectMeta, Error> {
    match store.list(&key).try_next().await {
        Ok(Some(object)) if object.key == key => Ok(object),
        Ok(_) | Err(StoreError::NotFound { .. } | StoreError::Denied { .. }) => {
            Ok(ObjectMeta { key, size_bytes: 0, etag: None, version_id: None, modified: None })
        }
        Err(error) => Err(error.into()),
    }
}
