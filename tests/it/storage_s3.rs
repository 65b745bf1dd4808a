//! What only S3 can do wrong: lost answers, cut bodies, throttles, pages, rights.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use deepsweep::error::Error;
use deepsweep::storage::open::{open_destination, open_source};
use deepsweep::storage::s3::{KeyPair, S3Options, S3Store};
use deepsweep::storage::{Location, ObjectMeta, SharedStore, Store, StoreError};
use futures::{StreamExt, TryStreamExt};

use crate::servers::faults::{Fault, Operation, Rule, When};
use crate::servers::s3s_server::{S3Server, ServerOptions};

const BUCKET: &str = "archive";

async fn store_at(server: &S3Server) -> SharedStore {
    server.create_bucket(BUCKET);
    Arc::new(S3Store::connect(BUCKET, &server.options()).await.unwrap())
}

/// Without the SDK's retries, so that each fault reaches our own code.
async fn hasty_store_at(server: &S3Server) -> SharedStore {
    server.create_bucket(BUCKET);
    let options = S3Options {
        max_attempts: 1,
        throttle_patience: Duration::ZERO,
        put_timeout: Duration::from_secs(1),
        stalled_after: Duration::from_secs(1),
        ..server.options()
    };
    Arc::new(S3Store::connect(BUCKET, &options).await.unwrap())
}

async fn keys_below(store: &SharedStore, prefix: &str) -> Vec<String> {
    store.list(prefix).map_ok(|object| object.key).try_collect().await.unwrap()
}

async fn first_listed(store: &SharedStore) -> ObjectMeta {
    store.list("").next().await.unwrap().unwrap()
}

async fn read(store: &SharedStore, object: &ObjectMeta) -> Result<Bytes, StoreError> {
    Ok(store.get(object, 0).await?.try_collect::<Vec<Bytes>>().await?.concat().into())
}

/// A small generator with a fixed seed: the trees are the same in every run.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }
}

/// Keys of few different parts, so that names, folders and prefixes of each other collide.
fn tree(seed: u64, objects: usize) -> BTreeSet<String> {
    let parts = ["a", "a-", "a.", "a0", "b", "ab", "a b", "é", "\u{10FFFF}", "", "-", "0", "+", "%2F", "n\nl"];
    let mut random = Lcg(seed);
    let mut keys = BTreeSet::new();
    for _ in 0..objects * 4 {
        let depth = 1 + random.below(5);
        let key = (0..depth).map(|_| parts[random.below(parts.len() as u64) as usize]).collect::<Vec<_>>().join("/");
        // An empty object with a slash at its end is a folder's marker; these are not empty, so they count.
        if !key.is_empty() && key.len() <= 1024 && keys.len() < objects {
            keys.insert(key);
        }
    }
    keys
}

async fn check_listing(keys: &BTreeSet<String>, page_objects: usize, prefixes: &[&str]) {
    let server = S3Server::start_with(ServerOptions { page_objects, ..ServerOptions::default() });
    let store = store_at(&server).await;
    for key in keys {
        server.put(BUCKET, key, Bytes::from_static(b"x"));
    }
    for prefix in prefixes {
        let expected: Vec<&String> = keys.iter().filter(|key| key.starts_with(prefix)).collect();
        let found = keys_below(&store, prefix).await;
        assert!(found.iter().eq(expected.iter().copied()), "{page_objects} to a page, prefix {prefix:?}:\n{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_tree_and_the_page_a_listing_is_complete_and_sorted() {
    for seed in 0..6 {
        let keys = tree(seed, 400);
        for page_objects in [1, 2, 3, 7, 50, 1000] {
            check_listing(&keys, page_objects, &["", "a", "a/", "a/a", "a-/", "b/a b/", "/", "é", "none"]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_folders_share_requests() {
    let server = S3Server::start();
    let store = store_at(&server).await;
    for folder in 0..10_000 {
        server.put(BUCKET, &format!("{folder:05}/frame.jpg"), Bytes::from_static(b"x"));
    }
    let began = Instant::now();
    assert_eq!(keys_below(&store, "").await.len(), 10_000);
    let requests = server.count(Operation::List);
    // A request per folder would be 10,000; one after the other 10. Ten pages, each split in eight.
    assert!(requests <= 110, "{requests} requests");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flat_bucket_costs_a_request_per_page() {
    let server = S3Server::start();
    let store = store_at(&server).await;
    for at in 0..5_500 {
        server.put(BUCKET, &format!("{at:06}.jpg"), Bytes::from_static(b"x"));
    }
    assert_eq!(keys_below(&store, "").await.len(), 5_500);
    assert_eq!(server.count(Operation::List), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_nobody_reads_stops_asking() {
    let server = S3Server::start_with(ServerOptions { page_objects: 10, ..ServerOptions::default() });
    let store = store_at(&server).await;
    for at in 0..5_000 {
        server.put(BUCKET, &format!("{}/{at:05}", at % 100), Bytes::from_static(b"x"));
    }
    let mut listing = store.list("");
    listing.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let requests = server.count(Operation::List);
    assert!(requests <= 20, "{requests} requests ahead of the reader");
    assert_eq!(listing.count().await, 4_999);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_keys_of_1024_bytes_works() {
    let long = |lead: &str| format!("{lead}{}", "x".repeat(1024 - lead.len()));
    let keys: BTreeSet<String> = (0..40).map(|at| long(&format!("{}/{at:02}/", at % 4))).collect();
    // Folders whose own name leaves no room behind it.
    let deep: BTreeSet<String> = (0..40)
        .map(|at| format!("{}/{at:02}", "y".repeat(1021)))
        .map(|mut key| {
            key.truncate(1024);
            key
        })
        .collect();
    check_listing(&keys, 3, &["", "1/"]).await;
    check_listing(&keys.union(&deep).cloned().collect(), 3, &[""]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folder_markers_are_not_objects() {
    let server = S3Server::start();
    let store = store_at(&server).await;
    server.put(BUCKET, "a/", Bytes::new());
    server.put(BUCKET, "a/photo.jpg", Bytes::from_static(b"x"));
    server.put(BUCKET, "b/", Bytes::from_static(b"not empty, so somebody's object"));
    assert_eq!(keys_below(&store, "").await, ["a/photo.jpg", "b/"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_fails_is_asked_again_and_one_that_fails_for_good_ends_the_listing() {
    let server = S3Server::start_with(ServerOptions { page_objects: 10, ..ServerOptions::default() });
    let store = store_at(&server).await;
    for at in 0..100 {
        server.put(BUCKET, &format!("{}/{at:03}", at % 10), Bytes::from_static(b"x"));
    }
    server.fail(Operation::List, 1, Fault::Status(503, "SlowDown"));
    server.fail(Operation::List, 3, Fault::ResetBefore);
    assert_eq!(keys_below(&store, "").await.len(), 100);
    server.clear_rules();

    server.add_rule(Rule {
        operation: Some(Operation::List),
        when: When::From(4),
        fault: Fault::Status(500, "InternalError"),
    });
    let hasty = hasty_store_at(&server).await;
    let found: Vec<_> = hasty.list("").collect().await;
    let (last, before) = found.split_last().unwrap();
    assert!(
        matches!(last, Err(StoreError::Transient { detail, .. }) if detail.contains("500 InternalError")),
        "{last:?}"
    );
    assert!(before.iter().all(Result::is_ok) && before.len() < 100, "{} objects", before.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_or_stalled_body_is_transient() {
    let body = Bytes::from(vec![7; 300_000]);
    for fault in [Fault::CutBody(100_000), Fault::CutBody(0), Fault::StallBody(100_000)] {
        let server = S3Server::start();
        let store = hasty_store_at(&server).await;
        server.put(BUCKET, "key", body.clone());
        let object = first_listed(&store).await;
        server.fail(Operation::Get, 1, fault);
        let found =
            tokio::time::timeout(Duration::from_secs(20), read(&store, &object)).await.expect("no end of the wait");
        assert!(matches!(found, Err(StoreError::Transient { .. })), "{fault:?}: {found:?}");
        assert_eq!(read(&store, &object).await.unwrap(), body, "asked again after {fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_of_a_get_has_its_name() {
    let server = S3Server::start();
    let store = hasty_store_at(&server).await;
    server.put(BUCKET, "key", Bytes::from_static(b"x"));
    let object = first_listed(&store).await;
    for fault in [Fault::Status(500, "InternalError"), Fault::ResetBefore] {
        server.fail(Operation::Get, 1, fault);
        let found = read(&store, &object).await;
        assert!(matches!(found, Err(StoreError::Transient { .. })), "{fault:?}: {found:?}");
        server.clear_rules();
    }
    for (status, code) in
        [(503, "SlowDown"), (503, "ServiceUnavailable"), (429, "TooMany"), (400, "ThrottlingException")]
    {
        server.fail(Operation::Get, 1, Fault::Status(status, code));
        let found = read(&store, &object).await;
        assert!(matches!(found, Err(StoreError::Throttled { others_served: false, .. })), "{status} {code}: {found:?}");
        server.clear_rules();
    }
    server.fail(Operation::Get, 1, Fault::Status(403, "AccessDenied"));
    let found = read(&store, &object).await.unwrap_err();
    assert!(matches!(found, StoreError::Denied { .. }), "{found:?}");
    let text = found.to_string();
    for part in ["s3://archive/key", "GetObject answered 403 AccessDenied", "request id"] {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
    server.clear_rules();
    server.fail(Operation::Get, 1, Fault::ChangedEtag);
    let found = read(&store, &object).await;
    assert!(matches!(found, Err(StoreError::Changed { .. })), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_write_is_resolved() {
    let conflict = Fault::Status(409, "ConditionalRequestConflict");
    let failed = Fault::Status(500, "InternalError");
    // The last: five failures of the server, which our own tries outlast.
    let scripts: [&[Fault]; 9] = [
        &[Fault::HangAfter],
        &[Fault::HangBefore],
        &[conflict, Fault::HangAfter],
        &[Fault::ResetAfter],
        &[Fault::ResetBefore],
        &[conflict],
        &[failed],
        &[conflict, Fault::ResetAfter],
        &[failed; 4],
    ];
    for (hasty, script) in [true, false].into_iter().flat_map(|hasty| scripts.map(|script| (hasty, script))) {
        let server = S3Server::start();
        server.create_bucket(BUCKET);
        let put_timeout = Duration::from_secs(1);
        let options = S3Options { put_timeout, max_attempts: if hasty { 1 } else { 5 }, ..server.options() };
        let store: SharedStore = Arc::new(S3Store::connect(BUCKET, &options).await.unwrap());
        for (at, fault) in script.iter().enumerate() {
            server.fail(Operation::Put, at as u64 + 1, *fault);
        }
        let body = Bytes::from_static(b"ours");
        let written = store.put_new("part", body.clone()).await;
        assert!(matches!(written, Ok(Some(_))), "{script:?}, hasty {hasty}: {written:?}");
        assert_eq!(server.get(BUCKET, "part"), Some(body));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_does_not_claim_another_writers_object() {
    let conflict = Fault::Status(409, "ConditionalRequestConflict");
    let failed = Fault::Status(500, "InternalError");
    for fault in [conflict, failed, Fault::ResetBefore, Fault::HangBefore, Fault::HangAfter] {
        let server = S3Server::start();
        let store = hasty_store_at(&server).await;
        server.put(BUCKET, "part", Bytes::from_static(b"theirs"));
        server.fail(Operation::Put, 1, fault);
        let written = store.put_new("part", Bytes::from_static(b"ours")).await;
        assert!(matches!(written, Err(StoreError::AlreadyExists { .. })), "{fault:?}: {written:?}");
        assert_eq!(server.get(BUCKET, "part").unwrap(), "theirs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_never_succeeds_is_transient() {
    let server = S3Server::start();
    let store = hasty_store_at(&server).await;
    let fault = Fault::Status(500, "InternalError");
    server.add_rule(Rule { operation: Some(Operation::Put), when: When::Every(1), fault });
    let written = store.put_new("part", Bytes::from_static(b"ours")).await;
    assert!(matches!(written, Err(StoreError::Transient { .. })), "{written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_conditional_writes_is_named_and_can_be_allowed() {
    let server = S3Server::start_with(ServerOptions { conditional_writes: false, ..ServerOptions::default() });
    let store = store_at(&server).await;
    let refused = store.put_new("part", Bytes::from_static(b"ours")).await.unwrap_err();
    assert!(matches!(refused, StoreError::Permanent { .. }), "{refused:?}");
    assert!(refused.to_string().contains("--unconditional-writes"), "{refused}");
    assert!(server.keys(BUCKET).is_empty());

    let options = S3Options { conditional_writes: false, ..server.options() };
    let store = S3Store::connect(BUCKET, &options).await.unwrap();
    store.put_new("part", Bytes::from_static(b"ours")).await.unwrap();
    let again = store.put_new("part", Bytes::from_static(b"again")).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists { .. })), "{again:?}");
}

fn s3(text: &str) -> Location {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_buckets_and_wrong_keys_are_told_before_any_work() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let check = |location: &'static str, options: S3Options, parts: &'static [&'static str]| async move {
        for opened in [
            open_source(&s3(location), &options, None).await.map(|_| ()),
            open_destination(&s3(location), &options).await.map(|_| ()),
        ] {
            let error = opened.unwrap_err();
            assert!(matches!(error, Error::Input(_)), "{error:?}");
            for part in parts {
                assert!(error.to_string().contains(part), "{error} does not say {part:?}");
            }
        }
    };
    check("s3://nowhere/x", server.options(), &["bucket \"nowhere\" does not exist at http://127.0.0.1"]).await;
    let pair = |id: &str, secret: &str| Some(KeyPair { access_key_id: id.into(), secret_access_key: secret.into() });
    let unknown = S3Options { credentials: pair("UNKNOWN", "x"), ..server.options() };
    check("s3://archive/x", unknown, &["403 InvalidAccessKeyId"]).await;
    let forged = S3Options { credentials: pair(crate::servers::s3s_server::ACCESS_KEY, "wrong"), ..server.options() };
    check("s3://archive/x", forged, &["403 SignatureDoesNotMatch"]).await;
    let unsigned = S3Options { anonymous: true, ..server.options() };
    check("s3://archive/x", unsigned, &["403 AccessDenied"]).await;
    let endpoint = S3Options { endpoint_url: Some("127.0.0.1:9000".into()), ..server.options() };
    check("s3://archive/x", endpoint, &["S3 endpoint \"127.0.0.1:9000\"", "expected http://"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_to_be_tried_again() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = S3Server::start();
    let options = S3Options { endpoint_url: Some(format!("http://{free}")), max_attempts: 2, ..server.options() };
    let error = open_source(&s3("s3://archive/x"), &options, None).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::TryAgain(_)) && text.contains("refused"), "{text}");
    assert!(text.len() < 300, "no dump of the insides: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_bucket_needs_no_credentials() {
    let server = S3Server::start_with(ServerOptions { anonymous: true, ..ServerOptions::default() });
    server.put(BUCKET, "key", Bytes::from_static(b"x"));
    let options = S3Options { anonymous: true, credentials: None, ..server.options() };
    let (store, prefix) = open_source(&s3("s3://archive"), &options, None).await.unwrap();
    assert_eq!(keys_below(&store, &prefix).await, ["key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_inside_the_source_is_left_out_of_its_listing() {
    let server = S3Server::start();
    for key in ["in/a.jpg", "in/results/media/part.parquet", "in/results2/b.jpg", "other"] {
        server.put(BUCKET, key, Bytes::from_static(b"x"));
    }
    let source = s3("s3://archive/in/");
    let (store, prefix) = open_source(&source, &server.options(), Some(&s3("s3://archive/in/results"))).await.unwrap();
    assert_eq!(keys_below(&store, &prefix).await, ["in/a.jpg", "in/results2/b.jpg"]);

    let destination = open_destination(&s3("s3://archive/in/results"), &server.options()).await.unwrap();
    destination.put_new("media/new.parquet", Bytes::from_static(b"y")).await.unwrap();
    assert_eq!(keys_below(&destination, "media/").await, ["media/new.parquet", "media/part.parquet"]);
    assert_eq!(server.get(BUCKET, "in/results/media/new.parquet").unwrap(), "y");
    let object = first_listed(&destination).await;
    assert_eq!(read(&destination, &object).await.unwrap(), "y");

    let same = open_source(&source, &server.options(), Some(&s3("s3://archive/in"))).await;
    assert!(matches!(same, Err(Error::Usage(_))), "{:?}", same.map(|_| ()));
}

/// Runs itself again in an environment that knows no credentials.
#[tokio::test(flavor = "multi_thread")]
async fn missing_credentials_are_told_quickly_with_the_ways_out() {
    const CLEAN: &str = "DEEPSWEEP_TEST_IN_A_CLEAN_ENVIRONMENT";
    if std::env::var_os(CLEAN).is_none() {
        let name = "storage_s3::missing_credentials_are_told_quickly_with_the_ways_out";
        let again = std::process::Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact"])
            .env_clear()
            .envs([(CLEAN, "1"), ("HOME", "/nonexistent"), ("AWS_EC2_METADATA_DISABLED", "true")])
            .output()
            .unwrap();
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stdout));
        assert!(String::from_utf8_lossy(&again.stdout).contains("1 passed"), "the test did not run again");
        return;
    }
    let began = Instant::now();
    let error = open_source(&s3("s3://archive/x"), &S3Options::default(), None).await.unwrap_err();
    assert!(matches!(error, Error::Input(_)), "{error:?}");
    for part in ["no AWS credentials found", "AWS_PROFILE", "--anonymous"] {
        assert!(error.to_string().contains(part), "{error} does not say {part:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
