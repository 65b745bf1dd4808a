//! A run in three steps: the rows of a run in one, whoever does the work, however often it is begun.

use serde_json::Value;

use crate::planned::{OUT, archive, check_same, landed, step, succeed, sweep, undisturbed};
use crate::program::{Landed, Sweep, finish, landed_in_folder, rows};
use crate::run_sources::{BUCKET, PICTURES, folder_of_pictures, text};
use crate::servers::faults::{Fault, Operation};

fn json(landed: &Landed, key: &str) -> Value {
    serde_json::from_slice(&landed[key]).unwrap()
}

fn parts(landed: &Landed, table: &str) -> Vec<String> {
    let parts = landed.keys().filter(|key| key.starts_with(&format!("{table}/")));
    parts.map(|key| key.rsplit_once('/').unwrap().1.to_owned()).collect()
}

#[test]
fn three_steps_give_the_rows_of_one() {
    let server = archive(10);
    let environment = server.environment();
    let expected = undisturbed(&server);
    let planned = succeed(sweep("plan", &["--shards", "3"], &environment));
    for said in ["objects    10 ", "10 videos", "3, 10 slices", "deepsweep work s3://results/_runs/first"] {
        assert!(planned.stdout.contains(said), "expected {said:?} in\n{}", planned.stdout);
    }
    let plan = json(&landed(&server), "_runs/first/plan.json");
    assert_eq!((&plan["objects"], plan["shards"].as_array().unwrap().len()), (&10.into(), 3));
    // What is added behind the plan's back is no part of the run.
    server.put(BUCKET, "late.mp4", "late");
    for shard in ["2/3", "0/3", "1/3"] {
        succeed(step("work", &["--shard", shard], &environment));
    }
    let told = succeed(step("finish", &[], &environment));
    assert!(told.stdout.contains("objects    10 ") && told.stdout.contains("rejected   4"), "{}", told.stdout);
    let found = landed(&server);
    check_same(&found, &expected);
    let names = ["part-00000-", "part-00001-", "part-00002-"]
        .map(|of| parts(&found, "media").iter().filter(|p| p.starts_with(of)).count());
    assert_eq!((names.iter().sum::<usize>(), names.iter().all(|slices| (3..=4).contains(slices))), (10, true));
    let (found, expected) = (json(&found, "_runs/first/SUCCESS.json"), json(&expected, "_runs/first/SUCCESS.json"));
    for count in ["objects", "bytes", "frames", "faces", "scored", "no_face", "rejected", "rejected_by_class"] {
        assert_eq!(found["tally"][count], expected["tally"][count], "{count}");
    }
    assert_eq!(found["fingerprint"], expected["fingerprint"]);
}

#[test]
fn a_child_of_an_array_job_takes_its_share_by_the_variables_of_its_engine() {
    let server = archive(8);
    succeed(sweep("plan", &["--shards", "4"], &server.environment()));
    let child = |variables: &[(&'static str, &str)]| {
        let given = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let environment: Vec<_> = server.environment().into_iter().chain(given).collect();
        succeed(step("work", &[], &environment)).stderr
    };
    let said = child(&[("AWS_BATCH_JOB_ARRAY_INDEX", "1"), ("AWS_BATCH_JOB_ARRAY_SIZE", "2")]);
    assert!(said.contains("1/2") && said.contains("AWS_BATCH_JOB_ARRAY_INDEX"), "{said}");
    child(&[("JOB_COMPLETION_INDEX", "0")]);
    let mut shards: Vec<String> = parts(&landed(&server), "media").iter().map(|name| name[..10].to_owned()).collect();
    shards.dedup();
    assert_eq!(shards, ["part-00000", "part-00001", "part-00003"]);
    let spare = child(&[("SLURM_ARRAY_TASK_ID", "9"), ("SLURM_ARRAY_TASK_MIN", "1"), ("SLURM_ARRAY_TASK_COUNT", "9")]);
    assert!(spare.contains("none is left"), "{spare}");
    child(&[("SLURM_ARRAY_TASK_ID", "3"), ("SLURM_ARRAY_TASK_MIN", "1"), ("SLURM_ARRAY_TASK_COUNT", "4")]);
    succeed(step("finish", &[], &server.environment()));
}

#[test]
fn finish_names_what_is_missing_and_what_is_too_much() {
    let server = archive(9);
    let environment = server.environment();
    let none = finish(step("finish", &[], &environment));
    assert!(none.code == Some(3) && none.stderr.contains("deepsweep plan"), "{}", none.stderr);
    succeed(sweep("plan", &["--shards", "3"], &environment));
    succeed(step("work", &["--shard", "1/3"], &environment));
    let refused = |said: &[&str]| {
        let finished = finish(step("finish", &[], &environment));
        assert_eq!(finished.code, Some(3), "{}", finished.stderr);
        for said in said {
            assert!(finished.stderr.contains(said), "expected {said:?} in\n{}", finished.stderr);
        }
        assert!(!landed(&server).contains_key("_runs/first/SUCCESS.json"));
    };
    refused(&["6 missing", "shard 0: 3 of 3 slices: 0-2", "shard 2: 3 of 3", "deepsweep work"]);
    succeed(step("work", &[], &environment));
    let second = "faces/dt=2026-01-02/run=first/part-00001-000001.parquet";
    let body = server.get("results", second).unwrap();
    server.remove("results", second);
    refused(&["faces/dt=2026-01-02/run=first/part-00001-000001.parquet", "found none"]);
    server.put("results", second, body.clone());
    server.put("results", "faces/dt=2026-01-02/run=first/part-00001-000009.parquet", body);
    refused(&["part-00001-000009.parquet"]);
}

#[test]
fn a_compacted_run_has_the_same_rows_in_order_and_readers_of_either_root_see_each_once() {
    let server = archive(9);
    let environment = server.environment();
    succeed(sweep("plan", &["--shards", "2"], &environment));
    succeed(step("work", &[], &environment));
    succeed(step("finish", &[], &environment));
    let small = landed(&server);
    // Stopped in the middle, it goes on; the first root never changes.
    server.fail(Operation::Put, 3, Fault::Status(403, "AccessDenied"));
    assert_eq!(finish(step("finish", &["--compact"], &environment)).code, Some(3));
    let unfinished = landed(&server);
    assert!(small.iter().all(|(key, body)| unfinished[key] == *body), "the first root changed");
    assert!(unfinished.len() > small.len(), "{:?}", unfinished.keys());
    assert!(!unfinished.contains_key("_runs/first/COMPACT.json"));
    for _ in 0..2 {
        succeed(step("finish", &["--compact"], &environment));
    }
    let all = landed(&server);
    assert!(small.iter().all(|(key, body)| all[key] == *body));
    let large: Landed =
        all.iter().filter_map(|(key, body)| Some((key.strip_prefix("compact/")?.to_owned(), body.clone()))).collect();
    assert!(large.keys().all(|key| key.ends_with("dt=2026-01-02/run=first/part-00000.parquet")), "{:?}", large.keys());
    check_same(&large, &small);
    for table in ["media", "frames", "faces"] {
        let keys = rows(&large, table);
        assert!(!keys.is_empty() && keys.is_sorted_by_key(|row| row["key"].as_str().unwrap().to_owned()), "{table}");
    }
    assert_eq!(json(&all, "_runs/first/COMPACT.json")["parts"].as_array().unwrap().len(), large.len());
}

#[test]
fn a_dry_run_writes_nothing_and_says_what_there_is_to_do() {
    let server = archive(6);
    let finished = succeed(sweep("plan", &["--dry-run"], &server.environment()));
    for said in ["objects    6 ", "6 videos", "expected   about", "nothing was written"] {
        assert!(finished.stdout.contains(said), "expected {said:?} in\n{}", finished.stdout);
    }
    assert!(landed(&server).is_empty());
}

#[test]
fn what_earlier_runs_finished_is_left_out_and_what_changed_since_is_not() {
    let (source, out) = (folder_of_pictures(), tempfile::tempdir().unwrap());
    let sweep = |run_id, more: &[&str]| {
        let flags = [&["--run-id", run_id, "--suffix", ".jpg"][..], more].concat();
        Sweep { source: text(source.path()), out: text(out.path()), scorer: "none", flags: &flags }.succeed(&[])
    };
    let keys = |run_id: &str| {
        let landed = landed_in_folder(out.path());
        let of_run: Landed = landed.into_iter().filter(|(key, _)| key.contains(&format!("run={run_id}/"))).collect();
        rows(&of_run, "media").iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    sweep("one", &[]);
    assert_eq!(keys("one").len(), PICTURES.iter().filter(|name| name.ends_with(".jpg")).count());
    std::fs::copy(source.path().join("group.jpg"), source.path().join("new.jpg")).unwrap();
    std::fs::write(source.path().join("no_face.jpg"), "another").unwrap();
    let told = sweep("two", &[]);
    assert_eq!(keys("two"), ["new.jpg", "no_face.jpg"]);
    assert!(told.stdout.contains("finished by earlier runs"), "{}", told.stdout);
    // A text file under a picture's name stays one: it is finished too.
    let told = sweep("three", &[]);
    assert_eq!(keys("three"), Vec::<String>::new());
    assert!(told.stderr.contains("--include-finished"), "{}", told.stderr);
    sweep("four", &["--include-finished", "--exclude", "[!n]*"]);
    assert_eq!(keys("four"), ["new.jpg", "no_face.jpg"]);
    // Under other settings nothing is finished yet.
    sweep("five", &["--min-face-px", "50"]);
    assert_eq!(keys("five").len(), keys("one").len() + 1);
}

#[test]
fn rejected_objects_are_tried_again_by_their_class() {
    let server = archive(8);
    let environment = server.environment();
    succeed(sweep("run", &[], &environment));
    let keys = |run_id: &str| {
        let of_run: Landed =
            landed(&server).into_iter().filter(|(key, _)| key.contains(&format!("run={run_id}/"))).collect();
        rows(&of_run, "media").iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    succeed(sweep("run", &["--retry-failed=corrupt", "--run-id", "again"], &environment));
    assert_eq!(keys("again"), ["003.mp4", "007.mp4"]);
    succeed(sweep("run", &["--retry-failed=not_media,corrupt", "--run-id", "both"], &environment));
    assert_eq!(keys("both"), ["002.mp4", "003.mp4", "006.mp4", "007.mp4"]);
    succeed(sweep("run", &["--retry-failed", "--run-id", "none"], &environment));
    assert_eq!(keys("none"), Vec::<String>::new());
    // One is mended, one is gone.
    let picture = std::fs::read(crate::root().join("tests/media/good/no_face.jpg")).unwrap();
    server.put(BUCKET, "003.mp4", picture);
    server.remove(BUCKET, "007.mp4");
    succeed(sweep("run", &["--retry-failed=corrupt", "--run-id", "mended"], &environment));
    assert_eq!(keys("mended"), ["003.mp4"]);
    let wrong = finish(sweep("run", &["--retry-failed=broken", "--run-id", "x"], &environment));
    assert!(wrong.code == Some(2) && wrong.stderr.contains("fetch_failed"), "{}", wrong.stderr);
}

#[test]
fn work_and_finish_are_refused_by_another_scorer_and_by_a_run_that_is_none() {
    let server = archive(2);
    let environment = server.environment();
    let finished = finish(step("work", &[], &environment));
    assert!(finished.code == Some(3) && finished.stderr.contains("deepsweep plan"), "{}", finished.stderr);
    succeed(sweep("plan", &[], &environment));
    // Plans are made once: another one under the same name is refused.
    let finished = finish(sweep("plan", &["--min-face-px", "50"], &environment));
    assert!(finished.code == Some(2) && finished.stderr.contains("--min-face-px"), "{}", finished.stderr);
    let again = succeed(sweep("plan", &[], &environment));
    assert!(again.stdout.contains("objects    2 "), "{}", again.stdout);
    let key = "_runs/first/plan.json";
    let plan = String::from_utf8(server.get("results", key).unwrap().to_vec()).unwrap();
    let fingerprint = json(&landed(&server), key)["fingerprint"].as_str().unwrap().to_owned();
    server.put("results", key, plan.replace(&fingerprint, &"0".repeat(64)));
    let finished = finish(step("work", &[], &environment));
    assert!(finished.code == Some(2) && finished.stderr.contains("fingerprint"), "{}", finished.stderr);
    assert!(rows(&landed(&server), "media").is_empty(), "{OUT}");
}
