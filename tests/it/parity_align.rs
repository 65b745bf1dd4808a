//! Five landmarks to an upright square as skimage and OpenCV 4 do it (`tests/golden/align.py`).
//!
//! A millionth of a pixel between the two ways to the same least squares, one by a decomposition in f64, one in closed
//! form; the pixels are the same, since the arithmetic is OpenCV's own.

use deepsweep::networks::align::{Alignment, MAX_ALIGN_PX, School, Similarity, align5, place};
use image::{Rgb, RgbImage};
use serde::Deserialize;

const MAX_APART_PX: f64 = 1e-6;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    landmarks: [[f32; 2]; 5],
    school: School,
    scale: f64,
    align_px: Option<u32>,
    side_px: u32,
    /// Rows, from the picture to the square.
    matrix: [[f64; 3]; 2],
    /// Which landmarks the reference let count.
    counts: [bool; 5],
    picture: Option<String>,
    output: Option<String>,
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(crate::root().join("tests/golden/align.json")).unwrap();
    let golden: Golden = serde_json::from_str(&text).unwrap();
    assert!(golden.cases.len() >= 70, "the goldens are incomplete");
    golden.cases
}

fn alignment(case: &Case) -> Alignment {
    Alignment { school: case.school, scale: case.scale, side_px: case.align_px }
}

#[test]
fn a_face_lies_in_its_square_where_skimage_and_opencv_put_it() {
    let mut left_out = 0;
    for case in cases() {
        let found = place(case.landmarks, alignment(&case)).unwrap();
        assert_eq!(found.side_px, case.side_px, "{}", case.name);
        let Similarity { a, b, shift } = found.to_square;
        for [x, y] in case.landmarks.map(|point| point.map(f64::from)) {
            let found = [a * x - b * y + shift[0], b * x + a * y + shift[1]];
            for (found, row) in found.iter().zip(case.matrix) {
                let expected = row[0] * x + row[1] * y + row[2];
                assert!((found - expected).abs() <= MAX_APART_PX, "{}: expected {expected}, found {found}", case.name);
            }
        }
        left_out += usize::from(case.counts.contains(&false));
    }
    assert!(left_out >= 10, "the least median must have something to leave out, here in {left_out} cases");
}

#[test]
fn every_pixel_is_opencv_s_own() {
    let folder = crate::root().join("tests/golden");
    let mut compared = 0;
    for case in cases() {
        let (Some(picture), Some(output)) = (&case.picture, &case.output) else { continue };
        let [picture, expected] = [picture, output].map(|name| image::open(folder.join(name)).unwrap().to_rgb8());
        let found = align5(&picture, case.landmarks, alignment(&case)).unwrap();
        assert_eq!(found.dimensions(), expected.dimensions(), "{output}");
        let differences = found.as_raw().iter().zip(expected.as_raw()).map(|(a, b)| a.abs_diff(*b));
        let (worst, off) = (differences.clone().max(), differences.filter(|d| *d > 0).count());
        assert_eq!(off, 0, "{output}: {off} of {} values differ, by up to {worst:?}", found.as_raw().len());
        compared += 1;
    }
    assert!(compared >= 10, "the goldens are incomplete");
}

const FACE: [[f32; 2]; 5] = [[34.0, 46.0], [66.0, 46.0], [50.0, 64.0], [37.0, 82.0], [63.0, 82.0]];
const PLAIN: Alignment = Alignment { school: School::GenD, scale: 1.0, side_px: None };

fn moved(by: [f32; 2], times: f32) -> [[f32; 2]; 5] {
    FACE.map(|[x, y]| [x * times + by[0], y * times + by[1]])
}

fn grey() -> RgbImage {
    RgbImage::from_pixel(100, 100, Rgb([7, 70, 200]))
}

/// Both schools, the face's own size and a given one.
fn check_none(landmarks: [[f32; 2]; 5]) {
    for school in [School::GenD, School::DeepfakeBench] {
        for side_px in [None, Some(64)] {
            let found = align5(&grey(), landmarks, Alignment { school, side_px, ..PLAIN });
            assert!(found.is_none(), "{landmarks:?} {school:?} {side_px:?}");
        }
    }
}

#[test]
fn landmarks_that_are_no_face_give_nothing() {
    check_none([[5.0, 5.0]; 5]);
    check_none([[0.0, 0.0]; 5]);
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for i in 0..5 {
            let mut landmarks = FACE;
            landmarks[i][1] = odd;
            check_none(landmarks);
        }
    }
}

#[test]
fn a_face_outside_the_picture_gives_nothing() {
    for by in [[200.0, 0.0], [0.0, -200.0], [1e7, 1e7], [-1e30, 0.0]] {
        check_none(moved(by, 1.0));
    }
}

#[test]
fn a_template_s_own_landmarks_give_the_picture_back() {
    let folder = crate::root().join("tests/golden/pictures");
    let picture = image::open(folder.join("astronaut.png")).unwrap().to_rgb8();
    let picture = image::imageops::crop_imm(&picture, 150, 30, 100, 100).to_image();
    assert!(align5(&picture, FACE, PLAIN).unwrap() == picture);
}

#[test]
fn faces_of_any_size_and_shape_are_bounded_work() {
    let started = std::time::Instant::now();
    // Larger than the picture a thousand times: all that is seen of it lies between its eyes and its mouth.
    let huge = align5(&grey(), moved([-60_000.0, -60_000.0], 1000.0), PLAIN);
    assert_eq!(huge.map(|square| square.dimensions()), Some((MAX_ALIGN_PX, MAX_ALIGN_PX)));
    // Smaller than a pixel.
    let tiny = moved([50.0, 50.0], 0.001);
    let small = Alignment { side_px: Some(32), ..PLAIN };
    assert!(align5(&grey(), tiny, PLAIN).is_none(), "a square of no pixel");
    assert!(align5(&grey(), tiny, small).is_some());
    // As far apart as numbers go: whatever comes of it, it comes.
    let apart = [[f32::MAX, 0.0], [f32::MIN, 0.0], [0.0, f32::MAX], [f32::MIN, f32::MIN], [f32::MAX, f32::MAX]];
    for school in [School::GenD, School::DeepfakeBench] {
        let _ = align5(&grey(), apart, Alignment { school, ..small });
    }
    // On one line, which has a similarity all the same.
    let line = [10.0, 20.0, 40.0, 70.0, 80.0].map(|at| [at, at]);
    for school in [School::GenD, School::DeepfakeBench] {
        assert!(align5(&grey(), line, Alignment { school, ..small }).is_some());
    }
    assert!(align5(&RgbImage::new(1, 1), moved([-50.0, -60.0], 1.0), PLAIN).is_some());
    assert!(align5(&RgbImage::new(0, 0), FACE, PLAIN).is_none());
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}
