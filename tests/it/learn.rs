//! From labels to calibrated scores: the worked example that the README tells, and what its numbers say of each other.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::program::{Finished, Row, await_end, deepsweep, finish, landed_in_folder, rows};

/// `jobs/learn.sh` in a folder of its own.
fn learn() -> (tempfile::TempDir, Finished) {
    let out = tempfile::tempdir().unwrap();
    let mut command = Command::new("bash");
    command.arg(crate::root().join("jobs/learn.sh"));
    command.env("DEEPSWEEP", env!("CARGO_BIN_EXE_deepsweep")).env("LEARN_OUT", out.path().join("learn"));
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let finished = await_end(command.spawn().unwrap());
    assert_eq!(finished.code, Some(0), "{}\n{}", finished.stdout, finished.stderr);
    (out, finished)
}

fn json(arguments: &[&str]) -> Value {
    let finished = finish(deepsweep(arguments, &[]));
    assert_eq!(finished.code, Some(0), "{arguments:?}\n{}", finished.stderr);
    serde_json::from_str(&finished.stdout).unwrap()
}

fn level<'a>(report: &'a Value, of: &str) -> &'a Value {
    report["levels"].as_array().unwrap().iter().find(|level| level["of"] == of).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

fn rows_of_run(out: &Path, table: &str, run: &str) -> Vec<Row> {
    let mut landed = landed_in_folder(out);
    landed.retain(|key, _| key.contains(&format!("/run={run}/")));
    rows(&landed, table)
}

#[test]
fn the_worked_example_ends_in_calibrated_scores_that_tell_fakes() {
    let (folder, finished) = learn();
    let out = folder.path().join("learn");
    for said in ["scorer probe@1 in ", "scorer probe@1-cal-", "held out", "threshold", "AUC"] {
        assert!(finished.stdout.contains(said), "expected {said:?} in\n{}", finished.stdout);
    }
    let second = out.join("_runs/second");
    let labels = out.join("labels.csv");
    let [run, labels] = [&second, &labels].map(|path| path.to_str().unwrap());
    let report = json(&["evaluate", run, "--labels", labels, "--split", "test", "--json", "--quiet"]);
    assert_eq!(report["labels"]["labelled_media"], 48);
    let scorer = &report["scorers"][0];
    let name = scorer["scorer"].as_str().unwrap();
    assert!(name.starts_with("probe@1-cal-"), "{name}");
    for of in ["face", "frame", "media"] {
        let level = level(scorer, of);
        let auc = &level["auc"];
        assert!(number(&auc["value"]) > 0.9, "{of}: {level}");
        let [low, high] = [0, 1].map(|end| number(&auc["interval"][end]));
        assert!(low <= number(&auc["value"]) && number(&auc["value"]) <= high, "{level}");
    }

    // A run and its rescoring, side by side.
    let first = out.join("_runs/first").display().to_string();
    let both = json(&["evaluate", &first, run, "--labels", labels, "--split", "test", "--json", "--quiet"]);
    let names: Vec<&str> = both["scorers"].as_array().unwrap().iter().map(|s| s["scorer"].as_str().unwrap()).collect();
    assert_eq!(names, [name, "untrained-demo@1"]);
    assert_eq!(both["scorers"][0], *scorer);

    // What the rows say is what scorer.toml says, by plain arithmetic.
    let words: toml::Table =
        std::fs::read_to_string(out.join("probe-calibrated/scorer.toml")).unwrap().parse().unwrap();
    let calibration = &words["calibration"];
    let threshold = calibration["threshold"]["logit"].as_float().unwrap();
    let faces = rows_of_run(&out, "faces", "second");
    assert!(faces.len() >= 300, "{}", faces.len());
    for face in &faces {
        let logit = number(&face["logit"]);
        let expected = match calibration["kind"].as_str().unwrap() {
            "platt" => {
                let at = |name: &str| calibration[name].as_float().unwrap();
                1.0 / (1.0 + (-(at("slope") * logit + at("offset"))).exp())
            }
            _ => interpolated(calibration["knots"].as_array().unwrap(), logit),
        };
        assert!((number(&face["calibrated_score"]) - expected).abs() < 1e-6, "{face:?}, expected {expected}");
        assert_eq!(face["above_threshold"], logit >= threshold, "{face:?}");
        assert!((number(&face["score"]) - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-6, "{face:?}");
    }
    for media in rows_of_run(&out, "media", "second") {
        let of_media: Vec<&Row> = faces.iter().filter(|face| face["media_id"] == media["media_id"]).collect();
        let above = of_media.iter().filter(|face| face["above_threshold"] == true).count();
        let expected = (!of_media.is_empty()).then(|| above as f64 / of_media.len() as f64);
        assert_eq!(
            media["share_above_threshold"].as_f64().map(|share| share as f32),
            expected.map(|s| s as f32),
            "{media:?}"
        );
    }
    // Rows of the first run have neither.
    let first = rows_of_run(&out, "faces", "first");
    assert!(first.iter().all(|face| face["calibrated_score"].is_null() && face["above_threshold"].is_null()));

    the_new_scorer_scores_pictures_as_it_scored_their_embeddings(&out, &faces);
}

fn interpolated(knots: &[toml::Value], logit: f64) -> f64 {
    let knot = |at: usize| [0, 1].map(|part| knots[at][part].as_float().unwrap());
    let after = (0..knots.len()).find(|at| knot(*at)[0] > logit);
    match after {
        Some(0) => knot(0)[1],
        Some(after) => {
            let ([x0, y0], [x1, y1]) = (knot(after - 1), knot(after));
            y0 + (y1 - y0) * (logit - x0) / (x1 - x0)
        }
        None => knot(knots.len() - 1)[1],
    }
}

/// A golden vector stands in its folder, and is held to at the start of a run.
fn the_new_scorer_scores_pictures_as_it_scored_their_embeddings(out: &Path, faces: &[Row]) {
    let scorer = out.join("probe-calibrated");
    assert!(std::fs::read_to_string(scorer.join("scorer.toml")).unwrap().contains("[[golden]]"));
    // Under this fingerprint `rescore` has done them already.
    let third = ["--run-id", "third", "--include", "*-01?.jpg", "--include-finished", "--quiet"];
    let [source, destination, folder] =
        [&out.join("archive"), &out.to_path_buf(), &scorer].map(|p| p.display().to_string());
    let arguments = [&["run", &source, "--out", &destination, "--scorer", &folder][..], &third].concat();
    let finished = finish(deepsweep(&arguments, &[]));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let again = rows_of_run(out, "faces", "third");
    assert!(again.len() >= 20, "{}", again.len());
    for face in &again {
        let before = faces.iter().find(|f| f["key"] == face["key"] && f["face_index"] == face["face_index"]).unwrap();
        for column in ["logit", "score", "calibrated_score", "above_threshold", "scorer"] {
            assert_eq!(face[column], before[column], "{column} of {}", face["key"]);
        }
    }
}
