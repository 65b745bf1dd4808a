//! Memory: it does not grow with the archive, and `--memory` holds for pictures that are large when decoded.
//!
//! Measured as the kernel counts it: the peak of resident pages (VmHWM), asked for until the process ends.

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use image::{Rgb, RgbImage};

use crate::program::{Finished, Sweep, await_end, landed_in_folder, rows};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Of the process, so far; nothing once it has ended.
fn peak_bytes(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * KIB)
}

/// Runs to a good end and returns its peak. The last look is at most 2 ms old, in which a run writes its
/// closing table.
pub fn measure(command: Command) -> u64 {
    measured(command).0
}

/// The same, and what the run said.
pub fn measured(mut command: Command) -> (u64, Finished) {
    let mut child = command.spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak_bytes(&child).unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(2));
    }
    let finished = await_end(child);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(peak > MIB, "{peak} bytes: the measurement failed");
    (peak, finished)
}

/// A folder that holds `picture` so many times, by hard links.
fn copies(picture: &Path, count: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(picture.parent().unwrap()).unwrap();
    for at in 0..count {
        std::fs::hard_link(picture, folder.path().join(format!("{at:05}"))).unwrap();
    }
    folder
}

/// The peak of a run over `count` times this picture, each of which must have been decoded.
fn peak_of_run(picture: &Path, count: usize, flags: &[&str]) -> u64 {
    let (source, out) = (copies(picture, count), tempfile::tempdir().unwrap());
    let (folder, destination) = (source.path().to_str().unwrap(), out.path().to_str().unwrap());
    let sweep = Sweep { source: folder, out: destination, scorer: "untrained-demo", flags };
    let peak = measure(sweep.command(&[]));
    assert_eq!(rows(&landed_in_folder(out.path()), "frames").len(), count);
    peak
}

/// Pictures of several sizes in turn, so many in all, by hard links.
fn archive(count: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let good = crate::root().join("tests/media/good");
    for (at, name) in ["portrait_small.jpg", "astronaut.jpg", "no_face.jpg"].iter().enumerate() {
        let picture = folder.path().join(format!("picture-{at}"));
        std::fs::copy(good.join(name), &picture).unwrap();
        for copy in (at..count).step_by(3) {
            std::fs::hard_link(&picture, folder.path().join(format!("{copy:05}.jpg"))).unwrap();
        }
        std::fs::remove_file(picture).unwrap();
    }
    folder
}

#[test]
fn ten_times_the_archive_takes_no_more_memory() {
    for scorer in ["none", "untrained-demo"] {
        let peak = |count| {
            let (source, out) = (archive(count), tempfile::tempdir().unwrap());
            let (folder, destination) = (source.path().to_str().unwrap(), out.path().to_str().unwrap());
            let sweep = Sweep { source: folder, out: destination, scorer, flags: &["--min-face-px", "80"] };
            let peak = measure(sweep.command(&[]));
            assert_eq!(rows(&landed_in_folder(out.path()), "frames").len(), count);
            peak
        };
        let (few, many) = (peak(200), peak(2_000));
        println!("{scorer}: 200 pictures: {} KiB, 2,000 pictures: {} KiB", few / KIB, many / KIB);
        assert!(many <= few + few / 10, "{scorer}: 200 pictures: {few} bytes, 2,000 pictures: {many} bytes");
    }
}

#[test]
fn large_pictures_stay_within_the_budget() {
    const BUDGET: u64 = 256 * MIB;
    let folder = tempfile::tempdir().unwrap();
    let (tiny, large) = (folder.path().join("tiny.png"), folder.path().join("large.png"));
    RgbImage::from_pixel(8, 8, Rgb([90, 120, 150])).save(&tiny).unwrap();
    let stripes = RgbImage::from_fn(5_000, 4_000, |_, y| Rgb([(y / 16) as u8, 120, 150]));
    stripes.save(&large).unwrap();
    // Of 60 MB each when decoded; eight threads would take nine of them at once, were they not held back.
    let flags = ["--memory", "256MiB", "--min-face-px", "160", "--threads", "8"];
    let (base, peak) = (peak_of_run(&tiny, 1, &flags), peak_of_run(&large, 12, &flags));
    println!("base {} MiB, 12 × 20 megapixels {} MiB", base / MIB, peak / MIB);
    assert!(peak <= base + BUDGET, "base {} MiB, peak {} MiB", base / MIB, peak / MIB);
}
