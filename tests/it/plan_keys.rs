//! Lists of keys in every form, and what is looked up of them.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use deepsweep::plan::keys::{is_gone, resolve};
use deepsweep::plan::listed::Listed;
use deepsweep::storage::memory::MemoryStore;
use deepsweep::storage::{ObjectMeta, Store};
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;

use crate::plan_sources::{Found, found, found_for};
use crate::program::Sweep;
use crate::servers::faults::{Fault, Operation, When};
use crate::servers::s3s_server::S3Server;

fn server_of(keys: &[&str]) -> S3Server {
    let server = S3Server::start();
    server.create_bucket("archive");
    for (at, key) in keys.iter().enumerate() {
        server.put("archive", key, vec![b'x'; at + 1]);
    }
    server
}

async fn listed(source: &str, server: &S3Server) -> Vec<ObjectMeta> {
    found(source, server).await.unwrap().objects
}

/// A list with this name and content; the server is asked for what it leaves open.
async fn of_list(name: &str, body: impl AsRef<[u8]>, server: &S3Server) -> Found {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, body).unwrap();
    found(path.to_str().unwrap(), server).await.unwrap_or_else(|message| panic!("{name}: {message}"))
}

/// Times of HEAD have no more than seconds.
fn but_for_times(objects: &[ObjectMeta]) -> Vec<ObjectMeta> {
    objects.iter().map(|object| ObjectMeta { modified: None, ..object.clone() }).collect()
}

#[tokio::test]
async fn a_list_in_any_form_gives_what_a_listing_gives_of_the_same_keys() {
    let keys = ["a b.jpg", "a+b.jpg", "a,\"b\".jpg", "b/日本.jpg", "b/", "z%20.jpg"];
    let server = server_of(&keys);
    let listed = but_for_times(&listed("s3://archive", &server).await);
    for (name, body) in [
        (
            "keys.txt",
            "s3://archive/z%20.jpg\ns3://archive/a b.jpg\ns3://archive/a+b.jpg\ns3://archive/a,\"b\".jpg\ns3://archive/b/日本.jpg\ns3://archive/b/",
        ),
        (
            "keys.TXT",
            "\u{feff}s3://archive/z%20.jpg\r\n\r\ns3://archive/a b.jpg\r\ns3://archive/a+b.jpg\r\ns3://archive/a,\"b\".jpg\r\ns3://archive/b/日本.jpg\r\ns3://archive/b/\r\n",
        ),
        (
            "keys.csv",
            "Key,Bucket\nz%20.jpg,archive\na b.jpg,archive\na+b.jpg,archive\n\"a,\"\"b\"\".jpg\",archive\nb/日本.jpg,archive\nb/,archive\n",
        ),
        (
            "keys.tsv",
            "\u{feff}\"bucket\"\tother\tkey\r\narchive\t\tz%20.jpg\r\narchive\t\ta b.jpg\r\narchive\t\ta+b.jpg\r\narchive\t\t\"a,\"\"b\"\".jpg\"\r\narchive\t\tb/日本.jpg\r\narchive\t\tb/\r\n",
        ),
        (
            "batch.csv",
            "archive,z%2520.jpg\narchive,a+b.jpg\narchive,a%2Bb.jpg\n\"archive\",\"a%2C%22b%22.jpg\"\narchive,b%2F%E6%97%A5%E6%9C%AC.jpg\narchive,b/\n",
        ),
        (
            "uris.csv",
            "s3://archive/z%20.jpg\ns3://archive/a b.jpg\ns3://archive/a+b.jpg\n\"s3://archive/a,\"\"b\"\".jpg\"\ns3://archive/b/日本.jpg\ns3://archive/b/",
        ),
        (
            "uris.csv",
            "key\ns3://archive/z%20.jpg\ns3://archive/a b.jpg\ns3://archive/a+b.jpg\n\"s3://archive/a,\"\"b\"\".jpg\"\ns3://archive/b/日本.jpg\ns3://archive/b/",
        ),
    ] {
        let found = of_list(name, body, &server).await;
        assert_eq!(found.place, "s3://archive/");
        assert_eq!(but_for_times(&found.objects), listed, "{name}: {body}");
        assert_eq!(found.counted(), [0, 0, 0, 0, keys.len() as u64, 0], "{name}");
        // The list itself in a bucket.
        server.put("lists", name, body.to_owned());
        assert_eq!(but_for_times(&self::listed(&format!("s3://lists/{name}"), &server).await), listed, "{name}");
    }
    let calls = server.count(Operation::Get);
    assert_eq!(calls, 7, "media are not read");
}

#[tokio::test]
async fn a_list_that_says_all_of_its_objects_asks_the_store_for_none() {
    let server = server_of(&["there.jpg"]);
    let heads = server.count(Operation::Head);
    let body = "key,bucket,size_bytes,etag,last_modified\nb.jpg,archive,7,\"\"\"abc\"\"\",2016-11-06 21:32:05\na.jpg,archive,8,x,\n";
    let found = of_list("keys.csv", body, &server).await;
    let modified = chrono::DateTime::from_timestamp(1_478_467_925, 0);
    let object = |key: &str, size_bytes, etag: &str, modified| ObjectMeta {
        key: key.into(),
        size_bytes,
        etag: Some(etag.into()),
        version_id: None,
        modified,
    };
    assert_eq!(found.objects, [object("a.jpg", 8, "x", None), object("b.jpg", 7, "abc", modified)]);
    assert_eq!((found.counted()[4], server.count(Operation::Head)), (0, heads));
    // Unless a filter asks for times.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.csv");
    std::fs::write(&path, body).unwrap();
    let found = found_for(path.to_str().unwrap(), &server.options(), None, true).await.unwrap();
    assert_eq!((found.counted()[4], found.counted()[5]), (1, 1));
}

#[tokio::test]
async fn what_is_gone_has_no_size_and_what_changed_keeps_the_version_of_the_list() {
    let server = server_of(&["a.jpg", "b.jpg"]);
    let body =
        "key,bucket,etag\nb.jpg,archive,old\ngone.jpg,archive,\na.jpg,archive,\na.jpg,archive,\nb.jpg,archive,newer\n";
    let found = of_list("keys.csv", body, &server).await;
    let seen: Vec<_> =
        found.objects.iter().map(|object| (object.key.as_str(), object.size_bytes, object.etag.as_deref())).collect();
    let etag = listed("s3://archive/a.jpg", &server).await[0].etag.clone();
    assert_eq!(seen, [("a.jpg", 1, etag.as_deref()), ("b.jpg", 2, Some("old")), ("gone.jpg", 0, None)]);
    assert!(is_gone(&found.objects[2]) && !is_gone(&found.objects[0]));
    assert_eq!(found.counted(), [2, 0, 0, 0, 3, 1], "of b.jpg the first line counts");
}

#[tokio::test]
async fn lookups_that_fail_stop_the_job_but_for_one_object_that_is_closed_to_us() {
    let keys: Vec<String> = (0..300).map(|at| format!("{at:03}.jpg")).collect();
    let server = server_of(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    let list: String = keys.iter().rev().map(|key| format!("s3://archive/{key}\n")).collect();
    server.fail_key(Operation::Head, "007.jpg", When::From(1), Fault::Status(403, "AccessDenied"));
    let found = of_list("keys.txt", &list, &server).await;
    assert_eq!(found.keys(), keys, "in order, whichever answer came first");
    assert_eq!(found.objects[7].size_bytes, 8, "a listing says it too");
    server.fail_key(Operation::Head, "009.jpg", When::From(1), Fault::Status(503, "SlowDown"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.txt");
    std::fs::write(&path, &list).unwrap();
    let throttle_patience = std::time::Duration::ZERO;
    let options = deepsweep::storage::s3::S3Options { max_attempts: 1, throttle_patience, ..server.options() };
    let message = found_for(path.to_str().unwrap(), &options, None, false).await.err().unwrap();
    assert!(message.contains("009.jpg") && message.contains("try again later"), "{message}");
}

#[tokio::test]
async fn paths_are_those_below_the_folder_of_the_list_or_absolute() {
    let server = S3Server::start();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    for name in ["b.jpg", "sub/a.jpg", "sub/c d.jpg"] {
        std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        std::fs::write(root.join(name), name).unwrap();
    }
    let everything = listed(root.to_str().unwrap(), &server).await;
    let list = root.join("lists.txt");
    let source = list.to_str().unwrap();

    std::fs::write(&list, "./sub/c d.jpg\nb.jpg\nsub//a.jpg\nsub\nmissing/x.jpg\n").unwrap();
    let found = found_for(source, &server.options(), None, true).await.unwrap();
    assert_eq!(found.place, root.to_str().unwrap());
    assert_eq!(found.keys(), ["b.jpg", "missing/x.jpg", "sub", "sub/a.jpg", "sub/c d.jpg"]);
    assert_eq!(found.counted(), [0, 0, 0, 0, 5, 2], "a folder is no object");
    assert_eq!(
        [&found.objects[0], &found.objects[3], &found.objects[4]],
        [&everything[0], &everything[1], &everything[2]]
    );

    let absolute = root.join("b.jpg").to_str().unwrap().to_owned();
    std::fs::write(&list, format!("{absolute}\n/nonexistent/y.jpg\n")).unwrap();
    let found = found_for(source, &server.options(), None, false).await.unwrap();
    let mut expected = [absolute[1..].to_owned(), "nonexistent/y.jpg".to_owned()];
    expected.sort();
    assert_eq!((found.place.as_str(), found.keys()), ("/", expected.iter().map(String::as_str).collect()));

    // As a table of a local run names them.
    let table = root.join("keys.csv");
    std::fs::write(&table, format!("bucket,key\n{},sub/a.jpg\n", root.display())).unwrap();
    let found = found_for(table.to_str().unwrap(), &server.options(), None, false).await.unwrap();
    assert_eq!((found.place.as_str(), &found.objects[..]), (root.to_str().unwrap(), &everything[1..2]));
}

#[tokio::test]
async fn parquet_of_a_query_is_a_list() {
    let server = server_of(&["a.jpg"]);
    let buckets: ArrayRef = Arc::new(StringArray::from(vec!["archive"; 3]));
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["c.jpg", "a.jpg", "b.jpg"]));
    let sizes: ArrayRef = Arc::new(Int64Array::from(vec![Some(3), None, Some(2)]));
    let etags: ArrayRef = Arc::new(StringArray::from(vec!["z", "y", "x"]));
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_500_000, 0, -1]).with_timezone("UTC"));
    let columns =
        [("key", keys), ("bucket", buckets), ("size", sizes), ("e_tag", etags), ("last_modified_date", times)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(vec![], batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let found = of_list("athena.parquet", writer.into_inner().unwrap(), &server).await;
    let seen: Vec<_> = found.objects.iter().map(|o| (&*o.key, o.size_bytes, o.etag.as_deref().unwrap())).collect();
    assert_eq!(seen, [("a.jpg", 1, "y"), ("b.jpg", 2, "x"), ("c.jpg", 3, "z")]);
    assert_eq!(found.objects[2].modified.unwrap().timestamp_micros(), 1_500_000);
    assert_eq!(found.counted()[4], 1);
}

#[tokio::test]
async fn the_media_table_of_a_run_is_a_list_of_its_objects() {
    let server = S3Server::start();
    let (source, out) = (crate::run_sources::folder_of_pictures(), tempfile::tempdir().unwrap());
    let sweep = Sweep {
        source: source.path().to_str().unwrap(),
        out: out.path().to_str().unwrap(),
        scorer: "none",
        flags: &[],
    };
    sweep.succeed(&[]);
    let part = std::fs::read_dir(out.path().join("media/dt=2026-01-02/run=first")).unwrap().next().unwrap().unwrap();
    let found = found_for(part.path().to_str().unwrap(), &server.options(), None, true).await.unwrap();
    let mut listed = listed(sweep.source, &server).await;
    for object in &mut listed {
        // Microseconds are what the table keeps.
        let micros = object.modified.unwrap().timestamp_micros();
        object.modified = chrono::DateTime::from_timestamp_micros(micros);
    }
    assert_eq!(found.objects, listed);
    assert_eq!(Path::new(&found.place), source.path().canonicalize().unwrap());
    assert_eq!(found.counted(), [0; 6]);
}

#[tokio::test]
async fn an_object_is_looked_up_by_its_exact_key() {
    let store = MemoryStore::new("memory");
    for key in ["a.jpg.txt", "b", "b.jpg"] {
        store.put(key, "body");
    }
    let entry = |key: &str| Listed { key: key.to_owned(), ..Listed::default() };
    assert!(is_gone(&resolve(&store, entry("a.jpg")).await.unwrap()));
    let listed: Vec<_> = store.list("b").try_collect().await.unwrap();
    assert_eq!(resolve(&store, entry("b")).await.unwrap(), listed[0]);
    assert_eq!(resolve(&store, entry("b.jpg")).await.unwrap(), listed[1]);
}

#[tokio::test]
async fn a_list_of_a_hundred_thousand_lines_with_duplicates_is_sorted() {
    let server = S3Server::start();
    server.create_bucket("archive");
    let rows = (0..100_000_u64).map(|at| format!("{:05},archive,1,x\n", at * 7_919 % 50_000));
    let body = std::iter::once("key,bucket,size,etag\n".to_owned()).chain(rows).collect::<String>();
    let found = of_list("keys.csv", body, &server).await;
    assert_eq!((found.objects.len(), found.counted()[0]), (50_000, 50_000));
    assert!(found.objects.is_sorted_by(|one, other| one.key < other.key));
}
