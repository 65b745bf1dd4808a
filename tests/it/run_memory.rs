//! Memory: it does not grow with the archive, and `--memory` holds for pictures that are large when decoded.
//!
//! Measured as the kernel counts it: the peak of resident pages (VmHWM), asked for until the process ends.

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use image::{Rgb, RgbImage};

use crate::program::{Sweep, await_end, landed_in_folder, rows};

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
pub fn measure(mut command: Command) -> u64 {
    let mut child = command.spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak_bytes(&child).unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(2));
    }
    let finished = await_end(child);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(peak > MIB, "{peak} bytes: the measurement failed");
    peak
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

#[test]
fn ten_times_the_archive_takes_no_more_memory() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("picture.jpg");
    std::fs::copy(crate::root().join("tests/media/good/portrait_small.jpg"), &picture).unwrap();
    // The rows of a slice wait until it is complete: a thousand of them, with their embeddings of 192 numbers, as
    // rows and as the part that is made of them. One decoded picture kept of each would be 80 MiB.
    const SLICE_BYTES: u64 = 8 * MIB;
    let peak = |count| peak_of_run(&picture, count, &["--min-face-px", "80"]);
    let (few, many) = (peak(100), peak(1_000));
    println!("100 pictures: {} MiB, 1,000 pictures: {} MiB", few / MIB, many / MIB);
    let most = few + few / 10 + SLICE_BYTES;
    assert!(many <= most, "100 pictures: {few} bytes, 1,000 pictures: {many} bytes, at most {most}");
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
