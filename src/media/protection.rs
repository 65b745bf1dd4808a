//! A video file → whether it can be decoded by itself: not encrypted, and with what a decoder must know first.
//!
//! What is encrypted decodes to noise, and ffmpeg shows that as frames. So the container is asked before anything is
//! decoded, where it states it:
//! - MP4: sample entries `encv` (Common Encryption, ISO 23001-7; SAMPLE-AES is its scheme `cbcs`) and `drmi` (FairPlay)
//! - Matroska and WebM: `ContentEncryption` (RFC 9559)
//! - MPEG-TS: the scrambling control bits of the packets (ISO 13818-1, 2.4.3.3)
//! - ASF: its content encryption objects; FLV: the filter bit of its tags
//!
//! Hostile files are read like others: every step goes forward, and there are bounds on how many and how far.

mod boxes;
mod ebml;

use std::io;

use crate::error::{Rejection, RejectionClass};

/// A file that is read at any place.
pub trait ReadAt {
    /// Reads up to `buffer.len()` bytes from `at` on; fewer only at the end of the file.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize>;

    fn len_bytes(&self) -> u64;

    /// As many of `count` bytes from `at` on as there are.
    ///
    /// # Errors
    /// What the system says.
    fn bytes(&self, at: u64, count: usize) -> io::Result<Vec<u8>> {
        let count = count.min(usize::try_from(self.len_bytes().saturating_sub(at)).unwrap_or(usize::MAX));
        let mut bytes = vec![0; count];
        let read = self.read_at(at, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(at).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn len_bytes(&self) -> u64 {
        self.len() as u64
    }
}

/// How a video is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// As people call it.
    pub scheme: String,
    /// Whether a part of the video is not.
    pub has_clear_part: bool,
}

/// What a container says before anything is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Nothing that keeps it from being decoded.
    Plain,
    Encrypted(Encryption),
    /// Fragments of MP4 without the boxes that describe them.
    SegmentAlone,
}

/// `container`: as the column spells it. `skip`: bytes before the container begins.
///
/// # Errors
/// `Encrypted` or `Incomplete`, as a row says it; `Corrupt` where the file cannot be read.
pub fn check(file: &(impl ReadAt + ?Sized), container: &str, skip: u64) -> Result<(), Rejection> {
    let found = find(file, container, skip).map_err(|error| {
        Rejection::new(RejectionClass::FetchFailed, format_args!("the file cannot be read: {error}"))
    })?;
    match found {
        Finding::Plain => Ok(()),
        Finding::SegmentAlone => Err(Rejection::new(
            RejectionClass::Incomplete,
            "expected a video, found a media segment without its initialization segment; join the two, or list the recording \
             they belong to",
        )),
        Finding::Encrypted(Encryption { scheme, has_clear_part }) => {
            let part = if has_clear_part { "; a part of it is not encrypted, and is not decoded alone" } else { "" };
            Err(Rejection::new(
                RejectionClass::Encrypted,
                format_args!("expected a video that plays without a key, found an encrypted one ({scheme}){part}"),
            ))
        }
    }
}

fn find(file: &(impl ReadAt + ?Sized), container: &str, skip: u64) -> io::Result<Finding> {
    Ok(match container {
        "mp4" => boxes::find(file, skip)?,
        "matroska" | "webm" => ebml::find(file)?.map_or(Finding::Plain, Finding::Encrypted),
        "mpegts" => scrambled(&file.bytes(0, TS_BYTES)?).map_or(Finding::Plain, Finding::Encrypted),
        "asf" => protected_asf(&file.bytes(0, ASF_HEADER_BYTES)?),
        "flv" => filtered_flv(&file.bytes(0, FLV_BYTES)?),
        _ => Finding::Plain,
    })
}

/// Ten thousand packets: some seconds of a recording.
const TS_BYTES: usize = 2 << 20;
const TS_PACKET: usize = 188;

/// The stream with the most packets is the video; it is encrypted where most of its packets are.
fn scrambled(bytes: &[u8]) -> Option<Encryption> {
    let mut of_streams = std::collections::BTreeMap::<u16, (usize, usize)>::new();
    let step = [188, 192, 204].into_iter().find_map(|step| {
        let mark = |at: usize| bytes.get(at) == Some(&0x47);
        let starts = 0..bytes.len().min(64 << 10);
        starts.into_iter().find(|at| (0..5).all(|packet| mark(at + packet * step))).map(|start| (start, step))
    });
    let (start, step) = step?;
    let mut at = start;
    while let Some(packet) = bytes.get(at..at + TS_PACKET) {
        if packet[0] != 0x47 {
            at += 1;
            continue;
        }
        let stream = u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2]);
        let (has_payload, scrambled) = (packet[3] & 0x10 != 0, packet[3] & 0x80 != 0);
        if has_payload && stream != 0x1fff {
            let (all, of_them) = of_streams.entry(stream).or_default();
            *all += 1;
            *of_them += usize::from(scrambled);
        }
        at += step;
    }
    // A multiplex may hold programmes that are clear.
    let most = of_streams.values().map(|(all, _)| *all).max()?;
    if of_streams.values().any(|(all, of_them)| all * 4 >= most && of_them * 2 <= *all) {
        return None;
    }
    let (all, of_them) = of_streams.into_values().max_by_key(|(all, _)| *all)?;
    (of_them * 2 > all).then(|| Encryption { scheme: "scrambled MPEG-TS".to_owned(), has_clear_part: of_them < all })
}

const ASF_HEADER_BYTES: usize = 1 << 20;

fn protected_asf(header: &[u8]) -> Finding {
    // Content Encryption Object and Extended Content Encryption Object (ASF specification, 10.1).
    const OBJECTS: [[u8; 16]; 2] = [
        *b"\xfb\xb3\x11\x22\x23\xbd\xd2\x11\xb4\xb7\x00\xa0\xc9\x55\xfc\x6e",
        *b"\x14\xe6\x8a\x29\x22\x26\x17\x4c\xb9\x35\xda\xe0\x7e\xe9\x28\x9c",
    ];
    let size = header.get(16..24).and_then(|size| size.try_into().ok()).map_or(0, u64::from_le_bytes);
    let header = &header[..header.len().min(usize::try_from(size).unwrap_or(usize::MAX))];
    match header.windows(16).any(|window| OBJECTS.iter().any(|object| object == window)) {
        true => Finding::Encrypted(Encryption { scheme: "Windows Media DRM".to_owned(), has_clear_part: false }),
        false => Finding::Plain,
    }
}

const FLV_BYTES: usize = 1 << 20;

/// Video tags have the type 9, and bit 5 where they are filtered (FLV specification, E.4.1).
fn filtered_flv(bytes: &[u8]) -> Finding {
    let (mut filtered, mut plain) = (false, false);
    let number = |bytes: &[u8]| bytes.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
    let mut at = bytes.get(5..9).map_or(usize::MAX, number).saturating_add(4);
    while let Some(tag) = bytes.get(at..at.saturating_add(11)) {
        match tag[0] & 0x3f {
            0x29 => filtered = true,
            0x09 => plain = true,
            _ => {}
        }
        at = at.saturating_add(11 + number(&tag[1..4]) + 4);
    }
    match filtered {
        true => Finding::Encrypted(Encryption { scheme: "filtered FLV".to_owned(), has_clear_part: plain }),
        false => Finding::Plain,
    }
}
