//! Room for videos that wait to be decoded: the bytes of one, as they come, → an open file without a name.
//!
//! A small one is a file in memory, counted by the budget for compressed bytes; a larger one lies in the scratch folder,
//! counted by a budget of its own. Neither has a name, so that the system takes it back when the last one who has it
//! open lets go, however the process ends. A video that lies on this machine is not copied at all.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use bytesize::ByteSize;

use super::memory::{ByteBudget, Reserved};
use crate::error::{Error, Rejection, RejectionClass};
use crate::files;
use crate::limits;
use crate::media::protection::ReadAt;
use crate::storage::{FileVersion, OriginalFile};

/// The scratch folder, and how much of it may be taken. Clones share the budget.
#[derive(Debug, Clone)]
pub struct Scratch {
    folder: Arc<Path>,
    disk: ByteBudget,
}

/// The whole of one video, open for reading from its start to its end.
#[derive(Debug)]
pub struct VideoFile {
    /// For reading only, where the system can open a file without a name a second time.
    pub file: File,
    pub size_bytes: u64,
    /// Of a video that was not copied.
    original: Option<FileVersion>,
    /// Of one that was.
    _reserved: Option<Reserved>,
}

/// A video of which some bytes are still to come.
#[derive(Debug)]
pub struct Writing {
    file: Arc<File>,
    place: Place,
    size_bytes: u64,
    written_bytes: u64,
    gathered: BytesMut,
    reserved: Reserved,
}

#[derive(Debug, Clone)]
enum Place {
    Memory,
    Folder(Arc<Path>),
}

impl Scratch {
    /// # Errors
    /// As [`Scratch::check`].
    pub fn new(folder: &Path, size_bytes: u64) -> Result<Self, Error> {
        let scratch = Self::unchecked(folder, size_bytes);
        scratch.check()?;
        Ok(scratch)
    }

    /// Without a look at the folder: a run that meets no large video never needs it.
    #[must_use]
    pub fn unchecked(folder: &Path, size_bytes: u64) -> Self {
        Self { folder: folder.into(), disk: ByteBudget::new(size_bytes) }
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a file in the folder, and lets go of it.
    ///
    /// # Errors
    /// `Input` where the folder is not there or may not be written to.
    pub fn check(&self) -> Result<(), Error> {
        tempfile::tempfile_in(&self.folder).map(drop).map_err(|error| self.no_folder(&error))
    }

    /// Up to which size a video is a file in memory, and a picture is paid for before it is seen.
    #[must_use]
    pub fn max_memory_bytes(compressed: &ByteBudget) -> u64 {
        limits::MEMORY_FILE_BYTES.min(compressed.capacity_bytes() / limits::MEMORY_FILE_SHARE)
    }

    /// A place for a video of `size_bytes`: in memory where that much is `reserved` of it, in the folder else. Waits
    /// until there is room.
    ///
    /// # Errors
    /// The outer one where the folder takes no file; the row's rejection where the video is larger than all of the room.
    pub async fn begin(
        &self,
        size_bytes: u64,
        reserved: Option<Reserved>,
    ) -> Result<Result<Writing, Rejection>, Error> {
        if let Some(reserved) = reserved {
            match files::in_memory("deepsweep video") {
                Ok(file) => return Ok(Ok(Writing::new(file, Place::Memory, size_bytes, reserved))),
                Err(error) => self.say_once_that_memory_has_no_files(&error),
            }
            // What is held of one budget while waiting for another could lock both.
            drop(reserved);
        }
        let Some(reserved) = self.disk.reserve(size_bytes).await else {
            let most = self.disk.capacity_bytes();
            let message = format!(
                "expected a video of at most {most} bytes, which is all of the scratch space (--scratch-size), found \
                 {size_bytes}"
            );
            return Ok(Err(Rejection::new(RejectionClass::TooLarge, message)));
        };
        let folder = Arc::clone(&self.folder);
        let file =
            in_background(move || tempfile::tempfile_in(&folder)).await.map_err(|error| self.no_folder(&error))?;
        Ok(Ok(Writing::new(file, Place::Folder(Arc::clone(&self.folder)), size_bytes, reserved)))
    }

    fn no_folder(&self, error: &io::Error) -> Error {
        Error::Input(format!(
            "scratch folder {}: expected a folder that takes new files, found: {error}; choose another with --scratch DIR",
            self.folder.display()
        ))
    }

    fn say_once_that_memory_has_no_files(&self, error: &io::Error) {
        static SAID: std::sync::Once = std::sync::Once::new();
        let folder = self.folder.display();
        SAID.call_once(|| tracing::warn!("no files in memory ({error}); small videos wait in {folder} too"));
    }
}

impl Writing {
    fn new(file: File, place: Place, size_bytes: u64, reserved: Reserved) -> Self {
        Self { file: Arc::new(file), place, size_bytes, written_bytes: 0, gathered: BytesMut::new(), reserved }
    }

    /// The bytes that came so far.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.written_bytes + self.gathered.len() as u64
    }

    /// # Errors
    /// A disk that is full or fails: it would fail the next video too, so it stops the job.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        for piece in piece.chunks(limits::SCRATCH_PIECE_BYTES) {
            self.gathered.extend_from_slice(piece);
            if self.gathered.len() >= limits::SCRATCH_PIECE_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// The video, once every byte of it has come.
    ///
    /// # Errors
    /// As [`Writing::write`].
    pub async fn finish(mut self) -> Result<VideoFile, Error> {
        self.flush().await?;
        let (file, place) = (Arc::clone(&self.file), self.place.clone());
        let file = in_background(move || for_reading(&file, &place)).await.map_err(|error| self.failed(&error))?;
        Ok(VideoFile { file, size_bytes: self.size_bytes, original: None, _reserved: Some(self.reserved) })
    }

    /// Lets go of the file. What was set aside for it in memory can be used again.
    #[must_use]
    pub fn into_memory(self) -> Option<Reserved> {
        matches!(self.place, Place::Memory).then_some(self.reserved)
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let (file, piece) = (Arc::clone(&self.file), self.gathered.split());
        let length = piece.len() as u64;
        in_background(move || (&*file).write_all(&piece)).await.map_err(|error| self.failed(&error))?;
        self.written_bytes += length;
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> Error {
        let size = |bytes: u64| ByteSize(bytes).display().iec();
        let (expected, found) = (size(self.size_bytes), size(self.written_bytes));
        let Place::Folder(folder) = &self.place else {
            return Error::Input(format!(
                "files in memory: expected room for a video of {expected}, found it for {found} ({error})"
            ));
        };
        // A limit on the size of files is met like a full disk: no byte more can be written.
        let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge);
        let (why, more) = match full {
            true => ("the disk is full: ", "free some, set --scratch-size to what is free, or "),
            false => ("", ""),
        };
        Error::Input(format!(
            "scratch folder {}: {why}expected room for a video of {expected}, found it for {found} ({error}); {more}choose \
             another folder with --scratch DIR",
            folder.display()
        ))
    }
}

impl VideoFile {
    /// The video where it lies.
    #[must_use]
    pub fn original(original: OriginalFile, size_bytes: u64) -> Self {
        let OriginalFile { file, version } = original;
        Self { file, size_bytes, original: Some(version), _reserved: None }
    }

    /// Reads of the file where that may take its time.
    ///
    /// # Errors
    /// Those of `work`; `Panicked` where it did, or where the system has no descriptor for it.
    pub async fn in_background<T: Send + 'static>(
        &self,
        work: impl FnOnce(&PlacedFile) -> Result<T, Rejection> + Send + 'static,
    ) -> Result<T, Rejection> {
        let failed = |error: io::Error| Rejection::new(RejectionClass::Panicked, error);
        let file = PlacedFile { file: self.file.try_clone().map_err(failed)?, size_bytes: self.size_bytes };
        let done = tokio::task::spawn_blocking(move || work(&file)).await;
        done.unwrap_or_else(|error| Err(failed(io::Error::other(error))))
    }

    /// To be asked behind the last read.
    ///
    /// # Errors
    /// `Changed` where the video lies on this machine and was written to while it was read.
    pub fn check_unchanged(&self) -> Result<(), Rejection> {
        let Some(version) = &self.original else { return Ok(()) };
        version.check_unchanged(&self.file).map_err(|error| Rejection::new(RejectionClass::Changed, error))
    }
}

/// A video that is read at places, which leaves alone where others read it.
#[derive(Debug)]
pub struct PlacedFile {
    file: File,
    size_bytes: u64,
}

impl ReadAt for PlacedFile {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn len_bytes(&self) -> u64 {
        self.size_bytes
    }
}

/// Writing waits for disks, which a thread that serves the network must not.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// The file from its start, closed to every change where that can be had.
fn for_reading(file: &File, place: &Place) -> io::Result<File> {
    if matches!(place, Place::Memory) {
        files::seal(file)?;
    }
    files::again(file)
}
