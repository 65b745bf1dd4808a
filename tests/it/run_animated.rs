//! Animated pictures in a run: sampled as videos where that is asked for, one frame otherwise.

use bytes::Bytes;
use deepsweep::media::sniff::StillFormat;
use deepsweep::media::still::{Damage, DecodeLimits, decode, read_header};
use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, DynamicImage, Frame, RgbaImage};
use serde_json::json;

use crate::program::{Landed, column, media, rows};
use crate::video_bad::sweep;

const BLACK: usize = 3;
const FRAMES: usize = 7;

/// Three black frames of a tenth of a second, then four of 200 ms with somebody in them who moves to the right.
fn animation() -> Vec<u8> {
    let portrait = Bytes::from(std::fs::read(crate::root().join("tests/media/good/portrait_small.jpg")).unwrap());
    let limits = DecodeLimits { max_pixels: 1 << 24, max_decode_bytes: 1 << 28 };
    let header = read_header(&portrait, StillFormat::Jpeg, limits).unwrap();
    let portrait =
        DynamicImage::from(decode(&portrait, StillFormat::Jpeg, header, Damage::Refused).unwrap().picture).into_rgba8();
    let (width, height) = (portrait.width() + 40, portrait.height());
    let mut bytes = vec![];
    let mut encoder = GifEncoder::new_with_speed(&mut bytes, 10);
    encoder.set_repeat(Repeat::Infinite).unwrap();
    for at in 0..FRAMES {
        let mut canvas = RgbaImage::from_pixel(width, height, image::Rgba([0, 0, 0, 255]));
        let delay_ms = if at < BLACK { 100 } else { 200 };
        if at >= BLACK {
            image::imageops::replace(&mut canvas, &portrait, (at - BLACK) as i64 * 10, 0);
        }
        encoder.encode_frame(Frame::from_parts(canvas, 0, 0, Delay::from_numer_denom_ms(delay_ms, 1))).unwrap();
    }
    drop(encoder);
    bytes
}

fn run(files: &[(&str, Vec<u8>)], flags: &[&str]) -> Landed {
    // One thread for everything that computes: whoever waits for it while it waits for him would stand for ever.
    sweep(files, &[flags, &["--threads", "1"]].concat()).0
}

#[test]
fn with_animated_every_frame_that_is_wanted_has_its_rows_and_a_face_its_track() {
    let landed = run(&[("moving.gif", animation())], &["--animated", "--all-frames"]);
    let of_media = media(&landed, "moving.gif");
    for (name, expected) in [
        ("status", json!("ok")),
        ("kind", json!("image")),
        ("container", json!("gif")),
        ("frames_sampled", json!(FRAMES)),
        ("frames_decoded", json!(FRAMES)),
        ("frames_with_face", json!(FRAMES - BLACK)),
        ("duration_s", json!(1.1)),
        ("n_tracks", json!(1)),
    ] {
        assert_eq!(of_media[name], expected, "{name}: {of_media:?}");
    }
    let frames = rows(&landed, "frames");
    assert_eq!(column(&frames, "frame_index"), (0..FRAMES).map(|at| json!(at)).collect::<Vec<_>>());
    let shown = [0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9];
    assert_eq!(column(&frames, "pts_s"), shown.map(|at| json!(at)));
    assert_eq!(column(&frames, "n_faces"), [0, 0, 0, 1, 1, 1, 1].map(|count| json!(count)));
    let faces = rows(&landed, "faces");
    assert_eq!(column(&faces, "track_id"), [0; 4].map(|id| json!(id)));
    let moved = faces[3]["box_x0"].as_f64().unwrap() - faces[0]["box_x0"].as_f64().unwrap();
    assert!((moved - 30.0).abs() < 4.0, "moved by 30 px, found by {moved}");
    let track = &rows(&landed, "tracks")[0];
    assert_eq!((&track["first_pts_s"], &track["last_pts_s"], &track["n_faces"]), (&json!(0.3), &json!(0.9), &json!(4)));
}

#[test]
fn the_flags_that_choose_frames_of_videos_choose_those_of_animations() {
    for (flags, expected) in [
        (&["--frames", "2"][..], &[2, 5][..]), // shown at 0.275 s and 0.825 s of 1.1
        (&["--every", "500ms"], &[0, 4, 6]),
        (&["--keyframes"], &[0]),
    ] {
        let landed = run(&[("moving.gif", animation())], &[flags, &["--animated"]].concat());
        let expected: Vec<_> = expected.iter().map(|at| json!(at)).collect();
        assert_eq!(column(&rows(&landed, "frames"), "frame_index"), expected, "{flags:?}");
    }
    let landed = run(&[("moving.gif", animation())], &["--animated", "--all-frames", "--max-frames", "6"]);
    assert_eq!(media(&landed, "moving.gif")["error_class"], "too_large");
}

#[test]
fn without_animated_the_first_frame_counts_as_a_picture() {
    let landed = run(&[("moving.gif", animation())], &["--all-frames"]);
    let of_media = media(&landed, "moving.gif");
    assert_eq!((&of_media["status"], &of_media["frames_sampled"]), (&json!("no_face"), &json!(1)));
    assert_eq!((&of_media["duration_s"], &of_media["n_tracks"]), (&json!(null), &json!(null)));
    assert_eq!(rows(&landed, "frames").len(), 1);
}

#[test]
fn a_still_gif_and_webp_are_pictures_and_a_cut_animation_keeps_what_it_has() {
    let read = |name: &str| std::fs::read(crate::root().join("tests").join(name)).unwrap();
    let cut = {
        let mut whole = animation();
        whole.truncate(whole.len() * 3 / 4);
        whole
    };
    let files = [
        ("cut.gif", cut),
        ("moving.webp", read("golden/animation/webp_lossy_mixed.webp")),
        ("still.gif", read("media/formats/gif_static.gif")),
        ("still.webp", read("media/formats/webp_lossy.webp")),
    ];
    let landed = run(&files, &["--animated", "--all-frames"]);
    for still in ["still.gif", "still.webp"] {
        let of_media = media(&landed, still);
        assert_eq!((&of_media["frames_sampled"], &of_media["n_tracks"]), (&json!(1), &json!(null)), "{still}");
        assert_ne!(of_media["status"], "rejected", "{still}");
    }
    assert_eq!(media(&landed, "moving.webp")["frames_decoded"], 4);
    let of_cut = media(&landed, "cut.gif");
    assert_eq!((&of_cut["status"], &of_cut["frames_decoded"]), (&json!("ok"), &of_cut["frames_sampled"]));
    assert!((4..FRAMES as i64).contains(&of_cut["frames_decoded"].as_i64().unwrap()), "{of_cut:?}");
    let said = of_cut["decoder_message"].as_str().unwrap();
    assert!(said.contains("frames"), "{said}");
}
