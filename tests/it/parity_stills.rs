//! Pictures of every kind that is easily read wrongly show what Pillow and libvips show (`tests/golden/stills.py`), and
//! damaged ones are decoded or refused as their case says. Their mutants neither panic nor hang.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use deepsweep::error::{Rejection, RejectionClass};
use deepsweep::limits::SNIFF_BYTES;
use deepsweep::media::sniff::sniff;
use deepsweep::media::still::{Damage, DecodeLimits, Decoded, decode, read_header};
use image::RgbImage;
use serde::Deserialize;

use crate::program::{Sweep, landed_in_folder, rows};
use crate::video_mutants::Draw;

#[derive(Deserialize)]
struct Golden {
    files: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    class: Option<String>,
    message: Option<String>,
    #[serde(default)]
    salvage: bool,
    /// Levels that one sample may differ by.
    #[serde(default)]
    tolerance: u8,
    /// Who decoded what is expected; `top` and `bottom` say which part of a salvaged picture counts.
    by: Option<String>,
    expected: Option<String>,
}

const LIMITS: DecodeLimits = DecodeLimits { max_pixels: 1 << 20, max_decode_bytes: 64 << 20 };

fn folder() -> PathBuf {
    crate::root().join("tests/golden/stills")
}

fn golden() -> BTreeMap<String, Case> {
    let text = std::fs::read_to_string(folder().with_extension("json")).unwrap();
    let files = serde_json::from_str::<Golden>(&text).unwrap().files;
    assert!(files.len() > 100, "the goldens are incomplete");
    files
}

fn decoded(bytes: &Bytes, damage: Damage) -> Result<Decoded, Rejection> {
    let head = &bytes[..bytes.len().min(SNIFF_BYTES)];
    let Some(image) = sniff(head).map_err(|other| other.rejection)?.image() else {
        return Err(Rejection::new(RejectionClass::NotMedia, "a video"));
    };
    let header = read_header(bytes, image.format, LIMITS)?;
    let decoded = decode(bytes, image.format, header, damage)?;
    assert_eq!(decoded.picture.dimensions(), header.upright_size_px());
    Ok(decoded)
}

fn check(name: &str, case: &Case) -> Result<(), String> {
    let bytes = Bytes::from(std::fs::read(folder().join(name)).unwrap());
    let found = decoded(&bytes, if case.salvage { Damage::Salvaged } else { Damage::Refused });
    if let Some(class) = &case.class {
        return match found {
            Err(rejection) if rejection.class.as_str() == class => Ok(()),
            Err(rejection) => {
                Err(format!("expected {class}, found {}: {}", rejection.class.as_str(), rejection.message))
            }
            Ok(_) => Err(format!("expected {class}, found a picture")),
        };
    }
    let Decoded { picture, complaint } = found.map_err(|rejection| rejection.message)?;
    let complaint = complaint.unwrap_or_default();
    match &case.message {
        Some(message) if complaint.contains(message) => {}
        None if complaint.is_empty() => {}
        expected => return Err(format!("expected the message {expected:?}, found {complaint:?}")),
    }
    let expected = image::open(folder().join(case.expected.as_ref().unwrap())).unwrap().into_rgb8();
    if picture.dimensions() != expected.dimensions() {
        return Err(format!("expected {:?}, found {:?}", expected.dimensions(), picture.dimensions()));
    }
    let rows = counted_rows(case.by.as_deref(), &picture);
    let (mut worst, mut first) = (0, None);
    for (x, y, pixel) in picture.enumerate_pixels().filter(|(_, y, _)| rows.contains(y)) {
        let differs = pixel.0.iter().zip(expected.get_pixel(x, y).0).map(|(a, b)| a.abs_diff(b)).max().unwrap();
        if differs > case.tolerance {
            first = first.or(Some((x, y, pixel.0, expected.get_pixel(x, y).0)));
        }
        worst = worst.max(differs);
    }
    first.map_or(Ok(()), |first| Err(format!("differs by up to {worst}, first at {first:?}")))
}

/// Of a picture that was salvaged, some rows at its whole end.
fn counted_rows(by: Option<&str>, picture: &RgbImage) -> std::ops::Range<u32> {
    let height = picture.height();
    match by {
        Some("top" | "top-of") => 0..height / 3,
        Some("bottom") => height - height / 3..height,
        _ => 0..height,
    }
}

#[test]
fn every_kind_shows_what_pillow_and_libvips_show() {
    let files = golden();
    let wrong: Vec<String> =
        files.iter().filter_map(|(name, case)| Some(format!("{name}: {}", check(name, case).err()?))).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), files.len(), wrong.join("\n"));
}

#[test]
fn rows_say_the_size_the_orientation_and_what_the_decoder_complained_of() {
    let source = tempfile::tempdir().unwrap();
    let names = [
        "webp_exif_prefix.webp",
        "png_exif_after.png",
        "png_no_iend.png",
        "png_cgbi.png",
        "jpeg_ycck_2111.jpg",
        "jpeg_restart_missing.jpg",
        "jpeg_cut.jpg",
        "tiff_bigtiff.tif",
        "tga_rgb.tga",
    ];
    for name in names {
        std::fs::copy(folder().join(name), source.path().join(name)).unwrap();
    }
    for (flags, cut) in [(&["--quiet"][..], "corrupt"), (&["--quiet", "--salvage"], "")] {
        let out = tempfile::tempdir().unwrap();
        let (source, out_text) = (source.path().to_str().unwrap(), out.path().to_str().unwrap());
        Sweep { source, out: out_text, scorer: "none", flags }.succeed(&[]);
        let found: BTreeMap<String, (i64, i64, i64, String, bool)> = rows(&landed_in_folder(out.path()), "media")
            .into_iter()
            .map(|row| {
                let number = |name: &str| row[name].as_i64().unwrap_or(0);
                let class = row["error_class"].as_str().unwrap_or_default().to_owned();
                let complains = row["decoder_message"].as_str().is_some();
                let what = (number("width"), number("height"), number("orientation"), class, complains);
                (row["key"].as_str().unwrap().to_owned(), what)
            })
            .collect();
        let row = |width, height, orientation, class: &str, complains| {
            (width, height, orientation, class.to_owned(), complains)
        };
        assert_eq!(found["webp_exif_prefix.webp"], row(61, 83, 6, "", false));
        assert_eq!(found["png_exif_after.png"], row(61, 83, 6, "", false));
        assert_eq!(found["png_no_iend.png"], row(83, 61, 1, "", true));
        assert_eq!(found["png_cgbi.png"].3, "unsupported");
        assert_eq!(found["jpeg_ycck_2111.jpg"], row(83, 61, 1, "", false));
        assert_eq!(found["jpeg_restart_missing.jpg"], row(83, 61, 1, "", true));
        assert_eq!(found["jpeg_cut.jpg"], row(83, 61, 1, cut, cut.is_empty()));
        assert_eq!(found["tiff_bigtiff.tif"], row(83, 61, 1, "", false));
        assert_eq!(found["tga_rgb.tga"], row(83, 61, 1, "", false));
    }
}

fn damage(file: &mut Vec<u8>, draw: &mut Draw) {
    let length = file.len();
    let at = draw.below(length);
    let some = (1 + draw.below(64)).min(length - at);
    match draw.below(8) {
        0..=1 => (0..1 + draw.below(24)).for_each(|_| file[draw.below(length)] ^= 1 << draw.below(8)),
        // The beginning and the end, where headers and directories lie.
        2 => (0..1 + draw.below(6)).for_each(|_| file[draw.below(length.min(300))] ^= 1 << draw.below(8)),
        3 => (0..1 + draw.below(6)).for_each(|_| file[length - 1 - draw.below(length.min(300))] ^= 1 << draw.below(8)),
        4 => file.truncate(at),
        5 => file[at..at + some].fill([0, 0xff][draw.below(2)]),
        6 => {
            let piece = file[at..at + some].to_vec();
            let place = draw.below(length);
            file.splice(place..place, piece);
        }
        _ => drop(file.drain(at..at + some)),
    }
    if draw.below(4) == 0 && !file.is_empty() {
        damage(file, draw);
    }
}

#[test]
fn mutants_of_every_file_are_decoded_or_rejected() {
    check_mutants(12);
}

#[test]
#[ignore = "nightly: ten minutes"]
fn a_thousand_mutants_of_every_file_are_decoded_or_rejected() {
    check_mutants(1_000);
}

fn check_mutants(mutants: usize) {
    let mut draw = Draw(0x9E37_79B9_7F4A_7C15);
    for name in golden().into_keys() {
        let original = std::fs::read(folder().join(&name)).unwrap();
        for number in 0..mutants {
            let mut file = original.clone();
            damage(&mut file, &mut draw);
            let bytes = Bytes::from(file);
            for damage in [Damage::Refused, Damage::Salvaged] {
                let start = std::time::Instant::now();
                let found = decoded(&bytes, damage);
                if let Err(rejection) = &found {
                    assert_ne!(
                        rejection.class,
                        RejectionClass::Panicked,
                        "{name}, mutant {number}: {}",
                        rejection.message
                    );
                    assert!(!rejection.message.contains('\n'), "{name}, mutant {number}: {}", rejection.message);
                }
                assert!(start.elapsed().as_secs() < 10, "{name}, mutant {number} took {:?}", start.elapsed());
            }
        }
    }
}
