//! The model store as a person meets it: lists, offline machines, tampered files, registries of one's own.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::model_fixture::{Fixture, TOWER, config, names, weights};
use crate::probe::{Folder, PLAIN};
use crate::program::{Finished, deepsweep, finish};
use crate::servers::hub::sha256;

fn assert_code(finished: &Finished, code: i32) {
    assert_eq!(finished.code, Some(code), "{}{}", finished.stdout, finished.stderr);
}

fn pulled() -> Fixture {
    let fixture = Fixture::start();
    assert_code(&fixture.models(&["pull", "small"]), 0);
    fixture
}

/// Flips one bit: the size stays.
fn tamper(path: &std::path::Path) -> String {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[17] ^= 1;
    std::fs::write(path, &bytes).unwrap();
    sha256(&bytes)
}

// --- What there is.

/// The built-in list, in a process that has nothing.
fn list(words: &[&str]) -> Finished {
    let finished = finish(deepsweep(&[&["models", "list"], words].concat(), &[("HOME", "/home/somebody".to_owned())]));
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    finished
}

#[test]
fn the_list_says_what_each_model_is_for_within_80_columns() {
    let text = list(&[]).stdout;
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    let words = |line: &str| line.split("  ").map(str::trim).filter(|word| !word.is_empty()).count();
    assert_eq!(words(lines[0]), 5, "{text}");
    for (name, looks_at, of) in [
        ("clip-b32", "faces", "openai/clip-vit-base-patch32"),
        ("clip-b32-laion", "faces", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("univfd", "whole frames", "openai/clip-vit-large-patch14"),
        ("gend-clip-l14", "aligned faces", "yermandy/GenD_CLIP_L_14"),
    ] {
        let at = lines.iter().position(|line| line.split("  ").next() == Some(name)).expect(name);
        assert!(lines[at].contains(looks_at) && lines[at].contains("MIT") && lines[at].ends_with("  no"), "{text}");
        assert!(lines[at + 1].len() > 30 && lines[at + 2].trim() == of, "{text}");
    }
    for part in ["untrained-demo", "deepsweep models pull NAME", "/home/somebody/.cache/deepsweep/models"] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

#[test]
fn the_list_for_programs_pins_every_file() {
    let parsed: Value = serde_json::from_str(&list(&["--json"]).stdout).unwrap();
    let univfd = parsed.as_array().unwrap().iter().find(|entry| entry["name"] == "univfd").unwrap();
    assert_eq!(univfd["size_bytes"], 1_710_540_580 + 4_519 + 4_083);
    assert_eq!(univfd["head"]["pin"]["size_bytes"], 4_083);
    assert_eq!(univfd["tower"]["files"]["config.json"]["size_bytes"], 4_519);
    assert_eq!(univfd["looks_at"], serde_json::json!(["frame"]));
    assert!(univfd["published"][0]["source"].as_str().unwrap().contains("2302.10174"));
}

#[test]
fn the_list_knows_what_is_here() {
    let fixture = Fixture::start();
    let here = |fixture: &Fixture| {
        let line = fixture.models(&["list"]).stdout.lines().nth(2).unwrap().to_owned();
        line.rsplit("  ").next().unwrap().to_owned()
    };
    assert_eq!(here(&fixture), "no");
    assert_code(&fixture.models(&["pull", "small"]), 0);
    assert_eq!(here(&fixture), "yes");
    std::fs::remove_file(fixture.file("config.json")).unwrap();
    assert_eq!(here(&fixture), "part");
}

#[test]
fn names_and_registries_that_cannot_be_meant_are_named() {
    let fixture = Fixture::start();
    let check = |words: &[&str], named: &[&str]| {
        let finished = fixture.models(words);
        assert_code(&finished, 2);
        named.iter().for_each(|name| assert!(finished.stderr.contains(name), "{words:?}: {}", finished.stderr));
    };
    check(&["pull", "smal"], &["\"smal\"", "small", "registry.toml"]);
    check(&["verify", "smal"], &["\"smal\"", "small"]);
    check(&["pull"], &["NAME", "--all"]);
    check(&["pull", "small", "--all"], &["--all"]);
    check(&["pull", "small", "--models", "gs://bucket"], &["gs"]);
    fixture.write_registry("[[scorer]]\nname = 'small'\nversion = '1'");
    check(&["list"], &["registry.toml", "\"small\"", "summary"]);
    let built_in = finish(deepsweep(&["models", "pull", "clip"], &[("DEEPSWEEP_MODELS", "/tmp".to_owned())]));
    assert_code(&built_in, 2);
    assert!(built_in.stderr.contains("clip-b32, clip-b32-laion, univfd, gend-clip-l14"), "{}", built_in.stderr);
}

#[test]
fn all_pulls_everything_that_is_listed() {
    let fixture = Fixture::start();
    assert_code(&fixture.models(&["pull", "--all"]), 0);
    fixture.assert_whole();
}

// --- Machines without the internet.

#[test]
fn offline_nothing_is_asked_and_the_message_names_the_ways_out() {
    let fixture = Fixture::start();
    let offline =
        |words: &[&str], variable: Option<(&'static str, String)>| finish(fixture.command(words, variable.as_slice()));
    for finished in [
        offline(&["pull", "small", "--offline"], None),
        offline(&["pull", "small"], Some(("HF_HUB_OFFLINE", "1".to_owned()))),
    ] {
        assert_code(&finished, 3);
        let model = format!("{TOWER}/model.safetensors (3.1 MiB)");
        for part in ["small: offline", &model, "fc.pth", "models pull small --models DEST", "s3://BUCKET/PREFIX"] {
            assert!(finished.stderr.contains(part), "{part:?} is missing in\n{}", finished.stderr);
        }
    }
    assert_eq!(fixture.hub.seen().len(), 0);

    // A folder that was filled elsewhere and copied serves.
    assert_code(&fixture.models(&["pull", "small"]), 0);
    let copy = tempfile::tempdir().unwrap();
    let to = copy.path().join("models");
    assert!(Command::new("cp").arg("-r").args([&fixture.cache(), &to]).status().unwrap().success());
    let before = fixture.hub.seen().len();
    assert_code(&offline(&["pull", "small", "--offline", "--models", to.to_str().unwrap()], None), 0);
    assert_eq!(fixture.hub.seen().len(), before);
}

#[test]
fn a_whole_cache_is_only_read() {
    let fixture = pulled();
    std::fs::remove_file(fixture.file(".lock")).unwrap();
    assert_code(&fixture.models(&["pull", "small"]), 0);
    // A lock would be the first thing written; an image's folder may be read-only.
    assert_eq!(names(&fixture.cache().join(TOWER)), ["config.json", "model.safetensors"]);
}

// --- Every byte.

#[test]
fn verify_finds_what_was_tampered_with_and_pull_mends_it() {
    let fixture = pulled();
    let whole = fixture.models(&["verify"]);
    assert_code(&whole, 0);
    assert_eq!(whole.stdout.matches("small: ok ").count(), 4, "{}", whole.stdout);
    assert!(whole.stdout.contains("small@1: opens; it has no golden pictures"), "{}", whole.stdout);

    let found = tamper(&fixture.file("model.safetensors"));
    for words in [&["verify"][..], &["verify", "small"]] {
        let finished = fixture.models(words);
        assert_code(&finished, 3);
        let line = finished.stdout.lines().find(|line| line.contains("WRONG")).unwrap();
        for part in ["model.safetensors", &sha256(&weights()), &found] {
            assert!(line.contains(part), "{line}");
        }
        assert!(finished.stderr.contains("1 of 3 "), "{}", finished.stderr);
    }
    let offline = fixture.models(&["pull", "small", "--offline"]);
    assert_code(&offline, 3);
    assert!(offline.stderr.contains(&found), "{}", offline.stderr);

    let mended = fixture.models(&["pull", "small"]);
    assert_code(&mended, 0);
    assert!(mended.stderr.contains(&found), "{}", mended.stderr);
    fixture.assert_whole();
}

#[test]
fn verify_by_name_wants_every_file_and_without_looks_at_what_is_here() {
    let fixture = pulled();
    std::fs::write(fixture.file("config.json"), "{").unwrap();
    let finished = fixture.models(&["verify"]);
    assert_code(&finished, 3);
    assert!(
        finished.stdout.contains(&format!("expected {} bytes, found 1 bytes", config().len())),
        "{}",
        finished.stdout
    );
    std::fs::remove_file(fixture.file("config.json")).unwrap();
    assert_code(&fixture.models(&["verify"]), 0);
    let finished = fixture.models(&["verify", "small"]);
    assert_code(&finished, 3);
    assert!(finished.stdout.contains("small: MISSING  "), "{}", finished.stdout);

    let empty = Fixture::start();
    let finished = empty.models(&["verify"]);
    assert_code(&finished, 0);
    assert!(finished.stdout.starts_with("no models in "), "{}", finished.stdout);
}

#[test]
fn verify_holds_a_scorer_folder_to_its_pins() {
    let mut parts = Folder::new(PLAIN);
    let written = parts.write();
    let tower = std::fs::read(written.path().join("tower/model.safetensors")).unwrap();
    let fixture = Fixture::start();
    let verify = |folder: &Path| fixture.models(&["verify", folder.to_str().unwrap()]);
    let without = verify(written.path());
    assert_code(&without, 0);
    assert!(without.stdout.contains("probe@1: opens"), "{}", without.stdout);

    let pin = format!("files.'model.safetensors' = {{ sha256 = '{}', size_bytes = {} }}", sha256(&tower), tower.len());
    parts.recipe = parts.recipe.replace("path = \"tower\"", &format!("path = \"tower\"\n{pin}"));
    let pinned = parts.write();
    assert_code(&verify(pinned.path()), 0);
    tamper(&pinned.path().join("tower/model.safetensors"));
    let found = verify(pinned.path());
    assert_code(&found, 3);
    assert!(found.stdout.contains(&sha256(&tower)) && !found.stdout.contains("opens"), "{}", found.stdout);
}

#[test]
fn verify_opens_what_is_whole_as_a_run_would() {
    let fixture = pulled();
    // Every byte is as pinned, and yet tower and recipe do not fit.
    let text = std::fs::read_to_string(fixture.registry()).unwrap();
    fixture.write_registry(&text.replace("tap = 'pooled'", "tap = 'projected'"));
    let finished = fixture.models(&["verify", "small"]);
    assert_code(&finished, 3);
    let line = finished.stdout.lines().find(|line| line.contains("WRONG")).unwrap();
    for part in ["weight", "[1, 4]", "[1, 8]"] {
        assert!(line.contains(part), "{line}");
    }
    fixture.write_registry(&text);
    tamper(&fixture.file("model.safetensors"));
    let damaged = fixture.models(&["verify", "small"]).stdout;
    assert!(!damaged.contains("opens"), "{damaged}");
}
