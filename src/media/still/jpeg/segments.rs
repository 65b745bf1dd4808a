//! Bytes of a JPEG → its marker segments (ITU-T T.81, annex B), one after another; nothing is collected.

use memchr::memchr;

/// A marker, what belongs to it, and for the start of a scan the coded data behind it.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    pub marker: u8,
    pub content: &'a [u8],
    /// Of a scan: stuffed bytes and restart markers, up to the next other marker or the file's end.
    pub scan: &'a [u8],
}

pub const SOS: u8 = 0xDA;
pub const DHT: u8 = 0xC4;
pub const DQT: u8 = 0xDB;
pub const DRI: u8 = 0xDD;
pub const APP0: u8 = 0xE0;
pub const APP1: u8 = 0xE1;
pub const APP14: u8 = 0xEE;
const EOI: u8 = 0xD9;

/// Whether the marker begins a frame; `DHT`, `JPG` and `DAC` stand among them.
#[must_use]
pub fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xC0..=0xCF) && !matches!(marker, DHT | 0xC8 | 0xCC)
}

#[must_use]
pub fn is_restart(marker: u8) -> bool {
    matches!(marker, 0xD0..=0xD7)
}

/// Walks a file. After the walk the fields say what was met on the way.
#[derive(Debug)]
pub struct Segments<'a> {
    rest: &'a [u8],
    /// The end marker was met.
    pub has_end: bool,
    /// Bytes between segments that belong to none of them.
    pub rubbish_bytes: usize,
}

impl<'a> Segments<'a> {
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, has_end: false, rubbish_bytes: 0 }
    }

    /// The next marker's code, fill bytes and rubbish before it skipped.
    fn marker(&mut self) -> Option<u8> {
        loop {
            let at = memchr(0xFF, self.rest)?;
            self.rubbish_bytes += at;
            self.rest = &self.rest[at..];
            let fill = self.rest.iter().position(|byte| *byte != 0xFF)?;
            let code = self.rest[fill];
            self.rest = &self.rest[fill + 1..];
            match code {
                // Neither does a stuffed byte mean anything here, nor a code that no standard gives a meaning.
                0x00 | 0x02..=0xBF => self.rubbish_bytes += 2,
                _ if is_restart(code) => self.rubbish_bytes += 2,
                0x01 | 0xD8 => {}
                _ => return Some(code),
            }
        }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        let marker = self.marker()?;
        if marker == EOI {
            self.has_end = true;
            return None;
        }
        let length = usize::from(u16::from_be_bytes([*self.rest.first()?, *self.rest.get(1)?]));
        let content = self.rest.get(2..length.max(2))?;
        self.rest = &self.rest[2 + content.len()..];
        let scan = if marker == SOS { &self.rest[..scan_bytes(self.rest)] } else { &[] };
        self.rest = &self.rest[scan.len()..];
        Some(Segment { marker, content, scan })
    }
}

fn scan_bytes(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = memchr(0xFF, &bytes[at..]) {
        at += found;
        match bytes.get(at + 1) {
            Some(0xFF) => at += 1, // fill
            Some(code) if *code == 0 || is_restart(*code) => at += 2,
            Some(_) => return at,
            None => return bytes.len(),
        }
    }
    bytes.len()
}
