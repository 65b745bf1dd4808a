//! Every format and variant that must be decoded, by `tests/media/formats`: size and container as the row says
//! them, colours as the decoder gives them. The numbers come from the arrays that went into the encoders.

use std::collections::BTreeMap;

use bytes::Bytes;
use deepsweep::media::sniff::sniff;
use deepsweep::media::still::{Damage, DecodeLimits, decode, read_header};
use serde::Deserialize;

use crate::program::{Sweep, landed_in_folder, rows};

#[derive(Deserialize)]
struct Expectations {
    patch_side: u32,
    files: BTreeMap<String, Expected>,
}

#[derive(Deserialize)]
struct Expected {
    container: String,
    width: u32,
    height: u32,
    tolerance: f64,
    patches: Vec<Patch>,
}

/// The mean of a square with its top left corner at `x`, `y`.
#[derive(Deserialize)]
struct Patch {
    x: u32,
    y: u32,
    rgb: [f64; 3],
}

/// What a picture of 80×60 needs many times over.
const LIMITS: DecodeLimits = DecodeLimits { max_pixels: 1_000_000, max_decode_bytes: 64 << 20 };

fn expectations() -> Expectations {
    let text = std::fs::read_to_string(crate::root().join("tests/media/formats/expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn check(name: &str, expected: &Expected, patch_side: u32) -> Result<(), String> {
    let bytes = Bytes::from(std::fs::read(crate::root().join("tests/media/formats").join(name)).unwrap());
    let image = sniff(&bytes[..bytes.len().min(1024)]).map_err(|other| other.rejection.message)?.image().unwrap();
    let header = read_header(&bytes, image.format, LIMITS).map_err(|rejection| rejection.message)?;
    let decoded = decode(&bytes, image.format, header, Damage::Refused).map_err(|rejection| rejection.message)?;
    let picture = decoded.picture;
    if picture.dimensions() != (expected.width, expected.height) || header.upright_size_px() != picture.dimensions() {
        return Err(format!("{:?} decoded, {:?} promised", picture.dimensions(), header.upright_size_px()));
    }
    for Patch { x, y, rgb } in &expected.patches {
        let places = (*y..y + patch_side).flat_map(|y| (*x..x + patch_side).map(move |x| (x, y)));
        let mut sums = [0.0; 3];
        for (x, y) in places {
            sums.iter_mut().zip(picture.get_pixel(x, y).0).for_each(|(sum, value)| *sum += f64::from(value));
        }
        let mean = sums.map(|sum| sum / f64::from(patch_side * patch_side));
        if mean.iter().zip(rgb).any(|(mean, wanted)| (mean - wanted).abs() > expected.tolerance) {
            return Err(format!("at {x}, {y}: expected {rgb:?} ± {}, found {mean:?}", expected.tolerance));
        }
    }
    Ok(())
}

#[test]
fn every_variant_shows_the_colours_that_went_into_it() {
    let expectations = expectations();
    let wrong: Vec<String> = expectations
        .files
        .iter()
        .filter_map(|(name, file)| Some(format!("{name}: {}", check(name, file, expectations.patch_side).err()?)))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), expectations.files.len(), wrong.join("\n"));
}

#[test]
fn the_row_of_every_variant_says_what_it_is_and_how_large() {
    let out = tempfile::tempdir().unwrap();
    let source = crate::root().join("tests/media/formats");
    let flags = ["--exclude", "expected.json"];
    let sweep =
        Sweep { source: source.to_str().unwrap(), out: out.path().to_str().unwrap(), scorer: "none", flags: &flags };
    sweep.succeed(&[]);
    let found: BTreeMap<String, (String, i64, i64)> = rows(&landed_in_folder(out.path()), "media")
        .into_iter()
        .map(|row| {
            let what = row["container"].as_str().unwrap_or("none").to_owned();
            let side = |name: &str| row[name].as_i64().unwrap_or(0);
            (row["key"].as_str().unwrap().to_owned(), (what, side("width"), side("height")))
        })
        .collect();
    let expected = expectations().files.into_iter();
    let expected: BTreeMap<String, (String, i64, i64)> =
        expected.map(|(name, file)| (name, (file.container, file.width.into(), file.height.into()))).collect();
    assert_eq!(found, expected);
}
