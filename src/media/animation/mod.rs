//! An animated GIF or WebP → when its frames are shown, and those frames that are wanted.
//!
//! In two steps, as with images: [`frame_times`] reads the file's blocks and decodes nothing; then [`decode_frames`]
//! walks to the last frame that is wanted and hands out pictures of RGB8 as a viewer shows them: composed on the
//! canvas, upright, alpha over black. One canvas and one frame are held, never the animation.
//! A damaged end costs the frames from there on, and the message says so; the frames before it count.

mod blocks;
mod canvas;

use std::io::Cursor;
use std::ops::ControlFlow;

use bytes::Bytes;
use image::codecs::gif::GifDecoder;
use image::{AnimationDecoder, DynamicImage, ImageDecoder, Limits, RgbImage};

use self::blocks::{Walked, gif_delays_ms, webp_frames};
use self::canvas::Canvas;
use super::sniff::StillFormat;
use super::still::{DECODER_TABLES_BYTES, Header, rejection_of, rgba_over_black};
use crate::error::{Rejection, RejectionClass};
use crate::limits;

/// When the frames of an animation are shown, from its start.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameTimes {
    /// Two or more, ascending; only frames that are whole in the file.
    pub starts_s: Vec<f64>,
    /// Of one turn, the last frame included.
    pub duration_s: f64,
    /// Where the file broke off, if it did.
    pub complaint: Option<String>,
}

/// None for a still picture, and for one that breaks off before its second frame: both are read as images.
///
/// # Errors
/// More frames than are walked.
pub fn frame_times(bytes: &Bytes, format: StillFormat) -> Result<Option<FrameTimes>, Rejection> {
    let Walked { frames, complaint } = match format {
        StillFormat::Gif => gif_delays_ms(bytes)?,
        StillFormat::WebP => {
            let Walked { frames, complaint } = webp_frames(bytes)?;
            Walked { frames: frames.into_iter().map(|frame| frame.delay_ms).collect(), complaint }
        }
        _ => return Ok(None),
    };
    if frames.len() < 2 {
        return Ok(None);
    }
    let seconds = |ms: u64| ms as f64 / 1000.0;
    let mut end_ms = 0;
    let mut starts_s = Vec::with_capacity(frames.len());
    for delay_ms in frames {
        starts_s.push(seconds(end_ms));
        end_ms += u64::from(shown_ms(delay_ms));
    }
    Ok(Some(FrameTimes { starts_s, duration_s: seconds(end_ms), complaint }))
}

/// Browsers and ffmpeg alike show a frame for a tenth of a second where a GIF says that it is none or a hundredth.
fn shown_ms(delay_ms: u32) -> u32 {
    if delay_ms <= 10 { 100 } else { delay_ms }
}

/// What [`decode_frames`] takes beside the pictures that it hands out: of RGBA the canvas, one frame and its copy;
/// the planes from which WebP makes a frame; and a picture more while it is turned.
#[must_use]
pub fn working_bytes(header: &Header) -> u64 {
    const PER_PIXEL: u64 = 4 * 3 + 3 + 3;
    u64::from(header.width_px) * u64::from(header.height_px) * PER_PIXEL + DECODER_TABLES_BYTES
}

/// Hands the frames whose numbers are in `wanted`, ascending from 0, to `sink`, until that breaks off. What comes back
/// is a complaint about frames that are wanted and cannot be had.
///
/// # Errors
/// A file of which none of the wanted frames can be had.
pub fn decode_frames(
    bytes: &Bytes,
    format: StillFormat,
    header: &Header,
    wanted: &[usize],
    sink: impl FnMut(usize, RgbImage) -> ControlFlow<()>,
) -> Result<Option<String>, Rejection> {
    if format == StillFormat::WebP {
        let mut frames = webp_frames(bytes)?.frames.into_iter();
        let mut canvas = Canvas::new(header);
        return walk(header, wanted, sink, |show| {
            canvas.draw(&frames.next().ok_or_else(|| corrupt("expected another frame, found the end"))?)?;
            Ok(show.then(|| rgba_over_black(canvas.picture())))
        });
    }
    let mut decoder = GifDecoder::new(Cursor::new(bytes.clone())).map_err(|e| rejection_of(&e))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(working_bytes(header));
    decoder.set_limits(limits).map_err(|e| rejection_of(&e))?;
    let mut frames = decoder.into_frames();
    walk(header, wanted, sink, |show| {
        let frame = frames.next().ok_or_else(|| corrupt("expected another frame, found the end"))?;
        let frame = frame.map_err(|e| rejection_of(&e))?;
        Ok(show.then(|| rgba_over_black(frame.buffer())))
    })
}

/// `compose` draws the next frame, and gives the picture where it is to be shown.
fn walk(
    header: &Header,
    wanted: &[usize],
    mut sink: impl FnMut(usize, RgbImage) -> ControlFlow<()>,
    mut compose: impl FnMut(bool) -> Result<Option<RgbImage>, Rejection>,
) -> Result<Option<String>, Rejection> {
    // A frame of GIF may be larger than its canvas, as far as memory goes.
    let pixels = (u64::from(header.width_px) * u64::from(header.height_px)).max(DECODER_TABLES_BYTES / 4);
    let affordable = limits::MAX_ANIMATION_PIXELS / pixels;
    let mut wanted = wanted.iter().copied().peekable();
    let mut had = 0;
    let mut index = 0;
    while let Some(next) = wanted.peek().copied() {
        let drawn = if index as u64 >= affordable {
            let message = format!(
                "expected at most {} pixels up to the last frame that is wanted, found more",
                limits::MAX_ANIMATION_PIXELS
            );
            Err(Rejection::new(RejectionClass::TooLarge, message))
        } else {
            compose(index == next)
        };
        match drawn {
            Ok(None) => {}
            Ok(Some(picture)) => {
                had += 1;
                wanted.next();
                let mut picture = DynamicImage::ImageRgb8(picture);
                picture.apply_orientation(header.orientation);
                if sink(index, picture.into_rgb8()).is_break() {
                    return Ok(None);
                }
            }
            Err(rejection) if had == 0 => return Err(rejection),
            Err(rejection) => return Ok(Some(format!("frame {index}: {}", rejection.message))),
        }
        index += 1;
    }
    Ok(None)
}

fn corrupt(message: impl std::fmt::Display) -> Rejection {
    Rejection::new(RejectionClass::Corrupt, message)
}
