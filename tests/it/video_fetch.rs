//! Videos on their way in: a file in memory or one without a name on disk, or the original where it lies. Bodies that
//! are cut, room that is short, disks that are full, processes that are killed.

use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deepsweep::error::{Error, Rejection, RejectionClass};
use deepsweep::pipeline::fetch::{Content, Fetch};
use deepsweep::pipeline::list::{Media, SliceAt};
use deepsweep::pipeline::memory::ByteBudget;
use deepsweep::pipeline::scratch::{Scratch, VideoFile};
use deepsweep::storage::SharedStore;
use deepsweep::storage::faulty::{Fault, FaultyStore, Operation, Scripted};
use deepsweep::storage::local::LocalStore;
use deepsweep::storage::memory::MemoryStore;
use futures::{FutureExt, TryStreamExt};

use crate::program::{Sweep, await_end};
use crate::servers::faults::{Fault as ServerFault, Operation as ServerOperation, Rule, When};
use crate::servers::s3s_server::S3Server;

/// With this much for compressed bytes, files in memory end at 128 KiB.
const COMPRESSED_BYTES: u64 = 1 << 20;
const IN_MEMORY_BYTES: usize = 128 << 10;
const SCRATCH_BYTES: u64 = 1 << 20;

/// The beginning of an MP4, and bytes that differ from place to place.
pub fn video(bytes: usize) -> Vec<u8> {
    let start = b"\0\0\0\x18ftypisom\0\0\x02\0isommp41";
    let rest = (0..bytes - start.len()).map(|at| (at * 31 % 251) as u8);
    start.iter().copied().chain(rest).collect()
}

pub struct Place {
    store: SharedStore,
    folder: tempfile::TempDir,
    scratch: Scratch,
    compressed: ByteBudget,
}

impl Place {
    fn new(store: SharedStore) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path(), SCRATCH_BYTES).unwrap();
        Self { store, folder, scratch, compressed: ByteBudget::new(COMPRESSED_BYTES) }
    }

    /// A store of one object, which its script may break.
    pub fn of(body: Vec<u8>, script: Vec<Scripted>) -> (Self, Arc<FaultyStore>) {
        let memory = MemoryStore::new("videos");
        memory.put("key", body);
        let store = FaultyStore::new(Arc::new(memory), script);
        (Self::new(Arc::clone(&store) as SharedStore), store)
    }

    pub async fn try_fetch(&self) -> (Media, Result<Result<Content, Rejection>, Error>) {
        let listed: Vec<_> = self.store.list("key").try_collect().await.unwrap();
        let mut media = Media::new(0, SliceAt::default(), listed[0].clone());
        let (store, compressed, scratch) = (&self.store, &self.compressed, Some(&self.scratch));
        let fetched = Fetch { store, compressed, scratch, max_object_bytes: 1 << 20 }.fetch(&mut media).await;
        (media, fetched)
    }

    pub async fn fetch(&self) -> VideoFile {
        let (media, fetched) = self.try_fetch().await;
        assert_eq!((media.kind, media.container), (Some("video"), Some("mp4")));
        let Content::Video(file, kind) = fetched.unwrap().unwrap() else { panic!("a picture") };
        assert_eq!(kind.demuxer, "mov");
        file
    }

    pub async fn rejection(&self) -> Rejection {
        self.try_fetch().await.1.unwrap().unwrap_err()
    }

    pub fn check_nothing_is_held(&self) {
        assert!(self.compressed.reserve(COMPRESSED_BYTES).now_or_never().is_some());
        self.check_nothing_lies_there();
    }

    fn check_nothing_lies_there(&self) {
        assert_eq!(names(self.folder.path()), Vec::<String>::new());
    }
}

fn names(folder: &Path) -> Vec<String> {
    folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn cut(nth: u64, after: u64) -> Scripted {
    Scripted { operation: Operation::Get, nth, fault: Fault::Cut { after } }
}

pub fn check_holds(video: &VideoFile, expected: &[u8]) {
    let mut found = Vec::new();
    (&video.file).rewind().unwrap();
    (&video.file).read_to_end(&mut found).unwrap();
    assert_eq!(video.size_bytes, expected.len() as u64);
    assert!(found == expected, "expected {} bytes, found {} or others", expected.len(), found.len());
    video.check_unchanged().unwrap();
}

/// Where the system says that an open file lies.
fn lies(video: &VideoFile) -> String {
    let link = format!("/proc/self/fd/{}", video.file.as_raw_fd());
    std::fs::read_link(link).unwrap().to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_video_is_a_file_in_memory_and_a_large_one_lies_on_disk_without_a_name() {
    for bytes in [24, 1_023, 1_024, 1_025, 100_000, IN_MEMORY_BYTES, IN_MEMORY_BYTES + 1, 262_144, 1_000_000] {
        let (place, _) = Place::of(video(bytes), vec![]);
        let file = place.fetch().await;
        let in_memory = bytes <= IN_MEMORY_BYTES;
        assert_eq!((&file.file).stream_position().unwrap(), 0);
        check_holds(&file, &video(bytes));
        place.check_nothing_lies_there();
        let lies = lies(&file);
        if in_memory {
            assert!(lies.starts_with("/memfd:"), "{lies}");
        } else {
            assert!(lies.starts_with(place.folder.path().to_str().unwrap()) && lies.ends_with(" (deleted)"), "{lies}");
        }
        assert!((&file.file).write(b"x").is_err(), "whoever reads it could change it");
        assert_eq!(place.compressed.reserve(COMPRESSED_BYTES).now_or_never().is_none(), in_memory);
        drop(file);
        place.check_nothing_is_held();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_picture_is_read_whole_and_paid_for() {
    let mut body = std::fs::read(crate::root().join("tests/media/good/group.jpg")).unwrap();
    body.resize(IN_MEMORY_BYTES + 10_000, 0); // what stands behind the end of a picture does not matter
    let (place, store) = Place::of(body.clone(), vec![cut(1, 70_000)]);
    let Content::Image { bytes, reserved, .. } = place.try_fetch().await.1.unwrap().unwrap() else {
        panic!("a video");
    };
    assert!(bytes == body);
    assert_eq!(store.calls(Operation::Get), 2);
    assert!(place.compressed.reserve(COMPRESSED_BYTES).now_or_never().is_none());
    drop(reserved);
    place.check_nothing_is_held();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_is_read_on_into_the_same_file() {
    for bytes in [100_000, 900_000] {
        let script = vec![cut(1, 500), cut(2, 60_000), cut(3, 0)];
        let (place, store) = Place::of(video(bytes), script);
        let file = place.fetch().await;
        check_holds(&file, &video(bytes));
        assert_eq!(store.calls(Operation::Get), 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_is_replaced_half_way_is_changed_and_leaves_nothing() {
    for bytes in [100_000, 900_000] {
        let changed = Scripted { operation: Operation::Get, nth: 2, fault: Fault::ChangedEtag };
        let (place, _) = Place::of(video(bytes), vec![cut(1, 70_000), changed]);
        assert_eq!(place.rejection().await.class, RejectionClass::Changed);
        place.check_nothing_is_held();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_larger_than_all_of_the_scratch_space_is_too_large() {
    let (place, _) = Place::of(video(SCRATCH_BYTES as usize + 1), vec![]);
    let (media, fetched) = place.try_fetch().await;
    let rejection = fetched.unwrap().unwrap_err();
    assert_eq!((rejection.class, media.container), (RejectionClass::TooLarge, Some("mp4")));
    for word in ["--scratch-size", "1048576", "1048577"] {
        assert!(rejection.message.contains(word), "{}", rejection.message);
    }
    place.check_nothing_is_held();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_waits_until_there_is_room() {
    let (place, _) = Place::of(video(700_000), vec![]);
    let first = place.fetch().await;
    let mut second = std::pin::pin!(place.fetch());
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut second).await.is_err(), "1.4 MB in 1 MiB");
    drop(first);
    check_holds(&tokio::time::timeout(Duration::from_secs(10), second).await.unwrap(), &video(700_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_takes_no_file_stops_the_job_once_it_is_needed() {
    let missing = Path::new("/nonexistent/scratch");
    let error = Scratch::new(missing, SCRATCH_BYTES).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/scratch") && error.contains("--scratch DIR"), "{error}");

    let (mut place, _) = Place::of(video(1_000_000), vec![]);
    place.scratch = Scratch::unchecked(missing, SCRATCH_BYTES);
    let error = place.try_fetch().await.1.unwrap_err();
    assert_eq!(error.exit_code(), 3);
    let error = error.to_string();
    assert!(error.contains("/nonexistent/scratch") && error.contains("\"key\""), "{error}");

    let (mut place, _) = Place::of(video(100_000), vec![]);
    place.scratch = Scratch::unchecked(missing, SCRATCH_BYTES);
    check_holds(&place.fetch().await, &video(100_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_video_is_wanted_only_its_first_bytes_are_read() {
    let (place, store) = Place::of(video(1_000_000), vec![cut(1, 70_000)]);
    let listed: Vec<_> = place.store.list("key").try_collect().await.unwrap();
    let mut media = Media::new(0, SliceAt::default(), listed[0].clone());
    let (store_of, compressed) = (&place.store, &place.compressed);
    let fetch = Fetch { store: store_of, compressed, scratch: None, max_object_bytes: 1 << 20 };
    let rejection = fetch.fetch(&mut media).await.unwrap().unwrap_err();
    assert_eq!((rejection.class, media.container), (RejectionClass::Unsupported, Some("mp4")));
    assert_eq!(store.calls(Operation::Get), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_on_this_machine_is_read_where_it_lies() {
    let archive = tempfile::tempdir().unwrap();
    let path = archive.path().join("key.mp4");
    // Larger than all of the scratch space, which it does not need.
    let body = video(2 << 20);
    std::fs::write(&path, &body).unwrap();
    let mut place = Place::new(Arc::new(LocalStore::open(archive.path(), None).unwrap()));
    place.scratch = Scratch::unchecked(Path::new("/nonexistent"), SCRATCH_BYTES);
    let file = place.fetch().await;
    check_holds(&file, &body);
    assert_eq!(lies(&file), path.canonicalize().unwrap().to_str().unwrap());
    assert!((&file.file).write(b"x").is_err());
    place.check_nothing_is_held();

    // Replaced as a whole, the old one is still whole to whoever reads it.
    std::fs::write(archive.path().join("aside"), b"another").unwrap();
    std::fs::rename(archive.path().join("aside"), &path).unwrap();
    check_holds(&file, &body);

    std::fs::write(&path, &body).unwrap();
    let file = place.fetch().await;
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"more").unwrap();
    let rejection = file.check_unchanged().unwrap_err();
    assert_eq!(rejection.class, RejectionClass::Changed);
    assert!(rejection.message.contains("key.mp4"), "{}", rejection.message);
}

/// More than is kept in memory whatever the budget.
fn large_video_on_a_server() -> S3Server {
    let server = S3Server::start();
    server.put("archive", "large.mp4", video(24 << 20));
    server
}

fn sweep<'a>(out: &'a tempfile::TempDir) -> Sweep<'a> {
    Sweep { source: "s3://archive/", out: out.path().to_str().unwrap(), scorer: "none", flags: &[] }
}

#[test]
fn a_disk_that_fills_up_stops_the_run_and_says_what_to_do() {
    let server = large_video_on_a_server();
    let (out, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // No byte beyond the first mebibyte of a file can be written; the signal that says so is ignored, as on a full disk.
    let inner = sweep(&out).command(&server.environment());
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\""]).arg(inner.get_program());
    command.args(inner.get_args()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("TMPDIR", scratch.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let finished = await_end(command.spawn().unwrap());
    assert_eq!(finished.code, Some(3), "{}", finished.stderr);
    for word in [
        "the disk is full",
        "room for a video of 24.0 MiB",
        "--scratch DIR",
        "large.mp4",
        scratch.path().to_str().unwrap(),
    ] {
        assert!(finished.stderr.contains(word), "expected {word:?} in\n{}", finished.stderr);
    }
    assert_eq!(names(scratch.path()), Vec::<String>::new());
}

#[test]
fn a_process_that_is_killed_leaves_nothing_on_the_disk() {
    let server = large_video_on_a_server();
    let stall = ServerFault::StallBody(12 << 20);
    server.add_rule(Rule { operation: Some(ServerOperation::Get), when: When::From(1), fault: stall });
    let (out, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = sweep(&out).command(&server.environment());
    let mut child = command.env("TMPDIR", scratch.path()).spawn().unwrap();
    let folder = format!("/proc/{}/fd", child.id());
    let half_written = || {
        let open = Path::new(&folder).read_dir().unwrap().map(|entry| entry.unwrap().path());
        open.filter(|fd| std::fs::read_link(fd).is_ok_and(|to| to.starts_with(scratch.path())))
            .any(|fd| std::fs::metadata(fd).is_ok_and(|found| found.len() > 8 << 20))
    };
    let give_up = Instant::now() + Duration::from_secs(60);
    while !half_written() {
        assert!(Instant::now() < give_up, "no file in the scratch folder grew");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(names(scratch.path()), Vec::<String>::new());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(names(scratch.path()), Vec::<String>::new());
}
