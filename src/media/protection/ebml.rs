//! The elements of Matroska (RFC 9559): whether the video track says encrypted.

use std::io;

use super::super::containers::ebml_size;
use super::{Encryption, ReadAt};

/// Elements of one level that are looked at before the first cluster.
const MAX_ELEMENTS: usize = 10_000;
/// The descriptions of all tracks, with the parameter sets and fonts that some carry.
const MAX_TRACKS_BYTES: usize = 4 << 20;

const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u32 = 0x1654_ae6b;
const CLUSTER: u32 = 0x1f43_b675;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_TYPE: u32 = 0x83;
const CONTENT_ENCODINGS: u32 = 0x6d80;
const CONTENT_ENCODING: u32 = 0x6240;
const CONTENT_ENCRYPTION: u32 = 0x5035;
const VIDEO: &[u8] = &[1];

/// How the first video track is encrypted. None where it is not.
pub fn find<F: ReadAt + ?Sized>(file: &F) -> io::Result<Option<Encryption>> {
    let Some(tracks) = tracks(file)? else { return Ok(None) };
    let video = children(&tracks).filter(|(name, _)| *name == TRACK_ENTRY).map(|(_, entry)| entry);
    let mut video = video.filter(|entry| child(entry, TRACK_TYPE) == Some(VIDEO));
    let encodings = video.next().and_then(|entry| child(entry, CONTENT_ENCODINGS)).unwrap_or_default();
    let is_encrypted = children(encodings)
        .any(|(name, encoding)| name == CONTENT_ENCODING && child(encoding, CONTENT_ENCRYPTION).is_some());
    Ok(is_encrypted.then(|| Encryption { scheme: "Matroska ContentEncryption".to_owned(), has_clear_part: false }))
}

/// The content of the element Tracks, which comes before the first cluster in all files but damaged ones.
fn tracks<F: ReadAt + ?Sized>(file: &F) -> io::Result<Option<Vec<u8>>> {
    let mut at = 0;
    for _ in 0..MAX_ELEMENTS {
        let head = file.bytes(at, 12)?;
        let Some((name, size, header)) = element(&head) else { return Ok(None) };
        at = at.saturating_add(header as u64);
        match name {
            SEGMENT => {}
            TRACKS => {
                let count = usize::try_from(size).unwrap_or(usize::MAX).min(MAX_TRACKS_BYTES);
                return file.bytes(at, count).map(Some);
            }
            CLUSTER => return Ok(None),
            _ => at = at.saturating_add(size),
        }
    }
    Ok(None)
}

/// Name, size of the content and bytes before it.
fn element(bytes: &[u8]) -> Option<(u32, u64, usize)> {
    let length = bytes.first()?.leading_zeros() as usize + 1;
    let name = bytes.get(..length).filter(|name| name.len() <= 4)?;
    let name = name.iter().fold(0, |name, byte| name << 8 | u32::from(*byte));
    let (size, behind) = ebml_size(&bytes[length..])?;
    Some((name, size, bytes.len() - behind.len()))
}

fn children(mut bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let (name, size, header) = element(bytes)?;
        let rest = &bytes[header..];
        let (content, next) = rest.split_at(rest.len().min(usize::try_from(size).unwrap_or(usize::MAX)));
        bytes = next;
        Some((name, content))
    })
    .take(MAX_ELEMENTS)
}

fn child(bytes: &[u8], name: u32) -> Option<&[u8]> {
    children(bytes).find(|(found, _)| *found == name).map(|(_, content)| content)
}
