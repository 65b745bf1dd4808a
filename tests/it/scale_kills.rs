//! A run that is killed at any of its calls to S3, and begun again: nothing lost, nothing twice.

use std::time::{Duration, Instant};

use crate::planned::{archive, check_same, succeed, sweep, take_landed, undisturbed};
use crate::servers::faults::Operation;
use crate::servers::s3s_server::S3Server;

/// Two slices: one with a face, one without.
const OBJECTS: usize = 2;

/// Kills a run at its kth call, which the server has carried out or not and does not answer; no call after it is carried
/// out. None where the run ends before it has made so many.
pub fn killed_at(server: &S3Server, call: u64, applied: bool, more: &[&str]) -> Option<Operation> {
    let before = server.calls().len();
    server.freeze_at(call, applied);
    let mut child = sweep("run", more, &server.environment()).spawn().unwrap();
    let give_up = Instant::now() + Duration::from_secs(120);
    let mut came_at = None;
    let ended = loop {
        assert!(Instant::now() < give_up, "call {call}");
        // A call that there was nothing to carry out of, such as a GET of what is not there, is answered and not held.
        let came = server.calls().len() >= before + call as usize;
        came_at = came_at.or_else(|| came.then(Instant::now));
        if server.is_frozen() || came_at.is_some_and(|at| at.elapsed() > Duration::from_millis(500)) {
            break false;
        }
        if child.try_wait().unwrap().is_some() {
            break true;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let _ = child.kill();
    child.wait().unwrap();
    while server.in_flight() > 0 {
        assert!(Instant::now() < give_up, "call {call} is left over");
        std::thread::sleep(Duration::from_millis(2));
    }
    server.clear_rules();
    (!ended).then(|| server.calls()[before + call as usize - 1].operation)
}

fn check_every_call(applied: bool) {
    let server = archive(OBJECTS);
    let expected = undisturbed(&server);
    let mut calls = 0;
    for call in 1.. {
        let Some(operation) = killed_at(&server, call, applied, &[]) else { break };
        calls += 1;
        succeed(sweep("run", &[], &server.environment()));
        let found = take_landed(&server);
        let why = format!("call {call}, {operation:?}, applied: {applied}");
        assert!(found.keys().eq(expected.keys()), "{why}: {:?}\n{:?}", found.keys(), expected.keys());
        check_same(&found, &expected);
    }
    assert!(calls > 20, "{calls} calls were killed");
}

#[test]
fn a_run_that_is_killed_before_any_call_is_carried_out_is_made_whole_by_the_next_attempt() {
    check_every_call(false);
}

#[test]
fn a_run_that_is_killed_after_any_call_was_carried_out_is_made_whole_by_the_next_attempt() {
    check_every_call(true);
}
