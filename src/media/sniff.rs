//! The first bytes of an object → what it is. The name is never asked.
//!
//! A container is known here and no more: which streams stand in it is for the demuxer to say. What is plain text is no
//! video, whatever words it begins with: a playlist would send the demuxer on to other files.

use super::pictures;
use crate::error::{Rejection, RejectionClass};

/// What this program decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Image(ImageKind),
    Video(VideoKind),
}

/// An image that this program decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageKind {
    pub format: StillFormat,
    /// As the column `container` spells it.
    pub container: &'static str,
}

/// The formats of pictures that are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StillFormat {
    Jpeg,
    Png,
    WebP,
    Gif,
    Bmp,
    Tiff,
    /// Truevision TGA.
    Tga,
    /// PBM, PGM, PPM and PAM.
    Pnm,
    Qoi,
    /// Windows icons and cursors.
    Ico,
    Dds,
    Pcx,
}

/// A container that may hold a video. Whether it does, only its streams say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoKind {
    /// As the column `container` spells it.
    pub container: &'static str,
    /// The one demuxer of ffmpeg that may look at it.
    pub demuxer: &'static str,
}

/// What was found instead, for the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotDecoded {
    pub kind: Option<&'static str>,
    pub rejection: Rejection,
}

impl Kind {
    /// As the column `kind` spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Image(_) => "image",
            Self::Video(_) => "video",
        }
    }

    #[must_use]
    pub fn container(self) -> &'static str {
        match self {
            Self::Image(image) => image.container,
            Self::Video(video) => video.container,
        }
    }

    #[must_use]
    pub fn image(self) -> Option<ImageKind> {
        match self {
            Self::Image(image) => Some(image),
            Self::Video(_) => None,
        }
    }
}

/// Every format that is decoded, and its name in the column `container`.
const IMAGES: [ImageKind; 12] = [
    ImageKind { format: StillFormat::Jpeg, container: "jpeg" },
    ImageKind { format: StillFormat::Png, container: "png" },
    ImageKind { format: StillFormat::WebP, container: "webp" },
    ImageKind { format: StillFormat::Gif, container: "gif" },
    ImageKind { format: StillFormat::Bmp, container: "bmp" },
    ImageKind { format: StillFormat::Tiff, container: "tiff" },
    ImageKind { format: StillFormat::Tga, container: "tga" },
    ImageKind { format: StillFormat::Pnm, container: "pnm" },
    ImageKind { format: StillFormat::Qoi, container: "qoi" },
    ImageKind { format: StillFormat::Ico, container: "ico" },
    ImageKind { format: StillFormat::Dds, container: "dds" },
    ImageKind { format: StillFormat::Pcx, container: "pcx" },
];

const MP4: VideoKind = VideoKind { container: "mp4", demuxer: "mov" };
const MATROSKA: VideoKind = VideoKind { container: "matroska", demuxer: "matroska" };
const WEBM: VideoKind = VideoKind { container: "webm", demuxer: "matroska" };
const AVI: VideoKind = VideoKind { container: "avi", demuxer: "avi" };
const MPEG_TS: VideoKind = VideoKind { container: "mpegts", demuxer: "mpegts" };

/// A container by the name that the column `container` has for it, as a picture's or a video's.
#[must_use]
pub fn container_named(name: &str) -> Option<&'static str> {
    let videos = [MP4, MATROSKA, WEBM, AVI, MPEG_TS].map(|kind| kind.container);
    IMAGES.iter().map(|kind| kind.container).chain(videos).find(|known| *known == name)
}

/// Images in the boxes of MP4, by the brand that their `ftyp` puts first.
const IMAGE_BRANDS: [(&[u8; 4], &str); 12] = [
    (b"heic", "image/heic"),
    (b"heix", "image/heic"),
    (b"heim", "image/heic"),
    (b"heis", "image/heic"),
    (b"hevc", "image/heic-sequence"),
    (b"hevx", "image/heic-sequence"),
    (b"mif1", "image/heif"),
    (b"msf1", "image/heif-sequence"),
    (b"avif", "image/avif"),
    (b"avis", "image/avif"),
    (b"jp2 ", "image/jp2"),
    (b"crx ", "image/x-canon-cr3"),
];

/// Videos that are not decoded and that `infer` does not know, by how they begin.
const OTHER_VIDEOS: [(&[u8], &str); 4] = [
    (b".RMF\0", "application/vnd.rn-realmedia"),
    (b"DKIF\0\0", "video/x-ivf"),
    (b"YUV4MPEG2 ", "video/x-yuv4mpeg"),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "application/mxf"),
];

/// What `infer` calls the formats that are decoded and have a magic number.
const DECODED: [&str; 6] = ["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff"];

/// # Errors
/// The row's rejection, where the content is something else.
pub fn sniff(head: &[u8]) -> Result<Kind, NotDecoded> {
    let image = |format| IMAGES.into_iter().find(|image| image.format == format).map(Kind::Image);
    if let Some(image) = pictures::still(head).and_then(image) {
        return Ok(image);
    }
    let text = is_text(head);
    if !text && let Some(video) = video(head) {
        return Ok(Kind::Video(video));
    }
    if let Some(image) = pictures::still_by_its_fields(head).and_then(image) {
        return Ok(image);
    }
    let (kind, class, found) = something_else(head, text);
    let expected = match class {
        RejectionClass::NoVideo => "expected a picture or a video",
        _ => {
            "expected JPEG, PNG, WebP, GIF, BMP, TIFF, TGA, PNM, QOI, ICO, DDS, PCX, MP4, MOV, Matroska, WebM, AVI or MPEG-TS"
        }
    };
    Err(NotDecoded { kind, rejection: Rejection::new(class, format_args!("{expected}, found {found}")) })
}

fn something_else(head: &[u8], text: bool) -> (Option<&'static str>, RejectionClass, &'static str) {
    use RejectionClass::{Corrupt, NoVideo, NotMedia, Unsupported};
    if let Some((_, found)) = IMAGE_BRANDS.iter().find(|(brand, _)| is_brand(head, brand)) {
        return (Some("image"), Unsupported, found);
    }
    if let Some(found) = pictures::other(head) {
        return (Some("image"), Unsupported, found);
    }
    if let Some((_, found)) = OTHER_VIDEOS.iter().find(|(start, _)| head.starts_with(start)) {
        return (Some("video"), Unsupported, found);
    }
    if head.starts_with(b"OggS\0") {
        return ogg(head);
    }
    match infer::get(head) {
        Some(found) if DECODED.contains(&found.mime_type()) => {
            (Some("image"), Corrupt, "a damaged beginning of one of them")
        }
        // What has no more of an icon than four bytes of small numbers is none.
        Some(found) if found.mime_type() == "image/vnd.microsoft.icon" => (None, NotMedia, "content of no known type"),
        Some(found) => match found.matcher_type() {
            infer::MatcherType::Image => (Some("image"), Unsupported, found.mime_type()),
            infer::MatcherType::Video if !text => (Some("video"), Unsupported, found.mime_type()),
            infer::MatcherType::Audio if !text => (None, NoVideo, found.mime_type()),
            infer::MatcherType::Video | infer::MatcherType::Audio => (None, NotMedia, "text"),
            _ => (None, NotMedia, found.mime_type()),
        },
        None if !text && is_mpeg_audio(head) => (None, NoVideo, "audio/mpeg"),
        None => (None, NotMedia, "content of no known type"),
    }
}

fn video(head: &[u8]) -> Option<VideoKind> {
    if is_mp4(head) {
        return Some(MP4);
    }
    if head.starts_with(b"\x1a\x45\xdf\xa3") {
        return matroska(head);
    }
    let form = head.get(8..12).unwrap_or_default();
    if head.starts_with(b"RIFF") && [b"AVI ", b"AVIX", b"AVI\x19"].iter().any(|avi| form == *avi) {
        return Some(AVI);
    }
    is_mpeg_ts(head).then_some(MPEG_TS)
}

/// Every container begins with lengths and numbers, which are no letters. A byte from 128 on may be a letter.
fn is_text(head: &[u8]) -> bool {
    head.iter().all(|byte| !byte.is_ascii_control() || b"\t\n\r\x0c".contains(byte))
}

fn is_brand(head: &[u8], brand: &[u8; 4]) -> bool {
    head.get(4..8) == Some(b"ftyp") && head.get(8..12) == Some(brand)
}

/// MP4 and QuickTime, which before 2001 had no `ftyp`: a box that may stand first, and behind boxes without content
/// another one. A file in fragments begins like any other.
fn is_mp4(head: &[u8]) -> bool {
    if IMAGE_BRANDS.iter().any(|(brand, _)| is_brand(head, brand)) {
        return false;
    }
    let mut rest = head;
    loop {
        let (Some(size), Some(kind)) = (number(rest, 0), rest.get(4..8)) else { return false };
        match kind {
            b"ftyp" => return size >= 16 && rest.get(8..12).is_some_and(|brand| brand.iter().all(is_of_a_name)),
            b"styp" | b"moov" | b"pnot" => return size == 1 || size >= 16,
            b"mdat" => return size <= 1 || size >= 8, // 0: to the end; 1: 64 bits of size follow
            // Room that was left for something. What is larger than the head ends the search, with what it looks like.
            b"wide" | b"free" | b"skip" => match rest.get(size as usize..) {
                Some(next) if size >= 8 && !next.is_empty() => rest = next,
                Some(_) => return false,
                None => return true,
            },
            _ => return false,
        }
    }
}

fn is_of_a_name(byte: &u8) -> bool {
    byte.is_ascii_graphic() || *byte == b' '
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The name of its profile stands in the EBML header (RFC 8794), among elements of one or two bytes of name and one to
/// eight of size. Without one it is Matroska.
fn matroska(head: &[u8]) -> Option<VideoKind> {
    let (size, mut rest) = ebml_size(head.get(4..)?)?;
    rest = &rest[..rest.len().min(usize::try_from(size).unwrap_or(usize::MAX))];
    while let Some(first) = rest.first() {
        let name = rest.get(..if first & 0x80 != 0 { 1 } else { 2 })?;
        let (size, behind) = ebml_size(&rest[name.len()..])?;
        let split = usize::try_from(size).ok().and_then(|size| behind.split_at_checked(size));
        let Some((content, next)) = split else { break };
        if name == b"\x42\x82" {
            let profile = content.split(|byte| *byte == 0).next().unwrap_or_default();
            return match profile {
                b"webm" => Some(WEBM),
                b"matroska" => Some(MATROSKA),
                _ => None,
            };
        }
        rest = next;
    }
    Some(MATROSKA)
}

/// A number whose leading zeros say how many bytes it takes, and what stands behind it.
fn ebml_size(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let first = *bytes.first()?;
    let zeros = first.leading_zeros() as usize;
    if zeros == 8 {
        return None; // no size is longer than eight bytes
    }
    let rest = bytes.get(zeros + 1..)?;
    let first = u64::from(first) & (0x7f >> zeros);
    Some((bytes[1..=zeros].iter().fold(first, |number, byte| number << 8 | u64::from(*byte)), rest))
}

/// Packets of 188 bytes, of 192 with a time before each (M2TS), or of 204 with a checksum behind. A recording may begin
/// in the middle of one, so five of them must agree; in a shorter file all.
fn is_mpeg_ts(head: &[u8]) -> bool {
    [188, 192, 204].into_iter().any(|packet| {
        (0..packet).any(|start| {
            let marks = head.get(start..).unwrap_or_default().iter().step_by(packet).take(5);
            marks.len() >= 3 && marks.copied().all(|mark| mark == 0x47)
        })
    })
}

/// The first pages name the codec of every stream, videos first.
fn ogg(head: &[u8]) -> (Option<&'static str>, RejectionClass, &'static str) {
    let names = |codec: &[u8]| head.windows(codec.len()).any(|window| window == codec);
    let sounds: [&[u8]; 4] = [b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   "];
    let videos: [&[u8]; 4] = [b"\x80theora", b"BBCD\0", b"OVP80", b"\x01video"];
    if sounds.into_iter().any(names) && !videos.into_iter().any(names) {
        return (None, RejectionClass::NoVideo, "audio/ogg");
    }
    (Some("video"), RejectionClass::Unsupported, "video/ogg")
}

/// The header of a frame of layer 1, 2 or 3 whose fields are all in use: `infer` knows one kind of it.
fn is_mpeg_audio(head: &[u8]) -> bool {
    let [0xff, second, third, ..] = head else { return false };
    let (version, layer, rate, frequency) = (second >> 3 & 3, second >> 1 & 3, third >> 4, third >> 2 & 3);
    second >> 5 == 7 && version != 1 && layer != 0 && !matches!(rate, 0 | 15) && frequency != 3
}
