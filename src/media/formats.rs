//! What is decoded, for people: the table that the README has and `deepsweep formats` prints.

use std::fmt::Write;

use super::containers::VIDEOS;
use crate::ffmpeg::formats::CODECS;

/// Pictures: what their files are called, how the column `container` calls them, and what of them is decoded.
const PICTURES: [(&str, &str, &str); 9] = [
    (
        "JPEG, MPO, Ultra HDR, Motion Photo",
        "`jpeg`",
        "baseline, progressive and arithmetic; grey, YCbCr, RGB, CMYK and YCCK with any sampling that libjpeg takes; not 12 bits",
    ),
    ("PNG, APNG", "`png`", "all of it; not iOS-optimised PNG (CgBI)"),
    ("WebP, GIF", "`webp`, `gif`", "all of it; their frames with `--animated`"),
    (
        "HEIC, HEIF, AVIF",
        "`heic` (HEVC), `avif` (AV1), `heif` (others)",
        "single pictures, grids, overlays, alpha, 8 to 12 bits, sequences as their primary picture; by ffmpeg",
    ),
    (
        "TIFF, BigTIFF",
        "`tiff`",
        "1 to 16 bits and floating point; grey, RGB, palettes, CMYK, YCbCr; strips, tiles and planes; LZW, Deflate, PackBits, \
         JPEG, CCITT; not old-style JPEG, Zstandard, signed integers, L\\*a\\*b\\*",
    ),
    ("BMP of Windows and OS/2", "`bmp`", "1 to 32 bits, bit fields, run lengths"),
    ("TGA, PBM/PGM/PPM/PAM, QOI, PCX", "`tga`, `pnm`, `qoi`, `pcx`", "all usual kinds"),
    ("icons and cursors", "`ico`", "the largest picture"),
    ("DDS", "`dds`", "DXT1, DXT3 and DXT5"),
];

/// Every format as Markdown: pictures, containers of videos, and codecs.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from("| pictures | `container` | what is decoded |\n|---|---|---|\n");
    for (names, containers, decoded) in PICTURES {
        let _ = writeln!(text, "| {names} | {containers} | {decoded} |"); // writing to a String cannot fail
    }
    text.push_str("\n| videos | `container` |\n|---|---|\n");
    for (kind, names) in VIDEOS {
        let _ = writeln!(text, "| {names} | `{}` |", kind.container);
    }
    text.push_str("\n| `codec` | where such videos come from |\n|---|---|\n");
    for codec in CODECS {
        let _ = writeln!(text, "| `{}` | {} |", codec.name, codec.found_in);
    }
    text
}
