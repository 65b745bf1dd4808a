//! What a contained child may not do, by programs that try it in place of ffmpeg; and what becomes of one that hangs.
//!
//! Nothing here is about videos: a decoder that was taken over can do whatever these programs do, and no more.

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use deepsweep::error::{Rejection, RejectionClass};
use deepsweep::ffmpeg::child::{ChildLimits, Contained, Running};

use crate::program::{deepsweep, finish};

pub const LIMITS: ChildLimits = ChildLimits {
    address_space_bytes: 4 << 30,
    cpu: Duration::from_secs(20),
    wall: Duration::from_secs(60),
    silence: Duration::from_secs(30),
};

fn contained() -> Contained {
    Contained::new(env!("CARGO_BIN_EXE_deepsweep").into())
}

/// What a child wrote, and how it ended.
#[derive(Debug)]
pub struct Ended {
    pub output: Vec<u8>,
    pub verdict: Result<Vec<String>, Rejection>,
}

impl Ended {
    /// It wrote nothing, failed, and complained of `expected`.
    fn check_refused(&self, expected: &str) {
        let message = &self.verdict.as_ref().expect_err("a child that was refused something").message;
        assert!(message.contains(expected), "expected {expected:?} in {self:?}");
        assert_eq!(String::from_utf8_lossy(&self.output), "", "{message}");
    }
}

pub fn with_child<T>(
    program: &str,
    words: &[&str],
    media: &File,
    limits: &ChildLimits,
    then: impl AsyncFnOnce(Running) -> T,
) -> T {
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { then(contained().spawn(Path::new(program), &words, media, limits).unwrap()).await })
}

pub fn run_with(program: &str, words: &[&str], media: &File, limits: &ChildLimits) -> Ended {
    with_child(program, words, media, limits, async |mut child| {
        let (mut output, mut buffer) = (vec![], vec![0; 4096]);
        loop {
            match child.read(&mut buffer).await {
                Ok(0) => return Ended { output, verdict: child.finish().await },
                Ok(read) => output.extend_from_slice(&buffer[..read]),
                Err(rejection) => return Ended { output, verdict: Err(rejection) },
            }
        }
    })
}

pub fn nothing() -> File {
    File::open("/dev/null").unwrap()
}

fn run(program: &str, words: &[&str]) -> Ended {
    run_with(program, words, &nothing(), &LIMITS)
}

fn bash(script: &str) -> Ended {
    run("/bin/bash", &["-c", script])
}

/// Whether this kernel has a layer: where it has not, there is nothing to prove.
pub fn is_in_force(layer: &str) -> bool {
    let layers = contained().layers().unwrap();
    let state = layers.iter().find(|state| state.layer == layer).unwrap();
    if !state.in_force {
        eprintln!("not proved here: {layer}: {}", state.how);
    }
    state.in_force
}

/// Processes whose command line ends with these words.
pub fn processes(words: &[&str]) -> Vec<u32> {
    let ending: Vec<u8> = words.iter().flat_map(|word| word.bytes().chain([0])).collect();
    let ids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    ids.filter(|id| std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.ends_with(&ending))).collect()
}

pub fn wait_until(what: &str, so: impl Fn() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < give_up, "{what} did not happen in half a minute");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn signal(id: u32, name: &str) {
    let sent = Command::new("/bin/sh").args(["-c", &format!("kill -{name} {id}")]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn layers_that_every_linux_has_are_in_force() {
    let layers = contained().layers().unwrap();
    let names: Vec<&str> = layers.iter().map(|state| state.layer.as_str()).collect();
    let all = ["environment", "descriptors", "network", "privileges", "life", "files", "system calls", "limits"];
    assert_eq!(names, all);
    for state in layers.iter().filter(|state| !["network", "files"].contains(&state.layer.as_str())) {
        assert!(state.in_force, "{state:?}");
    }
}

#[test]
fn a_child_reads_its_media_wherever_that_lies() {
    let text = b"the media".as_slice();
    let mut on_disk = tempfile::NamedTempFile::new().unwrap();
    let mut unnamed = tempfile::tempfile().unwrap();
    let memory = rustix::fs::memfd_create("media", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut in_memory = File::from(memory);
    for file in [on_disk.as_file_mut(), &mut unnamed, &mut in_memory] {
        file.write_all(text).unwrap();
    }
    for file in [on_disk.as_file(), &unnamed, &in_memory] {
        let ended = run_with("/bin/cat", &["/proc/self/fd/0"], file, &LIMITS);
        assert_eq!((ended.output.as_slice(), ended.verdict), (text, Ok(vec![])));
    }
}

#[test]
fn a_child_reads_no_other_file() {
    if !is_in_force("files") {
        return;
    }
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "secret").unwrap();
    let own = format!("/proc/{}/environ", std::process::id());
    let manifest = crate::root().join("Cargo.toml");
    for path in [secret.path().to_str().unwrap(), manifest.to_str().unwrap(), "/etc/passwd", "/etc/shadow", &own] {
        run("/bin/cat", &[path]).check_refused("Permission denied");
    }
    run("/bin/ls", &["/"]).check_refused("Permission denied");
}

#[test]
fn a_child_writes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old");
    std::fs::write(&old, "as it was").unwrap();
    let path = folder.path().display();
    bash(&format!("echo x > {path}/new || exit 1")).verdict.unwrap_err();
    bash(&format!("echo x >> {path}/old || exit 1")).verdict.unwrap_err();
    if is_in_force("files") {
        run("/bin/rm", &["-f", old.to_str().unwrap()]).check_refused("Permission denied");
        run("/bin/mkdir", &[folder.path().join("sub").to_str().unwrap()]).check_refused("Permission denied");
        assert!(!folder.path().join("new").exists());
    }
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "as it was");
}

#[test]
fn a_child_reaches_no_machine_not_even_its_own() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let port = server.local_addr().unwrap().port();
    bash(&format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo connected")).check_refused("Operation not permitted");
    assert_eq!(server.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_child_starts_no_other_and_becomes_no_other() {
    bash("(echo forked)").check_refused("Operation not permitted");
    if is_in_force("files") {
        bash("exec /bin/cat /dev/null").check_refused("Permission denied");
    }
}

#[test]
fn a_child_signals_nobody() {
    let mut other = Command::new("/bin/sleep").arg("600").spawn().unwrap();
    bash(&format!("kill -KILL {}", other.id())).check_refused("Operation not permitted");
    assert_eq!(other.try_wait().unwrap(), None);
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_child_sees_no_variable() {
    let words = ["contain", "--", "/usr/bin/env"];
    let finished = finish(deepsweep(&words, &[("AWS_SECRET_ACCESS_KEY", "secret".to_owned())]));
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), ""), "{}", finished.stderr);
}

#[test]
fn a_child_inherits_nothing_that_is_open() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "secret").unwrap();
    let (path, program) = (secret.path().display(), env!("CARGO_BIN_EXE_deepsweep"));
    let script = format!("exec 9<{path}; exec {program} contain -- /bin/bash -c 'read -u 9 line; echo \"$line\"'");
    let output = Command::new("/bin/bash").args(["-c", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "\n", "{said}");
    assert!(said.contains("invalid file descriptor"), "{said}");
}

#[test]
fn a_child_that_is_dropped_is_gone() {
    let words = ["/bin/sleep", "987.654"];
    with_child(words[0], &words[1..], &nothing(), &LIMITS, async |child| {
        wait_until("the start", || !processes(&words).is_empty());
        drop(child);
    });
    wait_until("the end", || processes(&words).is_empty());
}

#[test]
fn a_child_does_not_outlive_a_parent_that_is_killed() {
    let words = ["/bin/sleep", "456.789"];
    let script = format!("{} contain --parent $$ -- {} & wait", env!("CARGO_BIN_EXE_deepsweep"), words.join(" "));
    let mut parent = Command::new("/bin/bash").args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap();
    wait_until("the start", || processes(&words).iter().any(|id| !is_deepsweep(*id)));
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_until("the end", || processes(&words).is_empty());
}

fn is_deepsweep(id: u32) -> bool {
    std::fs::read(format!("/proc/{id}/cmdline"))
        .is_ok_and(|line| line.starts_with(env!("CARGO_BIN_EXE_deepsweep").as_bytes()))
}

fn check_timed_out(program: &str, words: &[&str], limits: ChildLimits, expected: &str) {
    let ended = run_with(program, words, &nothing(), &limits);
    let rejection = ended.verdict.unwrap_err();
    assert_eq!(rejection.class, RejectionClass::TimedOut, "{rejection:?}");
    assert!(rejection.message.contains(expected), "expected {expected:?} in {rejection:?}");
}

#[test]
fn a_child_that_hangs_is_ended() {
    let limits = ChildLimits { silence: Duration::from_millis(500), ..LIMITS };
    check_timed_out("/bin/sleep", &["123.456"], limits, "expected progress, found none for 0.5 s");
    wait_until("the end", || processes(&["/bin/sleep", "123.456"]).is_empty());
    // Computing is no progress.
    check_timed_out("/bin/bash", &["-c", "while :; do :; done"], limits, "expected progress");
}

#[test]
fn a_child_that_reads_is_at_work_until_its_time_is_over() {
    let limits = ChildLimits { silence: Duration::from_millis(400), wall: Duration::from_secs(2), ..LIMITS };
    let words = ["-c", "while read -n 1 -N 1000; do :; done < /dev/urandom"];
    check_timed_out("/bin/bash", &words, limits, "expected to take at most 2 s");
}

#[test]
fn a_child_that_computes_without_end_is_ended_by_the_kernel() {
    let limits = ChildLimits { cpu: Duration::from_secs(1), ..LIMITS };
    check_timed_out("/bin/bash", &["-c", "while :; do :; done"], limits, "at most 1 s of computing");
}

#[test]
fn clocks_stand_still_while_nobody_reads() {
    let limits = ChildLimits { silence: Duration::from_millis(300), wall: Duration::from_millis(600), ..LIMITS };
    with_child("/bin/bash", &["-c", "echo a; echo b"], &nothing(), &limits, async |mut child| {
        let mut line = [0; 2];
        assert_eq!(child.read_exact(&mut line).await, Ok(true));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(child.read_exact(&mut line).await, Ok(true));
        assert_eq!((&line, child.read_exact(&mut line.clone()).await), (b"b\n", Ok(false)));
        assert_eq!(child.finish().await, Ok(vec![]));
    });
}

fn check_rejected(ended: &Ended, class: RejectionClass, expected: &str) {
    let rejection = ended.verdict.as_ref().unwrap_err();
    assert_eq!(rejection.class, class, "{rejection:?}");
    assert!(rejection.message.contains(expected), "expected {expected:?} in {rejection:?}");
}

#[test]
fn a_child_that_wants_too_much_memory_gets_none() {
    let limits = ChildLimits { address_space_bytes: 200 << 20, ..LIMITS };
    let ended = run_with("/bin/bash", &["-c", "printf -v x %0500000000d 0"], &nothing(), &limits);
    check_rejected(&ended, RejectionClass::TooLarge, "at most 209715200 bytes of memory");
}

#[test]
fn the_end_of_a_child_says_why() {
    check_rejected(&bash("echo first >&2; echo second >&2; exit 3"), RejectionClass::Corrupt, "bash: first");
    check_rejected(&bash("exit 3"), RejectionClass::Corrupt, "bash: it gave no reason");
    check_rejected(&run("/bin/there-is-no-such", &[]), RejectionClass::Panicked, "No such file");
    let words = ["/bin/sleep", "765.432"];
    let killed = with_child(words[0], &words[1..], &nothing(), &LIMITS, async |child| {
        wait_until("the start", || processes(&words).iter().any(|id| !is_deepsweep(*id)));
        signal(processes(&words)[0], "SEGV");
        Ended { output: vec![], verdict: child.finish().await }
    });
    check_rejected(&killed, RejectionClass::Corrupt, "sleep was killed by SIGSEGV");
}

#[test]
fn lines_of_frames_are_told_from_complaints() {
    let script = "echo 'frame:0 pts:1' >&2; echo k=v >&2; printf ab; echo 'frame:1 pts:2' >&2; echo oh >&2; printf cd";
    with_child("/bin/bash", &["-c", script], &nothing(), &LIMITS, async |mut child| {
        let mut frame = [0; 2];
        for time in [1, 2] {
            assert_eq!(child.read_exact(&mut frame).await, Ok(true));
            assert_eq!(child.next_frame().await.unwrap().map(|said| said.time), Some(Some(time)));
        }
        assert_eq!(child.next_frame().await, Ok(None));
        assert_eq!(child.finish().await, Ok(vec!["oh".to_owned()]));
    });
    let cut = with_child("/bin/bash", &["-c", "printf abc"], &nothing(), &LIMITS, async |mut child| {
        child.read_exact(&mut [0; 4]).await.unwrap_err()
    });
    assert_eq!(cut.class, RejectionClass::Corrupt, "{cut:?}");
}

/// With every door that ffmpeg itself has left open.
#[test]
fn an_ffmpeg_that_follows_references_finds_nothing() {
    let Ok(ffmpeg) = Path::new("/usr/bin/ffmpeg").canonicalize() else { return };
    let ffmpeg = ffmpeg.to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.ts");
    let made = Command::new(ffmpeg)
        .args(["-v", "error", "-f", "lavfi", "-i", "color=red:s=64x64:d=1", "-c:v", "mpeg4"])
        .arg(&other)
        .status();
    assert!(made.unwrap().success());
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let http = format!("http://{}/a.ts", server.local_addr().unwrap());
    let playlist = |target: &str| format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n");
    let path = other.to_str().unwrap();
    let mut cases = vec![("hls", playlist(&http))];
    if is_in_force("files") {
        cases.push(("hls", playlist(&format!("file:{path}"))));
        cases.push(("hls", playlist(&format!("concat:{path}|{path}"))));
        cases.push(("concat", format!("ffconcat version 1.0\nfile '{path}'\n")));
    }
    for (demuxer, text) in cases {
        let mut media = tempfile::tempfile().unwrap();
        media.write_all(text.as_bytes()).unwrap();
        let decode = |media: &File, limits: &ChildLimits| {
            let mut words = vec!["-nostdin", "-v", "error", "-protocol_whitelist", "file,http,tcp,concat,pipe"];
            if demuxer == "concat" {
                words.extend(["-safe", "0"]);
            } else {
                words.extend(["-allowed_extensions", "ALL"]);
            }
            words.extend(["-f", demuxer, "-i", "file:/proc/self/fd/0", "-f", "rawvideo", "pipe:1"]);
            run_with(ffmpeg, &words, media, limits)
        };
        let ended = decode(&media, &LIMITS);
        assert!(ended.verdict.is_err(), "{text}\n{:?}", ended.verdict);
        assert_eq!(ended.output.len(), 0, "{text}\n{:?}", ended.verdict);
    }
    assert_eq!(server.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    // The same ffmpeg, and the file itself as its media.
    let media = File::open(&other).unwrap();
    let words = ["-nostdin", "-v", "error", "-i", "file:/proc/self/fd/0", "-f", "rawvideo", "pipe:1"];
    assert!(!run_with(ffmpeg, &words, &media, &LIMITS).output.is_empty());
}
