//! Inventories and lists of keys that are damaged, say too little, or are something else.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use serde_json::json;

use crate::plan_made::{Made, SCHEMA, csv_row, gz, md5};
use crate::plan_sources::{found, found_for, refused};
use crate::servers::s3s_server::S3Server;

fn server() -> S3Server {
    let server = S3Server::start();
    server.create_bucket("archive");
    server.create_bucket("results");
    server
}

fn parquet(columns: &[(&str, ArrayRef)]) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns.iter().cloned()).unwrap();
    let mut writer = ArrowWriter::try_new(vec![], batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn text(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// The inventory from a folder and from a bucket: the same words.
async fn check(made: &Made, expected: &str) {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    for source in [made.in_folder(folder.path()), made.in_bucket(&server)] {
        let message = refused(&source, &server).await;
        assert!(message.contains(expected), "{source}: expected {expected:?}, found {message:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_the_one_of_the_manifest_is_refused() {
    let good = Made::csv(&[gz(csv_row("a.jpg", 1)), gz(csv_row("b.jpg", 2))]);
    let file = "inventory file \"inv/archive/all/data/1.csv.gz\": ";

    let mut other_bytes = good.clone();
    let last = other_bytes.files[1].1.last_mut().unwrap();
    *last ^= 1;
    let found = md5(&other_bytes.files[1].1);
    let expected = format!("{file}expected MD5 {} as in the manifest, found {found}", md5(&good.files[1].1));
    check(&other_bytes, &expected).await;

    let mut cut = good.clone();
    let whole = cut.files[1].1.len();
    cut.files[1].1.pop();
    check(&cut, &format!("{file}expected {whole} bytes as in the manifest, found {}", whole - 1)).await;

    let mut missing = good.clone();
    missing.files.pop();
    check(&missing, "expected the inventory file \"inv/archive/all/data/1.csv.gz\" in ").await;

    let mut outside = good.clone();
    outside.manifest["files"][1]["key"] = json!("../../etc/passwd");
    check(&outside, "expected the inventory file \"../../etc/passwd\" in ").await;

    let whole = gz(csv_row("b.jpg", 2).repeat(1000));
    check(&Made::csv(&[whole[..whole.len() - 9].to_vec()]), "0.csv.gz\": row ").await;
}

#[tokio::test]
async fn a_manifest_that_is_none_or_another_is_refused() {
    let good = Made::csv(&[gz(csv_row("a.jpg", 1))]);
    let mut orc = good.clone();
    orc.manifest["fileFormat"] = json!("ORC");
    check(&orc, "fileFormat: expected Parquet or CSV, found \"orc\": choose one of those").await;

    let other = Made { checksum: Some("d41d8cd98f00b204e9800998ecf8427e\n".to_owned()), ..good.clone() };
    check(&other, "expected MD5 \"d41d8cd98f00b204e9800998ecf8427e\" as manifest.checksum beside it says, found ")
        .await;

    let mut lacking = good.clone();
    lacking.manifest.as_object_mut().unwrap().remove("files");
    check(&lacking, "expected the manifest.json of an S3 Inventory, found: missing field `files`").await;

    let server = server();
    let message = refused("s3://results/nothing/manifest.json", &server).await;
    assert_eq!(message, "s3://results/nothing/manifest.json: not found");
    assert!(refused("/nonexistent/manifest.json", &server).await.contains("/nonexistent/manifest.json: not found"));
    let folder = tempfile::tempdir().unwrap();
    let source = good.in_folder(folder.path());
    std::fs::remove_file(folder.path().join("manifest.checksum")).unwrap();
    assert_eq!(found(&source, &server).await.unwrap().keys(), ["a.jpg"]);
}

#[tokio::test]
async fn fields_that_a_run_needs_are_named() {
    let with_schema = |schema: &str, row: &str| {
        let mut made = Made::csv(&[gz(row)]);
        made.manifest["fileSchema"] = json!(schema);
        made
    };
    let add = "to the optional fields of the inventory's configuration";
    let without_etag = with_schema("Bucket, Key, Size", "archive,a,1\n");
    check(&without_etag, &format!("expected the field ETag, found \"Bucket\", \"Key\", \"Size\": add ETag {add}"))
        .await;
    let without_size = with_schema("Bucket, Key, ETag", "archive,a,x\n");
    check(&without_size, &format!("expected the field Size, found \"Bucket\", \"Key\", \"ETag\": add Size {add}"))
        .await;
    let half = with_schema("Bucket, Key, VersionId, Size, ETag", "archive,a,v,1,x\n");
    check(&half, "expected the field IsLatest, found ").await;
    check(&Made::parquet(&[parquet(&[("bucket", text(&["archive"])), ("key", text(&["a"]))])]), "field Size").await;

    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let source = with_schema("Bucket, Key, Size, ETag", "archive,a,1,x\n").in_folder(folder.path());
    assert_eq!(found(&source, &server).await.unwrap().keys(), ["a"]);
    let message = found_for(&source, &server.options(), None, true).await.err().unwrap();
    assert!(message.contains("expected the field LastModifiedDate, found "), "{message}");
}

#[tokio::test]
async fn a_row_that_is_none_is_named_by_its_number() {
    for (row, what) in [
        ("archive,a,1\n", "expected 5 columns as in fileSchema, found 3"),
        (
            "other,a,1,2016-11-06T21:32:05.000Z,x\n",
            "expected the bucket \"archive\" as in the manifest, found \"other\"",
        ),
        ("archive,,1,2016-11-06T21:32:05.000Z,x\n", "Key: expected one, found none"),
        ("archive,%FF,1,2016-11-06T21:32:05.000Z,x\n", "key \"%FF\": expected percent-encoded UTF-8"),
        ("archive,a,,2016-11-06T21:32:05.000Z,x\n", "Size of \"a\": expected one, found none"),
        ("archive,a,1,2016-11-06T21:32:05.000Z,\n", "ETag of \"a\": expected one, found none"),
        ("archive,a,-1,2016-11-06T21:32:05.000Z,x\n", "Size: expected a number of bytes, found \"-1\""),
        ("archive,a,1,yesterday,x\n", "LastModifiedDate: expected a time like"),
        ("archive,a,1,2016-11-06T21:32:05.000Z,\"x\n", "expected a closing quote, found the end of the file"),
    ] {
        let body = gz([csv_row("0.jpg", 1), row.to_owned()].concat());
        check(&Made::csv(&[body]), &format!("0.csv.gz\": row 2: {what}")).await;
    }
    let columns = [("bucket", text(&["archive"; 2])), ("key", text(&["a", "b"])), ("e_tag", text(&["x"; 2]))];
    let sizes = |sizes: Vec<Option<i64>>| -> ArrayRef { Arc::new(Int64Array::from(sizes)) };
    for (size, what) in [
        (sizes(vec![Some(1), None]), "row 2: Size of \"b\": expected one, found none"),
        (sizes(vec![Some(-1), Some(1)]), "row 1: Size: expected a number of bytes, found -1"),
        (text(&["1", "2"]), "column \"size\": expected an integer, found \"Utf8\""),
    ] {
        let body = parquet(&[&columns[..], &[("size", size)]].concat());
        check(&Made::parquet(&[body]), what).await;
    }
    check(&Made::parquet(&[SCHEMA.into()]), "expected a whole Parquet file, found a damaged one").await;
}

// --- Lists of keys.

async fn check_list(name: &str, body: impl AsRef<[u8]>, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, body).unwrap();
    let source = path.to_str().unwrap();
    let message = refused(source, &server()).await;
    assert_eq!(message.replace(source, name), format!("list of keys {name}: {expected}"));
}

#[tokio::test]
async fn a_line_that_names_no_object_is_refused_by_its_number() {
    let one = "expected objects of one bucket, or paths that are all relative or all absolute, found ";
    for (body, expected) in [
        (&b""[..], "expected keys, found none"),
        (b"\n \r\n\n", "expected keys, found none"),
        (b"s3://a/1\n\ns3://b/1\n", &format!("line 3: {one}bucket \"a\" and bucket \"b\": make a list for each")),
        (b"a.jpg\ns3:/b/1\nhttps://c/d", "line 3: expected s3://bucket/key or a path, found the scheme \"https\""),
        (b"a\nb\n../c.jpg", "line 3: expected a path below the list's folder, or an absolute one, found \"../c.jpg\""),
        (b"s3://a/\n", "line 1: expected s3://bucket/key, found \"s3://a/\""),
        (b"a\r\ncaf\xe9.jpg\r\n", "line 2: expected UTF-8, found other bytes"),
        (b"a\nb\0c\n", "line 2: expected text, found a NUL byte, which is in no text"),
        (b"\xff\xfea\0", "line 1: expected text in UTF-8, found UTF-16: save it as UTF-8"),
    ] {
        check_list("keys.txt", body, expected).await;
    }
    let long = [b"a\n".to_vec(), vec![b'x'; (1 << 20) + 1]].concat();
    check_list("keys.txt", long, "line 2: expected at most 1048576 bytes, found more").await;
    let server = server();
    server.put("results", "keys.txt", "a.jpg\n");
    let message = refused("s3://results/keys.txt", &server).await;
    assert!(
        message.ends_with("line 1: expected s3://bucket/key in a list that is in a bucket, found \"a.jpg\""),
        "{message}"
    );
}

#[tokio::test]
async fn a_row_of_a_list_that_names_no_object_is_refused_by_its_line() {
    let alone = "expected the bucket of \"a.jpg\", found a key alone: add a column bucket (a name, or the absolute path of \
                 a folder), or write s3://bucket/key";
    for (body, expected) in [
        ("", "expected keys, found none"),
        ("key,bucket\n", "expected keys, found none"),
        ("key\na.jpg\n", &format!("line 2: {alone}")),
        ("bucket,key\r\nx,a\r\n\r\n,a.jpg\r\n", &format!("line 4: {alone}")),
        ("bucket,key\nx,\n", "line 2: key: expected one, found none"),
        ("bucket,key\nx,a\nx\n", "line 3: expected 2 columns as in the first row, found 1"),
        ("bucket,key,size\nx,a,large\n", "line 2: Size: expected a number of bytes, found \"large\""),
        ("key,bucket,Key\n", "line 1: columns: expected one for the Key, found \"key\" and \"Key\""),
        (
            "photos of 2026,a\n",
            "line 1: bucket: expected the name of a bucket or the absolute path of a folder, found \"photos of 2026\"",
        ),
        ("x,\"a\nb\"\nx,%E9\n", "line 3: key \"%E9\": expected percent-encoded UTF-8, found other bytes"),
        ("x,a\nx,\"b\nx,c\n", "line 2: expected a closing quote, found the end of the file"),
        (
            "a.jpg\n",
            "line 1: expected a header with bucket and key, or rows of bucket,key or bucket,key,version as S3 Batch Operations takes them, found \"a.jpg\"; of an S3 Inventory name the manifest.json",
        ),
    ] {
        check_list("keys.csv", body, expected).await;
    }
    let columns = |columns: &[(&str, ArrayRef)]| parquet(columns);
    check_list("keys.parquet", columns(&[("name", text(&["a"]))]), "columns: expected bucket and key, found \"name\"")
        .await;
    check_list("keys.parquet", columns(&[("key", text(&["a.jpg"]))]), &format!("row 1: {alone}")).await;
    check_list(
        "keys.parquet",
        "PAR1",
        "expected a whole Parquet file, found a damaged one: \"EOF: Parquet file too small. Size is 4 but need 8\"",
    )
    .await;
}
