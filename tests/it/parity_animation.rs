//! Frames of animated GIF and WebP are those that Pillow and libwebp show (`tests/golden/animation.py`).

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use bytes::Bytes;
use deepsweep::error::RejectionClass;
use deepsweep::media::animation::{FrameTimes, decode_frames, frame_times};
use deepsweep::media::sniff::{StillFormat, sniff};
use deepsweep::media::still::{DecodeLimits, Header, read_header};
use image::RgbImage;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    width: u32,
    height: u32,
    files: BTreeMap<String, Animation>,
}

#[derive(Deserialize)]
struct Animation {
    frames: usize,
    delays_ms: Vec<f64>,
}

fn folder() -> PathBuf {
    crate::root().join("tests/golden/animation")
}

fn golden() -> Golden {
    let text = std::fs::read_to_string(folder().with_extension("json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

struct File {
    bytes: Bytes,
    format: StillFormat,
    header: Header,
}

impl File {
    fn new(bytes: Vec<u8>) -> Self {
        let bytes = Bytes::from(bytes);
        let format = sniff(&bytes).unwrap().image().unwrap().format;
        let limits = DecodeLimits { max_pixels: 1 << 24, max_decode_bytes: 1 << 28 };
        let header = read_header(&bytes, format, limits).unwrap();
        Self { bytes, format, header }
    }

    fn read(name: &str) -> Self {
        Self::new(std::fs::read(folder().join(name)).unwrap())
    }

    fn times(&self) -> Option<FrameTimes> {
        frame_times(&self.bytes, self.format).unwrap()
    }

    fn frames(&self, wanted: &[usize]) -> (Vec<(usize, RgbImage)>, Option<String>) {
        let mut had = vec![];
        let complaint = decode_frames(&self.bytes, self.format, &self.header, wanted, |index, picture| {
            had.push((index, picture));
            ControlFlow::Continue(())
        });
        (had, complaint.unwrap())
    }
}

/// The largest difference of any channel.
fn difference(found: &RgbImage, expected: &RgbImage) -> u8 {
    assert_eq!(found.dimensions(), expected.dimensions());
    found.as_raw().iter().zip(expected.as_raw()).map(|(found, expected)| found.abs_diff(*expected)).max().unwrap()
}

#[test]
fn every_frame_is_the_one_that_the_reference_shows() {
    let golden = golden();
    assert!(golden.files.len() >= 10, "the goldens are incomplete");
    for (name, animation) in golden.files {
        let file = File::read(&name);
        let strip = image::open(folder().join(&name).with_extension("png")).unwrap().into_rgb8();
        let every: Vec<usize> = (0..animation.frames).collect();
        let (had, complaint) = file.frames(&every);
        assert_eq!((had.len(), complaint), (animation.frames, None), "{name}");
        for (index, picture) in had {
            let top = index as u32 * golden.height;
            let expected = image::imageops::crop_imm(&strip, 0, top, golden.width, golden.height).to_image();
            // libwebp loses a level where it mixes something half transparent with a place that was cleared.
            let allowed = u8::from(name.contains("taken_away"));
            let found = difference(&picture, &expected);
            assert!(found <= allowed, "{name}, frame {index}: off by up to {found} levels");
        }
    }
}

#[test]
fn frames_are_shown_when_the_file_says() {
    for (name, animation) in golden().files {
        // Nothing, and a hundredth of a second, mean a tenth: so do browsers and ffmpeg.
        let shown: Vec<f64> =
            animation.delays_ms.iter().map(|ms| if *ms <= 10.0 { 0.1 } else { ms / 1000.0 }).collect();
        let times = File::read(&name).times().unwrap();
        assert_eq!((times.starts_s.len(), times.complaint), (animation.frames, None), "{name}");
        let mut expected = 0.0;
        for (found, shown) in times.starts_s.iter().zip(shown) {
            assert!((found - expected).abs() < 1e-9, "{name}: expected {expected} s, found {found} s");
            expected += shown;
        }
        assert!((times.duration_s - expected).abs() < 1e-9, "{name}: {} s", times.duration_s);
    }
}

#[test]
fn wanted_frames_alone_are_handed_out_and_the_walk_ends_when_it_is_told() {
    for name in ["gif_previous.gif", "webp_lossy_taken_away.webp"] {
        let file = File::read(name);
        let every = file.frames(&[0, 1, 2, 3]).0;
        assert_eq!(file.frames(&[1, 3]).0, [every[1].clone(), every[3].clone()], "{name}");
        assert_eq!(file.frames(&[]).0, [], "{name}");
        let mut calls = 0;
        let complaint = decode_frames(&file.bytes, file.format, &file.header, &[0, 1, 2], |_, _| {
            calls += 1;
            ControlFlow::Break(())
        });
        assert_eq!((calls, complaint.unwrap()), (1, None), "{name}");
    }
}

#[test]
fn a_still_picture_is_no_animation() {
    for name in ["gif_static.gif", "webp_lossy.webp", "webp_lossless_alpha.webp", "png_rgb8.png"] {
        let bytes = std::fs::read(crate::root().join("tests/media/formats").join(name)).unwrap();
        assert_eq!(File::new(bytes).times(), None, "{name}");
    }
}

#[test]
fn of_a_file_that_is_cut_the_frames_before_the_cut_count() {
    for name in ["gif_keep.gif", "webp_lossless_mixed.webp"] {
        let whole = File::read(name);
        let (every, _) = whole.frames(&[0, 1, 2, 3]);
        for kept in [0.55, 0.7, 0.85, 0.97] {
            let length = (whole.bytes.len() as f64 * kept) as usize;
            let cut = File::new(whole.bytes[..length].to_vec());
            let Some(times) = cut.times() else { continue };
            let count = times.starts_s.len();
            assert!((2..4).contains(&count), "{name} at {kept}: {count} frames");
            let complaint = times.complaint.unwrap();
            assert!(complaint.contains(&format!("after {count} frames")), "{complaint}");
            let wanted: Vec<usize> = (0..count).collect();
            assert_eq!(cut.frames(&wanted), (every[..count].to_vec(), None), "{name} at {kept}");
            // More than there are: those before the cut, and a word about the rest.
            let (had, complaint) = cut.frames(&[0, count + 5]);
            assert_eq!((had.len(), complaint.is_some()), (1, true), "{name} at {kept}");
        }
    }
}

#[test]
fn damage_is_a_rejection_or_fewer_frames_and_never_a_panic() {
    let mut seed = 1_u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for name in golden().files.into_keys() {
        let whole = File::read(&name);
        for _ in 0..60 {
            let mut bytes = whole.bytes.to_vec();
            for _ in 0..=random(4) {
                let at = random(bytes.len());
                bytes[at] ^= 1 << random(8);
            }
            bytes.truncate(bytes.len() - random(3) * random(bytes.len() / 2));
            let bytes = Bytes::from(bytes);
            let Ok(Some(times)) = frame_times(&bytes, whole.format) else { continue };
            let wanted: Vec<usize> = (0..times.starts_s.len()).collect();
            let mut had = 0;
            let result = decode_frames(&bytes, whole.format, &whole.header, &wanted, |index, picture| {
                assert_eq!((index, picture.dimensions()), (had, (40, 30)));
                had += 1;
                ControlFlow::Continue(())
            });
            match result {
                Ok(complaint) => assert_eq!(complaint.is_some(), had < wanted.len(), "{name}: {had} frames"),
                Err(rejection) => assert_eq!(had, 0, "{name}: {rejection:?}"),
            }
        }
    }
}

#[test]
fn ten_thousand_frames_are_counted_and_the_last_one_is_had() {
    let file = File::new(std::fs::read(crate::root().join("tests/media/bad/gif_10000_frames.gif")).unwrap());
    assert_eq!(file.times().unwrap().starts_s.len(), 10_000);
    let (had, complaint) = file.frames(&[0, 9_999]);
    assert_eq!((had.iter().map(|(index, _)| *index).collect::<Vec<_>>(), complaint), (vec![0, 9_999], None));
}

#[test]
fn what_is_drawn_and_counted_has_an_end() {
    // A canvas of which not even one frame is affordable.
    let file = File::read("gif_delays.gif");
    let header = Header { width_px: 1_000_000, height_px: 1_000_000, ..file.header };
    let refused = decode_frames(&file.bytes, file.format, &header, &[3], |_, _| ControlFlow::Continue(()));
    assert_eq!(refused.unwrap_err().class, RejectionClass::TooLarge);

    let mut endless = file.bytes[..13 + 3 * 64].to_vec();
    endless.extend([0x2C, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 0].repeat(100_001));
    let refused = frame_times(&Bytes::from(endless), file.format);
    assert_eq!(refused.unwrap_err().class, RejectionClass::TooLarge);
}
