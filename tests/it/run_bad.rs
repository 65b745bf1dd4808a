//! Files that break, lie or explode (`tests/media/bad`): each has its one row with a reason, and the run goes on.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::program::{Landed, Row, Sweep, landed_in_folder, rows};

/// Any of these may become of the file.
#[derive(Debug, Deserialize)]
struct Expected {
    status: Vec<String>,
    error_class: Vec<String>,
}

const SCORES: [&str; 4] = ["score_mean", "score_median", "score_max", "score_top3_mean"];

fn sweep_bad(scorer: &str) -> Landed {
    let out = tempfile::tempdir().unwrap();
    let source = crate::root().join("tests/media/bad");
    let flags = ["--exclude", "expected.json"];
    Sweep { source: source.to_str().unwrap(), out: out.path().to_str().unwrap(), scorer, flags: &flags }.succeed(&[]);
    landed_in_folder(out.path())
}

fn check(expected: &Expected, row: &Row) -> Result<(), String> {
    let text = |name: &str| row[name].as_str().unwrap_or("null").to_owned();
    let (status, class, message) = (text("status"), text("error_class"), text("error_message"));
    if !expected.status.contains(&status) {
        return Err(format!("expected {:?}, found {status} ({class}: {message})", expected.status));
    }
    let rejected = status == "rejected";
    if rejected != expected.error_class.contains(&class) {
        return Err(format!("expected {:?}, found {class}: {message}", expected.error_class));
    }
    if rejected && (message.trim().is_empty() || message.contains('\n') || row["retryable"] != false) {
        return Err(format!("{class}: message {message:?}, retryable {}", row["retryable"]));
    }
    if !rejected && (!row["error_message"].is_null() || !row["retryable"].is_null()) {
        return Err(format!("{status} with {class}: {message}"));
    }
    Ok(())
}

#[test]
fn every_bad_file_has_one_row_that_says_what_is_wrong() {
    let text = std::fs::read_to_string(crate::root().join("tests/media/bad/expected.json")).unwrap();
    let expected: BTreeMap<String, Expected> = serde_json::from_str(&text).unwrap();
    let media = rows(&sweep_bad("none"), "media");
    let keys: Vec<&str> = media.iter().map(|row| row["key"].as_str().unwrap()).collect();
    assert!(keys.iter().copied().eq(expected.keys().map(String::as_str)), "{keys:?}");
    let wrong: Vec<String> = media
        .iter()
        .zip(expected)
        .filter_map(|(row, (name, expected))| Some(format!("{name}: {}", check(&expected, row).err()?)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A score, or the reason why there is none; and never the number that says nothing.
fn check_scores(row: &Row, scores: &[&str]) {
    for name in scores {
        assert_eq!(row[*name].is_null(), !row["not_scored_reason"].is_null(), "{name}: {row:?}");
        assert_ne!(row[*name], Value::from(0.5), "{row:?}");
    }
}

#[test]
fn what_has_no_score_is_null_with_its_reason() {
    let landed = sweep_bad("untrained-demo");
    for (table, scores) in [("media", &SCORES[..]), ("frames", &["frame_score"]), ("faces", &["score", "logit"])] {
        let rows = rows(&landed, table);
        assert!(!rows.is_empty(), "{table}");
        rows.iter().for_each(|row| check_scores(row, scores));
    }
    for row in rows(&landed, "media") {
        let reason = match row["status"].as_str().unwrap() {
            "ok" => Value::Null,
            other => other.into(), // `no_face` and `rejected` are reasons by the same names
        };
        assert_eq!(row["not_scored_reason"], reason, "{row:?}");
    }
}
