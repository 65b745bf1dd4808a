//! Ways out of the containment that took more than one step: leaving the group that is killed, changing files that may
//! only be read; and programs in place of ffmpeg that hang or cannot start there.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use deepsweep::ffmpeg::process::Process;

use crate::clips::{clip, encode_beside};
use crate::program::{Sweep, await_end, finish, media};
use crate::run_sources::text;
use crate::video_bad::{SMALL, sweep};
use crate::video_containment::{LIMITS, is_in_force, nothing, processes, run_with, signal, wait_until, with_child};

/// Asks for everything that lets it outlive whoever started it, says how each was answered, and sleeps.
const LEAVES: &str = r#"
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(void) {
    int life = prctl(PR_SET_PDEATHSIG, 0);
    int group = setpgid(0, getpgid(getppid()));
    int name = prctl(PR_SET_NAME, "renamed");
    printf("%2d %2d %2d\n", life, group, name);
    fflush(stdout);
    for (;;) sleep(1000);
}
"#;

const HANGS: &str = "#include <unistd.h>\nint main(void) { for (;;) sleep(1000); }\n";

fn compiled(folder: &Path, name: &str, code: &str) -> PathBuf {
    let (source, program) = (folder.join(format!("{name}.c")), folder.join(name));
    std::fs::write(&source, code).unwrap();
    let made = Command::new("cc").arg("-o").args([&program, &source]).status();
    assert!(made.unwrap().success(), "{code}");
    program
}

#[test]
fn a_child_cannot_leave_the_group_that_is_killed_nor_outlive_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let program = compiled(folder.path(), "leaves", LEAVES);
    let program = program.to_str().unwrap();
    with_child(program, &[], &nothing(), &LIMITS, async |mut child| {
        let mut said = [0; 9];
        assert_eq!(child.read_exact(&mut said).await, Ok(true));
        assert_eq!(String::from_utf8_lossy(&said), "-1 -1  0\n");
        drop(child);
    });
    wait_until("the end", || processes(&[program]).is_empty());
}

/// Where no filter of system calls keeps it in its group.
#[test]
fn a_process_that_left_its_group_is_killed_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let program = compiled(folder.path(), "leaves", LEAVES);
    let mut command = Command::new(&program);
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (process, mut stdout, _stderr) = Process::start(command).unwrap();
    let mut said = [0; 9];
    std::io::Read::read_exact(&mut stdout, &mut said).unwrap();
    assert_eq!(String::from_utf8_lossy(&said), " 0  0  0\n");
    drop(process);
    wait_until("the end", || processes(&[program.to_str().unwrap()]).is_empty());
}

#[test]
fn a_child_changes_nothing_about_a_file_that_it_may_read() {
    let victim = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(victim.path(), "as it was").unwrap();
    std::fs::set_permissions(victim.path(), PermissionsExt::from_mode(0o640)).unwrap();
    let state = || {
        let found = victim.path().metadata().unwrap();
        (found.mode(), found.uid(), found.size(), found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec())
    };
    let before = state();
    for path in [victim.path().to_str().unwrap(), "/proc/self/fd/0"] {
        let attempts: [(&str, &[&str]); 4] = [
            ("/bin/chmod", &["777", path]),
            ("/bin/chown", &["0:1", path]),
            ("/bin/touch", &["-c", "-d", "2001-01-01", path]),
            ("/usr/bin/truncate", &["-c", "-s", "1", path]),
        ];
        for (program, words) in attempts {
            let ended = run_with(program, words, &File::open(victim.path()).unwrap(), &LIMITS);
            let message = ended.verdict.expect_err(program).message;
            let refused = ["Operation not permitted", "Permission denied"].iter().any(|said| message.contains(said));
            assert!(refused, "{program} {words:?}: {message}");
            assert_eq!(state(), before, "{program} {words:?}");
        }
    }
}

#[test]
fn sound_and_subtitles_beside_a_video_are_no_complaint() {
    let subtitles = tempfile::Builder::new().suffix(".srt").tempfile().unwrap();
    std::fs::write(subtitles.path(), "1\n00:00:00,100 --> 00:00:01,000\nwords\n").unwrap();
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("words.srt");
    std::fs::copy(subtitles.path(), &kept).unwrap();
    let (sound, words) = ("-f lavfi -i sine=d=1.96", format!("-i {}", kept.display()));
    let vp9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 2M -g 12";
    let made = |name: &'static str, inputs: &[&str], encoder: &str| {
        let step = encode_beside(49, inputs, "format=yuv420p", encoder);
        (name, std::fs::read(clip(name, &[step])).unwrap())
    };
    let files = [
        made("aac.mp4", &[sound], &format!("{SMALL} -map 2:a -c:a aac")),
        made("aac.ts", &[sound], &format!("{SMALL} -map 2:a -c:a aac")),
        made("opus.mkv", &[sound], &format!("{SMALL} -map 2:a -c:a libopus")),
        made("opus.webm", &[sound], &format!("{vp9} -map 2:a -c:a libopus")),
        made("pcm.avi", &[sound], "-c:v mpeg4 -q:v 3 -g 12 -map 2:a -c:a pcm_s16le"),
        made("words.mkv", &[sound, &words], &format!("{SMALL} -map 2:a -c:a aac -map 3:s -c:s srt")),
        made("words.mp4", &[&words], &format!("{SMALL} -map 2:s -c:s mov_text")),
    ];
    let (landed, _) = sweep(&files, &["--frames", "3"]);
    for (name, _) in &files {
        let row = media(&landed, name);
        assert_eq!((row["status"].as_str(), row["frames_decoded"].as_u64()), (Some("ok"), Some(3)), "{row:?}");
        assert!(row["decoder_message"].is_null(), "{row:?}");
    }
}

// --- Programs in place of ffmpeg.

fn with_ffmpeg<T>(ffmpeg: &Path, then: impl FnOnce(Command) -> T) -> T {
    let (source, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let flags = ["--ffmpeg", text(ffmpeg)];
    then(Sweep { source: text(source.path()), out: text(out.path()), scorer: "none", flags: &flags }.command(&[]))
}

#[test]
fn a_script_around_ffmpeg_is_refused_before_the_first_video() {
    if !is_in_force("files") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for name in ["ffmpeg", "ffprobe"] {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\nexec /usr/bin/{name} \"$@\"\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let finished = with_ffmpeg(&folder.path().join("ffmpeg"), finish);
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    for said in ["Permission denied", "name the program itself", "--ffmpeg FILE"] {
        assert!(finished.stderr.contains(said), "expected {said:?} in {}", finished.stderr);
    }
}

#[test]
fn a_signal_is_obeyed_while_ffmpeg_hangs_and_without_one_it_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let ffmpeg = compiled(folder.path(), "ffmpeg", HANGS);
    std::fs::copy(&ffmpeg, folder.path().join("ffprobe")).unwrap();
    let hangs = || !processes(&[text(&ffmpeg), "-version"]).is_empty();
    let stopped = with_ffmpeg(&ffmpeg, |mut command| {
        let child = command.spawn().unwrap();
        wait_until("the start", hangs);
        signal(child.id(), "TERM");
        await_end(child)
    });
    assert_eq!(stopped.code, Some(75), "{}", stopped.stderr);
    assert!(stopped.elapsed < Duration::from_secs(20), "{:?}", stopped.elapsed);
    wait_until("the end", || !hangs());
    let finished = with_ffmpeg(&ffmpeg, finish);
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("in its containment: ff") && !finished.stderr.contains("script"),
        "{}",
        finished.stderr
    );
    assert!(finished.elapsed < Duration::from_secs(60), "{:?}", finished.elapsed);
}
