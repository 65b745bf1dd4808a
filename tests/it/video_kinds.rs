//! Kinds of videos that players show right and that are easily read wrong with nobody noticing. The face stands where the
//! frame's number says (`clips`), so a wrong frame, a frame of noise and a frame that is not upright all fail.

use std::path::Path;

use deepsweep::media::tone::{self, DeepImage, HdrTransfer, Primaries};
use serde_json::Value;

use crate::clips::{STEP_PX, clip, encode, face_centre_px, remux, words};
use crate::program::{Landed, Row, media, rows};
use crate::video_bad::{SMALL, check_refused, sweep};

fn made(name: &str, frames: usize, encoder: &str) -> Vec<u8> {
    std::fs::read(clip(name, &[encode(frames, "format=yuv420p", encoder)])).unwrap()
}

fn committed(name: &str) -> Vec<u8> {
    std::fs::read(crate::root().join("tests/media/video").join(name)).unwrap()
}

fn of_media(landed: &Landed, table: &str, key: &str) -> Vec<Row> {
    rows(landed, table).into_iter().filter(|row| row["key"] == key).collect()
}

/// Every frame of the clip shows its own number, counted by `source_frame`, at the time `pts_s` says.
fn check_frames(landed: &Landed, key: &str, decoded: usize, source_frame: impl Fn(usize) -> usize) -> Vec<Row> {
    let row = media(landed, key);
    assert_eq!(row["status"], "ok", "{key}: {row:?}");
    assert_eq!(row["frames_decoded"].as_u64(), Some(decoded as u64), "{key}: {row:?}");
    let (frames, faces) = (of_media(landed, "frames", key), of_media(landed, "faces", key));
    assert_eq!(frames.len(), decoded, "{key}");
    for frame in &frames {
        let index = frame["frame_index"].as_u64().unwrap() as usize;
        let (x, y) = face_centre_px(source_frame(index));
        let number = |face: &Row, name: &str| face[name].as_f64().unwrap();
        let centre = |face: &Row| {
            [("box_x0", "box_x1"), ("box_y0", "box_y1")]
                .map(|(from, to)| f64::midpoint(number(face, from), number(face, to)))
        };
        let near =
            |[at_x, at_y]: [f64; 2]| (at_x - x).abs() < STEP_PX as f64 / 2.0 && (at_y - y).abs() < STEP_PX as f64 / 2.0;
        let of_frame: Vec<[f64; 2]> =
            faces.iter().filter(|face| face["frame_index"] == frame["frame_index"]).map(centre).collect();
        assert!(
            of_frame.iter().copied().any(near),
            "{key}: frame {index}: expected a face at {x}, {y}, found {of_frame:?}"
        );
    }
    frames
}

fn indexes(frames: &[Row]) -> Vec<u64> {
    frames.iter().map(|frame| frame["frame_index"].as_u64().unwrap()).collect()
}

fn check_times(frames: &[Row], key: &str, time_s: impl Fn(u64) -> f64) {
    for frame in frames {
        let (index, found) = (frame["frame_index"].as_u64().unwrap(), frame["pts_s"].as_f64().unwrap());
        assert!(
            (found - time_s(index)).abs() < 0.002,
            "{key}: frame {index}: expected {}, found {found}",
            time_s(index)
        );
    }
}

fn message(landed: &Landed, key: &str) -> String {
    media(landed, key)["decoder_message"].as_str().unwrap_or_default().to_owned()
}

// --- Noise after a seek.

/// `old_x264_444.mp4` is High 4:4:4 Predictive by x264 core 148, whose faulty bitstream ffmpeg decodes right where it has seen
/// the message in the first packet that names the encoder. Two people are in every frame.
fn check_old_x264(seconds: u64, flags: &[&[&str]]) {
    let folder = tempfile::tempdir().unwrap();
    let source = crate::root().join("tests/media/video/old_x264_444.mp4");
    let long = folder.path().join("long.mp4");
    let loops = (seconds / 4 - 1).to_string();
    let mut command = std::process::Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-stream_loop", &loops, "-i"]).arg(source).args(["-c", "copy"]).arg(&long);
    assert!(command.status().unwrap().success());
    let bytes = std::fs::read(&long).unwrap();
    for flags in flags {
        let (landed, _) = sweep(&[("long.mp4", bytes.clone())], flags);
        let row = media(&landed, "long.mp4");
        assert_eq!((&row["status"], &row["decoder_message"]), (&"ok".into(), &Value::Null), "{flags:?}: {row:?}");
        assert_eq!(row["frames_sampled"], row["frames_decoded"], "{flags:?}: {row:?}");
        for frame in rows(&landed, "frames") {
            assert_eq!(frame["n_faces"], 2, "{flags:?}: {frame:?}");
        }
    }
}

#[test]
fn what_an_old_encoder_did_wrong_is_known_after_every_seek() {
    let all: [&[&str]; 7] = [
        &["--frames", "1"],
        &["--frames", "2"],
        &["--frames", "4"],
        &["--frames", "8"],
        &["--frames", "32"],
        &["--every", "310ms"],
        &["--keyframes"],
    ];
    check_old_x264(4, &all);
    check_old_x264(300, &[&["--frames", "8"]]);
}

#[test]
#[ignore = "nightly: an hour of video, decoded from its beginning several times"]
fn what_an_old_encoder_did_wrong_is_known_an_hour_later() {
    check_old_x264(
        3_600,
        &[&["--frames", "1"], &["--frames", "4"], &["--frames", "32"], &["--keyframes", "--max-frames", "100000"]],
    );
}

// --- Clocks.

#[test]
fn joined_recordings_are_one_video_whose_clock_goes_on() {
    let first = made("first.ts", 49, SMALL);
    let (landed, _) = sweep(
        &[("joined.ts", [first.clone(), made("second.ts", 30, SMALL)].concat()), ("thrice.ts", first.repeat(3))],
        &["--all-frames"],
    );
    let frames = check_frames(&landed, "joined.ts", 79, |index| index % 49);
    check_times(&frames, "joined.ts", |index| index as f64 / 25.0);
    let frames = check_frames(&landed, "thrice.ts", 147, |index| index % 49);
    check_times(&frames, "thrice.ts", |index| index as f64 / 25.0);
    assert!(message(&landed, "joined.ts").contains("clock"), "{}", message(&landed, "joined.ts"));
}

#[test]
fn two_pictures_in_one_packet_of_the_container_are_two_frames() {
    let (landed, _) = sweep(&[("pairs.ts", committed("ts_two_frames_per_pes.ts"))], &["--all-frames"]);
    let row = media(&landed, "pairs.ts");
    // PyAV 18.1 and OpenCV 4.14 give 100 frames over four seconds.
    assert_eq!((&row["frames_decoded"], &row["frames_with_face"]), (&100.into(), &100.into()), "{row:?}");
    let frames = rows(&landed, "frames");
    assert_eq!(indexes(&frames), (0..100).collect::<Vec<_>>());
    check_times(&frames, "pairs.ts", |index| index as f64 / 25.0);
}

#[test]
fn elementary_streams_have_frames_and_times() {
    let files = [
        ("raw.h264", made("raw.h264", 49, SMALL)),
        (
            "raw.hevc",
            made(
                "raw.hevc",
                49,
                "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=12:bframes=3 -f hevc",
            ),
        ),
        ("raw.m2v", made("raw.m2v", 49, "-c:v mpeg2video -q:v 2 -g 12 -bf 2")),
    ];
    let (landed, _) = sweep(&files, &["--frames", "9"]);
    for (key, _) in &files {
        let frames = check_frames(&landed, key, 9, |index| index);
        check_times(&frames, key, |index| index as f64 / 25.0);
        assert_eq!(media(&landed, key)["container"], if *key == "raw.m2v" { "mpegvideo" } else { &key[4..] });
    }
}

#[test]
fn a_pause_takes_no_frame_from_the_rest() {
    let pause = "settb=1/12800,setpts='(N+1500*gte(N,50))*512',format=yuv420p";
    let encoder = "-vsync passthrough -enc_time_base 1:12800 -c:v libx264 -preset ultrafast -crf 20 -g 12";
    let pause = std::fs::read(clip("pause.mp4", &[encode(100, pause, encoder)])).unwrap();
    for count in [1, 2, 4, 8, 32, 64] {
        let (landed, _) = sweep(&[("pause.mp4", pause.clone())], &["--frames", &count.to_string()]);
        let frames = check_frames(&landed, "pause.mp4", count, |index| index);
        check_times(&frames, "pause.mp4", |index| index as f64 / 25.0 + if index >= 50 { 60.0 } else { 0.0 });
        let found = indexes(&frames);
        let widest = found.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        assert!(widest as usize <= 2 * 100 / count, "{count}: {found:?}");
    }
}

#[test]
fn one_wrong_time_does_not_stretch_the_video() {
    // The last block of Matroska, whose time is two bytes behind the track's number, counts from its cluster.
    let wrong = "settb=1/1000,setpts='if(eq(N,99),9000000,N*40)',format=yuv420p";
    let encoder = "-vsync passthrough -enc_time_base 1:1000 -c:v libx264 -preset ultrafast -crf 20 -g 12";
    let files = [("stray.mkv", std::fs::read(clip("stray.mkv", &[encode(100, wrong, encoder)])).unwrap())];
    let (landed, _) = sweep(&files, &["--frames", "32"]);
    let row = media(&landed, "stray.mkv");
    let found = indexes(&check_frames(&landed, "stray.mkv", 32, |index| index.min(98) + usize::from(index == 99)));
    assert!(found.windows(2).all(|pair| pair[1] - pair[0] <= 4), "{found:?}");
    assert!(row["duration_s"].as_f64().unwrap() < 5.0, "{row:?}");
    assert!(message(&landed, "stray.mkv").contains("last frame"), "{row:?}");
}

// --- Streams.

#[test]
fn a_multiplex_of_many_streams_and_a_first_video_without_packets_are_read() {
    let sound = ["-map 2:a"; 70].join(" ");
    let many = crate::clips::encode_beside(
        25,
        &["-f lavfi -i sine=d=1:r=8000"],
        "format=yuv420p",
        &format!("{sound} {SMALL} -c:a mp2 -ar 16000 -b:a 32k"),
    );
    let many = std::fs::read(clip("many.ts", &[many])).unwrap();
    // In the map of the program the first video gets a number that no packet has.
    let two = crate::clips::encode_beside(
        49,
        &["-f lavfi -i color=s=64x64:r=25:d=0.04"],
        "format=yuv420p",
        &format!("-map 2:v {SMALL}"),
    );
    let mut two = std::fs::read(clip("two.ts", &[two])).unwrap();
    two.chunks_mut(188).filter(|packet| packet[1] & 0x1f == 1 && packet[2] == 1).for_each(|packet| {
        // The second video's number; its packets become padding.
        packet[1] |= 0x1f;
        packet[2] = 0xff;
    });
    let (landed, _) = sweep(&[("many.ts", many), ("two.ts", two)], &["--all-frames"]);
    check_frames(&landed, "many.ts", 25, |index| index);
    check_frames(&landed, "two.ts", 49, |index| index);
}

#[test]
fn a_file_that_begins_behind_the_header_of_its_download_is_read() {
    let junk = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n";
    let (landed, _) = sweep(&[("junk.mp4", [&junk[..], &made("film.mp4", 49, SMALL)].concat())], &["--frames", "7"]);
    let frames = check_frames(&landed, "junk.mp4", 7, |index| index);
    check_times(&frames, "junk.mp4", |index| index as f64 / 25.0);
}

/// Splits every superframe of VP9 (its Annex B) into packets of their own, in IVF.
fn split_superframes(ivf: &[u8]) -> Vec<u8> {
    let mut split = ivf[..32].to_vec();
    let mut at = 32;
    let mut hidden = 0;
    while at + 12 <= ivf.len() {
        let size = u32::from_le_bytes(ivf[at..at + 4].try_into().unwrap()) as usize;
        let (time, packet) = (&ivf[at + 4..at + 12], &ivf[at + 12..at + 12 + size]);
        at += 12 + size;
        let marker = *packet.last().unwrap();
        let (frames, bytes) = ((marker & 7) as usize + 1, (marker >> 3 & 3) as usize + 1);
        let index = 2 + frames * bytes;
        let mut pieces = vec![packet];
        if marker & 0xe0 == 0xc0 && packet.len() > index && packet[packet.len() - index] == marker {
            let sizes = packet[packet.len() - index + 1..].chunks(bytes).take(frames);
            let (mut from, mut found) = (0, vec![]);
            for size in sizes {
                let size = size.iter().rev().fold(0, |size, byte| size << 8 | usize::from(*byte));
                found.push(&packet[from..from + size]);
                from += size;
            }
            hidden += frames - 1;
            pieces = found;
        }
        for piece in pieces {
            split.extend((piece.len() as u32).to_le_bytes());
            split.extend(time);
            split.extend(piece);
        }
    }
    assert!(hidden > 0, "the encoder hid no frame");
    split
}

#[test]
fn frames_that_are_never_shown_are_not_counted() {
    let encoder = "-c:v libvpx-vp9 -deadline good -cpu-used 8 -b:v 1M -g 48 -auto-alt-ref 1 -lag-in-frames 16";
    let pass = |pass| encode(49, "format=yuv420p", &format!("{encoder} -pass {pass} -passlogfile {{folder}}/log"));
    let split = split_superframes(&std::fs::read(clip("hidden.ivf", &[pass(1), pass(2)])).unwrap());
    let (landed, _) = sweep(&[("hidden.ivf", split)], &["--frames", "12"]);
    let frames = check_frames(&landed, "hidden.ivf", 12, |index| index);
    check_times(&frames, "hidden.ivf", |index| index as f64 / 25.0);
}

#[test]
fn a_size_that_the_container_makes_up_is_not_believed() {
    let mut file = made("lie.mkv", 25, "-c:v libsvtav1 -preset 12 -crf 20 -g 12");
    // PixelWidth of 480 and PixelHeight of 272 become 240 and 272.
    let at = file.windows(4).position(|window| window == [0xb0, 0x82, 0x01, 0xe0]).unwrap();
    file[at + 2..at + 4].copy_from_slice(&240_u16.to_be_bytes());
    let (landed, _) = sweep(&[("lie.mkv", file)], &["--frames", "5"]);
    let row = media(&landed, "lie.mkv");
    assert_eq!((&row["width"], &row["height"]), (&480.into(), &272.into()), "{row:?}");
    check_frames(&landed, "lie.mkv", 5, |index| index);
}

// --- What nobody can see.

fn ffmpeg(arguments: &str, output: &Path) {
    let mut command = std::process::Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y"]).args(words(arguments)).arg(output);
    assert!(command.status().unwrap().success(), "{command:?}");
}

#[test]
fn what_is_encrypted_is_said_so_and_no_frame_of_it_is_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let plain = clip("plain.mp4", &[encode(49, "format=yuv420p", SMALL)]);
    let keys = "-encryption_scheme cenc-aes-ctr -encryption_key 0123456789abcdef0123456789abcdef \
                -encryption_kid 00000000000000000000000000000000";
    let mut files = vec![];
    for (name, more) in [("cenc.mp4", ""), ("fragments.mp4", "-movflags frag_keyframe+empty_moov")] {
        let path = folder.path().join(name);
        ffmpeg(&format!("-i {} -c copy {keys} {more}", plain.display()), &path);
        files.push((name, std::fs::read(path).unwrap()));
    }
    // Scrambled: the bits of every packet that carries the video say so.
    let mut scrambled = made("scrambled.ts", 49, SMALL);
    for packet in scrambled.chunks_mut(188).filter(|packet| packet[1] & 0x1f == 1 && packet[2] == 0) {
        packet[3] |= 0x80;
        packet[30..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    }
    files.push(("scrambled.ts", scrambled));
    let (landed, _) = sweep(&files, &[]);
    for (key, _) in &files {
        check_refused(&landed, key, &["encrypted"]);
        assert_eq!(media(&landed, key)["kind"], "video", "{key}");
    }
}

#[test]
fn a_segment_without_its_beginning_is_said_so() {
    let whole = std::fs::read(clip(
        "whole.mp4",
        &[encode(49, "format=yuv420p", SMALL), remux("", "-movflags frag_keyframe+empty_moov+default_base_moof")],
    ))
    .unwrap();
    let fragment = whole.windows(4).position(|window| window == b"moof").unwrap() - 4;
    let live = made("whole.webm", 25, "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 1M -g 12");
    let cluster = live.windows(4).position(|window| window == [0x1f, 0x43, 0xb6, 0x75]).unwrap();
    let styp = [&24_u32.to_be_bytes()[..], b"stypmsdh\0\0\0\0msdhmsix"].concat();
    let files = [
        ("bare.m4s", whole[fragment..].to_vec()),
        ("typed.m4s", [&styp[..], &whole[fragment..]].concat()),
        ("bare.webm", live[cluster..].to_vec()),
    ];
    let (landed, _) = sweep(&files, &[]);
    for (key, _) in &files {
        check_refused(&landed, key, &["incomplete"]);
        assert!(media(&landed, key)["error_message"].as_str().unwrap().contains("initialization segment"), "{key}");
    }
}

// --- HDR and memory.

/// SDR → light of the display → what HDR shows alike, by zimg.
fn to_hdr(transfer: &str) -> String {
    format!(
        "format=yuv420p,setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv,zscale=t=linear:npl=203,\
         format=gbrpf32le,zscale=p=bt2020:npl=203,zscale=t={transfer}:m=2020_ncl:r=tv:npl=203,format=yuv420p10le"
    )
}

fn hdr_clip(transfer: &str) -> std::path::PathBuf {
    let coding = format!("colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc");
    let encoder = format!("-c:v libx265 -preset ultrafast -crf 12 -x265-params log-level=none:keyint=12:{coding}");
    clip(&format!("{transfer}.mp4"), &[encode(12, &to_hdr(transfer), &encoder)])
}

#[test]
fn hdr_is_seen_as_on_a_screen_without_it() {
    for transfer in ["smpte2084", "arib-std-b67"] {
        let hdr = std::fs::read(hdr_clip(transfer)).unwrap();
        let (landed, _) = sweep(&[("hdr.mp4", hdr), ("sdr.mp4", made("sdr.mp4", 12, SMALL))], &["--all-frames"]);
        check_frames(&landed, "hdr.mp4", 12, |index| index);
        assert_eq!(media(&landed, "hdr.mp4")["color_transfer"], transfer);
        assert_eq!(media(&landed, "sdr.mp4")["color_transfer"], Value::Null);
        let sharpness = |key: &str| {
            let faces = of_media(&landed, "faces", key);
            faces.iter().map(|face| face["sharpness"].as_f64().unwrap()).sum::<f64>() / faces.len() as f64
        };
        // Highlights are compressed, the rest is as in SDR; untouched, PQ had a quarter of it.
        let ratio = sharpness("hdr.mp4") / sharpness("sdr.mp4");
        assert!((0.7..1.4).contains(&ratio), "{transfer}: {} against {}", sharpness("hdr.mp4"), sharpness("sdr.mp4"));
    }
}

#[test]
fn hdr_is_mapped_as_the_filters_of_ffmpeg_map_it() {
    let pixels = |file: &Path, filters: &str| {
        let mut command = std::process::Command::new("ffmpeg");
        command.args(["-nostdin", "-v", "error", "-i"]).arg(file).args(["-frames:v", "1", "-vf", filters]);
        let output = command.args(["-f", "rawvideo", "pipe:1"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let apart = |one: &[u8], other: &[u8]| {
        let sum: u64 = one.iter().zip(other).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / one.len() as f64
    };
    for (transfer, kind) in [("smpte2084", HdrTransfer::Pq), ("arib-std-b67", HdrTransfer::Hlg)] {
        let hdr = hdr_clip(transfer);
        let raw =
            pixels(&hdr, "scale=in_color_matrix=bt2020:flags=bicubic+accurate_rnd+full_chroma_int,format=rgb48le");
        let samples = raw.chunks(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]])).collect();
        let ours = tone::to_sdr(&DeepImage::from_raw(480, 272, samples).unwrap(), kind, Primaries::Bt2020);
        let reference = pixels(
            &hdr,
            "zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709:npl=203,tonemap=mobius:param=0.5:peak=4.926:desat=0,\
             zscale=t=bt709:npl=203,format=gbrp,format=rgb24",
        );
        assert_eq!(ours.as_raw().len(), reference.len());
        // Chroma is enlarged by different filters, which shows at the edges of the face.
        assert!(apart(ours.as_raw(), &reference) < 2.0, "{transfer}: {}", apart(ours.as_raw(), &reference));
        let sdr = pixels(
            &clip("sdr.mp4", &[encode(12, "format=yuv420p", SMALL)]),
            "scale=in_color_matrix=bt709,format=rgb24",
        );
        assert!(apart(ours.as_raw(), &sdr) < 5.0, "{transfer}: {}", apart(ours.as_raw(), &sdr));
    }
}

#[test]
fn a_video_that_is_too_large_names_the_memory_that_suffices() {
    let encoder = "-c:v libx265 -preset ultrafast -x265-params log-level=none";
    let large = clip("large.mp4", &[encode(3, "scale=4096:2304,format=yuv420p10le", encoder)]);
    let large = std::fs::read(large).unwrap();
    let (landed, _) = sweep(&[("large.mp4", large.clone())], &["--memory", "256MiB"]);
    check_refused(&landed, "large.mp4", &["too_large"]);
    let said = media(&landed, "large.mp4")["error_message"].as_str().unwrap().to_owned();
    let memory = said.split("--memory ").last().unwrap().split(' ').next().unwrap();
    let (landed, _) = sweep(&[("large.mp4", large)], &["--memory", memory]);
    assert_eq!(media(&landed, "large.mp4")["frames_decoded"], 3, "{memory}");
}

// --- Parameter sets and refreshes that change on the way.

/// NAL units of an elementary stream, each without its start code.
fn units(stream: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = (0..stream.len() - 3).filter(|at| stream[*at..at + 3] == [0, 0, 1]).collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    starts.iter().zip(ends).map(|(start, end)| without_zeros(&stream[start + 3..end])).collect()
}

/// Zeros at the end belong to the next start code.
fn without_zeros(unit: &[u8]) -> &[u8] {
    &unit[..unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)]
}

/// So large that seeking is worth it between frames that are this far apart.
const LARGE: &str = "scale=1920:1088,format=yuv420p";

#[test]
fn parameter_sets_that_are_sent_once_on_the_way_are_known_after_every_seek() {
    let folder = tempfile::tempdir().unwrap();
    let part = |name: &str, options: &str| {
        let encoder = format!("-c:v libx264 -preset superfast -bf 0 -x264opts keyint=10:scenecut=0:{options}");
        std::fs::read(clip(name, &[encode(40, LARGE, &encoder)])).unwrap()
    };
    let (first, second) = (part("first.h264", "repeat-headers=1"), part("second.h264", "cabac=0"));
    // Of the second part the sets at its first picture alone.
    let mut has_begun = false;
    let second = units(&second).into_iter().filter(|unit| {
        let kind = unit[0] & 31;
        let keep = !has_begun || !matches!(kind, 7 | 8);
        has_begun |= kind == 5;
        keep
    });
    let joined: Vec<u8> = [first, second.flat_map(|unit| [&[0, 0, 0, 1], unit].concat()).collect()].concat();
    let raw = folder.path().join("joined.h264");
    std::fs::write(&raw, joined).unwrap();
    let mut files = vec![];
    for name in ["joined.mkv", "joined.mp4"] {
        let path = folder.path().join(name);
        ffmpeg(&format!("-f h264 -framerate 25 -i {} -c copy", raw.display()), &path);
        files.push((name, std::fs::read(path).unwrap()));
    }
    let (landed, _) = sweep(&files, &["--frames", "5", "--min-face-px", "100"]);
    for (key, _) in &files {
        let row = media(&landed, key);
        assert_eq!((&row["frames_decoded"], &row["frames_with_face"]), (&5.into(), &5.into()), "{row:?}");
    }
}

#[test]
fn pictures_of_an_intra_refresh_that_begins_later_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let plain = clip("plain.ts", &[encode(40, LARGE, "-c:v libx264 -preset superfast -bf 0 -g 10 -sc_threshold 0")]);
    let options = "keyint=10:scenecut=0:intra-refresh=1";
    let refreshed = format!("-c:v libx264 -preset superfast -bf 0 -x264opts {options} -output_ts_offset 1.6");
    let refreshed = clip("refreshed.ts", &[encode(40, LARGE, &refreshed)]);
    let list = folder.path().join("list.txt");
    std::fs::write(&list, format!("file '{}'\nfile '{}'\n", plain.display(), refreshed.display())).unwrap();
    let joined = folder.path().join("joined.mp4");
    ffmpeg(&format!("-f concat -safe 0 -i {} -c copy", list.display()), &joined);
    let files = [("joined.mp4", std::fs::read(joined).unwrap())];
    let faces = |flags: &[&str]| {
        let (landed, _) = sweep(&files, flags);
        let of_frame = |face: &Row| (face["frame_index"].as_i64().unwrap(), face["box_x0"].as_f64().unwrap());
        let mut faces: Vec<(i64, f64)> = rows(&landed, "faces").iter().map(of_frame).collect();
        faces.sort_by(|a, b| a.partial_cmp(b).unwrap());
        faces
    };
    let whole = faces(&["--all-frames", "--min-face-px", "100"]);
    let sampled = faces(&["--frames", "5", "--min-face-px", "100"]);
    assert!(sampled.len() >= 5, "{sampled:?}");
    for face in sampled {
        assert!(whole.contains(&face), "{face:?} is not among what decoding from the beginning shows");
    }
}

#[test]
fn a_shape_that_changes_on_the_way_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let part = |name: &str, shape: &str, offset: &str| {
        let filters = format!("scale=720:576,setdar={shape},format=yuv420p");
        clip(name, &[encode(25, &filters, &format!("-c:v mpeg2video -q:v 3 -g 12 -output_ts_offset {offset}"))])
    };
    let (wide, narrow) = (part("wide.ts", "16/9", "0"), part("narrow.ts", "4/3", "1"));
    let list = folder.path().join("list.txt");
    std::fs::write(&list, format!("file '{}'\nfile '{}'\n", wide.display(), narrow.display())).unwrap();
    let joined = folder.path().join("joined.ts");
    ffmpeg(&format!("-f concat -safe 0 -i {} -c copy", list.display()), &joined);
    let files = [("joined.ts", std::fs::read(joined).unwrap()), ("wide.ts", std::fs::read(wide).unwrap())];
    let (landed, _) = sweep(&files, &["--frames", "4"]);
    assert!(message(&landed, "joined.ts").contains("described anew"), "{:?}", media(&landed, "joined.ts"));
    assert_eq!(message(&landed, "wide.ts"), "");
}
