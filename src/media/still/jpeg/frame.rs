//! The frame header of a JPEG (T.81, B.2.2), and what the markers around it say of its colours and its orientation.

use memchr::memchr;

use super::segments::{APP0, APP1, APP14, DRI, SOS, Segment, Segments, is_frame, is_restart};
use crate::error::Rejection;
use crate::media::orientation::Told;
use crate::media::still::{corrupt, unsupported};

/// One component of the picture, as the header has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    pub id: u8,
    /// Sampling factors, 1 to 4.
    pub across: u32,
    pub down: u32,
    pub quantisation: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The marker that began it: baseline, extended, progressive, lossless, and their arithmetic siblings.
    pub marker: u8,
    pub width_px: u32,
    pub height_px: u32,
    pub components: Vec<Component>,
}

impl Frame {
    /// # Errors
    /// A header that is cut or contradicts itself; a kind that is not decoded.
    pub fn parse(marker: u8, content: &[u8]) -> Result<Self, Rejection> {
        let broken = || corrupt("JPEG: expected a frame header, found a broken one");
        let [precision, h1, h0, w1, w0, count, rest @ ..] = content else { return Err(broken()) };
        match marker {
            0xC5..=0xC7 | 0xCD..=0xCF => return Err(unsupported("a hierarchical JPEG")),
            _ if *precision != 8 => return Err(unsupported(format_args!("a JPEG of {precision} bits per sample"))),
            _ => {}
        }
        let component = |part: &[u8]| {
            let (across, down) = (u32::from(part[1] >> 4), u32::from(part[1] & 15));
            let fits = (1..=4).contains(&across) && (1..=4).contains(&down) && part[2] < 4;
            fits.then_some(Component { id: part[0], across, down, quantisation: part[2] })
        };
        let components: Option<Vec<Component>> =
            rest.chunks_exact(3).take(usize::from(*count)).map(component).collect();
        let components = components.filter(|found| found.len() == usize::from(*count)).ok_or_else(broken)?;
        if !matches!(components.len(), 1 | 3 | 4) {
            return Err(unsupported(format_args!("a JPEG of {} components", components.len())));
        }
        let height_px = u32::from(u16::from_be_bytes([*h1, *h0]));
        if height_px == 0 {
            return Err(unsupported("a JPEG whose height stands behind its pixels (DNL)"));
        }
        Ok(Self { marker, width_px: u32::from(u16::from_be_bytes([*w1, *w0])), height_px, components })
    }

    #[must_use]
    pub fn is_progressive(&self) -> bool {
        matches!(self.marker, 0xC2 | 0xCA)
    }

    /// Whether its Huffman codes are among those that [`super::scans`] reads.
    #[must_use]
    pub fn is_huffman(&self) -> bool {
        matches!(self.marker, 0xC0..=0xC2)
    }

    #[must_use]
    pub fn most_across(&self) -> u32 {
        self.components.iter().map(|component| component.across).max().unwrap_or(1)
    }

    #[must_use]
    pub fn most_down(&self) -> u32 {
        self.components.iter().map(|component| component.down).max().unwrap_or(1)
    }

    /// Whether every component grows to full size by whole numbers: libjpeg has no rule for others either.
    #[must_use]
    pub fn has_whole_ratios(&self) -> bool {
        let (across, down) = (self.most_across(), self.most_down());
        self.components.iter().all(|component| across % component.across == 0 && down % component.down == 0)
    }

    /// Units of the most blocks that belong together, across and down.
    #[must_use]
    pub fn units(&self) -> (u32, u32) {
        (self.width_px.div_ceil(8 * self.most_across()), self.height_px.div_ceil(8 * self.most_down()))
    }

    /// Samples of all components, filled up to whole units.
    #[must_use]
    pub fn samples(&self) -> u64 {
        let (across, down) = self.units();
        let blocks: u64 = self.components.iter().map(|c| u64::from(c.across * c.down)).sum();
        u64::from(across) * u64::from(down) * blocks * 64
    }
}

/// Everything that is known of a file before a pixel is decoded.
#[derive(Debug)]
pub struct Outline {
    pub frame: Frame,
    pub told: Told,
    pub has_jfif: bool,
    pub adobe_transform: Option<u8>,
    pub scans: usize,
    pub has_end: bool,
    pub rubbish_bytes: usize,
    /// Restart markers come in their order, and as many as the interval asks for.
    pub restarts_agree: bool,
    /// Every coefficient of every component was sent to its last bit.
    pub is_complete: bool,
}

impl Outline {
    /// # Errors
    /// No frame, a broken or unsupported one.
    pub fn of(bytes: &[u8]) -> Result<Self, Rejection> {
        let mut segments = Segments::new(bytes);
        let mut frame: Option<Frame> = None;
        let (mut told, mut has_jfif, mut adobe_transform) = (Told::default(), false, None);
        let (mut scans, mut interval, mut restarts_agree) = (0, 0, true);
        let mut sent = Sent { bits: [[0; 64]; 4] };
        for Segment { marker, content, scan } in segments.by_ref() {
            match marker {
                APP0 => has_jfif |= content.starts_with(b"JFIF\0") && scans == 0,
                APP1 if scans == 0 && content.starts_with(b"Exif\0\0") => told.exif(content),
                APP1 if scans == 0 && content.starts_with(b"http://ns.adobe.com/xap/1.0/\0") => told.xmp(content),
                APP14 if scans == 0 && content.starts_with(b"Adobe") => {
                    adobe_transform = content.get(11).copied().or(adobe_transform);
                }
                DRI => interval = content.get(..2).map_or(0, |n| u64::from(u16::from_be_bytes([n[0], n[1]]))),
                0xF7 if frame.is_none() => return Err(unsupported("a JPEG-LS (image/jls)")),
                SOS => {
                    scans += 1;
                    let Some(frame) = &frame else { return Err(corrupt("JPEG: expected a frame, found a scan")) };
                    sent.scan(frame, content);
                    restarts_agree &= restarts_as_expected(scan, interval, units_of(frame, content));
                }
                _ if is_frame(marker) => {
                    if frame.is_some() {
                        return Err(corrupt("JPEG: expected one frame, found two"));
                    }
                    frame = Some(Frame::parse(marker, content)?);
                }
                _ => {}
            }
        }
        let frame = frame.ok_or_else(|| corrupt("JPEG: expected a frame header, found none"))?;
        let is_complete = sent.is_complete(&frame);
        let (has_end, rubbish_bytes) = (segments.has_end, segments.rubbish_bytes);
        Ok(Self { frame, told, has_jfif, adobe_transform, scans, has_end, rubbish_bytes, restarts_agree, is_complete })
    }
}

/// Places of the scan's components in the frame with the numbers of their tables, and its four numbers: first and last
/// coefficient, high and low bit.
pub type ScanHeader = (Vec<(usize, u8)>, [u8; 4]);

/// None where it names components that the frame has not.
#[must_use]
pub fn scan_header(frame: &Frame, content: &[u8]) -> Option<ScanHeader> {
    let count = usize::from(*content.first()?);
    let parts = content.get(1..1 + 2 * count)?;
    let mut components: Vec<(usize, u8)> = Vec::with_capacity(4);
    for part in parts.chunks_exact(2) {
        // Some files give all of their components one name: the first that is not taken is meant.
        let is_meant = |(place, component): &(usize, &Component)| {
            component.id == part[0] && components.iter().all(|(taken, _)| taken != place)
        };
        let (place, _) = frame.components.iter().enumerate().find(is_meant)?;
        components.push((place, part[1]));
    }
    let [first, last, bits] = *content.get(1 + 2 * count..4 + 2 * count)? else { return None };
    (1..=4).contains(&components.len()).then_some((components, [first, last, bits >> 4, bits & 15]))
}

/// Units of one scan: blocks where it has one component.
fn units_of(frame: &Frame, content: &[u8]) -> u64 {
    let (across, down) = match scan_header(frame, content).as_ref().map(|(components, _)| components.as_slice()) {
        Some([(place, _)]) => {
            let component = &frame.components[*place];
            let blocks = |px: u32, own: u32, most: u32| (px * own).div_ceil(most).div_ceil(8);
            let across = blocks(frame.width_px, component.across, frame.most_across());
            (across, blocks(frame.height_px, component.down, frame.most_down()))
        }
        _ => frame.units(),
    };
    u64::from(across) * u64::from(down)
}

fn restarts_as_expected(scan: &[u8], interval: u64, units: u64) -> bool {
    let expected = if interval == 0 { 0 } else { units.div_ceil(interval).saturating_sub(1) };
    let (mut found, mut at) = (0, 0);
    while let Some(place) = scan.get(at..).and_then(|rest| memchr(0xFF, rest)) {
        at += place + 1;
        match scan.get(at) {
            Some(code) if is_restart(*code) => {
                if u64::from(code & 7) != found % 8 {
                    return false;
                }
                found += 1;
            }
            _ => {}
        }
    }
    found == expected
}

/// Which coefficients have come, by component: to which bit.
struct Sent {
    /// One more than the lowest bit that has come; 0 where none has.
    bits: [[u8; 64]; 4],
}

impl Sent {
    fn scan(&mut self, frame: &Frame, content: &[u8]) {
        let Some((components, [first, last, _, low])) = scan_header(frame, content) else { return };
        let range = if frame.is_progressive() { first.min(63)..=last.min(63) } else { 0..=63 };
        let low = if frame.is_progressive() { low } else { 0 };
        for (place, _) in components {
            range.clone().for_each(|coefficient| self.bits[place][usize::from(coefficient)] = low + 1);
        }
    }

    fn is_complete(&self, frame: &Frame) -> bool {
        self.bits.iter().take(frame.components.len()).flatten().all(|bits| *bits == 1)
    }
}
