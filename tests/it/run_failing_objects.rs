//! Objects that fail between the listing and the last byte: each its row with its class, and the run goes on.

use crate::program::{Landed, Row, Sweep, finish, landed_in_folder, media, rows, without};
use crate::run_sources::{
    OF_THE_STORE, folder_of_pictures, from_folder, from_server, picture, server_of_pictures, text,
};
use crate::servers::faults::{Fault, Operation, When};
use crate::servers::s3s_server::S3Server;

/// What becomes of one object whose requests go wrong, and of all others beside it.
fn check_one_fails(when: When, fault: Fault, expected: (&str, &str, bool)) -> (S3Server, Row) {
    let server = server_of_pictures();
    server.fail_key(Operation::Get, "group.jpg", when, fault);
    // One of four is more than the share that may be unreadable by default.
    let landed = from_server(&server, &["--max-failed", "0.25"]);
    let row = media(&landed, "group.jpg");
    let (status, class, retryable) = expected;
    assert_eq!((&row["status"], &row["error_class"]), (&status.into(), &class.into()), "{fault:?}: {row:?}");
    assert_eq!(row["retryable"], retryable, "{fault:?}: {row:?}");
    assert!(row["error_message"].as_str().unwrap().contains("group.jpg"), "{row:?}");
    for (key, status) in [("astronaut.jpg", "ok"), ("no_face.jpg", "no_face"), ("portrait_small.jpg", "ok")] {
        assert_eq!(media(&landed, key)["status"], status, "{fault:?} elsewhere: {key}");
    }
    (server, row)
}

#[test]
fn an_object_that_is_gone_when_it_is_fetched_is_vanished() {
    check_one_fails(When::From(1), Fault::Status(404, "NoSuchKey"), ("rejected", "vanished", false));
}

#[test]
fn an_object_that_is_replaced_after_the_listing_is_changed() {
    check_one_fails(When::Nth(1), Fault::ChangedEtag, ("rejected", "changed", true));
}

#[test]
fn an_object_that_is_replaced_while_it_is_read_is_changed_and_no_mixture() {
    let server = server_of_pictures();
    server.fail_key(Operation::Get, "group.jpg", When::Nth(1), Fault::CutBody(10_000));
    server.fail_key(Operation::Get, "group.jpg", When::Nth(2), Fault::ChangedEtag);
    assert_eq!(media(&from_server(&server, &[]), "group.jpg")["error_class"], "changed");
}

#[test]
fn an_object_that_must_not_be_read_is_denied() {
    check_one_fails(When::From(1), Fault::Status(403, "AccessDenied"), ("rejected", "denied", false));
}

#[test]
fn an_object_that_the_server_never_hands_out_is_fetch_failed_and_may_be_tried_again() {
    check_one_fails(When::From(1), Fault::Status(500, "InternalError"), ("rejected", "fetch_failed", true));
}

#[test]
fn an_object_in_cold_storage_is_not_called_something_else_than_media() {
    let (_, row) =
        check_one_fails(When::From(1), Fault::Status(403, "InvalidObjectState"), ("rejected", "denied", false));
    assert!(row["error_message"].as_str().unwrap().contains("archived"), "{row:?}");
}

#[test]
fn a_body_that_breaks_off_is_read_on_from_there() {
    let server = server_of_pictures();
    for (nth, after) in [(1, 10_000), (2, 0), (3, 70_000)] {
        server.fail_key(Operation::Get, "group.jpg", When::Nth(nth), Fault::CutBody(after));
    }
    let landed = from_server(&server, &[]);
    let whole = from_folder(folder_of_pictures().path(), &[]);
    let of = |landed: &Landed| without(&media(landed, "group.jpg"), &OF_THE_STORE);
    assert_eq!(of(&landed), of(&whole));
    let gets = server.calls().iter().filter(|call| call.operation == Operation::Get && call.key == "group.jpg").count();
    assert_eq!(gets, 4);
}

#[test]
fn an_object_above_the_limit_is_too_large_and_keeps_its_container() {
    let size = picture("group.jpg").len().to_string();
    for limit in [size.parse::<usize>().unwrap() - 1, 100] {
        let limit = format!("{limit}B");
        let landed = from_server(&server_of_pictures(), &["--max-object-size", &limit, "--include", "group.jpg"]);
        let row = media(&landed, "group.jpg");
        assert_eq!((&row["error_class"], &row["container"]), (&"too_large".into(), &"jpeg".into()), "{limit}: {row:?}");
        assert!(row["error_message"].as_str().unwrap().contains(&size), "{row:?}");
    }
}

#[test]
fn more_unreadable_objects_than_allowed_finish_the_run_and_fail_it() {
    let server = server_of_pictures();
    server.fail_key(Operation::Get, "group.jpg", When::From(1), Fault::Status(403, "AccessDenied"));
    let out = tempfile::tempdir().unwrap();
    let sweep = Sweep { source: "s3://archive/", out: text(out.path()), scorer: "none", flags: &[] };
    let finished = finish(sweep.command(&server.environment()));
    assert_eq!(finished.code, Some(10), "{}", finished.stderr);
    assert!(finished.stderr.contains("1 of 4 objects"), "{}", finished.stderr);
    let landed = landed_in_folder(out.path());
    assert_eq!(rows(&landed, "media").len(), 4);
    assert!(landed.contains_key("_runs/first/SUCCESS.json"), "{:?}", landed.keys());
}
