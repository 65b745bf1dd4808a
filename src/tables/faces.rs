//! `faces`: one row for every face in every frame.

use super::media::NotScored;
use super::{Column, Table, boolean, float32, float64, int32, text};
use crate::networks::mtcnn::Face;

#[derive(Debug, Clone)]
pub struct FaceRow {
    pub media_id: String,
    pub key: String,
    pub frame_index: i32,
    pub pts_s: Option<f64>,
    pub face_index: i32,
    pub track_id: Option<i32>,
    pub face: Face,
    pub detector: &'static str,
    pub logit: Option<f32>,
    pub score: Option<f32>,
    pub calibrated_score: Option<f32>,
    pub above_threshold: Option<bool>,
    pub not_scored: Option<NotScored>,
    pub sharpness: Option<f32>,
    pub scorer: Option<String>,
}

impl Table for FaceRow {
    const NAME: &'static str = "faces";
    const SORTED_BY: &'static [&'static str] = &["key", "frame_index", "face_index"];
    #[rustfmt::skip]
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "media_id", unit: "", required: true, meaning: "The media it belongs to", values: |r| text(r, |r| Some(&r.media_id)) },
        Column { name: "key", unit: "", required: true, meaning: "Key of that media", values: |r| text(r, |r| Some(&r.key)) },
        Column { name: "frame_index", unit: "", required: true, meaning: "Number of the frame in the order in which the video shows them, from 0; 0 for an image", values: |r| int32(r, |r| Some(r.frame_index)) },
        Column { name: "pts_s", unit: "s", required: false, meaning: "When the frame is shown, from the start of the video; null for a still picture", values: |r| float64(r, |r| r.pts_s) },
        Column { name: "face_index", unit: "", required: true, meaning: "Number of the face in its frame from 0, the most confident first", values: |r| int32(r, |r| Some(r.face_index)) },
        Column { name: "track_id", unit: "", required: false, meaning: "Row of `tracks` that it belongs to: one face through the frames of a video; null for a still picture", values: |r| int32(r, |r| r.track_id) },
        Column { name: "box_x0", unit: "px", required: true, meaning: "Left edge of the face in the frame, x to the right; may lie outside the frame", values: |r| float32(r, |r| Some(r.face.bounds.x0)) },
        Column { name: "box_y0", unit: "px", required: true, meaning: "Top edge, y down", values: |r| float32(r, |r| Some(r.face.bounds.y0)) },
        Column { name: "box_x1", unit: "px", required: true, meaning: "Right edge", values: |r| float32(r, |r| Some(r.face.bounds.x1)) },
        Column { name: "box_y1", unit: "px", required: true, meaning: "Bottom edge", values: |r| float32(r, |r| Some(r.face.bounds.y1)) },
        Column { name: "left_eye_x", unit: "px", required: true, meaning: "Landmarks: left and right as the viewer sees them", values: |r| float32(r, |r| Some(r.face.landmarks[0][0])) },
        Column { name: "left_eye_y", unit: "px", required: true, meaning: "", values: |r| float32(r, |r| Some(r.face.landmarks[0][1])) },
        Column { name: "right_eye_x", unit: "px", required: true, meaning: "", values: |r| float32(r, |r| Some(r.face.landmarks[1][0])) },
        Column { name: "right_eye_y", unit: "px", required: true, meaning: "", values: |r| float32(r, |r| Some(r.face.landmarks[1][1])) },
        Column { name: "nose_x", unit: "px", required: true, meaning: "", values: |r| float32(r, |r| Some(r.face.landmarks[2][0])) },
        Column { name: "nose_y", unit: "px", required: true, meaning: "", values: |r| float32(r, |r| Some(r.face.landmarks[2][1])) },
        Column { name: "left_mouth_x", unit: "px", required: true, meaning: "", values: |r| float32(r, |r| Some(r.face.landmarks[3][0])) },
        Column { name: "left_mouth_y", unit: "px", required: true, meaning: "", values: |r| float32(r, |r| Some(r.face.landmarks[3][1])) },
        Column { name: "right_mouth_x", unit: "px", required: true, meaning: "", values: |r| float32(r, |r| Some(r.face.landmarks[4][0])) },
        Column { name: "right_mouth_y", unit: "px", required: true, meaning: "", values: |r| float32(r, |r| Some(r.face.landmarks[4][1])) },
        Column { name: "confidence", unit: "[0, 1]", required: true, meaning: "How sure the detector is that this is a face", values: |r| float32(r, |r| Some(r.face.confidence)) },
        Column { name: "detector", unit: "", required: true, meaning: "Which detector found it", values: |r| text(r, |r| Some(r.detector)) },
        Column { name: "logit", unit: "log odds", required: false, meaning: "The head's raw output: log of the odds of fake against real", values: |r| float32(r, |r| r.logit) },
        Column { name: "score", unit: "[0, 1]", required: false, meaning: "sigmoid(logit); 1 is fake. Evidence, not a verdict, and no probability until calibrated", values: |r| float32(r, |r| r.score) },
        Column { name: "calibrated_score", unit: "[0, 1]", required: false, meaning: "The score after the scorer's calibration; null where the scorer has none", values: |r| float32(r, |r| r.calibrated_score) },
        Column { name: "above_threshold", unit: "", required: false, meaning: "Whether logit reaches the threshold of the scorer's calibration; null where it has none", values: |r| boolean(r, |r| r.above_threshold) },
        Column { name: "not_scored_reason", unit: "", required: false, meaning: "Why score is null: `no_scorer`, `frame_scorer` (the scorer looks at whole frames), `out_of_frame`, `not_finite`; null where it is not", values: |r| text(r, |r| r.not_scored.map(NotScored::as_str)) },
        Column { name: "sharpness", unit: "grey levels²", required: false, meaning: "Variance of the Laplacian of the luma inside the box: low for blurred faces; null where less than 3 px of it lie in the frame", values: |r| float32(r, |r| r.sharpness) },
        Column { name: "scorer", unit: "", required: false, meaning: "name@version of the scorer", values: |r| text(r, |r| r.scorer.as_deref()) },
    ];
}
