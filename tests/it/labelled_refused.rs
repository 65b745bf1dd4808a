//! Labels that nothing can be learned from, runs that have no scores, folders that are taken: each says so and writes
//! nothing.

use std::path::{Path, PathBuf};

use crate::clips::{clip, encode};
use crate::program::{Finished, Sweep, deepsweep, finish};

/// Twelve pictures with a face and two without, swept by `untrained-demo` (run `scored`) and by nobody (run `bare`).
struct Archive(tempfile::TempDir);

impl Archive {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let portrait = crate::root().join("tests/media/good/portrait_small.jpg");
        let source = folder.path().join("archive");
        std::fs::create_dir_all(source.join("shots")).unwrap();
        for at in 0..12 {
            std::fs::copy(&portrait, source.join(format!("shots/{at:02}.jpg"))).unwrap();
        }
        for name in ["empty-0.jpg", "empty-1.jpg"] {
            std::fs::copy(crate::root().join("tests/media/good/no_face.jpg"), source.join(name)).unwrap();
        }
        let [source, out] = [source, folder.path().join("out")].map(|path| path.display().to_string());
        for (scorer, run) in [("untrained-demo", "scored"), ("none", "bare")] {
            Sweep { source: &source, out: &out, scorer, flags: &["--run-id", run] }.succeed(&[]);
        }
        Self(folder)
    }

    fn run(&self, name: &str) -> String {
        self.0.path().join("out/_runs").join(name).display().to_string()
    }

    fn labels(&self, text: &str) -> String {
        let path = self.0.path().join("labels.csv");
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Runs with these labels; `{run}` and `{out}` stand for a run that was scored and a folder that is not there yet.
    fn with(&self, labels: &str, arguments: &[&str]) -> (Finished, PathBuf) {
        let (run, bare, labels, out) =
            (self.run("scored"), self.run("bare"), self.labels(labels), self.0.path().join("new"));
        let shown = out.display().to_string();
        let word = |word: &&str| {
            word.replace("{run}", &run).replace("{bare}", &bare).replace("{labels}", &labels).replace("{out}", &shown)
        };
        let words: Vec<String> = arguments.iter().map(word).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        (finish(deepsweep(&words, &[])), out)
    }
}

const FIT: &[&str] =
    &["fit", "{run}", "--labels", "{labels}", "--base", "untrained-demo", "--out", "{out}", "--folds", "2"];
const CALIBRATE: &[&str] =
    &["calibrate", "{run}", "--labels", "{labels}", "--scorer", "untrained-demo", "--out", "{out}"];
const EVALUATE: &[&str] = &["evaluate", "{run}", "--labels", "{labels}"];

/// `key,label`: the first six are real.
fn good() -> String {
    let rows = (0..12).map(|at| format!("shots/{at:02}.jpg,{}\n", if at < 6 { "real" } else { "fake" }));
    format!("key,label\n{}", rows.collect::<String>())
}

fn with_column(name: &str, value: impl Fn(usize) -> String) -> String {
    let labels = good();
    let mut lines = labels.lines();
    let head = format!("{},{name}\n", lines.next().unwrap());
    head + &lines.enumerate().map(|(at, line)| format!("{line},{}\n", value(at))).collect::<String>()
}

fn check(archive: &Archive, labels: &str, arguments: &[&str], code: i32, words: &[&str]) {
    let (finished, out) = archive.with(labels, arguments);
    assert_eq!(finished.code, Some(code), "{arguments:?}\n{}{}", finished.stdout, finished.stderr);
    for word in words {
        assert!(finished.stderr.contains(word), "{arguments:?}: expected {word:?} in\n{}", finished.stderr);
    }
    assert!(!out.exists(), "{arguments:?} left {}", out.display());
    assert!(!Path::new(&archive.run("scored")).join("rescore.json").exists());
}

#[test]
fn labels_that_nothing_can_be_learned_from_are_refused_by_every_command() {
    let archive = Archive::new();
    let two_unknown = good() + "gone/a.jpg,real\ngone/b.jpg,fake\n";
    let one_class = good().replace("fake", "real");
    let at_odds = good() + "shots/00.jpg,fake\n";
    let elsewhere = good().replace(".jpg", ".png");
    let torn = with_column("group,split", |at| format!("{},{}", at / 4, if at % 2 == 0 { "train" } else { "test" }));
    for (labels, words) in [
        (two_unknown.as_str(), &["2 of 14", "gone/a.jpg"][..]),
        (&one_class, &["real and no fake"]),
        (&at_odds, &["00.jpg", "found"]),
        (&elsewhere, &["12", "shots/00.png"]),
        (&torn, &["every group in one split"]),
        ("key,label\n00.jpg,maybe\n", &["maybe"]),
        ("", &["empty"]),
        ("name,label\n00.jpg,real\n", &["key"]),
    ] {
        for command in [FIT, CALIBRATE, EVALUATE] {
            check(&archive, labels, command, 2, words);
        }
    }
    let split = with_column("split", |at| ["train", "test"][at % 2].to_owned());
    for command in [FIT, CALIBRATE, EVALUATE] {
        check(&archive, &split, &[command, &["--split", "validation"]].concat(), 2, &["validation", "train", "test"]);
    }
}

#[test]
fn runs_that_cannot_serve_are_refused_with_what_would() {
    let archive = Archive::new();
    let instead = |command: &[&'static str], run: &'static str| -> Vec<&'static str> {
        command.iter().map(|word| if *word == "{run}" { run } else { word }).collect()
    };
    check(&archive, &good(), &instead(EVALUATE, "{bare}"), 2, &["--scorer none"]);
    for command in [FIT, CALIBRATE] {
        check(&archive, &good(), &instead(command, "{bare}"), 2, &["no embeddings", "scored"]);
        check(&archive, &good(), &instead(command, "{bare}/../missing"), 2, &["_runs"]);
    }
    check(&archive, &good(), &["evaluate", "/nonexistent/_runs/x", "--labels", "{labels}"], 3, &["/nonexistent"]);
    check(&archive, &good(), &["evaluate", "{run}", "--labels", "/nonexistent/labels"], 3, &["/nonexistent/labels"]);
    // Pictures that are all the same have one logit.
    check(&archive, &good(), CALIBRATE, 2, &["logit"]);
    let folder = &["fit", "{run}", "--labels", "{labels}", "--base", "untrained-demo", "--out", "/"];
    check(&archive, &good(), folder, 2, &["found one that exists"]);
    for (command, flag, value, named) in [
        (CALIBRATE, "--wanted-fpr", "1.5", "wanted_fpr"),
        (EVALUATE, "--threads", "0", "threads"),
        (EVALUATE, "--threads", "1000000", "threads"),
        (EVALUATE, "--max-unknown", "nan", "max_unknown"),
        (FIT, "--name", "a@b", "--name"),
        (FIT, "--c", "0", "--c"),
        (FIT, "--c", "nan", "--c"),
    ] {
        check(&archive, &good(), &[command, &[flag, value]].concat(), 2, &[named]);
    }
}

#[test]
fn scores_that_are_all_null_are_no_scores() {
    let archive = Archive::new();
    let labels = "key,label\nempty-0.jpg,real\nempty-1.jpg,fake\n";
    check(&archive, labels, EVALUATE, 2, &["untrained-demo@1", "all are null", "2 no_face"]);
    check(&archive, labels, FIT, 2, &["expected embeddings"]);
    check(&archive, labels, CALIBRATE, 2, &["found none that is a number"]);
    // Beside others they are counted, and count for nothing.
    let labels = good() + "empty-0.jpg,real\n";
    let (finished, _) = archive.with(&labels, EVALUATE);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stdout.contains("1 media have a label and no score"), "{}", finished.stdout);
}

#[test]
fn keys_name_media_by_their_end_where_that_is_asked_for() {
    let archive = Archive::new();
    let by_end = good().replace("shots/", "");
    check(&archive, &by_end, EVALUATE, 2, &["12", "suffix"]);
    let (finished, _) = archive.with(&by_end, &[EVALUATE, &["--match", "suffix", "--json"]].concat());
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let report: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(report["labels"]["labelled_media"], 12);
    // Twelve times the same picture: nothing can be told apart.
    assert_eq!(report["scorers"][0]["levels"][0]["auc"]["value"], 0.5);
}

#[test]
fn a_scorer_of_frames_is_evaluated_on_frames_and_media() {
    use crate::probe::{Choices, Folder, PLAIN};
    let scorer = Folder::new(Choices { ..PLAIN }).write();
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("archive");
    std::fs::create_dir(&source).unwrap();
    let film = clip("film.mp4", &[encode(9, "format=yuv420p", crate::video_bad::SMALL)]);
    std::fs::copy(film, source.join("film.mp4")).unwrap();
    for name in ["astronaut.jpg", "no_face.jpg", "group.jpg"] {
        std::fs::copy(crate::root().join("tests/media/good").join(name), source.join(name)).unwrap();
    }
    let out = folder.path().join("out");
    let [source, out, scorer] = [source.as_path(), &out, scorer.path()].map(|path| path.to_str().unwrap());
    Sweep { source, out, scorer, flags: &["--frames", "3"] }.succeed(&[]);
    let labels = folder.path().join("labels.csv");
    std::fs::write(&labels, "key,label\nastronaut.jpg,0\nno_face.jpg,1\ngroup.jpg,0\nfilm.mp4,1\n").unwrap();
    let (run, labels) = (format!("{out}/_runs/first"), labels.display().to_string());
    let finished = finish(deepsweep(&["evaluate", &run, "--labels", &labels, "--json"], &[]));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let report: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    let levels = report["scorers"][0]["levels"].as_array().unwrap();
    let counts: Vec<(&str, u64)> =
        levels.iter().map(|level| (level["of"].as_str().unwrap(), level["count"].as_u64().unwrap())).collect();
    assert_eq!(counts, [("frame", 6), ("media", 4)]);
}
