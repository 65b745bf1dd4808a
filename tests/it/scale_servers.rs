//! Servers that are not Amazon's as destination of a run that is killed: without conditional writes, and moto.

use std::time::{Duration, Instant};

use crate::planned::{
    ONE_SLICE_EACH, archive_with, check_same, landed, objects_of_archive, succeed, sweep, take_landed, undisturbed_with,
};
use crate::program::{Landed, Sweep, finish, landed_in_folder};
use crate::run_sources::{RESULTS, text};
use crate::scale_kills::killed_at;
use crate::servers::faults::Operation;
use crate::servers::moto::MotoServer;
use crate::servers::s3s_server::{S3Server, ServerOptions};

const UNCONDITIONAL: [&str; 1] = ["--unconditional-writes"];

/// One of so many calls, and another of them for each kind.
const STEP: usize = 3;

fn check_killed(server: &S3Server) {
    let expected = undisturbed_with(server, &UNCONDITIONAL);
    let mut puts = 0;
    for (applied, first) in [(false, 1), (true, 3)] {
        for call in (first..).step_by(STEP) {
            let Some(operation) = killed_at(server, call, applied, &UNCONDITIONAL) else { break };
            puts += u64::from(operation == Operation::Put);
            succeed(sweep("run", &UNCONDITIONAL, &server.environment()));
            let found = take_landed(server);
            let why = format!("call {call}, {operation:?}, applied: {applied}");
            assert!(found.keys().eq(expected.keys()), "{why}: {:?}\n{:?}", found.keys(), expected.keys());
            check_same(&found, &expected);
        }
    }
    assert!(puts > 2, "{puts} writes were hit");
}

#[test]
fn a_run_at_a_server_that_refuses_conditions_says_so_and_is_made_whole_after_kills_where_it_is_allowed() {
    let server = archive_with(2, ServerOptions { conditional_writes: false, ..ServerOptions::default() });
    for command in ["run", "plan"] {
        let refused = finish(sweep(command, &[], &server.environment()));
        assert_eq!(refused.code, Some(3), "{}", refused.stderr);
        assert!(refused.stderr.contains("--unconditional-writes"), "{}", refused.stderr);
        assert!(landed(&server).is_empty());
    }
    check_killed(&server);
}

#[test]
fn a_run_at_a_server_that_passes_over_conditions_is_made_whole_after_kills() {
    check_killed(&archive_with(2, ServerOptions { passes_over_conditions: true, ..ServerOptions::default() }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_into_moto_that_is_killed_in_the_middle_is_made_whole_by_the_next_attempt() {
    let (source, undisturbed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (name, body) in objects_of_archive(12) {
        std::fs::write(source.path().join(name), body).unwrap();
    }
    let sweep = |out| Sweep { source: text(source.path()), out, scorer: "none", flags: &ONE_SLICE_EACH };
    sweep(text(undisturbed.path())).succeed(&[]);

    let server = MotoServer::start();
    let client = server.client();
    client.create_bucket().bucket(RESULTS).send().await.unwrap();
    let keys = async || {
        let mut keys = vec![];
        let mut pages = client.list_objects_v2().bucket(RESULTS).into_paginator().send();
        while let Some(page) = pages.next().await {
            keys.extend(page.unwrap().contents().iter().map(|object| object.key().unwrap().to_owned()));
        }
        keys
    };
    let media = |keys: &[String]| keys.iter().filter(|key| key.starts_with("media/")).count();
    let mut child = sweep("s3://results").command(&server.environment()).spawn().unwrap();
    let give_up = Instant::now() + Duration::from_secs(120);
    while media(&keys().await) < 3 {
        assert!(Instant::now() < give_up && child.try_wait().unwrap().is_none(), "no three slices");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let standing = keys().await;
    assert!(media(&standing) < 12, "the kill came too late");

    for _ in 0..2 {
        sweep("s3://results").succeed(&server.environment());
    }
    let mut found = Landed::new();
    for key in keys().await {
        let body = client.get_object().bucket(RESULTS).key(&key).send().await.unwrap().body;
        found.insert(key, body.collect().await.unwrap().into_bytes());
    }
    check_same(&found, &landed_in_folder(undisturbed.path()));
}
