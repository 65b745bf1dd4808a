//! Inventories and lists of keys as sources, through the library: from folders, from our S3 server and from moto.
//!
//! What is expected comes from listings of the same objects and from rows that the test made up. Inventories that are
//! right are written by Python (`tests/readers/write_inventory.py`), those that are wrong by `plan_made`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use deepsweep::plan::source::{Asked, Counts, SourceKind, open};
use deepsweep::storage::s3::S3Options;
use deepsweep::storage::{Location, ObjectMeta};
use futures::TryStreamExt;
use serde_json::{Value, json};

use crate::plan_made::{Made, csv_row, gz};
use crate::servers::moto::MotoServer;
use crate::servers::s3s_server::S3Server;

const BUCKET: &str = "archive";

/// Keys that have broken other readers, in no order.
const KEYS: [&str; 16] = [
    "z.jpg",
    "a/b.jpg",
    "a-b.jpg",
    "with space.jpg",
    "with+plus.jpg",
    "a%2Bb.jpg",
    "100%.jpg",
    "\"quoted\", and comma.jpg",
    "new\nline\r\ttab.jpg",
    "日本/🎭.jpg",
    "cafe\u{301}.jpg",
    "caf\u{e9}.jpg",
    " leading and trailing ",
    "..",
    "s3://other/key",
    "a",
];

/// What a source gives.
pub struct Found {
    pub place: String,
    pub objects: Vec<ObjectMeta>,
    pub counts: std::sync::Arc<Counts>,
}

impl Found {
    pub fn keys(&self) -> Vec<&str> {
        self.objects.iter().map(|object| object.key.as_str()).collect()
    }

    /// Duplicates, older versions, delete markers, folder markers, looked up, gone.
    pub fn counted(&self) -> [u64; 6] {
        let Counts { duplicates, older_versions, delete_markers, folder_markers, looked_up, gone, .. } = &*self.counts;
        [duplicates, older_versions, delete_markers, folder_markers, looked_up, gone]
            .map(|count| count.load(Ordering::SeqCst))
    }
}

/// Through a scratch folder that must be empty afterwards.
pub async fn found_for(source: &str, s3: &S3Options, out: Option<&str>, needs_modified: bool) -> Result<Found, String> {
    let scratch = tempfile::tempdir().unwrap();
    let (location, exclude): (Location, Option<Location>) = (source.parse()?, out.map(|out| out.parse().unwrap()));
    let asked = Asked { location: &location, s3, scratch: scratch.path(), exclude: exclude.as_ref(), needs_modified };
    let found = async {
        let opened = open(asked).await?;
        let objects = opened.objects.try_collect().await?;
        Ok::<_, deepsweep::error::Error>(Found { place: opened.place, objects, counts: opened.counts })
    };
    let found = found.await.map_err(|error| error.to_string());
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    found
}

pub async fn found(source: &str, server: &S3Server) -> Result<Found, String> {
    found_for(source, &server.options(), None, false).await
}

pub async fn refused(source: &str, server: &S3Server) -> String {
    match found(source, server).await {
        Ok(found) => panic!("{source}: expected an error, found {:?}", found.objects),
        Err(message) => message,
    }
}

fn server_of_keys() -> S3Server {
    let server = S3Server::start();
    for (at, key) in KEYS.iter().enumerate() {
        server.put(BUCKET, key, vec![b'x'; at]);
    }
    server.create_bucket("results");
    server
}

/// The listing of the bucket as rows of an inventory, in no order.
async fn rows_of_bucket(server: &S3Server) -> (Vec<ObjectMeta>, Vec<Value>) {
    let listed = found("s3://archive", server).await.unwrap();
    assert_eq!(listed.place, "s3://archive/");
    let mut rows: Vec<Value> = listed.objects.iter().map(|object| row(object, true, false)).collect();
    rows.reverse();
    rows.swap(0, 7);
    (listed.objects, rows)
}

fn row(object: &ObjectMeta, is_latest: bool, is_delete_marker: bool) -> Value {
    json!({
        "bucket": BUCKET, "key": object.key, "version_id": "3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY+MTRCxf3vjVBH40Nr8X8gdRQBpUMLUo",
        "is_latest": is_latest, "is_delete_marker": is_delete_marker,
        "size": (!is_delete_marker).then_some(object.size_bytes),
        "last_modified_date": object.modified.unwrap().timestamp_millis(),
        "e_tag": (!is_delete_marker).then(|| object.etag.clone().unwrap()), "storage_class": "STANDARD",
    })
}

/// Has Python write an inventory below `root`; returns the path of the manifest.
fn written_by_python(rows: &[Value], format: &str, files: usize, root: &Path) -> String {
    let python =
        std::env::var("DEEPSWEEP_READERS_PYTHON").expect("DEEPSWEEP_READERS_PYTHON is not set; run tests/run.sh");
    let script = crate::root().join("tests/readers/write_inventory.py");
    let mut child = Command::new(python)
        .arg("-B")
        .arg(script)
        .arg(root)
        .args([format, &files.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(rows).unwrap()).unwrap();
    assert!(child.wait().unwrap().success());
    let manifest = root.join("inventories/archive/daily/2026-11-25T01-00Z/manifest.json");
    manifest.to_str().unwrap().to_owned()
}

/// Every file below `root`, in the bucket under its path.
fn upload(root: &Path, server: &S3Server, bucket: &str) {
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let key = path.strip_prefix(root).unwrap().to_str().unwrap();
            server.put(bucket, key, std::fs::read(&path).unwrap());
        }
    }
}

/// Times are written in milliseconds.
fn to_millis(objects: &[ObjectMeta]) -> Vec<ObjectMeta> {
    let to_millis = |object: &ObjectMeta| {
        let modified =
            object.modified.and_then(|time| chrono::DateTime::from_timestamp_millis(time.timestamp_millis()));
        ObjectMeta { modified, ..object.clone() }
    };
    objects.iter().map(to_millis).collect()
}

#[tokio::test]
async fn an_inventory_gives_the_objects_that_a_listing_gives_in_every_format_and_place() {
    let server = server_of_keys();
    let (listed, rows) = rows_of_bucket(&server).await;
    for (format, files) in [("CSV", 1), ("CSV", 3), ("Parquet", 1), ("Parquet", 3)] {
        let root = tempfile::tempdir().unwrap();
        let local = written_by_python(&rows, format, files, root.path());
        let key = Path::new(&local).strip_prefix(root.path()).unwrap().to_str().unwrap();
        upload(root.path(), &server, "results");
        for source in [&local, &format!("s3://results/{key}")] {
            let found = found_for(source, &server.options(), None, true).await.unwrap();
            assert_eq!(found.objects, to_millis(&listed), "{format} {source}");
            assert_eq!(found.place, "s3://archive/");
            assert_eq!(found.counts.rows.load(Ordering::SeqCst), rows.len() as u64);
        }
        for key in server.keys("results") {
            server.remove("results", &key);
        }
    }
}

#[tokio::test]
async fn of_all_versions_only_the_current_ones_are_objects_and_folders_are_none() {
    let server = server_of_keys();
    let (listed, mut rows) = rows_of_bucket(&server).await;
    let other = |key: &str, size_bytes| ObjectMeta {
        key: key.into(),
        size_bytes,
        etag: Some("old".into()),
        ..listed[0].clone()
    };
    rows.insert(3, row(&other("a/b.jpg", 7), false, false));
    rows.push(row(&other("deleted.jpg", 0), true, true));
    rows.push(row(&other("deleted.jpg", 9), false, false));
    rows.push(row(&other("folder/", 0), true, false));
    rows.push(rows[5].clone());
    for format in ["CSV", "Parquet"] {
        let root = tempfile::tempdir().unwrap();
        let found = found(&written_by_python(&rows, format, 2, root.path()), &server).await.unwrap();
        assert_eq!(found.objects, to_millis(&listed), "{format}");
        assert_eq!(found.counted(), [1, 2, 1, 1, 0, 0]);
    }
}

#[tokio::test]
async fn results_in_the_bucket_that_is_listed_are_no_media() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let rows = [csv_row("a.jpg", 1), csv_row("out/media/part.parquet", 2), csv_row("outside.jpg", 3)].concat();
    let folder = tempfile::tempdir().unwrap();
    let source = Made::csv(&[gz(&rows)]).in_folder(folder.path());
    let with_out = async |out| found_for(&source, &server.options(), Some(out), false).await;
    for (out, keys) in [
        ("s3://archive/out", &["a.jpg", "outside.jpg"][..]),
        ("s3://archive/out/", &["a.jpg", "outside.jpg"]),
        ("s3://other/out", &["a.jpg", "out/media/part.parquet", "outside.jpg"]),
        ("/tmp/out", &["a.jpg", "out/media/part.parquet", "outside.jpg"]),
    ] {
        assert_eq!(with_out(out).await.unwrap().keys(), keys, "{out}");
    }
    let message = with_out("s3://archive/").await.err().unwrap();
    assert!(message.contains("found the whole of the bucket that the inventory"), "{message}");
}

#[tokio::test]
async fn an_inventory_of_an_empty_bucket_has_no_objects() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let folder = tempfile::tempdir().unwrap();
    for bodies in [vec![], vec![gz("")]] {
        let source = Made::csv(&bodies).in_folder(folder.path());
        assert_eq!(found(&source, &server).await.unwrap().objects, []);
    }
}

#[tokio::test]
async fn files_of_a_copied_inventory_are_found_where_copies_put_them() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let made = Made::csv(&[gz(csv_row("b.jpg", 1)), gz(csv_row("a.jpg", 2))]);
    for at in ["inv/archive/all/data", ".", "data", "../data"] {
        let folder = tempfile::tempdir().unwrap();
        let of_manifest = folder.path().join("2026-11-25T01-00Z");
        std::fs::create_dir(&of_manifest).unwrap();
        let source = made.with_files_in(&of_manifest, at);
        assert_eq!(found(&source, &server).await.unwrap().keys(), ["a.jpg", "b.jpg"], "{at}");
    }
}

#[test]
fn what_a_source_is_shows_in_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let named = folder.path().join("folder.csv");
    std::fs::create_dir(&named).unwrap();
    for (source, kind) in [
        ("s3://bucket", SourceKind::Place),
        ("s3://bucket/prefix/", SourceKind::Place),
        ("s3://bucket/photo.jpg", SourceKind::Place),
        ("s3://bucket/manifest.json/", SourceKind::Place),
        (named.to_str().unwrap(), SourceKind::Place),
        ("s3://bucket/inv/2026-11-25T01-00Z/manifest.json", SourceKind::Inventory),
        ("manifest.json", SourceKind::Inventory),
        ("s3://bucket/keys.txt", SourceKind::KeyList),
        ("keys.CSV", SourceKind::KeyList),
        ("a/keys.tsv", SourceKind::KeyList),
        ("a/part-0.parquet", SourceKind::KeyList),
    ] {
        assert_eq!(SourceKind::of(&source.parse().unwrap()), kind, "{source}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_a_list_names_are_looked_up_one_by_one() {
    let server = MotoServer::start();
    let client = server.client();
    client.create_bucket().bucket(BUCKET).send().await.unwrap();
    let enabled = aws_sdk_s3::types::VersioningConfiguration::builder().status("Enabled".into()).build();
    client.put_bucket_versioning().bucket(BUCKET).versioning_configuration(enabled).send().await.unwrap();
    let mut versions = vec![];
    for body in ["one", "three"] {
        let put = client.put_object().bucket(BUCKET).key("a+b c.jpg").body(body.as_bytes().to_vec().into());
        versions.push(put.send().await.unwrap().version_id().unwrap().to_owned());
    }
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("batch.csv");
    // As S3 Batch Operations takes it; the last version is none.
    let rows = [&versions[0], &versions[1], "11111111-2222-3333-4444-555555555555"]
        .map(|version| format!("{BUCKET},a%2Bb+c.jpg,{version}\n"));
    std::fs::write(&list, rows.concat()).unwrap();
    let found = found_for(list.to_str().unwrap(), &server.options(), None, false).await.unwrap();
    let mut seen: Vec<_> =
        found.objects.iter().map(|object| (object.version_id.as_deref().unwrap(), object.size_bytes)).collect();
    let mut expected = vec![(&*versions[0], 3), (&*versions[1], 5), ("11111111-2222-3333-4444-555555555555", 0)];
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
    assert_eq!(found.counted(), [0, 0, 0, 0, 3, 1]);
    assert!(found.objects.iter().all(|object| object.key == "a+b c.jpg"));
}
