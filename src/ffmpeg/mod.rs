//! Videos and coded still pictures, through ffmpeg as a contained child process: the only place that starts a process.
//!
//! ```text
//! file ─▶ probe (ffprobe: what it is, when its frames are shown) ─▶ table ─▶ segments of wanted frames
//!      ─▶ decode (ffmpeg: one child a segment) ─▶ RGB8 frames, upright, with the times they are shown at
//! ```
//!
//! Coded still pictures (HEIC, AVIF) take a shorter way: a stream of them ─▶ stills (ffmpeg) ─▶ planes as they were coded.
//!
//! A video is decoded by somebody else's C code, and its author may mean harm: so never in this process, and never by
//! name. The file is the child's standard input, and what the child may do stands in [`contain`].

pub mod answer;
pub mod child;
pub mod complaint;
pub mod contain;
pub mod copied;
pub mod decode;
pub mod formats;
mod json;
pub mod matrix;
pub mod offer;
pub mod on_demand;
pub mod packets;
pub mod probe;
pub mod process;
pub mod said;
pub mod segment;
pub mod stills;
pub mod table;
pub mod times;
pub mod video;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use self::child::{ChildLimits, Contained};
use crate::error::{Error, RejectionClass};
use crate::limits;

/// What the file is called in the child: its standard input, opened again so that it can be read in any order.
#[cfg(target_os = "linux")]
const MEDIA: &str = "file:/proc/self/fd/0";
#[cfg(not(target_os = "linux"))]
const MEDIA: &str = "file:/dev/fd/0";

/// A file, and how ffmpeg is to read it.
#[derive(Debug, Clone, Copy)]
pub struct MediaFile<'a> {
    pub file: &'a File,
    /// The one demuxer that may look at it.
    pub demuxer: &'a str,
    /// Bytes of something else before the container begins.
    pub skip_bytes: u64,
}

impl MediaFile<'_> {
    /// What it is called in the child.
    fn url(&self) -> String {
        match self.skip_bytes {
            0 => MEDIA.to_owned(),
            skip => format!("subfile,,start,{skip},end,0,,:{MEDIA}"),
        }
    }

    /// The protocols that this takes.
    fn protocols(&self) -> &'static str {
        if self.skip_bytes == 0 { "file,pipe" } else { "file,pipe,subfile" }
    }
}

/// ffmpeg and ffprobe, found and asked for their version.
#[derive(Debug, Clone)]
pub struct Ffmpeg {
    ffmpeg: PathBuf,
    ffprobe: PathBuf,
    /// As `ffmpeg -version` has it.
    pub version: String,
    contained: Arc<Contained>,
    /// One permit for each child that may run at once.
    running: Arc<Semaphore>,
    timeout: Duration,
}

/// Where ffmpeg is looked for, and how it may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FfmpegChoice {
    /// The one that somebody asked for; ffprobe stands beside it.
    pub named: Option<PathBuf>,
    /// `PATH`, for where nobody asked.
    pub search_path: String,
    /// This program, which holds a child in before it becomes ffmpeg.
    pub own_exe: PathBuf,
    /// How many may run at once.
    pub children: usize,
    /// The longest that one may work.
    pub timeout: Duration,
}

impl Ffmpeg {
    /// Both are asked for their version as they will be asked about videos: what cannot run in its containment is found
    /// out here, before a video is. Dropping the future ends whatever was asked.
    ///
    /// # Errors
    /// No ffmpeg or no ffprobe, or one that does not start or hangs.
    pub async fn find(choice: &FfmpegChoice) -> Result<Self, Error> {
        let named = match &choice.named {
            Some(named) => named.clone(),
            None => std::env::split_paths(&choice.search_path)
                .map(|folder| folder.join("ffmpeg"))
                .find(|path| is_program(path))
                .ok_or_else(|| missing("ffmpeg", &"it is not in PATH"))?,
        };
        let ffmpeg = named.canonicalize().map_err(|e| missing(&named.display().to_string(), &e))?;
        // Links to two programs stand beside each other even where the programs do not.
        let beside = [&named, &ffmpeg].map(|path| path.with_file_name("ffprobe"));
        let Some(ffprobe) = beside.iter().filter(|path| is_program(path)).find_map(|path| path.canonicalize().ok())
        else {
            return Err(missing(&beside[0].display().to_string(), &"it does not stand beside ffmpeg"));
        };
        let contained = Arc::new(Contained::new(choice.own_exe.clone()));
        let (version, _) = tokio::try_join!(
            version_of(&contained, &ffmpeg, "ffmpeg version "),
            version_of(&contained, &ffprobe, "ffprobe version ")
        )?;
        Ok(Self {
            ffmpeg,
            ffprobe,
            version,
            contained,
            running: Arc::new(Semaphore::new(choice.children)),
            timeout: choice.timeout,
        })
    }

    /// Said once, where the kernel lacks something that holds a child in.
    pub fn warn_of_missing_layers(&self) {
        self.contained.warn_of_missing_layers();
    }

    fn limits(&self, address_space_bytes: u64) -> ChildLimits {
        ChildLimits {
            address_space_bytes,
            cpu: self.timeout,
            wall: self.timeout,
            silence: Duration::from_secs(limits::DECODER_SILENCE_SECS),
        }
    }

    /// Major and minor; the largest for versions that are built from a repository and have none.
    fn release(&self) -> (u32, u32) {
        let numbers = self.version.trim_start_matches('n');
        let mut parts = numbers.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().ok());
        match (parts.next().flatten(), parts.next().flatten()) {
            (Some(major), minor) if major < 1000 => (major, minor.unwrap_or(0)),
            _ => (u32::MAX, 0),
        }
    }

    /// Every frame that is decoded comes out once, whatever its time.
    fn passthrough(&self) -> &'static [&'static str] {
        if self.release() >= (5, 1) { &["-fps_mode", "passthrough"] } else { &["-vsync", "passthrough"] }
    }

    /// What every child hears first. What is opened is decided by the content that was sniffed, and by nothing that the
    /// file says: no playlists, no other files, no network.
    fn words(media: MediaFile<'_>) -> Vec<String> {
        let max_alloc = limits::DECODER_MAX_ALLOC_BYTES.to_string();
        let max_streams = limits::MAX_STREAMS.to_string();
        let demuxers = formats::demuxer_list();
        let words = [
            ["-v", "error"],
            ["-max_alloc", &max_alloc],
            ["-protocol_whitelist", media.protocols()],
            ["-format_whitelist", &demuxers],
            ["-max_streams", &max_streams],
            ["-f", media.demuxer],
        ];
        words.as_flattened().iter().map(ToString::to_string).collect()
    }
}

fn missing(what: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Usage(format!(
        "{what}: expected ffmpeg and ffprobe, for videos, HEIC and AVIF: {why}; install ffmpeg (apt, apk or brew install ffmpeg; dnf install \
         ffmpeg-free), name it with --ffmpeg FILE, or leave videos out with --no-video"
    ))
}

/// As a shell looks for it: what may not be executed is passed over.
fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

async fn version_of(contained: &Contained, program: &Path, begins: &str) -> Result<String, Error> {
    let name = program.display().to_string();
    let said = offer::answer(contained, program, &["-version"]).await.map_err(|rejection| {
        let message = &rejection.message;
        let way_out = match rejection.class {
            RejectionClass::TimedOut => "",
            _ => "; where that is a script, name the program itself: a script can start none there",
        };
        missing(&name, &format_args!("asked for its version in its containment: {message}{way_out}"))
    })?;
    let version = said.strip_prefix(begins).and_then(|rest| rest.split_whitespace().next());
    version.map(str::to_owned).ok_or_else(|| missing(&name, &"it does not say its version"))
}
