//! A sequence without a primary item (23008-12, 7) → its first picture: the first sample of its first track of pictures.

use bytes::Bytes;

use super::HeifPicture;
use super::boxes::{Reader, boxes, child, corrupt, name_of, unsupported};
use super::node::{Node, Source};
use super::properties::{Properties, nclx};
use super::resolve::Resolver;
use crate::error::{Rejection, RejectionClass};
use crate::media::still::DecodeLimits;

/// What stands before the boxes of a visual sample entry (14496-12, 12.1.3).
const VISUAL_ENTRY_BYTES: usize = 78;

/// `movie` is what is in the box `moov`.
///
/// # Errors
/// As [`super::read`].
pub fn first_picture(movie: &[u8], file: &Bytes, limits: DecodeLimits) -> Result<HeifPicture, Rejection> {
    for track in boxes(movie) {
        let track = track?;
        if track.kind != *b"trak" {
            continue;
        }
        let Some(media) = child(track.body, b"mdia")? else { continue };
        let handler = child(media, b"hdlr")?.and_then(|body| body.get(8..12)).unwrap_or_default();
        if handler == b"pict" || handler == b"vide" {
            return of_track(media, file, limits);
        }
    }
    Err(corrupt("expected a track of pictures, found none"))
}

fn of_track(media: &[u8], file: &Bytes, limits: DecodeLimits) -> Result<HeifPicture, Rejection> {
    let missing = |kind: &[u8; 4]| corrupt(format_args!("track: expected a box {}, found none", name_of(*kind)));
    let find = |body, kind| child(body, kind)?.ok_or_else(|| missing(kind));
    let table = find(find(media, b"minf")?, b"stbl")?;
    let entries = find(table, b"stsd")?.get(8..).unwrap_or_default();
    let entry = Reader::new(entries).next_box()?.ok_or_else(|| missing(b"stsd"))?;
    let mut properties = Properties::default();
    for found in boxes(entry.body.get(VISUAL_ENTRY_BYTES..).unwrap_or_default()) {
        let found = found?;
        match &found.kind {
            b"hvcC" | b"av1C" => properties.configuration = Some(found),
            b"colr" => properties.nclx = nclx(found.body)?.or(properties.nclx),
            _ => {}
        }
    }
    match &entry.kind {
        b"hvc1" | b"hev1" | b"av01" => {}
        b"encv" => return Err(Rejection::new(RejectionClass::Encrypted, "HEIF: its track is encrypted")),
        other => {
            let name = name_of(*other);
            return Err(unsupported(format_args!("expected a track of HEVC or AV1, found {name}")));
        }
    }
    let sample = first_sample(find(table, b"stsz")?, chunk_offset(table)?, file)?;
    let meta = super::items::Meta::default();
    let mut resolver = Resolver::new(file, &meta, limits);
    let (place, format, own) = resolver.add(entry.kind, vec![sample], &properties)?;
    let root = Node {
        source: Source::Coded(place, format),
        transforms: vec![],
        source_px: format.size_px,
        size_px: format.size_px,
        nclx: properties.nclx.or(own),
        alpha: None,
    };
    resolver.finish(root)
}

fn chunk_offset(table: &[u8]) -> Result<u64, Rejection> {
    let (body, bytes) = match (child(table, b"stco")?, child(table, b"co64")?) {
        (Some(body), _) => (body, 4),
        (None, Some(body)) => (body, 8),
        (None, None) => return Err(corrupt("track: expected the places of its samples, found none")),
    };
    let mut reader = Reader::new(body);
    reader.take(8)?;
    reader.number(bytes)
}

fn first_sample(sizes: &[u8], offset: u64, file: &Bytes) -> Result<Bytes, Rejection> {
    let mut reader = Reader::new(sizes);
    reader.take(4)?;
    let common = reader.u32()?;
    reader.take(4)?;
    let length = if common == 0 { reader.u32()? } else { common };
    let end = offset.checked_add(u64::from(length)).filter(|end| *end <= file.len() as u64);
    let end = end.ok_or_else(|| {
        corrupt(format_args!("track: expected {length} bytes at {offset}, the file ends at {}", file.len()))
    })?;
    Ok(file.slice(offset as usize..end as usize))
}
