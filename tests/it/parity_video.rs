//! Faces in the frames of `tests/media/good/clip.mp4` as facenet-pytorch 2.6.0 finds them in the frames that OpenCV
//! decodes (`tests/golden/video.py`): the same frames by their numbers, the same faces.
//!
//! `DEEPSWEEP_VIDEO_GOLDEN` names what the script wrote of another video, which is then compared too.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::program::{Row, Sweep, landed_in_folder, media, rows};

const VARIABLE: &str = "DEEPSWEEP_VIDEO_GOLDEN";

/// Decoders may differ by a grey level, which moves a box by some hundredths of itself.
const MIN_IOU: f64 = 0.9;
/// A face that is no measure, because a grey level moves it, must still be somewhere near.
const MIN_IOU_UNSTEADY: f64 = 0.5;

#[derive(Deserialize)]
struct Golden {
    /// Seen from the root of the repository.
    video: PathBuf,
    sha256: String,
    width: i64,
    height: i64,
    frames_in_all: usize,
    min_face_px: u32,
    frames: Vec<Frame>,
}

#[derive(Deserialize)]
struct Frame {
    index: usize,
    steady: Vec<Face>,
    unsteady: Vec<Face>,
}

#[derive(Deserialize, Debug)]
struct Face {
    #[serde(rename = "box")]
    bounds: [f64; 4],
}

fn bounds(row: &Row) -> [f64; 4] {
    ["box_x0", "box_y0", "box_x1", "box_y1"].map(|name| row[name].as_f64().unwrap())
}

fn iou(a: [f64; 4], b: [f64; 4]) -> f64 {
    let inter = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0) * (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let area = |c: [f64; 4]| (c[2] - c[0]) * (c[3] - c[1]);
    inter / (area(a) + area(b) - inter)
}

fn nearest(one: [f64; 4], others: &[[f64; 4]]) -> f64 {
    others.iter().map(|other| iou(one, *other)).fold(0.0, f64::max)
}

fn check(golden: &Path) {
    use sha2::{Digest, Sha256};

    let golden: Golden = serde_json::from_str(&std::fs::read_to_string(golden).unwrap()).unwrap();
    let video = crate::root().join(&golden.video);
    let found: String = Sha256::digest(std::fs::read(&video).unwrap()).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(found, golden.sha256, "{} is not the video that the golden numbers are of", video.display());

    let out = tempfile::tempdir().unwrap();
    let size = golden.min_face_px.to_string();
    let flags = ["--all-frames", "--min-face-px", &size];
    let [source, destination] = [video.as_path(), out.path()].map(|path| path.to_str().unwrap());
    Sweep { source, out: destination, scorer: "none", flags: &flags }.succeed(&[]);
    let landed = landed_in_folder(out.path());
    let row = media(&landed, video.file_name().unwrap().to_str().unwrap());
    assert_eq!((row["width"].as_i64(), row["height"].as_i64()), (Some(golden.width), Some(golden.height)));
    assert_eq!(row["frames_decoded"].as_u64(), Some(golden.frames_in_all as u64));

    let faces = rows(&landed, "faces");
    let (mut least, mut matched, mut wrong) = (1.0_f64, 0, vec![]);
    for frame in &golden.frames {
        let of_frame = faces.iter().filter(|row| row["frame_index"].as_u64() == Some(frame.index as u64));
        let ours: Vec<[f64; 4]> = of_frame.map(bounds).collect();
        for face in &frame.steady {
            let near = nearest(face.bounds, &ours);
            least = least.min(near);
            matched += 1;
            if near < MIN_IOU {
                wrong.push(format!("frame {}: {face:?}: nearest of {ours:?} at IoU {near:.3}", frame.index));
            }
        }
        let steady: Vec<[f64; 4]> = frame.steady.iter().map(|face| face.bounds).collect();
        let unsteady: Vec<[f64; 4]> = frame.unsteady.iter().map(|face| face.bounds).collect();
        let stray =
            |face: &&[f64; 4]| nearest(**face, &steady) < MIN_IOU && nearest(**face, &unsteady) < MIN_IOU_UNSTEADY;
        wrong.extend(ours.iter().filter(stray).map(|face| format!("frame {}: {face:?} is nobody's", frame.index)));
    }
    println!("{}: {matched} faces, the least IoU {least:.3}", video.display());
    assert!(wrong.is_empty(), "{} of {matched}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(matched > 30, "{matched} faces are too few to tell");
}

#[test]
fn the_faces_of_a_video_are_those_that_facenet_pytorch_finds_in_opencv_s_frames() {
    check(&crate::root().join("tests/golden/video.json"));
}

#[test]
fn the_faces_of_another_video_too_where_one_is_named() {
    match std::env::var(VARIABLE) {
        Ok(golden) => check(Path::new(&golden)),
        Err(_) => println!("{VARIABLE} names none: nothing to compare"),
    }
}
