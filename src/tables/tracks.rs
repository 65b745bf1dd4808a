//! `tracks`: one row for every face that was followed through the frames of a video.

use std::collections::BTreeMap;

use super::faces::FaceRow;
use super::media::{NotScored, ScoreSummary};
use super::{Column, Table, float32, float64, int32, text};

#[derive(Debug, Clone)]
pub struct TrackRow {
    pub media_id: String,
    pub key: String,
    pub track_id: i32,
    pub n_faces: i32,
    pub first_frame_index: i32,
    pub last_frame_index: i32,
    pub first_pts_s: Option<f64>,
    pub last_pts_s: Option<f64>,
    pub best_confidence: f32,
    pub scores: Option<ScoreSummary>,
    pub not_scored: Option<NotScored>,
    pub scorer: Option<String>,
}

impl TrackRow {
    /// The tracks that the faces of one media and one scorer belong to, in ascending order. `faces`: in the order of
    /// their frames; those without a track count for nothing.
    #[must_use]
    pub fn of(faces: &[FaceRow], top_k: usize) -> Vec<Self> {
        let mut tracks: BTreeMap<i32, Vec<&FaceRow>> = BTreeMap::new();
        for face in faces {
            if let Some(track_id) = face.track_id {
                tracks.entry(track_id).or_default().push(face);
            }
        }
        tracks.into_iter().filter_map(|(track_id, faces)| Self::of_one(track_id, &faces, top_k)).collect()
    }

    fn of_one(track_id: i32, faces: &[&FaceRow], top_k: usize) -> Option<Self> {
        let (first, last) = (faces.first()?, faces.last()?);
        let scores = ScoreSummary::of(faces.iter().filter_map(|face| face.score), top_k);
        Some(Self {
            media_id: first.media_id.clone(),
            key: first.key.clone(),
            track_id,
            n_faces: faces.len() as i32,
            first_frame_index: first.frame_index,
            last_frame_index: last.frame_index,
            first_pts_s: first.pts_s,
            last_pts_s: last.pts_s,
            best_confidence: faces.iter().map(|face| face.face.confidence).max_by(f32::total_cmp)?,
            scores,
            not_scored: if scores.is_none() { first.not_scored } else { None },
            scorer: first.scorer.clone(),
        })
    }
}

impl Table for TrackRow {
    const NAME: &'static str = "tracks";
    const SORTED_BY: &'static [&'static str] = &["key", "track_id"];
    #[rustfmt::skip]
    const COLUMNS: &'static [Column<Self>] = &[
        Column { name: "media_id", unit: "", required: true, meaning: "The video it belongs to; a still picture has no tracks", values: |r| text(r, |r| Some(&r.media_id)) },
        Column { name: "key", unit: "", required: true, meaning: "Key of that video", values: |r| text(r, |r| Some(&r.key)) },
        Column { name: "track_id", unit: "", required: true, meaning: "Number of the track in its video from 0, as they appear; joins `faces`", values: |r| int32(r, |r| Some(r.track_id)) },
        Column { name: "n_faces", unit: "faces", required: true, meaning: "Rows of this track in `faces`, at most one for each frame", values: |r| int32(r, |r| Some(r.n_faces)) },
        Column { name: "first_frame_index", unit: "", required: true, meaning: "The first frame with a face of the track", values: |r| int32(r, |r| Some(r.first_frame_index)) },
        Column { name: "last_frame_index", unit: "", required: true, meaning: "The last one; frames between them may lack the face", values: |r| int32(r, |r| Some(r.last_frame_index)) },
        Column { name: "first_pts_s", unit: "s", required: false, meaning: "When the first one is shown, from the start of the video", values: |r| float64(r, |r| r.first_pts_s) },
        Column { name: "last_pts_s", unit: "s", required: false, meaning: "When the last one is shown, likewise", values: |r| float64(r, |r| r.last_pts_s) },
        Column { name: "best_confidence", unit: "[0, 1]", required: true, meaning: "Highest confidence of its faces", values: |r| float32(r, |r| Some(r.best_confidence)) },
        Column { name: "score_mean", unit: "[0, 1]", required: false, meaning: "Mean score of its faces; 1 is fake", values: |r| float32(r, |r| r.scores.map(|s| s.mean)) },
        Column { name: "score_median", unit: "[0, 1]", required: false, meaning: "Median of the same", values: |r| float32(r, |r| r.scores.map(|s| s.median)) },
        Column { name: "score_max", unit: "[0, 1]", required: false, meaning: "Highest of the same", values: |r| float32(r, |r| r.scores.map(|s| s.max)) },
        Column { name: "score_top3_mean", unit: "[0, 1]", required: false, meaning: "Mean of the three highest (of all, where there are fewer)", values: |r| float32(r, |r| r.scores.map(|s| s.mean_of_top)) },
        Column { name: "not_scored_reason", unit: "", required: false, meaning: "Why the scores are null: `no_scorer`, `frame_scorer` (the scorer looks at whole frames), `out_of_frame`, `not_finite`; null where they are not", values: |r| text(r, |r| r.not_scored.map(NotScored::as_str)) },
        Column { name: "scorer", unit: "", required: false, meaning: "name@version of the scorer", values: |r| text(r, |r| r.scorer.as_deref()) },
    ];
}
