//! Our own S3 server does what its rules say: what other tests rely on when they kill, throttle and lie.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use deepsweep::storage::s3::{S3Options, S3Store};
use deepsweep::storage::{SharedStore, StoreError};
use futures::{StreamExt, TryStreamExt};

use crate::program::Sweep;
use crate::servers::faults::{Fault, Operation, Rule, When};
use crate::servers::s3s_server::{S3Server, ServerOptions};

const BUCKET: &str = "bucket";

async fn store_at(server: &S3Server) -> SharedStore {
    server.create_bucket(BUCKET);
    let options = S3Options { max_attempts: 1, throttle_patience: Duration::ZERO, ..server.options() };
    Arc::new(S3Store::connect(BUCKET, &options).await.unwrap())
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < give_up, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Of eight keys those whose first and second GET fail.
async fn unlucky(order: impl Iterator<Item = usize>) -> BTreeSet<(usize, bool)> {
    let server = S3Server::start();
    let store = store_at(&server).await;
    for at in 0..8 {
        server.put(BUCKET, &at.to_string(), Bytes::from_static(b"x"));
    }
    let objects: Vec<_> = store.list("").try_collect().await.unwrap();
    let when = When::Share { seed: 7, per_mille: 400 };
    server.add_rule(Rule { operation: Some(Operation::Get), when, fault: Fault::Status(500, "InternalError") });
    let mut unlucky = BTreeSet::new();
    for at in order {
        for second in [false, true] {
            if store.get(&objects[at], 0).await.is_err() {
                unlucky.insert((at, second));
            }
        }
    }
    unlucky
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_calls_fails_whatever_their_order() {
    let forward = unlucky(0..8).await;
    assert_eq!(forward, unlucky((0..8).rev()).await);
    assert!((2..13).contains(&forward.len()), "400 of 1000: {forward:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_frozen_at_the_nth_call_has_done_it_or_not_and_nothing_behind_it() {
    for (applied, large) in [(true, false), (false, false), (true, true), (false, true)] {
        let server = S3Server::start();
        let store = store_at(&server).await;
        server.put(BUCKET, "there", Bytes::from_static(b"x"));
        server.freeze_at(2, applied);
        store.list("").next().await.unwrap().unwrap();
        // More than the buffers of a connection take in, so that the server must read to see the end of it.
        let body = Bytes::from(vec![1; if large { 16 << 20 } else { 10 }]);
        let second = tokio::spawn({
            let (store, body) = (Arc::clone(&store), body.clone());
            async move { store.put_new("second", body).await }
        });
        until("the second call is held", || server.is_frozen()).await;
        let third = tokio::spawn(async move { store.put_new("third", body).await });
        until("the third call came", || server.calls().len() == 3).await;
        assert_eq!(server.in_flight(), 2);
        // The client dies.
        second.abort();
        third.abort();
        until("no call is left over", || server.in_flight() == 0).await;
        server.clear_rules();
        let keys: &[&str] = if applied { &["second", "there"] } else { &["there"] };
        assert_eq!(server.keys(BUCKET), keys, "applied {applied}, large {large}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_hang_end_when_the_rules_are_cleared() {
    let server = S3Server::start();
    let store = store_at(&server).await;
    server.fail(Operation::List, 1, Fault::HangBefore);
    let listing = tokio::spawn(async move { store.list("").next().await });
    until("the call hangs", || server.in_flight() == 1).await;
    server.clear_rules();
    let found = listing.await.unwrap();
    assert!(matches!(found, Some(Err(StoreError::Transient { .. }))), "{found:?}");
    assert_eq!(server.in_flight(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_in_flight_are_counted_and_throttled_above_what_is_ordered() {
    // Long enough that all of them are under way before the first is answered, on a busy machine too.
    let answer_after = Duration::from_secs(2);
    let server = S3Server::start_with(ServerOptions { answer_after, ..ServerOptions::default() });
    let store = store_at(&server).await;
    for (capacity, expected_refused) in [(None, 0), (Some(4), 8)] {
        if let Some(calls) = capacity {
            server.throttle_above(calls);
        }
        let lists = (0..12).map(|_| store.list("").collect::<Vec<_>>());
        let answers = futures::future::join_all(lists).await;
        let refused = answers.iter().flatten().filter(|listed| listed.is_err()).count();
        assert_eq!(refused, expected_refused, "{answers:?}");
        assert_eq!((server.take_max_in_flight(), server.throttled()), (12, expected_refused as u64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_at_the_nth_call_leaves_no_call_behind() {
    for (nth, applied) in [(1, false), (3, true), (8, true), (8, false)] {
        let server = crate::run_sources::server_of_pictures();
        server.freeze_at(nth, applied);
        let sweep = Sweep { source: "s3://archive/", out: "s3://results/", scorer: "none", flags: &[] };
        let mut child = sweep.command(&server.environment()).spawn().unwrap();
        until("the call is held", || server.is_frozen()).await;
        assert!(server.in_flight() > 0 && child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        until("no call is left over", || server.in_flight() == 0).await;
        server.clear_rules();
        assert!(server.calls().len() as u64 >= nth);
    }
}
