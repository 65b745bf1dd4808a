//! SIGTERM to one of many workers and to a planner: what is whole stands, and the next attempt does the rest.

use std::time::Duration;

use crate::planned::{archive, check_same, landed, step, succeed, sweep, undisturbed};
use crate::program::{Landed, await_end, finish, rows};
use crate::run_signals::{QUICKLY, check_stopped, signal, stop, wait_until};
use crate::servers::faults::{Fault, Operation, Rule, When};
use crate::servers::s3s_server::S3Server;

/// What Batch, Kubernetes and Slurm all leave between the signal and the kill, less ten seconds.
const GRACE: Duration = Duration::from_secs(20);

fn media_parts(server: &S3Server) -> usize {
    server.keys("results").iter().filter(|key| key.starts_with("media/")).count()
}

#[test]
fn sigterm_ends_a_worker_with_its_finished_slices_and_the_next_attempt_does_the_others() {
    let server = archive(8);
    let environment = server.environment();
    let expected = undisturbed(&server);
    succeed(sweep("plan", &["--shards", "2"], &environment));
    for key in ["004.mp4", "006.mp4", "007.mp4"] {
        server.fail_key(Operation::Get, key, When::From(1), Fault::StallBody(5));
    }
    let worker = step("work", &[], &environment).spawn().unwrap();
    wait_until("five slices", || media_parts(&server) == 5);
    let stopped = stop(worker, "TERM");
    check_stopped(&stopped, GRACE, "5 objects have their rows");
    assert!(stopped.stderr.contains("the same command goes on"), "{}", stopped.stderr);
    let early = landed(&server);
    assert_eq!(rows(&early, "media").len(), 5);
    let tables = ["faces", "frames", "media", "tracks"];
    let parts = |landed: &Landed, table: &str| landed.keys().filter(|key| key.starts_with(table)).count();
    assert_eq!(tables.map(|table| parts(&early, table)), [5; 4], "{:?}", early.keys());
    let unfinished = finish(step("finish", &[], &environment));
    assert!(unfinished.code == Some(3) && unfinished.stderr.contains("3 missing"), "{}", unfinished.stderr);
    server.clear_rules();
    succeed(step("work", &[], &environment));
    succeed(step("finish", &[], &environment));
    let found = landed(&server);
    assert!(early.iter().all(|(key, body)| found[key] == *body), "what stood was written anew");
    check_same(&found, &expected);
}

#[test]
fn sigterm_waits_for_a_slice_that_is_being_written() {
    let server = archive(3);
    let environment = server.environment();
    let expected = undisturbed(&server);
    succeed(sweep("plan", &[], &environment));
    let of_first = |table: &str| format!("{table}/dt=2026-01-02/run=first/part-00000-000000.parquet");
    server.fail_key(Operation::Get, "002.mp4", When::From(1), Fault::StallBody(5));
    server.fail_key(Operation::Put, &of_first("tracks"), When::From(1), Fault::HangBefore);
    let worker = step("work", &[], &environment).spawn().unwrap();
    wait_until("a body that stalls and a write that hangs", || server.struck() == 2);
    signal(&worker, "TERM");
    std::thread::sleep(Duration::from_secs(1));
    assert!(!server.keys("results").contains(&of_first("media")));
    server.clear_rules(); // the write is asked for again
    check_stopped(&await_end(worker), GRACE, "objects have their rows");
    assert!(server.keys("results").contains(&of_first("media")));
    succeed(step("work", &[], &environment));
    succeed(step("finish", &[], &environment));
    check_same(&landed(&server), &expected);
}

#[test]
fn sigterm_ends_a_planner_whatever_request_hangs_and_the_next_attempt_makes_the_plan() {
    // The listing of the source, a file of the plan, and the plan itself.
    for (operation, nth) in [(Operation::List, 1), (Operation::List, 6), (Operation::Put, 1), (Operation::Put, 3)] {
        let server = archive(4);
        let before = server.struck();
        server.add_rule(Rule { operation: Some(operation), when: When::From(nth), fault: Fault::HangBefore });
        let planner = sweep("plan", &["--shards", "2"], &server.environment()).spawn().unwrap();
        wait_until("a request that hangs", || server.struck() > before);
        check_stopped(&stop(planner, "TERM"), QUICKLY, "stopped by a signal");
        assert!(!server.keys("results").contains(&"_runs/first/plan.json".to_owned()), "{operation:?}");
        server.clear_rules();
        for command in [
            sweep("plan", &["--shards", "2"], &server.environment()),
            step("work", &[], &server.environment()),
            step("finish", &[], &server.environment()),
        ] {
            succeed(command);
        }
        assert_eq!(rows(&landed(&server), "media").len(), 4, "{operation:?} {nth}");
    }
}

#[test]
fn sigterm_ends_a_finisher_whose_request_hangs_and_the_next_attempt_finishes() {
    for operation in [Operation::List, Operation::Put] {
        let server = archive(2);
        let environment = server.environment();
        succeed(sweep("plan", &[], &environment));
        succeed(step("work", &[], &environment));
        let before = server.struck();
        server.add_rule(Rule { operation: Some(operation), when: When::From(1), fault: Fault::HangBefore });
        let finisher = step("finish", &[], &environment).spawn().unwrap();
        wait_until("a request that hangs", || server.struck() > before);
        check_stopped(&stop(finisher, "TERM"), GRACE, "stopped by a signal");
        server.clear_rules();
        succeed(step("finish", &[], &environment));
        assert!(server.keys("results").contains(&"_runs/first/SUCCESS.json".to_owned()));
    }
}
