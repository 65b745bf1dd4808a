//! A run that is killed at any of its calls to S3, and begun again: nothing lost, nothing twice.

use crate::planned::{archive, check_same, landed, succeed, sweep, undisturbed};
use crate::servers::faults::{Fault, Operation, Rule, When};
use crate::servers::s3s_server::S3Server;

/// Two slices: one with a face, one without.
const OBJECTS: usize = 2;

/// Waits for the kth call, or for the end of a run that has no such call; says whether the run was killed.
fn killed_at(server: &S3Server, call: u64, fault: Fault) -> Option<Operation> {
    let before = server.calls().len() as u64;
    server.add_rule(Rule { operation: None, when: When::Nth(call), fault });
    let mut child = sweep("run", &[], &server.environment()).spawn().unwrap();
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(120);
    let killed = loop {
        assert!(std::time::Instant::now() < give_up, "call {call} {fault:?}");
        if server.calls().len() as u64 >= before + call {
            break true;
        }
        if child.try_wait().unwrap().is_some() {
            break false;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    };
    let _ = child.kill();
    child.wait().unwrap();
    server.clear_rules();
    killed.then(|| server.calls()[(before + call) as usize - 1].operation)
}

/// Every `of`th call from `first` on.
fn check_every_call(fault: Fault, first: u64, step: u64) {
    let server = archive(OBJECTS);
    let expected = undisturbed(&server);
    let mut calls = 0;
    for call in (first..).step_by(step as usize) {
        let Some(operation) = killed_at(&server, call, fault) else { break };
        calls += 1;
        succeed(sweep("run", &[], &server.environment()));
        let found = landed(&server);
        let why = format!("call {call}, {operation:?}, {fault:?}");
        assert!(found.keys().eq(expected.keys()), "{why}: {:?}\n{:?}", found.keys(), expected.keys());
        check_same(&found, &expected);
        for key in found.keys() {
            server.remove("results", key);
        }
    }
    assert!(calls * step > 20, "{calls} calls were killed");
}

#[test]
fn a_run_that_is_killed_before_any_call_is_carried_out_is_made_whole_by_the_next_attempt() {
    check_every_call(Fault::HangBefore, 1, 1);
}

#[test]
fn a_run_that_is_killed_after_any_call_was_carried_out_is_made_whole_by_the_next_attempt() {
    check_every_call(Fault::HangAfter, 1, 1);
}
