//! Two thousand HEIC and AVIF files with damaged boxes, the same in every run of the test. All of them are read; some go
//! through the program and its decoders too: a row each, and no process and no file is left behind.
//!
//! `DEEPSWEEP_MUTANTS` asks for another number.

use bytes::Bytes;
use deepsweep::media::heif::read;
use deepsweep::media::still::DecodeLimits;

use crate::program::{Sweep, landed_in_folder, rows};
use crate::video_mutants::{Draw, damage, is_empty, run_in_session};

const VARIABLE: &str = "DEEPSWEEP_MUTANTS";
/// Of each format.
const MUTANTS: usize = 1_000;
/// Every so many goes through the program.
const DECODED: usize = 10;

/// What is damaged, each with something else in its boxes.
const ORIGINALS: [&[&str]; 2] = [
    &[
        "grid_irot_clap.heic",
        "overlay.heic",
        "alpha_irot.heic",
        "versions_new.heic",
        "sequence_without_item.heic",
        "grid.heic",
    ],
    &["alpha.avif", "sequence.avif", "extents.avif", "irot_imir.avif", "plain_444.avif", "depth_10_420.avif"],
];

/// Damage to what the boxes say: a number becomes another, or one of those that lie best.
fn damage_boxes(file: &mut Vec<u8>, draw: &mut Draw) {
    let end = file.windows(4).position(|four| four == b"mdat").unwrap_or(file.len()).max(16);
    for _ in 0..1 + draw.below(4) {
        let at = draw.below(end.min(file.len() - 4));
        match draw.below(5) {
            0 => file[at] ^= 1 << draw.below(8),
            1 => file[at] = [0, 1, 0x7f, 0x80, 0xff][draw.below(5)],
            2 => file[at..at + 4].copy_from_slice(&[0xff; 4]),
            3 => file[at..at + 4].fill(0),
            _ => {
                let from = draw.below(end.min(file.len() - 4));
                file.copy_within(from..from + 4, at);
            }
        }
    }
    if draw.below(4) == 0 {
        damage(file, draw);
    }
}

fn mutants() -> Vec<(String, Vec<u8>)> {
    let count: usize = std::env::var(VARIABLE).map_or(MUTANTS, |count| count.parse().unwrap());
    let folder = crate::root().join("tests/golden/heif");
    let mut made = vec![];
    for (kind, names) in ORIGINALS.iter().enumerate() {
        let originals: Vec<Vec<u8>> = names.iter().map(|name| std::fs::read(folder.join(name)).unwrap()).collect();
        for number in 0..count {
            let mut draw = Draw::new((kind * MUTANTS + number) as u64);
            let mut mutant = originals[number % names.len()].clone();
            damage_boxes(&mut mutant, &mut draw);
            made.push((format!("{number:04}-{}", names[number % names.len()]), mutant));
        }
    }
    made
}

#[test]
fn boxes_that_lie_are_read_or_refused_and_promise_no_more_than_the_limits() {
    let limits = DecodeLimits { max_pixels: 1 << 24, max_decode_bytes: 1 << 28 };
    let (mut read_well, mut refused) = (0, 0);
    for (name, mutant) in mutants() {
        match read(&Bytes::from(mutant), limits) {
            Ok(picture) => {
                assert!(picture.decode_bytes <= limits.max_decode_bytes, "{name}");
                read_well += 1;
            }
            Err(rejection) => {
                assert!(!rejection.message.contains('\n'), "{name}: {}", rejection.message);
                refused += 1;
            }
        }
    }
    println!("{read_well} read, {refused} refused");
    assert!(read_well > refused / 10 && refused > read_well / 10, "{read_well} read, {refused} refused");
}

#[test]
fn damaged_pictures_give_a_row_each_and_leave_nothing_behind() {
    let [source, out, scratch] = [0; 3].map(|_| tempfile::tempdir().unwrap());
    let sample: Vec<_> = mutants().into_iter().step_by(DECODED).collect();
    for (name, mutant) in &sample {
        std::fs::write(source.path().join(name), mutant).unwrap();
    }
    let [folder, destination, scratch_folder] = [&source, &out, &scratch].map(|folder| folder.path().to_str().unwrap());
    let flags = ["--scratch", scratch_folder, "--video-timeout", "60s"];
    let sweep = Sweep { source: folder, out: destination, scorer: "none", flags: &flags };
    let finished = run_in_session(&sweep, scratch_folder);
    assert!(is_empty(scratch.path()));

    let media = rows(&landed_in_folder(out.path()), "media");
    assert_eq!(media.len(), sample.len());
    let mut decoded = 0;
    for row in &media {
        let class = row["error_class"].as_str().unwrap_or("decoded");
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
        assert!(sane.contains(&class), "{row:?}");
        decoded += usize::from(class == "decoded");
    }
    println!("{decoded} of {} decoded in {:?}", media.len(), finished.elapsed);
    assert!(decoded > media.len() / 10 && decoded < media.len(), "{decoded} of {}", media.len());
}
