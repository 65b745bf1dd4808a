//! Frames of an animated WebP → what a viewer sees.

use std::io::Cursor;

use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder, Rgba, RgbaImage};

use super::super::still::{Header, rejection_of};
use super::blocks::{Blocks, WebpFrame};
use super::corrupt;
use crate::error::Rejection;

/// On which the frames of a WebP are drawn, by the rules of libwebp's `WebPAnimDecoder`: it begins transparent, and
/// the background colour that a file names is ignored.
pub struct Canvas {
    picture: RgbaImage,
    /// What is to be taken away before the next frame: left, top, width, height.
    goes: Option<[u32; 4]>,
}

impl Canvas {
    pub fn new(header: &Header) -> Self {
        Self { picture: RgbaImage::new(header.width_px, header.height_px), goes: None }
    }

    pub fn picture(&self) -> &RgbaImage {
        &self.picture
    }

    pub fn draw(&mut self, frame: &WebpFrame) -> Result<(), Rejection> {
        let WebpFrame { left, top, width_px, height_px, .. } = *frame;
        let (width, height) = self.picture.dimensions();
        if left + width_px > width || top + height_px > height {
            return Err(corrupt(format_args!(
                "expected a frame inside the canvas of {width}×{height}, found one of {width_px}×{height_px} at {left}, {top}"
            )));
        }
        let picture = frame.decode()?;
        if let Some([left, top, width_px, height_px]) = self.goes.take() {
            for y in top..top + height_px {
                for x in left..left + width_px {
                    self.picture.put_pixel(x, y, Rgba([0; 4]));
                }
            }
        }
        for (x, y, pixel) in picture.enumerate_pixels() {
            let below = self.picture.get_pixel_mut(left + x, top + y);
            *below = if frame.blends { blended(*pixel, *below) } else { *pixel };
        }
        self.goes = frame.goes.then_some([left, top, width_px, height_px]);
        Ok(())
    }
}

impl WebpFrame<'_> {
    /// The frame's own picture. It goes through the decoder of still pictures, because that of animations (image-webp
    /// 0.2.4) takes no frame away before the next unless a background is set, and then clears other places than the
    /// frame's where the next has no alpha.
    fn decode(&self) -> Result<RgbaImage, Rejection> {
        let still = self.still().ok_or_else(|| corrupt("expected a frame of VP8 or VP8L, found something else"))?;
        let decoder = WebPDecoder::new(Cursor::new(still)).map_err(|e| rejection_of(&e))?;
        let (found, expected) = (decoder.dimensions(), (self.width_px, self.height_px));
        if found != expected {
            return Err(corrupt(format_args!("expected a frame of {expected:?} pixels, found {found:?}")));
        }
        let picture = DynamicImage::from_decoder(decoder).map_err(|e| rejection_of(&e))?;
        Ok(picture.into_rgba8())
    }

    /// The same bytes as a file of their own.
    fn still(&self) -> Option<Vec<u8>> {
        let mut blocks = Blocks(self.chunks);
        let (mut alpha, mut picture) = (None, None);
        while let Some((name, content)) = blocks.chunk() {
            match name {
                b"ALPH" => alpha = Some(content),
                b"VP8 " | b"VP8L" if picture.is_none() => picture = Some((name, content)),
                _ => {}
            }
        }
        let (name, content) = picture?;
        let mut body = b"WEBP".to_vec();
        if let (Some(alpha), b"VP8 ") = (alpha, name) {
            // The size that is decoded stands in the frame's own header; it must be the one that was accounted for.
            let mut own = Blocks(content.get(6..)?);
            if (own.number(2)? & 0x3FFF, own.number(2)? & 0x3FFF) != (self.width_px, self.height_px) {
                return None;
            }
            let side = |px: u32| (px - 1).to_le_bytes();
            let ([w0, w1, w2, _], [h0, h1, h2, _]) = (side(self.width_px), side(self.height_px));
            const HAS_ALPHA: u8 = 0x10;
            push_chunk(&mut body, b"VP8X", &[HAS_ALPHA, 0, 0, 0, w0, w1, w2, h0, h1, h2]);
            push_chunk(&mut body, b"ALPH", alpha);
        }
        push_chunk(&mut body, name, content);
        let mut file = b"RIFF".to_vec();
        file.extend(u32::try_from(body.len()).ok()?.to_le_bytes());
        file.extend(body);
        Some(file)
    }
}

fn push_chunk(file: &mut Vec<u8>, name: &[u8], content: &[u8]) {
    file.extend(name);
    file.extend((content.len() as u32).to_le_bytes());
    file.extend(content);
    file.extend(content.iter().take(content.len() % 2).map(|_| 0));
}

/// libwebp's integers: `BlendPixelNonPremult`.
fn blended(above: Rgba<u8>, below: Rgba<u8>) -> Rgba<u8> {
    let (above_alpha, below_alpha) = (u32::from(above.0[3]), u32::from(below.0[3]));
    if above_alpha == 255 || below_alpha == 0 {
        return above;
    }
    if above_alpha == 0 {
        return below;
    }
    let share = (below_alpha * (256 - above_alpha)) >> 8;
    let alpha = above_alpha + share;
    let scale = (1 << 24) / alpha;
    let channel = |at: usize| {
        let sum = u32::from(above.0[at]) * above_alpha + u32::from(below.0[at]) * share;
        ((u64::from(sum) * u64::from(scale)) >> 24) as u8
    };
    Rgba([channel(0), channel(1), channel(2), alpha as u8])
}
