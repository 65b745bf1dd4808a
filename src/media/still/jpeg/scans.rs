//! The scans of a JPEG with Huffman codes → planes of samples: baseline, extended and progressive, of one to four components
//! with any sampling factors, in any legal order of scans.
//!
//! It reads what libjpeg reads, damage included, and counts the damage; whether that is bearable is for the caller to say.
//! Baseline and extended need no memory for coefficients, since each of their blocks comes whole.

use super::coder::Coder;
use super::frame::{Frame, scan_header};
use super::huffman::{Bits, Huffman};
use super::idct::{ZIGZAG, inverse};
use super::segments::{DHT, DQT, DRI, SOS, Segment, Segments, is_frame};
use super::standard::STANDARD;
use crate::error::Rejection;
use crate::limits;
use crate::media::still::corrupt;

/// Samples of one component, filled up to whole blocks.
#[derive(Debug)]
pub struct Plane {
    pub samples: Vec<u8>,
    pub line: usize,
    /// Those that the picture shows.
    pub width: usize,
    pub height: usize,
}

/// What was wrong on the way.
#[derive(Debug, Default, Clone, Copy)]
pub struct Faults {
    pub broken_codes: u32,
    /// Restart markers that were missing, came twice or in another order.
    pub wrong_restarts: u32,
    /// Units without data before restart markers, and all units of these scans.
    pub lost_units: u64,
    pub units: u64,
    /// Rows of the picture from the first one that the end of the data left without samples.
    pub missing_rows: u32,
    /// The data end within this scan, from 1, of a progressive picture whose earlier scans cover all of it.
    pub cut_scan: Option<u32>,
}

struct Channel {
    plane: Plane,
    blocks_across: usize,
    /// 64 for each block, of a progressive picture.
    coefficients: Vec<i16>,
    quantisation: Option<[u16; 64]>,
}

struct Scans<'a> {
    frame: &'a Frame,
    channels: Vec<Channel>,
    quantisation: [Option<[u16; 64]>; 4],
    /// DC, then AC.
    huffman: [[Option<Huffman>; 4]; 2],
    interval: u64,
    faults: Faults,
}

/// The planes of the frame. `tables` stand before the file, as in TIFF.
///
/// # Errors
/// Tables that are broken or missing, more scans than are decoded, no scan at all.
pub fn planes(frame: &Frame, tables: &[u8], bytes: &[u8]) -> Result<(Vec<Plane>, Faults), Rejection> {
    let mut scans = Scans::new(frame);
    for segment in Segments::new(tables) {
        scans.tables(&segment)?;
    }
    let mut count = 0;
    for segment in Segments::new(bytes) {
        if segment.marker == SOS {
            count += 1;
            if count as usize > limits::MAX_JPEG_SCANS {
                return Err(corrupt(format_args!(
                    "JPEG: expected at most {} scans, found more",
                    limits::MAX_JPEG_SCANS
                )));
            }
            scans.scan(&segment, count)?;
        } else if !is_frame(segment.marker) {
            scans.tables(&segment)?;
        }
    }
    if count == 0 {
        return Err(corrupt("JPEG: expected a scan, found none"));
    }
    scans.finish()
}

impl<'a> Scans<'a> {
    fn new(frame: &'a Frame) -> Self {
        let (across, down) = frame.units();
        let channels = frame.components.iter().map(|component| {
            let (blocks_across, blocks_down) = ((across * component.across) as usize, (down * component.down) as usize);
            let shown = |px: u32, own: u32, most: u32| (px * own).div_ceil(most) as usize;
            let coefficients = if frame.is_progressive() { 64 * blocks_across * blocks_down } else { 0 };
            Channel {
                plane: Plane {
                    samples: vec![0x80; 64 * blocks_across * blocks_down],
                    line: 8 * blocks_across,
                    width: shown(frame.width_px, component.across, frame.most_across()),
                    height: shown(frame.height_px, component.down, frame.most_down()),
                },
                blocks_across,
                coefficients: vec![0; coefficients],
                quantisation: None,
            }
        });
        Self {
            frame,
            channels: channels.collect(),
            quantisation: [None; 4],
            huffman: Default::default(),
            interval: 0,
            faults: Faults::default(),
        }
    }

    fn tables(&mut self, segment: &Segment) -> Result<(), Rejection> {
        match segment.marker {
            DRI => {
                let number = segment.content.get(..2).ok_or_else(|| corrupt("JPEG: a broken restart interval"))?;
                self.interval = u64::from(u16::from_be_bytes([number[0], number[1]]));
            }
            DHT => self.huffman_tables(segment.content, false)?,
            DQT => {
                let mut rest = segment.content;
                while let Some((first, values)) = rest.split_first() {
                    let wide = usize::from(first >> 4) + 1;
                    let broken = || corrupt("JPEG: expected quantisation tables, found broken ones");
                    let (place, values) = (usize::from(first & 15), values.get(..64 * wide).ok_or_else(broken)?);
                    let table = self.quantisation.get_mut(place).filter(|_| wide <= 2).ok_or_else(broken)?;
                    let mut numbers = [0; 64];
                    for (at, value) in values.chunks_exact(wide).enumerate() {
                        numbers[ZIGZAG[at]] = value.iter().fold(0, |number, byte| number << 8 | u16::from(*byte));
                    }
                    *table = Some(numbers);
                    rest = &rest[1 + 64 * wide..];
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// `missing_only`: only tables that the file has not defined.
    fn huffman_tables(&mut self, mut content: &[u8], missing_only: bool) -> Result<(), Rejection> {
        while let Some((first, rest)) = content.split_first() {
            let broken = || corrupt("JPEG: expected Huffman tables, found broken ones");
            let (table, rest) = Huffman::parse(rest).ok_or_else(broken)?;
            let place = self.huffman.get_mut(usize::from(first >> 4)).ok_or_else(broken)?;
            let place = place.get_mut(usize::from(first & 15)).ok_or_else(broken)?;
            if !missing_only || place.is_none() {
                *place = Some(table);
            }
            content = rest;
        }
        Ok(())
    }

    fn scan(&mut self, segment: &Segment, number: u32) -> Result<(), Rejection> {
        let broken = || corrupt("JPEG: expected a scan's header, found a broken one");
        let (components, range) = scan_header(self.frame, segment.content).ok_or_else(broken)?;
        let is_progressive = self.frame.is_progressive();
        let [first, last, high, low] = if is_progressive { range } else { [0, 63, 0, 0] };
        if last > 63 || first > last || low > 13 || high > 14 || is_progressive && first == 0 && last != 0 {
            return Err(broken());
        }
        if first > 0 && components.len() > 1 {
            return Err(broken());
        }
        for (place, _) in &components {
            let table = self.quantisation[usize::from(self.frame.components[*place].quantisation)];
            let latched = &mut self.channels[*place].quantisation;
            *latched = latched.or(table);
            if latched.is_none() {
                return Err(corrupt("JPEG: expected a quantisation table for each component, found none"));
            }
        }
        self.huffman_tables(&STANDARD, true)?;
        self.units(&components, [first, last, high, low], segment.scan, number)
    }

    fn units(
        &mut self,
        components: &[(usize, u8)],
        [first, last, high, low]: [u8; 4],
        data: &[u8],
        number: u32,
    ) -> Result<(), Rejection> {
        let frame = self.frame;
        let (units_across, units_down) = match components {
            [(place, _)] => {
                let plane = &self.channels[*place].plane;
                (plane.width.div_ceil(8), plane.height.div_ceil(8))
            }
            _ => (frame.units().0 as usize, frame.units().1 as usize),
        };
        let mut tables = Vec::with_capacity(components.len());
        for (place, which) in components {
            let find = |class: usize, at: u8| self.huffman[class].get(usize::from(at)).and_then(Option::clone);
            let (dc, ac) = (find(0, which >> 4), find(1, which & 15));
            let missing = || corrupt("JPEG: expected a Huffman table for each component, found none");
            tables.push((*place, dc.ok_or_else(missing)?, ac.ok_or_else(missing)?));
        }
        let (mut bits, mut coder) = (Bits::new(data), Coder::new([first, last, high, low]));
        let mut left = self.interval;
        let mut restarts = 0_u8;
        let mut lost = 0_u64;
        let mut end: Option<usize> = None;
        for unit in 0..units_across * units_down {
            if self.interval > 0 {
                if left == 0 {
                    let as_expected = bits.restart(restarts);
                    self.faults.wrong_restarts += u32::from(!(as_expected || bits.ran_out && bits.is_at_end()));
                    restarts = (restarts + 1) & 7;
                    coder.restart();
                    left = self.interval;
                }
                left -= 1;
            }
            let (unit_x, unit_y) = (unit % units_across, unit / units_across);
            if bits.ran_out {
                // Before a marker that waits for its turn, or behind everything.
                end = end.or(Some(unit_y));
                lost += 1;
                continue;
            }
            for (place, dc, ac) in &tables {
                let component = &frame.components[*place];
                let (wide, tall) = if tables.len() == 1 { (1, 1) } else { (component.across, component.down) };
                for block in 0..(wide * tall) as usize {
                    let x = unit_x * wide as usize + block % wide as usize;
                    let y = unit_y * tall as usize + block / wide as usize;
                    let channel = &mut self.channels[*place];
                    if frame.is_progressive() {
                        let at = 64 * (y * channel.blocks_across + x);
                        let Some(block) = channel.coefficients.get_mut(at..at + 64) else { continue };
                        let _ = coder.progressive(&mut bits, block, *place, dc, ac);
                    } else {
                        let mut block = [0_i16; 64];
                        let _ = coder.sequential(&mut bits, &mut block, *place, dc, ac);
                        let (at, line) = (8 * y * channel.plane.line + 8 * x, channel.plane.line);
                        let quantisation = channel.quantisation.unwrap_or([1; 64]);
                        inverse(&block, &quantisation, &mut channel.plane.samples, at, line);
                    }
                }
            }
            if bits.ran_out {
                end = end.or(Some(unit_y));
                lost += 1;
            } else if end.take().is_some() {
                self.faults.lost_units += lost;
                lost = 0;
            }
        }
        self.faults.units += (units_across * units_down) as u64;
        self.faults.broken_codes += bits.broken_codes;
        if let Some(unit_y) = end {
            let rows = frame.height_px - ((unit_y as u32) * frame.height_px / (units_down as u32).max(1));
            if frame.is_progressive() && (first > 0 || high > 0) {
                self.faults.cut_scan = self.faults.cut_scan.or(Some(number));
            } else {
                self.faults.missing_rows = self.faults.missing_rows.max(rows);
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(Vec<Plane>, Faults), Rejection> {
        let is_progressive = self.frame.is_progressive();
        let mut faults = self.faults;
        let planes = self.channels.into_iter().map(|mut channel| {
            let Some(quantisation) = channel.quantisation else {
                // A component that no scan holds.
                faults.missing_rows = self.frame.height_px;
                return channel.plane;
            };
            if is_progressive {
                for (number, block) in channel.coefficients.chunks_exact(64).enumerate() {
                    let (x, y) = (number % channel.blocks_across, number / channel.blocks_across);
                    let (at, line) = (8 * y * channel.plane.line + 8 * x, channel.plane.line);
                    if let Ok(block) = block.try_into() {
                        inverse(block, &quantisation, &mut channel.plane.samples, at, line);
                    }
                }
            }
            channel.plane
        });
        let planes = planes.collect();
        Ok((planes, faults))
    }
}
