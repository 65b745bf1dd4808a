//! Hostile and broken videos: each its row, none stops the run. And names that another program would take for options
//! or addresses. (What points at other files and at the network is in `video_references`.)

use std::time::Duration;

use crate::clips::{clip, encode, remux, words};
use crate::program::{Finished, Landed, Row, Sweep, column, landed_in_folder, media, rows, without};
use crate::run_sources::{OF_THE_STORE, PICTURES, TABLES, folder_of_pictures, from_folder, text};
use crate::video_references::boxes;

pub const SMALL: &str = "-c:v libx264 -preset ultrafast -crf 20 -g 12 -bf 2";

/// Two seconds of the face.
fn film() -> Vec<u8> {
    std::fs::read(clip("film.mp4", &[encode(49, "format=yuv420p", SMALL)])).unwrap()
}

/// A folder of these files, what a run over it left and what it said.
pub fn sweep(files: &[(&str, Vec<u8>)], flags: &[&str]) -> (Landed, Finished) {
    let (source, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (name, bytes) in files {
        let path = source.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let sweep = Sweep { source: text(source.path()), out: text(out.path()), scorer: "none", flags };
    let finished = sweep.succeed(&[]);
    let landed = landed_in_folder(out.path());
    assert_eq!(rows(&landed, "media").len(), files.len(), "one row for each object");
    (landed, finished)
}

/// Rejected as one of these classes, with words, and without a single frame.
pub fn check_refused(landed: &Landed, key: &str, classes: &[&str]) {
    let row = media(landed, key);
    let class = row["error_class"].as_str().unwrap_or("null");
    assert_eq!(row["status"], "rejected", "{key}: {row:?}");
    assert!(classes.contains(&class), "{key}: expected one of {classes:?}, found {class}: {}", row["error_message"]);
    let message = row["error_message"].as_str().unwrap();
    assert!(!message.trim().is_empty() && !message.contains('\n'), "{key}: {message:?}");
    assert_eq!(row["retryable"], false, "{key}: {message}");
    assert!(rows(landed, "frames").iter().all(|frame| frame["key"] != key), "{key} has frames");
}

/// Decoded whole: the face in each of its frames.
fn check_whole(landed: &Landed, key: &str, frames: u64) {
    let row = media(landed, key);
    assert_eq!(row["status"], "ok", "{key}: {row:?}");
    assert_eq!(row["frames_decoded"].as_u64(), Some(frames), "{key}: {row:?}");
    assert_eq!(row["frames_with_face"].as_u64(), Some(frames), "{key}: {row:?}");
}

// --- Names.

#[test]
fn a_key_is_never_an_option_an_address_or_a_pattern() {
    let film = film();
    let names = [
        "-i",
        "-version",
        "--help",
        "concat:a.mp4|b.mp4",
        "concat:-i|b.mp4",
        "file:film.mp4",
        "http:film.mp4",
        "pipe:0",
        "%03d.mp4",
        "film.m3u8",
        "film.ffconcat",
        "film.jpg",
        "$(touch pwned).mp4",
        "`id`.mp4",
        "a b\tc.mp4",
        "line\nbreak.mp4",
        "quote'\".mp4",
        "crypto:film.mp4",
        "subfile,,start,0,end,9,,:film.mp4",
        "ünïcode 🎬.mp4",
    ]; // fmt: skip
    let files: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (*name, film.clone())).collect();
    let (landed, _) = sweep(&files, &["--frames", "2"]);
    for name in names {
        check_whole(&landed, name, 2);
    }
}

// --- Codecs that are not decoded.

#[test]
fn other_codecs_are_refused_by_name_before_they_see_a_byte() {
    let made = |name: &str, encoder: &str| {
        (name.to_owned(), std::fs::read(clip(name, &[encode(9, "format=yuv420p", encoder)])).unwrap())
    };
    let files = [
        made("magicyuv.avi", "-c:v magicyuv"),
        made("magicyuv.mkv", "-c:v magicyuv"),
        made("magicyuv.mov", "-c:v magicyuv"),
        made("ffv1.mkv", "-c:v ffv1"),
        made("msmpeg4v2.avi", "-c:v msmpeg4v2"),
        made("svq1.mov", "-c:v svq1 -pix_fmt yuv410p"),
        made("animation.mov", "-c:v qtrle -pix_fmt rgb24"),
        made("raw.avi", "-c:v rawvideo"),
    ];
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let (landed, _) = sweep(&files, &[]);
    for (name, _) in &files {
        check_refused(&landed, name, &["unsupported"]);
    }
}

#[test]
fn what_has_no_moving_picture_says_so() {
    let sound = |name: &str, output: &str| {
        let step = format!("-f lavfi -i sine=d=2 {output}");
        (name.to_owned(), std::fs::read(clip(name, &[words(&step)])).unwrap())
    };
    let cover = crate::root().join("tests/media/good/portrait_small.jpg");
    let with_cover = format!("-i {} -map 0 -map 1 -c:v mjpeg -disposition:v attached_pic", cover.display());
    let files = [
        sound("sound.mp4", "-c:a aac"),
        sound("sound.mov", "-c:a pcm_s16le"),
        sound("sound.m4a", "-c:a aac -f mp4"),
        sound("sound.mkv", "-c:a flac"),
        sound("sound.webm", "-c:a libopus"),
        sound("sound.avi", "-c:a pcm_s16le"),
        sound("sound.ts", "-c:a aac"),
        sound("sound.mp3", "-c:a libmp3lame"),
        sound("sound.wav", ""),
        sound("sound.flac", ""),
        sound("sound.ogg", "-c:a libvorbis"),
        sound("cover.m4a", &format!("{with_cover} -c:a aac -f mp4")),
        sound("cover.mp3", &format!("{with_cover} -c:a libmp3lame")),
    ];
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let (landed, _) = sweep(&files, &[]);
    for (name, _) in &files {
        check_refused(&landed, name, &["no_video"]);
    }
}

// --- Too much of everything.

/// The film with an index of so many samples of one byte, of which it has neither the samples nor the bytes.
fn film_with_long_index(samples: u32) -> Vec<u8> {
    let mut file = film();
    let table = [b"moov", b"trak", b"mdia", b"minf", b"stbl"];
    let place = |file: &[u8], last| *boxes(file, &[&table[..], &[last]].concat()).last().unwrap();
    let (sizes, chunks) = (place(&file, b"stsz"), place(&file, b"stsc"));
    file[sizes + 12..sizes + 16].copy_from_slice(&1_u32.to_be_bytes());
    file[sizes + 16..sizes + 20].copy_from_slice(&samples.to_be_bytes());
    file[chunks + 20..chunks + 24].copy_from_slice(&samples.to_be_bytes());
    file
}

#[test]
fn bombs_are_refused_or_bounded() {
    let bomb = |name: &str, size: &str, frames: usize, encoder: &str| {
        let step = format!("-f lavfi -i color=c=gray:s={size}:r=25 -frames:v {frames} {encoder}");
        std::fs::read(clip(name, &[words(&step)])).unwrap()
    };
    let x264 = "-pix_fmt yuv420p -c:v libx264 -preset ultrafast";
    let mut claims = std::fs::read(clip("claims.avi", &[encode(9, "format=yuvj420p", "-c:v mjpeg -q:v 3")])).unwrap();
    // Every picture says that it is 65,500 × 65,500: SOF0, its length, 8 bits, height, width.
    let starts: Vec<usize> =
        (0..claims.len() - 9).filter(|at| claims[*at..].starts_with(&[0xff, 0xc0, 0, 17, 8])).collect();
    assert_eq!(starts.len(), 9);
    for at in starts {
        claims[at + 5..at + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
    }
    let files = vec![
        ("large.mp4", bomb("large.mp4", "12000x10000", 1, x264)),
        ("wide.mkv", bomb("wide.mkv", "16000x8000", 1, x264)),
        ("index.mp4", film_with_long_index(60_000_000)),
        ("claims.avi", claims),
        ("film.mp4", film()),
    ];
    let (landed, _) = sweep(&files, &["--memory", "512MiB"]);
    check_refused(&landed, "large.mp4", &["too_large"]);
    check_refused(&landed, "wide.mkv", &["too_large"]);
    check_refused(&landed, "index.mp4", &["corrupt", "too_large", "timed_out"]);
    check_refused(&landed, "claims.avi", &["too_large", "corrupt"]);
    check_whole(&landed, "film.mp4", 32);

    let many = bomb("many.mp4", "64x64", 20_000, x264);
    let (landed, _) = sweep(&[("many.mp4", many)], &["--all-frames"]);
    check_refused(&landed, "many.mp4", &["too_large"]);
}

#[test]
fn a_video_that_takes_too_long_is_given_up_and_the_others_are_not() {
    // A minute of 1080p that is all detail. Faces of a thousand pixels are looked for in no time: decoding is what takes it.
    let step = "-f lavfi -i mandelbrot=s=1920x1080:r=25 -frames:v 60 -pix_fmt yuv420p -c:v libx264 -preset ultrafast";
    let looped = clip("slow.mp4", &[words(step), remux("-stream_loop 24", "")]);
    let files = vec![("slow.mp4", std::fs::read(looped).unwrap()), ("film.mp4", film())];
    let flags = ["--all-frames", "--video-timeout", "2s", "--min-face-px", "1000"];
    let (landed, finished) = sweep(&files, &flags);
    let row = media(&landed, "slow.mp4");
    assert_eq!((row["status"].as_str(), row["error_class"].as_str()), (Some("rejected"), Some("timed_out")), "{row:?}");
    assert_eq!(media(&landed, "film.mp4")["frames_decoded"].as_u64(), Some(49));
    assert!(finished.elapsed < Duration::from_secs(60), "{:?}", finished.elapsed);
}

// --- Damage.

/// Sane whatever became of it: a reason where there is nothing, no more frames than there can be, each with its face or
/// without one.
fn check_sane(landed: &Landed, key: &str, most: u64) -> Row {
    let row = media(landed, key);
    let decoded = row["frames_decoded"].as_u64().unwrap();
    assert!(decoded <= most, "{key}: {row:?}");
    assert_eq!(row["status"] == "rejected", !row["error_class"].is_null(), "{key}: {row:?}");
    let frames = rows(landed, "frames").into_iter().filter(|frame| frame["key"] == key).count() as u64;
    assert_eq!(frames, if row["status"] == "rejected" { 0 } else { decoded }, "{key}: {row:?}");
    row
}

#[test]
fn a_cut_video_gives_the_frames_that_are_left_of_it() {
    let cut = |name: &str, output: &str, keep: f64| {
        let whole = std::fs::read(clip(name, &[encode(49, "format=yuv420p", output)])).unwrap();
        whole[..(whole.len() as f64 * keep) as usize].to_vec()
    };
    let fragmented = format!("{SMALL} -movflags frag_keyframe+empty_moov");
    let first = format!("{SMALL} -movflags +faststart");
    let files = vec![
        ("no_index.mp4", cut("cut.mp4", SMALL, 0.6)),
        ("index_first.mp4", cut("cut_index_first.mp4", &first, 0.6)),
        ("fragmented.mp4", cut("cut_fragmented.mp4", &fragmented, 0.6)),
        ("cut.mkv", cut("cut.mkv", SMALL, 0.6)),
        ("cut.ts", cut("cut.ts", SMALL, 0.6)),
        ("cut.avi", cut("cut.avi", "-c:v mpeg4 -q:v 3 -g 12", 0.6)),
        ("start.mp4", cut("cut.mp4", SMALL, 0.0005)),
        ("start.mkv", cut("cut.mkv", SMALL, 0.003)),
    ];
    let (landed, _) = sweep(&files, &["--all-frames"]);
    for key in ["no_index.mp4", "start.mp4", "start.mkv"] {
        let row = check_sane(&landed, key, 0);
        assert_eq!(row["status"], "rejected", "{key}: {row:?}");
    }
    for key in ["index_first.mp4", "fragmented.mp4", "cut.mkv", "cut.ts", "cut.avi"] {
        let row = check_sane(&landed, key, 49);
        assert!(row["frames_decoded"].as_u64().unwrap() >= 20, "{key}: {row:?}");
    }
    // What the index promises and the file has not is said.
    let row = media(&landed, "index_first.mp4");
    assert!(row["frames_sampled"].as_u64() > row["frames_decoded"].as_u64(), "{row:?}");
    assert!(row["decoder_message"].as_str().is_some_and(|said| !said.is_empty()), "{row:?}");
}

#[test]
fn a_picture_size_that_changes_on_the_way_mixes_no_frames_up() {
    // Two programmes behind each other in one stream, as television has them.
    let large = std::fs::read(clip("large.ts", &[encode(49, "format=yuv420p", SMALL)])).unwrap();
    let small = std::fs::read(clip("small.ts", &[encode(49, "scale=240:136,format=yuv420p", SMALL)])).unwrap();
    let (landed, _) = sweep(&[("both.ts", [large, small].concat())], &["--all-frames"]);
    check_sane(&landed, "both.ts", 98);
    let frames: Vec<Row> = rows(&landed, "frames");
    let of_first = frames.iter().filter(|frame| frame["frame_index"].as_u64() < Some(49));
    assert!(of_first.clone().all(|frame| frame["n_faces"].as_u64() >= Some(1)), "{frames:?}");
}

// --- Beside pictures.

#[test]
fn images_and_videos_in_one_folder_have_the_rows_that_they_have_alone() {
    let pictures = folder_of_pictures();
    let videos = tempfile::tempdir().unwrap();
    std::fs::write(videos.path().join("film.mp4"), film()).unwrap();
    std::fs::write(videos.path().join("broken.mp4"), &film()[..2_000]).unwrap();
    let both = tempfile::tempdir().unwrap();
    for folder in [pictures.path(), videos.path()] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, both.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let flags = ["--frames", "5"];
    let (together, images, films) =
        (from_folder(both.path(), &flags), from_folder(pictures.path(), &flags), from_folder(videos.path(), &flags));
    for (alone, keys) in [(&images, &PICTURES[..]), (&films, &["film.mp4", "broken.mp4"][..])] {
        for table in TABLES.iter().filter(|table| **table != "embeddings") {
            compare(&together, alone, table, keys);
        }
    }
    let index = |row: &Row| (row["frame_index"].as_i64(), row["pts_s"].is_null());
    for row in rows(&together, "frames") {
        let still = row["key"] != "film.mp4";
        assert_eq!(index(&row).1, still, "{row:?}");
        assert!(!still || index(&row).0 == Some(0), "{row:?}");
    }
    let kinds = column(&rows(&together, "media"), "kind");
    assert_eq!(kinds.iter().filter(|kind| *kind == "video").count(), 2, "{kinds:?}");
}

/// Rows of these keys in both, without what a folder's own path and an attempt's own time make of them.
fn compare(found: &Landed, expected: &Landed, table: &str, keys: &[&str]) {
    let of = |landed: &Landed| -> Vec<Row> {
        let of_keys = rows(landed, table).into_iter().filter(|row| keys.contains(&row["key"].as_str().unwrap()));
        of_keys.map(|row| without(&row, &OF_THE_STORE)).collect()
    };
    assert_eq!(of(found), of(expected), "{table}");
}
