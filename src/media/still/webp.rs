//! WebP (RFC 9649): bytes → RGB8. Of an animation the first frame counts. A cut file is always refused: no part of VP8
//! can be decoded without what comes before, and the crate hands out nothing of a frame that ends early.

use bytes::Bytes;
use image::{ImageDecoder, ImageFormat};

use super::others::{decode_by_image, decoder, steps_bytes};
use super::{DecodeLimits, Decoded, Header, corrupt};
use crate::error::Rejection;
use crate::media::orientation::Told;

pub(super) fn read_header(bytes: &Bytes, limits: DecodeLimits) -> Result<Header, Rejection> {
    let decoder = decoder(bytes, ImageFormat::WebP, limits.max_decode_bytes)?;
    let (width, height) = decoder.dimensions();
    let chunks = bytes.get(12..).unwrap_or_default();
    if let Some((frame_width, frame_height)) = frame_px(chunks)
        && (frame_width > width || frame_height > height)
    {
        return Err(corrupt(format_args!(
            "expected a frame inside the canvas of {width}×{height}, found one of {frame_width}×{frame_height}"
        )));
    }
    let canvas = u64::from(width) * u64::from(height) * 4;
    Header::new((width, height), told(chunks).orientation(), steps_bytes(&decoder).saturating_add(canvas), limits)
}

pub(super) fn decode(bytes: &Bytes, header: Header) -> Result<Decoded, Rejection> {
    decode_by_image(bytes, ImageFormat::WebP, header)
}

/// A chunk of RIFF: its name, its content, and what stands behind it.
fn chunk(chunks: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (head, rest) = chunks.split_at_checked(8)?;
    let length = u32::from_le_bytes(head[4..].try_into().ok()?) as usize;
    let content = rest.get(..length)?;
    Some((&head[..4], content, rest.get(length + length % 2..).unwrap_or_default()))
}

/// EXIF and XMP stand behind the frames. A broken block says nothing of the pixels.
fn told(mut chunks: &[u8]) -> Told {
    let mut told = Told::default();
    while let Some((name, content, rest)) = chunk(chunks) {
        match name {
            b"EXIF" => told.exif(content),
            b"XMP " => told.xmp(content),
            _ => {}
        }
        chunks = rest;
    }
    told
}

/// What the first frame itself says of its size: the decoder believes it and compares it with the canvas afterwards.
fn frame_px(mut chunks: &[u8]) -> Option<(u32, u32)> {
    while let Some((head, rest)) = chunks.split_at_checked(8) {
        let length = u32::from_le_bytes(head[4..].try_into().ok()?) as usize;
        let number = |at: usize| Some(u32::from_le_bytes(rest.get(at..at + 4)?.try_into().ok()?));
        match &head[..4] {
            b"VP8 " => return number(6).map(|bits| (bits & 0x3FFF, bits >> 16 & 0x3FFF)),
            b"VP8L" => return number(1).map(|bits| ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)),
            b"ANMF" => chunks = rest.get(16..)?,
            _ => chunks = rest.get(length.checked_add(length % 2)?..)?,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{DecodeLimits, read_header};
    use crate::media::sniff::StillFormat;

    fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        [name, &(content.len() as u32).to_le_bytes()[..], content, &[0][..content.len() % 2]].concat()
    }

    fn message(chunks: &[Vec<u8>]) -> String {
        let body = chunks.concat();
        let file = [&b"RIFF"[..], &(body.len() as u32 + 4).to_le_bytes(), b"WEBP", &body].concat();
        let limits = DecodeLimits { max_pixels: 1 << 24, max_decode_bytes: 1 << 28 };
        read_header(&Bytes::from(file), StillFormat::WebP, limits).unwrap_err().message
    }

    #[test]
    fn a_webp_whose_frame_is_larger_than_its_canvas_is_refused_before_the_frame_is_decoded() {
        let canvas = |flags: u8| chunk(b"VP8X", &[flags, 0, 0, 0, 63, 0, 0, 63, 0, 0]);
        let lossy = chunk(b"VP8 ", &[0x10, 0, 0, 0x9D, 0x01, 0x2A, 0xFF, 0x3F, 0xFF, 0x3F, 0, 0]);
        let lossless = chunk(b"VP8L", &[0x2F, 0xFE, 0xBF, 0xFF, 0x0F, 0]);
        let placed = [&[0; 6][..], &[63, 0, 0, 63, 0, 0], &[100, 0, 0, 0], &lossy].concat();
        let animated = [chunk(b"ANIM", &[0; 6]), chunk(b"ANMF", &placed)].concat();
        for (flags, frame) in [(0, lossy), (0, lossless), (2, animated)] {
            let message = message(&[canvas(flags), frame]);
            assert!(message.contains("canvas of 64×64") && message.contains("16383×16383"), "{message}");
        }
    }
}
