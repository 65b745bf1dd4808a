//! A run in three steps, as array jobs take it; and small archives that have many slices all the same.

use std::process::Command;

use crate::program::{DAY, Finished, Landed, RUN_ID, Row, deepsweep, finish, landed_in_bucket, rows, without};
use crate::run_sources::{BUCKET, RESULTS, TABLES};
use crate::servers::s3s_server::{S3Server, ServerOptions};

pub type Environment = [(&'static str, String)];

pub const OUT: &str = "s3://results";

/// By its name such an object is a video of which so many frames are wanted that it has a slice of its own. By its
/// content it is a picture.
pub const ONE_SLICE_EACH: [&str; 2] = ["--frames", "2000"];

/// Pictures with faces and without, a broken one, and one that is none: each a slice of its own.
pub fn archive(objects: usize) -> S3Server {
    archive_with(objects, ServerOptions::default())
}

pub fn archive_with(objects: usize, options: ServerOptions) -> S3Server {
    let server = S3Server::start_with(options);
    server.create_bucket(RESULTS);
    for (key, body) in objects_of_archive(objects) {
        server.put(BUCKET, &key, body);
    }
    server
}

/// By their names.
pub fn objects_of_archive(objects: usize) -> impl Iterator<Item = (String, Vec<u8>)> {
    let good = crate::root().join("tests/media/good");
    (0..objects).map(move |at| {
        let body = match at % 4 {
            0 => std::fs::read(good.join("portrait_small.jpg")).unwrap(),
            1 => std::fs::read(good.join("no_face.jpg")).unwrap(),
            2 => b"no picture".to_vec(),
            _ => std::fs::read(good.join("portrait_small.jpg")).unwrap()[..2_000].to_vec(),
        };
        (format!("{at:03}.mp4"), body)
    })
}

/// Flags of a plan or a run over the archive.
pub fn sweep(command: &str, more: &[&str], environment: &Environment) -> Command {
    let named: &[&str] = if more.contains(&"--run-id") { &[] } else { &["--run-id", RUN_ID] };
    let out: &[&str] = if more.contains(&"--out") { &[] } else { &["--out", OUT] };
    let fixed = [out, &["--scorer", "none", "--dt", DAY], named].concat();
    let machine: &[&str] = if command == "run" { &["--device", "cpu", "--threads", "2"] } else { &[] };
    deepsweep(&[&[command, "s3://archive/"][..], &fixed, &ONE_SLICE_EACH, machine, more].concat(), environment)
}

/// `work` or `finish` of that run.
pub fn step(command: &str, more: &[&str], environment: &Environment) -> Command {
    let run = format!("{OUT}/_runs/{RUN_ID}");
    let machine: &[&str] = if command == "work" { &["--device", "cpu", "--threads", "2"] } else { &[] };
    deepsweep(&[&[command, run.as_str()][..], machine, more].concat(), environment)
}

pub fn succeed(command: Command) -> Finished {
    let said = format!("{command:?}");
    let finished = finish(command);
    assert_eq!(finished.code, Some(0), "{said}\n{}", finished.stderr);
    finished
}

pub fn landed(server: &S3Server) -> Landed {
    landed_in_bucket(server, RESULTS, "")
}

/// Every row of every table, however it is dealt out to parts, but for what measures time and what is left out.
pub fn all_rows(landed: &Landed, differing: &[&str]) -> Vec<(&'static str, Vec<Row>)> {
    let of_table = |table: &&'static str| {
        let mut rows: Vec<Row> = rows(landed, table).iter().map(|row| without(row, differing)).collect();
        rows.sort_by_cached_key(|row| {
            let of = |name: &str| row.get(name).cloned().unwrap_or_default();
            (
                of("key").to_string(),
                of("frame_index").as_f64().unwrap_or(-1.0) as i64,
                of("face_index").as_f64().unwrap_or(-1.0) as i64,
            )
        });
        (*table, rows)
    };
    TABLES.iter().map(of_table).collect()
}

/// The same rows, each once.
pub fn check_same(found: &Landed, expected: &Landed) {
    check_same_rows(all_rows(found, &[]), all_rows(expected, &[]));
}

pub fn check_same_rows(found: Vec<(&'static str, Vec<Row>)>, expected: Vec<(&'static str, Vec<Row>)>) {
    for ((table, found), (_, expected)) in found.into_iter().zip(expected) {
        assert_eq!(found.len(), expected.len(), "{table}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{table}");
        }
    }
}

/// What `deepsweep run` makes of the archive where nothing goes wrong.
pub fn undisturbed(server: &S3Server) -> Landed {
    undisturbed_with(server, &[])
}

pub fn undisturbed_with(server: &S3Server, more: &[&str]) -> Landed {
    succeed(sweep("run", more, &server.environment()));
    take_landed(server)
}

/// What stands there, which makes room for the next attempt.
pub fn take_landed(server: &S3Server) -> Landed {
    let landed = landed(server);
    for key in landed.keys() {
        server.remove(RESULTS, key);
    }
    landed
}
