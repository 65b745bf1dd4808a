//! From the faces of a video's frames to its rows: tracks, and what each of several scorers says of them.

use std::sync::Arc;

use deepsweep::fingerprint::Fingerprint;
use deepsweep::networks::mtcnn::{Face, FaceBox};
use deepsweep::pipeline::detect::Detection;
use deepsweep::pipeline::embed::{Embedded, EmbeddedCrop, FrameFaces, Rejected};
use deepsweep::pipeline::list::{Media, SliceAt};
use deepsweep::pipeline::score::{MediaRows, RunFacts, rows};
use deepsweep::scorers::{Score, ScoredCrop, ScorerSet};
use deepsweep::storage::ObjectMeta;
use deepsweep::tables::media::NotScored;
use deepsweep::tables::tracks::TrackRow;

use crate::probe::{BOX, Choices, PLAIN, named, open_all};

/// The frames of a video as they may come: the last one first. Three faces; the third is in the last frame alone.
const FRAMES: [(i32, &[f32]); 3] = [(20, &[108.0, 900.0]), (0, &[100.0, 400.0]), (10, &[403.0, 104.0])];

/// Frame and face of each track, in the order in which the video shows them.
const TRACKS: [&[(i32, usize)]; 3] = [&[(0, 0), (10, 1), (20, 0)], &[(0, 1), (10, 0)], &[(20, 1)]];

/// Nothing of the third face lies in the frame: no crop, no score.
const OUTSIDE: (i32, usize) = (20, 1);

fn frame((index, lefts): (i32, &[f32])) -> FrameFaces {
    let detection = |x0: &f32| Detection {
        face: Face {
            bounds: FaceBox { x0: *x0, y0: 50.0, x1: x0 + 60.0, y1: 120.0 },
            landmarks: [[0.0; 2]; 5],
            confidence: 0.9 + x0 / 1e5,
        },
        sharpness: None,
    };
    FrameFaces {
        index,
        pts_s: Some(f64::from(index) / 10.0),
        size_px: (640, 480),
        detections: lefts.iter().map(detection).collect(),
    }
}

/// Another number for each scorer, frame and face.
fn score_of(scorer: usize, frame_index: i32, face: Option<usize>) -> Score {
    let score = 0.1 + 0.2 * scorer as f32 + 0.005 * frame_index as f32 + face.map_or(0.05, |face| 0.01 * face as f32);
    Score { logit: score, score }
}

fn crops(scorers: &ScorerSet) -> Vec<EmbeddedCrop> {
    let mut crops = vec![];
    for (pass_at, pass) in scorers.passes().iter().enumerate() {
        for (frame, (index, lefts)) in FRAMES.into_iter().enumerate() {
            let of_frames = scorers.crops()[pass.crop].cut.is_of_frames();
            let faces = (0..lefts.len()).filter(|face| (index, *face) != OUTSIDE).map(Some);
            for face in if of_frames { vec![None] } else { faces.collect() } {
                let scores = pass.scorers.iter().map(|scorer| Some(score_of(*scorer, index, face))).collect();
                let scored = ScoredCrop { pooled: vec![index as f32], scores };
                crops.push(EmbeddedCrop { frame, face, pass: pass_at, scored });
            }
        }
    }
    crops
}

fn media_of(kind: &'static str) -> Media {
    let object = ObjectMeta { key: "a.mp4".to_owned(), size_bytes: 1, etag: None, version_id: None, modified: None };
    Media {
        kind: Some(kind),
        codec: (kind == "video").then_some("h264"),
        duration_s: (kind == "video").then_some(2.5),
        frames_sampled: (kind == "video").then_some(4),
        decoder_message: (kind == "video").then(|| "one slice is damaged".to_owned()),
        ..Media::new(0, SliceAt::default(), object)
    }
}

fn facts(scorers: ScorerSet) -> RunFacts {
    let bucket = "b".to_owned();
    let fingerprint = Fingerprint { detection: "d".to_owned(), whole: "f".to_owned() };
    RunFacts {
        bucket,
        fingerprint,
        scorers: Arc::new(scorers),
        keep_embeddings: true,
        device: "cpu".to_owned(),
        limits: String::new(),
    }
}

fn rows_of(kind: &'static str, scorers: ScorerSet) -> MediaRows {
    let (frames, crops) = (FRAMES.map(frame).to_vec(), crops(&scorers));
    rows(Ok(Embedded { media: media_of(kind), frames, crops }), &facts(scorers))
}

/// A scorer of faces, one of frames, and one of both.
fn three_scorers() -> ScorerSet {
    let faces = named("faces", Choices { crop: BOX, ..PLAIN }).write();
    let frames = named("frames", PLAIN).write();
    let both = named("both", Choices { crop: "crop = [\"frame\", \"box\"]\nmargin = 0.25", ..PLAIN }).write();
    open_all(&[faces.path(), frames.path(), both.path()])
}

fn check_near(found: Option<f32>, expected: f32, what: &str) {
    let found = found.unwrap_or_else(|| panic!("{what}: expected {expected}, found none"));
    assert!((found - expected).abs() < 1e-6, "{what}: expected {expected}, found {found}");
}

fn mean(scores: &[f32]) -> f32 {
    scores.iter().sum::<f32>() / scores.len() as f32
}

fn check_track(row: &TrackRow, scorer: usize) {
    let faces = TRACKS[row.track_id as usize];
    let ((first, _), (last, _)) = (faces[0], faces[faces.len() - 1]);
    assert_eq!((row.key.as_str(), row.n_faces), ("a.mp4", faces.len() as i32));
    assert_eq!((row.first_frame_index, row.last_frame_index), (first, last));
    assert_eq!((row.first_pts_s, row.last_pts_s), (Some(f64::from(first) / 10.0), Some(f64::from(last) / 10.0)));
    let why = match (scorer, row.track_id) {
        (1, _) => Some(NotScored::FrameScorer),
        (_, 2) => Some(NotScored::OutOfFrame),
        _ => None,
    };
    assert_eq!((row.not_scored, row.scores.is_none()), (why, why.is_some()), "{row:?}");
    if why.is_none() {
        let scores: Vec<f32> = faces.iter().map(|(frame, face)| score_of(scorer, *frame, Some(*face)).score).collect();
        let what = format!("track {} of scorer {scorer}", row.track_id);
        check_near(row.scores.map(|s| s.mean), mean(&scores), &what);
        check_near(row.scores.map(|s| s.max), scores.iter().copied().fold(0.0, f32::max), &what);
    }
}

#[test]
fn a_video_has_a_row_for_each_track_and_scorer() {
    let rows = rows_of("video", three_scorers());
    let order: Vec<_> = rows.tracks.iter().map(|row| (row.track_id, row.scorer.as_deref().unwrap())).collect();
    let ids = ["faces@1", "frames@1", "both@1"];
    let expected: Vec<_> = (0..3).flat_map(|track| ids.map(|scorer| (track, scorer))).collect();
    assert_eq!(order, expected);
    for row in &rows.tracks {
        check_track(row, ids.iter().position(|id| row.scorer.as_deref() == Some(*id)).unwrap());
    }
    // The third face is the rightmost, and so the most confident one here.
    assert!(rows.tracks[6].best_confidence > rows.tracks[3].best_confidence);
    for (scorer, row) in rows.media.iter().enumerate() {
        assert_eq!((row.n_tracks, row.n_faces, row.frames_sampled, row.frames_decoded), (Some(3), 6, 4, 3));
        assert_eq!((row.codec, row.duration_s), (Some("h264"), Some(2.5)));
        assert_eq!(row.decoder_message.as_deref(), Some("one slice is damaged"));
        let of_track = |track: &[(i32, usize)]| {
            mean(&track.iter().map(|(frame, face)| score_of(scorer, *frame, Some(*face)).score).collect::<Vec<_>>())
        };
        match scorer {
            1 => assert_eq!(row.score_track_max, None),
            _ => check_near(row.score_track_max, of_track(TRACKS[0]).max(of_track(TRACKS[1])), "score_track_max"),
        }
    }
}

#[test]
fn rows_are_in_the_order_of_the_video_and_each_score_is_at_its_face() {
    let rows = rows_of("video", three_scorers());
    let frames: Vec<i32> = rows.frames.iter().map(|row| row.frame_index).collect();
    assert_eq!(frames, [0, 0, 0, 10, 10, 10, 20, 20, 20]);
    assert_eq!(rows.faces.len(), 3 * 6);
    for (row, scorer) in rows.faces.iter().zip([0, 1, 2].into_iter().cycle()) {
        let (frame, face) = (row.frame_index, row.face_index as usize);
        let track = TRACKS.iter().position(|track| track.contains(&(frame, face)));
        assert_eq!(row.track_id.map(|id| id as usize), track);
        let expected = score_of(scorer, frame, Some(face)).score;
        let expected = (scorer != 1 && (frame, face) != OUTSIDE).then_some(expected);
        assert_eq!(row.score, expected, "frame {frame}, face {face}, scorer {scorer}");
    }
    for row in rows.frames.iter().filter(|row| row.scorer.as_deref() == Some("frames@1")) {
        assert_eq!(row.frame_score, Some(score_of(1, row.frame_index, None).score));
    }
    let embeddings: Vec<_> = rows.embeddings.iter().map(|row| (row.frame_index, row.face_index)).collect();
    assert!(embeddings.is_sorted() && embeddings.len() == 3 + 5, "{embeddings:?}");
    assert!(rows.embeddings.iter().all(|row| row.vector == [row.frame_index as f32]));
}

#[test]
fn a_run_without_a_scorer_has_tracks_without_scores() {
    let rows = rows_of("video", ScorerSet::none());
    assert_eq!(rows.tracks.len(), 3);
    for row in &rows.tracks {
        assert_eq!((row.scores, row.not_scored, &row.scorer), (None, Some(NotScored::NoScorer), &None));
    }
    assert_eq!((rows.media[0].n_tracks, rows.media[0].score_track_max), (Some(3), None));
}

#[test]
fn an_image_has_no_tracks_and_neither_has_a_video_that_was_rejected() {
    let rows_of_image = rows_of("image", three_scorers());
    assert!(rows_of_image.tracks.is_empty() && rows_of_image.faces.iter().all(|row| row.track_id.is_none()));
    let row = &rows_of_image.media[0];
    assert_eq!((row.n_tracks, row.score_track_max, row.frames_sampled), (None, None, 1));

    use deepsweep::error::{Rejection, RejectionClass};
    let rejection = Rejection::new(RejectionClass::Corrupt, "no frame");
    let rejected = Rejected { media: media_of("video"), rejection };
    let rows = rows(Err(Box::new(rejected)), &facts(ScorerSet::none()));
    assert!(rows.tracks.is_empty() && rows.media.len() == 1);
    let row = &rows.media[0];
    assert_eq!((row.n_tracks, row.frames_sampled, row.frames_decoded, row.duration_s), (None, 4, 0, Some(2.5)));
    assert_eq!(row.decoder_message.as_deref(), Some("one slice is damaged"));
}

#[test]
fn a_video_without_a_face_has_no_tracks_and_says_so() {
    let frames = vec![frame((0, &[]))];
    let embedded = Embedded { media: media_of("video"), frames, crops: vec![] };
    let rows = rows(Ok(embedded), &facts(ScorerSet::none()));
    assert_eq!((rows.tracks.len(), rows.media[0].n_tracks), (0, Some(0)));
}
