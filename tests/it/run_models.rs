//! Scorers by name: a run pulls what it lacks, goes on without a hub once it has it, and stops before any work where it
//! cannot be had.

use std::path::Path;
use std::process::Command;

use crate::model_fixture::Fixture;
use crate::probe::pictures;
use crate::program::{DAY, Finished, deepsweep, finish, landed_in_folder, rows};
use crate::servers::s3s_server::S3Server;

/// `deepsweep run` over the sample pictures with these flags, on a machine with no cache but the fixture's.
fn run(fixture: &Fixture, out: &Path, flags: &[&str], environment: &[(&'static str, String)]) -> Finished {
    let (source, registry) = (pictures(), fixture.registry());
    let [source, out, registry] = [source.as_path(), out, registry.as_path()].map(|path| path.to_str().unwrap());
    let usual =
        ["run", source, "--out", out, "--registry", registry, "--suffix", ".jpg", "--dt", DAY, "--threads", "2"];
    let mut command: Command = deepsweep(&[&usual, flags].concat(), &[]);
    command
        .env("HF_ENDPOINT", fixture.hub.endpoint())
        .env("HF_HUB_DOWNLOAD_TIMEOUT", "1")
        .env("DEEPSWEEP_MODELS", fixture.cache())
        .envs(environment.iter().cloned());
    finish(command)
}

fn assert_scored(out: &Path) {
    let landed = landed_in_folder(out);
    let faces = rows(&landed, "faces");
    assert!(!faces.is_empty());
    assert!(faces.iter().all(|face| face["score"].is_number() && face["scorer"] == "small@1"), "{faces:?}");
}

#[test]
fn a_scorer_is_pulled_on_first_use_and_kept() {
    let fixture = Fixture::start();
    let first = tempfile::tempdir().unwrap();
    let finished = run(&fixture, first.path(), &["--scorer", "small"], &[]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stderr.contains("pulling 3 files, 3.1 MiB"), "{}", finished.stderr);
    assert_scored(first.path());

    let second = tempfile::tempdir().unwrap();
    let nowhere = [("HF_ENDPOINT", "http://127.0.0.1:1".to_owned())];
    let finished = run(&fixture, second.path(), &["--scorer", "small"], &nowhere);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(!finished.stderr.contains("pulling"), "{}", finished.stderr);
    assert_scored(second.path());
}

#[test]
fn a_bucket_serves_a_machine_without_the_internet() {
    let (fixture, server) = (Fixture::start(), S3Server::start());
    server.create_bucket("models");
    let place = "s3://models/deepsweep";
    let mut environment = server.environment();
    environment.push(("XDG_CACHE_HOME", fixture.cache().display().to_string()));
    let filled = finish(fixture.command(&["pull", "small", "--models", place], &environment));
    assert_eq!(filled.code, Some(0), "{}", filled.stderr);

    let (out, other_cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    environment.pop();
    environment.push(("XDG_CACHE_HOME", other_cache.path().display().to_string()));
    environment.push(("HF_ENDPOINT", "http://127.0.0.1:1".to_owned()));
    let flags = ["--scorer", "small", "--models", place, "--offline"];
    let finished = run(&fixture, out.path(), &flags, &environment);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_scored(out.path());
}

/// Ends with `code` before any work, naming the ways out.
fn check_ways_out(flags: &[&str], environment: &[(&'static str, String)], code: i32, named: &[&str]) {
    let (fixture, out) = (Fixture::start(), tempfile::tempdir().unwrap());
    let finished = run(&fixture, out.path(), flags, environment);
    assert_eq!(finished.code, Some(code), "{flags:?}\n{}", finished.stderr);
    let ways = ["--scorer none", "--scorer untrained-demo", "models pull"];
    for name in ways.iter().chain(named) {
        assert!(finished.stderr.contains(name), "{flags:?}: expected {name:?} in\n{}", finished.stderr);
    }
    assert!(landed_in_folder(out.path()).is_empty(), "{flags:?}");
}

#[test]
fn where_the_scorer_cannot_be_had_the_run_stops_before_any_work_and_names_the_ways_out() {
    let nowhere = [("HF_ENDPOINT", "http://127.0.0.1:1".to_owned())];
    check_ways_out(&["--scorer", "small"], &nowhere, 75, &["models pull small", "127.0.0.1:1"]);
    check_ways_out(&["--scorer", "small", "--offline"], &[], 3, &["models pull small", "offline", "model.safetensors"]);
}

#[test]
fn without_a_scorer_named_a_run_takes_zero_shot_clip() {
    let out = tempfile::tempdir().unwrap();
    let (source, place) = (pictures(), out.path().join("out"));
    let arguments = ["run", source.to_str().unwrap(), "--out", place.to_str().unwrap(), "--offline"];
    let models = [("DEEPSWEEP_MODELS", out.path().join("models").display().to_string())];
    let finished = finish(deepsweep(&arguments, &models));
    assert_eq!(finished.code, Some(3), "{}", finished.stderr);
    for name in ["openai--clip-vit-base-patch32", "models pull clip-b32", "--scorer none", "--scorer untrained-demo"] {
        assert!(finished.stderr.contains(name), "expected {name:?} in\n{}", finished.stderr);
    }
    assert!(!place.exists());
}

#[test]
fn nothing_is_pulled_under_a_licence_that_was_not_accepted() {
    let (fixture, out) = (Fixture::start(), tempfile::tempdir().unwrap());
    let text = std::fs::read_to_string(fixture.registry()).unwrap();
    fixture.write_registry(&text.replace("'MIT'", "'CC-BY-NC-4.0'"));
    let finished = run(&fixture, out.path(), &["--scorer", "small"], &[]);
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    for name in ["CC-BY-NC-4.0", "--accept-licence", "a test"] {
        assert!(finished.stderr.contains(name), "expected {name:?} in\n{}", finished.stderr);
    }
    assert!(!fixture.cache().exists());
    let finished = run(&fixture, out.path(), &["--scorer", "small", "--accept-licence"], &[]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}
