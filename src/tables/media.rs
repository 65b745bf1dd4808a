//! `media`: one row for every object that was listed, always; with several scorers one for each of them.

use super::{Column, Table, boolean, float32, float64, int32, int64, micros, text};
use crate::error::Rejection;

/// One object, whatever became of it.
#[derive(Debug, Clone, Default)]
pub struct MediaRow {
    pub media_id: String,
    pub bucket: String,
    pub key: String,
    pub etag: Option<String>,
    pub version_id: Option<String>,
    pub size_bytes: i64,
    pub modified_us: Option<i64>,
    pub status: Status,
    pub rejection: Option<Rejection>,
    pub not_scored: Option<NotScored>,
    pub kind: Option<&'static str>,
    pub container: Option<&'static str>,
    pub codec: Option<&'static str>,
    pub width_px: Option<u32>,
    pub height_px: Option<u32>,
    /// As EXIF counts them, 1 to 8; what was applied.
    pub orientation: Option<u8>,
    /// As ffmpeg spells it.
    pub color_transfer: Option<String>,
    pub duration_s: Option<f64>,
    pub frames_sampled: i32,
    pub frames_decoded: i32,
    pub frames_with_face: i32,
    pub n_faces: i32,
    pub scores: Option<ScoreSummary>,
    /// None unless a video was decoded.
    pub n_tracks: Option<i32>,
    pub score_track_max: Option<f32>,
    /// None without a threshold, and where nothing was scored.
    pub share_above_threshold: Option<f32>,
    pub decoder_message: Option<String>,
    pub scorer: Option<String>,
    pub fingerprint: String,
    pub seconds: Seconds,
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    #[default]
    Ok,
    NoFace,
    Rejected,
}

impl Status {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NoFace => "no_face",
            Self::Rejected => "rejected",
        }
    }
}

/// Why a score is null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotScored {
    /// The run was asked for detections only.
    NoScorer,
    /// The scorer looks at faces and there is none.
    NoFace,
    /// The scorer looks at whole frames: this row is a face's.
    FrameScorer,
    /// Nothing of the face's box lies in the frame.
    OutOfFrame,
    /// The object was rejected.
    Rejected,
    /// The tower or the head gave NaN or infinity.
    NotFinite,
}

impl NotScored {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoScorer => "no_scorer",
            Self::NoFace => "no_face",
            Self::FrameScorer => "frame_scorer",
            Self::OutOfFrame => "out_of_frame",
            Self::Rejected => "rejected",
            Self::NotFinite => "not_finite",
        }
    }
}

/// The scores of one media brought together: of its faces, or of its frames where the scorer looks at frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreSummary {
    pub mean: f32,
    pub median: f32,
    pub max: f32,
    pub mean_of_top: f32,
}

impl ScoreSummary {
    /// None where nothing was scored.
    #[must_use]
    pub fn of(scores: impl IntoIterator<Item = f32>, top_k: usize) -> Option<Self> {
        let mut scores: Vec<f32> = scores.into_iter().collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        let mean = |part: &[f32]| (part.iter().map(|s| f64::from(*s)).sum::<f64>() / part.len() as f64) as f32;
        let max = *scores.first()?;
        let (upper, lower) = (scores[(scores.len() - 1) / 2], scores[scores.len() / 2]);
        Some(Self {
            mean: mean(&scores),
            median: f32::midpoint(upper, lower),
            max,
            mean_of_top: mean(&scores[..top_k.clamp(1, scores.len())]),
        })
    }
}

/// Time that one object took, per stage; waiting for a place in it is not counted, sharing the cores is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Seconds {
    pub fetch: f64,
    pub decode: f64,
    pub detect: f64,
    /// This object's share of the batches that its crops were in.
    pub embed: f64,
}

impl Table for MediaRow {
    const NAME: &'static str = "media";
    const SORTED_BY: &'static [&'static str] = &["key"];
    #[rustfmt::skip]
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "media_id", unit: "", required: true, meaning: "Hash of bucket, key and version: the same bytes at the same place have the same id in every run; joins the tables", values: |r| text(r, |r| Some(&r.media_id)) },
        Column { name: "bucket", unit: "", required: true, meaning: "The bucket, or the folder's absolute path", values: |r| text(r, |r| Some(&r.bucket)) },
        Column { name: "key", unit: "", required: true, meaning: "The object's key, or the path below the folder", values: |r| text(r, |r| Some(&r.key)) },
        Column { name: "etag", unit: "", required: false, meaning: "The version as the store names it; opaque, no MD5", values: |r| text(r, |r| r.etag.as_deref()) },
        Column { name: "version_id", unit: "", required: false, meaning: "The version id of a versioned bucket", values: |r| text(r, |r| r.version_id.as_deref()) },
        Column { name: "size_bytes", unit: "bytes", required: true, meaning: "Size of the object", values: |r| int64(r, |r| Some(r.size_bytes)) },
        Column { name: "modified", unit: "UTC", required: false, meaning: "When the object was last written", values: |r| micros(r, |r| r.modified_us) },
        Column { name: "status", unit: "", required: true, meaning: "`ok`, `no_face` (decoded, nothing found, nothing scored) or `rejected` (see error_class)", values: |r| text(r, |r| Some(r.status.as_str())) },
        Column { name: "error_class", unit: "", required: false, meaning: "Why it was rejected: `empty`, `not_media`, `unsupported`, `encrypted`, `incomplete` (a piece that needs another file), `no_decoder` (this machine lacks ffmpeg), `corrupt`, `too_large`, `vanished`, `changed`, `denied`, `fetch_failed`, `no_video`, `timed_out`, `panicked`", values: |r| text(r, |r| r.rejection.as_ref().map(|e| e.class.as_str())) },
        Column { name: "error_message", unit: "", required: false, meaning: "What was expected and what was found, in one line", values: |r| text(r, |r| r.rejection.as_ref().map(|e| e.message.as_str())) },
        Column { name: "retryable", unit: "", required: false, meaning: "Whether another attempt may succeed although nobody mends anything; null unless rejected", values: |r| boolean(r, |r| r.rejection.as_ref().map(|e| e.class.retryable())) },
        Column { name: "kind", unit: "", required: false, meaning: "`image` or `video`; null where the content is neither or was never seen", values: |r| text(r, |r| r.kind) },
        Column { name: "container", unit: "", required: false, meaning: "File format by its content, not its name: `jpeg`, `png`, `webp`, `gif`, `bmp`, `tiff`, `tga`, `pnm`, `qoi`, `ico`, `dds`, `pcx`, `heic` (HEVC), `avif` (AV1), `heif` (others), `mp4` (MOV too), `webm`, `matroska`, `avi`, `mpegts`, `mpegps` (VOB too), `mpegvideo`, `flv`, `asf` (WMV), `ogg`, `mxf`, `h264`, `hevc`, `ivf`, `dv`", values: |r| text(r, |r| r.container) },
        Column { name: "codec", unit: "", required: false, meaning: "How the frames of a video are coded: as ffmpeg spells it (`h264`, `hevc`, `av1`, …); null for an image", values: |r| text(r, |r| r.codec) },
        Column { name: "width", unit: "px", required: false, meaning: "Width of the upright picture: turned as EXIF or the video says, with square pixels", values: |r| int32(r, |r| r.width_px.map(|v| v as i32)) },
        Column { name: "height", unit: "px", required: false, meaning: "Height, likewise", values: |r| int32(r, |r| r.height_px.map(|v| v as i32)) },
        Column { name: "orientation", unit: "EXIF, 1–8", required: false, meaning: "How the stored picture was turned to be upright, in EXIF's numbers: 1 not at all, 3 by 180°, 6 by 90° clockwise, 8 by 270° clockwise, the others mirrored; null unless decoded", values: |r| int32(r, |r| r.orientation.map(i32::from)) },
        Column { name: "color_transfer", unit: "", required: false, meaning: "Transfer function that the file states, in ffmpeg's words: `smpte2084` (PQ) and `arib-std-b67` (HLG) are HDR and were tone-mapped to SDR; null where the file states none", values: |r| text(r, |r| r.color_transfer.as_deref()) },
        Column { name: "duration_s", unit: "s", required: false, meaning: "Duration of a video, or of an animation that was sampled; null for a still picture", values: |r| float64(r, |r| r.duration_s) },
        Column { name: "frames_sampled", unit: "frames", required: true, meaning: "Frames that were wanted (1 for a still picture)", values: |r| int32(r, |r| Some(r.frames_sampled)) },
        Column { name: "frames_decoded", unit: "frames", required: true, meaning: "Frames that were had: rows of this media in `frames`", values: |r| int32(r, |r| Some(r.frames_decoded)) },
        Column { name: "frames_with_face", unit: "frames", required: true, meaning: "Frames with at least one face", values: |r| int32(r, |r| Some(r.frames_with_face)) },
        Column { name: "n_faces", unit: "faces", required: true, meaning: "Rows of this media in `faces`; the more there are, the higher the maximum of their scores by chance alone", values: |r| int32(r, |r| Some(r.n_faces)) },
        Column { name: "score_mean", unit: "[0, 1]", required: false, meaning: "Mean score of the faces (of the frames, where the scorer looks at frames); 1 is fake", values: |r| float32(r, |r| r.scores.map(|s| s.mean)) },
        Column { name: "score_median", unit: "[0, 1]", required: false, meaning: "Median of the same", values: |r| float32(r, |r| r.scores.map(|s| s.median)) },
        Column { name: "score_max", unit: "[0, 1]", required: false, meaning: "Highest of the same", values: |r| float32(r, |r| r.scores.map(|s| s.max)) },
        Column { name: "score_top3_mean", unit: "[0, 1]", required: false, meaning: "Mean of the three highest (of all, where there are fewer)", values: |r| float32(r, |r| r.scores.map(|s| s.mean_of_top)) },
        Column { name: "n_tracks", unit: "tracks", required: false, meaning: "Rows of this video in `tracks`; null for a still picture", values: |r| int32(r, |r| r.n_tracks) },
        Column { name: "score_track_max", unit: "[0, 1]", required: false, meaning: "Highest mean score of a track: somebody who looks fake throughout, where score_max may be one bad frame; null unless a track has a score", values: |r| float32(r, |r| r.score_track_max) },
        Column { name: "share_above_threshold", unit: "[0, 1]", required: false, meaning: "Share of the scored faces (of the frames, where the scorer looks at frames) whose logit reaches the threshold of the scorer's calibration; null where it has none", values: |r| float32(r, |r| r.share_above_threshold) },
        Column { name: "not_scored_reason", unit: "", required: false, meaning: "Why the scores are null: `no_scorer`, `no_face`, `rejected`, `not_finite`; null where they are not", values: |r| text(r, |r| r.not_scored.map(NotScored::as_str)) },
        Column { name: "decoder_message", unit: "", required: false, meaning: "What the decoder complained of, although it went on; null where it did not", values: |r| text(r, |r| r.decoder_message.as_deref()) },
        Column { name: "scorer", unit: "", required: false, meaning: "name@version of the scorer; null with `--scorer none`", values: |r| text(r, |r| r.scorer.as_deref()) },
        Column { name: "fingerprint", unit: "", required: true, meaning: "Hash of everything that changes a face or a score: weights, recipe, detector and sampling settings, versions of preprocessing and of decoding videos; not of limits, which only decide what is rejected", values: |r| text(r, |r| Some(&r.fingerprint)) },
        Column { name: "seconds_fetch", unit: "s", required: true, meaning: "Time from the request to the last byte", values: |r| float64(r, |r| Some(r.seconds.fetch)) },
        Column { name: "seconds_decode", unit: "s", required: true, meaning: "Time spent decoding", values: |r| float64(r, |r| Some(r.seconds.decode)) },
        Column { name: "seconds_detect", unit: "s", required: true, meaning: "Time spent finding faces and cutting them out", values: |r| float64(r, |r| Some(r.seconds.detect)) },
        Column { name: "seconds_embed", unit: "s", required: true, meaning: "This object's share of the time of its batches in tower and head", values: |r| float64(r, |r| Some(r.seconds.embed)) },
    ];
}
