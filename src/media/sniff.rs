//! The first bytes of an object → what it is. The name is never asked.
//!
//! A container is known here and no more: which streams stand in it is for the demuxer to say. What is plain text is no
//! video, whatever words it begins with: a playlist would send the demuxer on to other files.

use image::ImageFormat;

use crate::error::{Rejection, RejectionClass};

/// What this program decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Image(ImageKind),
    /// In the boxes of HEIF, coded by HEVC, AV1 or others; as the column `container` spells it by its brands.
    Heif(&'static str),
    Video(VideoKind),
}

/// An image that this program decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageKind {
    pub format: ImageFormat,
    /// As the column `container` spells it.
    pub container: &'static str,
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
            Self::Image(_) | Self::Heif(_) => "image",
            Self::Video(_) => "video",
        }
    }

    #[must_use]
    pub fn container(self) -> &'static str {
        match self {
            Self::Image(image) => image.container,
            Self::Heif(container) => container,
            Self::Video(video) => video.container,
        }
    }

    #[must_use]
    pub fn image(self) -> Option<ImageKind> {
        match self {
            Self::Image(image) => Some(image),
            Self::Heif(_) | Self::Video(_) => None,
        }
    }
}

/// The formats that are decoded, by what their files begin with.
const IMAGES: [ImageKind; 6] = [
    ImageKind { format: ImageFormat::Jpeg, container: "jpeg" },
    ImageKind { format: ImageFormat::Png, container: "png" },
    ImageKind { format: ImageFormat::WebP, container: "webp" },
    ImageKind { format: ImageFormat::Gif, container: "gif" },
    ImageKind { format: ImageFormat::Bmp, container: "bmp" },
    ImageKind { format: ImageFormat::Tiff, container: "tiff" },
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
    let heif = ["heic", "avif", "heif"];
    IMAGES.iter().map(|kind| kind.container).chain(heif).chain(videos).find(|known| *known == name)
}

/// Brands of HEIF (ISO/IEC 23008-12, 10; AV1 Image File Format, 6), with the container that each makes likely.
const HEIF_BRANDS: [(&[u8; 4], &str); 20] = [
    (b"heic", "heic"),
    (b"heix", "heic"),
    (b"heim", "heic"),
    (b"heis", "heic"),
    (b"hevc", "heic"),
    (b"hevx", "heic"),
    (b"hevm", "heic"),
    (b"hevs", "heic"),
    (b"MiHB", "heic"),
    (b"avif", "avif"),
    (b"avis", "avif"),
    (b"avio", "avif"),
    (b"MA1A", "avif"),
    (b"MA1B", "avif"),
    (b"mif1", "heif"),
    (b"mif2", "heif"),
    (b"mif3", "heif"),
    (b"msf1", "heif"),
    (b"miaf", "heif"),
    (b"jpeg", "heif"),
];

/// Other images in the boxes of MP4, by the brand that their `ftyp` puts first.
const IMAGE_BRANDS: [(&[u8; 4], &str); 2] = [(b"jp2 ", "image/jp2"), (b"crx ", "image/x-canon-cr3")];

/// Videos that are not decoded and that `infer` does not know, by how they begin.
const OTHER_VIDEOS: [(&[u8], &str); 4] = [
    (b".RMF\0", "application/vnd.rn-realmedia"),
    (b"DKIF\0\0", "video/x-ivf"),
    (b"YUV4MPEG2 ", "video/x-yuv4mpeg"),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "application/mxf"),
];

/// # Errors
/// The row's rejection, where the content is something else.
pub fn sniff(head: &[u8]) -> Result<Kind, NotDecoded> {
    if let Ok(format) = image::guess_format(head)
        && let Some(image) = IMAGES.into_iter().find(|image| image.format == format)
    {
        return Ok(Kind::Image(image));
    }
    if let Some(container) = heif(head) {
        return Ok(Kind::Heif(container));
    }
    let text = is_text(head);
    if !text && let Some(video) = video(head) {
        return Ok(Kind::Video(video));
    }
    let (kind, class, found) = something_else(head, text);
    let expected = match class {
        RejectionClass::NoVideo => "expected a picture or a video",
        _ => "expected JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF, MP4, MOV, Matroska, WebM, AVI or MPEG-TS",
    };
    Err(NotDecoded { kind, rejection: Rejection::new(class, format_args!("{expected}, found {found}")) })
}

fn something_else(head: &[u8], text: bool) -> (Option<&'static str>, RejectionClass, &'static str) {
    use RejectionClass::{Corrupt, NoVideo, NotMedia, Unsupported};
    if let Some((_, found)) = IMAGE_BRANDS.iter().find(|(brand, _)| is_brand(head, brand)) {
        return (Some("image"), Unsupported, found);
    }
    if let Some((_, found)) = OTHER_VIDEOS.iter().find(|(start, _)| head.starts_with(start)) {
        return (Some("video"), Unsupported, found);
    }
    if head.starts_with(b"OggS\0") {
        return ogg(head);
    }
    match infer::get(head) {
        Some(found) if IMAGES.iter().any(|image| found.mime_type() == image.format.to_mime_type()) => {
            (Some("image"), Corrupt, "a damaged beginning of one of them")
        }
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

/// By the first brand of its `ftyp`, and where that is of no known image by the others: then the next box must be a `meta` of
/// pictures, since videos too may name HEIF's brands.
fn heif(head: &[u8]) -> Option<&'static str> {
    let size = number(head, 0)? as usize;
    if head.get(4..8)? != b"ftyp" || size < 16 {
        return None;
    }
    let known = |brand: &[u8]| HEIF_BRANDS.iter().find(|(known, _)| *known == brand).map(|(_, container)| *container);
    let brands = head.get(16..size.min(head.len())).unwrap_or_default().as_chunks::<4>().0;
    let others = || brands.iter().filter_map(|brand| known(brand));
    let likely = |first: &'static str| others().chain([first]).find(|container| *container != "heif").unwrap_or("heif");
    match known(head.get(8..12)?) {
        Some("heif") => Some(likely("heif")),
        Some(container) => Some(container),
        None => {
            // meta: size, name, version; hdlr: size, name, version, a number, and the kind.
            let next = head.get(size..)?;
            let is_picture = next.get(4..8)? == b"meta" && next.get(16..20)? == b"hdlr" && next.get(28..32)? == b"pict";
            others().next().filter(|_| is_picture).map(likely)
        }
    }
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
