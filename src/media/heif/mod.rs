//! HEIC, HEIF and AVIF: boxes → what is to be decoded, and decoded planes → one picture, upright (ISO/IEC 23008-12; AV1
//! Image File Format).
//!
//! ```text
//! bytes ─▶ read ([`items`], [`properties`], [`resolve`] into [`node`]s; [`track`] for a sequence without items)
//!       ─▶ HeifPicture: streams of coded pictures, and how the picture is put together
//!                │ somebody else decodes the streams: HEVC and AV1 are never decoded in this process
//!                ▼
//!       planes ─▶ compose ([`compose`], [`colour`]) ─▶ RGB8
//! ```
//!
//! Of a file its primary item counts; thumbnails, depth, gain maps and EXIF's orientation do not. Nothing here decodes but
//! items of JPEG, and nothing allocates on a file's word: [`HeifPicture::decode_bytes`] says what decoding and
//! composing take, and all of it is within the limits before a pixel exists.

pub mod av1;
pub mod bits;
pub mod boxes;
pub mod coded;
pub mod colour;
pub mod compose;
pub mod hevc;
pub mod items;
pub mod node;
pub mod properties;
pub mod resolve;
pub mod track;

use bytes::Bytes;
use image::metadata::Orientation;

use self::boxes::{boxes, corrupt, unsupported};
use self::coded::Stream;
use self::items::Meta;
use self::node::Node;
use self::properties::Nclx;
use self::resolve::Resolver;
use super::still::DecodeLimits;
use crate::error::{Rejection, RejectionClass};
use crate::limits;

/// Everything that decoding needs of a file.
#[derive(Debug)]
pub struct HeifPicture {
    /// As the column `container` spells it: `heic`, `avif`, or `heif` for other codecs.
    pub container: &'static str,
    /// Upright.
    pub size_px: (u32, u32),
    /// What its properties make of the stored picture.
    pub orientation: Orientation,
    /// What the file states of its colours.
    pub nclx: Option<Nclx>,
    /// The most that is held at once: coded and decoded pictures, the composed one, and the decoder.
    pub decode_bytes: u64,
    /// Each for one decoder. The planes of their pictures, in order, are what [`compose::compose`] takes.
    pub streams: Vec<Stream>,
    root: Node,
}

/// # Errors
/// A file that is broken, encrypted, of codecs or features that are not decoded, or larger than the limits.
pub fn read(file: &Bytes, limits: DecodeLimits) -> Result<HeifPicture, Rejection> {
    let (mut movie, mut by_item) = (None, None);
    for found in boxes(file) {
        let found = found?;
        match &found.kind {
            b"meta" if found.is_cut => return Err(corrupt("the file ends in the middle of its box \"meta\"")),
            b"meta" if by_item.is_none() => by_item = primary(file, found.body, limits).transpose(),
            b"moov" => movie = Some(found.body),
            b"mini" => return Err(unsupported("expected a box \"meta\", found the short form \"mini\"")),
            _ => {}
        }
    }
    match (by_item, movie) {
        (Some(Ok(picture)), _) => Ok(picture),
        // A sequence may name an item that is not there.
        (Some(Err(error)), Some(movie)) if error.class == RejectionClass::Corrupt => {
            track::first_picture(movie, file, limits).map_err(|_| error)
        }
        (Some(Err(error)), _) => Err(error),
        (None, Some(movie)) => track::first_picture(movie, file, limits),
        (None, None) => Err(corrupt("expected a primary item or a track of pictures, found none")),
    }
}

fn primary(file: &Bytes, meta: &[u8], limits: DecodeLimits) -> Result<Option<HeifPicture>, Rejection> {
    let meta = Meta::read(meta)?;
    meta.primary.map(|primary| Resolver::new(file, &meta, limits).picture(primary)).transpose()
}

impl HeifPicture {
    fn new(root: Node, streams: Vec<Stream>, limits: DecodeLimits) -> Result<Self, Rejection> {
        let size_px = root.size_px;
        limits.check_size(size_px)?;
        let mut bytes = root.working_bytes();
        for stream in &streams {
            limits.check_size(stream.format.size_px)?;
            let pictures = stream.pictures.len() as u64;
            let decoder = limits::DECODER_BASE_BYTES + limits::STILL_DECODER_PICTURES * stream.format.picture_bytes();
            bytes = bytes
                .saturating_add(stream.coded_bytes())
                .saturating_add(pictures.saturating_mul(stream.format.picture_bytes()))
                .saturating_add(decoder);
        }
        if bytes > limits.max_decode_bytes {
            let (most, (width, height)) = (limits.max_decode_bytes, size_px);
            let message = format!(
                "expected a picture that takes at most {most} bytes to decode (a part of --memory), found one of \
                 {width}×{height} that takes {bytes}; give more --memory"
            );
            return Err(Rejection::new(RejectionClass::TooLarge, message));
        }
        let container = match streams.first() {
            Some(Stream { codec: coded::Codec::Hevc, .. }) => "heic",
            Some(Stream { codec: coded::Codec::Av1 { .. }, .. }) => "avif",
            None => "heif",
        };
        let (orientation, nclx) = (root.orientation(), root.nclx);
        Ok(Self { container, size_px, orientation, nclx, decode_bytes: bytes, streams, root })
    }

    /// The transfer function that the file states, in ffmpeg's words; None where it states none.
    #[must_use]
    pub fn color_transfer(&self) -> Option<&'static str> {
        colour::transfer_name(self.nclx?.transfer)
    }
}
