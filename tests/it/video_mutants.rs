//! A thousand clips with flipped bits, cuts and other damage, the same in every run of the test: a thousand rows, and no
//! process and no file is left behind.
//!
//! `DEEPSWEEP_MUTANTS` asks for another number.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::clips::{clip, encode};
use crate::program::{Finished, Sweep, await_end, landed_in_folder, rows};

const VARIABLE: &str = "DEEPSWEEP_MUTANTS";
const MUTANTS: usize = 1_000;

/// What is damaged: every codec and container, a dozen small frames each.
const ORIGINALS: [(&str, &str); 28] = [
    ("h264.mp4", "-c:v libx264 -preset ultrafast -g 5 -bf 2"),
    ("fragmented.mp4", "-c:v libx264 -preset ultrafast -g 5 -bf 2 -movflags frag_keyframe+empty_moov"),
    ("h264.mkv", "-c:v libx264 -preset ultrafast -g 5 -bf 2"),
    ("h264.ts", "-c:v libx264 -preset ultrafast -g 5 -bf 2"),
    ("h264.avi", "-c:v libx264 -preset ultrafast -g 5 -bf 2"),
    ("hevc.mov", "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=5"),
    ("hevc.ts", "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=5"),
    ("vp8.webm", "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 200k -g 5"),
    ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 200k -g 5"),
    ("av1.mp4", "-c:v libsvtav1 -preset 12 -crf 40 -g 5"),
    ("av1.mkv", "-c:v libsvtav1 -preset 12 -crf 40 -g 5"),
    ("mpeg4.avi", "-c:v mpeg4 -q:v 5 -g 5 -bf 2"),
    ("mpeg4.mp4", "-c:v mpeg4 -q:v 5 -g 5"),
    ("mjpeg.mov", "-c:v mjpeg -q:v 8 -pix_fmt yuvj420p"),
    ("flv1.flv", "-c:v flv1 -q:v 5 -g 5"),
    ("mpeg2.mpg", "-c:v mpeg2video -q:v 5 -g 5 -bf 2"),
    ("mpeg1.m1v", "-c:v mpeg1video -q:v 5 -g 5"),
    ("h263.3gp", "-s 176x144 -c:v h263 -q:v 5 -g 5"),
    ("wmv2.wmv", "-c:v wmv2 -q:v 5 -g 5"),
    ("divx3.avi", "-c:v msmpeg4 -q:v 5 -g 5"),
    ("prores.mov", "-c:v prores_ks -profile:v 0 -pix_fmt yuv422p10le"),
    ("dnxhr.mxf", "-s 256x144 -c:v dnxhd -profile:v dnxhr_lb -pix_fmt yuv422p"),
    ("dv.dv", "-s 720x576 -c:v dvvideo -r 25"),
    ("theora.ogv", "-c:v libtheora -q:v 5 -g 5"),
    ("jpeg2000.mov", "-c:v jpeg2000 -q:v 5"),
    ("vp9.ivf", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 200k -g 5"),
    ("raw.h264", "-c:v libx264 -preset ultrafast -g 5 -bf 2"),
    ("raw.hevc", "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=5"),
];
const FRAMES: usize = 12;

/// Marsaglia's xorshift: the same numbers everywhere.
pub struct Draw(pub u64);

impl Draw {
    /// Other numbers for every `seed`.
    pub fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ (seed + 1))
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

/// One kind of damage, or two.
pub fn damage(file: &mut Vec<u8>, draw: &mut Draw) {
    let length = file.len();
    let at = draw.below(length);
    let some = (1 + draw.below(64)).min(length - at);
    match draw.below(9) {
        // Flipped bits are what a disk and a line do: most of the cases.
        0..=2 => (0..1 + draw.below(24)).for_each(|_| file[draw.below(length)] ^= 1 << draw.below(8)),
        // The beginning, where a container says what is in it.
        3 => (0..1 + draw.below(6)).for_each(|_| file[draw.below(length.min(1_024))] ^= 1 << draw.below(8)),
        // The end, where MP4 says so.
        4 => {
            (0..1 + draw.below(6)).for_each(|_| file[length - 1 - draw.below(length.min(1_024))] ^= 1 << draw.below(8))
        }
        5 => file.truncate(at),
        6 => file[at..at + some].fill([0, 0xff][draw.below(2)]),
        7 => {
            let piece = file[at..at + some].to_vec();
            let place = draw.below(length);
            file.splice(place..place, piece);
        }
        _ => drop(file.drain(at..at + some)),
    }
    if draw.below(4) == 0 && !file.is_empty() {
        damage(file, draw);
    }
}

/// Processes of this session that are still there: their numbers and what they are called.
fn left_over(session: u32) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let stats = entries.filter_map(|name| std::fs::read_to_string(format!("/proc/{name}/stat")).ok());
    // PID (NAME) STATE PARENT GROUP SESSION …; a name may have anything in it.
    let of_session = |stat: &String| -> Option<bool> {
        Some(stat.rsplit_once(") ")?.1.split(' ').nth(3)?.parse::<u32>().ok()? == session)
    };
    stats.filter(|stat| of_session(stat) == Some(true)).collect()
}

/// Runs to the end, with exit code 0 and without a process that is still there after it.
pub fn run_in_session(sweep: &Sweep, scratch_folder: &str) -> Finished {
    let plain = sweep.command(&[("TMPDIR", scratch_folder.to_owned())]);

    // In a session of its own, by which whatever it started can be found.
    let mut command = Command::new("setsid");
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    let session = child.id();
    let finished = await_end(child);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    std::thread::sleep(Duration::from_millis(200)); // what was just killed may still be on its way out
    assert_eq!(left_over(session), Vec::<String>::new());
    finished
}

pub fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn a_thousand_damaged_clips_give_a_thousand_rows_and_leave_nothing_behind() {
    let count = std::env::var(VARIABLE).map_or(MUTANTS, |count| count.parse().unwrap());
    let originals = ORIGINALS.map(|(name, encoder)| {
        let made = clip(name, &[encode(FRAMES, "scale=160:90,format=yuv420p", encoder)]);
        (name, std::fs::read(made).unwrap())
    });
    let [source, out, scratch] = [0; 3].map(|_| tempfile::tempdir().unwrap());
    for number in 0..count {
        let (name, original) = &originals[number % originals.len()];
        let mut draw = Draw::new(number as u64);
        let mut mutant = original.clone();
        damage(&mut mutant, &mut draw);
        std::fs::write(source.path().join(format!("{number:04}-{name}")), mutant).unwrap();
    }
    let [folder, destination, scratch_folder] = [&source, &out, &scratch].map(|folder| folder.path().to_str().unwrap());
    let flags = ["--frames", "6", "--scratch", scratch_folder, "--video-timeout", "60s"];
    let sweep = Sweep { source: folder, out: destination, scorer: "none", flags: &flags };
    let finished = run_in_session(&sweep, scratch_folder);
    assert!(is_empty(scratch.path()), "{:?}", std::fs::read_dir(scratch.path()).unwrap().collect::<Vec<_>>());

    let landed = landed_in_folder(out.path());
    let media = rows(&landed, "media");
    assert_eq!(media.len(), count);
    let mut classes = std::collections::BTreeMap::<String, usize>::new();
    for row in &media {
        let class = row["error_class"].as_str().unwrap_or("decoded").to_owned();
        let sane = [
            "decoded",
            "empty",
            "not_media",
            "unsupported",
            "corrupt",
            "no_video",
            "too_large",
            "encrypted",
            "incomplete",
        ];
        assert!(sane.contains(&class.as_str()), "{row:?}");
        *classes.entry(class).or_default() += 1;
    }
    println!("{count} mutants in {:?}: {classes:?}", finished.elapsed);
    // Damage that nobody notices and damage that leaves nothing both belong to the measure.
    assert!(classes["decoded"] > count / 4 && classes.len() > 1, "{classes:?}");
}
