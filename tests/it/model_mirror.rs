//! Models in a bucket: filled where there is an internet route, read where there is none.

use std::path::Path;

use deepsweep::error::Error;
use deepsweep::progress::Display;
use deepsweep::scorers::store::{ModelFiles, ModelStore, StoreChoice, StoreSettings};
use deepsweep::storage::StoreError;
use deepsweep::storage::s3::S3Store;

use crate::model_fixture::{Fixture, TOWER, WEIGHTS_BYTES, config, head, weights};
use crate::program::{Finished, finish};
use crate::servers::faults::{Fault, Operation, When};
use crate::servers::hub::sha256;
use crate::servers::s3s_server::S3Server;

const PLACE: &str = "s3://models/deepsweep";

fn assert_code(finished: &Finished, code: i32) {
    assert_eq!(finished.code, Some(code), "{}{}", finished.stdout, finished.stderr);
}

/// A bucket, and a machine that reaches it and the hub.
fn start() -> (Fixture, S3Server) {
    let server = S3Server::start();
    server.create_bucket("models");
    (Fixture::start(), server)
}

fn models(fixture: &Fixture, server: &S3Server, words: &[&str]) -> Finished {
    let mut environment = server.environment();
    environment.push(("XDG_CACHE_HOME", fixture.cache().display().to_string()));
    finish(fixture.command(&[words, &["--models", PLACE]].concat(), &environment))
}

fn filled() -> (Fixture, S3Server) {
    let (fixture, server) = start();
    assert_code(&models(&fixture, &server, &["pull", "small"]), 0);
    (fixture, server)
}

fn key(file: &str) -> String {
    format!("deepsweep/{TOWER}/{file}")
}

/// What a run does on a machine that reaches the bucket and no hub: asks the store for the scorer's files.
fn ensure(fixture: &Fixture, server: &S3Server, cache: &Path) -> Result<ModelFiles, Error> {
    let cache = cache.display().to_string();
    let variable = |name: &str| match name {
        "XDG_CACHE_HOME" => Some(cache.clone()),
        "HF_ENDPOINT" => Some("http://127.0.0.1:1".to_owned()), // nobody listens there
        "HF_HUB_OFFLINE" => Some("1".to_owned()),
        _ => None,
    };
    let choice = StoreChoice { models: Some(PLACE.to_owned()), offline: false };
    let settings = StoreSettings::resolve(&choice, server.options(), &variable)?;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(ModelStore::new(settings).ensure_scorer(&fixture.downloads(), &Display::None))
}

#[test]
fn a_bucket_is_filled_once_and_serves_machines_without_a_hub() {
    let (fixture, server) = filled();
    let head_key = format!("deepsweep/url/{}/fc.pth", sha256(&head()));
    assert_eq!(server.keys("models"), [key("config.json"), key("model.safetensors"), head_key]);
    assert!(server.get("models", &key("model.safetensors")).unwrap() == weights());
    let puts = server.count(Operation::Put);
    let again = models(&fixture, &server, &["pull", "small"]);
    assert_code(&again, 0);
    assert_eq!(server.count(Operation::Put), puts);
    assert_eq!(again.stdout, format!("small: 3.1 MiB in {PLACE}\n"));

    let cache = tempfile::tempdir().unwrap();
    let files = ensure(&fixture, &server, cache.path()).unwrap();
    assert!(std::fs::read(files.tower.join("model.safetensors")).unwrap() == weights());
    assert_eq!(std::fs::read(files.tower.join("config.json")).unwrap(), config());
    assert_eq!(std::fs::read(files.head.unwrap()).unwrap(), head());

    // What is in the cache is not asked for again.
    let gets = server.count(Operation::Get);
    ensure(&fixture, &server, cache.path()).unwrap();
    assert_eq!(server.count(Operation::Get), gets);
}

#[test]
fn a_body_of_the_bucket_that_breaks_off_is_resumed() {
    let (fixture, server) = filled();
    server.fail_key(Operation::Get, &key("model.safetensors"), When::Nth(1), Fault::CutBody(1_500_000));
    let cache = tempfile::tempdir().unwrap();
    let files = ensure(&fixture, &server, cache.path()).unwrap();
    assert!(std::fs::read(files.tower.join("model.safetensors")).unwrap() == weights());
    let gets =
        server.calls().into_iter().filter(|call| call.operation == Operation::Get && call.key.ends_with("tensors"));
    assert_eq!(gets.count(), 2);
}

#[test]
fn what_the_bucket_lacks_or_has_another_of_is_named() {
    let (fixture, server) = start();
    let cache = tempfile::tempdir().unwrap();
    let message = ensure(&fixture, &server, cache.path()).unwrap_err().to_string();
    for part in [PLACE, "config.json", "not found", "deepsweep models pull NAME --models s3://models/deepsweep"] {
        assert!(message.contains(part), "{part:?} is missing in {message}");
    }

    server.put("models", &key("config.json"), "{}");
    let message = ensure(&fixture, &server, cache.path()).unwrap_err().to_string();
    assert!(message.contains(&format!("expected {} bytes, found 2", config().len())), "{message}");
    // A mirror is filled, not changed.
    let refused = models(&fixture, &server, &["pull", "small"]);
    assert_code(&refused, 3);
    assert!(refused.stderr.contains(&format!("expected {} bytes, found 2", config().len())), "{}", refused.stderr);
    assert_eq!(server.get("models", &key("config.json")).unwrap(), "{}");
}

#[test]
fn a_tampered_object_is_refused_by_runs_and_found_by_verify() {
    let (fixture, server) = filled();
    assert_code(&models(&fixture, &server, &["verify"]), 0);
    let mut other = weights();
    other[WEIGHTS_BYTES / 3] ^= 1;
    server.put("models", &key("model.safetensors"), other.clone());
    let verified = models(&fixture, &server, &["verify"]);
    assert_code(&verified, 3);
    let line = verified.stdout.lines().find(|line| line.contains("WRONG")).unwrap();
    assert!(line.contains(&key("model.safetensors")) && line.contains(&sha256(&other)), "{line}");

    let cache = tempfile::tempdir().unwrap();
    let message = ensure(&fixture, &server, cache.path()).unwrap_err().to_string();
    assert!(message.contains(&sha256(&other)) && message.contains(&sha256(&weights())), "{message}");
    assert!(!cache.path().join("deepsweep/models").join(TOWER).join("model.safetensors").exists());
}

#[test]
fn a_file_is_put_whole_and_never_over_another() {
    let server = S3Server::start();
    server.create_bucket("models");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    std::fs::write(&path, weights()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = S3Store::connect("models", &server.options()).await.unwrap();
        for (nth, fault) in
            [Fault::Status(503, "SlowDown"), Fault::ResetBefore, Fault::ResetAfter].into_iter().enumerate()
        {
            server.clear_rules();
            server.fail(Operation::Put, 1, fault);
            let key = format!("key-{nth}");
            store.put_new_file(&key, &path).await.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
            assert!(server.get("models", &key).unwrap() == weights(), "{fault:?}");
        }
        server.clear_rules();
        let again = store.put_new_file("key-0", &path).await;
        assert!(matches!(again, Err(StoreError::AlreadyExists { .. })), "{again:?}");
        let missing = store.put_new_file("key-9", &folder.path().join("none")).await;
        assert!(missing.unwrap_err().to_string().contains("none"));
    });
}
