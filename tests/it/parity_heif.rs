//! HEIC as libheif decodes it, AVIF as libavif does (`tests/golden/heif.py`): every kind of item, property, box version, depth
//! and colour; and the same faces in their pixels.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use candle_core::Device;
use deepsweep::error::Rejection;
use deepsweep::ffmpeg::FfmpegChoice;
use deepsweep::ffmpeg::on_demand::OnDemand;
use deepsweep::limits::MEMORY_BYTES;
use deepsweep::media::sniff::{Kind, sniff};
use deepsweep::media::still::DecodeLimits;
use deepsweep::media::tone::{self, HdrTransfer, Primaries};
use deepsweep::networks::mtcnn::{Mtcnn, MtcnnSettings};
use deepsweep::pipeline::compute::Compute;
use deepsweep::pipeline::heif::HeifDecoding;
use deepsweep::pipeline::list::{Media, SliceAt};
use deepsweep::pipeline::memory::MemoryBudget;
use deepsweep::storage::ObjectMeta;
use image::RgbImage;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    files: Vec<String>,
}

/// Grey levels. libheif takes 256/219 and 256/224 for limited range where the standard has 255/219 and 255/224, cuts
/// bits off where we round, and crops before it converts.
const MAX_MEAN_DIFFERENCE: f64 = 1.0;
/// Pixels.
const NEAR_PX: f32 = 1.0;

/// What EXIF would call the turns of these files.
const TURNED: [(&str, u8); 16] = [
    ("irot_1.heic", 8),
    ("irot_2.heic", 3),
    ("irot_3.heic", 6),
    ("imir_0.heic", 4),
    ("imir_1.heic", 2),
    ("irot_imir.heic", 5),
    ("imir_irot.heic", 7),
    ("irot_imir_1.heic", 5),
    ("clap_irot.heic", 8),
    ("grid_irot_clap.heic", 6),
    ("exif_is_ignored.heic", 1),
    ("irot_1.avif", 8),
    ("irot_2.avif", 3),
    ("irot_3.avif", 6),
    ("imir_0.avif", 4),
    ("irot_imir.avif", 7),
];

/// ffmpeg's words for the transfer functions of these files.
const TRANSFERS: [(&str, Option<&str>); 4] = [
    ("pq.heic", Some("smpte2084")),
    ("hlg.heic", Some("arib-std-b67")),
    ("colr_limited_709.heic", Some("bt709")),
    ("grid.heic", None),
];

/// What decodes, as a run has it.
pub struct Decoder {
    ffmpeg: OnDemand,
    compute: Compute,
    memory: MemoryBudget,
}

impl Decoder {
    pub fn new() -> Self {
        let ffmpeg = OnDemand::new(FfmpegChoice {
            named: None,
            search_path: std::env::var("PATH").unwrap(),
            own_exe: PathBuf::from(env!("CARGO_BIN_EXE_deepsweep")),
            children: 2,
            timeout: Duration::from_secs(60),
        });
        Self { ffmpeg, compute: Compute::new(2).unwrap(), memory: MemoryBudget::new(MEMORY_BYTES) }
    }

    pub async fn decode(&self, bytes: Bytes) -> Result<(Media, RgbImage), Rejection> {
        let Ok(Kind::Heif(_)) = sniff(&bytes[..bytes.len().min(deepsweep::limits::SNIFF_BYTES)]) else {
            panic!("no HEIF by its beginning");
        };
        let object = ObjectMeta { key: String::new(), size_bytes: 0, etag: None, version_id: None, modified: None };
        let mut media = Media::new(0, SliceAt::default(), object);
        let pixels = &self.memory.pixels;
        let limits = DecodeLimits { max_pixels: 1 << 24, max_decode_bytes: pixels.capacity_bytes() };
        let heif = HeifDecoding { ffmpeg: &self.ffmpeg, compute: &self.compute, pixels, limits };
        let (frames_in, mut frames) = tokio::sync::mpsc::channel(1);
        let reserved = self.memory.compressed.reserve(bytes.len() as u64).await.unwrap();
        heif.decode(bytes, reserved, &mut media, frames_in).await?;
        Ok((media, frames.recv().await.unwrap().picture))
    }
}

fn folder() -> PathBuf {
    crate::root().join("tests/golden/heif")
}

fn bytes_of(name: &str) -> Bytes {
    std::fs::read(folder().join(name)).unwrap().into()
}

fn expected(path: &Path) -> RgbImage {
    image::open(path).unwrap().into_rgb8()
}

fn mean_difference(a: &RgbImage, b: &RgbImage) -> f64 {
    let sum: u64 = a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.as_raw().len() as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_those_of_libheif_and_libavif() {
    let text = std::fs::read_to_string(crate::root().join("tests/golden/heif.json")).unwrap();
    let golden: Golden = serde_json::from_str(&text).unwrap();
    assert!(golden.files.len() >= 70, "the goldens are incomplete");
    let decoder = Decoder::new();
    for name in &golden.files {
        let (media, found) = decoder.decode(bytes_of(name)).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let mut expected = expected(&folder().join(format!("{name}.png")));
        let hdr = media.color_transfer.as_deref().and_then(HdrTransfer::named);
        if let Some(transfer) = hdr {
            // libheif takes levels as they are; how they are mapped to SDR has a test of its own (`video_kinds`).
            for pixel in expected.pixels_mut() {
                let mut row = [pixel.0.map(|level| f32::from(level) / 255.0)];
                tone::row_to_sdr(&mut row, transfer, Primaries::Bt2020);
                pixel.0 = row[0].map(|code| (code * 255.0).round() as u8);
            }
        }
        assert_eq!(found.dimensions(), expected.dimensions(), "{name}");
        assert_eq!(media.size_px, Some(expected.dimensions()), "{name}");
        let ending = name.rsplit('.').next();
        assert_eq!(media.container, ending, "{name}");
        let difference = mean_difference(&found, &expected);
        // Eight bits of PQ are coarse where it is dark.
        let most = if hdr.is_some() { 3.0 * MAX_MEAN_DIFFERENCE } else { MAX_MEAN_DIFFERENCE };
        assert!(difference <= most, "{name}: mean difference {difference}");
        assert_eq!(media.decoder_message, None, "{name}");
        if let Some((_, orientation)) = TURNED.iter().find(|(turned, _)| turned == name) {
            assert_eq!(media.orientation, Some(*orientation), "{name}");
        }
        if let Some((_, transfer)) = TRANSFERS.iter().find(|(stated, _)| stated == name) {
            assert_eq!(media.color_transfer.as_deref(), *transfer, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faces_are_those_in_the_pictures_of_libheif_and_libavif() {
    let decoder = Decoder::new();
    let mtcnn = Mtcnn::new(&Device::Cpu).unwrap();
    let settings = MtcnnSettings { min_face_px: 20.0, ..Default::default() };
    for name in ["faces.heic", "faces.avif"] {
        let (_, picture) = decoder.decode(bytes_of(name)).await.unwrap();
        let found = mtcnn.detect(&picture, &settings).unwrap();
        let expected = mtcnn.detect(&expected(&folder().join(format!("{name}.png"))), &settings).unwrap();
        assert!(expected.len() > 3, "{name}: {expected:?}");
        assert_eq!(found.len(), expected.len(), "{name}: {found:?}, {expected:?}");
        for (found, expected) in found.iter().zip(&expected) {
            let sides = [
                (found.bounds.x0, expected.bounds.x0),
                (found.bounds.y0, expected.bounds.y0),
                (found.bounds.x1, expected.bounds.x1),
                (found.bounds.y1, expected.bounds.y1),
            ];
            assert!(sides.iter().all(|(a, b)| (a - b).abs() <= NEAR_PX), "{name}: {found:?}, {expected:?}");
        }
    }
}
