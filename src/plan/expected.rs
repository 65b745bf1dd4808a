//! How much work an object will be, before anyone has seen it: seconds on one core.
//!
//! By its ending, its size and how videos are sampled; better where an earlier run has looked at that very object. It
//! decides how much goes into a slice and a shard, never what a row says, so being wrong by half costs balance alone.

use crate::media::sample::Sampling;
use crate::storage::ObjectMeta;

// Seconds of one core of an AMD EPYC, without a scorer: `tests/bench/expected.sh` holds them against what things take.

/// Any object: a request, a look at its first bytes, its rows.
const OBJECT_SECS: f64 = 0.002;
/// A photograph, whatever its size: finding faces in a picture of half a megapixel.
const IMAGE_SECS: f64 = 0.02;
/// Decoding it, and the larger pyramid of a larger picture.
const IMAGE_SECS_PER_MB: f64 = 0.065;
/// Starting decoders of a video, and finding out what there is.
const VIDEO_SECS: f64 = 0.2;
/// Finding faces in a wanted frame of 1080p.
const FRAME_SECS: f64 = 0.08;
/// Decoding on the way to wanted frames.
const VIDEO_SECS_PER_MB: f64 = 0.1;
/// The way to a frame from the last key frame, at most: where they stand ten seconds apart, half of what there is between.
const FRAME_WAY_MB: f64 = 2.0;
/// What a megabyte of video shows, at 2 Mbit/s: the length decides how many frames are wanted of it.
const VIDEO_SECS_IN_MB: f64 = 4.0;
/// Key frames of a second, at one in two, and all of them, at 25.
const KEYFRAMES_PER_SEC: f64 = 0.5;
const FRAMES_PER_SEC: f64 = 25.0;

const IMAGES: [&str; 13] =
    ["jpg", "jpeg", "jpe", "png", "webp", "gif", "bmp", "tif", "tiff", "heic", "heif", "hif", "avif"];
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
            let frames = frames(sampling, megabytes);
            let decoded_megabytes = megabytes.min(frames * FRAME_WAY_MB);
            VIDEO_SECS + VIDEO_SECS_PER_MB * decoded_megabytes + FRAME_SECS * frames
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

#[cfg(test)]
mod tests {
    use super::{core_seconds, frames};
    use crate::media::sample::Sampling;
    use crate::storage::ObjectMeta;

    fn check(key: &str, megabytes: f64, took: f64) {
        let size_bytes = (megabytes * 1e6) as u64;
        let object = ObjectMeta { key: key.into(), size_bytes, etag: None, version_id: None, modified: None };
        let expected = core_seconds(&object, Sampling::Frames(32), false, None);
        assert!(expected > took / 2.0 && expected < took * 2.0, "{key}: expected {expected}, took {took}");
    }

    #[test]
    fn what_is_expected_is_what_was_measured_within_a_factor_of_two() {
        check("group.jpg", 0.117, 0.053);
        check("multiface.jpg", 0.301, 0.052);
        check("telephone.jpg", 3.7, 0.256);
        check("camera.jpg", 8.3, 0.528);
        check("five_seconds.mp4", 2.5, 2.48);
        check("a_minute.mp4", 30.4, 5.72);
        check("ten_minutes.mp4", 303.6, 9.65);
    }

    #[test]
    fn all_frames_of_a_longer_video_are_more() {
        assert!(frames(Sampling::All, 10.0) > frames(Sampling::Keyframes, 10.0));
        assert!(frames(Sampling::All, 10.0) > frames(Sampling::All, 5.0));
    }
}
