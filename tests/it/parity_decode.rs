//! JPEG and WebP pixels are libjpeg-turbo's and libwebp's, to the last bit (`tests/golden/decode.py`, by Pillow).

use std::collections::BTreeMap;

use bytes::Bytes;
use deepsweep::media::sniff::sniff;
use deepsweep::media::still::{Damage, DecodeLimits, Header, decode, read_header};
use image::metadata::Orientation;
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Golden {
    files: BTreeMap<String, Picture>,
}

#[derive(Deserialize)]
struct Picture {
    width: u32,
    height: u32,
    sha256: String,
}

#[test]
fn pixels_are_those_of_the_libraries_that_everybody_uses() {
    let tests = crate::root().join("tests");
    let golden: Golden =
        serde_json::from_str(&std::fs::read_to_string(tests.join("golden/decode.json")).unwrap()).unwrap();
    assert!(golden.files.len() >= 20, "the goldens are incomplete");
    let limits = DecodeLimits { max_pixels: 1 << 24, max_decode_bytes: 1 << 28 };
    for (name, expected) in golden.files {
        let bytes = Bytes::from(std::fs::read(tests.join("media").join(&name)).unwrap());
        let format = sniff(&bytes).unwrap().image().unwrap().format;
        let header = read_header(&bytes, format, limits).unwrap();
        // The reference is as stored.
        let as_stored = Header { orientation: Orientation::NoTransforms, ..header };
        let picture = decode(&bytes, format, as_stored, Damage::Refused).unwrap().picture;
        assert_eq!(picture.dimensions(), (expected.width, expected.height), "{name}");
        let found: String = Sha256::digest(picture.as_raw()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected.sha256, "{name}: other pixels than the reference");
    }
}
