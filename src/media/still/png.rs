//! PNG (third edition): bytes → RGB8.
//!
//! The decoder sees only the chunks that make the picture: header, palette, transparency, pixels. So neither megabytes of text
//! nor a broken profile stands in its way, and what it allocates is its rows. Of an APNG the default image counts.

use std::io::{Cursor, Read, Write};

use bytes::Bytes;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use image::RgbImage;
use png::{BitDepth, ColorType, Decoder, DecodingError, Limits, Reader, Transformations};

use super::{
    DECODER_TABLES_BYTES, Damage, DecodeLimits, Decoded, Header, corrupt, mix, one_line, rows_missing, unsupported,
};
use crate::error::Rejection;
use crate::media::orientation::Told;

const SIGNATURE: usize = 8;

/// The most that one compressed text is inflated to: a profile of 64 kB in hexadecimal, and room for XMP.
const MAX_TEXT_BYTES: u64 = 512 << 10;

/// Compressed texts that are inflated; nobody writes more than one of each kind.
const MAX_TEXTS: usize = 8;

/// A file's chunks, as far as they make the picture or say how to turn it.
struct Chunks<'a> {
    /// Type and content of those that the decoder sees, in order.
    kept: Vec<(&'a [u8], &'a [u8])>,
    told: Told,
    has_end: bool,
    /// The last of `kept` are pixels of which some are missing.
    is_cut: bool,
    is_cgbi: bool,
    /// The transparency's checksum is wrong, and every decoder drops it.
    lost_transparency: bool,
}

impl<'a> Chunks<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let mut chunks = Self {
            kept: vec![],
            told: Told::default(),
            has_end: false,
            is_cut: false,
            is_cgbi: false,
            lost_transparency: false,
        };
        let (mut rest, mut texts) = (bytes.get(SIGNATURE..).unwrap_or_default(), 0);
        while let Some((head, behind)) = rest.split_at_checked(8) {
            let (length, name) = head.split_at(4);
            let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            if !name.iter().all(u8::is_ascii_alphabetic) {
                break; // what follows is no chunk
            }
            let content = behind.get(..length).unwrap_or(behind);
            chunks.is_cut = content.len() < length && name == b"IDAT";
            match name {
                b"IHDR" | b"PLTE" => chunks.kept.push((name, content)),
                b"tRNS" => {
                    let mut crc = Crc::new();
                    [name, content].iter().for_each(|part| crc.update(part));
                    let stored = behind.get(length..length + 4).unwrap_or_default();
                    chunks.lost_transparency = stored != crc.sum().to_be_bytes();
                    if !chunks.lost_transparency {
                        chunks.kept.push((name, content));
                    }
                }
                b"IDAT" => chunks.kept.push((name, content)),
                b"CgBI" => chunks.is_cgbi = true,
                b"eXIf" => chunks.told.exif(content),
                b"tEXt" | b"zTXt" | b"iTXt" => chunks.text(name, content, &mut texts),
                b"IEND" => {
                    chunks.has_end = true;
                    break;
                }
                _ => {}
            }
            rest = behind.get(length.saturating_add(4)..).unwrap_or_default();
        }
        chunks
    }

    fn text(&mut self, name: &[u8], content: &[u8], texts: &mut usize) {
        let mut parts = content.splitn(2, |byte| *byte == 0);
        let (keyword, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if !keyword.starts_with(b"Raw profile type ") && keyword != b"XML:com.adobe.xmp" {
            return;
        }
        let (is_compressed, text) = match (name, rest) {
            (b"tEXt", text) => (false, text),
            (b"zTXt", [_, text @ ..]) => (true, text),
            // Flag, method, language, keyword in that language.
            (b"iTXt", [flag, _, rest @ ..]) => {
                (*flag != 0, rest.splitn(3, |byte| *byte == 0).nth(2).unwrap_or_default())
            }
            _ => return,
        };
        if !is_compressed {
            return self.told.png_text(keyword, text);
        }
        *texts += 1;
        let mut inflated = vec![];
        if *texts <= MAX_TEXTS {
            // What was inflated before an error counts.
            let _ = ZlibDecoder::new(text).take(MAX_TEXT_BYTES).read_to_end(&mut inflated);
            self.told.png_text(keyword, &inflated);
        }
    }

    /// A file of nothing but what makes the picture. Checksums of cut chunks and of the end are made, all others are the
    /// file's own.
    fn file(&self, bytes: &[u8]) -> Vec<u8> {
        let length: usize = self.kept.iter().map(|(_, content)| content.len() + 12).sum();
        let mut file = Vec::with_capacity(SIGNATURE + length + 12);
        file.extend(&bytes[..SIGNATURE.min(bytes.len())]);
        let last = self.kept.len().saturating_sub(1);
        for (at, (name, content)) in self.kept.iter().enumerate() {
            file.extend((content.len() as u32).to_be_bytes());
            file.extend(*name);
            file.extend(*content);
            // Content is a part of `bytes`, so that its place there is known.
            let end = content.as_ptr() as usize - bytes.as_ptr() as usize + content.len();
            match bytes.get(end..end + 4) {
                Some(stored) if !(self.is_cut && at == last) => file.extend(stored),
                _ => {
                    let mut crc = Crc::new();
                    [name, content].iter().for_each(|part| crc.update(part));
                    file.extend(crc.sum().to_be_bytes());
                }
            }
        }
        file.extend(b"\0\0\0\0IEND\xAE\x42\x60\x82");
        file
    }

    fn kept_bytes(&self) -> u64 {
        self.kept.iter().map(|(_, content)| content.len() as u64 + 12).sum()
    }

    fn complaint(&self) -> Option<String> {
        if self.lost_transparency {
            return Some("the transparency's checksum is wrong: the picture is shown without transparency".to_owned());
        }
        let message = "the file ends early: its end marker (IEND) is missing, every pixel is there";
        (!self.has_end).then(|| message.to_owned())
    }
}

pub(super) fn read_header(bytes: &Bytes, limits: DecodeLimits) -> Result<Header, Rejection> {
    let chunks = Chunks::of(bytes);
    if chunks.is_cgbi {
        return Err(unsupported("expected a PNG as the standard has it, found an iOS-optimised PNG (CgBI)"));
    }
    // Before anything is copied.
    let Some((b"IHDR", [w0, w1, w2, w3, h0, h1, h2, h3, depth, kind, _, _, _])) = chunks.kept.first() else {
        return Err(corrupt("PNG: expected a header (IHDR) of 13 bytes, found none"));
    };
    let size_px = (u32::from_be_bytes([*w0, *w1, *w2, *w3]), u32::from_be_bytes([*h0, *h1, *h2, *h3]));
    let samples: u64 = match kind {
        0 => 2, // grey, and transparency
        4 => 2,
        3 => 4,
        _ => 4,
    };
    let wide = if *depth == 16 { 2 } else { 1 };
    let has_transparency = chunks.kept.iter().any(|(name, _)| *name == b"tRNS");
    // What is RGB8 is the frame already.
    let steps = if (*kind, *depth, has_transparency) == (2, 8, false) { 0 } else { samples * wide };
    let pixels = u64::from(size_px.0).saturating_mul(u64::from(size_px.1));
    // The file once more, or in a salvaged picture what is packed anew.
    let decoder_bytes = pixels.saturating_mul(steps).saturating_add(3 * chunks.kept_bytes());
    let header = Header::new(size_px, chunks.told.orientation(), decoder_bytes, limits)?;
    reader(chunks.file(bytes)).map_err(|e| rejection_of_png(&e))?;
    Ok(header)
}

pub(super) fn decode(bytes: &Bytes, header: Header, damage: Damage) -> Result<Decoded, Rejection> {
    let chunks = Chunks::of(bytes);
    let file = chunks.file(bytes);
    let mut source = reader(file).map_err(|e| rejection_of_png(&e))?;
    let length = source.output_buffer_size().filter(|length| *length as u64 <= header.decode_bytes);
    let mut samples = vec![0; length.ok_or_else(|| corrupt("PNG: expected the header's size, found another"))?];
    let (kind, depth) = source.output_color_type();
    let Err(error) = source.next_frame(&mut samples) else {
        return Ok(Decoded { picture: rgb(samples, kind, depth, header)?, complaint: chunks.complaint() });
    };
    // A file that was cut behind its pixels has them all.
    if damage == Damage::Refused && !chunks.is_cut {
        return Err(rejection_of_png(&error));
    }
    drop(source);
    let (file, rows) = filled_up(&chunks, bytes).ok_or_else(|| rejection_of_png(&error))?;
    samples.fill(0);
    let mut source = reader(file).map_err(|e| rejection_of_png(&e))?;
    source.next_frame(&mut samples).map_err(|e| rejection_of_png(&e))?;
    let missing = header.height_px - rows;
    if missing > 0 && (damage == Damage::Refused || rows == 0) {
        return Err(rejection_of_png(&error));
    }
    let complaint = match missing {
        0 if chunks.is_cut => chunks.complaint(),
        0 => Some(format!("the pixel data are damaged: some pixels may be wrong ({})", one_line(&error.to_string()))),
        _ => Some(rows_missing(missing, header.height_px, "black")),
    };
    Ok(Decoded { picture: rgb(samples, kind, depth, header)?, complaint })
}

fn reader(file: Vec<u8>) -> Result<Reader<Cursor<Vec<u8>>>, DecodingError> {
    // Rows, and the chunks that are kept beside the pixels.
    let limits = Limits { bytes: 2 * DECODER_TABLES_BYTES as usize };
    let mut decoder = Decoder::new_with_limits(Cursor::new(file), limits);
    decoder.set_transformations(Transformations::EXPAND);
    decoder.read_info()
}

/// The file with as many pixels as its data hold, and zeros for the others. How many rows are whole from the top; of an
/// interlaced picture earlier passes are spread over all of it, and rows of the last pass count.
fn filled_up(chunks: &Chunks, bytes: &[u8]) -> Option<(Vec<u8>, u32)> {
    let (_, header) = chunks.kept.first()?;
    let number = |at: usize| header.get(at..at + 4).map(|n| u32::from_be_bytes([n[0], n[1], n[2], n[3]]));
    let (width, height) = (number(0)?, number(4)?);
    let bits = u64::from(*header.get(8)?) * [1, 0, 3, 1, 2, 0, 4].get(usize::from(*header.get(9)?))?;
    let line = |px: u32| 1 + (u64::from(px) * bits).div_ceil(8);
    let steps: &[(u32, u32, u32, u32)] = match header.get(12)? {
        0 => &[(0, 1, 0, 1)],
        _ => &[(0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2)],
    };
    // Of each pass its line and its rows.
    let side = |px: u32, start: u32, step: u32| px.saturating_sub(start).div_ceil(step);
    let passes = steps.iter().map(|(left, across, top, down)| (side(width, *left, *across), side(height, *top, *down)));
    let passes: Vec<(u64, u32)> =
        passes.filter(|(columns, _)| *columns > 0).map(|(px, rows)| (line(px), rows)).collect();
    let total: u64 = passes.iter().map(|(line, rows)| line * u64::from(*rows)).sum();

    let contents = chunks.kept.iter().filter(|(name, _)| *name == b"IDAT").map(|(_, content)| *content);
    let packed = Contents { current: &[], others: contents };
    let mut pixels = ZlibDecoder::new(packed);
    let mut repacked = ZlibEncoder::new(vec![], Compression::fast());
    let (mut piece, mut found) = (vec![0; 32 << 10], 0_u64);
    while let Ok(read @ 1..) = pixels.read(&mut piece) {
        let read = (read as u64).min(total - found) as usize;
        repacked.write_all(&piece[..read]).ok()?;
        found += read as u64;
        // Far more than was read of the file.
        if repacked.get_ref().len() > bytes.len() + piece.len() || read == 0 {
            break;
        }
    }
    std::io::copy(&mut std::io::repeat(0).take(total - found), &mut repacked).ok()?;
    let pixels = repacked.finish().ok()?;
    let others = chunks.kept.iter().copied().filter(|(name, _)| *name != b"IDAT");
    let kept = others.chain([(&b"IDAT"[..], &pixels[..])]);
    let mut file = bytes.get(..SIGNATURE)?.to_vec();
    kept.for_each(|(name, content)| push_chunk(&mut file, name, content));
    push_chunk(&mut file, b"IEND", &[]);

    let (last_line, last_rows) = *passes.last()?;
    let before = total - last_line * u64::from(last_rows);
    let rows = (found.saturating_sub(before) / last_line) as u32;
    let is_interlaced = passes.len() > 1;
    Some((
        file,
        if found == total {
            height
        } else if is_interlaced {
            2 * rows
        } else {
            rows
        },
    ))
}

/// The contents of many chunks as one.
struct Contents<'a, I> {
    current: &'a [u8],
    others: I,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Read for Contents<'a, I> {
    fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() {
            match self.others.next() {
                Some(next) => self.current = next,
                None => return Ok(0),
            }
        }
        self.current.read(target)
    }
}

fn push_chunk(file: &mut Vec<u8>, name: &[u8], content: &[u8]) {
    let mut crc = Crc::new();
    [name, content].iter().for_each(|part| crc.update(part));
    file.extend((content.len() as u32).to_be_bytes());
    [name, content, &crc.sum().to_be_bytes()].iter().for_each(|part| file.extend(*part));
}

/// Samples as the decoder gives them, 16 bits with the high byte first → RGB8 over black.
fn rgb(samples: Vec<u8>, kind: ColorType, depth: BitDepth, header: Header) -> Result<RgbImage, Rejection> {
    let (width, height) = (header.width_px, header.height_px);
    let wrong = || corrupt(format_args!("PNG: expected {width}×{height} pixels of {kind:?}, found another number"));
    let channels = kind.samples();
    if (kind, depth) == (ColorType::Rgb, BitDepth::Eight) {
        return RgbImage::from_raw(width, height, samples).ok_or_else(wrong);
    }
    let wide = if depth == BitDepth::Sixteen { 2 } else { 1 };
    let mut picture = RgbImage::new(width, height);
    if samples.len() != picture.as_raw().len() / 3 * channels * wide {
        return Err(wrong());
    }
    let narrow = |high: u8, low: u8| ((u32::from(high) << 8 | u32::from(low)) + 128) / 257;
    for (from, to) in samples.chunks_exact(channels * wide).zip(picture.pixels_mut()) {
        let at = |channel: usize| match wide {
            2 => narrow(from[2 * channel], from[2 * channel + 1]) as u8,
            _ => from[channel],
        };
        to.0 = match channels {
            1 => [at(0); 3],
            2 => [mix(at(0), at(1)); 3],
            3 => [at(0), at(1), at(2)],
            _ => [mix(at(0), at(3)), mix(at(1), at(3)), mix(at(2), at(3))],
        };
    }
    Ok(picture)
}

fn rejection_of_png(error: &DecodingError) -> Rejection {
    corrupt(format_args!("PNG: {}", one_line(&error.to_string())))
}
