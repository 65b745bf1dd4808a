//! Listed object → its bytes, within the budgets: a picture in memory, a video as an open file.
//!
//! The store's retries end where a body begins: a body that is cut is resumed by range, under the ETag that
//! was listed, and one that was damaged on its way is fetched anew. A store that is throttled has waited before
//! it says so: where nobody is served, the job stops rather than blame its objects. What is neither picture nor
//! video is dropped after its first bytes, and so is a picture that is too large.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use super::list::Media;
use super::memory::{ByteBudget, Reserved};
use super::scratch::{Scratch, VideoFile, Writing};
use crate::error::{Error, Rejection, RejectionClass};
use crate::limits;
use crate::media::sniff::{ImageKind, Kind, VideoKind, sniff};
use crate::storage::{ObjectMeta, Store, StoreError};

/// The whole of one object.
#[derive(Debug)]
pub enum Content {
    /// Compressed, and what was set aside for it.
    Image {
        bytes: Bytes,
        image: ImageKind,
        reserved: Reserved,
    },
    /// The same, in the boxes of HEIF.
    Heif {
        bytes: Bytes,
        reserved: Reserved,
    },
    Video(VideoFile, VideoKind),
}

/// Where bytes come from and where they may stay.
#[derive(Debug, Clone, Copy)]
pub struct Fetch<'a> {
    pub store: &'a Arc<dyn Store>,
    pub compressed: &'a ByteBudget,
    /// None where no video is wanted: it is known by its first bytes, and dropped.
    pub scratch: Option<&'a Scratch>,
    /// Of a picture. A video is bounded by the scratch space, and not at all where it lies on this machine.
    pub max_object_bytes: u64,
}

impl Fetch<'_> {
    /// Fetches one object. `media` learns its kind, its container and the seconds.
    ///
    /// # Errors
    /// The outer one stops the job: the scratch space failed. The inner one is the row's rejection.
    pub async fn fetch(&self, media: &mut Media) -> Result<Result<Content, Rejection>, Error> {
        let object = media.object.clone();
        let named = |error: Error| error.with(format_args!("; it was for {:?}", object.key));
        match self.check_not_empty(&object).await {
            Ok(()) => {}
            Err(Failure::Job(error)) => return Err(named(error)),
            Err(Failure::Row { rejection, .. }) => return Ok(Err(rejection)),
        }
        // What is small is paid for before it is asked for, and never waits while its body does.
        let reserved = if object.size_bytes <= Scratch::max_memory_bytes(self.compressed) {
            match self.compressed.reserve(object.size_bytes).await {
                Some(reserved) => Some(reserved),
                None => return Ok(Err(closed())),
            }
        } else {
            None
        };
        let start = Instant::now();
        let mut download = Download {
            fetch: self,
            object: &object,
            known: None,
            reserved,
            received: Received::Beginning(BytesMut::new()),
            waited: Duration::ZERO,
        };
        let outcome = download.run().await;
        media.seconds.fetch = start.elapsed().saturating_sub(download.waited).as_secs_f64();
        media.kind = download.known.map(Kind::name);
        media.container = download.known.map(Kind::container);
        match outcome {
            Ok(()) => {}
            Err(Failure::Job(error)) => return Err(named(error)),
            Err(Failure::Row { kind, rejection }) => {
                media.kind = media.kind.or(kind);
                return Ok(Err(rejection));
            }
        }
        let content = match download.received {
            Received::Image(bytes, Some(image), reserved) => Content::Image { bytes: bytes.freeze(), image, reserved },
            Received::Image(bytes, None, reserved) => Content::Heif { bytes: bytes.freeze(), reserved },
            Received::Video(writing, video) => Content::Video(writing.finish().await.map_err(named)?, video),
            Received::Original(file, video) => Content::Video(file, video),
            Received::Beginning(_) => return Ok(Err(empty())),
        };
        Ok(Ok(content))
    }

    /// An object of size 0 is opened: it may be something else that has no size, such as a pipe or a broken link.
    async fn check_not_empty(&self, object: &ObjectMeta) -> Result<(), Failure> {
        if object.size_bytes > 0 {
            return Ok(());
        }
        match self.store.get(object, 0).await {
            Ok(_) => Err(empty().into()),
            Err(error @ StoreError::Permanent { .. }) => Err(Rejection::new(RejectionClass::NotMedia, error).into()),
            Err(error) => Err(failure_of(error)),
        }
    }
}

struct Download<'a> {
    fetch: &'a Fetch<'a>,
    object: &'a ObjectMeta,
    /// By its content, once enough of it has come.
    known: Option<Kind>,
    /// For all of its bytes, where it is small, until it is known who takes them.
    reserved: Option<Reserved>,
    received: Received,
    /// For room, with the body open: no part of the seconds of fetching.
    waited: Duration,
}

/// What came so far, in the place that its content asks for.
enum Received {
    Beginning(BytesMut),
    /// None: in the boxes of HEIF.
    Image(BytesMut, Option<ImageKind>, Reserved),
    Video(Writing, VideoKind),
    /// On this machine: no byte of it is copied.
    Original(VideoFile, VideoKind),
}

impl Received {
    fn len_bytes(&self) -> u64 {
        match self {
            Self::Beginning(bytes) | Self::Image(bytes, ..) => bytes.len() as u64,
            Self::Video(writing, _) => writing.len_bytes(),
            Self::Original(file, _) => file.size_bytes,
        }
    }
}

enum Failure {
    /// The job's.
    Job(Error),
    /// The row's, and what is known of the content all the same.
    Row { kind: Option<&'static str>, rejection: Rejection },
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self::Row { kind: None, rejection }
    }
}

enum Stop {
    /// Another attempt may succeed.
    Again(String),
    /// The same, but no body came, however often the store itself asked for it.
    Unopened(String),
    Final(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

impl Download<'_> {
    async fn run(&mut self) -> Result<(), Failure> {
        let mut pause = Duration::from_millis(limits::FETCH_PAUSE_MS);
        let (mut attempt, mut unopened) = (1, 0);
        loop {
            let stop = self.attempt().await;
            unopened += u32::from(matches!(stop, Err(Stop::Unopened(_))));
            let most = if unopened >= limits::FETCH_OPENINGS { attempt } else { limits::FETCH_ATTEMPTS };
            match stop {
                Ok(()) => return Ok(()),
                Err(Stop::Final(failure)) => return Err(failure),
                Err(Stop::Again(error) | Stop::Unopened(error)) if attempt < most => {
                    tracing::debug!(key = %self.object.key, attempt, "fetching again: {error}");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    attempt += 1;
                }
                Err(Stop::Again(error) | Stop::Unopened(error)) => {
                    let message = format!("gave up after {attempt} attempts: {error}");
                    return Err(Rejection::new(RejectionClass::FetchFailed, message).into());
                }
            }
        }
    }

    /// Reads on from where the last attempt ended.
    async fn attempt(&mut self) -> Result<(), Stop> {
        let expected = self.object.size_bytes;
        let silence = Duration::from_secs(limits::FETCH_SILENCE_SECS);
        let had = self.received.len_bytes();
        if had == expected {
            return Ok(());
        }
        let mut body = match self.fetch.store.get(self.object, had).await {
            Ok(body) => body,
            Err(StoreError::Transient { what, detail }) => return Err(Stop::Unopened(format!("{what}: {detail}"))),
            Err(error) => return Err(stop(error)),
        };
        loop {
            let piece = match tokio::time::timeout(silence, body.next()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(error @ StoreError::Damaged { .. }))) => {
                    self.start_anew();
                    return Err(Stop::Again(error.to_string()));
                }
                Ok(Some(Err(error))) => return Err(stop(error)),
                Ok(None) => break,
                Err(_) => return Err(Stop::Again(format!("no bytes for {} s", silence.as_secs()))),
            };
            if self.received.len_bytes() + piece.len() as u64 > expected {
                let message = format!("expected {expected} bytes as listed, found more");
                return Err(Failure::from(Rejection::new(RejectionClass::Changed, message)).into());
            }
            self.take(&piece).await?;
            if matches!(self.received, Received::Original(..)) {
                return Ok(());
            }
        }
        let found = self.received.len_bytes();
        if found < expected {
            return Err(Stop::Again(format!("expected {expected} bytes, the body ended after {found}")));
        }
        Ok(())
    }

    /// Drops what came, and keeps the room that was paid for.
    fn start_anew(&mut self) {
        self.known = None;
        self.reserved = match std::mem::replace(&mut self.received, Received::Beginning(BytesMut::new())) {
            Received::Image(_, _, reserved) => Some(reserved),
            Received::Video(writing, _) => writing.into_memory(),
            Received::Beginning(_) | Received::Original(..) => self.reserved.take(),
        };
    }

    async fn take(&mut self, piece: &[u8]) -> Result<(), Failure> {
        match &mut self.received {
            Received::Beginning(bytes) => {
                bytes.extend_from_slice(piece);
                if bytes.len() as u64 >= self.object.size_bytes.min(limits::SNIFF_BYTES as u64) {
                    let beginning = bytes.split().freeze();
                    self.received = self.place(&beginning).await?;
                }
            }
            Received::Image(bytes, ..) => bytes.extend_from_slice(piece),
            Received::Video(writing, _) => writing.write(piece).await.map_err(Failure::Job)?,
            Received::Original(..) => {}
        }
        Ok(())
    }

    /// By what the object begins with, the place where all of it has room.
    async fn place(&mut self, beginning: &[u8]) -> Result<Received, Failure> {
        let size_bytes = self.object.size_bytes;
        let kind = sniff(&beginning[..beginning.len().min(limits::SNIFF_BYTES)])
            .map_err(|other| Failure::Row { kind: other.kind, rejection: other.rejection })?;
        self.known = Some(kind);
        let start = Instant::now();
        let video = match kind {
            Kind::Image(_) | Kind::Heif(_) => {
                let reserved = self.room_for_image().await?;
                self.waited = start.elapsed();
                let mut bytes = BytesMut::with_capacity(size_bytes as usize);
                bytes.extend_from_slice(beginning);
                return Ok(Received::Image(bytes, kind.image(), reserved));
            }
            Kind::Video(video) => video,
        };
        let Some(scratch) = self.fetch.scratch else {
            let message = format!("expected a picture, found a video in {}", video.container);
            return Err(Rejection::new(RejectionClass::Unsupported, message).into());
        };
        if let Some(opening) = self.fetch.store.open_file(self.object) {
            self.reserved = None;
            let original = opening.await.map_err(|error| rejection_of(&error))?;
            return Ok(Received::Original(VideoFile::original(original, size_bytes), video));
        }
        let begun = scratch.begin(size_bytes, self.reserved.take()).await;
        self.waited = start.elapsed();
        let mut writing = begun.map_err(Failure::Job)??;
        writing.write(beginning).await.map_err(Failure::Job)?;
        Ok(Received::Video(writing, video))
    }

    async fn room_for_image(&mut self) -> Result<Reserved, Rejection> {
        let size_bytes = self.object.size_bytes;
        let most = self.fetch.max_object_bytes.min(self.fetch.compressed.capacity_bytes());
        if size_bytes > most {
            let message = format!("expected at most {most} bytes, found {size_bytes}");
            return Err(Rejection::new(RejectionClass::TooLarge, message));
        }
        match self.reserved.take() {
            Some(reserved) => Ok(reserved),
            None => self.fetch.compressed.reserve(size_bytes).await.ok_or_else(closed),
        }
    }
}

fn stop(error: StoreError) -> Stop {
    match error {
        StoreError::Transient { .. } => Stop::Again(error.to_string()),
        error => failure_of(error).into(),
    }
}

fn failure_of(error: StoreError) -> Failure {
    match error {
        StoreError::Throttled { others_served: false, .. } => Failure::Job(error.into()),
        error => rejection_of(&error).into(),
    }
}

fn empty() -> Rejection {
    Rejection::new(RejectionClass::Empty, "expected a picture or a video, found an object of 0 bytes")
}

fn closed() -> Rejection {
    Rejection::new(RejectionClass::TooLarge, "the memory budget is closed")
}

fn rejection_of(error: &StoreError) -> Rejection {
    let class = match error {
        StoreError::NotFound { .. } => RejectionClass::Vanished,
        StoreError::Changed { .. } => RejectionClass::Changed,
        // Archived, encrypted with another key, a name that no request can carry: nobody looked at the content.
        StoreError::Denied { .. } | StoreError::Permanent { .. } | StoreError::AlreadyExists { .. } => {
            RejectionClass::Denied
        }
        StoreError::Transient { .. } | StoreError::Throttled { .. } | StoreError::Damaged { .. } => {
            RejectionClass::FetchFailed
        }
    };
    Rejection::new(class, error)
}
