//! Videos whose frames are easily lost on the way to them: none is, or the row says so.

use serde_json::Value;

use crate::clips::{clip, words};
use crate::program::{Row, column, media, rows};
use crate::video_bad::sweep;

/// Made of a test picture, without anybody in it.
fn pattern(name: &str, source: &str, encoder: &str) -> (String, Vec<u8>) {
    let step = format!("-f lavfi -i {source} -pix_fmt yuv420p {encoder}");
    (name.to_owned(), std::fs::read(clip(name, &[words(&step)])).unwrap())
}

/// One run over these files; every wanted frame is there, and the decoder did not complain.
fn check_whole(files: &[(String, Vec<u8>)], flags: &[&str], least: u64) -> Vec<Row> {
    let named: Vec<(&str, Vec<u8>)> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let (landed, _) = sweep(&named, flags);
    for (name, _) in files {
        let row = media(&landed, name);
        let (sampled, decoded) = (row["frames_sampled"].as_u64(), row["frames_decoded"].as_u64());
        assert_eq!(sampled, decoded, "{name}: {row:?}");
        assert!(decoded >= Some(least), "{name}: {row:?}");
        assert_eq!(row["decoder_message"], Value::Null, "{name}: {row:?}");
    }
    rows(&landed, "frames")
}

#[test]
fn key_frames_of_open_groups_are_all_there() {
    let encoder = "-c:v libx264 -preset veryfast -g 25 -x264-params open-gop=1:bframes=3:b-adapt=0";
    let source = "testsrc2=s=320x240:r=25:d=20";
    let files = ["open.mp4", "open.mkv", "open.ts"].map(|name| pattern(name, source, encoder));
    check_whole(&files, &["--keyframes"], 15);
}

#[test]
fn a_key_that_is_shown_long_after_it_is_decoded_is_found_in_mpeg_ts() {
    let encoder = "-c:v libx264 -preset ultrafast -g 25 -bf 7 \
                   -x264-params scenecut=0:bframes=7:b-adapt=0:b-pyramid=normal:ref=4";
    let source = "testsrc2=s=1920x1080:r=5:d=40";
    let files = ["slow.mp4", "slow.ts"].map(|name| pattern(name, source, encoder));
    let frames = check_whole(&files, &["--frames", "4"], 4);
    let indexes: Vec<Value> = column(&frames, "frame_index");
    assert_eq!(indexes[..4], indexes[4..], "the same frames out of either container");
}

#[test]
fn the_smallest_videos_are_videos() {
    let file = |name: &str, source: &str, frames: u32, encoder: &str| {
        pattern(name, source, &format!("-frames:v {frames} {encoder}"))
    };
    let one = [
        file("one.avi", "testsrc2=s=320x240:r=25", 1, "-c:v libx264 -preset ultrafast"),
        file("one_mpeg4.avi", "testsrc2=s=320x240:r=25", 1, "-c:v mpeg4"),
        file("low.avi", "color=gray:s=16x2:r=25", 3, "-c:v mpeg4"),
    ];
    let frames = check_whole(&one, &["--frames", "4"], 1);
    for frame in frames.iter().filter(|frame| frame["key"] != "low.avi") {
        assert_eq!((&frame["frame_index"], &frame["pts_s"]), (&0.into(), &0.0.into()), "{frame:?}");
    }
    check_whole(&one, &["--keyframes"], 1);
}

#[test]
fn steps_of_a_time_that_no_fraction_holds_take_the_frames_that_begin_then() {
    let files = [pattern("steps.mp4", "testsrc2=s=64x48:r=25:d=20", "-c:v libx264 -preset ultrafast -g 50")];
    let frames = check_whole(&files, &["--every", "240ms"], 84);
    let expected: Vec<Value> = (0..84).map(|step| (step * 6).into()).collect();
    assert_eq!(column(&frames, "frame_index"), expected);
}
