//! Videos of every format, each with something odd about it: which frames are taken, when they are shown, how large
//! they are and what is in them, against ffprobe and against what the encoder was given.
//!
//! The clips show in each frame which one it is (`clips`), so a row that has the right number and the wrong picture
//! does not pass.

use std::collections::BTreeMap;

use crate::clips::{STEP_PX, face_centre_px};
use crate::ffprobe::{Film, Sampling};
use crate::program::{Landed, Row, Sweep, landed_in_folder, rows};
use crate::video_clips::{Format, LONG, SHORT};

/// Half a tick of the coarsest clock among containers, Matroska's, and what an f64 of seconds rounds.
const SAME_TIME_S: f64 = 0.0006;

/// A run over these clips, each under its own name.
fn sweep(formats: &[&Format], sampling: Sampling) -> Landed {
    let (source, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for format in formats {
        std::fs::copy(format.made(), source.path().join(format.name)).unwrap();
    }
    let flags = sampling.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let [folder, destination] = [source.path(), out.path()].map(|path| path.to_str().unwrap());
    Sweep { source: folder, out: destination, scorer: "none", flags: &flags }.succeed(&[]);
    landed_in_folder(out.path())
}

/// The rows of each media in a table.
fn by_key(landed: &Landed, table: &str) -> BTreeMap<String, Vec<Row>> {
    let mut found: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in rows(landed, table) {
        found.entry(row["key"].as_str().unwrap().to_owned()).or_default().push(row);
    }
    found
}

fn whole(row: &Row, name: &str) -> i64 {
    row[name].as_i64().unwrap_or(-1)
}

/// Everything that is wrong with the rows of one clip.
fn faults(format: &Format, sampling: Sampling, media: &Row, frames: &[Row], faces: &[Row]) -> Vec<String> {
    let film = Film::of(&format.made());
    let wanted = film.wanted(sampling);
    let mut wrong = vec![];
    let mut expect = |what: &str, expected: String, found: String| {
        if expected != found {
            wrong.push(format!("{what}: expected {expected}, found {found}"));
        }
    };
    let text = |name: &str| media[name].as_str().unwrap_or("null").to_owned();
    expect("status", "ok".to_owned(), format!("{}{}", text("status"), text("error_message").replace("null", "")));
    expect("kind", "video".to_owned(), text("kind"));
    expect("container", format.container.to_owned(), text("container"));
    expect("codec", format.codec.to_owned(), text("codec"));
    let size = format!("{:?}", format.size_px);
    expect("size", size.clone(), format!("{:?}", (whole(media, "width"), whole(media, "height"))));
    expect("frames_sampled", wanted.len().to_string(), whole(media, "frames_sampled").to_string());
    expect("frames_decoded", wanted.len().to_string(), whole(media, "frames_decoded").to_string());
    expect("rows of frames", wanted.len().to_string(), frames.len().to_string());
    if format.silent {
        let (first, duration_s) = (film.frames[0].pts_s, media["duration_s"].as_f64().unwrap_or(-1.0));
        let near = (duration_s - film.end_s).abs() < 0.1 || (duration_s - (film.end_s - first)).abs() < 0.1;
        expect(
            "duration_s",
            format!("{:?}", film.end_s),
            if near { format!("{:?}", film.end_s) } else { format!("{duration_s:?}") },
        );
    }
    for (wanted, row) in wanted.iter().zip(frames) {
        let index = whole(row, "frame_index") as usize;
        if !wanted.contains(&index) {
            wrong.push(format!("frame_index: expected one of {wanted:?}, found {index}"));
            continue;
        }
        let (expected_s, found_s) = (film.frames[index].pts_s, row["pts_s"].as_f64().unwrap_or(f64::NAN));
        let apart_s = (expected_s - found_s).abs();
        if apart_s.is_nan() || apart_s > SAME_TIME_S {
            wrong.push(format!("frame {index}: pts_s: expected {expected_s:.6}, found {found_s:.6}"));
        }
        let found_size = format!("{:?}", (whole(row, "width"), whole(row, "height")));
        if found_size != size {
            wrong.push(format!("frame {index}: size: expected {size}, found {found_size}"));
        }
        wrong.extend(wrong_picture(format, index, faces));
    }
    wrong
}

/// The face that is surest must stand where it stands in this frame and in no other.
fn wrong_picture(format: &Format, index: usize, faces: &[Row]) -> Option<String> {
    let (x, y) = face_centre_px((format.source_frame)(index));
    let of_frame = faces.iter().filter(|face| whole(face, "frame_index") as usize == index);
    let number = |face: &Row, name: &str| face[name].as_f64().unwrap();
    let surest = of_frame.max_by(|a, b| number(a, "confidence").total_cmp(&number(b, "confidence")));
    let Some(face) = surest else { return Some(format!("frame {index}: no face, expected one at {x}, {y}")) };
    let centre = |from: &str, to: &str| f64::midpoint(number(face, from), number(face, to));
    let (found_x, found_y) = (centre("box_x0", "box_x1"), centre("box_y0", "box_y1"));
    let near = STEP_PX as f64 / 2.0;
    let elsewhere = (found_x - x).abs() >= near || (found_y - y).abs() >= near;
    elsewhere
        .then(|| format!("frame {index}: the face of another: expected {x}, {y}, found {found_x:.1}, {found_y:.1}"))
}

fn check(formats: &[&Format], sampling: Sampling) {
    let landed = sweep(formats, sampling);
    let (media, frames, faces) = (by_key(&landed, "media"), by_key(&landed, "frames"), by_key(&landed, "faces"));
    assert_eq!(media.len(), formats.len());
    let none = vec![];
    let of = |table: &BTreeMap<String, Vec<Row>>, name: &str| table.get(name).unwrap_or(&none).clone();
    let wrong: Vec<String> = formats
        .iter()
        .flat_map(|format| {
            let found =
                faults(format, sampling, &media[format.name][0], &of(&frames, format.name), &of(&faces, format.name));
            found.into_iter().take(4).map(|fault| format!("{}: {fault}", format.name)).collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "{sampling:?}: {} faults:\n{}", wrong.len(), wrong.join("\n"));
}

fn all(formats: &[Format]) -> Vec<&Format> {
    formats.iter().collect()
}

#[test]
fn frames_spread_by_time_are_the_ones_on_the_screen_then() {
    check(&all(SHORT), Sampling::Frames(5));
}

#[test]
fn frames_at_every_so_many_milliseconds_are_the_ones_on_the_screen_then() {
    check(&all(SHORT), Sampling::EveryMs(310));
}

#[test]
fn keyframes_are_those_that_the_decoder_says_are() {
    // Where a picture is refreshed bit by bit, containers mark the places where that starts again; a decoder shows
    // nothing at them before it is through.
    let marked: Vec<&Format> = SHORT.iter().filter(|format| format.name != "intra_refresh.ts").collect();
    check(&marked, Sampling::Keyframes);
}

#[test]
fn all_frames_are_all_that_are_shown() {
    check(&all(SHORT), Sampling::All);
}

#[test]
fn a_clip_of_fewer_frames_than_are_wanted_gives_each_once() {
    check(&all(&SHORT[..4]), Sampling::Frames(1_000));
}

#[test]
fn frames_far_apart_are_found_without_losing_count() {
    check(&all(LONG), Sampling::Frames(7));
    check(&all(LONG), Sampling::EveryMs(3_700));
}
