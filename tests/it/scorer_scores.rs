//! What a scorer folder says is what comes out: logits and scores of the tables, computed here in plain arithmetic.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use deepsweep::networks::clip::ClipVision;
use deepsweep::networks::preprocess::{Resize, normalise, square};
use image::{RgbImage, imageops};
use serde_json::Value;

use crate::probe::{
    ALIGNED, BOX, Choices, DEVIATION, Folder, Head, IMAGE_PX, MEAN, PLAIN, Tensors, pictures, run_with,
};
use crate::program::{Row, Sweep, landed_in_folder, media, rows};

/// Two roundings of f32 on the way of a logit of this size, many times over.
const NEAR: f64 = 1e-4;

/// The picture as the program decodes it; that it does so rightly is `run_formats`'s concern.
fn picture(key: &str) -> RgbImage {
    use deepsweep::media::{sniff, still};
    let bytes = bytes::Bytes::from(std::fs::read(pictures().join(key)).unwrap());
    let format = sniff::sniff(&bytes[..1024]).unwrap().image().unwrap().format;
    let limits = still::DecodeLimits { max_pixels: 10_000_000, max_decode_bytes: 1 << 30 };
    let header = still::read_header(&bytes, format, limits).unwrap();
    still::decode(&bytes, format, header, still::Damage::Refused).unwrap().picture
}

/// The box of a row of `faces`, with a margin of a quarter on each side, as the README's words have it.
fn box_of(picture: &RgbImage, face: &Row) -> RgbImage {
    let side = |name: &str| face[name].as_f64().unwrap() as f32;
    let (x0, y0, x1, y1) = (side("box_x0"), side("box_y0"), side("box_x1"), side("box_y1"));
    let (dx, dy) = ((x1 - x0) * 0.25, (y1 - y0) * 0.25);
    let clip = |value: f32, side: u32| (value.round_ties_even().max(0.0) as u32).min(side);
    let (left, right) = (clip(x0 - dx, picture.width()), clip(x1 + dx, picture.width()));
    let (top, bottom) = (clip(y0 - dy, picture.height()), clip(y1 + dy, picture.height()));
    imageops::crop_imm(picture, left, top, right - left, bottom - top).to_image()
}

/// The tapped embedding of one crop.
fn embed(tower: &ClipVision, crop: &RgbImage, choices: Choices) -> (Vec<f64>, Vec<f64>) {
    let resize = match choices.resize {
        "squash" => Resize::Squash,
        "short-side" => Resize::ShortSide,
        _ => Resize::None,
    };
    let pixels =
        normalise(&[&square(crop, resize, IMAGE_PX as u32)], IMAGE_PX as u32, MEAN, DEVIATION, &Device::Cpu).unwrap();
    let embeddings = tower.forward(&pixels).unwrap();
    let row = |tensor: &Tensor| tensor.to_vec2::<f32>().unwrap()[0].iter().map(|v| f64::from(*v)).collect();
    let pooled: Vec<f64> = row(&embeddings.pooled);
    let tapped = if choices.tap == "pooled" { pooled.clone() } else { row(&embeddings.projected) };
    (pooled, tapped)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn unit(x: &[f64]) -> Vec<f64> {
    let length = dot(x, x).sqrt();
    x.iter().map(|v| v / length).collect()
}

/// The log of the odds of fake against real, from the head's own numbers.
fn logit(head: &Tensors, tapped: &[f64], choices: Choices) -> f64 {
    let values = |name: &str| head[name].1.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
    let x = if choices.l2 { unit(tapped) } else { tapped.to_vec() };
    match choices.head {
        Head::Linear(1) => dot(&values("weight"), &x) + values("bias")[0],
        Head::Linear(_) => {
            let (weight, bias) = (values("weight"), values("bias"));
            let (real, fake) = weight.split_at(x.len());
            // softmax([r, f])[1] = sigmoid(f − r)
            (dot(fake, &x) + bias[1]) - (dot(real, &x) + bias[0])
        }
        Head::ZeroShot => {
            let prompts = values("prompt_embeddings");
            let (real, fake) = prompts.split_at(x.len());
            let x = unit(tapped);
            f64::from(4.6052_f32).exp() * (dot(&unit(fake), &x) - dot(&unit(real), &x))
        }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn check_near(found: &Value, expected: f64, what: &str) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{what}: expected {expected}, found {found}"));
    assert!((found - expected).abs() <= NEAR * expected.abs().max(1.0), "{what}: expected {expected}, found {found}");
}

fn check(choices: Choices) {
    let parts = Folder::new(choices);
    let folder = parts.write();
    let tower = ClipVision::open(&folder.path().join("tower"), &Device::Cpu).unwrap();
    let landed = run_with(folder.path(), &pictures());
    let (frames, faces, embeddings) = (rows(&landed, "frames"), rows(&landed, "faces"), rows(&landed, "embeddings"));
    assert_eq!((frames.len(), faces.len()), (4, 11), "{choices:?}");
    let whole = choices.crop.contains("frame");
    let scored = if whole { &frames } else { &faces };
    assert_eq!(embeddings.len(), scored.len(), "{choices:?}");
    let mut of_media: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (row, embedding) in scored.iter().zip(&embeddings) {
        let what = format!("{choices:?}: {} {:?}", row["key"], row.get("face_index"));
        let picture = picture(row["key"].as_str().unwrap());
        let crop = if whole { picture } else { box_of(&picture, row) };
        let (pooled, tapped) = embed(&tower, &crop, choices);
        let logit = logit(&parts.head, &tapped, choices);
        if whole {
            check_near(&row["frame_score"], sigmoid(logit), &what);
        } else {
            check_near(&row["logit"], logit, &what);
            check_near(&row["score"], sigmoid(logit), &what);
        }
        assert_eq!((&row["key"], row["scorer"].as_str()), (&embedding["key"], Some("probe@1")), "{what}");
        assert_eq!(embedding["face_index"], *row.get("face_index").unwrap_or(&Value::Null), "{what}");
        for (found, expected) in embedding["vector"].as_array().unwrap().iter().zip(&pooled) {
            check_near(found, *expected, &what);
        }
        of_media.entry(row["key"].as_str().unwrap().to_owned()).or_default().push(sigmoid(logit));
    }
    for (key, mut scores) in of_media {
        scores.sort_by(|a, b| b.total_cmp(a));
        let row = media(&landed, &key);
        let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len() as f64;
        check_near(&row["score_max"], scores[0], &key);
        check_near(&row["score_mean"], mean(&scores), &key);
        check_near(&row["score_top3_mean"], mean(&scores[..scores.len().min(3)]), &key);
        let median = f64::midpoint(scores[(scores.len() - 1) / 2], scores[scores.len() / 2]);
        check_near(&row["score_median"], median, &key);
    }
}

#[test]
fn a_linear_head_of_one_row_is_a_sigmoid() {
    check(PLAIN);
    check(Choices { crop: BOX, resize: "short-side", tap: "pooled", l2: false, ..PLAIN });
}

#[test]
fn a_linear_head_of_two_rows_is_a_softmax_with_fake_as_its_second() {
    check(Choices { head: Head::Linear(2), ..PLAIN });
    check(Choices { head: Head::Linear(2), crop: BOX, tap: "pooled", ..PLAIN });
}

#[test]
fn a_zero_shot_head_compares_directions_whatever_l2_says() {
    check(Choices { head: Head::ZeroShot, crop: BOX, ..PLAIN });
    check(Choices { head: Head::ZeroShot, resize: "none", l2: false, ..PLAIN });
}

#[test]
fn aligned_faces_have_their_rows_as_boxes_have() {
    let folder = Folder::new(Choices { crop: ALIGNED, resize: "short-side", ..PLAIN }).write();
    let landed = run_with(folder.path(), &pictures());
    let faces = rows(&landed, "faces");
    assert_eq!(faces.len(), 11);
    assert!(faces.iter().all(|face| face["score"].is_number()), "{faces:?}");
    for (key, reason) in [("group.jpg", Value::Null), ("no_face.jpg", "no_face".into())] {
        let row = media(&landed, key);
        assert_eq!((&row["not_scored_reason"], row["score_mean"].is_number()), (&reason, reason.is_null()), "{row:?}");
    }
}

#[test]
fn a_picture_as_thin_as_a_hair_is_scored_as_any_other() {
    let folder = Folder::new(Choices { resize: "short-side", ..PLAIN }).write();
    let source = crate::root().join("tests/media/bad/thin.png");
    let row = media(&run_with(folder.path(), &source), "thin.png");
    assert_eq!((&row["status"], row["score_mean"].is_number()), (&"ok".into(), true), "{row:?}");
}

#[test]
fn numbers_that_overflow_give_null_and_the_run_goes_on() {
    let huge = |tensors: &mut Tensors, name: &str| {
        tensors.get_mut(name).unwrap().1.iter_mut().for_each(|value| *value = 3e38);
    };
    let mut in_tower = Folder::new(Choices { crop: BOX, ..PLAIN });
    huge(&mut in_tower.tower, "visual_projection.weight");
    huge(&mut in_tower.tower, "vision_model.post_layernorm.bias");
    let mut in_head = Folder::new(Choices { crop: BOX, tap: "pooled", l2: false, ..PLAIN });
    huge(&mut in_head.head, "weight");
    in_head.tower.get_mut("vision_model.post_layernorm.bias").unwrap().1.fill(1e6);
    for parts in [in_tower, in_head] {
        let (folder, out) = (parts.write(), tempfile::tempdir().unwrap());
        let [source, destination, scorer] =
            [&*pictures(), out.path(), folder.path()].map(|path| path.to_str().unwrap().to_owned());
        let flags = ["--suffix", ".jpg", "--suffix", ".png", "--min-face-px", "20"];
        let sweep = Sweep { source: &source, out: &destination, scorer: &scorer, flags: &flags };
        let said = sweep.succeed(&[]).stderr;
        assert!(said.contains("not one of 11 faces has a score"), "{said}");
        let landed = landed_in_folder(out.path());
        let faces = rows(&landed, "faces");
        assert_eq!(faces.len(), 11);
        for face in &faces {
            assert!(face["score"].is_null() && face["logit"].is_null(), "{face:?}");
            assert_eq!(face["not_scored_reason"], "not_finite");
        }
        for (key, reason) in [("group.jpg", "not_finite"), ("no_face.jpg", "no_face")] {
            let row = media(&landed, key);
            assert!(row["score_mean"].is_null() && row["score_max"].is_null(), "{row:?}");
            assert_eq!(row["not_scored_reason"], reason, "{key}");
        }
    }
}
