//! How much work an object will be, before anyone has seen it: seconds on one core.
//!
//! By its ending, its size and how videos are sampled; better where an earlier run has looked at that very object. It
//! decides how much goes into a slice and a shard, never what a row says, so being wrong by half costs balance alone.

use crate::pipeline::sample::Sampling;
use crate::storage::ObjectMeta;

/// Any object: a request, a look at its first bytes, its rows.
const OBJECT_SECS: f64 = 0.002;
/// A photograph, whatever its size: finding faces in a picture of a megapixel, and scoring one or two.
const IMAGE_SECS: f64 = 0.05;
/// Decoding it, and the larger pyramid of a larger picture.
const IMAGE_SECS_PER_MB: f64 = 0.08;
/// Starting decoders of a video, and finding out what there is.
const VIDEO_SECS: f64 = 0.5;
/// A wanted frame: the way to it from the last key frame, and what a photograph costs.
const FRAME_SECS: f64 = 0.08;
/// Reading through the file for its packets.
const VIDEO_SECS_PER_MB: f64 = 0.01;
/// What a megabyte of video shows, at 2 Mbit/s: the length decides how many frames are wanted of it.
const VIDEO_SECS_IN_MB: f64 = 4.0;
/// Key frames of a second, at one in two, and all of them, at 25.
const KEYFRAMES_PER_SEC: f64 = 0.5;
const FRAMES_PER_SEC: f64 = 25.0;

const IMAGES: [&str; 9] = ["jpg", "jpeg", "jpe", "png", "webp", "gif", "bmp", "tif", "tiff"];
const VIDEOS: [&str; 12] = ["mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "m2ts", "mts", "mpg", "mpeg", "3gp"];

/// What a key's ending promises. The content decides in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promised {
    Image,
    Video,
    /// An ending of neither, or none: many archives name objects by their hash.
    Unknown,
}

impl Promised {
    #[must_use]
    pub fn by(key: &str) -> Self {
        let ending = key.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
        if IMAGES.contains(&ending.as_str()) {
            Self::Image
        } else if VIDEOS.contains(&ending.as_str()) {
            Self::Video
        } else {
            Self::Unknown
        }
    }
}

/// Expected work on one core, in seconds. `known`: what an earlier run took for it.
#[must_use]
pub fn core_seconds(object: &ObjectMeta, sampling: Sampling, no_video: bool, known: Option<f32>) -> f64 {
    let megabytes = object.size_bytes as f64 / 1e6;
    let work = match (known, Promised::by(&object.key)) {
        (Some(known), _) => f64::from(known),
        (None, Promised::Video) if no_video => 0.0,
        (None, Promised::Video) => {
            VIDEO_SECS + VIDEO_SECS_PER_MB * megabytes + FRAME_SECS * frames(sampling, megabytes)
        }
        // Half of what has no ending is media, in an archive that names nothing.
        (None, Promised::Unknown) => (IMAGE_SECS + IMAGE_SECS_PER_MB * megabytes) / 2.0,
        (None, Promised::Image) => IMAGE_SECS + IMAGE_SECS_PER_MB * megabytes,
    };
    OBJECT_SECS + work
}

fn frames(sampling: Sampling, megabytes: f64) -> f64 {
    let shown_secs = VIDEO_SECS_IN_MB * megabytes;
    match sampling {
        Sampling::Frames(count) => f64::from(count),
        Sampling::Every(time) => (shown_secs / time.as_secs_f64()).min(shown_secs * FRAMES_PER_SEC),
        Sampling::Keyframes => shown_secs * KEYFRAMES_PER_SEC,
        Sampling::All => shown_secs * FRAMES_PER_SEC,
    }
}
