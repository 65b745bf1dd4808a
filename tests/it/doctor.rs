//! `deepsweep doctor`: finds what is there, says what is missing and what to do about it.

use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use crate::program::{Finished, deepsweep, finish};

fn doctor(flags: &[&str]) -> Finished {
    let arguments: Vec<&str> = ["doctor", "--device", "cpu"].iter().chain(flags).copied().collect();
    finish(deepsweep(&arguments, &[("PATH", std::env::var("PATH").unwrap())]))
}

fn findings(finished: &Finished) -> Vec<Value> {
    serde_json::from_str(&finished.stdout).unwrap()
}

#[test]
fn a_machine_with_everything_is_well() {
    let finished = doctor(&["--json"]);
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{}", finished.stdout);
    let findings = findings(&finished);
    let parts: Vec<&str> = findings.iter().map(|finding| finding["part"].as_str().unwrap()).collect();
    let count = |part: &str| parts.iter().filter(|found| **found == part).count();
    let counts = ["device", "ffmpeg", "decoder", "demuxer", "layer", "scratch"].map(count);
    assert_eq!(counts, [1, 1, 7, 6, 8, 1]);
    assert!(findings.iter().all(|finding| finding["state"] != "missing"), "{findings:?}");
    let text = doctor(&[]);
    assert_eq!(text.code, Some(0), "{}", text.stderr);
    assert_eq!(text.stdout.lines().filter(|line| !line.starts_with(' ')).count(), findings.len(), "{}", text.stdout);
}

fn check_missing(flags: &[&str], part: &str, way_out: &str) {
    let finished = doctor(&[flags, &["--json"]].concat());
    assert_eq!(finished.code, Some(3), "{}", finished.stdout);
    assert!(finished.stderr.contains("is missing"), "{}", finished.stderr);
    let findings = findings(&finished);
    let finding = findings.iter().find(|finding| finding["part"] == part).unwrap();
    assert_eq!(finding["state"], "missing", "{finding}");
    assert!(finding["way_out"].as_str().unwrap().contains(way_out), "{finding}");
}

#[test]
fn what_is_missing_is_named_with_the_way_out() {
    for manager in ["apt install", "dnf install", "apk add", "brew install"] {
        check_missing(&["--ffmpeg", "/nonexistent/ffmpeg"], "ffmpeg", manager);
    }
    check_missing(&["--scratch", "/dev/null/scratch"], "scratch", "--scratch");
}

/// The version of the ffmpeg that is found, with this PATH in front of the test's own.
fn check_found(path_first: &Path, flags: &[&str]) {
    let path = format!("{}:{}", path_first.display(), std::env::var("PATH").unwrap());
    let arguments = [&["doctor", "--device", "cpu", "--json"], flags].concat();
    let finished = finish(deepsweep(&arguments, &[("PATH", path)]));
    let findings = findings(&finished);
    let version = findings.iter().find(|finding| finding["part"] == "ffmpeg").unwrap();
    assert_eq!(version["state"], "ok", "{flags:?}: {version}");
}

#[test]
fn ffprobe_stands_beside_the_link_or_beside_what_it_leads_to() {
    let folder = tempfile::tempdir().unwrap();
    let (links, programs) = (folder.path().join("bin"), folder.path().join("opt"));
    std::fs::create_dir(&links).unwrap();
    std::fs::create_dir(&programs).unwrap();
    for name in ["ffmpeg", "ffprobe"] {
        let program = programs.join(format!("{name}-5"));
        std::fs::copy(Path::new("/usr/bin").join(name), &program).unwrap();
        symlink(&program, links.join(name)).unwrap();
    }
    check_found(Path::new("/nonexistent"), &["--ffmpeg", links.join("ffmpeg").to_str().unwrap()]);
    check_found(&links, &[]);
    let alone = folder.path().join("ffmpeg");
    symlink("/usr/bin/ffmpeg", &alone).unwrap();
    check_found(Path::new("/nonexistent"), &["--ffmpeg", alone.to_str().unwrap()]);
}

#[test]
fn what_may_not_be_executed_is_passed_over_in_path() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ffmpeg"), "notes about ffmpeg").unwrap();
    check_found(folder.path(), &[]);
}

#[test]
fn room_for_videos_is_called_the_same_by_every_command() {
    let said = "Where videos lie that are too large for memory";
    for command in ["doctor", "run"] {
        let help = finish(deepsweep(&[command, "--help"], &[]));
        assert!(help.stdout.contains(said), "{command}: {}", help.stdout);
    }
}
