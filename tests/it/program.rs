//! The program as a person starts it: a child with nothing in its environment but what the test says, and
//! everything that it left at its destination.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Map, Number, Value};

use crate::servers::s3s_server::S3Server;

/// The name and the day of every run that a test does not name otherwise.
pub const RUN_ID: &str = "first";
pub const DAY: &str = "2026-01-02";

/// One command line of `deepsweep run`; what is left empty takes a value that depends on no machine.
#[derive(Debug, Clone, Copy)]
pub struct Sweep<'a> {
    pub source: &'a str,
    pub out: &'a str,
    pub scorer: &'a str,
    pub flags: &'a [&'a str],
}

/// A process that has ended.
#[derive(Debug)]
pub struct Finished {
    /// None where a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub elapsed: Duration,
}

/// A row by the names of its columns.
pub type Row = Map<String, Value>;

/// Every object at a destination by its key, control files included.
pub type Landed = BTreeMap<String, Bytes>;

/// Names another build of the program than the one that was built with the tests.
const PROGRAM: &str = "DEEPSWEEP_PROGRAM";

/// The program with these arguments, not started yet.
pub fn deepsweep(arguments: &[&str], environment: &[(&'static str, String)]) -> Command {
    let program = std::env::var_os(PROGRAM).unwrap_or_else(|| env!("CARGO_BIN_EXE_deepsweep").into());
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent") // no profile of whoever runs the tests
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("PATH", std::env::var_os("PATH").unwrap_or_default()) // where ffmpeg is
        .envs(environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs to the end.
pub fn finish(mut command: Command) -> Finished {
    await_end(command.spawn().unwrap())
}

pub fn await_end(child: Child) -> Finished {
    let began = Instant::now();
    let output = child.wait_with_output().unwrap();
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        elapsed: began.elapsed(),
    }
}

impl Sweep<'_> {
    pub fn command(&self, environment: &[(&'static str, String)]) -> Command {
        let mut arguments = vec!["run", self.source, "--out", self.out];
        let defaults = [
            ("--scorer", if self.scorer.is_empty() { "none" } else { self.scorer }),
            ("--run-id", RUN_ID),
            ("--dt", DAY),
            ("--device", "cpu"),
            ("--threads", "2"),
        ];
        for (name, value) in defaults {
            if !self.flags.contains(&name) {
                arguments.extend([name, value]);
            }
        }
        arguments.extend(self.flags);
        deepsweep(&arguments, environment)
    }

    /// Runs to the end, which must be a good one.
    pub fn succeed(&self, environment: &[(&'static str, String)]) -> Finished {
        let finished = finish(self.command(environment));
        assert_eq!(finished.code, Some(0), "{self:?}\n{}", finished.stderr);
        finished
    }
}

/// What lies below a folder.
pub fn landed_in_folder(root: &Path) -> Landed {
    fn walk(root: &Path, folder: &Path, landed: &mut Landed) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, landed);
            } else {
                let key = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                landed.insert(key, std::fs::read(&path).unwrap().into());
            }
        }
    }
    let mut landed = Landed::new();
    walk(root, root, &mut landed);
    landed
}

/// What lies below a prefix of a bucket.
pub fn landed_in_bucket(server: &S3Server, bucket: &str, prefix: &str) -> Landed {
    let below = |key: &String| key.strip_prefix(prefix).map(str::to_owned);
    server.keys(bucket).iter().filter_map(|key| Some((below(key)?, server.get(bucket, key)?))).collect()
}

/// The rows of one table, part after part.
pub fn rows(landed: &Landed, table: &str) -> Vec<Row> {
    let parts = landed.iter().filter(|(key, _)| key.starts_with(&format!("{table}/")));
    parts.flat_map(|(_, body)| rows_of_part(body.clone())).collect()
}

/// The one row of `media` under `key`.
pub fn media(landed: &Landed, key: &str) -> Row {
    let mut found = rows(landed, "media");
    found.retain(|row| row["key"] == key);
    assert_eq!(found.len(), 1, "rows of {key:?}");
    found.remove(0)
}

/// The values of one column.
pub fn column(rows: &[Row], name: &str) -> Vec<Value> {
    rows.iter().map(|row| row[name].clone()).collect()
}

pub fn rows_of_part(body: Bytes) -> Vec<Row> {
    let reader = SerializedFileReader::new(body).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| row.unwrap().get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect()).collect()
}

/// Numbers as f64, which holds every f32 and i32 exactly; a NaN is no JSON and becomes a word.
fn value(field: &Field) -> Value {
    let number = |number: f64| Number::from_f64(number).map_or_else(|| number.to_string().into(), Value::Number);
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => (*value).into(),
        Field::Int(value) => (*value).into(),
        Field::Long(value) | Field::TimestampMicros(value) => (*value).into(),
        Field::Float(value) => number(f64::from(*value)),
        Field::Double(value) => number(*value),
        Field::Str(value) => value.clone().into(),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        other => panic!("a column of a kind that no table has: {other:?}"),
    }
}

/// The row without what differs between two stores or two attempts by its nature.
pub fn without(row: &Row, differing: &[&str]) -> Row {
    let differs = |name: &String| name.starts_with("seconds_") || differing.contains(&name.as_str());
    row.iter().filter(|(name, _)| !differs(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}
