//! How a picture is to be turned: EXIF and XMP bytes → one of the eight orientations.
//!
//! The rules are those of Pillow's `Image.getexif` and `ImageOps.exif_transpose`: EXIF decides where it has the tag, whatever
//! its value; XMP decides where EXIF has none. A value outside 1–8 turns nothing. Nothing is allocated on a file's word.

use image::metadata::Orientation;

/// The tag of TIFF 6.0 and EXIF 3.0 (4.6.5.1.6).
const ORIENTATION: u16 = 0x0112;

/// What a file says of its orientation, gathered block by block in any order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told {
    exif: Option<u64>,
    xmp: Option<u64>,
}

impl Told {
    /// The first EXIF block that has the tag counts.
    pub fn exif(&mut self, block: &[u8]) {
        self.exif = self.exif.or_else(|| in_exif(block));
    }

    /// The value of tag 274 of a TIFF's own directory, which is what EXIF is elsewhere.
    pub fn tag(&mut self, value: Option<u64>) {
        self.exif = self.exif.or(value);
    }

    pub fn xmp(&mut self, packet: &[u8]) {
        self.xmp = self.xmp.or_else(|| in_xmp(packet));
    }

    /// The keyword and the text of a PNG's textual chunk: XMP, or a profile in hexadecimal as ImageMagick writes it.
    pub fn png_text(&mut self, keyword: &[u8], text: &[u8]) {
        match keyword {
            b"XML:com.adobe.xmp" => self.xmp(text),
            b"Raw profile type exif" | b"Raw profile type APP1" => self.exif(&hexadecimal_profile(text)),
            b"Raw profile type xmp" => self.xmp(&hexadecimal_profile(text)),
            _ => {}
        }
    }

    #[must_use]
    pub fn orientation(self) -> Orientation {
        let value = self.exif.or(self.xmp).and_then(|value| u8::try_from(value).ok());
        value.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
    }
}

/// Whether width and height change places.
#[must_use]
pub fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// The tag's value in the first directory, as any integer type of TIFF and in either byte order. None where it is missing
/// or is no integer; a negative number is larger than every orientation.
fn in_exif(mut block: &[u8]) -> Option<u64> {
    while let Some(rest) = block.strip_prefix(b"Exif\0\0") {
        block = rest;
    }
    let little = match block.get(..4)? {
        b"II\x2A\0" => true,
        b"MM\0\x2A" => false,
        _ => return None,
    };
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let piece = block.get(at..at.checked_add(bytes)?)?;
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if little { piece.iter().rev().fold(0, join) } else { piece.iter().fold(0, join) })
    };
    let directory = usize::try_from(number(4, 4)?).ok()?;
    let entries = number(directory, 2)? as usize;
    (0..entries).map_while(|entry| directory.checked_add(2 + entry * 12)).find_map(|at| {
        if number(at, 2)? != u64::from(ORIENTATION) {
            return None;
        }
        let bytes = match number(at + 2, 2)? {
            1 | 6 => 1,      // BYTE, SBYTE
            3 | 8 => 2,      // SHORT, SSHORT
            4 | 9 | 13 => 4, // LONG, SLONG, IFD
            _ => return None,
        };
        if number(at + 4, 4)? == 0 {
            return None;
        }
        // More values than fit in the entry lie elsewhere.
        let place = if number(at + 4, 4)? * bytes as u64 > 4 { number(at + 8, 4)? as usize } else { at + 8 };
        number(place, bytes)
    })
}

/// `tiff:Orientation="6"` or `<tiff:Orientation>6<`, without a parser of XML, as Pillow reads it.
fn in_xmp(packet: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"tiff:Orientation";
    let after = |at: usize| packet.get(at + NAME.len()..);
    packet.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME).find_map(|(at, _)| {
        let value = after(at)?.strip_prefix(b"=\"").or_else(|| after(at)?.strip_prefix(b">"))?;
        value.first().filter(|digit| digit.is_ascii_digit()).map(|digit| u64::from(digit - b'0'))
    })
}

/// A line with a name, one with a length, then pairs of hexadecimal digits over many lines.
fn hexadecimal_profile(text: &[u8]) -> Vec<u8> {
    let lines = text.trim_ascii_start().splitn(3, |byte| *byte == b'\n');
    let digits: Vec<u8> = lines
        .last()
        .unwrap_or_default()
        .iter()
        .filter_map(|byte| char::from(*byte).to_digit(16))
        .map(|digit| digit as u8)
        .take(2 * (1 << 16)) // as long as one segment of a JPEG, where the profile came from
        .collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[cfg(test)]
mod tests {
    use image::metadata::Orientation;

    use super::Told;

    /// One entry: its type, its count, its four bytes.
    fn exif(little: bool, kind: u16, count: u32, value: [u8; 4]) -> Vec<u8> {
        let short = |number: u16| if little { number.to_le_bytes() } else { number.to_be_bytes() };
        let long = |number: u32| if little { number.to_le_bytes() } else { number.to_be_bytes() };
        let start: &[u8] = if little { b"II\x2A\0" } else { b"MM\0\x2A" };
        [start, &long(8), &short(1), &short(0x0112), &short(kind), &long(count), &value, &[0; 4]].concat()
    }

    fn check(block: &[u8], expected: Orientation) {
        let mut told = Told::default();
        told.exif(block);
        assert_eq!(told.orientation(), expected, "{block:02x?}");
    }

    #[test]
    fn every_integer_type_counts_in_both_byte_orders_with_and_without_a_prefix() {
        for (kind, little, big) in [
            (1, [6, 0, 0, 0], [6, 0, 0, 0]),
            (6, [6, 0, 0, 0], [6, 0, 0, 0]),
            (3, [6, 0, 0, 0], [0, 6, 0, 0]),
            (8, [6, 0, 0, 0], [0, 6, 0, 0]),
            (4, [6, 0, 0, 0], [0, 0, 0, 6]),
            (9, [6, 0, 0, 0], [0, 0, 0, 6]),
        ] {
            for block in [exif(true, kind, 1, little), exif(false, kind, 1, big)] {
                check(&block, Orientation::Rotate90);
                check(&[b"Exif\0\0", &block[..]].concat(), Orientation::Rotate90);
                check(&[b"Exif\0\0Exif\0\0", &block[..]].concat(), Orientation::Rotate90);
            }
        }
    }

    #[test]
    fn what_is_no_orientation_turns_nothing() {
        for block in [
            exif(true, 3, 1, [0; 4]),
            exif(true, 3, 1, [9, 0, 0, 0]),
            exif(true, 9, 1, [0xFF; 4]),
            exif(true, 5, 1, [6, 0, 0, 0]),
            exif(true, 2, 1, *b"6\0\0\0"),
            exif(true, 3, 0, [6, 0, 0, 0]),
            exif(true, 3, u32::MAX, [0xFF; 4]),
            b"II\x2A\0\xFF\xFF\xFF\xFF".to_vec(),
            b"Exif\0\0".to_vec(),
            vec![],
        ] {
            check(&block, Orientation::NoTransforms);
        }
    }

    #[test]
    fn xmp_decides_only_where_exif_has_no_orientation() {
        for packet in [&b"<rdf tiff:Orientation=\"8\"/>"[..], b"<tiff:Orientation>8</tiff:Orientation>"] {
            let mut told = Told::default();
            told.xmp(packet);
            assert_eq!(told.orientation(), Orientation::Rotate270);
            told.exif(&exif(true, 3, 1, [0; 4]));
            assert_eq!(told.orientation(), Orientation::NoTransforms, "EXIF has the tag, whatever its value");
        }
    }

    #[test]
    fn profiles_in_hexadecimal_are_read() {
        let block = [b"Exif\0\0", &exif(false, 3, 1, [0, 3, 0, 0])[..]].concat();
        let digits: String = block.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("\nexif\n      {}\n{}\n{}\n", block.len(), &digits[..20], &digits[20..]);
        let mut told = Told::default();
        told.png_text(b"Raw profile type exif", text.as_bytes());
        assert_eq!(told.orientation(), Orientation::Rotate180);
    }
}
