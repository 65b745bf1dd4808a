//! Models by name: pulled once, checked against their pins, kept where the next run finds them.
//!
//! In: which files, of which commit, with which hashes. Out: a folder that has them, every byte checked in this
//! process. A file gets its name only once it is whole and the pinned one; what is not pinned is never pulled.
//!
//! ```text
//! models pull        hub ──▶ cache              --models s3://…:  hub ──▶ cache ──▶ bucket
//! a run              hub ──▶ cache ──▶ folder   --models s3://…:  bucket ──▶ cache ──▶ folder
//! ```

mod hub;
mod lock;
mod mirror;
mod partial;
mod pins;
mod pull;
mod settings;
mod shown;
mod verify;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;

pub use self::pins::{Downloads, FilePin, HubFiles, UrlFile};
pub use self::settings::{HubSettings, StoreChoice, StoreSettings};
pub use self::verify::{Finding, expected, look};

use self::hub::Hub;
use self::mirror::OpenMirror;
use self::pins::Wanted;
use self::pull::Source;
use self::shown::Shown;
use crate::error::Error;
use crate::progress::Display;
use crate::storage::Location;

/// Where models are kept, and how they get there.
#[derive(Debug, Clone)]
pub struct ModelStore {
    settings: StoreSettings,
}

/// The files of one scorer, each checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFiles {
    /// The folder of the tower's files.
    pub tower: PathBuf,
    /// The head's own file, where it has one.
    pub head: Option<PathBuf>,
}

/// Which way files come into the cache.
#[derive(Debug, Clone, Copy)]
enum Route {
    /// From the bucket, where one is named.
    Nearest,
    /// From the hub: how a bucket is filled.
    Hub,
}

/// How much of a scorer is in the cache, by the sizes of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Whole,
    Part,
    None,
}

impl Presence {
    fn of(present: usize, wanted: usize) -> Self {
        match present {
            0 => Self::None,
            n if n == wanted => Self::Whole,
            _ => Self::Part,
        }
    }
}

/// One file against its pin.
#[derive(Debug, Clone)]
pub struct Checked {
    /// A path, or an object's address.
    pub place: String,
    pub pin: FilePin,
    pub finding: Finding,
}

impl ModelStore {
    #[must_use]
    pub fn new(settings: StoreSettings) -> Self {
        Self { settings }
    }

    #[must_use]
    pub fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    /// A file that lies on no hub, pulled where it is missing, checked where it is not.
    ///
    /// # Errors
    /// `Input` where it cannot be had or is not the pinned one; `TryAgain` where its source is away.
    pub async fn ensure_url(&self, url: &str, pin: &FilePin, display: &Display) -> Result<PathBuf, Error> {
        let file = UrlFile { url: url.to_owned(), pin: pin.clone() };
        file.check().map_err(Error::Usage)?;
        let wanted = file.wanted();
        self.ensure_all(url, std::slice::from_ref(&wanted), Route::Nearest, display).await?;
        Ok(self.path(&wanted))
    }

    /// Everything that a scorer needs.
    ///
    /// # Errors
    /// As [`ModelStore::ensure_url`].
    pub async fn ensure_scorer(&self, scorer: &Downloads, display: &Display) -> Result<ModelFiles, Error> {
        self.ensure_all(&scorer.name, &scorer.wanted(), Route::Nearest, display).await?;
        Ok(self.files_of(scorer))
    }

    /// Fills the place that the settings name: the cache, or a bucket by way of the cache. Says where it is then.
    ///
    /// # Errors
    /// As [`ModelStore::ensure_url`], and a bucket that refuses.
    pub async fn fill(&self, scorer: &Downloads, display: &Display) -> Result<String, Error> {
        let Location::S3 { bucket, prefix } = &self.settings.location else {
            return Ok(self.ensure_scorer(scorer, display).await?.tower.display().to_string());
        };
        let mirror = OpenMirror::connect(bucket, prefix, &self.settings.s3).await?;
        for wanted in scorer.wanted() {
            if mirror.find(&wanted).await?.is_none() {
                self.ensure_all(&scorer.name, std::slice::from_ref(&wanted), Route::Hub, display).await?;
                tracing::info!("{}: putting {}", scorer.name, mirror.place(&wanted));
            }
            // Asks once more what stands there, and says so where it is something else.
            mirror.put(&wanted, &self.path(&wanted)).await?;
        }
        Ok(self.settings.location.to_string())
    }

    /// Where [`ModelStore::ensure_scorer`] puts the files.
    #[must_use]
    pub fn files_of(&self, scorer: &Downloads) -> ModelFiles {
        ModelFiles {
            tower: self.settings.cache.join(scorer.tower.address()),
            head: scorer.head.as_ref().map(|head| self.path(&head.wanted())),
        }
    }

    /// How much of the scorer is in the cache. Opens no file.
    #[must_use]
    pub fn presence(&self, scorer: &Downloads) -> Presence {
        let wanted = scorer.wanted();
        let present = wanted.iter().filter(|wanted| verify::is_present(&self.path(wanted), &wanted.pin)).count();
        Presence::of(present, wanted.len())
    }

    /// How much of the scorer is in the bucket that the settings name, by the sizes of files; nothing where they name none.
    ///
    /// # Errors
    /// A bucket that does not answer.
    pub async fn presence_in_bucket(&self, scorer: &Downloads) -> Result<Presence, Error> {
        let Location::S3 { bucket, prefix } = &self.settings.location else { return Ok(Presence::None) };
        let mirror = OpenMirror::connect(bucket, prefix, &self.settings.s3).await?;
        let (wanted, mut present) = (scorer.wanted(), 0);
        for wanted in &wanted {
            let found = mirror.find(wanted).await?;
            present += usize::from(found.is_some_and(|object| object.size_bytes == wanted.pin.size_bytes));
        }
        Ok(Presence::of(present, wanted.len()))
    }

    /// Every file of the scorer, read to its last byte where the settings say that models are kept.
    ///
    /// # Errors
    /// A file that is there and cannot be read, a bucket that does not answer.
    pub async fn check(&self, scorer: &Downloads) -> Result<Vec<Checked>, Error> {
        self.check_all(scorer.wanted()).await
    }

    /// As [`ModelStore::check`], of a file that lies on no hub.
    ///
    /// # Errors
    /// As [`ModelStore::check`].
    pub async fn check_url(&self, file: &UrlFile) -> Result<Vec<Checked>, Error> {
        self.check_all(vec![file.wanted()]).await
    }

    /// The same store without a route to any hub: for those who only look.
    #[must_use]
    pub fn offline_twin(&self) -> Self {
        let mut settings = self.settings.clone();
        settings.hub.offline = true;
        Self { settings }
    }

    async fn check_all(&self, all: Vec<Wanted>) -> Result<Vec<Checked>, Error> {
        let mirror = match &self.settings.location {
            Location::S3 { bucket, prefix } => Some(OpenMirror::connect(bucket, prefix, &self.settings.s3).await?),
            Location::Local(_) => None,
        };
        let mut checked = vec![];
        for wanted in all {
            let path = self.path(&wanted);
            let (place, finding) = match &mirror {
                Some(mirror) => (mirror.place(&wanted), mirror.look(&wanted).await?),
                None => (path.display().to_string(), look_aside(path, wanted.pin.clone()).await?),
            };
            checked.push(Checked { place, pin: wanted.pin, finding });
        }
        Ok(checked)
    }

    fn path(&self, wanted: &Wanted) -> PathBuf {
        self.settings.cache.join(&wanted.address)
    }

    async fn ensure_all(&self, what: &str, wanted: &[Wanted], route: Route, display: &Display) -> Result<(), Error> {
        let missing = self.missing(wanted).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let source = match (&self.settings.location, route) {
            (Location::S3 { bucket, prefix }, Route::Nearest) => {
                Source::Mirror(OpenMirror::connect(bucket, prefix, &self.settings.s3).await?)
            }
            _ if self.settings.hub.offline => return Err(self.offline(what, &missing)),
            _ => Source::Hub(Hub::new(&self.settings.hub)?),
        };
        self.pull_all(&source, what, &missing, display).await
    }

    /// Those that are not in the cache as their pins say.
    async fn missing(&self, wanted: &[Wanted]) -> Result<Vec<Wanted>, Error> {
        let mut missing = vec![];
        for wanted in wanted {
            let path = self.path(wanted);
            match look_aside(path.clone(), wanted.pin.clone()).await? {
                Finding::Whole => continue,
                Finding::Missing => {}
                Finding::Other(found) => tracing::warn!(
                    "{}: expected {}, found {found}: damaged, and to be pulled again",
                    path.display(),
                    expected(&wanted.pin, &found)
                ),
            }
            missing.push(wanted.clone());
        }
        Ok(missing)
    }

    async fn pull_all(
        &self,
        source: &Source<'_>,
        what: &str,
        missing: &[Wanted],
        display: &Display,
    ) -> Result<(), Error> {
        let cache = &self.settings.cache;
        create_folder(cache)?;
        let total_bytes = missing.iter().map(|wanted| wanted.pin.size_bytes).sum();
        let there_bytes: u64 = missing.iter().map(|wanted| partial::length_of(&self.path(wanted))).sum();
        let size = ByteSize(total_bytes).display().iec();
        check_room(cache, what, total_bytes, there_bytes)?;
        let places: BTreeSet<String> = missing.iter().map(|wanted| source.place_of(wanted)).collect();
        let from = places.into_iter().collect::<Vec<_>>().join(" and ");
        let files = if missing.len() == 1 { "1 file".to_owned() } else { format!("{} files", missing.len()) };
        tracing::info!("{what}: pulling {files}, {size}, from {from} into {}", cache.display());
        let mut shown = Shown::begin(display, what, total_bytes, there_bytes.min(total_bytes));
        for wanted in missing {
            let path = self.path(wanted);
            let folder = path.parent().unwrap_or(cache);
            create_folder(folder)?;
            let _lock = lock::lock(folder, what).await?;
            if look_aside(path.clone(), wanted.pin.clone()).await? == Finding::Whole {
                shown.advance(wanted.pin.size_bytes.saturating_sub(partial::length_of(&path)));
                continue; // another process was first
            }
            pull::pull(source, wanted, &path, &mut shown).await?;
        }
        tracing::info!("{what}: {size} pulled and checked in {}", humantime::format_duration(shown.elapsed()));
        Ok(())
    }

    fn offline(&self, what: &str, missing: &[Wanted]) -> Error {
        let files: Vec<String> = missing
            .iter()
            .map(|wanted| format!("{} ({})", wanted.address, ByteSize(wanted.pin.size_bytes).display().iec()))
            .collect();
        Error::Input(format!(
            "{what}: offline, and {} lacks {}; expected them there, or in --models DEST, a folder or s3://BUCKET/PREFIX \
             that deepsweep models pull {what} --models DEST filled where there is a route",
            self.settings.cache.display(),
            files.join(", ")
        ))
    }
}

/// Hashing a gigabyte is no work for the threads that wait for the network.
async fn look_aside(path: PathBuf, pin: FilePin) -> Result<Finding, Error> {
    let looking = tokio::task::spawn_blocking(move || look(&path, &pin));
    looking.await.map_err(|e| Error::TryAgain(format!("checking a model was broken off: {e}")))?
}

fn create_folder(folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|e| {
        Error::Input(format!(
            "{}: the folder for models cannot be created: {e}; choose one of your own with --models FOLDER",
            folder.display()
        ))
    })
}

/// A disk that cannot hold the files is known before the first byte comes.
fn check_room(folder: &Path, what: &str, total_bytes: u64, there_bytes: u64) -> Result<(), Error> {
    let needed = total_bytes.saturating_sub(there_bytes);
    // Where the system does not say, the disk itself will.
    let Ok(found) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free >= needed {
        return Ok(());
    }
    let size = |bytes: u64| ByteSize(bytes).display().iec();
    Err(Error::Input(format!(
        "{what}: expected {} of free space in {}, found {}; free some, or choose another folder with --models FOLDER",
        size(needed),
        folder.display(),
        size(free)
    )))
}
