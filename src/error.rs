//! The two kinds of failure.
//!
//! [`Error`] stops the job: a bad job file, missing weights, no rights. It names the thing, what was
//! expected, what was found and, where there is one, the way out.
//! [`Rejection`] is a row about one object: whatever a file does, the job goes on.
//! Neither is ever turned into a number: what was not scored is null, with a reason.

use std::fmt;

use crate::storage::StoreError;

/// Stops the job. The variant decides the exit code, the message tells a person what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A flag, a job file or a model that cannot be meant so (exit code 2).
    #[error("{0}")]
    Usage(String),
    /// A source that is not there, rights that are missing, a destination that refuses (exit code 3).
    #[error("{0}")]
    Input(String),
    /// The run finished, but more objects than allowed could not be read (exit code 10).
    #[error("{0}")]
    TooManyFailed(String),
    /// Try again later: throttled, the network was away, or the run was asked to stop (exit code 75).
    #[error("{0}")]
    TryAgain(String),
}

impl Error {
    /// The same error with more to say.
    #[must_use]
    pub fn with(self, more: impl fmt::Display) -> Self {
        match self {
            Self::Usage(what) => Self::Usage(format!("{what}{more}")),
            Self::Input(what) => Self::Input(format!("{what}{more}")),
            Self::TooManyFailed(what) => Self::TooManyFailed(format!("{what}{more}")),
            Self::TryAgain(what) => Self::TryAgain(format!("{what}{more}")),
        }
    }

    /// The process exit code, the contract with schedulers.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Input(_) => 3,
            Self::TooManyFailed(_) => 10,
            Self::TryAgain(_) => 75, // EX_TEMPFAIL of sysexits.h
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Transient { .. } | StoreError::Throttled { .. } | StoreError::Damaged { .. } => {
                Self::TryAgain(error.to_string())
            }
            _ => Self::Input(error.to_string()),
        }
    }
}

/// Why one object has no result. It becomes the columns `error_class`, `error_message`, `retryable`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub class: RejectionClass,
    /// What was expected and what was found, in one line.
    pub message: String,
}

impl Rejection {
    pub fn new(class: RejectionClass, message: impl fmt::Display) -> Self {
        Self { class, message: message.to_string() }
    }
}

/// The closed set of reasons; the spelling is part of the tables' schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectionClass {
    /// The object has no bytes.
    Empty,
    /// The content is neither an image nor a video.
    NotMedia,
    /// Sound, or a container of videos that holds none.
    NoVideo,
    /// Media of a kind or variant that this program does not decode.
    Unsupported,
    /// The pictures are encrypted, and this program has no key.
    Encrypted,
    /// A part of a recording that needs another file to be decoded: a media segment that has no initialization segment.
    Incomplete,
    /// This machine lacks the program that decodes it.
    NoDecoder,
    /// Claims to be a format and breaks its rules, or ends too early.
    Corrupt,
    /// Larger than a limit, in bytes, in pixels or in what decoding would take.
    TooLarge,
    /// Listed, and gone when it was fetched.
    Vanished,
    /// Listed, and replaced before it was fetched.
    Changed,
    /// The store refused to hand this object out.
    Denied,
    /// The store failed again and again; another attempt may succeed.
    FetchFailed,
    /// The decoder made no progress, or took longer than it was given.
    TimedOut,
    /// A bug of ours or of a decoder, met by this object alone.
    Panicked,
}

impl RejectionClass {
    pub const ALL: [Self; 15] = [
        Self::Empty,
        Self::NotMedia,
        Self::NoVideo,
        Self::Unsupported,
        Self::Encrypted,
        Self::Incomplete,
        Self::NoDecoder,
        Self::Corrupt,
        Self::TooLarge,
        Self::Vanished,
        Self::Changed,
        Self::Denied,
        Self::FetchFailed,
        Self::TimedOut,
        Self::Panicked,
    ];

    /// The class that the column `error_class` calls so.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotMedia => "not_media",
            Self::NoVideo => "no_video",
            Self::Unsupported => "unsupported",
            Self::Encrypted => "encrypted",
            Self::Incomplete => "incomplete",
            Self::NoDecoder => "no_decoder",
            Self::Corrupt => "corrupt",
            Self::TooLarge => "too_large",
            Self::Vanished => "vanished",
            Self::Changed => "changed",
            Self::Denied => "denied",
            Self::FetchFailed => "fetch_failed",
            Self::TimedOut => "timed_out",
            Self::Panicked => "panicked",
        }
    }

    /// Whether the same object may succeed in another attempt without anyone mending it.
    #[must_use]
    pub fn retryable(self) -> bool {
        matches!(self, Self::Changed | Self::FetchFailed)
    }

    /// Whether the object's own bytes are to blame: another run under the same settings would say the same of them, so
    /// none looks at it again unless it is told to. See [`Self::is_by_limits`] too.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Empty
            | Self::NotMedia
            | Self::NoVideo
            | Self::Unsupported
            | Self::Encrypted
            | Self::Incomplete
            | Self::Corrupt
            | Self::TooLarge
            | Self::TimedOut => true,
            Self::Vanished | Self::Changed | Self::Denied | Self::FetchFailed | Self::NoDecoder | Self::Panicked => {
                false
            }
        }
    }

    /// Whether other limits might let the object through: of [`Self::is_final`], those that are so only under the same ones.
    #[must_use]
    pub fn is_by_limits(self) -> bool {
        matches!(self, Self::Unsupported | Self::TooLarge | Self::TimedOut)
    }

    /// Whether the archive's rights or its network are to blame, rather than the file: these count
    /// against `--max-failed`, a broken file does not.
    #[must_use]
    pub fn is_failure_to_read(self) -> bool {
        matches!(self, Self::Denied | Self::FetchFailed | Self::NoDecoder | Self::Panicked)
    }
}
