//! Bodies that are damaged on their way: dropped whole and fetched anew, wherever they had got to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deepsweep::error::RejectionClass;
use deepsweep::limits;
use deepsweep::storage::faulty::{self, Scripted};
use deepsweep::storage::s3::{S3Options, S3Store};
use deepsweep::storage::{SharedStore, StoreError};
use futures::{StreamExt, TryStreamExt};

use crate::program::{Landed, media, without};
use crate::run_sources::{OF_THE_STORE, folder_of_pictures, from_folder, from_server, server_of_pictures};
use crate::servers::faults::{Fault, Operation, When};
use crate::servers::s3s_server::{S3Server, ServerOptions};
use crate::video_fetch::{self, check_holds, video};

const BUCKET: &str = "archive";
static BODY: [u8; 300_000] = [7; 300_000];

async fn read(store: &SharedStore, offset_bytes: u64) -> Result<Bytes, StoreError> {
    let object = store.list("").next().await.unwrap().unwrap();
    Ok(store.get(&object, offset_bytes).await?.try_collect::<Vec<Bytes>>().await?.concat().into())
}

async fn store_at(server: &S3Server) -> SharedStore {
    server.put(BUCKET, "key", &BODY[..]);
    // A cut connection may end before its headers left the server, and the SDK would ask again by itself.
    let options = S3Options { max_attempts: 1, ..server.options() };
    Arc::new(S3Store::connect(BUCKET, &options).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_what_was_sent_is_damaged_at_its_end() {
    let server = S3Server::start();
    let store = store_at(&server).await;
    for at in [0, 150_000, BODY.len() - 1] {
        server.fail(Operation::Get, 1, Fault::FlippedByte(at));
        let found = read(&store, 0).await;
        let Err(StoreError::Damaged { what, detail }) = &found else { panic!("byte {at}: {found:?}") };
        assert!(what.contains("s3://archive/key") && detail.contains("checksum"), "{what}: {detail}");
        assert_eq!(read(&store, 0).await.unwrap(), &BODY[..], "asked again");
        server.clear_rules();
    }
    // A body that breaks off is no damaged one: what came of it is good.
    server.fail(Operation::Get, 1, Fault::CutBody(100_000));
    let found = read(&store, 0).await;
    assert!(matches!(found, Err(StoreError::Transient { .. })), "{found:?}");
    assert_eq!(read(&store, 100_000).await.unwrap().len(), 200_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_checksums_is_believed() {
    let server = S3Server::start_with(ServerOptions { checksums: false, ..ServerOptions::default() });
    let store = store_at(&server).await;
    assert_eq!(read(&store, 0).await.unwrap(), &BODY[..]);
    server.fail(Operation::Get, 1, Fault::FlippedByte(0));
    assert_ne!(read(&store, 0).await.unwrap(), &BODY[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_damaged_on_its_way_is_sent_again() {
    for code in ["BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"] {
        let server = S3Server::start();
        server.create_bucket(BUCKET);
        let options = S3Options { throttle_patience: Duration::ZERO, ..server.options() };
        let store = S3Store::connect(BUCKET, &options).await.unwrap();
        let store: SharedStore = Arc::new(store);
        server.fail(Operation::Put, 1, Fault::Status(400, code));
        store.put_new("part", Bytes::from_static(b"ours")).await.unwrap();
        assert_eq!((server.get(BUCKET, "part").unwrap(), server.count(Operation::Put)), ("ours".into(), 2), "{code}");
    }
}

fn damaged(nth: u64, flipped: u64) -> Scripted {
    Scripted { operation: faulty::Operation::Get, nth, fault: faulty::Fault::Damaged { flipped } }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_was_damaged_is_written_anew() {
    // In memory, and in the scratch folder.
    for bytes in [100_000, 900_000] {
        let cut = Scripted { operation: faulty::Operation::Get, nth: 2, fault: faulty::Fault::Cut { after: 60_000 } };
        // Of the second body the beginning came well, the third is read on from there.
        let (place, store) = video_fetch::Place::of(video(bytes), vec![damaged(1, 0), cut]);
        check_holds(&place.fetch().await, &video(bytes));
        assert_eq!(store.calls(faulty::Operation::Get), 3);
        place.check_nothing_is_held();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_is_damaged_again_and_again_is_given_up_and_leaves_nothing() {
    for bytes in [100_000, 900_000] {
        let script = (1..=u64::from(limits::FETCH_ATTEMPTS)).map(|nth| damaged(nth, 0)).collect();
        let (place, store) = video_fetch::Place::of(video(bytes), script);
        let rejection = place.rejection().await;
        assert_eq!(rejection.class, RejectionClass::FetchFailed);
        assert_eq!(store.calls(faulty::Operation::Get), u64::from(limits::FETCH_ATTEMPTS));
        place.check_nothing_is_held();
    }
}

#[test]
fn a_run_over_damaged_bodies_finds_what_it_finds_without() {
    let server = server_of_pictures();
    for (key, at) in [("group.jpg", 20_000), ("astronaut.jpg", 700)] {
        server.fail_key(Operation::Get, key, When::Nth(1), Fault::FlippedByte(at));
    }
    let of = |landed: &Landed, key: &str| without(&media(landed, key), &OF_THE_STORE);
    let (landed, whole) = (from_server(&server, &[]), from_folder(folder_of_pictures().path(), &[]));
    for key in ["group.jpg", "astronaut.jpg"] {
        assert_eq!(of(&landed, key), of(&whole, key));
    }
}
