//! The tables as duckdb, pyarrow, polars and pandas read them (`tests/readers/read_tables.py`): the four agree
//! with each other, with our own reading, and with what the pictures show.
//!
//! `DEEPSWEEP_READERS_PYTHON` names a Python that has them; `tests/run.sh` makes one and sets it.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::program::{Sweep, column, landed_in_folder, rows};

const VARIABLE: &str = "DEEPSWEEP_READERS_PYTHON";
const TABLES: [&str; 5] = ["media", "frames", "faces", "tracks", "embeddings"];

/// What each reader saw, reader by reader.
fn read(results: &Path) -> Vec<(String, Value)> {
    let Ok(python) = std::env::var(VARIABLE) else {
        panic!("{VARIABLE} is not set: expected a Python with tests/readers/requirements.txt; run tests/run.sh")
    };
    let script = crate::root().join("tests/readers/read_tables.py");
    let output = Command::new(&python).arg("-B").arg(script).arg(results).output();
    let output = output.unwrap_or_else(|error| panic!("{VARIABLE}={python:?} does not start: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: serde_json::Map<String, Value> = serde_json::from_slice(&output.stdout).unwrap();
    let readers: Vec<&String> = seen.keys().collect();
    assert_eq!(readers, ["duckdb", "pandas", "polars", "pyarrow"]);
    seen.into_iter().collect()
}

/// Every reader sees `expected`, fact by fact.
fn check(results: &Path, expected: &[(&str, Value)]) {
    let seen = read(results);
    for (reader, facts) in &seen {
        for (fact, value) in expected {
            assert_eq!(facts[fact], *value, "{reader}: {fact}");
        }
        // Facts that nothing is known about beforehand, such as sums, are at least the same for all.
        assert_eq!(facts, &seen[0].1, "{reader} and {}", seen[0].0);
    }
}

fn columns_of(table: &str) -> Vec<String> {
    let described = deepsweep::tables::describe().into_iter().find(|described| described.name == table).unwrap();
    described.columns.iter().map(|column| column.name.to_owned()).collect()
}

#[test]
fn every_reader_sees_the_same_tables() {
    let out = tempfile::tempdir().unwrap();
    let source = crate::root().join("tests/media/good");
    let flags = ["--min-face-px", "20", "--exclude", "*.mp4"];
    let (source, destination) = (source.to_str().unwrap(), out.path().to_str().unwrap());
    Sweep { source, out: destination, scorer: "untrained-demo", flags: &flags }.succeed(&[]);
    let landed = landed_in_folder(out.path());
    let modified = column(&rows(&landed, "media"), "modified");
    check(
        out.path(),
        &[
            // By the README beside the pictures: 1 + 9 + 1 faces in four pictures; it is the fifth file itself.
            ("rows", json!([5, 4, 11, 0, 11])),
            ("keys", json!(["README.md", "astronaut.jpg", "group.jpg", "no_face.jpg", "portrait_small.jpg"])),
            ("status", json!(["rejected", "ok", "ok", "no_face", "ok"])),
            ("n_faces", json!(11)),
            ("joined", json!(11)),
            ("faces_of_group", json!(9)),
            ("score_nulls", json!(2)),
            ("columns", json!(TABLES.map(columns_of))),
            ("dt", json!(["2026-01-02"])),
            ("run", json!(["first"])),
            ("modified_us", json!(modified)),
            ("modified_zone", json!(true)),
        ],
    );
}

#[test]
fn every_reader_sees_two_runs_as_two_partitions() {
    let out = tempfile::tempdir().unwrap();
    let source = crate::root().join("tests/media/good");
    for (run, day) in [("a:1", "2026-01-02"), ("b", "2026-01-03")] {
        let flags = ["--run-id", run, "--dt", day, "--include", "portrait*", "--include-finished"];
        let (source, destination) = (source.to_str().unwrap(), out.path().to_str().unwrap());
        Sweep { source, out: destination, scorer: "untrained-demo", flags: &flags }.succeed(&[]);
    }
    check(
        out.path(),
        &[("rows", json!([2, 2, 2, 0, 2])), ("dt", json!(["2026-01-02", "2026-01-03"])), ("run", json!(["a:1", "b"]))],
    );
}

#[test]
fn every_reader_sees_the_columns_of_tables_without_rows() {
    let (source, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (source, destination) = (source.path().to_str().unwrap(), out.path().to_str().unwrap());
    Sweep { source, out: destination, scorer: "untrained-demo", flags: &[] }.succeed(&[]);
    check(out.path(), &[("rows", json!([0, 0, 0, 0, 0])), ("columns", json!(TABLES.map(columns_of)))]);
}
