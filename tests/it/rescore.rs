//! New scores from the embeddings of finished runs: the very rows of a run that sees the media.

use std::path::Path;

use serde_json::Value;

use crate::clips::{clip, encode};
use crate::probe::{ALIGNED, BOX, Choices, Folder, Head, PLAIN, named};
use crate::program::{
    DAY, Finished, Landed, Row, Sweep, deepsweep, finish, landed_in_bucket, landed_in_folder, rows, rows_of_part,
    without,
};
use crate::run_sources::{RESULTS, TABLES, folder_of_pictures, text};
use crate::servers::s3s_server::S3Server;

/// The run that is scored again, and the name of what comes of it.
const FIRST: &str = "first";
pub const AGAIN: &str = "again";

pub type Environment = [(&'static str, String)];

/// One command line of `deepsweep rescore`.
pub struct Again<'a> {
    /// Each as `DEST/_runs/RUN_ID`.
    pub runs: &'a [String],
    pub scorers: &'a [&'a Path],
    pub flags: &'a [&'a str],
}

impl Again<'_> {
    pub fn command(&self, environment: &Environment) -> std::process::Command {
        let mut arguments = vec!["rescore"];
        arguments.extend(self.runs.iter().map(String::as_str));
        for scorer in self.scorers {
            arguments.extend(["--scorer", text(scorer)]);
        }
        for (name, value) in [("--run-id", AGAIN), ("--dt", DAY), ("--threads", "2")] {
            if !self.flags.contains(&name) {
                arguments.extend([name, value]);
            }
        }
        arguments.extend(self.flags);
        deepsweep(&arguments, environment)
    }

    pub fn succeed(&self, environment: &Environment) -> Finished {
        let finished = finish(self.command(environment));
        assert_eq!(finished.code, Some(0), "{:?}\n{}", self.runs, finished.stderr);
        finished
    }

    /// Ends with `code`, says every one of `said`, and writes no row.
    pub fn refused(&self, code: i32, said: &[&str]) {
        let finished = finish(self.command(&[]));
        assert_eq!(finished.code, Some(code), "{}", finished.stderr);
        for said in said {
            assert!(finished.stderr.contains(said), "expected {said:?} in\n{}", finished.stderr);
        }
    }
}

/// Sweeps with several scorers under a name.
pub fn sweep(source: &str, out: &str, run_id: &str, scorers: &[&Path], flags: &[&str], environment: &Environment) {
    let mut all = vec!["--min-face-px", "20", "--include-finished", "--run-id", run_id];
    for scorer in scorers {
        all.extend(["--scorer", text(scorer)]);
    }
    all.extend(flags);
    Sweep { source, out, scorer: "", flags: &all }.succeed(environment);
}

pub fn run_of(out: &str, run_id: &str) -> String {
    format!("{out}/_runs/{run_id}")
}

/// What one run wrote.
pub fn of_run(landed: &Landed, run_id: &str) -> Landed {
    let of = |key: &&String| key.contains(&format!("/run={run_id}/")) || key.contains(&format!("_runs/{run_id}/"));
    landed.iter().filter(|(key, _)| of(key)).map(|(key, body)| (key.clone(), body.clone())).collect()
}

pub fn parts_of(landed: &Landed, run_id: &str) -> Landed {
    of_run(landed, run_id).into_iter().filter(|(key, _)| key.ends_with(".parquet")).collect()
}

pub fn success(landed: &Landed, run_id: &str) -> Value {
    serde_json::from_slice(&landed[&format!("_runs/{run_id}/SUCCESS.json")]).unwrap()
}

/// Every table row for row, but for times.
pub fn check_same_rows(found: &Landed, expected: &Landed, tables: &[&str]) {
    for table in tables {
        let of = |landed: &Landed| -> Vec<Row> { rows(landed, table).iter().map(|row| without(row, &[])).collect() };
        let (found, expected) = (of(found), of(expected));
        assert_eq!(found.len(), expected.len(), "{table}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{table}");
        }
    }
}

/// A folder with pictures, a broken file and a short video.
fn folder_of_media() -> tempfile::TempDir {
    let folder = folder_of_pictures();
    let video = clip("again.mp4", &[encode(40, "", "-c:v libx264 -pix_fmt yuv420p")]);
    std::fs::copy(video, folder.path().join("clip.mp4")).unwrap();
    std::fs::write(folder.path().join("broken.jpg"), "no picture").unwrap();
    folder
}

/// Every crop, to be embedded by a first run with heads of its own.
fn seers() -> Vec<tempfile::TempDir> {
    let crops = [("frame", "crop = \"frame\""), ("box", BOX), ("align", ALIGNED)];
    crops.map(|(name, crop)| named(&format!("seer-{name}"), Choices { crop, ..PLAIN }).write()).into()
}

/// Every kind of head on every tap of every crop, and one that looks at frames and faces both.
fn heads() -> Vec<tempfile::TempDir> {
    let mut folders = vec![];
    for (crop_name, crop) in [
        ("frame", "crop = \"frame\""),
        ("box", BOX),
        ("align", ALIGNED),
        ("both", "crop = [\"frame\", \"box\"]\nmargin = 0.25"),
    ] {
        for tap in ["pooled", "projected"] {
            for (head_name, head) in
                [("sigmoid", Head::Linear(1)), ("softmax", Head::Linear(2)), ("prompts", Head::ZeroShot)]
            {
                if (tap, head) == ("pooled", Head::ZeroShot) {
                    continue; // prompts are compared in the space that both towers have
                }
                for l2 in [false, true] {
                    let name = format!("{crop_name}-{tap}-{head_name}-{l2}");
                    folders.push(named(&name, Choices { crop, tap, l2, head, ..PLAIN }).write());
                }
            }
        }
    }
    folders
}

fn paths(folders: &[tempfile::TempDir]) -> Vec<&Path> {
    folders.iter().map(tempfile::TempDir::path).collect()
}

fn check_equals_a_run(out: &str, environment: &Environment, landed: impl Fn() -> Landed) {
    let (source, seers, heads) = (folder_of_media(), seers(), heads());
    sweep(text(source.path()), out, FIRST, &paths(&seers), &[], environment);
    sweep(text(source.path()), out, "seen", &paths(&heads), &[], environment);
    let runs = [run_of(out, FIRST)];
    let said = Again { runs: &runs, scorers: &paths(&heads), flags: &["--keep-embeddings"] }.succeed(environment);
    let landed = landed();
    // What the heads of three crops look at is a pass each in both, in another order.
    check_same_rows(&of_run(&landed, AGAIN), &of_run(&landed, "seen"), &["media", "frames", "faces", "tracks"]);
    let sorted = |run_id| {
        let mut all: Vec<String> =
            rows(&of_run(&landed, run_id), "embeddings").iter().map(|row| format!("{row:?}")).collect();
        all.sort();
        all
    };
    assert!(sorted(AGAIN) == sorted("seen"), "embeddings");
    assert_eq!(success(&landed, AGAIN)["fingerprint"], success(&landed, "seen")["fingerprint"]);
    assert_eq!(success(&landed, AGAIN)["detection_fingerprint"], success(&landed, FIRST)["detection_fingerprint"]);
    for counts in ["objects", "bytes", "frames", "faces", "scored", "no_face", "rejected", "rejected_by_class"] {
        assert_eq!(success(&landed, AGAIN)["tally"][counts], success(&landed, "seen")["tally"][counts], "{counts}");
    }
    let from = &success(&landed, AGAIN)["rescored_from"][0];
    assert_eq!(from["run_id"], FIRST);
    assert!(from["out"].as_str().is_some_and(|place| place.ends_with(out)), "{from}");
    assert!(said.stdout.contains("embeddings ") && said.stdout.contains("slices     1 of 1"), "{}", said.stdout);
    let media = rows(&of_run(&landed, AGAIN), "media");
    let seconds = media.iter().flat_map(|row| row.iter().filter(|(name, _)| name.starts_with("seconds_")));
    assert!(seconds.map(|(_, value)| value.as_f64()).all(|seconds| seconds == Some(0.0)));

    // What was scored again has embeddings, and can be scored again.
    let one = [heads[7].path()];
    let runs = [run_of(out, AGAIN)];
    Again { runs: &runs, scorers: &one, flags: &["--run-id", "third"] }.succeed(environment);
    sweep(text(source.path()), out, "fourth", &one, &[], environment);
}

#[test]
fn every_head_gives_in_a_folder_the_rows_that_a_run_gives_bit_for_bit() {
    let out = tempfile::tempdir().unwrap();
    check_equals_a_run(text(out.path()), &[], || landed_in_folder(out.path()));
    let landed = landed_in_folder(out.path());
    check_same_rows(&of_run(&landed, "third"), &of_run(&landed, "fourth"), &["media", "frames", "faces", "tracks"]);
    assert!(!of_run(&landed, "third").keys().any(|key| key.starts_with("embeddings/")));
}

#[test]
fn every_head_gives_in_a_bucket_the_rows_that_a_run_gives_bit_for_bit() {
    let server = S3Server::start();
    server.create_bucket(RESULTS);
    let environment = server.environment();
    check_equals_a_run("s3://results/a/b", &environment, || landed_in_bucket(&server, RESULTS, "a/b/"));
}

#[test]
fn what_overflowed_in_the_tower_stays_without_a_score() {
    let with_huge_norms = |name: &str, choices: Choices| {
        let mut folder = named(name, choices);
        folder.tower.get_mut("vision_model.post_layernorm.weight").unwrap().1.fill(3e38);
        folder.write()
    };
    let (source, out) = (folder_of_media(), tempfile::tempdir().unwrap());
    let out_text = text(out.path());
    let seer = with_huge_norms("seer", Choices { crop: BOX, tap: "pooled", ..PLAIN });
    let head = with_huge_norms("head", Choices { crop: BOX, tap: "pooled", l2: false, head: Head::Linear(2), ..PLAIN });
    sweep(text(source.path()), out_text, FIRST, &[seer.path()], &[], &[]);
    sweep(text(source.path()), out_text, "seen", &[head.path()], &[], &[]);
    Again { runs: &[run_of(out_text, FIRST)], scorers: &[head.path()], flags: &["--keep-embeddings"] }.succeed(&[]);
    let landed = landed_in_folder(out.path());
    check_same_rows(&of_run(&landed, AGAIN), &of_run(&landed, "seen"), &TABLES);
    let faces = rows(&of_run(&landed, AGAIN), "faces");
    assert!(faces.iter().any(|face| face["not_scored_reason"] == "not_finite"));
}

// --- Several runs.

/// Three runs over the same folder, the second and the third of which have media that one before has.
fn three_runs(out: &Path, scorer: &Path) -> (tempfile::TempDir, [String; 3]) {
    let source = folder_of_pictures();
    let includes: [(&str, &[&str]); 3] = [
        ("one", &["--include", "a*", "--include", "g*"]),
        ("two", &["--include", "g*", "--include", "n*"]),
        ("three", &["--include", "*"]),
    ];
    let runs = includes.map(|(run_id, flags)| {
        sweep(text(source.path()), text(out), run_id, &[scorer], flags, &[]);
        run_of(text(out), run_id)
    });
    (source, runs)
}

#[test]
fn a_media_that_several_runs_have_is_taken_once_from_the_first() {
    let out = tempfile::tempdir().unwrap();
    let seer = named("seer", Choices { crop: BOX, ..PLAIN }).write();
    let head = named("head", Choices { crop: BOX, tap: "pooled", ..PLAIN }).write();
    let (source, runs) = three_runs(out.path(), seer.path());
    let said = Again { runs: &runs, scorers: &[head.path()], flags: &[] }.succeed(&[]).stderr;
    assert!(said.contains("4 media stand in several of the runs"), "{said}");
    sweep(text(source.path()), text(out.path()), "seen", &[head.path()], &["--no-embeddings"], &[]);
    let landed = landed_in_folder(out.path());
    let sorted = |run_id: &str, table: &str| {
        let mut rows: Vec<String> =
            rows(&of_run(&landed, run_id), table).iter().map(|row| format!("{:?}", without(row, &[]))).collect();
        rows.sort();
        rows
    };
    for table in ["media", "frames", "faces"] {
        assert_eq!(sorted(AGAIN, table), sorted("seen", table), "{table}");
    }
    let in_slices: Vec<usize> = parts_of(&landed, AGAIN)
        .iter()
        .filter(|(key, _)| key.starts_with("media/"))
        .map(|(_, body)| rows_of_part(body.clone()).len())
        .collect();
    assert_eq!(in_slices, [2, 1, 1]);
    assert_eq!(success(&landed, AGAIN)["tally"]["objects"], 4);
}

#[test]
fn runs_of_other_settings_keep_the_fingerprints_that_they_have() {
    let (source, out) = (folder_of_pictures(), tempfile::tempdir().unwrap());
    let head = named("head", Choices { crop: BOX, ..PLAIN }).write();
    for (run_id, flags) in [("small", ["--include", "a*"]), ("large", ["--include", "g*"])] {
        let px = if run_id == "small" { "20" } else { "30" };
        let flags = [&["--min-face-px", px, "--run-id", run_id, "--scorer", text(head.path())][..], &flags].concat();
        Sweep { source: text(source.path()), out: text(out.path()), scorer: "", flags: &flags }.succeed(&[]);
    }
    let runs = ["small", "large"].map(|run_id| run_of(text(out.path()), run_id));
    Again { runs: &runs, scorers: &[head.path()], flags: &[] }.succeed(&[]);
    let landed = landed_in_folder(out.path());
    let fingerprints: Vec<Value> =
        rows(&of_run(&landed, AGAIN), "media").iter().map(|row| row["fingerprint"].clone()).collect();
    let expected = ["small", "large"].map(|run_id| success(&landed, run_id)["fingerprint"].clone());
    assert_eq!(fingerprints, expected);
    assert!(success(&landed, AGAIN)["fingerprint"].is_null());
}

#[test]
fn shards_write_together_what_one_worker_writes() {
    let out = tempfile::tempdir().unwrap();
    let seer = named("seer", Choices { crop: BOX, ..PLAIN }).write();
    let (_source, runs) = three_runs(out.path(), seer.path());
    let (alone, shared) = (out.path().join("alone"), out.path().join("shared"));
    let again = |to: &Path, flags: &[&str]| {
        let flags = [&["--keep-embeddings", "--out", text(to)], flags].concat();
        Again { runs: &runs, scorers: &[seer.path()], flags: &flags }.succeed(&[])
    };
    again(&alone, &[]);
    let said = again(&shared, &["--shard", "1/2"]).stdout;
    assert!(said.contains("slices     1 of 3") && said.contains("other shards"), "{said}");
    assert!(!shared.join("_runs/again/SUCCESS.json").exists());
    again(&shared, &["--shard", "0/2"]);
    again(&shared, &["--shard", "1/2"]); // once more: there is nothing left to do
    let (alone, shared) = (landed_in_folder(&alone), landed_in_folder(&shared));
    assert_eq!(parts_of(&shared, AGAIN), parts_of(&alone, AGAIN));
    let told = |landed: &Landed| {
        let mut success = success(landed, AGAIN);
        for part in success["parts"].as_array_mut().unwrap() {
            part.as_object_mut().unwrap().remove("etag"); // another file's
        }
        success["settings"] = Value::Null; // another --out
        success
    };
    assert_eq!(told(&shared), told(&alone));
}

// --- Attempts that were stopped.

pub struct Bucket {
    pub server: S3Server,
    pub runs: Vec<String>,
    pub scorer: tempfile::TempDir,
    _source: tempfile::TempDir,
}

/// Two runs in a bucket, so that there are two slices.
pub fn bucket_of_two_runs() -> Bucket {
    let server = S3Server::start();
    server.create_bucket(RESULTS);
    let (source, scorer) = (folder_of_pictures(), Folder::new(Choices { crop: BOX, ..PLAIN }).write());
    let runs = [("one", "a*"), ("two", "g*")].map(|(run_id, keys)| {
        let flags = ["--include", keys];
        sweep(text(source.path()), "s3://results", run_id, &[scorer.path()], &flags, &server.environment());
        run_of("s3://results", run_id)
    });
    Bucket { server, runs: runs.into(), scorer, _source: source }
}
