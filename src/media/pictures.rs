//! The first bytes of a picture → its format: those that are decoded, and the names of those that are not.
//!
//! Formats without a magic number (TGA, PCX, icons) are taken only where every field of their header makes sense, so that
//! a file of random bytes stays one of no known type.

use super::sniff::StillFormat;

/// A picture that this program decodes, by its magic number.
#[must_use]
pub fn still(head: &[u8]) -> Option<StillFormat> {
    use StillFormat::{Bmp, Dds, Gif, Jpeg, Png, Pnm, Qoi, Tiff, WebP};
    let starts = |start: &[u8]| head.starts_with(start);
    let is_webp = starts(b"RIFF") && head.get(8..12) == Some(b"WEBP");
    match head {
        _ if starts(b"\xFF\xD8\xFF") => Some(Jpeg),
        _ if starts(b"\x89PNG\r\n\x1A\n") => Some(Png),
        _ if is_webp => Some(WebP),
        _ if starts(b"GIF87a") || starts(b"GIF89a") => Some(Gif),
        _ if is_tiff(head) => Some(Tiff),
        _ if starts(b"qoif") => Some(Qoi),
        _ if starts(b"DDS \x7C\0\0\0") => Some(Dds),
        _ if starts(b"BM") => Some(Bmp),
        _ if is_pnm(head) => Some(Pnm),
        _ => None,
    }
}

/// A picture of a format without a magic number. Whoever asks has ruled out everything that has one.
#[must_use]
pub fn still_by_its_fields(head: &[u8]) -> Option<StillFormat> {
    match head {
        _ if is_ico(head) => Some(StillFormat::Ico),
        _ if is_pcx(head) => Some(StillFormat::Pcx),
        _ if is_tga(head) => Some(StillFormat::Tga),
        _ => None,
    }
}

/// Pictures that are not decoded, by how they begin.
const OTHERS: [(&[u8], &str); 47] = [
    (b"8BPS", "Photoshop (image/vnd.adobe.photoshop)"),
    (b"\xFF\x0A", "JPEG XL (image/jxl)"),
    (b"\0\0\0\x0CJXL \r\n\x87\n", "JPEG XL (image/jxl)"),
    (b"\0\0\0\x0CjP  \r\n\x87\n", "JPEG 2000 (image/jp2)"),
    (b"\0\0\0\x0CjP\x1A\x1A\r\n\x87\n", "JPEG 2000 (image/jp2)"),
    (b"\xFF\x4F\xFF\x51", "a JPEG 2000 codestream (image/j2c)"),
    (b"v/1\x01", "OpenEXR (image/x-exr)"),
    (b"#?RADIANCE", "Radiance HDR (image/vnd.radiance)"),
    (b"#?RGBE", "Radiance HDR (image/vnd.radiance)"),
    (b"gimp xcf ", "GIMP (image/x-xcf)"),
    (b"AT&TFORM", "DjVu (image/vnd.djvu)"),
    (b"II\xBC\x01", "JPEG XR (image/vnd.ms-photo)"),
    (b"IIRO", "a camera's raw file (image/x-olympus-orf)"),
    (b"IIRS", "a camera's raw file (image/x-olympus-orf)"),
    (b"MMOR", "a camera's raw file (image/x-olympus-orf)"),
    (b"IIU\0", "a camera's raw file (image/x-panasonic-rw2)"),
    (b"FUJIFILMCCD-RAW", "a camera's raw file (image/x-fuji-raf)"),
    (b"II\x1A\0\0\0HEAPCCDR", "a camera's raw file (image/x-canon-crw)"),
    (b"\0MRM", "a camera's raw file (image/x-minolta-mrw)"),
    (b"FOVb", "a camera's raw file (image/x-sigma-x3f)"),
    (b"icns\0", "a macOS icon (image/icns)"),
    (b"\xD7\xCD\xC6\x9A", "a Windows metafile (image/wmf)"),
    (b"\x01\xDA\0", "SGI (image/x-sgi)"),
    (b"\x01\xDA\x01", "SGI (image/x-sgi)"),
    (b"\x59\xA6\x6A\x95", "Sun raster (image/x-sun-raster)"),
    (b"/* XPM */", "XPM (image/x-xpixmap)"),
    (b"SIMPLE  =", "FITS (image/fits)"),
    (b"SDPX", "DPX (image/x-dpx)"),
    (b"XPDS", "DPX (image/x-dpx)"),
    (b"\x80\x2A\x5F\xD7", "Cineon (image/x-cineon)"),
    (b"\x8AMNG\r\n\x1A\n", "MNG (image/x-mng)"),
    (b"\x8BJNG\r\n\x1A\n", "JNG (image/x-jng)"),
    (b"BPG\xFB", "BPG (image/bpg)"),
    (b"FLIF", "FLIF (image/flif)"),
    (b"\xABKTX 1", "a KTX texture (image/ktx)"),
    (b"\xABKTX 2", "a KTX texture (image/ktx2)"),
    (b"PVR\x03", "a PVR texture (image/x-pvr)"),
    (b"VTF\0", "a VTF texture (image/x-vtf)"),
    (b"BLP1", "a BLP texture (image/x-blp)"),
    (b"BLP2", "a BLP texture (image/x-blp)"),
    (b"farbfeld", "farbfeld (image/x-farbfeld)"),
    (b"\x97JB2\r\n\x1A\n", "JBIG2 (image/x-jbig2)"),
    (b"\xB1\x68\xDE\x3A", "DCX (image/x-dcx)"),
    (b"PF\n", "a portable float map (image/x-pfm)"),
    (b"Pf\n", "a portable float map (image/x-pfm)"),
    (b"P7 332", "an XV thumbnail (image/x-xv-thumbnail)"),
    (b"\xC5\xD0\xD3\xC6", "Encapsulated PostScript (image/eps)"),
];

/// The name of a picture that is not decoded.
#[must_use]
pub fn other(head: &[u8]) -> Option<&'static str> {
    let found = OTHERS.iter().find(|(start, _)| head.starts_with(start)).map(|(_, name)| *name);
    let at = |place: usize, word: &[u8]| head.get(place..place + word.len()) == Some(word);
    found.or_else(|| {
        let form = head.get(8..12).unwrap_or_default();
        if head.starts_with(b"FORM") && [b"ILBM", b"PBM ", b"ACBM", b"DEEP"].iter().any(|kind| form == *kind) {
            return Some("Amiga IFF (image/x-ilbm)");
        }
        if head.starts_with(b"\x01\0\0\0") && at(40, b" EMF") {
            return Some("an enhanced Windows metafile (image/emf)");
        }
        if at(128, b"DICM") {
            return Some("DICOM (application/dicom)");
        }
        if at(522, b"\0\x11\x02\xFF\x0C\0") || at(522, b"\x11\x01") && head.iter().take(512).all(|byte| *byte == 0) {
            return Some("a Macintosh PICT (image/x-pict)");
        }
        text(head)
    })
}

/// Pictures that are made of text.
fn text(head: &[u8]) -> Option<&'static str> {
    let start = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    let has = |word: &[u8]| head.windows(word.len()).any(|window| window == word);
    if start.starts_with(b"<svg") || (start.starts_with(b"<?xml") || start.starts_with(b"<!")) && has(b"<svg") {
        return Some("SVG (image/svg+xml)");
    }
    if start.starts_with(b"%!PS-Adobe") && start.split(|byte| *byte == b'\n').next()?.windows(4).any(|w| w == b"EPSF") {
        return Some("Encapsulated PostScript (image/eps)");
    }
    (start.starts_with(b"#define ") && has(b"_width ") && has(b"_height ")).then_some("XBM (image/x-xbitmap)")
}

/// Classic TIFF and BigTIFF, both byte orders. Canon's CR2 is one that says so behind its header.
fn is_tiff(head: &[u8]) -> bool {
    let classic = head.starts_with(b"II\x2A\0") || head.starts_with(b"MM\0\x2A");
    let big = head.starts_with(b"II\x2B\0\x08\0\0\0") || head.starts_with(b"MM\0\x2B\0\x08\0\0");
    classic || big
}

/// `P1` to `P6`, two sides and a largest value; or PAM's words.
fn is_pnm(head: &[u8]) -> bool {
    let Some(([b'P', kind @ b'1'..=b'7'], rest)) = head.split_at_checked(2) else { return false };
    if *kind == b'7' {
        let has = |word: &[u8]| rest.windows(word.len()).any(|window| window == word);
        return rest.starts_with(b"\n") && has(b"WIDTH ") && has(b"HEIGHT ");
    }
    if !rest.first().is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b'#') {
        return false;
    }
    let lines = rest.split(|byte| *byte == b'\n');
    let without_comments = lines.flat_map(|line| {
        let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
    });
    let numbers = if matches!(kind, b'1' | b'4') { 2 } else { 3 };
    let mut found = 0;
    // A number stands alone; only behind the last one do pixels follow at once.
    for word in without_comments.take(numbers) {
        let is_number =
            word.len() <= 6 && word.iter().all(u8::is_ascii_digit) && word.iter().any(|digit| *digit != b'0');
        if !is_number {
            return false;
        }
        found += 1;
    }
    found == numbers
}

fn little(head: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?))
}

/// An icon or a cursor: a directory whose first entry points behind the directory.
fn is_ico(head: &[u8]) -> bool {
    let (Some(0), Some(1 | 2), Some(count @ 1..)) = (little(head, 0), little(head, 2), little(head, 4)) else {
        return false;
    };
    let number = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let (Some(length), Some(offset)) = (number(14), number(18)) else { return false };
    count <= 1_000 && length >= 40 && offset >= 6 + 16 * u32::from(count) && offset < 1 << 28
}

/// ZSoft's technical reference manual: version, run lengths or none, bits, a window that is not empty, planes, bytes of a line.
fn is_pcx(head: &[u8]) -> bool {
    let [0x0A, 0 | 2..=5, 0 | 1, bits @ (1 | 2 | 4 | 8), ..] = head else { return false };
    let at = |place: usize| little(head, place).map(u32::from);
    let (Some(left), Some(top), Some(right), Some(bottom)) = (at(4), at(6), at(8), at(10)) else { return false };
    let (Some(planes), Some(line)) = (head.get(65), at(66)) else { return false };
    let needed = ((right + 1).saturating_sub(left) * u32::from(*bits)).div_ceil(8);
    left <= right && top <= bottom && (1..=4).contains(planes) && line >= needed && line <= needed + 256
}

/// Truevision's file format specification 2.0: eighteen bytes, in which a palette, a kind and a depth agree.
fn is_tga(head: &[u8]) -> bool {
    let Some(header) = head.get(..18) else { return false };
    let (palette, kind, depth, descriptor) = (header[1], header[2], header[16], header[17]);
    let (colours, colour_bits) = (little(header, 5).unwrap_or(0), header[7]);
    let has_palette = palette == 1 && colours > 0 && matches!(colour_bits, 15 | 16 | 24 | 32);
    let no_palette = palette == 0 && header[3..8].iter().all(|byte| *byte == 0);
    let alpha = descriptor & 15;
    let agrees = match (kind, depth) {
        (1 | 9, 8) => has_palette && alpha == 0,
        (1 | 9, 16) => has_palette && alpha == 0,
        (2 | 10, 15 | 16) => (no_palette || has_palette) && alpha <= 1,
        (2 | 10, 24) => (no_palette || has_palette) && alpha == 0,
        (2 | 10, 32) => (no_palette || has_palette) && matches!(alpha, 0 | 8),
        (3 | 11, 8) => no_palette && matches!(alpha, 0 | 8),
        (3 | 11, 16) => no_palette && matches!(alpha, 0 | 8),
        _ => false,
    };
    let sides = (little(header, 12), little(header, 14));
    agrees && descriptor & 0xC0 == 0 && matches!(sides, (Some(1..=32_768), Some(1..=32_768)))
}
