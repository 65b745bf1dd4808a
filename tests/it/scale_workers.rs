//! Many workers on one plan: at once, killed, delivered twice.

use std::process::Child;
use std::time::Duration;

use crate::planned::{archive, check_same, landed, step, succeed, sweep, undisturbed};
use crate::program::{await_end, finish};

fn must_succeed(child: Child) -> String {
    let finished = await_end(child);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    finished.stderr
}

#[test]
fn two_workers_on_one_shard_at_once_write_every_row_once() {
    let server = archive(8);
    let expected = undisturbed(&server);
    succeed(sweep("plan", &["--shards", "1"], &server.environment()));
    let workers = [0, 1].map(|_| step("work", &["--shard", "0/1"], &server.environment()).spawn().unwrap());
    let said = workers.map(must_succeed).concat();
    assert!(said.contains("another"), "the two never met\n{said}");
    succeed(step("finish", &[], &server.environment()));
    check_same(&landed(&server), &expected);
}

#[test]
fn a_schedule_that_delivers_twice_makes_one_run() {
    let server = archive(6);
    let expected = undisturbed(&server);
    let runs = [0, 1].map(|_| sweep("run", &[], &server.environment()).spawn().unwrap());
    runs.into_iter().for_each(|run| drop(must_succeed(run)));
    let found = landed(&server);
    assert!(found.keys().eq(expected.keys()), "{:?}", found.keys());
    check_same(&found, &expected);
    // And once more when all is done.
    succeed(sweep("run", &[], &server.environment()));
    assert_eq!(landed(&server), found);
}

#[test]
fn ten_workers_of_whom_three_are_killed_leave_what_others_make_whole() {
    let server = archive(40);
    let environment = server.environment();
    let expected = undisturbed(&server);
    succeed(sweep("plan", &["--shards", "10"], &environment));
    let start = |worker: usize| step("work", &["--shard", &format!("{worker}/10")], &environment).spawn().unwrap();
    let mut workers: Vec<Child> = (0..10).map(start).collect();
    // Whatever they are at by then: a loaded machine decides where it hits them.
    let killed = [3, 4, 8];
    for (at, worker) in killed.into_iter().enumerate() {
        std::thread::sleep(Duration::from_millis(250 * (at as u64 + 1)));
        let _ = workers[worker].kill();
    }
    let mut died = 0;
    for (worker, child) in workers.drain(..).enumerate() {
        let finished = await_end(child);
        died += u32::from(finished.code.is_none());
        assert!(finished.code == Some(0) || killed.contains(&worker), "{worker}: {}", finished.stderr);
    }
    assert!(died > 0, "all of them were done before they were killed");
    let early = finish(step("finish", &[], &environment));
    assert!([Some(0), Some(3)].contains(&early.code), "{}", early.stderr);
    for worker in killed {
        must_succeed(start(worker));
    }
    succeed(step("finish", &[], &environment));
    check_same(&landed(&server), &expected);
}
