//! `deepsweep doctor --source SOURCE --out DEST`: rights, conditional writes, models; and what it leaves behind.

use std::path::Path;

use serde_json::Value;

use crate::program::{Finished, deepsweep, finish};
use crate::servers::faults::{Fault, Operation, Rule, When};
use crate::servers::moto::MotoServer;
use crate::servers::s3s_server::{S3Server, ServerOptions};

const NOTE: &str = "_runs/.doctor";

fn doctor(environment: &[(&'static str, String)], flags: &[&str]) -> Finished {
    let arguments = [&["doctor", "--device", "cpu", "--json", "--scorer", "none"], flags].concat();
    finish(deepsweep(&arguments, environment))
}

fn finding(finished: &Finished, part: &str) -> Option<Value> {
    let findings: Vec<Value> = serde_json::from_str(&finished.stdout).unwrap();
    findings.into_iter().find(|finding| finding["part"] == part)
}

#[track_caller]
fn check(finished: &Finished, part: &str, state: &str, words: &[&str]) {
    let finding = finding(finished, part).unwrap_or_else(|| panic!("no {part} in {}", finished.stdout));
    assert_eq!(finding["state"], state, "{finding}");
    let text = finding.to_string();
    for word in words {
        assert!(text.contains(word), "expected {word:?} in {finding}");
    }
    assert_eq!(finished.code == Some(3), finished.stdout.contains("\"missing\""), "{}", finished.stderr);
}

fn server() -> S3Server {
    let server = S3Server::start();
    server.put("archive", "2026/a.jpg", "picture");
    server.create_bucket("results");
    server
}

const PLACES: [&str; 4] = ["--source", "s3://archive/2026/", "--out", "s3://results/faces/"];

#[test]
fn places_that_a_run_can_use_are_well_and_hold_one_note_however_often_they_are_looked_at() {
    let server = server();
    let note = format!("faces/{NOTE}");
    let mut written = None;
    for _ in 0..2 {
        let finished = doctor(&server.environment(), &PLACES);
        check(&finished, "s3", "ok", &["access key TESTACCESSKEY", "Environment"]);
        check(&finished, "source", "ok", &["2026/a.jpg"]);
        check(&finished, "out", "ok", &["listed, written to and read"]);
        check(&finished, "conditional writes", "ok", &["refused"]);
        assert!(!finished.stdout.contains(crate::servers::s3s_server::SECRET_KEY));
        assert_eq!(server.keys("results"), [note.as_str()]);
        let found = server.get("results", &note).unwrap();
        assert_eq!(*written.get_or_insert(found.clone()), found);
    }
    assert_eq!(server.keys("archive"), ["2026/a.jpg"]);
    // One byte of the object, not all of it.
    assert_eq!(
        server.calls().iter().filter(|call| call.key == "2026/a.jpg" && call.operation == Operation::Get).count(),
        2
    );
}

#[test]
fn an_independent_server_is_well() {
    let server = MotoServer::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = server.client();
        for bucket in ["archive", "results"] {
            client.create_bucket().bucket(bucket).send().await.unwrap();
        }
        client.put_object().bucket("archive").key("2026/a.jpg").body(b"picture".to_vec().into()).send().await.unwrap();
    });
    let finished = doctor(&server.environment(), &PLACES);
    for part in ["source", "out", "conditional writes"] {
        check(&finished, part, "ok", &[]);
    }
}

#[test]
fn a_right_that_is_missing_is_named() {
    for (operation, part, words) in [
        (Operation::List, "source", vec!["s3:ListBucket", "403 AccessDenied"]),
        (Operation::Get, "source", vec!["s3:GetObject", "may be listed, not read"]),
        (Operation::Get, "out", vec!["s3:GetObject"]),
        (Operation::Put, "out", vec!["s3:PutObject", "PutObject answered 403"]),
    ] {
        let server = server();
        let fault = Fault::Status(403, "AccessDenied");
        server.add_rule(Rule { operation: Some(operation), when: When::From(1), fault });
        check(&doctor(&server.environment(), &PLACES), part, "missing", &words);
    }
    let mut nobody = server().environment();
    nobody.retain(|(name, _)| !name.contains("KEY"));
    let finished = doctor(&nobody, &PLACES);
    check(&finished, "s3", "missing", &["AWS_PROFILE", "--anonymous"]);
    assert!(finding(&finished, "source").is_none(), "it would say the same once more");
}

#[test]
fn a_server_that_lacks_or_passes_over_conditional_writes_is_found_out() {
    let lacking = S3Server::start_with(ServerOptions { conditional_writes: false, ..ServerOptions::default() });
    lacking.create_bucket("results");
    let out = ["--out", "s3://results/"];
    check(&doctor(&lacking.environment(), &out), "out", "missing", &["--unconditional-writes", "one worker per shard"]);
    let told = [out[0], out[1], "--unconditional-writes"];
    check(&doctor(&lacking.environment(), &told), "conditional writes", "warning", &["one worker per shard"]);
    assert_eq!(lacking.keys("results"), [NOTE]);

    let passing = S3Server::start_with(ServerOptions { passes_over_conditions: true, ..ServerOptions::default() });
    passing.create_bucket("results");
    for _ in 0..2 {
        let finished = doctor(&passing.environment(), &out);
        check(&finished, "out", "ok", &[]);
        check(&finished, "conditional writes", "warning", &["overwrite each other", "--unconditional-writes"]);
        assert_eq!((finished.code, passing.keys("results")), (Some(0), vec![NOTE.to_owned()]));
    }
}

#[test]
fn folders_are_looked_at_too_and_one_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(path("photos")).unwrap();
    let places = |source: &str, out: &str| doctor(&[], &["--source", &path(source), "--out", &path(out)]);
    check(&places("photos", "new/results"), "source", "warning", &["no object"]);
    std::fs::write(path("photos/a.jpg"), "picture").unwrap();
    let finished = places("photos", "new/results");
    check(&finished, "source", "ok", &["a.jpg"]);
    check(&finished, "out", "ok", &["not there yet"]);
    assert!(finding(&finished, "s3").is_none() && !Path::new(&path("new")).exists());

    std::fs::create_dir(path("results")).unwrap();
    for _ in 0..2 {
        check(&places("photos", "results"), "out", "ok", &["listed, written to and read"]);
    }
    assert_eq!(crate::program::landed_in_folder(&folder.path().join("results")).keys().collect::<Vec<_>>(), [NOTE]);
    check(&places("nowhere", "results"), "source", "missing", &["nowhere"]);
    check(&places("photos", "photos/a.jpg"), "out", "missing", &["expected a folder"]);
}

#[test]
fn a_scorer_that_is_not_here_is_named_with_the_way_to_it() {
    let models = tempfile::tempdir().unwrap();
    let store = models.path().to_str().unwrap();
    let look = |flags: &[&str]| finish(deepsweep(&[&["doctor", "--device", "cpu", "--json"], flags].concat(), &[]));
    check(&look(&["--models", store]), "model", "warning", &["clip-b32", "deepsweep models pull clip-b32"]);
    check(&look(&["--models", store, "--offline"]), "model", "missing", &["offline", "models pull"]);
    check(&look(&["--scorer", "untrained-demo"]), "model", "ok", &["needs no files"]);
    check(&look(&["--scorer", "nonesuch"]), "model", "missing", &["nonesuch", "models list"]);
    let server = server();
    let finished = finish(deepsweep(
        &["doctor", "--device", "cpu", "--json", "--models", "s3://results/models"],
        &server.environment(),
    ));
    check(&finished, "model", "missing", &["s3://results/models", "--models"]);
}
