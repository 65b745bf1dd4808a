//! What a run tells those who watch it: heartbeats, lines for CloudWatch, a file for Prometheus, times of its stages.
//!
//! CloudWatch's format is checked by what its specification asks for; Prometheus' by the parser of its own client
//! (`tests/readers/read_metrics.py`).

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::{Finished, Row, Sweep, await_end, deepsweep, finish, landed_in_folder, rows};
use crate::servers::faults::{Fault, Operation, When};
use crate::servers::s3s_server::S3Server;

const BUCKET: &str = "archive";

fn pictures() -> String {
    crate::root().join("tests/media/good").to_str().unwrap().to_owned()
}

/// A folder for everything that one test makes.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Four pictures and a file that is none, swept to the end.
    fn sweep(&self, flags: &[&str]) -> Finished {
        let flags = [&["--exclude", "*.mp4", "--min-face-px", "20"], flags].concat();
        let out = self.text("out");
        Sweep { source: &pictures(), out: &out, scorer: "untrained-demo", flags: &flags }.succeed(&[])
    }
}

// --- CloudWatch.

/// As the specification lists them, of those that a run has use for.
const UNITS: [&str; 4] = ["Count", "Bytes", "Seconds", "Count/Second"];

/// Every line, each held against the specification.
fn emf_lines(stdout: &str) -> Vec<Value> {
    let lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}")))
        .collect();
    lines.iter().for_each(check_emf);
    lines
}

/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
fn check_emf(root: &Value) {
    let metadata = root["_aws"].as_object().unwrap();
    assert_eq!(metadata.keys().collect::<Vec<_>>(), ["CloudWatchMetrics", "Timestamp"]);
    let hour_ago = chrono::Utc::now().timestamp_millis() - 3_600_000;
    assert!((0..=3_600_000).contains(&(metadata["Timestamp"].as_i64().unwrap() - hour_ago)), "{root}");
    let [directive] = metadata["CloudWatchMetrics"].as_array().unwrap().as_slice() else { panic!("{root}") };
    assert_eq!(directive.as_object().unwrap().keys().collect::<Vec<_>>(), ["Dimensions", "Metrics", "Namespace"]);
    assert_eq!(directive["Namespace"], "deepsweep");
    // Each is paid for, so none may differ from run to run.
    assert_eq!(directive["Dimensions"], json!([["Job", "Command"]]));
    for dimension in ["Job", "Command"] {
        assert!(root[dimension].as_str().is_some_and(|value| (1..=1024).contains(&value.len())), "{root}");
    }
    let metrics = directive["Metrics"].as_array().unwrap();
    assert!((1..=100).contains(&metrics.len()), "{root}");
    let mut names: Vec<&str> = metrics.iter().map(|metric| metric["Name"].as_str().unwrap()).collect();
    for (metric, name) in metrics.iter().zip(&names) {
        assert_eq!(metric.as_object().unwrap().keys().collect::<Vec<_>>(), ["Name", "Unit"]);
        assert!(UNITS.contains(&metric["Unit"].as_str().unwrap()), "{metric}");
        assert!(root[*name].is_number(), "{name} in {root}");
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), metrics.len(), "{root}");
}

/// Over all lines, as CloudWatch adds them up.
fn sum(lines: &[Value], name: &str) -> f64 {
    lines.iter().filter_map(|line| line.get(name)).map(|value| value.as_f64().unwrap()).sum()
}

/// A column of a table, likewise; a rejected media was not looked at.
fn total(rows: &[Row], column: &str) -> f64 {
    rows.iter().map(|row| row[column].as_f64().unwrap()).sum()
}

#[test]
fn lines_for_cloudwatch_keep_to_the_format_and_add_up_to_the_tables() {
    let bench = Bench::new();
    let finished = bench.sweep(&["--emf", "--heartbeat", "1s"]);
    let lines = emf_lines(&finished.stdout);
    let landed = landed_in_folder(&bench.path("out"));
    let media = rows(&landed, "media");
    for (name, expected) in [
        ("Objects", 5.0),
        ("Bytes", total(&media, "size_bytes")),
        ("Frames", total(&media, "frames_decoded")),
        ("Faces", 11.0),
        ("Scored", 3.0),
        ("Rejected", 1.0),
        ("RejectedNotMedia", 1.0),
        ("Unreadable", 0.0),
        ("Throttles", 0.0),
        ("Succeeded", 1.0),
        ("Interrupted", 0.0),
        ("Failed", 0.0),
    ] {
        assert_eq!(sum(&lines, name), expected, "{name}");
    }
    for stage in ["Fetch", "Decode", "Detect", "Embed"] {
        let expected = total(&media, &format!("seconds_{}", stage.to_lowercase()));
        let summed = sum(&lines, &format!("Seconds{stage}"));
        assert!((summed - expected).abs() < 1e-6, "{stage}: {summed}, {expected} by the table");
    }
    assert!(
        sum(&lines, "SecondsComputing") > 0.0 && sum(&lines, "SecondsComputing") <= 2.0 * sum(&lines, "Elapsed") + 0.1
    );
    assert!(sum(&lines, "SecondsEncode") > 0.0 && sum(&lines, "SecondsWrite") > 0.0);
    let end = lines.last().unwrap();
    assert_eq!([&end["Event"], &end["RunId"], &end["ExitCode"]], [&json!("end"), &json!("first"), &json!(0)]);
    assert_eq!([&end["Job"], &end["Command"]], ["deepsweep", "run"]);
    assert!(end["ResidentMemory"].as_f64().unwrap() > 1e6, "{end}");
    // The closing table makes room for them.
    assert!(finished.stderr.contains("objects    5 "), "{}", finished.stderr);
    let success: Value = serde_json::from_slice(&landed["_runs/first/SUCCESS.json"]).unwrap();
    let seconds = &success["tally"]["seconds"];
    // A media part tells what the parts before it took.
    let told = seconds["write"].as_f64().unwrap();
    assert!(told > 0.0 && told <= sum(&lines, "SecondsWrite"), "{seconds}");
}

#[test]
fn a_quiet_run_has_its_lines_for_cloudwatch_and_nothing_else() {
    let finished = Bench::new().sweep(&["--quiet", "--emf", "--include", "portrait*", "--scorer", "none"]);
    let lines = emf_lines(&finished.stdout);
    assert_eq!((sum(&lines, "Objects"), finished.stderr.as_str()), (1.0, ""));
}

#[test]
fn scoring_again_has_metrics_of_its_own() {
    let bench = Bench::new();
    bench.sweep(&[]);
    let run = format!("{}/_runs/first", bench.text("out"));
    let prometheus = bench.text("again.prom");
    let arguments =
        ["rescore", &run, "--scorer", "untrained-demo", "--run-id", "again", "--emf", "--job-name", "weekly"];
    let finished = finish(deepsweep(&[&arguments[..], &["--prometheus", &prometheus]].concat(), &[]));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let lines = emf_lines(&finished.stdout);
    assert_eq!((sum(&lines, "Objects"), sum(&lines, "Succeeded")), (5.0, 1.0));
    assert_eq!([&lines[0]["Job"], &lines[0]["Command"]], ["weekly", "rescore"]);
    assert_eq!(Exposition::parse(&bench.path("again.prom")).value("deepsweep_faces_total", &[]), Some(11.0));
}

// --- Prometheus.

/// A file as the parser of Prometheus' own client reads it.
struct Exposition(Value);

impl Exposition {
    fn parse(path: &Path) -> Self {
        let Ok(python) = std::env::var("DEEPSWEEP_READERS_PYTHON") else {
            panic!("DEEPSWEEP_READERS_PYTHON is not set: expected a Python with tests/readers/requirements.txt")
        };
        let script = crate::root().join("tests/readers/read_metrics.py");
        let output = Command::new(python).arg("-B").arg(script).arg(path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self(serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Every sample: name, labels, value.
    fn samples(&self) -> impl Iterator<Item = &Value> {
        self.0.as_object().unwrap().values().flat_map(|family| family["samples"].as_array().unwrap())
    }

    /// Of the one sample with these labels among its own.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let is_meant = |sample: &&Value| {
            sample[0] == name && labels.iter().all(|(label, value)| sample[1][*label].as_str() == Some(value))
        };
        let found: Vec<&Value> = self.samples().filter(is_meant).collect();
        assert!(found.len() < 2, "{name} {labels:?}: {found:?}");
        found.first().map(|sample| sample[2].as_f64().unwrap())
    }
}

#[test]
fn the_file_for_prometheus_parses_and_says_what_the_tables_say() {
    let bench = Bench::new();
    let path = bench.path("sweep.prom");
    bench.sweep(&["--prometheus", path.to_str().unwrap()]);
    let told = Exposition::parse(&path);
    let media = rows(&landed_in_folder(&bench.path("out")), "media");
    for (name, labels, expected) in [
        ("deepsweep_objects_total", &[][..], 5.0),
        ("deepsweep_bytes_total", &[], total(&media, "size_bytes")),
        ("deepsweep_frames_total", &[], total(&media, "frames_decoded")),
        ("deepsweep_faces_total", &[], 11.0),
        ("deepsweep_scored_media_total", &[], 3.0),
        ("deepsweep_media_without_face_total", &[], 1.0),
        ("deepsweep_rejected_total", &[("class", "not_media")], 1.0),
        ("deepsweep_rejected_total", &[("class", "corrupt")], 0.0),
        ("deepsweep_stage_seconds_total", &[("stage", "detect")], total(&media, "seconds_detect")),
        ("deepsweep_listed_objects", &[], 5.0),
        ("deepsweep_in_flight_objects", &[], 0.0),
        ("deepsweep_running", &[], 0.0),
        ("deepsweep_exit_code", &[], 0.0),
        ("deepsweep_run_info", &[("run_id", "first"), ("command", "run")], 1.0),
    ] {
        let found = told.value(name, labels).unwrap_or_else(|| panic!("{name} {labels:?} is missing"));
        assert!((found - expected).abs() < 1e-6, "{name} {labels:?}: {found}, expected {expected}");
    }
    let now = chrono::Utc::now().timestamp() as f64;
    assert!(now - told.value("deepsweep_last_success_timestamp_seconds", &[]).unwrap() < 3600.0);
    assert!(told.value("deepsweep_compute_cpu_seconds_total", &[]).unwrap() > 0.0);
    for (family, facts) in told.0.as_object().unwrap() {
        assert!(family.starts_with("deepsweep_") && !facts["help"].as_str().unwrap().is_empty(), "{family}");
        let is_total = facts["samples"][0][0].as_str().is_none_or(|name| name.ends_with("_total"));
        assert_eq!(facts["type"] == "counter", is_total, "{family}: {facts}");
    }
    // What differs from run to run is on one sample alone, so that no series begins anew with each.
    let named: Vec<&Value> = told.samples().filter(|sample| sample[1].get("run_id").is_some()).collect();
    assert_eq!(named.len(), 1);
    assert!(told.samples().all(|sample| sample[1]["job_name"] == "deepsweep"));
}

#[test]
fn a_job_is_known_by_its_files_name() {
    let bench = Bench::new();
    let (job, prometheus) = (bench.path("nightly sweep.toml"), bench.path("sweep.prom"));
    let text = format!(
        "source = {:?}\nout = {:?}\nscorer = 'none'\ninclude = 'portrait*'\nprometheus = {prometheus:?}\nemf = true\n",
        pictures(),
        bench.text("out")
    );
    std::fs::write(&job, text).unwrap();
    let finished = finish(deepsweep(&["run", job.to_str().unwrap(), "--device", "cpu"], &[]));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(emf_lines(&finished.stdout)[0]["Job"], "nightly_sweep");
    let labels = [("job_name", "nightly_sweep")];
    assert_eq!(Exposition::parse(&prometheus).value("deepsweep_objects_total", &labels), Some(1.0));
}

/// Ends with `code` before any work, and says every one of `named`.
fn check_refused(bench: &Bench, flags: &[&str], code: i32, named: &[&str]) {
    let (source, out) = (pictures(), bench.text("out"));
    let finished = finish(Sweep { source: &source, out: &out, scorer: "none", flags }.command(&[]));
    assert_eq!(finished.code, Some(code), "{flags:?}\n{}", finished.stderr);
    for name in named {
        assert!(finished.stderr.contains(name), "{flags:?}: expected {name:?} in\n{}", finished.stderr);
    }
    assert!(!bench.path("out").exists(), "{flags:?}");
}

#[test]
fn a_file_that_cannot_be_written_ends_a_run_before_any_work() {
    let bench = Bench::new();
    let missing = bench.text("missing/sweep.prom");
    check_refused(&bench, &["--prometheus", &missing], 3, &[&missing, "expected a folder that can be written to"]);
    let folder = bench.text("");
    check_refused(&bench, &["--prometheus", &folder], 3, &["expected a file, found a folder"]);
    check_refused(&bench, &["--prometheus", "/dev/null"], 3, &["/dev/null", "found a pipe or a device"]);
    let other = bench.text("notes.txt");
    std::fs::write(&other, "not ours").unwrap();
    check_refused(&bench, &["--prometheus", &other], 3, &[&other, "it would be replaced"]);
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "not ours");
}

#[test]
fn flags_out_of_range_are_refused() {
    let bench = Bench::new();
    check_refused(&bench, &["--heartbeat", "10ms"], 2, &["heartbeat: expected 1s to 1day, found 10ms"]);
    check_refused(&bench, &["--heartbeat", "-1s"], 2, &["-1s"]);
    check_refused(&bench, &["--job-name", "a\"b"], 2, &["job_name: expected up to 128 letters"]);
}

// --- While it works.

/// Three pictures that are swept, and a fourth whose body never ends.
fn stalling() -> S3Server {
    let server = S3Server::start();
    let picture = std::fs::read(crate::root().join("tests/media/good/portrait_small.jpg")).unwrap();
    for key in ["a.jpg", "b.jpg", "c.jpg", "slow.jpg"] {
        server.put(BUCKET, key, picture.clone());
    }
    server.fail_key(Operation::Get, "slow.jpg", When::From(1), Fault::StallBody(1_100));
    server
}

fn terminate(child: Child) -> Finished {
    let sent = Command::new("/bin/sh").args(["-c", &format!("kill -TERM {}", child.id())]).status();
    assert!(sent.unwrap().success());
    await_end(child)
}

/// The first sample of a name in the text itself, which is cheaper than a parser.
fn sample(text: &str, name: &str) -> Option<f64> {
    text.lines().find(|line| line.starts_with(name))?.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn a_run_that_hangs_says_for_how_long_and_where() {
    let server = stalling();
    let bench = Bench::new();
    let (out, path) = (bench.text("out"), bench.path("sweep.prom"));
    // An earlier run ended well.
    let earlier = "# HELP deepsweep_x y\ndeepsweep_last_success_timestamp_seconds{job_name=\"deepsweep\"} 1764000000\n";
    std::fs::write(&path, earlier).unwrap();
    let opened_before = File::open(&path).unwrap();
    let prometheus = path.to_str().unwrap();
    let flags = ["--log", "json", "--heartbeat", "1s", "--emf", "--prometheus", prometheus];
    let sweep = Sweep { source: "s3://archive/", out: &out, scorer: "none", flags: &flags };
    let child = sweep.command(&server.environment()).spawn().unwrap();
    let give_up = Instant::now() + Duration::from_secs(60);
    // Whenever somebody looks, the file is whole.
    let last = std::iter::from_fn(|| {
        std::thread::sleep(Duration::from_millis(1));
        assert!(Instant::now() < give_up, "no silence in a minute");
        Some(std::fs::read_to_string(&path).unwrap())
    })
    .inspect(|text| {
        let is_whole = text.contains("# TYPE deepsweep_compute_cpu_seconds_total counter\n") && text.ends_with('\n');
        assert!(text == earlier || is_whole, "{text}");
    })
    .find(|text| sample(text, "deepsweep_silence_seconds").is_some_and(|silence| silence >= 2.0))
    .unwrap();
    // Whoever had opened it reads on in what stood there, which is what renaming means.
    assert_eq!(std::io::read_to_string(opened_before).unwrap(), earlier);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o444, 0o444, "the collector is another user");
    assert_eq!(sample(&last, "deepsweep_running"), Some(1.0));
    assert_eq!(sample(&last, "deepsweep_last_success_timestamp_seconds"), Some(1_764_000_000.0));
    assert!(last.contains("deepsweep_stage_in_hand{job_name=\"deepsweep\",stage=\"fetch\"} 1\n"), "{last}");
    let stopped = terminate(child);
    assert_eq!(stopped.code, Some(75), "{}", stopped.stderr);

    let beats: Vec<Value> = stopped.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let beats: Vec<&Value> = beats.iter().filter(|line| line["message"] == "heartbeat").collect();
    let silent = beats.iter().find(|beat| beat["silence_s"] == 2).unwrap_or_else(|| panic!("{beats:?}"));
    for (field, expected) in [("objects", 3), ("listed_objects", 4), ("in_flight", 1), ("fetch", 1), ("decode", 0)] {
        assert_eq!(silent[field], expected, "{field} in {silent}");
    }
    assert!(silent["resident_bytes"].as_u64().unwrap() > 1_000_000, "{silent}");

    let lines = emf_lines(&stopped.stdout);
    assert!(lines.len() > 2, "{lines:?}");
    let sums = ["Objects", "Faces", "Succeeded", "Interrupted", "Failed"].map(|name| sum(&lines, name));
    assert_eq!(sums, [3.0, 3.0, 0.0, 1.0, 0.0]);
    assert!(lines.iter().any(|line| line["Silence"].as_f64().unwrap() >= 2.0 && line["InFlight"] == 1));

    let told = Exposition::parse(&path);
    assert_eq!(told.value("deepsweep_exit_code", &[]), Some(75.0));
    assert_eq!(told.value("deepsweep_last_success_timestamp_seconds", &[]), Some(1_764_000_000.0));
    let left: Vec<_> = std::fs::read_dir(bench.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_heartbeat_in_words_says_it_too() {
    let server = stalling();
    let bench = Bench::new();
    let out = bench.text("out");
    let flags = ["--heartbeat", "1s"];
    let sweep = Sweep { source: "s3://archive/", out: &out, scorer: "none", flags: &flags };
    let mut child = sweep.command(&server.environment()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said = lines.inspect(|line| println!("{line}")).find(|line| line.contains("3 of 4 objects, none finished for"));
    terminate(child);
    let said = said.expect("the run ended, or is killed for saying nothing");
    for part in ["; 1 in flight, fetch 1; ", "of memory"] {
        assert!(said.contains(part), "expected {part:?} in {said:?}");
    }
}

#[test]
fn throttles_are_counted_although_nobody_else_sees_them() {
    let server = S3Server::start();
    let picture = std::fs::read(crate::root().join("tests/media/good/portrait_small.jpg")).unwrap();
    server.put(BUCKET, "a.jpg", picture);
    for nth in [1, 2] {
        server.fail(Operation::Get, nth, Fault::Status(503, "SlowDown"));
    }
    let bench = Bench::new();
    let (out, path) = (bench.text("out"), bench.path("sweep.prom"));
    let flags = ["--emf", "--prometheus", path.to_str().unwrap()];
    let sweep = Sweep { source: "s3://archive/", out: &out, scorer: "none", flags: &flags };
    let finished = sweep.succeed(&server.environment());
    assert_eq!(sum(&emf_lines(&finished.stdout), "Throttles"), 2.0);
    let told = Exposition::parse(&path);
    assert_eq!(told.value("deepsweep_s3_throttles_total", &[]), Some(2.0));
    assert_eq!(told.value("deepsweep_objects_total", &[]), Some(1.0));
}

// --- Where time goes.

#[test]
fn the_closing_table_says_how_busy_the_threads_were() {
    let finished = Bench::new().sweep(&[]);
    let line = finished.stdout.lines().find(|line| line.trim_start().starts_with("threads ")).unwrap();
    let busy =
        line.strip_prefix("  threads    2 for computing, busy ").and_then(|rest| rest.strip_suffix(" % of the time"));
    let busy: f64 = busy.unwrap_or_else(|| panic!("{line:?}")).parse().unwrap();
    // Networks are most of the work; other programs may want the same processors.
    assert!((5.0..=100.0).contains(&busy), "{line:?}");
    assert!(finished.stdout.contains("(summed over objects), encode "), "{}", finished.stdout);
}

#[test]
fn whoever_asks_for_details_is_told_how_long_each_stage_took() {
    let bench = Bench::new();
    let (source, out) = (pictures(), bench.text("out"));
    let flags = ["--include", "portrait*", "--log", "json"];
    let sweep = Sweep { source: &source, out: &out, scorer: "untrained-demo", flags: &flags };
    let finished = sweep.succeed(&[("RUST_LOG", "deepsweep=debug".to_owned())]);
    let lines: Vec<Value> = finished.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let closed: Vec<&Value> =
        lines.iter().filter(|line| line["message"] == "close").map(|line| &line["span"]).collect();
    for (stage, field) in [
        ("fetch", "key"),
        ("media", "key"),
        ("decode", "name"),
        ("detect", "frame"),
        ("embed", "crops"),
        ("encode", "slice"),
        ("write", "slice"),
    ] {
        let found = closed.iter().find(|span| span["name"] == stage);
        assert!(found.is_some_and(|span| span.get(field).is_some()), "{stage}: {closed:?}");
    }
    // What goes on in the pool says of which media it is.
    assert!(lines.iter().all(|line| line["time.busy"].is_string() == (line["message"] == "close")), "{lines:?}");

    let bench = Bench::new();
    let out = bench.text("out");
    let finished = Sweep { out: &out, ..sweep }.succeed(&[]);
    assert!(!finished.stderr.contains("\"close\""), "{}", finished.stderr);
}
