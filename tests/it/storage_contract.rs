//! The contract of a store, as one suite over all of them.
//!
//! Each case is a function of a [`Place`]: a store, and a way to alter objects behind its back. What is
//! expected comes from the contract's text and from plain sorting, never from another store's answer.

use std::io::{Read, Seek};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use deepsweep::storage::local::LocalStore;
use deepsweep::storage::memory::MemoryStore;
use deepsweep::storage::rooted::Rooted;
use deepsweep::storage::s3::S3Store;
use deepsweep::storage::{ObjectMeta, SharedStore, Store, StoreError};
use futures::{StreamExt, TryStreamExt};

use crate::servers::moto::MotoServer;
use crate::servers::s3s_server::{S3Server, ServerOptions};

const BUCKET: &str = "contract";

#[async_trait]
trait Place: Send + Sync {
    fn store(&self) -> SharedStore;
    async fn put(&self, key: &str, body: Bytes);
    async fn remove(&self, key: &str);
    /// Whether the place can hold such a key at all.
    fn takes(&self, key: &str) -> bool;
    /// Whether it looks and writes in one step, so that of writers at once one wins.
    fn writes_in_one_step(&self) -> bool {
        true
    }
}

/// Keys that have broken other listings, in no order.
fn nasty_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "a/b",
        "a-b",
        "a.b",
        "a0",
        "a/b-c",
        "a/b.d/e",
        "a/c/d/e/f.jpg", // the slash sorts between '.' and '0'
        "with space.jpg",
        " leading",
        "trailing ",
        "plus+plus",
        "per%cent",
        "per%20cent",
        "a..b",
        "..hidden",
        "...",
        "line\nbreak",
        "tab\there",
        "carriage\rreturn",
        "quote\"'",
        "amp&lt;<>",
        "question?x=1#y",
        "back\\slash",
        "emoji \u{1F600}.png",
        "ümlaut",
        "u\u{308}mlaut",
        "\u{FFFD}",
        "\u{EFE9}",
        "~tilde",
        "!bang",
        "(paren)",
        "=,;:@$*",
        "Z",
        "z",
        "0",
    ]
    .map(str::to_owned)
    .to_vec();
    keys.push("n".repeat(255));
    // 1,024 bytes, the longest key of S3, in parts that a folder can hold too.
    keys.push(format!("{}/{}", vec!["l".repeat(204); 4].join("/"), "m".repeat(204)));
    keys
}

async fn keys_below(store: &SharedStore, prefix: &str) -> Vec<String> {
    store.list(prefix).map_ok(|object| object.key).try_collect().await.unwrap()
}

async fn listed(store: &SharedStore, key: &str) -> ObjectMeta {
    let found: Vec<ObjectMeta> = store.list(key).try_collect().await.unwrap();
    found.into_iter().find(|object| object.key == key).unwrap_or_else(|| panic!("{key:?} is not listed"))
}

async fn read(store: &SharedStore, object: &ObjectMeta, offset: u64) -> Result<Vec<u8>, StoreError> {
    let body = store.get(object, offset).await?;
    Ok(body.try_collect::<Vec<Bytes>>().await?.concat())
}

fn pattern(bytes: usize) -> Bytes {
    (0..bytes).map(|at| (at * 31 % 251) as u8).collect::<Vec<u8>>().into()
}

async fn keys_come_in_ascending_byte_order(place: &dyn Place) {
    let mut expected: Vec<String> = nasty_keys().into_iter().filter(|key| place.takes(key)).collect();
    for key in &expected {
        place.put(key, Bytes::from(key.clone())).await;
    }
    expected.sort();
    let store = place.store();
    assert_eq!(keys_below(&store, "").await, expected);
    for key in &expected {
        let object = listed(&store, key).await;
        assert_eq!(object.size_bytes, key.len() as u64, "{key:?}");
        assert_eq!(read(&store, &object, 0).await.unwrap(), key.as_bytes(), "{key:?}");
    }
}

async fn a_prefix_admits_what_starts_with_it_and_nothing_else(place: &dyn Place) {
    let keys = ["a/1", "a/2/3", "ab-", "ab/1", "b/a/1", "bb"];
    for key in keys {
        place.put(key, Bytes::from_static(b"x")).await;
    }
    let store = place.store();
    for prefix in ["", "a", "a/", "a/2", "a/2/", "a/2/3", "ab", "ab/", "b", "b/a/1", "c", "a/2/3/4", "/"] {
        let mut expected: Vec<&str> = keys.into_iter().filter(|key| key.starts_with(prefix)).collect();
        expected.sort_unstable();
        assert_eq!(keys_below(&store, prefix).await, expected, "prefix {prefix:?}");
    }
}

async fn an_empty_place_lists_nothing(place: &dyn Place) {
    assert!(keys_below(&place.store(), "").await.is_empty());
}

async fn one_object_is_found_by_its_exact_key(place: &dyn Place) {
    let keys: Vec<String> = nasty_keys().into_iter().filter(|key| place.takes(key)).collect();
    for key in &keys {
        place.put(key, Bytes::from(key.clone())).await;
    }
    let store = place.store();
    for key in &keys {
        let (found, listed) = (store.find(key, None).await.unwrap(), listed(&store, key).await);
        // A time in the headers of HTTP has no more than seconds.
        let seconds = |object: &ObjectMeta| object.modified.map(|time| time.timestamp());
        assert_eq!(seconds(&found), seconds(&listed), "{key:?}");
        assert_eq!(ObjectMeta { modified: listed.modified, ..found }, listed, "{key:?}");
        let longer = format!("{key}.none");
        for missing in [&key[..key.floor_char_boundary(key.len() - 1)], &longer] {
            let is_none = !missing.is_empty() && !keys.iter().any(|other| other == missing);
            if is_none && missing.len() <= 1024 && place.takes(missing) {
                let found = store.find(missing, None).await;
                // What no folder can hold is permanently not there.
                let is_refused = matches!(found, Err(StoreError::NotFound { .. } | StoreError::Permanent { .. }));
                assert!(is_refused, "{missing:?}: {found:?}");
            }
        }
    }
}

async fn a_body_comes_whole_and_from_an_offset(place: &dyn Place) {
    let body = pattern(3 * 1024 * 1024 + 17);
    place.put("body", body.clone()).await;
    let store = place.store();
    let object = listed(&store, "body").await;
    for offset in [0, 1, 1024 * 1024, body.len() - 1] {
        let found = read(&store, &object, offset as u64).await.unwrap();
        assert!(found == body[offset..], "from byte {offset}: expected {}, found {}", body.len() - offset, found.len());
    }
    let behind = read(&store, &object, body.len() as u64 + 1).await;
    assert!(matches!(behind, Err(StoreError::Changed { .. })), "{behind:?}");
}

async fn an_empty_object_is_listed_and_read(place: &dyn Place) {
    place.put("empty", Bytes::new()).await;
    let store = place.store();
    let object = listed(&store, "empty").await;
    assert_eq!(object.size_bytes, 0);
    assert_eq!(read(&store, &object, 0).await.unwrap(), b"");
}

async fn a_replaced_object_is_changed(place: &dyn Place) {
    place.put("key", Bytes::from_static(b"one")).await;
    let store = place.store();
    let object = listed(&store, "key").await;
    place.put("key", Bytes::from_static(b"two")).await;
    let found = read(&store, &object, 0).await;
    assert!(matches!(found, Err(StoreError::Changed { .. })), "{found:?}");
    let object = listed(&store, "key").await;
    assert_eq!(read(&store, &object, 0).await.unwrap(), b"two");
}

async fn a_removed_object_is_not_found(place: &dyn Place) {
    place.put("key", Bytes::from_static(b"one")).await;
    let store = place.store();
    let object = listed(&store, "key").await;
    place.remove("key").await;
    let found = read(&store, &object, 0).await;
    assert!(matches!(&found, Err(StoreError::NotFound { what }) if what.contains("key")), "{found:?}");
}

/// A store without files has nothing to keep here.
async fn a_file_that_is_opened_in_place_is_the_listed_version(place: &dyn Place) {
    let store = place.store();
    let body = pattern(200_000);
    place.put("folder/key", body.clone()).await;
    let object = listed(&store, "folder/key").await;
    let Some(opening) = store.open_file(&object) else { return };
    let mut original = opening.await.unwrap();
    let mut found = Vec::new();
    original.file.read_to_end(&mut found).unwrap();
    assert!(found == body, "expected {} bytes, found {}", body.len(), found.len());
    original.version.check_unchanged(&original.file).unwrap();

    place.put("folder/key", Bytes::from_static(b"another")).await;
    let another = store.open_file(&object).unwrap().await;
    assert!(matches!(another, Err(StoreError::Changed { .. })), "{another:?}");
    place.remove("folder/key").await;
    let gone = store.open_file(&object).unwrap().await;
    assert!(matches!(&gone, Err(StoreError::NotFound { what }) if what.contains("key")), "{gone:?}");
    // Whoever has the old one open still reads it.
    original.version.check_unchanged(&original.file).unwrap();
    original.file.rewind().unwrap();
    assert_eq!(original.file.read(&mut [0; 100]).unwrap(), 100);

    let below = Rooted::new(Arc::clone(&store), "folder");
    place.put("folder/other", body.clone()).await;
    let object = ObjectMeta { key: "other".to_owned(), ..listed(&store, "folder/other").await };
    assert_eq!(below.open_file(&object).unwrap().await.unwrap().file.metadata().unwrap().len(), 200_000);
}

async fn a_new_object_is_written_once(place: &dyn Place) {
    let store = place.store();
    let key = "media/dt=2026-01-02/run=r/part-0-0.parquet";
    let etag = store.put_new(key, pattern(70_000)).await.unwrap();
    let object = listed(&store, key).await;
    assert_eq!(object.etag, etag);
    assert_eq!(object.size_bytes, 70_000);
    let again = store.put_new(key, Bytes::from_static(b"other")).await;
    assert!(matches!(&again, Err(StoreError::AlreadyExists { what }) if what.contains(key)), "{again:?}");
    assert_eq!(read(&store, &object, 0).await.unwrap(), pattern(70_000));
    store.put_new("empty", Bytes::new()).await.unwrap();
    assert_eq!(keys_below(&store, "").await, ["empty", key]);
}

async fn keys_that_leave_the_place_are_refused(place: &dyn Place) {
    let store = place.store();
    for key in ["", "/abs", "../up", "a/../../up", "a//b", "a/", "."] {
        let refused = store.put_new(key, Bytes::from_static(b"x")).await;
        assert!(matches!(refused, Err(StoreError::Permanent { .. })), "{key:?}: {refused:?}");
    }
    assert!(keys_below(&store, "").await.is_empty());
}

async fn of_sixteen_racing_writers_one_wins(place: &dyn Place) {
    const WRITERS: usize = 16;
    let store = place.store();
    for round in 0..3 {
        let key = format!("race/{round}");
        let start = Arc::new(tokio::sync::Barrier::new(WRITERS));
        let writers = (0..WRITERS).map(|writer| {
            let (store, key, start) = (Arc::clone(&store), key.clone(), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                store.put_new(&key, pattern(1000 + writer)).await
            })
        });
        let outcomes = futures::future::join_all(writers).await;
        let mut winners = Vec::new();
        for (writer, outcome) in outcomes.into_iter().enumerate() {
            match outcome.unwrap() {
                Ok(_) => winners.push(writer),
                Err(StoreError::AlreadyExists { .. }) => {}
                Err(error) => panic!("writer {writer}: {error}"),
            }
        }
        let one_wins = winners.len() == 1 || (!place.writes_in_one_step() && !winners.is_empty());
        assert!(one_wins, "round {round}: winners {winners:?}");
        let stands = listed(&store, &key).await.size_bytes;
        assert!(winners.iter().any(|winner| stands == 1000 + *winner as u64), "round {round}: {stands} of {winners:?}");
    }
}

async fn a_listing_may_be_dropped_at_any_time(place: &dyn Place) {
    for at in 0..30 {
        place.put(&format!("{}/{at:02}", at % 3), Bytes::from_static(b"x")).await;
    }
    let store = place.store();
    for count in [0, 1, 7, 29] {
        let some: Vec<_> = store.list("").take(count).collect().await;
        assert_eq!(some.len(), count);
    }
}

struct InMemory(MemoryStore);

#[async_trait]
impl Place for InMemory {
    fn store(&self) -> SharedStore {
        Arc::new(self.0.clone())
    }
    async fn put(&self, key: &str, body: Bytes) {
        self.0.put(key, body);
    }
    async fn remove(&self, key: &str) {
        assert!(self.0.remove(key));
    }
    fn takes(&self, _key: &str) -> bool {
        true
    }
}

struct InFolder(tempfile::TempDir);

#[async_trait]
impl Place for InFolder {
    fn store(&self) -> SharedStore {
        Arc::new(LocalStore::open(self.0.path(), None).unwrap())
    }
    async fn put(&self, key: &str, body: Bytes) {
        // By the shell's rules, not by ours: the key's bytes are the path's.
        let path = self.0.path().join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // A new file under the old name, as an editor saves: the ETag differs even within one tick.
        let aside = path.with_file_name("aside");
        std::fs::write(&aside, body).unwrap();
        std::fs::rename(aside, path).unwrap();
    }
    async fn remove(&self, key: &str) {
        std::fs::remove_file(self.0.path().join(key)).unwrap();
    }
    fn takes(&self, key: &str) -> bool {
        // A private-use character that the escape for other bytes claims: its key differs from its name.
        key != "\u{EFE9}"
    }
}

struct AtOurServer {
    server: S3Server,
    store: SharedStore,
}

impl AtOurServer {
    async fn start() -> Self {
        // Seven to a page, so that every listing meets the seams.
        let server = S3Server::start_with(ServerOptions { page_objects: 7, ..ServerOptions::default() });
        server.create_bucket(BUCKET);
        let store = Arc::new(S3Store::connect(BUCKET, &server.options()).await.unwrap());
        Self { server, store }
    }
}

#[async_trait]
impl Place for AtOurServer {
    fn store(&self) -> SharedStore {
        Arc::clone(&self.store)
    }
    async fn put(&self, key: &str, body: Bytes) {
        self.server.put(BUCKET, key, body);
    }
    async fn remove(&self, key: &str) {
        assert!(self.server.remove(BUCKET, key));
    }
    fn takes(&self, _key: &str) -> bool {
        true
    }
}

/// One bucket of a shared server: starting Python for every case would take longer than all cases.
struct AtMoto {
    client: aws_sdk_s3::Client,
    bucket: String,
    store: SharedStore,
}

impl AtMoto {
    async fn in_new_bucket(server: &MotoServer, bucket: &str) -> Self {
        let client = server.client();
        client.create_bucket().bucket(bucket).send().await.unwrap();
        let store = Arc::new(S3Store::connect(bucket, &server.options()).await.unwrap());
        Self { client, bucket: bucket.to_owned(), store }
    }
}

#[async_trait]
impl Place for AtMoto {
    /// moto 5.2.5 looks for the key and writes it under no lock: on a busy machine two of sixteen threads may win.
    fn writes_in_one_step(&self) -> bool {
        false
    }
    fn store(&self) -> SharedStore {
        Arc::clone(&self.store)
    }
    async fn put(&self, key: &str, body: Bytes) {
        self.client.put_object().bucket(&self.bucket).key(key).body(body.into()).send().await.unwrap();
    }
    async fn remove(&self, key: &str) {
        self.client.delete_object().bucket(&self.bucket).key(key).send().await.unwrap();
    }
    fn takes(&self, key: &str) -> bool {
        // Its routes do not match a line break and answer 404.
        !key.contains('\n')
    }
}

macro_rules! contract {
    ($($case:ident),+ $(,)?) => {
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread")] async fn $case() {
                super::$case(&super::InMemory(super::MemoryStore::new(super::BUCKET))).await;
            })+
        }
        mod in_a_folder {
            $(#[tokio::test(flavor = "multi_thread")] async fn $case() {
                super::$case(&super::InFolder(tempfile::tempdir().unwrap())).await;
            })+
        }
        mod at_our_own_s3_server {
            $(#[tokio::test(flavor = "multi_thread")] async fn $case() {
                super::$case(&super::AtOurServer::start().await).await;
            })+
        }
        #[tokio::test(flavor = "multi_thread")]
        async fn moto_sees_the_contract_kept() {
            let server = MotoServer::start();
            $({
                let case = stringify!($case);
                eprintln!("at moto: {case}");
                let bucket = case.replace('_', "-");
                $case(&AtMoto::in_new_bucket(&server, &bucket).await).await;
            })+
        }
    };
}

contract! {
    keys_come_in_ascending_byte_order,
    a_prefix_admits_what_starts_with_it_and_nothing_else,
    an_empty_place_lists_nothing,
    one_object_is_found_by_its_exact_key,
    a_body_comes_whole_and_from_an_offset,
    an_empty_object_is_listed_and_read,
    a_replaced_object_is_changed,
    a_removed_object_is_not_found,
    a_file_that_is_opened_in_place_is_the_listed_version,
    a_new_object_is_written_once,
    keys_that_leave_the_place_are_refused,
    of_sixteen_racing_writers_one_wins,
    a_listing_may_be_dropped_at_any_time,
}
