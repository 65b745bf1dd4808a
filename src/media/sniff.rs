//! The first bytes of an object → what it is. The name is never asked.
//!
//! A container is known here and no more: which streams stand in it is for the demuxer to say. What is plain text is no
//! video, whatever words it begins with: a playlist would send the demuxer on to other files.

use super::containers::{VIDEOS, is_media_segment, other_video, video};
use super::pictures;
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
    /// Bytes of something else before it begins.
    pub skip_bytes: u64,
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

/// A container by the name that the column `container` has for it, as a picture's or a video's.
#[must_use]
pub fn container_named(name: &str) -> Option<&'static str> {
    let videos = VIDEOS.map(|(kind, _)| kind.container);
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

/// What `infer` calls the formats that are decoded and have a magic number.
const DECODED: [&str; 6] = ["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff"];

/// # Errors
/// The row's rejection, where the content is something else.
pub fn sniff(head: &[u8]) -> Result<Kind, NotDecoded> {
    let image = |format| IMAGES.into_iter().find(|image| image.format == format).map(Kind::Image);
    if let Some(image) = pictures::still(head).and_then(image) {
        return Ok(image);
    }
    if let Some(container) = heif(head) {
        return Ok(Kind::Heif(container));
    }
    let text = is_text(head);
    if !text && let Some(video) = video(head) {
        return Ok(Kind::Video(video));
    }
    if let Some(image) = pictures::still_by_its_fields(head).and_then(image) {
        return Ok(image);
    }
    let (kind, class, found) = something_else(head, text);
    let expected = "expected a picture or a video of a kind that is decoded";
    Err(NotDecoded { kind, rejection: Rejection::new(class, format_args!("{expected}, found {found}")) })
}

fn something_else(head: &[u8], text: bool) -> (Option<&'static str>, RejectionClass, &'static str) {
    use RejectionClass::{Corrupt, Incomplete, NoVideo, NotMedia, Unsupported};
    if let Some((_, found)) = IMAGE_BRANDS.iter().find(|(brand, _)| is_brand(head, brand)) {
        return (Some("image"), Unsupported, found);
    }
    if let Some(found) = pictures::other(head) {
        return (Some("image"), Unsupported, found);
    }
    if is_media_segment(head) {
        let found =
            "a media segment without its initialization segment; join the two, or list the recording they belong to";
        return (Some("video"), Incomplete, found);
    }
    if !text && let Some(found) = other_video(head) {
        return (Some("video"), Unsupported, found);
    }
    if head.starts_with(b"OggS\0") {
        return (None, NoVideo, "audio/ogg");
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

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The header of a frame of layer 1, 2 or 3 whose fields are all in use: `infer` knows one kind of it.
fn is_mpeg_audio(head: &[u8]) -> bool {
    let [0xff, second, third, ..] = head else { return false };
    let (version, layer, rate, frequency) = (second >> 3 & 3, second >> 1 & 3, third >> 4, third >> 2 & 3);
    second >> 5 == 7 && version != 1 && layer != 0 && !matches!(rate, 0 | 15) && frequency != 3
}
