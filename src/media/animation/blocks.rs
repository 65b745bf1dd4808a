//! Bytes of a GIF or WebP → its frames, as far as their blocks tell: nothing is decoded, nothing copied.

use crate::error::{Rejection, RejectionClass};
use crate::limits;

/// What the blocks of a file tell.
pub struct Walked<T> {
    pub frames: Vec<T>,
    pub complaint: Option<String>,
}

impl<T> Walked<T> {
    fn push(&mut self, frame: T) -> Result<(), Rejection> {
        if self.frames.len() == limits::MAX_ANIMATION_FRAMES {
            let message = format!("expected at most {} frames, found more", limits::MAX_ANIMATION_FRAMES);
            return Err(Rejection::new(RejectionClass::TooLarge, message));
        }
        self.frames.push(frame);
        Ok(())
    }

    fn ends_early(mut self) -> Self {
        self.complaint = Some(format!("the file ends in the middle, after {} frames", self.frames.len()));
        self
    }
}

/// Bytes from the front; every step is None where they do not suffice.
pub struct Blocks<'a>(pub &'a [u8]);

impl<'a> Blocks<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    /// Little-endian.
    pub fn number(&mut self, bytes: usize) -> Option<u32> {
        Some(self.take(bytes)?.iter().rev().fold(0, |number, byte| (number << 8) | u32::from(*byte)))
    }

    /// A palette of GIF, where the flags say that there is one.
    fn palette(&mut self, flags: u8) -> Option<()> {
        let bytes = if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
        self.take(bytes).map(|_| ())
    }

    /// GIF's data: pieces of up to 255 bytes, the last one empty. Gives the first.
    fn pieces(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        let first = self.take(usize::from(length))?;
        let mut length = length;
        while length != 0 {
            length = self.byte()?;
            self.take(usize::from(length))?;
        }
        Some(first)
    }

    /// A chunk of WebP; they are padded to even lengths.
    pub fn chunk(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let name = self.take(4)?;
        let length = self.number(4)? as usize;
        let content = self.take(length)?;
        if length % 2 == 1 {
            self.take(1.min(self.0.len()))?;
        }
        Some((name, content))
    }
}

/// GIF89a, sections 17 to 27; the delay of a frame stands in a block before it.
pub fn gif_delays_ms(bytes: &[u8]) -> Result<Walked<u32>, Rejection> {
    let mut walked = Walked { frames: vec![], complaint: None };
    let mut blocks = Blocks(bytes);
    let mut delay_ms = 0;
    let start = |blocks: &mut Blocks| {
        let screen = blocks.take(6 + 7)?;
        blocks.palette(screen[10])
    };
    let mut whole = start(&mut blocks);
    while whole.is_some() {
        let kind = blocks.byte();
        whole = match kind {
            Some(0x21) => gif_extension(&mut blocks).map(|delay| delay_ms = delay.unwrap_or(delay_ms)),
            Some(0x2C) => {
                let image = gif_image(&mut blocks);
                if image.is_some() {
                    walked.push(std::mem::take(&mut delay_ms))?;
                }
                image
            }
            Some(0x3B) => return Ok(walked),
            Some(other) => {
                let after = walked.frames.len();
                walked.complaint =
                    Some(format!("expected a frame or the end after {after} frames, found a block {other:#04x}"));
                return Ok(walked);
            }
            None => None,
        };
    }
    Ok(walked.ends_early())
}

/// The delay, where this extension has one.
fn gif_extension(blocks: &mut Blocks) -> Option<Option<u32>> {
    let label = blocks.byte()?;
    let first = blocks.pieces()?;
    let hundredths = (label == 0xF9 && first.len() >= 3).then(|| u32::from(u16::from_le_bytes([first[1], first[2]])));
    Some(hundredths.map(|hundredths| hundredths * 10))
}

fn gif_image(blocks: &mut Blocks) -> Option<()> {
    let descriptor = blocks.take(9)?;
    blocks.palette(descriptor[8])?;
    blocks.byte()?;
    blocks.pieces().map(|_| ())
}

/// One frame as an animated WebP has it: a part of the canvas, and how it gets there.
pub struct WebpFrame<'a> {
    pub left: u32,
    pub top: u32,
    pub width_px: u32,
    pub height_px: u32,
    pub delay_ms: u32,
    /// Mixed with what is there; else it takes its place.
    pub blends: bool,
    /// Taken away before the next frame.
    pub goes: bool,
    pub chunks: &'a [u8],
}

/// The WebP container's specification, "Animation". None of its frames are decoded.
pub fn webp_frames(bytes: &[u8]) -> Result<Walked<WebpFrame<'_>>, Rejection> {
    const ANIMATED: u8 = 2;
    let mut walked = Walked { frames: vec![], complaint: None };
    let mut blocks = Blocks(bytes);
    let riff = blocks.take(12);
    match blocks.chunk() {
        Some((b"VP8X", content)) if riff.is_some() && content.first().is_some_and(|flags| flags & ANIMATED != 0) => {}
        _ => return Ok(walked),
    }
    while !blocks.0.is_empty() {
        match blocks.chunk() {
            Some((b"ANMF", content)) => match webp_frame(content) {
                Some(frame) => walked.push(frame)?,
                None => return Ok(walked.ends_early()),
            },
            Some(_) => {}
            None => return Ok(walked.ends_early()),
        }
    }
    Ok(walked)
}

fn webp_frame(content: &[u8]) -> Option<WebpFrame<'_>> {
    let mut blocks = Blocks(content);
    let (left, top) = (blocks.number(3)? * 2, blocks.number(3)? * 2);
    let (width_px, height_px) = (blocks.number(3)? + 1, blocks.number(3)? + 1);
    let (delay_ms, flags) = (blocks.number(3)?, blocks.byte()?);
    let (blends, goes) = (flags & 2 == 0, flags & 1 != 0);
    Some(WebpFrame { left, top, width_px, height_px, delay_ms, blends, goes, chunks: blocks.0 })
}
