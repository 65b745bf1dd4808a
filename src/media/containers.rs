//! Containers of videos, by what their files begin with.

use super::sniff::VideoKind;

const fn kind(container: &'static str, demuxer: &'static str) -> VideoKind {
    VideoKind { container, demuxer, skip_bytes: 0 }
}

const MP4: VideoKind = kind("mp4", "mov");
const MATROSKA: VideoKind = kind("matroska", "matroska");
const WEBM: VideoKind = kind("webm", "matroska");
const AVI: VideoKind = kind("avi", "avi");
const MPEG_TS: VideoKind = kind("mpegts", "mpegts");
const FLV: VideoKind = kind("flv", "flv");
const MPEG_PS: VideoKind = kind("mpegps", "mpeg");
const MPEG_VIDEO: VideoKind = kind("mpegvideo", "mpegvideo");
const ASF: VideoKind = kind("asf", "asf");
const OGG: VideoKind = kind("ogg", "ogg");
const MXF: VideoKind = kind("mxf", "mxf");
const RAW_H264: VideoKind = kind("h264", "h264");
const RAW_HEVC: VideoKind = kind("hevc", "hevc");
const IVF: VideoKind = kind("ivf", "ivf");
const DV: VideoKind = kind("dv", "dv");

/// Every container, and what its files are called.
pub const VIDEOS: [(VideoKind, &str); 15] = [
    (MP4, "MP4, MOV, 3GP, Motion JPEG 2000"),
    (MATROSKA, "Matroska"),
    (WEBM, "WebM"),
    (AVI, "AVI"),
    (MPEG_TS, "MPEG-TS, M2TS"),
    (MPEG_PS, "MPEG-PS, VOB"),
    (MPEG_VIDEO, "MPEG-1 and MPEG-2 elementary streams"),
    (FLV, "FLV"),
    (ASF, "ASF, WMV"),
    (OGG, "Ogg"),
    (MXF, "MXF"),
    (RAW_H264, "H.264 elementary streams"),
    (RAW_HEVC, "HEVC elementary streams"),
    (IVF, "IVF"),
    (DV, "DV"),
];

/// Video formats that are not decoded, by how they begin and as a row names them.
const OTHERS: [(&[u8], &str); 22] = [
    (b".RMF\0", "RealMedia"),
    (b".ra\xfd", "RealMedia"),
    (b"YUV4MPEG2", "YUV4MPEG2, uncompressed video"),
    (b"NSVs", "Nullsoft Streaming Video"),
    (b"NSVf", "Nullsoft Streaming Video"),
    (b"nut/multimedia container\0", "NUT"),
    (b"FWS", "Flash (SWF)"),
    (b"CWS", "Flash (SWF)"),
    (b"ZWS", "Flash (SWF)"),
    (b"BIKi", "Bink video"),
    (b"BIKf", "Bink video"),
    (b"KB2", "Bink video"),
    (b"SMK2", "Smacker video"),
    (b"SMK4", "Smacker video"),
    (b"\x00\x00\x00\x00\x01\xbc", "GXF"),
    (b"\xb7\xd8\x00\x20\x37\x49\xda\x11\xa6\x4e\x00\x07\xe9\x5e\xad\x8d", "Windows TV recording (WTV)"),
    (b"BBCD\0", "Dirac elementary stream"),
    (b"\x00\x00\x01\xb0", "MPEG-4 elementary stream"),
    (b"\x00\x00\x01\xb5", "MPEG-4 elementary stream"),
    (b"\x00\x00\x01\x20", "MPEG-4 elementary stream"),
    (b"\x00\x00\x01\x00\x00\x00\x01\x20", "MPEG-4 elementary stream"),
    (b"\x12\x00\x0a", "AV1 elementary stream"),
];

/// The container that a file with such a beginning may be.
#[must_use]
pub fn video(head: &[u8]) -> Option<VideoKind> {
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
    if head.starts_with(b"OggS\0") && ogg_has_video(head) {
        return Some(OGG);
    }
    let begins: [(&[u8], VideoKind); 6] = [
        (b"FLV\x01", FLV),
        (b"\x00\x00\x01\xba", MPEG_PS),
        (b"\x00\x00\x01\xb3", MPEG_VIDEO),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", ASF),
        (b"DKIF\0\0", IVF),
        (b"\x1f\x07\x00", DV),
    ];
    let begins = begins.into_iter().find(|(start, _)| head.starts_with(start)).map(|(_, kind)| kind);
    let begins = begins.or_else(|| is_mxf(head).then_some(MXF)).or_else(|| elementary(head));
    begins.or_else(|| is_mpeg_ts(head).then_some(MPEG_TS)).or_else(|| mp4_after_junk(head))
}

/// A video that is not decoded, as a row names it.
#[must_use]
pub fn other_video(head: &[u8]) -> Option<&'static str> {
    let flic = [[0x11, 0xaf], [0x12, 0xaf]].iter().any(|magic| head.get(4..6) == Some(magic));
    // The sizes of frame and picture follow, and a depth of 8 bits.
    if flic && head.get(12..14) == Some(&[8, 0]) {
        return Some("FLIC animation");
    }
    OTHERS.iter().find(|(start, _)| head.starts_with(start)).map(|(_, name)| *name)
}

/// A piece of a WebM recording that is sent in pieces, without what a decoder must know first: a cluster.
#[must_use]
pub fn is_media_segment(head: &[u8]) -> bool {
    head.starts_with(b"\x1f\x43\xb6\x75")
}

/// A picture in the boxes of MP4.
fn is_picture_brand(brand: &[u8]) -> bool {
    const PICTURES: [&[u8; 4]; 12] =
        [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis", b"jp2 ", b"crx "];
    PICTURES.iter().any(|picture| *picture == brand)
}

/// MP4 and QuickTime, which before 2001 had no `ftyp`: a box that may come first, and after boxes of no meaning another
/// one. A file in fragments begins like any other.
fn is_mp4(head: &[u8]) -> bool {
    let mut rest = head;
    loop {
        let (Some(size), Some(kind)) = (number(rest, 0), rest.get(4..8)) else { return false };
        let is_first = rest.len() == head.len();
        match kind {
            b"ftyp" => {
                let brand = rest.get(8..12);
                return size >= 16
                    && brand.is_some_and(|brand| brand.iter().all(is_of_a_name) && !is_picture_brand(brand));
            }
            // What a file begins with that is one of many pieces; whether it can be decoded alone is found out later.
            b"styp" | b"sidx" | b"moof" | b"emsg" | b"prft" | b"ssix" => return size == 1 || size >= 8,
            b"moov" | b"pnot" => return size == 1 || size >= 16,
            b"mdat" => return size <= 1 || size >= 8, // 0: to the end; 1: 64 bits of size follow
            // Room that was left for something, or what nobody but its writer knows. What is larger than the head ends the
            // search, with what it looks like.
            b"wide" | b"free" | b"skip" | b"junk" | b"uuid" | b"jP  " => match rest.get(size as usize..) {
                Some(next) if size >= 8 && !next.is_empty() => rest = next,
                Some(_) => return false,
                None => return true,
            },
            _ if !is_first || kind.iter().all(u8::is_ascii_alphanumeric) => match rest.get(size as usize..) {
                Some(next) if size >= 8 && !next.is_empty() => rest = next,
                _ => return false,
            },
            _ => return false,
        }
    }
}

/// MP4 behind bytes of something else, such as the header of a download: where its first box is whole, with a brand.
fn mp4_after_junk(head: &[u8]) -> Option<VideoKind> {
    let mut starts = (1..head.len().saturating_sub(16)).filter(|at| head[at + 4..].starts_with(b"ftyp"));
    let is_whole =
        |at: &usize| number(head, *at).is_some_and(|size| (16..=1024).contains(&size) && size.is_multiple_of(4));
    let start = starts.find(|at| is_whole(at) && is_mp4(&head[*at..]))?;
    // What is a box of that size is a part of the file, and offsets count it.
    let is_box = number(head, 0).is_some_and(|size| size as usize == start);
    Some(VideoKind { skip_bytes: if is_box { 0 } else { start as u64 }, ..MP4 })
}

fn is_of_a_name(byte: &u8) -> bool {
    byte.is_ascii_graphic() || *byte == b' '
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The name of its profile is in the EBML header (RFC 8794), among elements of one or two bytes of name and one to
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

/// A number whose leading zeros say how many bytes it takes, and what follows it.
pub(super) fn ebml_size(bytes: &[u8]) -> Option<(u64, &[u8])> {
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
    }) || has_packets_later(head)
}

/// The same after a piece of something else: five packets in a row.
fn has_packets_later(head: &[u8]) -> bool {
    (0..head.len()).filter(|start| head[*start] == 0x47).any(|start| {
        let mut marks = head[start..].iter().step_by(188).take(5);
        marks.len() == 5 && marks.all(|mark| *mark == 0x47)
    })
}

/// The first pages name the codec of every stream, videos first.
fn ogg_has_video(head: &[u8]) -> bool {
    let names = |codec: &[u8]| head.windows(codec.len()).any(|window| window == codec);
    let sounds: [&[u8]; 4] = [b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   "];
    let videos: [&[u8]; 4] = [b"\x80theora", b"BBCD\0", b"OVP80", b"\x01video"];
    videos.into_iter().any(names) || !sounds.into_iter().any(names)
}

/// The key of a partition pack (SMPTE ST 377-1), behind a run-in of what somebody else needs.
fn is_mxf(head: &[u8]) -> bool {
    const PARTITION: &[u8] = b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01";
    head.windows(PARTITION.len()).any(|window| window == PARTITION)
}

/// H.264 (a sequence parameter set or an access unit delimiter first) or HEVC (a video parameter set or a delimiter), in
/// the byte stream format of their annexes B.
fn elementary(head: &[u8]) -> Option<VideoKind> {
    let zeros = head.iter().take_while(|byte| **byte == 0).count();
    if !(2..=64).contains(&zeros) || head.get(zeros) != Some(&1) {
        return None;
    }
    let (first, second) = (*head.get(zeros + 1)?, *head.get(zeros + 2)?);
    let is_start = |at: usize| head.get(at..at + 3) == Some(&[0, 0, 1]);
    let delimited = |length: usize| (0..2).any(|zero| is_start(zeros + 1 + length + zero));
    let is_h264 = match first {
        // Reference bits are set in a parameter set; a profile follows, and a level that exists.
        0x27 | 0x47 | 0x67 => [44, 66, 77, 83, 86, 88, 100, 110, 118, 122, 128, 138, 144, 244].contains(&second),
        0x09 => delimited(2),
        // A set of messages comes first in some.
        0x06 => head.windows(4).any(|window| window[..3] == [0, 0, 1] && [0x27, 0x47, 0x67].contains(&window[3])),
        _ => false,
    };
    // Layer 0 and sublayer 1, whose number plus 1 is the second byte.
    let is_hevc = second == 1 && (matches!(first, 0x40 | 0x42) || first == 0x46 && delimited(3));
    if is_h264 { Some(RAW_H264) } else { is_hevc.then_some(RAW_HEVC) }
}
