//! SOURCE → the objects that it names, in ascending order of their keys, each once.
//!
//! In: a place, an S3 Inventory, or a list of keys. Out: the store of the media and what a listing says of each object.
//! Whatever the SOURCE, the same object comes out the same, so that runs know each other's work again. It never reads media.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream::{BoxStream, StreamExt, TryStreamExt};

use super::keys::Keys;
use super::{inventory, keys};
use crate::error::Error;
use crate::limits;
use crate::results::fetch::{Fetched, fetch};
use crate::storage::local::LocalStore;
use crate::storage::open::{open_media, open_source};
use crate::storage::s3::{S3Options, S3Store};
use crate::storage::{Location, ObjectMeta, SharedStore, Store};

/// What a SOURCE is, by its name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A bucket, a folder or a file, to be listed.
    Place,
    /// A `manifest.json` of S3 Inventory.
    Inventory,
    /// A list of keys: `.txt`, `.csv`, `.tsv`, `.parquet`.
    KeyList,
}

impl SourceKind {
    /// A folder may have any name.
    #[must_use]
    pub fn of(location: &Location) -> Self {
        let name = match location {
            Location::Local(path) if path.is_dir() => return Self::Place,
            Location::Local(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Location::S3 { prefix, .. } => prefix.rsplit('/').next().unwrap_or_default().to_owned(),
        };
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
        match ending.as_str() {
            _ if name == "manifest.json" => Self::Inventory,
            "txt" | "csv" | "tsv" | "parquet" => Self::KeyList,
            _ => Self::Place,
        }
    }
}

/// What to open, and how.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub location: &'a Location,
    pub s3: &'a S3Options,
    /// For lists that are too large for memory.
    pub scratch: &'a Path,
    /// DEST: what lies there is no media, unless a list of keys names it.
    pub exclude: Option<&'a Location>,
    /// A filter asks when objects were written.
    pub needs_modified: bool,
}

/// What was read of a list, and what of it stands for no object. All is counted that was handed out.
#[derive(Debug, Default)]
pub struct Counts {
    /// Rows of the inventory or lines of the list.
    pub rows: AtomicU64,
    /// Entries that name the same object again.
    pub duplicates: AtomicU64,
    /// Rows of versions that are not the current one.
    pub older_versions: AtomicU64,
    pub delete_markers: AtomicU64,
    /// Empty objects with a slash at the end: folders, as consoles make them.
    pub folder_markers: AtomicU64,
    /// Entries without size or ETag, asked of the store one by one.
    pub looked_up: AtomicU64,
    /// Of these, what is not there.
    pub gone: AtomicU64,
}

impl Counts {
    pub(super) fn add(count: &AtomicU64, more: u64) {
        count.fetch_add(more, Ordering::Relaxed);
    }
}

/// The objects of a SOURCE.
pub struct Opened {
    /// Where the media are: `s3://bucket/`, or the absolute path of a folder.
    pub place: String,
    pub store: SharedStore,
    /// In ascending byte order of the key, versions of one key in the order of their ids; each once.
    pub objects: BoxStream<'static, Result<ObjectMeta, Error>>,
    pub counts: Arc<Counts>,
}

/// Opens a SOURCE. An inventory and a list of keys are read to their ends before this returns; objects that a list only
/// names are looked up as they are asked for.
///
/// # Errors
/// `Usage` where SOURCE and DEST are the same; `Input` for a source that is missing, may not be read, is damaged, or says
/// too little; `TryAgain` where a store could not be reached.
pub async fn open(asked: Asked<'_>) -> Result<Opened, Error> {
    let counts = Arc::new(Counts::default());
    match SourceKind::of(asked.location) {
        SourceKind::Place => {
            let (store, prefix) = open_source(asked.location, asked.s3, asked.exclude).await?;
            let place = match asked.location {
                Location::Local(_) => store.bucket().to_owned(),
                Location::S3 { .. } => format!("s3://{}/", store.bucket()),
            };
            let objects = store.list(&prefix).map_err(Error::from).boxed();
            Ok(Opened { place, store, objects, counts })
        }
        SourceKind::Inventory => {
            let (bucket, sorted) = inventory::read(&asked, &counts).await?;
            let results = results_in(asked, &bucket)?;
            let store = open_media(&in_bucket(&bucket), asked.s3).await?;
            let listed = sorted.into_stream(counts_of_duplicates(&counts));
            let objects = listed.try_filter_map(move |entry| {
                let is_result = results.as_ref().is_some_and(|results| entry.key.starts_with(results));
                // Rows without size or ETag were refused when they were read.
                std::future::ready(Ok(entry.complete(false).ok().filter(|_| !is_result)))
            });
            Ok(Opened { place: format!("s3://{bucket}/"), store, objects: objects.boxed(), counts })
        }
        SourceKind::KeyList => {
            let Keys { place, sorted } = keys::read(&asked, &counts).await?;
            let (place, store): (_, SharedStore) = match place {
                keys::Place::Bucket(bucket) => {
                    (format!("s3://{bucket}/"), open_media(&in_bucket(&bucket), asked.s3).await?)
                }
                keys::Place::Folder(folder) => {
                    let store = LocalStore::open(&folder, None)?;
                    (store.bucket().to_owned(), Arc::new(store))
                }
            };
            let listed = sorted.into_stream(counts_of_duplicates(&counts));
            let (asks, counted, needs_modified) = (Arc::clone(&store), Arc::clone(&counts), asked.needs_modified);
            let objects = listed.map(move |entry| {
                let (store, counts) = (Arc::clone(&asks), Arc::clone(&counted));
                async move {
                    match entry?.complete(needs_modified) {
                        Ok(object) => Ok(object),
                        Err(incomplete) => {
                            Counts::add(&counts.looked_up, 1);
                            let object = keys::resolve(store.as_ref(), incomplete).await?;
                            Counts::add(&counts.gone, u64::from(keys::is_gone(&object)));
                            Ok(object)
                        }
                    }
                }
            });
            Ok(Opened { place, store, objects: objects.buffered(limits::LOOKUPS).boxed(), counts })
        }
    }
}

fn counts_of_duplicates(counts: &Arc<Counts>) -> impl Fn(u64) + Clone + Send + 'static {
    let counts = Arc::clone(counts);
    move |more| Counts::add(&counts.duplicates, more)
}

fn in_bucket(bucket: &str) -> Location {
    Location::S3 { bucket: bucket.to_owned(), prefix: String::new() }
}

/// The folder of results in the bucket that an inventory lists.
fn results_in(asked: Asked<'_>, bucket: &str) -> Result<Option<String>, Error> {
    match asked.exclude {
        Some(dest @ Location::S3 { bucket: of_dest, prefix }) if of_dest == bucket => {
            let folder = prefix.trim_end_matches('/');
            if folder.is_empty() {
                return Err(Error::Usage(format!(
                    "{dest}: expected results in another bucket or in a folder, found the whole of the bucket that the \
                     inventory {} lists; the next run would take its own results for media",
                    asked.location
                )));
            }
            Ok(Some(format!("{folder}/")))
        }
        _ => Ok(None),
    }
}

/// The list itself, to be read at any place, and the store that it is in: in a folder its keys are names of files.
pub(super) async fn read_list(asked: &Asked<'_>) -> Result<(Fetched, SharedStore), Error> {
    let (store, key): (SharedStore, String) = match asked.location {
        Location::Local(path) => {
            let of_file = LocalStore::open(path, None)?;
            let key = of_file.only().unwrap_or_default().to_owned();
            (Arc::new(LocalStore::open(of_file.root(), None)?), key)
        }
        Location::S3 { bucket, prefix } => (Arc::new(S3Store::connect(bucket, asked.s3).await?), prefix.clone()),
    };
    let object = store.find(&key, None).await?;
    Ok((fetch(store.as_ref(), &object, asked.scratch).await?, store))
}
