//! Models in a bucket, for machines that reach S3 and not the internet.
//!
//! In: files under the addresses that they have in the cache. Out: the same files, or the reason why not. It never
//! replaces an object: a mirror is filled, not changed.

use std::path::Path;

use futures::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};

use super::hub::{Answer, Failure};
use super::pins::Wanted;
use super::verify::Finding;
use crate::error::Error;
use crate::networks::weights::hexadecimal;
use crate::storage::s3::{S3Options, S3Store};
use crate::storage::{ObjectMeta, Store, StoreError};

/// A bucket that answers.
#[derive(Debug)]
pub(super) struct OpenMirror {
    store: S3Store,
    /// Empty, or ends with `/`.
    prefix: String,
    /// `s3://bucket/prefix`, for messages.
    name: String,
}

impl OpenMirror {
    /// # Errors
    /// No credentials, no such bucket, no rights.
    pub async fn connect(bucket: &str, prefix: &str, options: &S3Options) -> Result<Self, Error> {
        let store = S3Store::connect(bucket, options).await?;
        let folder = prefix.trim_end_matches('/');
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        store.check(&prefix).await?;
        Ok(Self { store, prefix, name: format!("s3://{bucket}/{folder}") })
    }

    /// What a listing says of the file, if it is there.
    pub async fn find(&self, wanted: &Wanted) -> Result<Option<ObjectMeta>, StoreError> {
        let key = self.key(wanted);
        // The key itself is the first of all that start with it.
        let first = self.store.list(&key).next().await.transpose()?;
        Ok(first.filter(|object| object.key == key))
    }

    pub async fn open(&self, wanted: &Wanted, from: u64, etag: Option<&str>) -> Result<Answer, Failure> {
        let found = self.find(wanted).await.map_err(|e| self.failed(wanted, e))?;
        let object = found.ok_or_else(|| Failure::Stop(self.missing(wanted)))?;
        if object.size_bytes != wanted.pin.size_bytes {
            return Err(Failure::Stop(self.other(wanted, object.size_bytes)));
        }
        let start = if etag == object.etag.as_deref() { from } else { 0 };
        let body = self.store.get(&object, start).await.map_err(|e| self.failed(wanted, e))?;
        let body = body.map_err(again_or_stop).boxed();
        Ok(Answer { start, etag: object.etag, body })
    }

    /// Reads the whole object, and says whether it is the pinned one.
    pub async fn look(&self, wanted: &Wanted) -> Result<Finding, Error> {
        let Some(object) = self.find(wanted).await? else { return Ok(Finding::Missing) };
        if object.size_bytes != wanted.pin.size_bytes {
            return Ok(Finding::Other(format!("{} bytes", object.size_bytes)));
        }
        let mut body = self.store.get(&object, 0).await?;
        let mut hasher = Sha256::new();
        while let Some(bytes) = body.try_next().await? {
            hasher.update(&bytes);
        }
        let found = hexadecimal(&hasher.finalize());
        Ok(if found == wanted.pin.sha256 { Finding::Whole } else { Finding::Other(format!("sha256 {found}")) })
    }

    /// Puts a verified file there, unless it is there already. Says whether it was put.
    ///
    /// # Errors
    /// Something else stands there, or the bucket refuses.
    pub async fn put(&self, wanted: &Wanted, path: &Path) -> Result<bool, Error> {
        match self.find(wanted).await? {
            Some(object) if object.size_bytes == wanted.pin.size_bytes => return Ok(false),
            Some(object) => return Err(self.other(wanted, object.size_bytes)),
            None => {}
        }
        match self.store.put_new_file(&self.key(wanted), path).await {
            Ok(_) => Ok(true),
            // Another process fills the same mirror: what it writes is what we would have written.
            Err(StoreError::AlreadyExists { .. }) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn place(&self, wanted: &Wanted) -> String {
        format!("{}/{}", self.name, wanted.address)
    }

    fn key(&self, wanted: &Wanted) -> String {
        format!("{}{}", self.prefix, wanted.address)
    }

    fn missing(&self, wanted: &Wanted) -> Error {
        Error::Input(format!(
            "{}: not found; fill the bucket where there is an internet route: deepsweep models pull NAME --models {}",
            self.place(wanted),
            self.name
        ))
    }

    fn other(&self, wanted: &Wanted, found_bytes: u64) -> Error {
        Error::Input(format!(
            "{}: expected {} bytes, found {found_bytes}; delete it and pull again",
            self.place(wanted),
            wanted.pin.size_bytes
        ))
    }

    fn failed(&self, wanted: &Wanted, error: StoreError) -> Failure {
        match error {
            StoreError::NotFound { .. } => Failure::Stop(self.missing(wanted)),
            other => again_or_stop(other),
        }
    }
}

fn again_or_stop(error: StoreError) -> Failure {
    match error {
        StoreError::Transient { .. } | StoreError::Throttled { .. } => {
            Failure::Again { why: error.to_string(), after: None }
        }
        StoreError::Changed { .. } | StoreError::Damaged { .. } => Failure::Restart(error.to_string()),
        other => Failure::Stop(other.into()),
    }
}
