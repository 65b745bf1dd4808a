//! The same job from every kind of source to every kind of destination, and what becomes of objects that are
//! named badly, vanish, change or cannot be had.

use std::path::Path;

use aws_sdk_s3::primitives::ByteStream;
use serde_json::Value;

use crate::program::{Landed, Row, Sweep, column, finish, landed_in_bucket, landed_in_folder, media, rows, without};
use crate::servers::faults::{Fault, Operation, When};
use crate::servers::moto::MotoServer;
use crate::servers::s3s_server::S3Server;

const BUCKET: &str = "archive";
const RESULTS: &str = "results";
const TABLES: [&str; 4] = ["media", "frames", "faces", "embeddings"];
const PICTURES: [&str; 4] = ["astronaut.jpg", "group.jpg", "no_face.jpg", "portrait_small.jpg"];

/// What two stores may say differently of the same picture.
const OF_THE_STORE: [&str; 4] = ["bucket", "etag", "media_id", "modified"];

fn picture(name: &str) -> Vec<u8> {
    std::fs::read(crate::root().join("tests/media/good").join(name)).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder with the sample pictures, and nothing else.
fn folder_of_pictures() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in PICTURES {
        std::fs::write(folder.path().join(name), picture(name)).unwrap();
    }
    folder
}

fn server_of_pictures() -> S3Server {
    let server = S3Server::start();
    for name in PICTURES {
        server.put(BUCKET, name, picture(name));
    }
    server.create_bucket(RESULTS);
    server
}

fn from_folder(folder: &Path, flags: &[&str]) -> Landed {
    let out = tempfile::tempdir().unwrap();
    Sweep { source: text(folder), out: text(out.path()), scorer: "none", flags }.succeed(&[]);
    landed_in_folder(out.path())
}

fn from_server(server: &S3Server, flags: &[&str]) -> Landed {
    let out = tempfile::tempdir().unwrap();
    Sweep { source: "s3://archive/", out: text(out.path()), scorer: "none", flags }.succeed(&server.environment());
    landed_in_folder(out.path())
}

// --- The same tables from everywhere.

fn check_same_tables(found: &Landed, expected: &Landed, keys: &[&str], pair: &str) {
    for table in TABLES {
        let of = |landed: &Landed| -> Vec<Row> {
            let mut rows = rows(landed, table);
            rows.retain(|row| keys.contains(&row["key"].as_str().unwrap()));
            rows.iter().map(|row| without(row, &OF_THE_STORE)).collect()
        };
        let (found, expected) = (of(found), of(expected));
        assert!(!expected.is_empty(), "{pair}: {table} is empty");
        assert_eq!(found, expected, "{pair}: {table}");
    }
}

fn reference() -> Landed {
    let (source, out) = (folder_of_pictures(), tempfile::tempdir().unwrap());
    let sweep = Sweep { source: text(source.path()), out: text(out.path()), scorer: "untrained-demo", flags: &[] };
    sweep.succeed(&[]);
    let landed = landed_in_folder(out.path());
    let keys = column(&rows(&landed, "media"), "key");
    assert_eq!(keys, PICTURES);
    landed
}

#[test]
fn a_single_file_gives_the_rows_that_it_has_in_its_folder() {
    let (source, out) = (folder_of_pictures(), tempfile::tempdir().unwrap());
    let file = source.path().join("group.jpg");
    Sweep { source: text(&file), out: text(out.path()), scorer: "untrained-demo", flags: &[] }.succeed(&[]);
    let landed = landed_in_folder(out.path());
    assert_eq!(column(&rows(&landed, "media"), "key"), ["group.jpg"]);
    check_same_tables(&landed, &reference(), &["group.jpg"], "file to folder");
}

#[test]
fn a_bucket_gives_the_rows_that_a_folder_gives_wherever_they_are_written() {
    let server = server_of_pictures();
    let out = tempfile::tempdir().unwrap();
    let reference = reference();
    for destination in [text(out.path()), "s3://results/a/b"] {
        let sweep = Sweep { source: "s3://archive", out: destination, scorer: "untrained-demo", flags: &[] };
        sweep.succeed(&server.environment());
    }
    let in_folder = landed_in_folder(out.path());
    let in_bucket = landed_in_bucket(&server, RESULTS, "a/b/");
    assert!(in_folder.keys().eq(in_bucket.keys()), "{:?}\n{:?}", in_folder.keys(), in_bucket.keys());
    check_same_tables(&in_folder, &reference, &PICTURES, "bucket to folder");
    check_same_tables(&in_bucket, &reference, &PICTURES, "bucket to bucket");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_a_server_that_we_did_not_write_gives_the_same_rows() {
    let server = MotoServer::start();
    let client = server.client();
    for bucket in [BUCKET, RESULTS] {
        client.create_bucket().bucket(bucket).send().await.unwrap();
    }
    for name in PICTURES {
        let body = ByteStream::from(picture(name));
        client.put_object().bucket(BUCKET).key(name).body(body).send().await.unwrap();
    }
    let environment = vec![
        ("AWS_ENDPOINT_URL", server.options().endpoint_url.unwrap()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "testing".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "testing".to_owned()),
    ];
    Sweep { source: "s3://archive/", out: "s3://results", scorer: "untrained-demo", flags: &[] }.succeed(&environment);
    let mut landed = Landed::new();
    let mut pages = client.list_objects_v2().bucket(RESULTS).into_paginator().send();
    while let Some(page) = pages.next().await {
        for object in page.unwrap().contents() {
            let key = object.key().unwrap();
            let body = client.get_object().bucket(RESULTS).key(key).send().await.unwrap().body;
            landed.insert(key.to_owned(), body.collect().await.unwrap().into_bytes());
        }
    }
    check_same_tables(&landed, &reference(), &PICTURES, "moto to moto");
}

// --- Keys.

#[test]
fn every_key_that_s3_allows_keeps_its_row_under_its_exact_name() {
    let server = S3Server::start();
    let long = "x".repeat(1024);
    let mut keys = vec![
        " leading and trailing ",
        "with space.jpg",
        "a/../b.jpg",
        "..",
        "./.",
        "100%25.jpg",
        "per%cent.jpg",
        "new\nline\r\ttab.jpg",
        "\u{1F600}.jpg",
        "cafe\u{301} and caf\u{e9}.jpg",
        "plus+plus.jpg",
        "//double//slash.jpg",
        "trailing/",
        "q?query=1&x=#frag;,:@$!*'()",
        "quote\"back\\slash<>&amp;.jpg",
        "dt=2026/run=x/part.parquet",
        "\u{10FFFF}",
        "\u{1}\u{1f}\u{7f}",
        &long,
    ];
    for key in &keys {
        server.put(BUCKET, key, picture("portrait_small.jpg"));
    }
    keys.sort_unstable();
    let landed = from_server(&server, &[]);
    let media = rows(&landed, "media");
    assert_eq!(column(&media, "key"), keys);
    for row in media.iter().chain(&rows(&landed, "faces")) {
        assert_eq!(row.get("n_faces").unwrap_or(&Value::from(1)), 1, "{row:?}");
    }
    assert_eq!(column(&rows(&landed, "faces"), "key"), keys);
}

#[test]
fn a_key_that_no_request_can_carry_keeps_its_row_and_is_not_called_something_else_than_media() {
    let server = server_of_pictures();
    server.put(BUCKET, " ", picture("portrait_small.jpg")); // the SDK takes it for an empty one
    let landed = from_server(&server, &["--max-failed", "1"]);
    assert_eq!(media(&landed, " ")["error_class"], "denied");
    assert_eq!(rows(&landed, "media").len(), PICTURES.len() + 1);
}

#[test]
fn every_name_that_a_folder_can_hold_keeps_its_row() {
    let source = tempfile::tempdir().unwrap();
    let long = format!("{}/{}", "d".repeat(255), "f".repeat(255));
    let mut keys = vec![
        " ",
        "with space.jpg",
        "-rf",
        "...",
        "100%25.jpg",
        "new\nline.jpg",
        "\u{1F600}/\u{1F600}.jpg",
        "plus+plus.jpg",
        "q?query=1&x=#frag;,:@$!*'()",
        "quote\"back\\slash.jpg",
        "s3:/bucket/x.jpg",
        &long,
    ];
    for key in &keys {
        let path = source.path().join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, picture("portrait_small.jpg")).unwrap();
    }
    keys.sort_unstable();
    let landed = from_folder(source.path(), &[]);
    assert_eq!(column(&rows(&landed, "media"), "key"), keys);
    assert_eq!(column(&rows(&landed, "faces"), "key"), keys);
}

#[test]
fn what_is_no_file_has_its_row_too() {
    let source = folder_of_pictures();
    std::os::unix::fs::symlink("nowhere", source.path().join("dangling.jpg")).unwrap();
    std::os::unix::net::UnixListener::bind(source.path().join("socket.jpg")).unwrap();
    let landed = from_folder(source.path(), &[]);
    for (key, class) in [("dangling.jpg", "vanished"), ("socket.jpg", "not_media")] {
        assert_eq!(media(&landed, key)["error_class"], class, "{key}");
    }
    assert_eq!(rows(&landed, "media").len(), PICTURES.len() + 2);
}

// --- Objects that fail.

/// What becomes of one object whose requests go wrong, and of all others beside it.
fn check_one_fails(when: When, fault: Fault, expected: (&str, &str, bool)) -> (S3Server, Row) {
    let server = server_of_pictures();
    server.fail_key(Operation::Get, "group.jpg", when, fault);
    // One of four is more than the share that may be unreadable by default.
    let landed = from_server(&server, &["--max-failed", "0.25"]);
    let row = media(&landed, "group.jpg");
    let (status, class, retryable) = expected;
    assert_eq!((&row["status"], &row["error_class"]), (&status.into(), &class.into()), "{fault:?}: {row:?}");
    assert_eq!(row["retryable"], retryable, "{fault:?}: {row:?}");
    assert!(row["error_message"].as_str().unwrap().contains("group.jpg"), "{row:?}");
    for (key, status) in [("astronaut.jpg", "ok"), ("no_face.jpg", "no_face"), ("portrait_small.jpg", "ok")] {
        assert_eq!(media(&landed, key)["status"], status, "{fault:?} elsewhere: {key}");
    }
    (server, row)
}

#[test]
fn an_object_that_is_gone_when_it_is_fetched_is_vanished() {
    check_one_fails(When::From(1), Fault::Status(404, "NoSuchKey"), ("rejected", "vanished", false));
}

#[test]
fn an_object_that_is_replaced_after_the_listing_is_changed() {
    check_one_fails(When::Nth(1), Fault::ChangedEtag, ("rejected", "changed", true));
}

#[test]
fn an_object_that_is_replaced_while_it_is_read_is_changed_and_no_mixture() {
    let server = server_of_pictures();
    server.fail_key(Operation::Get, "group.jpg", When::Nth(1), Fault::CutBody(10_000));
    server.fail_key(Operation::Get, "group.jpg", When::Nth(2), Fault::ChangedEtag);
    assert_eq!(media(&from_server(&server, &[]), "group.jpg")["error_class"], "changed");
}

#[test]
fn an_object_that_must_not_be_read_is_denied() {
    check_one_fails(When::From(1), Fault::Status(403, "AccessDenied"), ("rejected", "denied", false));
}

#[test]
fn an_object_that_the_server_never_hands_out_is_fetch_failed_and_may_be_tried_again() {
    check_one_fails(When::From(1), Fault::Status(503, "SlowDown"), ("rejected", "fetch_failed", true));
}

#[test]
fn an_object_in_cold_storage_is_not_called_something_else_than_media() {
    let (_, row) =
        check_one_fails(When::From(1), Fault::Status(403, "InvalidObjectState"), ("rejected", "denied", false));
    assert!(row["error_message"].as_str().unwrap().contains("archived"), "{row:?}");
}

#[test]
fn a_body_that_breaks_off_is_read_on_from_there() {
    let server = server_of_pictures();
    for (nth, after) in [(1, 10_000), (2, 0), (3, 70_000)] {
        server.fail_key(Operation::Get, "group.jpg", When::Nth(nth), Fault::CutBody(after));
    }
    let landed = from_server(&server, &[]);
    let whole = from_folder(folder_of_pictures().path(), &[]);
    let of = |landed: &Landed| without(&media(landed, "group.jpg"), &OF_THE_STORE);
    assert_eq!(of(&landed), of(&whole));
    let gets = server.calls().iter().filter(|call| call.operation == Operation::Get && call.key == "group.jpg").count();
    assert_eq!(gets, 4);
}

#[test]
fn an_object_above_the_limit_is_too_large_and_keeps_its_container() {
    let size = picture("group.jpg").len().to_string();
    for limit in [size.parse::<usize>().unwrap() - 1, 100] {
        let limit = format!("{limit}B");
        let landed = from_server(&server_of_pictures(), &["--max-object-size", &limit, "--include", "group.jpg"]);
        let row = media(&landed, "group.jpg");
        assert_eq!((&row["error_class"], &row["container"]), (&"too_large".into(), &"jpeg".into()), "{limit}: {row:?}");
        assert!(row["error_message"].as_str().unwrap().contains(&size), "{row:?}");
    }
}

#[test]
fn more_unreadable_objects_than_allowed_finish_the_run_and_fail_it() {
    let server = server_of_pictures();
    server.fail_key(Operation::Get, "group.jpg", When::From(1), Fault::Status(403, "AccessDenied"));
    let out = tempfile::tempdir().unwrap();
    let sweep = Sweep { source: "s3://archive/", out: text(out.path()), scorer: "none", flags: &[] };
    let finished = finish(sweep.command(&server.environment()));
    assert_eq!(finished.code, Some(10), "{}", finished.stderr);
    assert!(finished.stderr.contains("1 of 4 objects"), "{}", finished.stderr);
    let landed = landed_in_folder(out.path());
    assert_eq!(rows(&landed, "media").len(), 4);
    assert!(landed.contains_key("_runs/first/SUCCESS.json"), "{:?}", landed.keys());
}

// --- Jobs that are refused.

/// Ends with `code` and a message with `named` in it, before anything is written.
fn check_refused(sweep: &Sweep<'_>, environment: &[(&'static str, String)], code: i32, named: &str) {
    let finished = finish(sweep.command(environment));
    assert_eq!(finished.code, Some(code), "{sweep:?}\n{}", finished.stderr);
    assert!(finished.stderr.contains(named), "{sweep:?}: expected {named:?} in\n{}", finished.stderr);
    assert_eq!(finished.stdout, "", "{sweep:?}");
    if !sweep.out.starts_with("s3://") {
        assert!(landed_in_folder(Path::new(sweep.out)).is_empty(), "{sweep:?} wrote something");
    }
}

#[test]
fn a_source_that_is_not_there_is_named_and_nothing_is_written() {
    let server = server_of_pictures();
    let out = tempfile::tempdir().unwrap();
    let sweep = |source| Sweep { source, out: text(out.path()), scorer: "none", flags: &[] };
    check_refused(&sweep("/no/such/folder"), &[], 3, "/no/such/folder");
    check_refused(&sweep("s3://no-such-bucket/x"), &server.environment(), 3, "no-such-bucket");
    check_refused(&sweep("s3://"), &server.environment(), 2, "s3://BUCKET/PREFIX");
    check_refused(&sweep("gs://archive/"), &server.environment(), 2, "gs");
}

#[test]
fn a_destination_that_is_not_there_is_named() {
    let server = server_of_pictures();
    let file = tempfile::NamedTempFile::new().unwrap();
    let source = folder_of_pictures();
    let sweep = |out| Sweep { source: text(source.path()), out, scorer: "none", flags: &[] };
    check_refused(&sweep("s3://no-such-bucket/x"), &server.environment(), 3, "no-such-bucket");
    check_refused(&sweep(text(file.path())), &[], 3, text(file.path()));
    check_refused(&sweep("/proc/no/such"), &[], 3, "/proc/no/such");
}

#[test]
fn wrong_and_missing_credentials_are_named_and_nothing_is_written() {
    let server = server_of_pictures();
    let out = tempfile::tempdir().unwrap();
    let sweep = Sweep { source: "s3://archive/", out: text(out.path()), scorer: "none", flags: &[] };
    let without_key: Vec<_> = server.environment().into_iter().filter(|(name, _)| !name.contains("KEY")).collect();
    check_refused(&sweep, &without_key, 3, "AWS_ACCESS_KEY_ID");
    let mut wrong = without_key;
    wrong.push(("AWS_ACCESS_KEY_ID", "SOMEBODYELSE".to_owned()));
    wrong.push(("AWS_SECRET_ACCESS_KEY", "guess".to_owned()));
    check_refused(&sweep, &wrong, 3, "InvalidAccessKeyId");
}

#[test]
fn a_folder_that_may_not_be_read_is_named_and_nothing_is_written() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65534;
    let above = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let (locked, out) = (above.path().join("locked"), above.path().join("out"));
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, PermissionsExt::from_mode(0o000)).unwrap();
    let sweep = Sweep { source: text(&locked), out: text(&out), scorer: "none", flags: &[] };
    let mut command = sweep.command(&[]);
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        // Root may read everything; nobody may not. The program is copied to where nobody finds it.
        let program = above.path().join("deepsweep");
        std::fs::copy(env!("CARGO_BIN_EXE_deepsweep"), &program).unwrap();
        std::fs::create_dir(&out).unwrap();
        std::fs::set_permissions(&out, PermissionsExt::from_mode(0o777)).unwrap();
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let mut as_nobody = std::process::Command::new(program);
        as_nobody.args(arguments).env_clear().uid(NOBODY).stdout(std::process::Stdio::piped());
        as_nobody.stderr(std::process::Stdio::piped());
        command = as_nobody;
    }
    let finished = finish(command);
    assert_eq!(finished.code, Some(3), "{}", finished.stderr);
    assert!(finished.stderr.contains(text(&locked)), "{}", finished.stderr);
    assert!(landed_in_folder(&out).is_empty());
}

#[test]
fn results_beside_the_source_are_no_media_of_the_next_run() {
    let source = folder_of_pictures();
    let out = source.path().join("results");
    for run in ["first", "second"] {
        let flags = ["--run-id", run];
        Sweep { source: text(source.path()), out: text(&out), scorer: "none", flags: &flags }.succeed(&[]);
    }
    assert_eq!(rows(&landed_in_folder(&out), "media").len(), 2 * PICTURES.len());

    let server = server_of_pictures();
    for run in ["first", "second"] {
        let flags = ["--run-id", run];
        let sweep = Sweep { source: "s3://archive", out: "s3://archive/results", scorer: "none", flags: &flags };
        sweep.succeed(&server.environment());
    }
    assert_eq!(rows(&landed_in_bucket(&server, BUCKET, "results/"), "media").len(), 2 * PICTURES.len());
}

#[test]
fn a_run_of_a_name_that_is_taken_is_refused_and_changes_nothing() {
    let (source, out) = (folder_of_pictures(), tempfile::tempdir().unwrap());
    let sweep = Sweep { source: text(source.path()), out: text(out.path()), scorer: "none", flags: &[] };
    sweep.succeed(&[]);
    let before = landed_in_folder(out.path());
    std::fs::remove_file(source.path().join("group.jpg")).unwrap();
    let finished = finish(sweep.command(&[]));
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    assert!(finished.stderr.contains("\"first\"") && finished.stderr.contains("--run-id"), "{}", finished.stderr);
    assert_eq!(landed_in_folder(out.path()), before);
}

#[test]
fn a_source_without_objects_gives_tables_without_rows() {
    let source = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let sweep = Sweep { source: text(source.path()), out: text(out.path()), scorer: "untrained-demo", flags: &[] };
    let finished = sweep.succeed(&[]);
    assert!(finished.stderr.contains("no object was found"), "{}", finished.stderr);
    let landed = landed_in_folder(out.path());
    for table in TABLES {
        let parts = landed.keys().filter(|key| key.starts_with(&format!("{table}/dt=2026-01-02/run=first/"))).count();
        assert_eq!((parts, rows(&landed, table).len()), (1, 0), "{table}");
    }
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    assert_eq!(rows(&from_server(&server, &[]), "media"), []);
}

// --- Filters.

#[test]
fn a_filter_lets_through_what_it_names() {
    let source = folder_of_pictures();
    std::fs::create_dir(source.path().join("sub")).unwrap();
    std::fs::write(source.path().join("sub/SMALL.JPG"), picture("portrait_small.jpg")).unwrap();
    std::fs::write(source.path().join("note.txt"), "no picture").unwrap();
    let old = std::fs::File::options().append(true).open(source.path().join("no_face.jpg")).unwrap();
    let midsummer_2020 = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_592_697_600);
    old.set_modified(midsummer_2020).unwrap();
    let size = |name: &str| format!("{}B", picture(name).len());
    let (group, small) = (size("group.jpg"), size("portrait_small.jpg"));
    let cases: [(&[&str], &[&str]); 10] = [
        (&["--suffix", ".jpg"], &["astronaut.jpg", "group.jpg", "no_face.jpg", "portrait_small.jpg", "sub/SMALL.JPG"]),
        (&["--suffix", ".txt", "--suffix", "small.jpg"], &["note.txt", "portrait_small.jpg", "sub/SMALL.JPG"]),
        (&["--include", "sub/*"], &["sub/SMALL.JPG"]),
        (&["--include", "*o*.jpg", "--exclude", "*_*"], &["astronaut.jpg", "group.jpg"]),
        (
            &["--suffix", ".jpg", "--exclude", "*.JPG", "--exclude", "g*"],
            &["astronaut.jpg", "no_face.jpg", "portrait_small.jpg"],
        ),
        (&["--min-size", &group], &["group.jpg"]),
        (&["--max-size", &small], &["note.txt", "portrait_small.jpg", "sub/SMALL.JPG"]),
        (&["--modified-before", "2020-06-22"], &["no_face.jpg"]),
        (&["--modified-after", "2020-06-22", "--suffix", "e.jpg"], &[]),
        (&["--modified-after", "2020-06-21T00:00:00Z", "--modified-before", "2020-06-21T00:00:01Z"], &["no_face.jpg"]),
    ];
    for (flags, expected) in cases {
        assert_eq!(column(&rows(&from_folder(source.path(), flags), "media"), "key"), expected, "{flags:?}");
    }
}
