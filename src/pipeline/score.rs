//! What is known of one media → its rows. Not scored is null, with the reason beside it.

use sha2::{Digest, Sha256};

use super::detect::DETECTOR;
use super::embed::{Embedded, FrameFaces, Outcome, Rejected};
use super::list::Media;
use crate::limits;
use crate::networks::weights::hexadecimal;
use crate::scorers::{CropKind, Score};
use crate::storage::ObjectMeta;
use crate::tables::embeddings::EmbeddingRow;
use crate::tables::faces::FaceRow;
use crate::tables::frames::FrameRow;
use crate::tables::media::{MediaRow, NotScored, ScoreSummary, Status};

/// What every row of a run says alike.
#[derive(Debug, Clone)]
pub struct RunFacts {
    pub bucket: String,
    pub fingerprint: String,
    /// None with `--scorer none`.
    pub scorer: Option<ScorerFacts>,
    /// Whether the embeddings table is written; never without a scorer.
    pub keep_embeddings: bool,
}

#[derive(Debug, Clone)]
pub struct ScorerFacts {
    pub id: String,
    pub tower_id: String,
    pub crop: CropKind,
}

/// The rows of one media.
#[derive(Debug)]
pub struct MediaRows {
    pub seq: u64,
    pub media: MediaRow,
    pub frames: Vec<FrameRow>,
    pub faces: Vec<FaceRow>,
    pub embeddings: Vec<EmbeddingRow>,
}

/// The rows of one outcome, whatever it is.
#[must_use]
pub fn rows(outcome: Outcome, facts: &RunFacts) -> MediaRows {
    match outcome {
        Ok(embedded) => scored_rows(embedded, facts),
        Err(rejected) => rejected_rows(*rejected, facts),
    }
}

/// Hash of bucket, key and version: 16 bytes of sha256 in hexadecimal.
#[must_use]
pub fn media_id(bucket: &str, object: &ObjectMeta) -> String {
    let version = object.version_id.as_deref().or(object.etag.as_deref()).unwrap_or("");
    let mut hasher = Sha256::new();
    for part in [bucket, &object.key, version] {
        hasher.update((part.len() as u64).to_le_bytes()); // so that no two triples run together
        hasher.update(part.as_bytes());
    }
    hexadecimal(&hasher.finalize()[..16])
}

fn rejected_rows(Rejected { media, rejection }: Rejected, facts: &RunFacts) -> MediaRows {
    let row = MediaRow {
        status: Status::Rejected,
        rejection: Some(rejection),
        not_scored: Some(NotScored::Rejected),
        ..media_row(&media, facts)
    };
    MediaRows { seq: media.seq, media: row, frames: vec![], faces: vec![], embeddings: vec![] }
}

fn scored_rows(embedded: Embedded, facts: &RunFacts) -> MediaRows {
    let Embedded { media, frames, crops } = embedded;
    let base = media_row(&media, facts);
    let mut scores = Scores::new(&frames);
    let mut embeddings = vec![];
    for crop in crops {
        *scores.place(crop.frame, crop.face) = Some(crop.scored.score.ok_or(NotScored::NotFinite));
        let is_finite = crop.scored.pooled.iter().all(|value| value.is_finite());
        if let Some(scorer) = facts.scorer.as_ref().filter(|_| facts.keep_embeddings && is_finite) {
            embeddings.push(EmbeddingRow {
                media_id: base.media_id.clone(),
                key: base.key.clone(),
                frame_index: frames[crop.frame].index,
                face_index: crop.face.map(|i| i as i32),
                tower: scorer.tower_id.clone(),
                vector: crop.scored.pooled,
            });
        }
    }
    let frame_rows: Vec<FrameRow> =
        frames.iter().zip(&scores.0).map(|(frame, scores)| frame_row(frame, scores, &base, facts)).collect();
    let faces: Vec<FaceRow> =
        frames.iter().zip(&scores.0).flat_map(|(frame, scores)| face_rows(frame, scores, &base, facts)).collect();

    let summary = match facts.scorer.as_ref().map(|scorer| scorer.crop) {
        Some(CropKind::Frame) => ScoreSummary::of(frame_rows.iter().filter_map(|f| f.frame_score), limits::TOP_K),
        Some(CropKind::Box) => ScoreSummary::of(faces.iter().filter_map(|f| f.score), limits::TOP_K),
        None => None,
    };
    let row = MediaRow {
        status: if faces.is_empty() && summary.is_none() { Status::NoFace } else { Status::Ok },
        not_scored: summary.is_none().then(|| reason(facts, !faces.is_empty())),
        frames_sampled: frames.len() as i32,
        frames_decoded: frames.len() as i32,
        frames_with_face: frame_rows.iter().filter(|frame| frame.n_faces > 0).count() as i32,
        n_faces: faces.len() as i32,
        scores: summary,
        ..base
    };
    MediaRows { seq: media.seq, media: row, frames: frame_rows, faces, embeddings }
}

/// Scores by frame: the frame's own, and each face's.
struct Scores(Vec<FrameScores>);

/// None where there was no crop to score.
type CropScore = Option<Result<Score, NotScored>>;

struct FrameScores {
    own: CropScore,
    faces: Vec<CropScore>,
}

impl Scores {
    fn new(frames: &[FrameFaces]) -> Self {
        let empty = |frame: &FrameFaces| FrameScores { own: None, faces: vec![None; frame.detections.len()] };
        Self(frames.iter().map(empty).collect())
    }

    fn place(&mut self, frame: usize, face: Option<usize>) -> &mut CropScore {
        let frame = &mut self.0[frame];
        match face {
            Some(face) => &mut frame.faces[face],
            None => &mut frame.own,
        }
    }
}

fn media_row(media: &Media, facts: &RunFacts) -> MediaRow {
    let object = &media.object;
    MediaRow {
        media_id: media_id(&facts.bucket, object),
        bucket: facts.bucket.clone(),
        key: object.key.clone(),
        etag: object.etag.clone(),
        version_id: object.version_id.clone(),
        size_bytes: object.size_bytes as i64,
        modified_us: object.modified.map(|time| time.timestamp_micros()),
        kind: media.kind,
        container: media.container,
        codec: media.codec,
        width_px: media.size_px.map(|(width, _)| width),
        height_px: media.size_px.map(|(_, height)| height),
        frames_sampled: i32::from(media.kind == Some("image")),
        scorer: facts.scorer.as_ref().map(|scorer| scorer.id.clone()),
        fingerprint: facts.fingerprint.clone(),
        seconds: media.seconds,
        ..MediaRow::default()
    }
}

fn frame_row(frame: &FrameFaces, scores: &FrameScores, media: &MediaRow, facts: &RunFacts) -> FrameRow {
    let best = scores.faces.iter().flatten().flatten().map(|s| s.score).max_by(f32::total_cmp);
    let frame_score = match facts.scorer.as_ref().map(|scorer| scorer.crop) {
        Some(CropKind::Frame) => scores.own.and_then(Result::ok).map(|s| s.score),
        _ => best,
    };
    FrameRow {
        media_id: media.media_id.clone(),
        key: media.key.clone(),
        frame_index: frame.index,
        pts_s: frame.pts_s,
        width_px: frame.size_px.0,
        height_px: frame.size_px.1,
        n_faces: frame.detections.len() as i32,
        best_face_score: best,
        frame_score,
        not_scored: frame_score.is_none().then(|| reason(facts, !frame.detections.is_empty())),
        scorer: media.scorer.clone(),
    }
}

fn face_rows(
    frame: &FrameFaces,
    scores: &FrameScores,
    media: &MediaRow,
    facts: &RunFacts,
) -> impl Iterator<Item = FaceRow> {
    // Why a face without a crop has no score.
    let no_crop = match facts.scorer.as_ref().map(|scorer| scorer.crop) {
        None => NotScored::NoScorer,
        Some(CropKind::Frame) => NotScored::FrameScorer,
        Some(CropKind::Box) => NotScored::OutOfFrame,
    };
    let scores = scores.faces.iter().map(move |score| score.unwrap_or(Err(no_crop)));
    frame.detections.iter().zip(scores).enumerate().map(move |(i, (detection, score))| FaceRow {
        media_id: media.media_id.clone(),
        key: media.key.clone(),
        frame_index: frame.index,
        pts_s: frame.pts_s,
        face_index: i as i32,
        track_id: None,
        face: detection.face,
        detector: DETECTOR,
        logit: score.ok().map(|s| s.logit),
        score: score.ok().map(|s| s.score),
        calibrated_score: None,
        not_scored: score.err(),
        sharpness: detection.sharpness,
        scorer: media.scorer.clone(),
    })
}

/// Why there is no score, given whether there is a face.
fn reason(facts: &RunFacts, has_face: bool) -> NotScored {
    match facts.scorer.as_ref().map(|scorer| scorer.crop) {
        None => NotScored::NoScorer,
        Some(CropKind::Box) if !has_face => NotScored::NoFace,
        Some(_) => NotScored::NotFinite,
    }
}
