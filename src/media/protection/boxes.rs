//! The boxes of MP4 (ISO 14496-12): whether the description of the video is there, and whether it says encrypted.

use std::io;

use super::{Encryption, Finding, ReadAt};

/// Boxes of one level that are looked at: a recording of a day in fragments of two seconds has a hundred thousand.
const MAX_BOXES: usize = 200_000;
/// Fragments that are asked whether they are encrypted.
const MAX_FRAGMENTS: usize = 1_000;
/// A description of samples with all of its parameter sets.
const MAX_DESCRIPTION_BYTES: usize = 256 << 10;
const MAX_FRAGMENT_BYTES: usize = 1 << 20;

/// Where the content of a box is.
#[derive(Debug, Clone, Copy)]
struct Content {
    kind: [u8; 4],
    from: u64,
    to: u64,
}

/// The boxes from `at` to `end`, as far as they can be followed.
fn boxes<F: ReadAt + ?Sized>(file: &F, mut at: u64, end: u64) -> impl Iterator<Item = io::Result<Content>> + '_ {
    std::iter::from_fn(move || {
        if at.saturating_add(8) > end {
            return None;
        }
        let head = match file.bytes(at, 16) {
            Ok(head) => head,
            Err(error) => return Some(Err(error)),
        };
        let short = u32::from_be_bytes(head.get(..4)?.try_into().ok()?);
        let kind = head.get(4..8)?.try_into().ok()?;
        let (size, header) = match short {
            0 => (end - at, 8),
            1 => (u64::from_be_bytes(head.get(8..16)?.try_into().ok()?), 16),
            size => (u64::from(size), 8),
        };
        if size < header {
            return None;
        }
        let to = at.saturating_add(size).min(end);
        let found = Content { kind, from: at.saturating_add(header).min(to), to };
        at = at.saturating_add(size);
        Some(Ok(found))
    })
    .take(MAX_BOXES)
}

fn inside<F: ReadAt + ?Sized>(file: &F, of: Content, kind: &[u8; 4]) -> io::Result<Vec<Content>> {
    boxes(file, of.from, of.to).filter(|found| found.as_ref().map_or(true, |found| found.kind == *kind)).collect()
}

/// What the boxes say of the video.
pub fn find<F: ReadAt + ?Sized>(file: &F, skip: u64) -> io::Result<Finding> {
    let (mut encrypted, mut fragments) = (None, vec![]);
    for found in boxes(file, skip, file.len_bytes()) {
        let found = found?;
        match &found.kind {
            b"moov" if encrypted.is_none() => match encryption(file, found)? {
                None => return Ok(Finding::Plain),
                some => encrypted = some,
            },
            b"moof" if fragments.len() < MAX_FRAGMENTS => fragments.push(found),
            _ => {}
        }
    }
    let Some(mut found) = encrypted else {
        return Ok(if fragments.is_empty() { Finding::Plain } else { Finding::SegmentAlone });
    };
    for fragment in fragments {
        found.has_clear_part |= !is_encrypted_fragment(file, fragment)?;
    }
    Ok(Finding::Encrypted(found))
}

/// None where a video track is not encrypted.
fn encryption<F: ReadAt + ?Sized>(file: &F, description: Content) -> io::Result<Option<Encryption>> {
    let mut found: Option<Encryption> = None;
    for track in inside(file, description, b"trak")? {
        let mut level = vec![track];
        for kind in [b"mdia", b"minf", b"stbl", b"stsd"] {
            let mut below = vec![];
            for parent in level.into_iter().take(4) {
                below.extend(inside(file, parent, kind)?);
            }
            level = below;
        }
        for entries in level {
            match of_entries(file, entries)? {
                Entries::NoVideo => {}
                Entries::Clear => return Ok(None),
                Entries::Encrypted(of_track) => found = found.or(Some(of_track)),
            }
        }
    }
    Ok(found)
}

enum Entries {
    NoVideo,
    Clear,
    Encrypted(Encryption),
}

/// The entries of one `stsd`, which begin after a version, flags and their count.
fn of_entries<F: ReadAt + ?Sized>(file: &F, entries: Content) -> io::Result<Entries> {
    const SOUND: [&[u8; 4]; 12] =
        [b"mp4a", b"enca", b"ac-3", b"ec-3", b"Opus", b"fLaC", b"alac", b"sowt", b"twos", b"lpcm", b"samr", b"sawb"];
    let (mut scheme, mut clear, mut video) = (None, false, false);
    for entry in boxes(file, entries.from.saturating_add(8), entries.to).take(64) {
        let entry = entry?;
        match &entry.kind {
            b"encv" => {
                let count = usize::try_from(entry.to - entry.from).unwrap_or(usize::MAX).min(MAX_DESCRIPTION_BYTES);
                let bytes = file.bytes(entry.from, count)?;
                let at = bytes.windows(4).position(|window| window == b"schm");
                let name = at.and_then(|at| bytes.get(at + 8..at + 12));
                let name = name.map_or("no scheme named".to_owned(), |name| name.escape_ascii().to_string());
                scheme = Some(format!("Common Encryption, {name}"));
            }
            b"drmi" => scheme = Some("FairPlay".to_owned()),
            kind if SOUND.contains(&kind) => {}
            kind => clear |= is_video(kind),
        }
        video = scheme.is_some() || clear;
    }
    Ok(match scheme {
        Some(scheme) => Entries::Encrypted(Encryption { scheme, has_clear_part: clear }),
        None if video => Entries::Clear,
        None => Entries::NoVideo,
    })
}

/// Entries of the codecs in which films are encrypted, and so of what may be clear beside them.
fn is_video(kind: &[u8; 4]) -> bool {
    const VIDEO: [&[u8; 4]; 16] = [
        b"avc1", b"avc2", b"avc3", b"avc4", b"hvc1", b"hev1", b"dvh1", b"dvhe", b"dvav", b"dva1", b"vp08", b"vp09",
        b"av01", b"mp4v", b"apcn", b"jpeg",
    ];
    VIDEO.contains(&kind)
}

/// Whether a fragment says how its samples are encrypted: `senc`, `saiz` or PIFF's box.
fn is_encrypted_fragment<F: ReadAt + ?Sized>(file: &F, fragment: Content) -> io::Result<bool> {
    const PIFF: &[u8] = b"\xa2\x39\x4f\x52\x5a\x9b\x4f\x14\xa2\x44\x6c\x42\x7c\x64\x8d\xf4";
    let count = usize::try_from(fragment.to - fragment.from).unwrap_or(usize::MAX).min(MAX_FRAGMENT_BYTES);
    let bytes = file.bytes(fragment.from, count)?;
    Ok(bytes.windows(4).any(|window| window == b"senc" || window == b"saiz")
        || bytes.windows(16).any(|window| window == PIFF))
}

#[cfg(test)]
mod tests {
    use super::super::{Encryption, Finding};
    use super::find;

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32 + 8).to_be_bytes()[..], kind, content].concat()
    }

    fn movie(entry: &[u8]) -> Vec<u8> {
        let entries = boxed(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1], entry].concat());
        [b"stbl", b"minf", b"mdia", b"trak", b"moov"].iter().fold(entries, |inside, kind| boxed(kind, &inside))
    }

    #[test]
    fn an_encrypted_entry_names_its_scheme() {
        let scheme = boxed(b"schm", b"\0\0\0\0cbcs\0\x01\0\0");
        let entry = boxed(b"encv", &[&[0; 78][..], &boxed(b"sinf", &scheme)].concat());
        let expected = Encryption { scheme: "Common Encryption, cbcs".to_owned(), has_clear_part: false };
        assert_eq!(find(&movie(&entry)[..], 0).unwrap(), Finding::Encrypted(expected));
        assert_eq!(find(&movie(&boxed(b"avc1", &[0; 78]))[..], 0).unwrap(), Finding::Plain);
        assert_eq!(find(&boxed(b"moof", &[0; 16])[..], 0).unwrap(), Finding::SegmentAlone);
    }

    #[test]
    fn boxes_that_lie_about_their_size_do_no_harm() {
        // A header of 16 bytes in the last eight of its parent, and sizes beyond the end.
        let long = [&[0, 0, 0, 1][..], b"encv", &[0xff; 8]].concat();
        let large = [&[0xff; 4][..], b"encv", &[0xff; 8]].concat();
        for entry in [&long[..8], &long, &large, &[0; 8], &[0, 0, 0, 7, b'e', b'n', b'c', b'v']] {
            let file = movie(entry);
            for end in 0..=file.len() {
                let _ = find(&file[..end], 0).unwrap();
            }
        }
    }
}
