//! SOURCE and DEST: may they be listed, read and written to, and does a second write of one name lose?
//!
//! Comes in: two places as a person types them. Goes out: findings. One small object is left at DEST, under a fixed name: no
//! store here can delete, and the next doctor needs no other. It never writes anything else, and never to SOURCE.

use std::path::Path;

use bytes::Bytes;
use futures::TryStreamExt;

use super::{Finding, missing, ok, warning};
use crate::storage::open::{open_destination, open_source};
use crate::storage::s3::{self, S3Options};
use crate::storage::{Location, ObjectMeta, SharedStore, Store, StoreError};

/// Written at most once; what finds it there has learned that it cannot be overwritten. Runs have folders beside it.
const KEY: &str = "_runs/.doctor";

const NOTE: &str = "deepsweep doctor wrote this to learn whether new objects may be written here, and whether a second \
                    one of the same name is refused. It writes no other; delete it as you like.\n";

const CREDENTIALS: &str = "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, give the machine a role, or use \
                           --anonymous for a public bucket";
const LISTED: &str = "a SOURCE that is there, s3:ListBucket on its bucket, and --endpoint-url where it is not Amazon's";
const READ: &str = "s3:GetObject on SOURCE, and kms:Decrypt where its objects are encrypted";
const WRITTEN: &str = "s3:ListBucket, s3:GetObject and s3:PutObject on DEST; --unconditional-writes and one worker per shard \
                       where the server lacks If-None-Match";
const OVERWRITES: &str = "--unconditional-writes, and one worker per shard: two workers on one shard could overwrite each \
                          other";

/// What was named, and how to reach it.
#[derive(Debug)]
pub struct Places {
    pub source: Option<Location>,
    pub out: Option<Location>,
    /// As a run has them; a doctor does not wait as long.
    pub s3: S3Options,
}

pub(super) async fn examine(places: &Places, findings: &mut Vec<Finding>) {
    let Places { source, out, s3 } = places;
    let is_bucket = |place: &Option<Location>| matches!(place, Some(Location::S3 { .. }));
    if is_bucket(source) || is_bucket(out) {
        let Some(found) = credentials(s3).await else {
            // Without them each of the following would say the same.
            findings.push(missing("s3", "credentials", "none", CREDENTIALS));
            return;
        };
        findings.push(found);
    }
    if let Some(source) = source {
        examine_source(source, out.as_ref(), s3, findings).await;
    }
    if let Some(out) = out {
        examine_destination(out, s3, findings).await;
    }
}

async fn credentials(s3: &S3Options) -> Option<Finding> {
    if s3.anonymous {
        return Some(ok("s3", "credentials", "none asked for: --anonymous"));
    }
    match s3::find_credentials(s3).await {
        Ok(found) => Some(ok("s3", "credentials", found)),
        Err(error) => {
            tracing::debug!("{error}");
            None
        }
    }
}

async fn examine_source(source: &Location, out: Option<&Location>, s3: &S3Options, findings: &mut Vec<Finding>) {
    let name = source.to_string();
    let (store, prefix) = match open_source(source, s3, out).await {
        Ok(opened) => opened,
        Err(error) => return findings.push(missing("source", name, error.to_string(), LISTED)),
    };
    let first = match store.list(&prefix).try_next().await {
        Ok(Some(first)) => first,
        Ok(None) => return findings.push(warning("source", name, "may be listed and holds no object", LISTED)),
        Err(error) => return findings.push(missing("source", name, error.to_string(), LISTED)),
    };
    findings.push(match read_a_byte(store.as_ref(), &first).await {
        Ok(()) => ok("source", name, format!("may be listed and read, the first object is {:?}", first.key)),
        Err(error) => missing("source", name, format!("may be listed, not read: {error}"), READ),
    });
}

async fn examine_destination(out: &Location, s3: &S3Options, findings: &mut Vec<Finding>) {
    let name = out.to_string();
    if let Location::Local(folder) = out
        && !folder.exists()
    {
        return findings.push(new_folder(folder));
    }
    let opened = match open_destination(out, s3).await {
        Ok(store) => write_and_read(&store).await,
        Err(error) => return findings.push(missing("out", name, error.to_string(), WRITTEN)),
    };
    if let Err(error) = opened {
        return findings.push(missing("out", name, error.to_string(), WRITTEN));
    }
    findings.push(ok("out", &name, "may be listed, written to and read"));
    let Location::S3 { bucket, .. } = out else { return };
    let part = "conditional writes";
    findings.push(match (s3.conditional_writes, write_again(out, s3).await) {
        (false, _) => warning(part, bucket, "not asked for: --unconditional-writes", "one worker per shard"),
        (true, Ok(true)) => ok(part, bucket, "a second write of one name is refused"),
        (true, Ok(false)) => warning(part, bucket, "the server passes over If-None-Match", OVERWRITES),
        (true, Err(error)) => missing(part, bucket, error.to_string(), OVERWRITES),
    });
}

/// A folder that a run would make. What is looked at is where it would be made.
fn new_folder(folder: &Path) -> Finding {
    let name = folder.display().to_string();
    let above =
        folder.ancestors().skip(1).map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    let Some(above) = above.into_iter().find(|above| above.exists()) else {
        return missing("out", name, "no folder above it is there", "another DEST");
    };
    match tempfile::tempfile_in(above) {
        Ok(_) => ok("out", name, format!("not there yet; {} takes new files", above.display())),
        Err(error) => missing("out", name, format!("cannot be made in {}: {error}", above.display()), "another DEST"),
    }
}

async fn write_and_read(store: &SharedStore) -> Result<(), StoreError> {
    match store.put_new(KEY, Bytes::from_static(NOTE.as_bytes())).await {
        Ok(_) | Err(StoreError::AlreadyExists { .. }) => {}
        Err(error) => return Err(error),
    }
    match store.list(KEY).try_next().await?.filter(|object| object.key == KEY) {
        Some(object) => read_a_byte(store.as_ref(), &object).await,
        None => Err(StoreError::NotFound { what: format!("{KEY} in a listing, just written") }),
    }
}

/// Whether a second write of what is there is refused.
async fn write_again(out: &Location, s3: &S3Options) -> Result<bool, crate::error::Error> {
    match open_destination(out, s3).await?.put_new(KEY, Bytes::from_static(NOTE.as_bytes())).await {
        Ok(_) => Ok(false),
        Err(StoreError::AlreadyExists { .. }) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// The last byte, so that no more than one is sent.
async fn read_a_byte(store: &dyn Store, object: &ObjectMeta) -> Result<(), StoreError> {
    let mut body = store.get(object, object.size_bytes.saturating_sub(1)).await?;
    let first = body.try_next().await?;
    if object.size_bytes > 0 && first.is_none_or(|bytes| bytes.is_empty()) {
        return Err(StoreError::Transient { what: format!("{:?}", object.key), detail: "no byte came".to_owned() });
    }
    Ok(())
}
