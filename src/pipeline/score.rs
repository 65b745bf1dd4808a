//! What is known of one media → its rows. Not scored is null, with the reason beside it.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::detect::DETECTOR;
use super::embed::{Embedded, FrameFaces, Outcome, Rejected};
use super::list::{Media, SliceAt};
use super::track;
use crate::fingerprint::Fingerprint;
use crate::limits;
use crate::networks::weights::hexadecimal;
use crate::scorers::{Score, Scorer, ScorerSet};
use crate::storage::ObjectMeta;
use crate::tables::embeddings::EmbeddingRow;
use crate::tables::faces::FaceRow;
use crate::tables::frames::FrameRow;
use crate::tables::media::{MediaRow, NotScored, ScoreSummary, Status};
use crate::tables::tracks::TrackRow;

/// What every row of a run says alike.
#[derive(Debug, Clone)]
pub struct RunFacts {
    pub bucket: String,
    pub fingerprint: Fingerprint,
    pub scorers: Arc<ScorerSet>,
    /// Whether the embeddings table is written; never without a scorer.
    pub keep_embeddings: bool,
    /// What looks at the media: `cpu`, `cuda:0` …
    pub device: String,
    /// As [`crate::tables::PartContext`] has them.
    pub limits: String,
}

/// The rows of one media. With several scorers each of them has its own row of the media, of every frame, of
/// every face and of every track; with none there is one of each, without scores.
#[derive(Debug, Default)]
pub struct MediaRows {
    pub seq: u64,
    pub slice: SliceAt,
    pub media: Vec<MediaRow>,
    pub frames: Vec<FrameRow>,
    pub faces: Vec<FaceRow>,
    /// None but of a video.
    pub tracks: Vec<TrackRow>,
    pub embeddings: Vec<EmbeddingRow>,
}

/// The rows of one outcome, whatever it is.
#[must_use]
pub fn rows(outcome: Outcome, facts: &RunFacts) -> MediaRows {
    match outcome {
        Ok(embedded) => scored_rows(embedded, facts),
        Err(rejected) => rejected_rows(&rejected, facts),
    }
}

/// Hash of bucket, key and version: 16 bytes of sha256 in hexadecimal.
#[must_use]
pub fn media_id(bucket: &str, object: &ObjectMeta) -> String {
    hexadecimal(&media_number(bucket, object).to_be_bytes())
}

/// The same as a number.
#[must_use]
pub fn media_number(bucket: &str, object: &ObjectMeta) -> u128 {
    let version = object.version_id.as_deref().or(object.etag.as_deref()).unwrap_or("");
    let mut hasher = Sha256::new();
    for part in [bucket, &object.key, version] {
        hasher.update((part.len() as u64).to_le_bytes()); // so that no two triples run together
        hasher.update(part.as_bytes());
    }
    hasher.finalize()[..16].iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// Whose rows are made: a scorer's, by its place, or those of a run without one.
type Viewer<'a> = Option<(usize, &'a Scorer)>;

fn viewers(scorers: &ScorerSet) -> Vec<Viewer<'_>> {
    let viewers: Vec<_> = scorers.scorers().iter().enumerate().map(Some).collect();
    if viewers.is_empty() { vec![None] } else { viewers }
}

fn rejected_rows(Rejected { media, rejection }: &Rejected, facts: &RunFacts) -> MediaRows {
    let row = |viewer| MediaRow {
        status: Status::Rejected,
        rejection: Some(rejection.clone()),
        not_scored: Some(NotScored::Rejected),
        ..media_row(media, facts, viewer)
    };
    let rows = viewers(&facts.scorers).into_iter().map(row).collect();
    MediaRows { seq: media.seq, slice: media.slice, media: rows, ..MediaRows::default() }
}

fn scored_rows(embedded: Embedded, facts: &RunFacts) -> MediaRows {
    let embedded = in_order(embedded);
    let tracks = embedded.media.is_sequence().then(|| track::tracks(&embedded.frames));
    let Media { seq, slice, .. } = embedded.media;
    let mut rows = MediaRows { seq, slice, ..MediaRows::default() };
    for viewer in viewers(&facts.scorers) {
        add_rows_of(viewer, &embedded, tracks.as_deref(), facts, &mut rows);
    }
    // Tables are sorted by frame and face, or by track, then by scorer.
    rows.frames.sort_by_key(|row| row.frame_index);
    rows.faces.sort_by_key(|row| (row.frame_index, row.face_index));
    rows.tracks.sort_by_key(|row| row.track_id);
    if facts.keep_embeddings {
        rows.embeddings = embedding_rows(embedded, facts);
    }
    rows
}

/// Frames as the video shows them, whatever was decoded or embedded first, and crops in their order.
fn in_order(Embedded { media, mut frames, mut crops }: Embedded) -> Embedded {
    let mut order: Vec<usize> = (0..frames.len()).collect();
    order.sort_by_key(|at| frames[*at].index);
    let mut place = vec![0; frames.len()];
    for (new, old) in order.into_iter().enumerate() {
        place[old] = new;
    }
    frames.sort_by_key(|frame| frame.index);
    for crop in &mut crops {
        crop.frame = place[crop.frame];
    }
    crops.sort_by_key(|crop| (crop.frame, crop.face, crop.pass));
    Embedded { media, frames, crops }
}

/// One viewer's rows of the media, its frames, its faces and its tracks. `tracks`: one for each face of each frame of a
/// video.
fn add_rows_of(
    viewer: Viewer,
    embedded: &Embedded,
    tracks: Option<&[Vec<i32>]>,
    facts: &RunFacts,
    rows: &mut MediaRows,
) {
    let Embedded { media, frames, crops } = embedded;
    let base = media_row(media, facts, viewer);
    let mut scores = Scores::new(frames);
    if let Some((index, _)) = viewer {
        for crop in crops {
            let of_pass = &facts.scorers.passes()[crop.pass].scorers;
            if let Some(at) = of_pass.iter().position(|scorer| *scorer == index) {
                *scores.place(crop.frame, crop.face) = Some(crop.scored.scores[at].ok_or(NotScored::NotFinite));
            }
        }
    }
    let looks = Looks::of(viewer);
    let frame_rows: Vec<FrameRow> =
        frames.iter().zip(&scores.0).map(|(frame, scores)| frame_row(frame, scores, &base, looks)).collect();
    let mut face_rows: Vec<FaceRow> =
        frames.iter().zip(&scores.0).flat_map(|(frame, scores)| face_rows(frame, scores, &base, viewer)).collect();
    for (face, track_id) in face_rows.iter_mut().zip(tracks.iter().copied().flatten().flatten()) {
        face.track_id = Some(*track_id);
    }
    let track_rows = TrackRow::of(&face_rows, limits::TOP_K);

    let of_frames = scores.0.iter().filter_map(|frame| frame.own.and_then(Result::ok));
    let of_faces = scores.0.iter().flat_map(|frame| frame.faces.iter().filter_map(|face| face.and_then(Result::ok)));
    let scored: Vec<Score> = of_frames.chain(of_faces).collect();
    let summary = ScoreSummary::of(scored.iter().map(|score| score.score), limits::TOP_K);
    rows.media.push(MediaRow {
        status: if face_rows.is_empty() && summary.is_none() { Status::NoFace } else { Status::Ok },
        not_scored: summary.is_none().then(|| looks.reason(face_rows.iter().filter_map(|face| face.not_scored))),
        frames_decoded: frames.len() as i32,
        frames_with_face: frame_rows.iter().filter(|frame| frame.n_faces > 0).count() as i32,
        n_faces: face_rows.len() as i32,
        scores: summary,
        n_tracks: tracks.map(|_| track_rows.len() as i32),
        share_above_threshold: share_above(&scored, viewer),
        score_track_max: track_rows.iter().filter_map(|row| row.scores).map(|s| s.mean).max_by(f32::total_cmp),
        ..base
    });
    rows.frames.extend(frame_rows);
    rows.faces.extend(face_rows);
    rows.tracks.extend(track_rows);
}

/// None without a threshold, and where nothing was scored.
fn share_above(scored: &[Score], viewer: Viewer) -> Option<f32> {
    let calibration = viewer?.1.calibration.as_ref()?;
    let above: Vec<bool> = scored.iter().filter_map(|score| calibration.is_above(score.logit)).collect();
    (!above.is_empty()).then(|| above.iter().filter(|above| **above).count() as f32 / above.len() as f32)
}

/// Once for each crop and tower, however many heads looked at it. A vector that is not finite has no row.
fn embedding_rows(Embedded { media, frames, crops }: Embedded, facts: &RunFacts) -> Vec<EmbeddingRow> {
    let media_id = media_id(&facts.bucket, &media.object);
    let rows = crops.into_iter().filter(|crop| crop.scored.pooled.iter().all(|value| value.is_finite())).map(|crop| {
        let pass = &facts.scorers.passes()[crop.pass];
        EmbeddingRow {
            media_id: media_id.clone(),
            key: media.object.key.clone(),
            frame_index: frames[crop.frame].index,
            face_index: crop.face.map(|i| i as i32),
            crop: facts.scorers.crop_id(pass).to_owned(),
            tower: facts.scorers.tower_id(pass).to_owned(),
            vector: crop.scored.pooled,
        }
    });
    rows.collect()
}

/// What a viewer looks at, which is what its scores can be null for.
#[derive(Debug, Clone, Copy)]
struct Looks {
    at_frames: bool,
    at_faces: bool,
}

impl Looks {
    fn of(viewer: Viewer) -> Self {
        let crops = viewer.map_or(&[][..], |(_, scorer)| scorer.input.crops());
        Self {
            at_frames: crops.iter().any(|crop| crop.cut.is_of_frames()),
            at_faces: crops.iter().any(|crop| !crop.cut.is_of_frames()),
        }
    }

    /// Why a face that was not cut out has no score.
    fn no_crop(self) -> NotScored {
        match self {
            Self { at_faces: true, .. } => NotScored::OutOfFrame,
            Self { at_frames: true, .. } => NotScored::FrameScorer,
            Self { .. } => NotScored::NoScorer,
        }
    }

    /// Why a frame or a media has no score, given why its faces have none.
    fn reason(self, mut of_faces: impl Iterator<Item = NotScored>) -> NotScored {
        match self {
            Self { at_frames: true, .. } => NotScored::NotFinite,
            Self { at_faces: true, .. } => of_faces.next().unwrap_or(NotScored::NoFace),
            Self { .. } => NotScored::NoScorer,
        }
    }
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

fn media_row(media: &Media, facts: &RunFacts, viewer: Viewer) -> MediaRow {
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
        orientation: media.orientation,
        color_transfer: media.color_transfer.clone(),
        duration_s: media.duration_s,
        frames_sampled: media.frames_sampled.unwrap_or_else(|| i32::from(media.kind == Some("image"))),
        decoder_message: media.decoder_message.clone(),
        scorer: viewer.map(|(_, scorer)| scorer.id.clone()),
        fingerprint: facts.fingerprint.whole.clone(),
        seconds: media.seconds,
        ..MediaRow::default()
    }
}

fn frame_row(frame: &FrameFaces, scores: &FrameScores, media: &MediaRow, looks: Looks) -> FrameRow {
    let best = scores.faces.iter().flatten().flatten().map(|s| s.score).max_by(f32::total_cmp);
    let frame_score = if looks.at_frames { scores.own.and_then(Result::ok).map(|s| s.score) } else { best };
    let of_faces = scores.faces.iter().map(|score| score.and_then(Result::err).unwrap_or(looks.no_crop()));
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
        not_scored: frame_score.is_none().then(|| looks.reason(of_faces)),
        scorer: media.scorer.clone(),
    }
}

fn face_rows(
    frame: &FrameFaces,
    scores: &FrameScores,
    media: &MediaRow,
    viewer: Viewer,
) -> impl Iterator<Item = FaceRow> {
    let (looks, calibration) = (Looks::of(viewer), viewer.and_then(|(_, scorer)| scorer.calibration.as_ref()));
    let scores = scores.faces.iter().map(move |score| score.unwrap_or(Err(looks.no_crop())));
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
        calibrated_score: score.ok().zip(calibration).map(|(s, calibration)| calibration.score(s.logit)),
        above_threshold: score.ok().zip(calibration).and_then(|(s, calibration)| calibration.is_above(s.logit)),
        not_scored: score.err(),
        sharpness: detection.sharpness,
        scorer: media.scorer.clone(),
    })
}
