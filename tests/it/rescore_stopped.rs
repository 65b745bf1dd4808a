//! Scoring again that is refused, stopped or fed with broken parts; and what the next attempt makes of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::probe::{BOX, Choices, PLAIN, named};
use crate::program::{Sweep, await_end, deepsweep, finish, landed_in_bucket, landed_in_folder, rows};
use crate::rescore::{AGAIN, Again, bucket_of_two_runs, of_run, parts_of, run_of, success, sweep};
use crate::run_sources::{RESULTS, folder_of_pictures, text};
use crate::servers::faults::{Fault, Operation, When};

const MEDIA_OF_SECOND: &str = "media/dt=2026-01-02/run=again/part-00000-000001.parquet";

fn stated_in_bucket(server: &crate::servers::s3s_server::S3Server) -> crate::program::Landed {
    landed_in_bucket(server, RESULTS, "")
}

#[test]
fn an_attempt_that_failed_between_two_parts_is_finished_by_the_next() {
    let bucket = bucket_of_two_runs();
    let environment = bucket.server.environment();
    let scorers = [bucket.scorer.path()];
    let again = |flags| Again { runs: &bucket.runs, scorers: &scorers, flags };
    again(&["--run-id", "undisturbed", "--keep-embeddings"]).succeed(&environment);

    let denied = Fault::Status(403, "AccessDenied");
    bucket.server.fail_key(Operation::Put, MEDIA_OF_SECOND, When::From(1), denied);
    let failed = finish(again(&["--keep-embeddings", "--threads", "1"]).command(&environment));
    assert_eq!(failed.code, Some(3), "{}", failed.stderr);
    let halfway = stated_in_bucket(&bucket.server);
    assert!(!halfway.contains_key(MEDIA_OF_SECOND) && halfway.contains_key(&MEDIA_OF_SECOND.replace("media", "faces")));

    bucket.server.clear_rules();
    again(&["--keep-embeddings"]).succeed(&environment);
    let landed = stated_in_bucket(&bucket.server);
    // The parts of two runs differ in the run's name alone, which they tell: compare what they hold.
    for table in ["media", "frames", "faces", "embeddings"] {
        let of = |run_id| rows(&of_run(&landed, run_id), table);
        assert_eq!(of(AGAIN), of("undisturbed"), "{table}");
    }
    assert_eq!(success(&landed, AGAIN)["tally"], success(&landed, "undisturbed")["tally"]);
    assert_eq!(parts_of(&landed, AGAIN).len(), parts_of(&landed, "undisturbed").len());
    let rows_told = |run_id| -> Vec<u64> {
        let parts = success(&landed, run_id)["parts"].as_array().unwrap().clone();
        parts.iter().map(|part| part["rows"].as_u64().unwrap()).collect()
    };
    assert_eq!(rows_told(AGAIN), rows_told("undisturbed"));

    // Finished is finished.
    let before = bucket.server.count(Operation::Put);
    again(&["--keep-embeddings"]).succeed(&environment);
    assert_eq!(bucket.server.count(Operation::Put), before);
}

#[test]
fn a_part_that_stands_and_is_another_is_not_passed_over() {
    let bucket = bucket_of_two_runs();
    let environment = bucket.server.environment();
    let scorers = [bucket.scorer.path()];
    let again = Again { runs: &bucket.runs, scorers: &scorers, flags: &[] };
    bucket.server.fail_key(Operation::Put, MEDIA_OF_SECOND, When::From(1), Fault::Status(403, "AccessDenied"));
    assert_eq!(finish(again.command(&environment)).code, Some(3));
    bucket.server.clear_rules();
    let faces = MEDIA_OF_SECOND.replace("media", "faces");
    let mut body = bucket.server.get(RESULTS, &faces).unwrap().to_vec();
    body[20] ^= 1;
    bucket.server.put(RESULTS, &faces, body);
    let finished = finish(again.command(&environment));
    assert_eq!(finished.code, Some(3), "{}", finished.stderr);
    assert!(finished.stderr.contains(&faces) && finished.stderr.contains("--run-id"), "{}", finished.stderr);
}

#[test]
fn sigterm_ends_it_and_the_next_attempt_goes_on() {
    let bucket = bucket_of_two_runs();
    let environment = bucket.server.environment();
    let scorers = [bucket.scorer.path()];
    let again = Again { runs: &bucket.runs, scorers: &scorers, flags: &[] };
    let stalled = "embeddings/dt=2026-01-02/run=two/part-00000-000000.parquet";
    bucket.server.fail_key(Operation::Get, stalled, When::From(1), Fault::StallBody(100));
    let child = again.command(&environment).spawn().unwrap();
    let first = MEDIA_OF_SECOND.replace("000001", "000000");
    let give_up = Instant::now() + Duration::from_secs(60);
    while bucket.server.get(RESULTS, &first).is_none() {
        assert!(Instant::now() < give_up, "the first slice did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
    let sent = std::process::Command::new("/bin/sh").args(["-c", &format!("kill -TERM {}", child.id())]).status();
    assert!(sent.unwrap().success());
    let finished = await_end(child);
    assert_eq!(finished.code, Some(75), "{}", finished.stderr);
    assert!(finished.stderr.contains("1 of 2 slices stand"), "{}", finished.stderr);
    assert!(finished.elapsed < Duration::from_secs(10), "{:?}", finished.elapsed);

    bucket.server.clear_rules();
    again.succeed(&environment);
    let landed = stated_in_bucket(&bucket.server);
    assert_eq!(success(&landed, AGAIN)["tally"]["objects"], 2);
    let puts = |key: &str| {
        let calls = bucket.server.calls();
        calls.iter().filter(|call| call.operation == Operation::Put && call.key == key).count()
    };
    assert_eq!((puts(&first), puts(MEDIA_OF_SECOND)), (1, 1));
}

// --- What cannot be scored again.

/// A run in a folder, with a scorer that can score it again.
struct Swept {
    out: tempfile::TempDir,
    source: tempfile::TempDir,
    head: tempfile::TempDir,
}

fn swept() -> Swept {
    let (source, out) = (folder_of_pictures(), tempfile::tempdir().unwrap());
    let head = named("head", Choices { crop: BOX, tap: "pooled", ..PLAIN }).write();
    sweep(text(source.path()), text(out.path()), "first", &[head.path()], &[], &[]);
    Swept { out, source, head }
}

impl Swept {
    fn run(&self, run_id: &str) -> [String; 1] {
        [run_of(text(self.out.path()), run_id)]
    }

    fn part(&self, table: &str) -> PathBuf {
        self.out.path().join(format!("{table}/dt=2026-01-02/run=first/part-00000-000000.parquet"))
    }

    fn refused(&self, run_id: &str, scorer: &Path, code: i32, said: &[&str]) {
        Again { runs: &self.run(run_id), scorers: &[scorer], flags: &[] }.refused(code, said);
        assert!(parts_of(&landed_in_folder(self.out.path()), AGAIN).is_empty());
    }
}

#[test]
fn a_run_without_embeddings_is_refused_and_those_that_have_them_are_named() {
    let swept = swept();
    let (source, out) = (text(swept.source.path()), text(swept.out.path()));
    sweep(source, out, "bare", &[swept.head.path()], &["--no-embeddings"], &[]);
    swept.refused("bare", swept.head.path(), 2, &["\"bare\" has no embeddings", "have them: first"]);
    std::fs::remove_dir_all(swept.out.path().join("_runs/first")).unwrap();
    let way = format!("deepsweep run {source} --out");
    swept.refused("bare", swept.head.path(), 2, &["no finished run", &way, "--scorer"]);
}

#[test]
fn a_scorer_of_another_crop_or_tower_is_refused_with_what_would_serve() {
    let swept = swept();
    let other = named("other", Choices { crop: "crop = \"frame\"", ..PLAIN }).write();
    let said =
        ["\"other@1\"", "frame-squash-32px@", "clip-vit-8w1l-p16-32px@", "run \"first\" has crop box-0.25-squash"];
    swept.refused("first", other.path(), 2, &said);
    sweep(text(swept.source.path()), text(swept.out.path()), "second", &[other.path()], &[], &[]);
    swept.refused("first", other.path(), 2, &["these runs at", "have them: second"]);
    let mut tuned = named("tuned", Choices { crop: BOX, ..PLAIN });
    tuned.tower.get_mut("vision_model.post_layernorm.bias").unwrap().1[0] += 1.0;
    swept.refused("first", tuned.write().path(), 2, &["\"tuned@1\"", "no finished run", "deepsweep run"]);
}

#[test]
fn a_run_that_is_not_finished_or_of_another_schema_is_refused() {
    let swept = swept();
    swept.refused("nowhere", swept.head.path(), 3, &["\"nowhere\"", "finished run", "SUCCESS.json"]);
    let success = swept.out.path().join("_runs/first/SUCCESS.json");
    let text = std::fs::read_to_string(&success).unwrap();
    let version = format!("\"schema_version\": {}", deepsweep::tables::SCHEMA_VERSION);
    assert!(text.contains(&version));
    std::fs::write(&success, text.replace(&version, "\"schema_version\": 1")).unwrap();
    swept.refused("first", swept.head.path(), 3, &["schema version", "found 1"]);
    std::fs::write(&success, "{").unwrap();
    swept.refused("first", swept.head.path(), 3, &["SUCCESS.json cannot be used"]);
}

#[test]
fn a_run_id_of_another_run_is_refused() {
    let swept = swept();
    let scorers = [swept.head.path()];
    let runs = swept.run("first");
    let before = landed_in_folder(swept.out.path());
    Again { runs: &runs, scorers: &scorers, flags: &["--run-id", "first"] }
        .refused(2, &["\"first\" exists", "--run-id"]);
    assert_eq!(landed_in_folder(swept.out.path()), before);

    Again { runs: &runs, scorers: &scorers, flags: &[] }.succeed(&[]);
    let other = named("other", Choices { crop: BOX, ..PLAIN }).write();
    Again { runs: &runs, scorers: &[other.path()], flags: &[] }.refused(2, &["another --scorer", "rescore.json"]);
    Again { runs: &[runs[0].clone(), runs[0].clone()], scorers: &scorers, flags: &[] }.refused(2, &["another RUN"]);
    Again { runs: &runs, scorers: &scorers, flags: &["--dt", "2026-01-03"] }.refused(2, &["another --dt"]);
    // Without a day it is the day of the run that goes on, not today.
    let day_unsaid = ["rescore", &runs[0], "--scorer", text(scorers[0]), "--run-id", AGAIN];
    let finished = finish(deepsweep(&day_unsaid, &[]));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stdout.contains("slices     0 of 1"), "{}", finished.stdout);
    let [source, out] = [swept.source.path(), swept.out.path()].map(text);
    let taken = finish(Sweep { source, out, scorer: "none", flags: &["--run-id", AGAIN] }.command(&[]));
    assert_eq!(taken.code, Some(2), "{}", taken.stderr);
}

#[test]
fn words_that_cannot_be_meant_are_refused() {
    let say = |arguments: &[&str]| finish(deepsweep(&[&["rescore"], arguments].concat(), &[]));
    for (arguments, said) in [
        (&["results/first", "--scorer", "x"][..], "DEST/_runs/RUN_ID"),
        (&["r/_runs/a", "--scorer", "none"], "one that scores"),
        (&["r/_runs/a", "--scorer", "x", "--shard", "2/2"], "I/N"),
        (&["r/_runs/a", "--scorer", "x", "--shard", "0/2"], "--run-id ID"),
        (&["r/_runs/a"], "--scorer"),
        (&["--scorer", "x"], "RUN"),
    ] {
        let finished = say(arguments);
        assert_eq!(finished.code, Some(2), "{arguments:?}\n{}", finished.stderr);
        assert!(finished.stderr.contains(said), "{arguments:?}: expected {said:?} in\n{}", finished.stderr);
    }
    let help = say(&["--help"]);
    assert!(help.stdout.contains("Examples:") && help.stdout.contains("repeat the command"), "{}", help.stdout);
}

#[test]
fn parts_that_are_cut_broken_or_gone_are_named_and_nothing_is_written() {
    for (table, change, said) in [
        (
            "embeddings",
            &(|bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 7)) as &dyn Fn(&mut Vec<u8>),
            "as SUCCESS.json",
        ),
        ("embeddings", &|bytes| bytes.fill(0), "part"),
        ("embeddings", &|bytes| bytes[4..60].fill(0xFF), "part"),
        ("faces", &|bytes| bytes[4..60].fill(0xFF), "part"),
        (
            "media",
            &|bytes| {
                let end = bytes.len() - 20;
                bytes[end..].fill(7)
            },
            "part",
        ),
    ] {
        let swept = swept();
        let path = swept.part(table);
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        swept.refused("first", swept.head.path(), 3, &[said, &format!("{table}/dt=")]);
    }
    let swept = swept();
    std::fs::remove_file(swept.part("embeddings")).unwrap();
    swept.refused("first", swept.head.path(), 3, &["embeddings/dt=", "not there"]);
    // Those of another run under this name: each whole, and none fitting the other.
    let other = crate::rescore_stopped::swept();
    let pictures = tempfile::tempdir().unwrap();
    std::fs::copy(other.source.path().join("group.jpg"), pictures.path().join("group.jpg")).unwrap();
    sweep(text(pictures.path()), text(other.out.path()), "small", &[other.head.path()], &[], &[]);
    let of_small = other.part("embeddings").to_str().unwrap().replace("run=first", "run=small");
    let bytes = std::fs::copy(of_small, other.part("embeddings")).unwrap();
    let path = other.out.path().join("_runs/first/SUCCESS.json");
    let mut told: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for part in told["parts"].as_array_mut().unwrap() {
        if part["key"].as_str().unwrap().starts_with("embeddings/") {
            part["bytes"] = bytes.into();
        }
    }
    std::fs::write(&path, told.to_string()).unwrap();
    other.refused("first", other.head.path(), 3, &["embeddings/dt=", "of no media"]);
}

#[test]
fn a_vector_that_is_no_number_never_becomes_a_score() {
    let swept = swept();
    let embeddings = rows(&landed_in_folder(swept.out.path()), "embeddings");
    let vector: Vec<f32> =
        embeddings[3]["vector"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
    let stored: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    let path = swept.part("embeddings");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(stored.len()).position(|window| window == stored).unwrap();
    bytes[at + 4..at + 8].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    Again { runs: &swept.run("first"), scorers: &[swept.head.path()], flags: &["--keep-embeddings"] }.succeed(&[]);
    let again = of_run(&landed_in_folder(swept.out.path()), AGAIN);
    let without: Vec<_> = rows(&again, "faces").into_iter().filter(|face| face["score"].is_null()).collect();
    assert_eq!(without.len(), 1, "{without:?}");
    assert_eq!(without[0]["not_scored_reason"], "not_finite");
    assert_eq!((&without[0]["key"], &without[0]["face_index"]), (&embeddings[3]["key"], &embeddings[3]["face_index"]));
    assert_eq!(rows(&again, "embeddings").len(), embeddings.len() - 1);
}
