//! `frames`: one row for every frame that was decoded.

use super::media::NotScored;
use super::{Column, Table, float32, float64, int32, text};

#[derive(Debug, Clone)]
pub struct FrameRow {
    pub media_id: String,
    pub key: String,
    pub frame_index: i32,
    pub pts_s: Option<f64>,
    pub width_px: u32,
    pub height_px: u32,
    pub n_faces: i32,
    pub best_face_score: Option<f32>,
    pub frame_score: Option<f32>,
    pub not_scored: Option<NotScored>,
    pub scorer: Option<String>,
}

impl Table for FrameRow {
    const NAME: &'static str = "frames";
    const SORTED_BY: &'static [&'static str] = &["key", "frame_index"];
    #[rustfmt::skip]
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "media_id", unit: "", required: true, meaning: "The media it belongs to", values: |r| text(r, |r| Some(&r.media_id)) },
        Column { name: "key", unit: "", required: true, meaning: "Key of that media", values: |r| text(r, |r| Some(&r.key)) },
        Column { name: "frame_index", unit: "", required: true, meaning: "Number of the frame in the order in which the video shows them, from 0; 0 for an image", values: |r| int32(r, |r| Some(r.frame_index)) },
        Column { name: "pts_s", unit: "s", required: false, meaning: "When the frame is shown, from the start of the video; null for a still picture", values: |r| float64(r, |r| r.pts_s) },
        Column { name: "width", unit: "px", required: true, meaning: "Width of the frame, orientation applied", values: |r| int32(r, |r| Some(r.width_px as i32)) },
        Column { name: "height", unit: "px", required: true, meaning: "Height, likewise", values: |r| int32(r, |r| Some(r.height_px as i32)) },
        Column { name: "n_faces", unit: "faces", required: true, meaning: "Faces found in the frame", values: |r| int32(r, |r| Some(r.n_faces)) },
        Column { name: "best_face_score", unit: "[0, 1]", required: false, meaning: "Highest score of the frame's faces; 1 is fake", values: |r| float32(r, |r| r.best_face_score) },
        Column { name: "frame_score", unit: "[0, 1]", required: false, meaning: "Score of the frame: the scorer's own where it looks at frames, else the highest of its faces", values: |r| float32(r, |r| r.frame_score) },
        Column { name: "not_scored_reason", unit: "", required: false, meaning: "Why frame_score is null: `no_scorer`, `no_face`, `not_finite`; null where it is not", values: |r| text(r, |r| r.not_scored.map(NotScored::as_str)) },
        Column { name: "scorer", unit: "", required: false, meaning: "name@version of the scorer", values: |r| text(r, |r| r.scorer.as_deref()) },
    ];
}
