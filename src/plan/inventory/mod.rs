//! S3 Inventory → the objects of a bucket, without listing it.
//!
//! In: a `manifest.json`, in the bucket where it was delivered or in a folder. Out: entries in order, each once. No row
//! counts before its file has the size and the MD5 that the manifest says. Files come one at a time, the next one while
//! the rows of this one are read; what is large waits in the scratch folder.

mod manifest;
mod rows;

use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;
use md5::{Digest, Md5};

pub use self::manifest::{CsvSchema, File, Format, Manifest};
use self::rows::Wanted;
use super::sorted::{Sorted, Sorter};
use super::source::{Asked, Counts, read_list};
use crate::error::Error;
use crate::limits;
use crate::networks::weights::hexadecimal;
use crate::results::fetch::{Fetched, fetch};
use crate::storage::local::LocalStore;
use crate::storage::s3::S3Store;
use crate::storage::{Location, ObjectMeta, SharedStore, Store, StoreError};

/// The bucket that the inventory at `asked.location` lists, and its objects.
///
/// # Errors
/// A manifest or a file that is missing, damaged or of a format that is not read; rows that say too little.
pub async fn read(asked: &Asked<'_>, counts: &Arc<Counts>) -> Result<(String, Sorted), Error> {
    let manifest = open_manifest(asked).await?;
    let places = places(asked, &manifest).await?;
    let wanted = Wanted { bucket: manifest.source_bucket.clone(), needs_modified: asked.needs_modified };
    let mut sorter = Sorter::new(asked.scratch);
    let mut files = manifest.files.iter();
    let mut next = match files.next() {
        Some(file) => Some((file, bring(file, &places, asked).await?)),
        None => None,
    };
    while let Some((file, here)) = next {
        let rows = {
            let (file, format, wanted, counts) =
                (file.clone(), manifest.format.clone(), wanted.clone(), Arc::clone(counts));
            tokio::task::spawn_blocking(move || {
                rows::read(&here.part, &file, &format, &wanted, &mut sorter, &counts)?;
                here.check_unchanged()?;
                Ok::<_, Error>(sorter)
            })
        };
        let following = async {
            match files.next() {
                Some(file) => Ok::<_, Error>(Some((file, bring(file, &places, asked).await?))),
                None => Ok(None),
            }
        };
        let (read, following) = futures::join!(rows, following);
        sorter = read.map_err(|e| Error::TryAgain(format!("reading {:?} was broken off: {e}", file.key)))??;
        next = following?;
    }
    let sorted = tokio::task::spawn_blocking(move || sorter.finish()).await;
    let sorted = sorted.map_err(|e| Error::TryAgain(format!("sorting was broken off: {e}")))??;
    Ok((manifest.source_bucket, sorted))
}

async fn open_manifest(asked: &Asked<'_>) -> Result<Manifest, Error> {
    let at = asked.location;
    let (here, store) = read_list(asked).await?;
    let bytes = whole(at, here)?;
    // Beside it lies its MD5, unless it was copied alone.
    let checksum_key = here_beside(at, "manifest.checksum");
    match store.find(&checksum_key, None).await {
        Ok(object) => {
            let said = whole(at, fetch(store.as_ref(), &object, asked.scratch).await?)?;
            let (said, found) = (String::from_utf8_lossy(&said).trim().to_owned(), hexadecimal(&Md5::digest(&bytes)));
            if !said.eq_ignore_ascii_case(&found) {
                return Err(Error::Input(format!(
                    "{at}: expected MD5 {said:?} as manifest.checksum beside it says, found {found}: it is damaged, or \
                     the two are of different deliveries"
                )));
            }
        }
        Err(StoreError::NotFound { .. } | StoreError::Denied { .. }) => {
            tracing::info!("{at}: no manifest.checksum beside it to check it against");
        }
        Err(error) => return Err(error.into()),
    }
    Manifest::parse(&bytes).map_err(|what| Error::Input(format!("{at}: {what}")))
}

fn whole(at: &Location, here: Fetched) -> Result<Vec<u8>, Error> {
    let size_bytes = here.part.size_bytes();
    if size_bytes > limits::MANIFEST_BYTES {
        let most = limits::MANIFEST_BYTES;
        return Err(Error::Input(format!("{at}: expected a manifest of at most {most} bytes, found {size_bytes}")));
    }
    let bytes = here.part.whole().map_err(|e| Error::Input(format!("{at}: {e}")))?;
    here.check_unchanged()?;
    Ok(bytes)
}

/// The key of a file in the folder of the list; in a local folder its name.
fn here_beside(at: &Location, name: &str) -> String {
    match at {
        Location::S3 { prefix, .. } => match prefix.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{name}"),
            None => name.to_owned(),
        },
        Location::Local(_) => name.to_owned(),
    }
}

/// Where the files of an inventory may be.
enum Places {
    /// In the bucket to which it was delivered.
    Bucket(SharedStore),
    /// In the folder of the manifest and the one above: as it was delivered, or all files in one place.
    Folders { of_manifest: LocalStore, above: Option<LocalStore> },
}

async fn places(asked: &Asked<'_>, manifest: &Manifest) -> Result<Places, Error> {
    let Location::Local(path) = asked.location else {
        return Ok(Places::Bucket(Arc::new(S3Store::connect(&manifest.destination_bucket, asked.s3).await?)));
    };
    let path = std::path::absolute(path).map_err(|e| Error::Input(format!("{}: {e}", path.display())))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let above = folder.parent().and_then(|above| LocalStore::open(above, None).ok());
    Ok(Places::Folders { of_manifest: LocalStore::open(folder, None)?, above })
}

/// The file, where it can be read at any place; its rows are still to be checked.
async fn bring(file: &File, places: &Places, asked: &Asked<'_>) -> Result<Fetched, Error> {
    let at = asked.location;
    let (store, object) = find(file, places).await?.ok_or_else(|| {
        let place = match places {
            Places::Bucket(store) => format!("s3://{}", store.bucket()),
            Places::Folders { of_manifest, .. } => {
                format!("{0} under its key or its name, or in the folder data there or beside", of_manifest.bucket())
            }
        };
        Error::Input(format!(
            "{at}: expected the inventory file {:?} in {place}, found none: old deliveries are deleted by rules of their \
             bucket, and a copy needs its files too",
            file.key
        ))
    })?;
    if object.size_bytes != file.size_bytes {
        return Err(Error::Input(format!(
            "inventory file {:?}: expected {} bytes as in the manifest, found {}: it was cut off, or is of another \
             delivery",
            file.key, file.size_bytes, object.size_bytes
        )));
    }
    tracing::info!("inventory file {:?}, {} bytes", file.key, file.size_bytes);
    fetch(store, &object, asked.scratch).await
}

async fn find<'a>(file: &File, places: &'a Places) -> Result<Option<(&'a dyn Store, ObjectMeta)>, Error> {
    let mut candidates: Vec<(&dyn Store, String)> = vec![];
    match places {
        Places::Bucket(store) => candidates.push((store.as_ref(), file.key.clone())),
        Places::Folders { of_manifest, above } => {
            let name = file.key.rsplit('/').next().unwrap_or(&file.key);
            let in_data = format!("data/{name}");
            candidates.push((of_manifest, file.key.clone()));
            candidates.push((of_manifest, name.to_owned()));
            candidates.push((of_manifest, in_data.clone()));
            candidates.extend(above.iter().map(|above| (above as &dyn Store, in_data.clone())));
        }
    }
    for (store, key) in candidates {
        // A key that no folder can hold is not there either.
        match store.find(&key, None).boxed().await {
            Ok(object) => return Ok(Some((store, object))),
            Err(StoreError::NotFound { .. }) => {}
            Err(StoreError::Permanent { .. }) if matches!(places, Places::Folders { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}
