//! A tenth of all calls to S3 fails, source and destination, planner, workers and finisher: the rows are those of a run in
//! which none does.

use std::collections::BTreeSet;

use crate::planned::{
    all_rows, archive, check_same, check_same_rows, landed, step, succeed, sweep, take_landed, undisturbed,
};
use crate::program::{Landed, await_end, rows};
use crate::run_sources::{BUCKET, OF_THE_STORE};
use crate::servers::faults::{Fault, Operation, Rule, When};
use crate::servers::s3s_server::S3Server;

/// A slice each.
const OBJECTS: usize = 12;

const INTERNAL_ERROR: Fault = Fault::Status(500, "InternalError");
const SLOW_DOWN: Fault = Fault::Status(503, "SlowDown");
/// What came is not what was sent.
const TOO_MANY: Fault = Fault::Status(429, "TooManyRequests");
const CONFLICT: Fault = Fault::Status(409, "ConditionalRequestConflict");
const BAD_DIGEST: Fault = Fault::Status(400, "BadDigest");
/// Within every object of the archive that is a picture.
const CUT: Fault = Fault::CutBody(1_000);
const STALL: Fault = Fault::StallBody(1_000);
const FLIPPED: Fault = Fault::FlippedByte(5);

/// Such calls, so many of a thousand.
fn share(operation: Option<Operation>, per_mille: u64, fault: Fault) -> Rule {
    Rule { operation, when: When::Share { seed: 1, per_mille }, fault }
}

/// Plan, two workers at once, finish.
fn three_steps(server: &S3Server) {
    let environment = server.environment();
    succeed(sweep("plan", &["--shards", "4"], &environment));
    let workers = ["0/2", "1/2"].map(|shard| step("work", &["--shard", shard], &environment).spawn().unwrap());
    for worker in workers {
        let finished = await_end(worker);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    }
    succeed(step("finish", &[], &environment));
}

fn one_step(server: &S3Server) {
    succeed(sweep("run", &[], &server.environment()));
}

/// The same rows, while calls go wrong as the rules say.
fn check(server: &S3Server, expected: &Landed, rules: &[Rule], attempt: impl Fn(&S3Server)) {
    let before = server.struck();
    rules.iter().for_each(|rule| server.add_rule(*rule));
    attempt(server);
    server.clear_rules();
    let struck = server.struck() - before;
    println!("{struck} calls: {rules:?}");
    assert!(struck >= 2, "{rules:?} hit {struck} calls");
    check_same(&take_landed(server), expected);
}

fn check_each_kind(objects: usize, kinds: &[(Option<Operation>, Fault)], attempt: impl Fn(&S3Server)) {
    let server = archive(objects);
    let expected = undisturbed(&server);
    for (operation, fault) in kinds {
        check(&server, &expected, &[share(*operation, 100, *fault)], &attempt);
    }
}

#[test]
fn a_tenth_of_all_calls_is_refused() {
    let kinds = [
        (None, INTERNAL_ERROR),
        (None, SLOW_DOWN),
        (None, TOO_MANY),
        (Some(Operation::Put), BAD_DIGEST),
        (Some(Operation::Put), CONFLICT),
    ];
    check_each_kind(OBJECTS, &kinds, three_steps);
}

#[test]
fn a_tenth_of_all_connections_is_reset_before_and_after_the_call_was_carried_out() {
    check_each_kind(OBJECTS, &[(None, Fault::ResetBefore), (None, Fault::ResetAfter)], three_steps);
}

#[test]
fn a_tenth_of_all_bodies_is_cut_or_damaged() {
    check_each_kind(OBJECTS, &[(Some(Operation::Get), CUT), (Some(Operation::Get), FLIPPED)], three_steps);
}

/// Only objects: they are waited for side by side, everything else one after another, and each call takes half a minute.
#[test]
fn objects_of_which_every_third_stalls_or_is_never_answered_at_first() {
    let wait = |fault| {
        let server = archive(OBJECTS);
        let expected = undisturbed(&server);
        for key in server.keys(BUCKET).iter().step_by(3) {
            server.fail_key(Operation::Get, key, When::Nth(1), fault);
        }
        three_steps(&server);
        assert_eq!(server.struck(), 4);
        check_same(&landed(&server), &expected);
    };
    // "no picture" is shorter than where others stall.
    std::thread::scope(|scope| {
        for fault in [Fault::StallBody(5), Fault::HangBefore, Fault::HangAfter] {
            scope.spawn(move || wait(fault));
        }
    });
}

/// Two in a hundred of each kind.
fn mixed(kinds: &[(Option<Operation>, Fault)]) -> Vec<Rule> {
    let rule = |(seed, (operation, fault)): (usize, &(Option<Operation>, Fault))| Rule {
        operation: *operation,
        when: When::Share { seed: seed as u64, per_mille: 20 },
        fault: *fault,
    };
    kinds.iter().enumerate().map(rule).collect()
}

const WITHOUT_WAITING: [(Option<Operation>, Fault); 7] = [
    (None, INTERNAL_ERROR),
    (None, SLOW_DOWN),
    (None, Fault::ResetBefore),
    (None, Fault::ResetAfter),
    (Some(Operation::Get), CUT),
    (Some(Operation::Get), FLIPPED),
    (Some(Operation::Put), BAD_DIGEST),
];

#[test]
fn calls_fail_in_every_way_at_once() {
    let server = archive(OBJECTS);
    let expected = undisturbed(&server);
    check(&server, &expected, &mixed(&WITHOUT_WAITING), three_steps);
    check(&server, &expected, &mixed(&WITHOUT_WAITING), one_step);
}

#[test]
fn objects_that_are_replaced_while_they_are_swept_are_swept_by_the_next_run() {
    let server = archive(OBJECTS);
    let expected = undisturbed(&server);
    for key in server.keys(BUCKET) {
        let when = When::Share { seed: 3, per_mille: 300 };
        server.fail_key(Operation::Get, &key, when, Fault::ChangedEtag);
    }
    three_steps(&server);
    server.clear_rules();
    let first = landed(&server);
    let is_changed = |row: &&crate::program::Row| row["error_class"] == "changed";
    let media = rows(&first, "media");
    let changed: BTreeSet<String> =
        media.iter().filter(is_changed).map(|row| row["key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(media.len(), OBJECTS);
    assert!(changed.len() as u64 == server.struck() && (2..OBJECTS).contains(&changed.len()), "{changed:?}");

    succeed(sweep("run", &["--retry-failed=changed", "--run-id", "second"], &server.environment()));
    let all = landed(&server);
    let in_second = |key: &String| key.contains("/run=second/");
    let second: Landed = all.into_iter().filter(|(key, _)| in_second(key)).collect();
    let again: BTreeSet<String> =
        rows(&second, "media").iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(again, changed);
    let together: Landed = first.into_iter().filter(|(key, _)| !key.starts_with("_runs")).chain(second).collect();
    let mut found = all_rows(&together, &OF_THE_STORE);
    // `media` is the first table; what it calls changed has rows nowhere else.
    found[0].1.retain(|row| !is_changed(&row));
    check_same_rows(found, all_rows(&expected, &OF_THE_STORE));
}

/// Every call may hang, planner and finisher included, and most of them wait for nobody else.
#[test]
#[ignore = "nightly: half a minute for each call that hangs, one after another"]
fn a_tenth_of_all_calls_stalls_or_is_never_answered() {
    let kinds = [(Some(Operation::Get), Fault::StallBody(5)), (None, Fault::HangBefore), (None, Fault::HangAfter)];
    std::thread::scope(|scope| {
        for kind in kinds {
            scope.spawn(move || check_each_kind(OBJECTS, &[kind], three_steps));
        }
    });
}

#[test]
#[ignore = "nightly: a hundred slices for each of seven kinds"]
fn a_tenth_of_all_calls_fails_in_a_larger_archive() {
    check_each_kind(100, &WITHOUT_WAITING, three_steps);
}

#[test]
#[ignore = "nightly: calls that hang among all others"]
fn calls_of_a_larger_archive_fail_and_hang_in_every_way_at_once() {
    let waiting = [(Some(Operation::Get), STALL), (None, Fault::HangBefore), (None, Fault::HangAfter)];
    let kinds = [&WITHOUT_WAITING[..], &waiting].concat();
    let server = archive(30);
    let expected = undisturbed(&server);
    check(&server, &expected, &mixed(&kinds), three_steps);
    check(&server, &expected, &mixed(&kinds), one_step);
}
