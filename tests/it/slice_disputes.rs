//! Two attempts at one slice that saw different things: what the second makes of the parts of the first.

use std::sync::Arc;
use std::time::Duration;

use deepsweep::error::{Rejection, RejectionClass};
use deepsweep::pipeline::commit::Commit;
use deepsweep::pipeline::compute::Compute;
use deepsweep::pipeline::score::MediaRows;
use deepsweep::pipeline::slice::SliceParts;
use deepsweep::storage::Store;
use deepsweep::storage::memory::MemoryStore;
use deepsweep::tables::PartContext;
use deepsweep::tables::frames::FrameRow;
use deepsweep::tables::media::{MediaRow, NotScored, Status};
use futures::TryStreamExt;
use serde_json::Value;

use crate::program::{Row, rows_of_part};

/// What an attempt saw of an object: so many frames, or a reason why it could not be read.
type Saw = Result<i32, RejectionClass>;

fn rows(at: usize, saw: Saw) -> MediaRows {
    let media_id = format!("{at:032x}");
    let key = format!("{at}.mp4");
    let media = MediaRow {
        media_id: media_id.clone(),
        key: key.clone(),
        status: if saw.is_ok() { Status::NoFace } else { Status::Rejected },
        rejection: saw.err().map(|class| Rejection::new(class, "as it was found")),
        not_scored: Some(if saw.is_ok() { NotScored::NoScorer } else { NotScored::Rejected }),
        frames_decoded: saw.unwrap_or_default(),
        ..MediaRow::default()
    };
    let frame = |frame_index| FrameRow {
        media_id: media_id.clone(),
        key: key.clone(),
        frame_index,
        pts_s: None,
        width_px: 1,
        height_px: 1,
        n_faces: 0,
        best_face_score: None,
        frame_score: None,
        not_scored: Some(NotScored::NoScorer),
        scorer: None,
    };
    let frames = (0..saw.unwrap_or_default()).map(frame).collect();
    MediaRows { media: vec![media], frames, ..MediaRows::default() }
}

async fn commit(store: &Arc<MemoryStore>, saw: &[Saw]) -> bool {
    let context = PartContext {
        run_id: "run".into(),
        dt: "2026-01-02".into(),
        fingerprint: "f".into(),
        detection_fingerprint: "d".into(),
        limits: String::new(),
        shard: 0,
        slice: 0,
    };
    let mut parts = SliceParts::new(&context, false).unwrap();
    let rows: Vec<MediaRows> = saw.iter().enumerate().map(|(at, saw)| rows(at, *saw)).collect();
    parts.add(&rows).unwrap();
    let (scratch, compute) = (std::env::temp_dir(), Compute::new(1).unwrap());
    let commit = Commit {
        store: store.as_ref(),
        scratch: &scratch,
        device: "cpu",
        encode_time: Duration::ZERO,
        compute: &compute,
    };
    commit.commit(parts.finish().unwrap()).await.unwrap().is_some()
}

async fn read(store: &MemoryStore, table: &str) -> Vec<Row> {
    let mut found = vec![];
    for object in store.list(&format!("{table}/")).try_collect::<Vec<_>>().await.unwrap() {
        let pieces: Vec<bytes::Bytes> = store.get(&object, 0).await.unwrap().try_collect().await.unwrap();
        found.extend(rows_of_part(pieces.concat().into()));
    }
    found
}

/// The first attempt dies before its media part stands; the second writes what is missing. `expected`: of each object the
/// class in the media row that stands then.
async fn check(first: &[Saw], second: &[Saw], expected: &[Option<&str>]) {
    let whole = Arc::new(MemoryStore::new("results"));
    assert!(commit(&whole, first).await);
    let store = Arc::new(MemoryStore::new("results"));
    for object in whole.list("").try_collect::<Vec<_>>().await.unwrap() {
        if !object.key.starts_with("media/") {
            let pieces: Vec<bytes::Bytes> = whole.get(&object, 0).await.unwrap().try_collect().await.unwrap();
            store.put_new(&object.key, pieces.concat().into()).await.unwrap();
        }
    }
    assert!(commit(&store, second).await);
    let media = read(&store, "media").await;
    let classes: Vec<Option<&str>> = media.iter().map(|row| row["error_class"].as_str()).collect();
    assert_eq!(classes, expected, "{first:?} {second:?}");
    // Of what counts, the tables say the same.
    let frames = read(&store, "frames").await;
    for row in media.iter().filter(|row| row["status"] != "rejected") {
        let of_media = frames.iter().filter(|frame| frame["media_id"] == row["media_id"]).count();
        assert_eq!(row["frames_decoded"], Value::from(of_media as f64 as i64), "{row:?}");
    }
    // Whoever comes third finds it done.
    assert!(!commit(&store, first).await);
    assert_eq!(read(&store, "media").await, media);
}

#[tokio::test]
async fn attempts_that_saw_the_same_go_on_where_the_other_ended() {
    check(&[Ok(2), Ok(1)], &[Ok(2), Ok(1)], &[None, None]).await;
    check(&[Ok(2), Err(RejectionClass::Corrupt)], &[Ok(2), Err(RejectionClass::Corrupt)], &[None, Some("corrupt")])
        .await;
}

#[tokio::test]
async fn an_object_that_only_one_attempt_could_read_is_rejected_and_may_be_tried_again() {
    let failed = Err(RejectionClass::FetchFailed);
    check(&[Ok(2), failed], &[Ok(2), Ok(3)], &[None, Some("fetch_failed")]).await;
    check(&[Ok(2), Ok(3)], &[Ok(2), failed], &[None, Some("fetch_failed")]).await;
    check(&[Ok(2), Ok(3)], &[Err(RejectionClass::Vanished), Ok(3)], &[Some("fetch_failed"), None]).await;
    // Two minds about its content: neither is the last word.
    check(&[Ok(2), Ok(3)], &[Ok(2), Err(RejectionClass::Corrupt)], &[None, Some("fetch_failed")]).await;
}
