//! The same job from every kind of source to every kind of destination, and objects that are named badly.

use std::path::Path;

use aws_sdk_s3::primitives::ByteStream;
use serde_json::Value;

use crate::program::{Landed, Row, Sweep, column, landed_in_bucket, landed_in_folder, media, rows, without};
use crate::servers::moto::MotoServer;
use crate::servers::s3s_server::S3Server;

pub const BUCKET: &str = "archive";
pub const RESULTS: &str = "results";
pub const TABLES: [&str; 5] = ["media", "frames", "faces", "tracks", "embeddings"];
pub const PICTURES: [&str; 4] = ["astronaut.jpg", "group.jpg", "no_face.jpg", "portrait_small.jpg"];

/// What two stores may say differently of the same picture.
pub const OF_THE_STORE: [&str; 4] = ["bucket", "etag", "media_id", "modified"];

pub fn picture(name: &str) -> Vec<u8> {
    std::fs::read(crate::root().join("tests/media/good").join(name)).unwrap()
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder with the sample pictures, and nothing else.
pub fn folder_of_pictures() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in PICTURES {
        std::fs::write(folder.path().join(name), picture(name)).unwrap();
    }
    folder
}

pub fn server_of_pictures() -> S3Server {
    let server = S3Server::start();
    for name in PICTURES {
        server.put(BUCKET, name, picture(name));
    }
    server.create_bucket(RESULTS);
    server
}

pub fn from_folder(folder: &Path, flags: &[&str]) -> Landed {
    let out = tempfile::tempdir().unwrap();
    Sweep { source: text(folder), out: text(out.path()), scorer: "none", flags }.succeed(&[]);
    landed_in_folder(out.path())
}

pub fn from_server(server: &S3Server, flags: &[&str]) -> Landed {
    let out = tempfile::tempdir().unwrap();
    Sweep { source: "s3://archive/", out: text(out.path()), scorer: "none", flags }.succeed(&server.environment());
    landed_in_folder(out.path())
}

// --- The same tables from everywhere.

pub fn check_same_tables(found: &Landed, expected: &Landed, keys: &[&str], pair: &str) {
    for table in TABLES {
        let of = |landed: &Landed| -> Vec<Row> {
            let mut rows = rows(landed, table);
            rows.retain(|row| keys.contains(&row["key"].as_str().unwrap()));
            rows.iter().map(|row| without(row, &OF_THE_STORE)).collect()
        };
        let (found, expected) = (of(found), of(expected));
        // Pictures have no tracks.
        assert_eq!(expected.is_empty(), table == "tracks", "{pair}: {table}");
        assert_eq!(found, expected, "{pair}: {table}");
    }
}

pub fn reference() -> Landed {
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
