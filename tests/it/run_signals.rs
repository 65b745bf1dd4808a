//! A run that is told to stop, wherever it stands, and a run that is done twice.

use std::process::Child;
use std::time::{Duration, Instant};

use crate::program::{Finished, Sweep, await_end, landed_in_folder, rows, without};
use crate::servers::faults::{Fault, Operation, Rule, When};
use crate::servers::s3s_server::S3Server;

const BUCKET: &str = "archive";

/// One slice's objects, so that the first slice is complete without those that stall.
const SLICE_OBJECTS: usize = 1_000;

/// Long enough for a busy machine, short of every timeout that could end a run by itself.
pub const QUICKLY: Duration = Duration::from_secs(10);

/// The deadline for a write that hangs, and what a busy machine adds; AWS Batch kills after 30 s.
const BEFORE_THE_KILL: Duration = Duration::from_secs(27);

fn picture() -> Vec<u8> {
    std::fs::read(crate::root().join("tests/media/good/astronaut.jpg")).unwrap()
}

/// Waits until `so`; a minute is more than any start takes.
pub fn wait_until(what: &str, so: impl Fn() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < give_up, "{what} did not happen in a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn signal(child: &Child, name: &str) {
    let sent = std::process::Command::new("/bin/sh").args(["-c", &format!("kill -{name} {}", child.id())]).status();
    assert!(sent.unwrap().success());
}

pub fn stop(child: Child, name: &str) -> Finished {
    signal(&child, name);
    await_end(child)
}

pub fn check_stopped(finished: &Finished, within: Duration, said: &str) {
    assert_eq!(finished.code, Some(75), "{}", finished.stderr);
    assert!(finished.elapsed < within, "{:?}\n{}", finished.elapsed, finished.stderr);
    assert!(finished.stderr.contains(said), "expected {said:?} in\n{}", finished.stderr);
}

fn check_stops_while_bodies_stall(name: &str) {
    let server = S3Server::start();
    for at in 0..30 {
        server.put(BUCKET, &format!("{at:02}.jpg"), picture());
    }
    let stall = Fault::StallBody(1_000);
    server.add_rule(Rule { operation: Some(Operation::Get), when: When::From(4), fault: stall });
    let out = tempfile::tempdir().unwrap();
    let sweep = Sweep { source: "s3://archive/", out: out.path().to_str().unwrap(), scorer: "none", flags: &[] };
    let child = sweep.command(&server.environment()).spawn().unwrap();
    wait_until("a GET", || server.count(Operation::Get) > 4);
    check_stopped(&stop(child, name), QUICKLY, "0 objects have their rows");
    assert!(landed_in_folder(out.path()).keys().all(|key| key.starts_with("_runs/first/plan")));
}

#[test]
fn sigterm_ends_a_run_whose_source_stalls_and_leaves_nothing_half_written() {
    check_stops_while_bodies_stall("TERM");
}

#[test]
fn sigint_ends_a_run_whose_source_stalls_and_leaves_nothing_half_written() {
    check_stops_while_bodies_stall("INT");
}

#[test]
fn slices_that_were_complete_stand_after_a_signal() {
    let server = S3Server::start();
    for at in 0..SLICE_OBJECTS {
        server.put(BUCKET, &format!("{at:06}.txt"), "no picture");
    }
    for at in 0..5 {
        let key = format!("slow-{at}.jpg");
        server.put(BUCKET, &key, picture());
        server.fail_key(Operation::Get, &key, When::From(1), Fault::StallBody(1_000));
    }
    let out = tempfile::tempdir().unwrap();
    let sweep = Sweep { source: "s3://archive/", out: out.path().to_str().unwrap(), scorer: "none", flags: &[] };
    let child = sweep.command(&server.environment()).spawn().unwrap();
    let part = out.path().join("media/dt=2026-01-02/run=first/part-00000-000000.parquet");
    wait_until("the first slice", || part.exists());
    check_stopped(&stop(child, "TERM"), QUICKLY, "1000 objects have their rows");
    let landed = landed_in_folder(out.path());
    let names = landed.keys().filter_map(|key| key.split('/').next());
    let names: Vec<&str> = names.filter(|name| *name != "_runs").collect();
    assert_eq!(names, ["faces", "frames", "media", "tracks"]);
    assert_eq!(rows(&landed, "media").len(), SLICE_OBJECTS);
}

#[test]
fn sigterm_ends_a_run_whatever_request_hangs() {
    // The first request of a run is a listing, its last ones are writes.
    for (operation, within) in [(Operation::List, QUICKLY), (Operation::Put, BEFORE_THE_KILL)] {
        let server = S3Server::start();
        server.put(BUCKET, "a.jpg", picture());
        server.create_bucket("results");
        server.add_rule(Rule { operation: Some(operation), when: When::From(1), fault: Fault::HangBefore });
        let sweep = Sweep { source: "s3://archive/", out: "s3://results", scorer: "none", flags: &[] };
        let child = sweep.command(&server.environment()).spawn().unwrap();
        wait_until("a request that hangs", || server.count(operation) > 0);
        check_stopped(&stop(child, "TERM"), within, "stopped by a signal");
        assert_eq!(server.keys("results"), Vec::<String>::new(), "{operation:?}");
    }
}

#[test]
fn a_second_signal_ends_a_run_that_waits_for_a_write() {
    let server = S3Server::start();
    server.put(BUCKET, "a.jpg", picture());
    server.create_bucket("results");
    server.add_rule(Rule { operation: Some(Operation::Put), when: When::From(1), fault: Fault::HangBefore });
    let sweep = Sweep { source: "s3://archive/", out: "s3://results", scorer: "none", flags: &[] };
    let child = sweep.command(&server.environment()).spawn().unwrap();
    wait_until("a PUT", || server.count(Operation::Put) > 0);
    signal(&child, "TERM");
    std::thread::sleep(Duration::from_millis(500)); // two signals at once are one
    check_stopped(&stop(child, "TERM"), Duration::from_secs(3), "a second signal ends at once");
}

#[test]
fn two_runs_of_one_job_give_the_same_tables_whatever_the_threads() {
    let source = crate::root().join("tests/media");
    let tables = ["1", "2", "2"].map(|threads| {
        let out = tempfile::tempdir().unwrap();
        let flags = ["--threads", threads, "--suffix", ".jpg", "--suffix", ".png", "--min-face-px", "20"];
        let (source, destination) = (source.to_str().unwrap(), out.path().to_str().unwrap());
        Sweep { source, out: destination, scorer: "untrained-demo", flags: &flags }.succeed(&[]);
        let landed = landed_in_folder(out.path());
        let names = ["media", "frames", "faces", "embeddings"];
        names.map(|table| rows(&landed, table).iter().map(|row| without(row, &[])).collect::<Vec<_>>())
    });
    assert!(tables[0].iter().all(|rows| rows.len() > 9));
    for other in &tables[1..] {
        for (table, other) in tables[0].iter().zip(other) {
            assert_eq!(table.len(), other.len());
            for (row, other) in table.iter().zip(other) {
                assert_eq!(row, other);
            }
        }
    }
}
