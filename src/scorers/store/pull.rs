//! One file from where it comes to where it is kept, whatever the way does to it.
//!
//! In: a source that breaks off, stalls, throttles, forgets. Out: the pinned file under its name, or an error and no
//! such name. What came is kept for the next pull, unless it is wrong or the disk is full.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;
use futures::TryStreamExt;

use super::hub::{Answer, Failure, Hub};
use super::mirror::OpenMirror;
use super::partial::Partial;
use super::pins::{FilePin, Wanted};
use super::shown::Shown;
use crate::error::Error;
use crate::limits;

/// Written at once: the hop to the blocking pool does not show, and little is lost with a process.
const PIECE_BYTES: usize = 1 << 20;

/// Where bytes come from.
pub(super) enum Source<'a> {
    Hub(Hub<'a>),
    Mirror(OpenMirror),
}

impl Source<'_> {
    /// As a person would look for it.
    pub fn place_of(&self, wanted: &Wanted) -> String {
        match self {
            Self::Hub(hub) => hub.place_of(&wanted.origin),
            Self::Mirror(mirror) => mirror.name().to_owned(),
        }
    }

    async fn open(&self, wanted: &Wanted, from: u64, etag: Option<&str>) -> Result<Answer, Failure> {
        match self {
            Self::Hub(hub) => hub.open(wanted, from, etag).await,
            Self::Mirror(mirror) => mirror.open(wanted, from, etag).await,
        }
    }
}

/// The caller holds the folder's lock.
///
/// # Errors
/// `Input` where the source has another file, refuses, or the disk is full; `TryAgain` where it was away for too long.
pub(super) async fn pull(
    source: &Source<'_>,
    wanted: &Wanted,
    target: &Path,
    shown: &mut Shown<'_>,
) -> Result<(), Error> {
    let (pin, unwritable) = (&wanted.pin, |e: &io::Error| unwritable(target, &wanted.pin, e));
    let opening = {
        let (target, size_bytes) = (target.to_owned(), pin.size_bytes);
        tokio::task::spawn_blocking(move || Partial::open(&target, size_bytes))
    };
    let mut partial = opening.await.map_err(|e| broken_off(&e))?.map_err(|e| unwritable(&e))?;
    let (mut tries, mut furthest) = (0, partial.length);
    loop {
        if partial.length == pin.size_bytes {
            let found = partial.sha256();
            if found == pin.sha256 {
                let (_, published) = on_disk(partial, Partial::publish).await?;
                return published.map_err(|e| unwritable(&e));
            }
            if !partial.was_resumed {
                partial.discard().map_err(|e| unwritable(&e))?;
                return Err(another(wanted, &found));
            }
            tracing::warn!("{}: what an earlier pull left is damaged; it starts anew", wanted.name());
            restart(&mut partial, shown).map_err(|e| unwritable(&e))?;
        }
        let (back, outcome) = attempt(source, wanted, partial, shown).await?;
        partial = back;
        let (why, after) = match outcome {
            Ok(()) => continue,
            Err(Broken::Source(Failure::Stop(error))) => return Err(error),
            Err(Broken::Source(Failure::Again { why, after })) => (why, after),
            Err(Broken::Source(Failure::Restart(why))) => {
                restart(&mut partial, shown).map_err(|e| unwritable(&e))?;
                (why, None)
            }
            Err(Broken::Disk(e)) => {
                if is_full(&e) {
                    let _ = partial.discard(); // nobody is served by a disk that stays full of half a file
                }
                return Err(unwritable(&e));
            }
        };
        if partial.length > furthest {
            (furthest, tries) = (partial.length, 0);
        } else {
            tries += 1;
        }
        if tries == limits::PULL_ATTEMPTS {
            return Err(given_up(wanted, &why, &partial));
        }
        let pause = after.unwrap_or(Duration::from_millis(limits::PULL_PAUSE_MS << tries.saturating_sub(1)));
        tracing::warn!("{}: {why}; trying again in {}", wanted.name(), humantime::format_duration(pause));
        tokio::time::sleep(pause).await;
    }
}

enum Broken {
    Source(Failure),
    Disk(io::Error),
}

/// One request, and all that comes of it. The partial file comes back with what was added.
async fn attempt(
    source: &Source<'_>,
    wanted: &Wanted,
    mut partial: Partial,
    shown: &mut Shown<'_>,
) -> Result<(Partial, Result<(), Broken>), Error> {
    let mut answer = match source.open(wanted, partial.length, partial.etag.as_deref()).await {
        Ok(answer) => answer,
        Err(failure) => return Ok((partial, Err(Broken::Source(failure)))),
    };
    if answer.start != partial.length
        && let Err(e) = restart(&mut partial, shown)
    {
        return Ok((partial, Err(Broken::Disk(e))));
    }
    if answer.etag != partial.etag
        && let Err(e) = partial.set_etag(answer.etag.take())
    {
        return Ok((partial, Err(Broken::Disk(e))));
    }
    let mut ended = None;
    while ended.is_none() {
        let (piece, end) = next_piece(&mut answer, wanted.pin.size_bytes - partial.length).await;
        ended = end;
        let bytes = piece.len() as u64;
        let (back, written) = on_disk(partial, move |partial| partial.append(&piece)).await?;
        partial = back;
        if let Err(e) = written {
            return Ok((partial, Err(Broken::Disk(e))));
        }
        shown.advance(bytes);
    }
    let outcome = match ended {
        Some(Err(failure)) => Err(failure),
        _ if partial.length < wanted.pin.size_bytes => {
            let why = format!("the body ended after {} of {} bytes", partial.length, wanted.pin.size_bytes);
            Err(Failure::Again { why, after: None })
        }
        _ => Ok(()),
    };
    Ok((partial, outcome.map_err(Broken::Source)))
}

/// What comes, up to a piece or to `most_bytes`, and how the body ended, if it did. Nothing is read past the pinned
/// size: a file that is longer has another hash.
async fn next_piece(answer: &mut Answer, most_bytes: u64) -> (Vec<u8>, Option<Result<(), Failure>>) {
    let most = usize::try_from(most_bytes).unwrap_or(usize::MAX);
    let mut piece = Vec::with_capacity(PIECE_BYTES.min(most));
    while piece.len() < PIECE_BYTES {
        if piece.len() == most {
            return (piece, Some(Ok(())));
        }
        match answer.body.try_next().await {
            Ok(Some(bytes)) => piece.extend_from_slice(&bytes[..bytes.len().min(most - piece.len())]),
            Ok(None) => return (piece, Some(Ok(()))),
            Err(failure) => return (piece, Some(Err(failure))),
        }
    }
    (piece, None)
}

/// Work on the pool for blocking calls; the partial file goes there and comes back.
async fn on_disk<T: Send + 'static>(
    mut partial: Partial,
    work: impl FnOnce(&mut Partial) -> io::Result<T> + Send + 'static,
) -> Result<(Partial, io::Result<T>), Error> {
    let working = tokio::task::spawn_blocking(move || {
        let outcome = work(&mut partial);
        (partial, outcome)
    });
    working.await.map_err(|e| broken_off(&e))
}

fn restart(partial: &mut Partial, shown: &mut Shown<'_>) -> io::Result<()> {
    shown.take_back(partial.length);
    partial.restart()
}

fn broken_off(error: &tokio::task::JoinError) -> Error {
    Error::TryAgain(format!("pulling a model was broken off: {error}"))
}

fn another(wanted: &Wanted, found: &str) -> Error {
    Error::Input(format!(
        "{}: expected sha256 {}, found {found}: what came was deleted; pull again, and if the same comes, the file at \
         its source is another than the one that the scorer was made with",
        wanted.name(),
        wanted.pin.sha256
    ))
}

fn given_up(wanted: &Wanted, why: &str, partial: &Partial) -> Error {
    Error::TryAgain(format!(
        "{}: {why}; tried {} times, try again later: {} of {} are kept, and the next pull goes on from there",
        wanted.name(),
        limits::PULL_ATTEMPTS,
        ByteSize(partial.length).display().iec(),
        ByteSize(wanted.pin.size_bytes).display().iec(),
    ))
}

/// A limit on the size of files is met like a full disk: no byte more can be written.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

fn unwritable(target: &Path, pin: &FilePin, error: &io::Error) -> Error {
    let size = ByteSize(pin.size_bytes).display().iec();
    Error::Input(if is_full(error) {
        format!(
            "{}: the disk is full ({error}); nothing was kept: expected room for {size}; free some, or choose another \
             folder with --models FOLDER",
            target.display()
        )
    } else {
        format!("{}: cannot be written: {error}; choose a folder of your own with --models FOLDER", target.display())
    })
}
