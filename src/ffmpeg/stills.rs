//! A stream of coded still pictures → the planes of each, by one ffmpeg.
//!
//! The planes come as they were coded: no conversion of colours, no turning, no scaling but of what has another size than
//! was promised. The caller knows what the planes mean.

use std::fs::File;

use super::child::Running;
use super::{Ffmpeg, MEDIA};
use crate::error::{Rejection, RejectionClass};
use crate::limits;

/// What is in the file, and what is wanted of it.
#[derive(Debug, Clone)]
pub struct Stills {
    /// ffmpeg's names: one demuxer, one decoder.
    pub demuxer: &'static str,
    pub decoder: &'static str,
    /// Further options of the decoder, as pairs of name and value.
    pub options: Vec<String>,
    /// Every picture has this size.
    pub size_px: (u32, u32),
    /// Pixel formats whose planes have the same layout, with `|` between.
    pub pixel_formats: String,
    /// Of one picture in any of them.
    pub picture_bytes: u64,
    pub pictures: usize,
}

/// What came.
#[derive(Debug, Default)]
pub struct Decoded {
    /// One for each picture, planes one after another.
    pub planes: Vec<Vec<u8>>,
    /// What the decoder complained of, first things first.
    pub complaints: Vec<String>,
}

impl Ffmpeg {
    /// The pictures in the order of the stream. What they take is the caller's to set aside.
    ///
    /// # Errors
    /// A decoder that hangs, fails, takes too much, or gives another number of pictures than was promised; `NoDecoder` for an
    /// ffmpeg that was built without it.
    pub async fn decode_stills(&self, file: &File, stills: &Stills) -> Result<Decoded, Rejection> {
        let _permit = self.running.acquire().await;
        let held_bytes = stills.picture_bytes.saturating_mul(2 * limits::STILL_DECODER_PICTURES);
        let limits = self.limits(held_bytes.saturating_add(limits::DECODER_ADDRESS_SPACE_BYTES));
        let mut child = self.contained.spawn(&self.ffmpeg, &words(stills, self.passthrough()), file, &limits)?;
        let mut decoded = Decoded::default();
        let length = usize::try_from(stills.picture_bytes).unwrap_or(usize::MAX);
        for _ in 0..stills.pictures {
            let mut planes = vec![0; length];
            if !child.read_exact(&mut planes).await? {
                break;
            }
            decoded.planes.push(planes);
        }
        let found = decoded.planes.len();
        if found == stills.pictures && child.read(&mut [0]).await? > 0 {
            return Err(corrupt(format_args!("expected {found} coded pictures, found more")));
        }
        decoded.complaints = finish(child, stills).await?;
        if found < stills.pictures {
            let why = decoded.complaints.first().map_or("the decoder gave no reason", String::as_str);
            return Err(corrupt(format_args!(
                "expected {} coded pictures, {found} could be decoded: {why}",
                stills.pictures
            )));
        }
        Ok(decoded)
    }
}

/// The child's complaints; a decoder that is not there is the machine's fault, not the file's.
async fn finish(child: Running, stills: &Stills) -> Result<Vec<String>, Rejection> {
    child.finish().await.map_err(|rejection| {
        let lacks = ["Unknown decoder", "Unknown input format", "Decoder not found"];
        if lacks.iter().any(|words| rejection.message.contains(words)) {
            let needs = if stills.decoder == "hevc" { "a decoder of HEVC" } else { stills.decoder };
            let message =
                format!("this ffmpeg lacks {needs}: install one that has it (deepsweep doctor says which it has)");
            return Rejection::new(RejectionClass::NoDecoder, message);
        }
        rejection
    })
}

fn words(stills: &Stills, passthrough: &[&str]) -> Vec<String> {
    let Stills { demuxer, decoder, options, size_px: (width, height), pixel_formats, .. } = stills;
    let max_alloc = limits::DECODER_MAX_ALLOC_BYTES.to_string();
    let max_pixels = limits::MAX_PIXELS.to_string();
    let before = [
        ["-v", "error"],
        ["-max_alloc", &max_alloc],
        ["-protocol_whitelist", "file,pipe"],
        ["-format_whitelist", demuxer],
        ["-codec_whitelist", decoder],
        ["-max_streams", "1"],
        ["-max_pixels", &max_pixels],
        // What a broken stream looks like must not depend on how many there are.
        ["-threads", "1"],
        ["-f", demuxer],
        ["-c:v", decoder],
    ];
    let filters = format!("scale={width}:{height}:flags=bilinear,format=pix_fmts={pixel_formats}");
    let after = [&["-i", MEDIA, "-map", "0:v:0", "-vf", &filters][..], passthrough, &["-f", "rawvideo", "pipe:1"]];
    let words = ["-nostdin", "-hide_banner"].into_iter().chain(before.as_flattened().iter().copied());
    let words = words.chain(options.iter().map(String::as_str)).chain(after.concat());
    words.map(str::to_owned).collect()
}

fn corrupt(message: impl std::fmt::Display) -> Rejection {
    Rejection::new(RejectionClass::Corrupt, message)
}
