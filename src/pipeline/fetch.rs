//! Listed object → its bytes, within the memory budget.
//!
//! The store's retries end where a body begins: a body that is cut is resumed by range, under the ETag that
//! was listed. What is no image is dropped after its first bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use super::list::Media;
use super::memory::{ByteBudget, Reserved};
use super::sniff::{ImageKind, sniff};
use crate::error::{Rejection, RejectionClass};
use crate::limits;
use crate::storage::{ObjectMeta, Store, StoreError};

/// The compressed bytes of one image.
#[derive(Debug)]
pub struct Fetched {
    pub bytes: Bytes,
    pub image: ImageKind,
    pub reserved: Reserved,
}

/// Fetches one object. `media` learns its kind and the seconds.
///
/// # Errors
/// The row's rejection.
pub async fn fetch(
    store: &Arc<dyn Store>,
    media: &mut Media,
    budget: &ByteBudget,
    max_object_bytes: u64,
) -> Result<Fetched, Rejection> {
    let size_bytes = media.object.size_bytes;
    if size_bytes == 0 && is_certainly_empty(store.as_ref(), &media.object).await? {
        return Err(Rejection::new(RejectionClass::Empty, "expected an image, found an object of 0 bytes"));
    }
    let most = max_object_bytes.min(budget.capacity_bytes());
    // An object beyond the limit is opened all the same: what it is decides how its row reads.
    let wanted = if size_bytes > most { limits::SNIFF_BYTES as u64 } else { size_bytes };
    let Some(reserved) = budget.reserve(wanted).await else {
        return Err(Rejection::new(RejectionClass::TooLarge, "the memory budget is closed"));
    };
    let start = Instant::now();
    let bytes = BytesMut::with_capacity(wanted as usize);
    let outcome = Download { store, object: &media.object, most, bytes, image: None }.run().await;
    media.seconds.fetch = start.elapsed().as_secs_f64();
    match outcome {
        Ok((bytes, image)) => {
            media.kind = Some("image");
            media.container = Some(image.container);
            Ok(Fetched { bytes, image, reserved })
        }
        Err(failure) => {
            media.kind = failure.kind;
            media.container = failure.container;
            Err(failure.rejection)
        }
    }
}

/// Opens an object of size 0: it may be something else that has no size, such as a pipe or a broken link.
async fn is_certainly_empty(store: &dyn Store, object: &ObjectMeta) -> Result<bool, Rejection> {
    match store.get(object, 0).await {
        Ok(_) => Ok(true),
        Err(error @ StoreError::Permanent { .. }) => Err(Rejection::new(RejectionClass::NotMedia, error)),
        Err(error) => Err(rejection_of(&error)),
    }
}

struct Download<'a> {
    store: &'a Arc<dyn Store>,
    object: &'a ObjectMeta,
    most: u64,
    bytes: BytesMut,
    image: Option<ImageKind>,
}

/// A rejection, and what is known of the content all the same.
struct Failure {
    kind: Option<&'static str>,
    container: Option<&'static str>,
    rejection: Rejection,
}

impl Download<'_> {
    async fn run(mut self) -> Result<(Bytes, ImageKind), Failure> {
        let mut pause = Duration::from_millis(limits::FETCH_PAUSE_MS);
        let (mut attempt, mut unopened) = (1, 0);
        loop {
            let stop = self.attempt().await;
            unopened += u32::from(matches!(stop, Err(Stop::Unopened(_))));
            let most = if unopened >= limits::FETCH_OPENINGS { attempt } else { limits::FETCH_ATTEMPTS };
            match stop {
                Ok(()) => break,
                Err(Stop::Final(failure)) => return Err(failure),
                Err(Stop::Again(error) | Stop::Unopened(error)) if attempt < most => {
                    tracing::debug!(key = %self.object.key, attempt, "fetching again: {error}");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    attempt += 1;
                }
                Err(Stop::Again(error) | Stop::Unopened(error)) => {
                    let message = format!("gave up after {attempt} attempts: {error}");
                    return Err(self.failure(Rejection::new(RejectionClass::FetchFailed, message)));
                }
            }
        }
        let image = match self.image {
            Some(image) => image,
            None => self.sniff()?,
        };
        Ok((self.bytes.freeze(), image))
    }

    /// Reads on from where the last attempt ended.
    async fn attempt(&mut self) -> Result<(), Stop> {
        let expected = self.object.size_bytes;
        let silence = Duration::from_secs(limits::FETCH_SILENCE_SECS);
        let had = self.bytes.len() as u64;
        if had > 0 && had == expected {
            return Ok(());
        }
        let mut body = match self.store.get(self.object, had).await {
            Ok(body) => body,
            Err(StoreError::Transient { what, detail }) => return Err(Stop::Unopened(format!("{what}: {detail}"))),
            Err(error) => return Err(self.stop(error)),
        };
        loop {
            let piece = match tokio::time::timeout(silence, body.next()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(error))) => return Err(self.stop(error)),
                Ok(None) => break,
                Err(_) => return Err(Stop::Again(format!("no bytes for {} s", silence.as_secs()))),
            };
            if self.bytes.len() + piece.len() > expected as usize {
                let message = format!("expected {expected} bytes as listed, found more");
                return Err(Stop::Final(self.failure(Rejection::new(RejectionClass::Changed, message))));
            }
            // Of an object that is too large only the beginning is wanted.
            let wanted = if expected > self.most { limits::SNIFF_BYTES } else { expected as usize };
            let room = wanted.saturating_sub(self.bytes.len());
            self.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
            let enough = limits::SNIFF_BYTES.min(expected as usize);
            if self.image.is_none() && self.bytes.len() >= enough {
                self.image = Some(self.sniff().map_err(Stop::Final)?);
            }
            if self.image.is_some() && expected > self.most {
                let message = format!("expected at most {} bytes, found {expected}", self.most);
                return Err(Stop::Final(self.failure(Rejection::new(RejectionClass::TooLarge, message))));
            }
        }
        let found = self.bytes.len() as u64;
        if found < expected {
            return Err(Stop::Again(format!("expected {expected} bytes, the body ended after {found}")));
        }
        Ok(())
    }

    fn sniff(&self) -> Result<ImageKind, Failure> {
        let head = &self.bytes[..self.bytes.len().min(limits::SNIFF_BYTES)];
        sniff(head).map_err(|other| Failure { kind: other.kind, container: None, rejection: other.rejection })
    }

    fn stop(&self, error: StoreError) -> Stop {
        match error {
            StoreError::Transient { .. } => Stop::Again(error.to_string()),
            error => Stop::Final(self.failure(rejection_of(&error))),
        }
    }

    fn failure(&self, rejection: Rejection) -> Failure {
        Failure { kind: self.image.map(|_| "image"), container: self.image.map(|image| image.container), rejection }
    }
}

enum Stop {
    /// Another attempt may succeed.
    Again(String),
    /// The same, but no body came, however often the store itself asked for it.
    Unopened(String),
    Final(Failure),
}

fn rejection_of(error: &StoreError) -> Rejection {
    let class = match error {
        StoreError::NotFound { .. } => RejectionClass::Vanished,
        StoreError::Changed { .. } => RejectionClass::Changed,
        // Archived, encrypted with another key, a name that no request can carry: nobody looked at the content.
        StoreError::Denied { .. } | StoreError::Permanent { .. } | StoreError::AlreadyExists { .. } => {
            RejectionClass::Denied
        }
        StoreError::Transient { .. } => RejectionClass::FetchFailed,
    };
    Rejection::new(class, error)
}
