//! The faces of `tests/golden/pictures` as facenet-pytorch 2.6.0 finds them in the same pixels
//! (`tests/golden/mtcnn.py`), at three smallest faces, from a picture of one tiny face to a montage of nine; and what
//! each of the three networks says by itself.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use deepsweep::networks::mtcnn::{Face, Mtcnn, MtcnnSettings};
use serde::Deserialize;

/// Both sides compute in f32 in different orders; whole pixels of a P-Net box are the coarsest thing that can flip.
const MIN_IOU: f32 = 0.95;
const MAX_CONFIDENCE_DIFFERENCE: f32 = 0.01;
/// Landmarks: the larger of a pixel and this share of the box.
const MAX_LANDMARK_SHARE: f32 = 0.01;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    file: String,
    min_face_px: f32,
    faces: Vec<Reference>,
}

#[derive(Deserialize, Debug)]
struct Reference {
    #[serde(rename = "box")]
    bounds: [f32; 4],
    confidence: f32,
    landmarks: [[f32; 2]; 5],
}

#[test]
fn finds_the_faces_that_facenet_pytorch_finds_and_no_others() {
    check_all(&Mtcnn::new(&Device::Cpu).unwrap());
}

#[test]
fn finds_the_same_faces_in_candle_s_operations() {
    check_all(&Mtcnn::in_candle(&Device::Cpu).unwrap());
}

/// Probabilities, offsets and landmarks are of the size of 1; sums of up to 1,152 products in f32.
const NEAR: f32 = 1e-4;

#[test]
fn each_network_says_what_facenet_pytorch_s_says() {
    let golden = crate::root().join("tests/golden/mtcnn_stages.safetensors");
    let golden = candle_core::safetensors::load(golden, &Device::Cpu).unwrap();
    for mtcnn in [Mtcnn::new(&Device::Cpu).unwrap(), Mtcnn::in_candle(&Device::Cpu).unwrap()] {
        check_networks(&mtcnn, &golden);
    }
}

fn check_networks(mtcnn: &Mtcnn, golden: &HashMap<String, Tensor>) {
    let values = |name: &str| golden[name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let face =
        |name: &str| -> Vec<f32> { golden[name].narrow(1, 1, 1).unwrap().flatten_all().unwrap().to_vec1().unwrap() };

    let cells = mtcnn.p_net(&golden["pnet.in"], 0.0).unwrap();
    let (_, _, rows, columns) = golden["pnet.prob"].dims4().unwrap();
    assert_eq!(cells.len(), rows * columns);
    let offsets = values("pnet.reg");
    for (place, (cell, expected)) in cells.iter().zip(face("pnet.prob")).enumerate() {
        assert_eq!((cell.row, cell.column), (place / columns, place % columns));
        check_values("pnet.prob", &[expected], &[cell.probability]);
        let expected: [f32; 4] = std::array::from_fn(|i| offsets[i * rows * columns + place]);
        check_values("pnet.reg", &expected, &cell.offsets);
    }

    let found = mtcnn.r_net(&golden["rnet.in"]).unwrap();
    check_values("rnet.prob", &face("rnet.prob"), &found.confidences);
    check_values("rnet.reg", &values("rnet.reg"), found.offsets.as_flattened());

    let found = mtcnn.o_net(&golden["onet.in"]).unwrap();
    check_values("onet.prob", &face("onet.prob"), &found.confidences);
    check_values("onet.reg", &values("onet.reg"), found.offsets.as_flattened());
    check_values("onet.landmarks", &values("onet.landmarks"), found.landmarks.as_flattened());
}

fn check_values(what: &str, expected: &[f32], found: &[f32]) {
    assert_eq!(expected.len(), found.len(), "{what}");
    for (expected, found) in expected.iter().zip(found) {
        assert!((expected - found).abs() <= NEAR, "{what}: expected {expected}, found {found}");
    }
}

fn check_all(mtcnn: &Mtcnn) {
    let folder = crate::root().join("tests/golden");
    let golden: Golden = serde_json::from_str(&std::fs::read_to_string(folder.join("mtcnn.json")).unwrap()).unwrap();
    assert!(golden.cases.iter().map(|case| case.faces.len()).sum::<usize>() > 40, "the goldens are incomplete");
    for case in &golden.cases {
        let picture = image::open(folder.join(&case.file)).unwrap().to_rgb8();
        let settings = MtcnnSettings { min_face_px: case.min_face_px, ..Default::default() };
        let found = mtcnn.detect(&picture, &settings).unwrap();
        check(&format!("{} at {} px", case.file, case.min_face_px), &case.faces, &found);
    }
}

fn check(case: &str, expected: &[Reference], found: &[Face]) {
    assert_eq!(found.len(), expected.len(), "{case}: number of faces: {found:?}");
    for reference in expected {
        let best = found.iter().max_by(|a, b| iou(reference, a).total_cmp(&iou(reference, b))).unwrap();
        assert!(iou(reference, best) >= MIN_IOU, "{case}: {reference:?} has no match, nearest {best:?}");
        let difference = (reference.confidence - best.confidence).abs();
        assert!(difference <= MAX_CONFIDENCE_DIFFERENCE, "{case}: confidence: {reference:?}, {best:?}");
        let near = ((reference.bounds[2] - reference.bounds[0]) * MAX_LANDMARK_SHARE).max(1.0);
        for (expected, found) in reference.landmarks.iter().zip(best.landmarks) {
            let distance = (expected[0] - found[0]).hypot(expected[1] - found[1]);
            assert!(distance <= near, "{case}: landmark {expected:?}, found {found:?}");
        }
    }
}

fn iou(a: &Reference, b: &Face) -> f32 {
    let [ax0, ay0, ax1, ay1] = a.bounds;
    let b = b.bounds;
    let width = (ax1.min(b.x1) - ax0.max(b.x0)).max(0.0);
    let height = (ay1.min(b.y1) - ay0.max(b.y0)).max(0.0);
    let inter = width * height;
    inter / ((ax1 - ax0) * (ay1 - ay0) + (b.x1 - b.x0) * (b.y1 - b.y0) - inter)
}
