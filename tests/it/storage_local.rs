//! What only a folder can do wrong: rights, links, pipes, names that are no text.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deepsweep::error::Error;
use deepsweep::storage::local::LocalStore;
use deepsweep::storage::open::{open_destination, open_source};
use deepsweep::storage::s3::S3Options;
use deepsweep::storage::{Location, ObjectMeta, SharedStore, StoreError};
use futures::{StreamExt, TryStreamExt};

fn store_of(path: &Path) -> SharedStore {
    Arc::new(LocalStore::open(path, None).unwrap())
}

async fn list(store: &SharedStore, prefix: &str) -> Vec<ObjectMeta> {
    store.list(prefix).try_collect().await.unwrap()
}

async fn keys(store: &SharedStore) -> Vec<String> {
    list(store, "").await.into_iter().map(|object| object.key).collect()
}

async fn read(store: &SharedStore, object: &ObjectMeta) -> Result<Bytes, StoreError> {
    Ok(store.get(object, 0).await?.try_collect::<Vec<Bytes>>().await?.concat().into())
}

#[tokio::test]
async fn names_that_are_no_text_are_listed_apart_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let names: [&[u8]; 4] = [b"caf\xe9.jpg", b"caf\xe8.jpg", "caf\u{EFE9}.jpg".as_bytes(), b"d\xff/\xfe\x80"];
    for name in names {
        let path = folder.path().join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    let store = store_of(folder.path());
    let found = list(&store, "").await;
    assert!(found.is_sorted_by(|one, other| one.key < other.key), "{found:?}");
    let mut bodies = Vec::new();
    for object in &found {
        bodies.push(read(&store, object).await.unwrap().to_vec());
    }
    bodies.sort();
    let mut expected = names.map(<[u8]>::to_vec).to_vec();
    expected.sort();
    assert_eq!(bodies, expected);
}

#[tokio::test]
async fn links_are_followed_once_and_loops_end() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("photo.jpg"), "photo").unwrap();
    fs::create_dir(folder.path().join("a")).unwrap();
    symlink(folder.path(), folder.path().join("a/up")).unwrap();
    symlink(elsewhere.path(), folder.path().join("linked")).unwrap();
    symlink(elsewhere.path().join("photo.jpg"), folder.path().join("photo")).unwrap();
    symlink("nowhere", folder.path().join("dangling")).unwrap();
    symlink("itself", folder.path().join("itself")).unwrap();
    let store = store_of(folder.path());
    let found = list(&store, "").await;
    let found_keys: Vec<&str> = found.iter().map(|object| object.key.as_str()).collect();
    assert_eq!(found_keys, ["dangling", "itself", "linked/photo.jpg", "photo"]);
    assert_eq!(found[0].size_bytes, 0);
    let dangling = read(&store, &found[0]).await;
    assert!(matches!(dangling, Err(StoreError::NotFound { .. })), "{dangling:?}");
    assert!(read(&store, &found[1]).await.is_err());
    assert_eq!(read(&store, &found[2]).await.unwrap(), "photo");
    assert_eq!(read(&store, &found[3]).await.unwrap(), "photo");
}

#[tokio::test]
async fn pipes_and_sockets_are_listed_and_never_opened() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe.mp4")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket.jpg")).unwrap();
    let store = store_of(folder.path());
    let found = list(&store, "").await;
    assert_eq!(
        found.iter().map(|object| (object.key.as_str(), object.size_bytes)).collect::<Vec<_>>(),
        [("pipe.mp4", 0), ("socket.jpg", 0)]
    );
    for object in &found {
        let opened = tokio::time::timeout(Duration::from_secs(5), read(&store, object)).await.unwrap();
        assert!(
            matches!(&opened, Err(StoreError::Permanent { detail, .. }) if detail.contains("not a regular file")),
            "{opened:?}"
        );
        let opened = tokio::time::timeout(Duration::from_secs(5), store.open_file(object).unwrap()).await.unwrap();
        assert!(matches!(&opened, Err(StoreError::Permanent { .. })), "{opened:?}");
    }
}

/// Root may read everything, so this test runs itself again as nobody.
#[tokio::test]
async fn an_unreadable_folder_is_an_error_that_names_it() {
    let nobody = 65534;
    let folder = tempfile::tempdir().unwrap();
    if is_root(folder.path()) {
        let name = "storage_local::an_unreadable_folder_is_an_error_that_names_it";
        let again =
            Command::new(std::env::current_exe().unwrap()).args([name, "--exact"]).uid(nobody).output().unwrap();
        assert!(again.status.success(), "as nobody:\n{}", String::from_utf8_lossy(&again.stdout));
        assert!(String::from_utf8_lossy(&again.stdout).contains("1 passed"), "the test did not run as nobody");
        return;
    }
    fs::write(folder.path().join("before.jpg"), "x").unwrap();
    for (mode, locked) in [(0o000, "locked"), (0o444, "unsearchable")] {
        let locked = folder.path().join(locked);
        fs::create_dir(&locked).unwrap();
        fs::write(locked.join("photo.jpg"), "x").unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(mode)).unwrap();
        let found: Vec<_> = store_of(folder.path()).list("").collect().await;
        let last = found.last().unwrap();
        let names_it = matches!(last, Err(StoreError::Denied { what, .. }) if *what == locked.display().to_string());
        assert!(names_it, "mode {mode:o}: {found:?}");
        // Beside the prefix it is nobody's business.
        assert_eq!(list(&store_of(folder.path()), "before").await.len(), 1);
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
        fs::remove_dir_all(&locked).unwrap();
    }
    let file = folder.path().join("locked.jpg");
    fs::write(&file, "x").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let store = store_of(folder.path());
    let object = list(&store, "locked.jpg").await.remove(0);
    let denied = read(&store, &object).await;
    assert!(matches!(denied, Err(StoreError::Denied { .. })), "{denied:?}");
}

fn is_root(own_folder: &Path) -> bool {
    std::os::unix::fs::MetadataExt::uid(&fs::metadata(own_folder).unwrap()) == 0
}

#[tokio::test]
async fn a_file_that_is_written_to_while_it_is_read_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("video.mp4");
    for tamper in [
        |path: &Path| fs::write(path, "shorter").unwrap(),
        |path: &Path| {
            fs::write(path, vec![2; 4 * 1024 * 1024]).unwrap();
        },
    ] {
        fs::write(&path, vec![1; 4 * 1024 * 1024]).unwrap();
        let store = store_of(folder.path());
        let object = list(&store, "").await.remove(0);
        let mut body = store.get(&object, 0).await.unwrap();
        body.next().await.unwrap().unwrap();
        tamper(&path);
        let rest: Result<Vec<Bytes>, _> = body.try_collect().await;
        assert!(matches!(rest, Err(StoreError::Changed { .. })));
    }
}

#[tokio::test]
async fn a_write_leaves_nothing_but_the_file_which_others_may_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_of(folder.path());
    store.put_new("t/part", Bytes::from_static(b"x")).await.unwrap();
    store.put_new("t/part", Bytes::from_static(b"y")).await.unwrap_err();
    let names: Vec<_> =
        fs::read_dir(folder.path().join("t")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["part"]);
    let plain = folder.path().join("plain");
    fs::write(&plain, "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&folder.path().join("t/part")), mode(&plain), "as a file that is created plainly");

    let blocked = store.put_new("plain/part", Bytes::new()).await.unwrap_err();
    assert!(blocked.to_string().contains("expected a folder, found a file"), "{blocked}");
    fs::write(folder.path().join("t/.deepsweep-killed.tmp"), "half a part").unwrap();
    assert_eq!(keys(&store).await, ["plain", "t/part"], "what a killed writer left is no object");
}

#[tokio::test]
async fn a_single_file_is_listed_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("one.jpg"), "1").unwrap();
    fs::write(folder.path().join("one.jpg.bak"), "2").unwrap();
    let location = Location::Local(folder.path().join("one.jpg"));
    let (store, prefix) = open_source(&location, &S3Options::default(), None).await.unwrap();
    let found = list(&store, &prefix).await;
    assert_eq!(found.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["one.jpg"]);
    assert_eq!(store.bucket(), folder.path().canonicalize().unwrap().to_str().unwrap());
    assert_eq!(read(&store, &found[0]).await.unwrap(), "1");
}

#[tokio::test]
async fn missing_sources_and_impossible_destinations_are_told_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let options = S3Options::default();
    let missing = Location::Local(folder.path().join("missing"));
    let error = open_source(&missing, &options, None).await.unwrap_err();
    assert!(matches!(&error, Error::Input(text) if text.contains("missing: not found")), "{error:?}");
    fs::write(folder.path().join("file"), "").unwrap();
    let error = open_destination(&Location::Local(folder.path().join("file")), &options).await.unwrap_err();
    assert!(matches!(&error, Error::Input(text) if text.contains("expected a folder")), "{error:?}");
    let error = open_destination(&Location::Local(folder.path().join("file/below")), &options).await.unwrap_err();
    assert!(matches!(&error, Error::Input(_)), "{error:?}");
    open_destination(&Location::Local(folder.path().join("new/deep")), &options).await.unwrap();
    assert!(folder.path().join("new/deep").is_dir());
}

#[tokio::test]
async fn a_destination_inside_the_source_is_left_out_of_its_listing() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("results/media")).unwrap();
    for key in ["a.jpg", "results/media/part.parquet", "results2.jpg"] {
        fs::write(folder.path().join(key), "x").unwrap();
    }
    let source = Location::Local(folder.path().to_path_buf());
    for inside in ["results", "./results/", "results/media"] {
        let exclude = Location::Local(folder.path().join(inside));
        let (store, prefix) = open_source(&source, &S3Options::default(), Some(&exclude)).await.unwrap();
        let found = list(&store, &prefix).await;
        assert_eq!(
            found.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(),
            ["a.jpg", "results2.jpg"],
            "{inside}"
        );
    }
    let same = open_source(&source, &S3Options::default(), Some(&source)).await;
    assert!(matches!(same, Err(Error::Usage(_))), "{:?}", same.map(|_| ()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_does_not_wait_for_the_whole_tree() {
    let folder = tempfile::tempdir().unwrap();
    for at in 0..30 {
        let below = folder.path().join(format!("{at:02}"));
        fs::create_dir(&below).unwrap();
        for file in 0..100 {
            fs::write(below.join(format!("{file:03}")), "").unwrap();
        }
    }
    let store = store_of(folder.path());
    let mut listing = store.list("");
    assert_eq!(listing.next().await.unwrap().unwrap().key, "00/000");
    // The walk is at most a channel ahead: what comes later is not read yet.
    fs::write(folder.path().join("29/later"), "").unwrap();
    let rest: Vec<_> = listing.map(|listed| listed.unwrap().key).collect().await;
    assert_eq!(rest.len(), 3_000);
    assert_eq!(rest.last().unwrap(), "29/later");
}
