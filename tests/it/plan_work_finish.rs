//! A run in three steps: the rows of a run in one, whoever does the work, however often it is begun.

use serde_json::Value;

use crate::planned::{OUT, archive, check_same, landed, step, succeed, sweep, undisturbed};
use crate::program::{Landed, Sweep, deepsweep, finish, landed_in_folder, rows};
use crate::run_sources::{BUCKET, PICTURES, folder_of_pictures, text};
use crate::servers::faults::{Fault, Operation, When};

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
    server.put("results", "_runs/first/SUCCESS.json", "{}");
    server.put("results", second, body.clone());
    let told = finish(step("finish", &[], &environment));
    assert!(told.code == Some(3) && told.stderr.contains("remove it"), "{}", told.stderr);
    server.remove("results", "_runs/first/SUCCESS.json");
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
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("new");
    succeed(sweep("plan", &["--dry-run", "--out", text(&folder)], &server.environment()));
    assert!(!folder.exists());
}

#[test]
fn no_shard_is_left_without_work_where_there_is_an_object_for_each() {
    let (source, out) = (folder_of_pictures(), tempfile::tempdir().unwrap());
    for copy in 0..3 {
        for name in PICTURES {
            std::fs::copy(source.path().join(name), source.path().join(format!("{copy}-{name}"))).unwrap();
        }
    }
    let arguments = ["plan", text(source.path()), "--out", text(out.path()), "--scorer", "none", "--run-id", "first"];
    succeed(deepsweep(&[&arguments[..], &["--shards", "5"]].concat(), &[]));
    let plan = json(&landed_in_folder(out.path()), "_runs/first/plan.json");
    let shards = plan["shards"].as_array().unwrap();
    let objects: Vec<u64> = shards.iter().map(|shard| shard["objects"].as_u64().unwrap()).collect();
    assert_eq!(objects.iter().sum::<u64>(), 4 * PICTURES.len() as u64);
    assert!(objects.iter().all(|objects| *objects > 0), "{objects:?}");
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
    let finished = finish(sweep("plan", &["--shards", "2"], &environment));
    assert!(finished.code == Some(2) && finished.stderr.contains("--shards"), "{}", finished.stderr);
    let again = succeed(sweep("plan", &["--shards", "1"], &environment));
    assert!(again.stdout.contains("objects    2 "), "{}", again.stdout);
    let key = "_runs/first/plan.json";
    let plan = String::from_utf8(server.get("results", key).unwrap().to_vec()).unwrap();
    let fingerprint = json(&landed(&server), key)["fingerprint"].as_str().unwrap().to_owned();
    server.put("results", key, plan.replace(&fingerprint, &"0".repeat(64)));
    let finished = finish(step("work", &[], &environment));
    assert!(finished.code == Some(2) && finished.stderr.contains("fingerprint"), "{}", finished.stderr);
    assert!(rows(&landed(&server), "media").is_empty(), "{OUT}");
}

#[test]
fn a_run_that_lost_its_plan_is_not_planned_again_on_another_day() {
    let server = archive(2);
    let environment = server.environment();
    succeed(sweep("run", &[], &environment));
    for key in ["_runs/first/plan.json", "_runs/first/SUCCESS.json"] {
        server.remove("results", key);
    }
    let arguments =
        ["run", "s3://archive/", "--out", OUT, "--scorer", "none", "--run-id", "first", "--include-finished"];
    let finished = finish(deepsweep(&[&arguments[..], &["--dt", "2026-01-03"]].concat(), &environment));
    assert!(finished.code == Some(2) && finished.stderr.contains("--run-id"), "{}", finished.stderr);
    assert_eq!(rows(&landed(&server), "media").len(), 2);
}

#[test]
fn what_attempts_disagree_about_is_scored_by_nobody_and_keeps_no_run_from_being_scored_again() {
    let (source, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let good = crate::root().join("tests/media/good/portrait_small.jpg");
    for name in ["a.jpg", "b.jpg", "c.jpg"] {
        std::fs::copy(&good, source.path().join(name)).unwrap();
    }
    let run = format!("{}/_runs/first", text(out.path()));
    let begin =
        ["plan", text(source.path()), "--out", text(out.path()), "--scorer", "untrained-demo", "--run-id", "first"];
    let work = ["work", run.as_str(), "--threads", "2"];
    succeed(deepsweep(&[&begin[..], &["--dt", "2026-01-02"]].concat(), &[]));
    succeed(deepsweep(&work, &[]));
    // As if the worker had died between its parts; and then an object is gone.
    for table in ["media", "frames"] {
        std::fs::remove_dir_all(out.path().join(table)).unwrap();
    }
    std::fs::remove_file(source.path().join("b.jpg")).unwrap();
    succeed(deepsweep(&work, &[]));
    succeed(deepsweep(&["finish", &run, "--max-failed", "1"], &[]));
    let again = ["rescore", run.as_str(), "--scorer", "untrained-demo", "--run-id", "again", "--dt", "2026-01-02"];
    succeed(deepsweep(&again, &[]));
    let landed = landed_in_folder(out.path());
    for run_id in ["first", "again"] {
        let of_run: Landed = landed
            .iter()
            .filter(|(key, _)| key.contains(&format!("run={run_id}/")))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let told: Vec<Value> = rows(&of_run, "media").iter().map(|row| row["error_class"].clone()).collect();
        assert_eq!(told, [Value::Null, "fetch_failed".into(), Value::Null], "{run_id}");
    }
}

#[test]
fn an_object_that_is_still_denied_keeps_no_other_from_being_tried_again() {
    let server = archive(4);
    let environment = server.environment();
    let denied = Fault::Status(403, "AccessDenied");
    for key in ["000.mp4", "001.mp4"] {
        server.fail_key(Operation::Get, key, When::From(1), denied);
    }
    succeed(sweep("run", &["--max-failed", "1"], &environment));
    server.clear_rules();
    for operation in [Operation::Get, Operation::Head] {
        server.fail_key(operation, "000.mp4", When::From(1), denied);
    }
    succeed(sweep("run", &["--retry-failed", "--max-failed", "1", "--run-id", "again"], &environment));
    let again: Landed = landed(&server).into_iter().filter(|(key, _)| key.contains("run=again/")).collect();
    let told: Vec<(Value, Value)> =
        rows(&again, "media").iter().map(|row| (row["key"].clone(), row["error_class"].clone())).collect();
    assert_eq!(told, [("000.mp4".into(), "denied".into()), ("001.mp4".into(), Value::Null)]);
}

#[test]
fn what_limits_rejected_is_swept_again_under_other_limits_and_not_under_the_same() {
    let (source, out) = (folder_of_pictures(), tempfile::tempdir().unwrap());
    let keys = |run_id: &str, flags: &[&str]| {
        let flags = [&["--run-id", run_id, "--suffix", ".jpg"][..], flags].concat();
        Sweep { source: text(source.path()), out: text(out.path()), scorer: "none", flags: &flags }.succeed(&[]);
        let landed = landed_in_folder(out.path());
        let of_run: Landed = landed.into_iter().filter(|(key, _)| key.contains(&format!("run={run_id}/"))).collect();
        rows(&of_run, "media").len()
    };
    let pictures = PICTURES.iter().filter(|name| name.ends_with(".jpg")).count();
    assert_eq!(keys("one", &["--max-pixels", "10"]), pictures);
    assert_eq!(keys("two", &["--max-pixels", "10"]), 0);
    assert_eq!(keys("three", &[]), pictures);
    assert_eq!(keys("four", &["--max-pixels", "10"]), 0);
}

#[test]
fn a_plan_of_other_tables_or_of_another_run_is_no_plan_of_this_one() {
    let server = archive(2);
    succeed(sweep("plan", &[], &server.environment()));
    let key = "_runs/first/plan.json";
    let plan = String::from_utf8(server.get("results", key).unwrap().to_vec()).unwrap();
    for (from, to, said) in [
        ("\"schema_version\": 4", "\"schema_version\": 5", "schema version"),
        ("\"run_id\": \"first\"", "\"run_id\": \"second\"", "second"),
        ("{", "[", "plan.json"),
    ] {
        server.put("results", key, plan.replacen(from, to, 1));
        for command in ["work", "finish"] {
            let finished = finish(step(command, &[], &server.environment()));
            assert_eq!(finished.code, Some(3), "{}", finished.stderr);
            assert!(finished.stderr.contains(said), "expected {said:?} in\n{}", finished.stderr);
        }
    }
}

#[test]
fn a_list_of_keys_is_swept_by_workers_who_may_not_list() {
    let server = archive(4);
    let lists = tempfile::tempdir().unwrap();
    let list = lists.path().join("keys.txt");
    std::fs::write(&list, "s3://archive/001.mp4\ns3://archive/000.mp4\ns3://archive/gone.mp4\n").unwrap();
    server.fail_key(Operation::List, "", When::From(1), Fault::Status(403, "AccessDenied"));
    let out = tempfile::tempdir().unwrap();
    let arguments = ["run", text(&list), "--out", text(out.path()), "--scorer", "none", "--threads", "2"];
    succeed(deepsweep(&arguments, &server.environment()));
    let told: Vec<(Value, Value)> = rows(&landed_in_folder(out.path()), "media")
        .iter()
        .map(|row| (row["key"].clone(), row["status"].clone()))
        .collect();
    let row = |key: &str, status: &str| (Value::from(key), Value::from(status));
    assert_eq!(told, [row("000.mp4", "ok"), row("001.mp4", "no_face"), row("gone.mp4", "rejected")]);
}
