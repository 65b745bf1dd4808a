//! Squares for the tower as transformers' `CLIPImageProcessor` (over Pillow) makes them, up and down
//! (`tests/golden/preprocess.py`): every value the same, since the arithmetic is Pillow's own.

use candle_core::Device;
use deepsweep::networks::preprocess::{Resize, normalise, square};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    mean: [f32; 3],
    std: [f32; 3],
    cases: Vec<Case>,
    normalised: Normalised,
}

#[derive(Deserialize)]
struct Case {
    source: String,
    rule: String,
    side_px: u32,
    output: String,
}

#[derive(Deserialize)]
struct Normalised {
    /// The name of a file of `preprocess/`.
    case: String,
    /// Channel, row, column, value.
    chw_values: Vec<(usize, usize, usize, f32)>,
}

fn golden() -> (std::path::PathBuf, Golden) {
    let folder = crate::root().join("tests/golden");
    let text = std::fs::read_to_string(folder.join("preprocess.json")).unwrap();
    (folder, serde_json::from_str(&text).unwrap())
}

#[test]
fn every_pixel_is_the_reference_s_own() {
    let (folder, golden) = golden();
    assert!(golden.cases.len() >= 10, "the goldens are incomplete");
    for case in golden.cases {
        let source = image::open(folder.join(&case.source)).unwrap().to_rgb8();
        let expected = image::open(folder.join(&case.output)).unwrap().to_rgb8();
        let resize = match case.rule.as_str() {
            "shortest" => Resize::ShortSide,
            "squash" => Resize::Squash,
            "none" => Resize::None,
            other => panic!("{other}"),
        };
        let found = square(&source, resize, case.side_px);
        assert_eq!(found.dimensions(), expected.dimensions(), "{}", case.output);
        let differences = found.as_raw().iter().zip(expected.as_raw()).map(|(a, b)| a.abs_diff(*b));
        let (worst, off) = (differences.clone().max(), differences.filter(|d| *d > 0).count());
        assert_eq!(off, 0, "{}: {off} values differ, by up to {worst:?} grey levels", case.output);
    }
}

#[test]
fn normalised_values_are_the_reference_s_own() {
    let (folder, golden) = golden();
    let picture = image::open(folder.join(format!("preprocess/{}.png", golden.normalised.case))).unwrap().to_rgb8();
    let side = picture.width();
    let pixels = normalise(&[&picture], side, golden.mean, golden.std, &Device::Cpu).unwrap();
    let pixels = pixels.squeeze(0).unwrap().to_vec3::<f32>().unwrap();
    assert!(golden.normalised.chw_values.len() >= 20, "the goldens are incomplete");
    for (channel, row, column, expected) in golden.normalised.chw_values {
        let found = pixels[channel][row][column];
        // One rounding of f32 on either side, at values up to 2.2.
        assert!((found - expected).abs() <= 1e-6, "({channel}, {row}, {column}): expected {expected}, found {found}");
    }
}
