//! A server that throttles: fewer requests at once, waited out, never a storm; and who is to blame in the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use deepsweep::error::{Error, RejectionClass};
use deepsweep::storage::faulty::{self, Scripted};
use deepsweep::storage::s3::{S3Options, S3Store};
use deepsweep::storage::{ObjectMeta, SharedStore, StoreError};
use futures::{StreamExt, TryStreamExt};

use crate::program::{Sweep, landed_in_bucket, media, without};
use crate::run_sources::{OF_THE_STORE, PICTURES, from_server, server_of_pictures};
use crate::servers::faults::{Fault, Operation, Rule, When};
use crate::servers::s3s_server::{S3Server, ServerOptions};
use crate::video_fetch::{self, video};

const BUCKET: &str = "archive";
const SLOW_DOWN: Fault = Fault::Status(503, "SlowDown");

/// What a run asks for at once.
const FETCHES: usize = 24;

/// A store of so many objects at a server that takes a moment for each answer.
async fn store_of(objects: usize, options: S3Options, server: &S3Server) -> (SharedStore, Vec<ObjectMeta>) {
    for at in 0..objects {
        server.put(BUCKET, &format!("{at:05}"), Bytes::from(format!("object {at}")));
    }
    let store: SharedStore = Arc::new(S3Store::connect(BUCKET, &options).await.unwrap());
    let listed = store.list("").try_collect().await.unwrap();
    (store, listed)
}

fn server() -> S3Server {
    S3Server::start_with(ServerOptions { answer_after: Duration::from_millis(20), ..ServerOptions::default() })
}

async fn read_all(store: &SharedStore, objects: &[ObjectMeta]) -> Vec<Result<usize, StoreError>> {
    let read = |object: ObjectMeta| async move {
        Ok(store.get(&object, 0).await?.try_collect::<Vec<Bytes>>().await?.concat().len())
    };
    futures::stream::iter(objects.iter().cloned()).map(read).buffer_unordered(FETCHES).collect().await
}

fn always(operation: Operation) -> Rule {
    Rule { operation: Some(operation), when: When::From(1), fault: SLOW_DOWN }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_once_settle_at_what_the_server_takes_and_come_back_when_it_takes_all() {
    let server = server();
    let (store, objects) = store_of(3_000, server.options(), &server).await;
    server.throttle_above(6);
    let answers = read_all(&store, &objects[..1_000]).await;
    assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
    let pace = store.pace().unwrap();
    let (refused, gets) = (server.throttled(), server.count(Operation::Get));
    println!("capacity 6: {refused} of {gets} GETs refused, limit {} of {}", pace.limit, pace.max_limit);
    assert_eq!(pace.throttled, refused, "every attempt is seen");
    assert!(pace.limit < FETCHES, "{pace:?}");
    assert!(refused * 5 <= gets, "{refused} of {gets} requests were refused");

    server.clear_rules();
    // A round of good answers for each step: from 1 to 64 that is 2,016 of them.
    for objects in objects[1_000..].chunks(1_000).cycle().take(4) {
        assert!(read_all(&store, objects).await.iter().all(Result::is_ok));
    }
    let pace = store.pace().unwrap();
    assert_eq!(pace.limit, pace.max_limit, "{pace:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_throttle_meets_few_requests_and_is_waited_out() {
    let server = server();
    let (store, objects) = store_of(100, server.options(), &server).await;
    server.add_rule(always(Operation::Get));
    let reading = tokio::spawn({
        let (store, objects) = (Arc::clone(&store), objects.clone());
        async move { read_all(&store, &objects).await }
    });
    tokio::time::sleep(Duration::from_secs(12)).await;
    let early = server.count(Operation::Get);
    tokio::time::sleep(Duration::from_secs(13)).await;
    let all = server.count(Operation::Get);
    println!("throttled for 25 s: {early} GETs in the first 12 s, {} in the 13 s after", all - early);
    // All that were under way may make the SDK's five attempts; from then on one at a time makes them.
    assert!(early <= 6 * FETCHES as u64, "{early}");
    assert!(all - early <= 40, "{}", all - early);
    assert_eq!(store.pace().unwrap().limit, 1);

    server.clear_rules();
    let freed = Instant::now();
    let answers = reading.await.unwrap();
    assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
    println!("all read {:?} after its end", freed.elapsed());
    assert!(freed.elapsed() < Duration::from_secs(30), "{:?}", freed.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttle_that_outlasts_the_patience_says_whether_others_were_served() {
    for (one_alone, expected) in [(false, false), (true, true)] {
        let server = server();
        let patience = Duration::from_secs(2);
        let options = S3Options { throttle_patience: patience, max_attempts: 2, ..server.options() };
        let (store, objects) = store_of(40, options, &server).await;
        match one_alone {
            true => server.fail_key(Operation::Get, "00000", When::From(1), SLOW_DOWN),
            false => server.add_rule(always(Operation::Get)),
        }
        let began = Instant::now();
        let others = read_all(&store, if one_alone { &objects[1..] } else { &[] });
        let (found, others) = tokio::join!(store.get(&objects[0], 0), others);
        let Err(StoreError::Throttled { others_served, detail, .. }) = found.map(drop) else { panic!("no throttle") };
        assert_eq!(others_served, expected);
        assert!(detail.contains("503 SlowDown"), "{detail}");
        assert!(others.iter().all(Result::is_ok));
        // With another served for each refusal, it is soon clear whose fault it is.
        assert!(began.elapsed() < patience * 4, "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_waits_out_a_throttle() {
    for operation in [Operation::List, Operation::Get, Operation::Put, Operation::Head] {
        let server = server();
        // Each attempt is answered by our own waiting.
        let (store, objects) = store_of(1, S3Options { max_attempts: 1, ..server.options() }, &server).await;
        for nth in 1..=3 {
            server.fail(operation, nth, SLOW_DOWN);
        }
        match operation {
            Operation::List => assert_eq!(store.list("").count().await, 1),
            Operation::Get => assert!(store.get(&objects[0], 0).await.is_ok()),
            _ => {
                // The HEAD is how a lost answer is resolved.
                server.fail(Operation::Put, 4, Fault::ResetAfter);
                if operation == Operation::Head {
                    server.fail(Operation::Put, 1, Fault::ResetAfter);
                }
                store.put_new("part", Bytes::from_static(b"ours")).await.unwrap();
            }
        }
        assert_eq!(store.pace().unwrap().throttled, 3, "{operation:?}");
        assert!(store.pace().unwrap().limit < 64, "{operation:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_is_served_the_job_stops_and_where_others_are_the_object_has_its_row() {
    for others_served in [false, true] {
        let fault = faulty::Fault::Throttled { others_served };
        let (place, store) =
            video_fetch::Place::of(video(1_000), vec![Scripted { operation: faulty::Operation::Get, nth: 1, fault }]);
        match (place.try_fetch().await.1, others_served) {
            (Err(Error::TryAgain(message)), false) => assert!(message.contains("\"key\""), "{message}"),
            (Ok(Err(rejection)), true) => {
                assert_eq!((rejection.class, rejection.class.retryable()), (RejectionClass::FetchFailed, true));
            }
            (other, _) => panic!("others served: {others_served}: {other:?}"),
        }
        assert_eq!(store.calls(faulty::Operation::Get), 1, "the store has waited already");
        place.check_nothing_is_held();
    }
}

#[test]
fn a_run_that_is_throttled_at_every_third_call_finds_what_it_finds_without() {
    let server = server_of_pictures();
    let whole = from_server(&server, &[]);
    let when = When::Share { seed: 1, per_mille: 333 };
    server.add_rule(Rule { operation: None, when, fault: SLOW_DOWN });
    let sweep = Sweep { source: "s3://archive/", out: "s3://results/", scorer: "none", flags: &[] };
    sweep.succeed(&server.environment());
    let landed = landed_in_bucket(&server, "results", "");
    for key in PICTURES {
        assert_eq!(without(&media(&landed, key), &OF_THE_STORE), without(&media(&whole, key), &OF_THE_STORE));
    }
}

#[test]
fn a_run_waits_out_a_throttle_of_many_seconds_and_says_so_once() {
    let server = server_of_pictures();
    server.add_rule(always(Operation::Get));
    let child = Sweep { source: "s3://archive/", out: "s3://results/", scorer: "none", flags: &[] }
        .command(&server.environment())
        .spawn()
        .unwrap();
    // Longer than the SDK's attempts and ours took before a row was given up.
    std::thread::sleep(Duration::from_secs(45));
    server.clear_rules();
    let finished = crate::program::await_end(child);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(finished.stderr.matches("S3 throttles").count(), 1, "{}", finished.stderr);
    let landed = landed_in_bucket(&server, "results", "");
    assert!(PICTURES.iter().all(|key| media(&landed, key)["status"] != "rejected"));
}
