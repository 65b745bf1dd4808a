//! What the command line says: help, settings and their origins, mistakes by name, logs that machines read.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::program::{Finished, Sweep, deepsweep, finish, landed_in_folder};

fn say(arguments: &[&str]) -> Finished {
    finish(deepsweep(arguments, &[]))
}

fn pictures() -> String {
    crate::root().join("tests/media/good").to_str().unwrap().to_owned()
}

/// A job file, and the folder that it lies in.
fn job(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn help_shows_examples_and_exit_codes() {
    for arguments in [&["--help"][..], &["run", "--help"]] {
        let help = say(arguments);
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        for part in ["Examples:", "deepsweep run photos --out results", "Exit codes: 0 done"] {
            assert!(help.stdout.contains(part), "{arguments:?}: {part:?} is missing in\n{}", help.stdout);
        }
    }
}

// --- Settings.

/// `--explain` as a table: setting → (value, origin).
fn explained(arguments: &[&str]) -> BTreeMap<String, (String, String)> {
    let finished = say(arguments);
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    let lines = finished.stdout.lines().map(|line| {
        let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(cells.len(), 3, "{line:?}");
        (cells[0].to_owned(), (cells[1].to_owned(), cells[2].to_owned()))
    });
    lines.collect()
}

#[test]
fn a_flag_beats_the_job_file_which_beats_the_default() {
    let (_folder, job) = job("source = 'photos'\nout = 'results'\nscorer = 'none'\nmin_face_px = 20\nthreads = 3\n");
    let settings = explained(&["run", &job, "--threads", "1", "--suffix", ".jpg", "--explain"]);
    for (setting, value, origin) in [
        ("source", "photos", "job file"),
        ("out", "results", "job file"),
        ("scorer", "none", "job file"),
        ("min_face_px", "20", "job file"),
        ("threads", "1", "flag"),
        ("suffix", ".jpg", "flag"),
        ("exclude", "-", "default"),
        ("detector", "mtcnn", "default"),
        ("device", "auto", "default"),
        ("max_failed", "0.1", "default"),
        ("quiet", "false", "default"),
    ] {
        let expected = (value.to_owned(), origin.to_owned());
        assert_eq!(settings.get(setting), Some(&expected), "{setting}");
    }
}

#[test]
fn explain_names_every_flag_that_help_names() {
    let help = say(&["run", "--help"]).stdout;
    let flags = help.split_whitespace().filter_map(|word| word.strip_prefix("--"));
    let flags = flags
        .map(|flag| flag.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap().replace('-', "_"));
    let settings = explained(&["run", "photos", "--out", "results", "--scorer", "none", "--explain"]);
    let known: Vec<&str> = settings.keys().map(String::as_str).collect();
    let not_settings = ["help", "explain", "version"];
    let missing: Vec<String> =
        flags.filter(|flag| !not_settings.contains(&flag.as_str()) && !known.contains(&flag.as_str())).collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn explain_starts_nothing() {
    let out = tempfile::tempdir().unwrap();
    let destination = out.path().join("new");
    explained(&["run", &pictures(), "--out", destination.to_str().unwrap(), "--scorer", "none", "--explain"]);
    assert!(!destination.exists());
}

// --- Mistakes.

/// Ends with 2, says every one of `named`, writes nothing.
fn check_mistake(arguments: &[&str], named: &[&str]) {
    let out = tempfile::tempdir().unwrap();
    let destination = out.path().to_str().unwrap();
    let finished = say(&[arguments, &["--out", destination]].concat());
    assert_eq!(finished.code, Some(2), "{arguments:?}\n{}", finished.stderr);
    for name in named {
        assert!(finished.stderr.contains(name), "{arguments:?}: expected {name:?} in\n{}", finished.stderr);
    }
    assert!(landed_in_folder(out.path()).is_empty(), "{arguments:?}");
}

#[test]
fn a_mistake_is_named_with_what_to_do() {
    let pictures = pictures();
    let run = |more: &[&'static str]| [&["run", pictures.as_str()], more].concat();
    check_mistake(&run(&["--scorer", "/no/such"]), &["/no/such", "scorer.toml", "--scorer none"]);
    let cuda = ["--scorer", "none", "--device", "cuda"];
    check_mistake(&run(&cuda), &["cuda:0", "--features cuda", "--device cpu"]);
    check_mistake(&run(&["--scorer", "none", "--device", "gpu"]), &["gpu", "cuda:N"]);
    check_mistake(&run(&["--scorer", "none", "--min-face-px", "3"]), &["min_face_px", "12", "3"]);
    check_mistake(&run(&["--scorer", "none", "--min-face-px", "NaN"]), &["min_face_px", "NaN"]);
    check_mistake(&run(&["--scorer", "none", "--memory", "1MiB"]), &["memory", "256.0 MiB", "1.0 MiB"]);
    check_mistake(&run(&["--scorer", "none", "--every", "1us"]), &["every: expected at least 1ms, found 1us"]);
    check_mistake(&run(&["--scorer", "none", "--max-pixels", "0"]), &["max_pixels: expected at least 1, found 0"]);
    check_mistake(&run(&["--scorer", "none", "--frames", "-3"]), &["-3 is not in 0.."]);
    check_mistake(&run(&["--scorer", "none", "--every", "-1s"]), &["invalid value '-1s' for '--every <TIME>'"]);
    check_mistake(&run(&["--scorer", "none", "--min-face-px", "-5"]), &["min_face_px: expected 12 to 10000, found -5"]);
    check_mistake(&run(&["--scorer", "none", "--threads", "0"]), &["threads", "1 to 1024"]);
    check_mistake(&run(&["--scorer", "none", "--run-id", "../x"]), &["run_id", "../x"]);
    check_mistake(&run(&["--scorer", "none", "--include", "a["]), &["a["]);
    check_mistake(&run(&["--scorer", "none", "--modified-after", "yesterday"]), &["yesterday", "YYYY-MM-DD"]);
    check_mistake(&run(&["--scorer", "none", "--detector", "haar"]), &["haar", "mtcnn"]);
    check_mistake(&["run", "--scorer", "none"], &["source is missing"]);
}

#[test]
fn a_mistake_in_a_job_file_is_named() {
    for (text, named) in [
        ("souce = 'photos'", "souce"),
        ("source = 'photos'\nscorer = 'none'\nmin_face_px = 'many'", "many"),
        ("source = 'photos'\n[run]\nx = 1", "run"),
        ("source = ", "job.toml"),
    ] {
        let (_folder, job) = job(text);
        check_mistake(&["run", &job], &[named]);
    }
    check_mistake(&["run", "/no/such/job.toml"], &["/no/such/job.toml"]);
}

// --- What it prints.

/// What the README has between `<!-- name -->` and `<!-- /name -->`.
fn section_of_the_readme(name: &str) -> String {
    let readme = std::fs::read_to_string(crate::root().join("README.md")).unwrap();
    let (begin, end) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let (_, rest) = readme.split_once(&begin).unwrap_or_else(|| panic!("README.md: {begin} is missing"));
    let (section, _) = rest.split_once(&end).unwrap_or_else(|| panic!("README.md: {end} is missing"));
    section.trim().to_owned()
}

#[test]
fn the_formats_in_the_readme_are_the_programs() {
    let formats = say(&["formats"]);
    assert_eq!(formats.code, Some(0));
    for name in ["`heic`", "`mpegts`", "`prores`"] {
        assert!(formats.stdout.contains(name), "{name}");
    }
    let section = section_of_the_readme("formats");
    assert_eq!(section, formats.stdout.trim(), "run `deepsweep formats` and put its output between the markers");
}

#[test]
fn the_schema_in_the_readme_is_the_programs() {
    let section = section_of_the_readme("schema");
    let schema = say(&["schema"]);
    assert_eq!(schema.code, Some(0));
    for name in ["`box_x0`", "`error_class`", "`vector`", "### `media`"] {
        assert!(schema.stdout.contains(name), "{name}");
    }
    assert_eq!(section, schema.stdout.trim(), "run `deepsweep schema` and put its output between the markers");
}

/// Every line of standard error, parsed.
fn json_lines(finished: &Finished) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    finished.stderr.lines().map(parse).collect()
}

#[test]
fn with_log_json_every_line_is_json_whatever_happens() {
    let pictures = pictures();
    let out = tempfile::tempdir().unwrap();
    let destination = out.path().to_str().unwrap();
    let flags = ["--log", "json"];
    let sweep = Sweep { source: &pictures, out: destination, scorer: "untrained-demo", flags: &flags };
    let lines = json_lines(&sweep.succeed(&[]));
    let said = |lines: &[Value], part: &str| {
        lines.iter().any(|line| line["message"].as_str().is_some_and(|message| message.contains(part)))
    };
    assert!(said(&lines, "starting") && said(&lines, "mean nothing"), "{lines:?}");
    assert!(lines.iter().all(|line| line["level"].is_string() && line["timestamp"].is_string()), "{lines:?}");

    let flags = ["--log", "json", "--run-id", "second"];
    let failed = finish(Sweep { source: "/no/such/folder", flags: &flags, ..sweep }.command(&[]));
    assert_eq!(failed.code, Some(3));
    assert!(said(&json_lines(&failed), "/no/such/folder"), "{}", failed.stderr);
}

#[test]
fn quiet_prints_nothing_on_success_and_still_says_what_went_wrong() {
    let pictures = pictures();
    let out = tempfile::tempdir().unwrap();
    let destination = out.path().to_str().unwrap();
    let sweep = |source| Sweep { source, out: destination, scorer: "none", flags: &["--quiet", "--suffix", ".jpg"] };
    let finished = sweep(&pictures).succeed(&[]);
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("", ""));
    assert!(!landed_in_folder(out.path()).is_empty());
    assert!(finish(sweep("/no/such/folder").command(&[])).stderr.contains("/no/such/folder"));
}

#[test]
fn the_closing_table_and_success_json_say_what_was_found() {
    let out = tempfile::tempdir().unwrap();
    let pictures = pictures();
    let flags = ["--suffix", ".jpg", "--min-face-px", "20"];
    let sweep = Sweep { source: &pictures, out: out.path().to_str().unwrap(), scorer: "untrained-demo", flags: &flags };
    let finished = sweep.succeed(&[]);
    // The pictures' own README counts the faces: 1 + 9 + 1 + 0.
    for part in
        ["objects    4 ", "faces      11 (1 media without)", "scored     3 media", "rejected   0", "mean nothing"]
    {
        assert!(finished.stdout.contains(part), "{part:?} is missing in\n{}", finished.stdout);
    }
    let landed = landed_in_folder(out.path());
    let success: Value = serde_json::from_slice(&landed["_runs/first/SUCCESS.json"]).unwrap();
    assert_eq!((&success["tally"]["faces"], &success["tally"]["objects"]), (&11.into(), &4.into()));
    let parts = success["parts"].as_array().unwrap();
    for part in parts {
        let body = &landed[part["key"].as_str().unwrap()];
        assert_eq!(part["bytes"], body.len(), "{part}");
        assert_eq!(part["rows"], crate::program::rows_of_part(body.clone()).len(), "{part}");
    }
    assert_eq!(parts.len(), landed.keys().filter(|key| !key.starts_with("_runs/")).count());
}

// --- What the README promises.

#[test]
fn every_promise_of_the_readme_names_tests_that_there_are() {
    let readme = std::fs::read_to_string(crate::root().join("README.md")).unwrap();
    let section = readme.split_once("### What deepsweep promises").unwrap().1.split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 10, "{rows:?}");
    let folder = crate::root().join("tests/it");
    let sources: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let tests: Vec<&str> = cells.last().unwrap().split('`').skip(1).step_by(2).collect();
        assert!(cells.len() == 2 && !tests.is_empty(), "{row}");
        for test in tests {
            let is_test = |(file, text): &(String, String)| file == test || text.contains(&format!("fn {test}()"));
            assert!(sources.iter().any(is_test), "{test} of {row}");
        }
    }
}
