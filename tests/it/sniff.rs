//! What an object is, by its first bytes alone: beginnings as the formats' documents describe them, and what only looks
//! like one. What ffmpeg writes in each format is told apart in the runs over whole clips.

use deepsweep::error::RejectionClass;
use deepsweep::limits::SNIFF_BYTES;
use deepsweep::media::sniff::{Kind, VideoKind, sniff};

const MP4: VideoKind = VideoKind { container: "mp4", demuxer: "mov", skip_bytes: 0 };
const MATROSKA: VideoKind = VideoKind { container: "matroska", demuxer: "matroska", skip_bytes: 0 };
const WEBM: VideoKind = VideoKind { container: "webm", demuxer: "matroska", skip_bytes: 0 };
const AVI: VideoKind = VideoKind { container: "avi", demuxer: "avi", skip_bytes: 0 };
const MPEG_TS: VideoKind = VideoKind { container: "mpegts", demuxer: "mpegts", skip_bytes: 0 };

/// Kind, class, and a part of the message.
type Rejected = (Option<&'static str>, RejectionClass, &'static str);

/// `start`, and behind it what no magic number is made of.
fn padded(start: &[u8]) -> Vec<u8> {
    let mut head = start.to_vec();
    head.resize(SNIFF_BYTES, 0xa5);
    head
}

fn boxes(parts: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let one =
        |(kind, content): &(&[u8; 4], &[u8])| [&(content.len() as u32 + 8).to_be_bytes()[..], *kind, content].concat();
    parts.iter().flat_map(one).collect()
}

fn packets(start: usize, packet: usize) -> Vec<u8> {
    (0..SNIFF_BYTES).map(|at| if at % packet == start { 0x47 } else { (at % 64) as u8 }).collect()
}

#[test]
fn containers_are_known_by_their_content() {
    let ftyp = |brand: &[u8]| boxes(&[(b"ftyp", &[brand, b"\0\0\x02\0isommp41"].concat())]);
    let kind = |container, demuxer| VideoKind { container, demuxer, skip_bytes: 0 };
    let ogg = |codec: &[u8]| [b"OggS\0\x02\0\0\0\0\0\0\0\0abcd\0\0\0\0efgh\x01\x1e", codec].concat();
    let ebml = |content: &[u8]| [b"\x1a\x45\xdf\xa3", &[0x80 | content.len() as u8][..], content].concat();
    let cases: [(&str, Vec<u8>, VideoKind); 46] = [
        ("MP4", ftyp(b"isom"), MP4),
        ("MP4 of a brand that is named like an image later on", ftyp(b"mp42"), MP4),
        ("QuickTime", ftyp(b"qt  "), MP4),
        ("3GP", ftyp(b"3gp4"), MP4),
        ("M4V", ftyp(b"M4V "), MP4),
        ("a sound by its brand alone", ftyp(b"M4A "), MP4),
        ("in fragments", boxes(&[(b"ftyp", b"iso5\0\0\x02\0iso5iso6"), (b"moov", &[0; 64])]), MP4),
        ("a segment", boxes(&[(b"styp", b"msdh\0\0\0\0msdh")]), MP4),
        ("QuickTime without ftyp, moov first", boxes(&[(b"moov", &[0; 64])]), MP4),
        ("QuickTime without ftyp, mdat first", b"\x00\x12\x34\x56mdat".to_vec(), MP4),
        ("mdat to the end", b"\0\0\0\0mdat".to_vec(), MP4),
        ("mdat of 64 bits", b"\0\0\0\x01mdat\0\0\0\x02\0\0\0\0".to_vec(), MP4),
        ("wide, then mdat", boxes(&[(b"wide", b""), (b"mdat", &[7; 30])]), MP4),
        ("free, skip, then moov", boxes(&[(b"free", &[0; 40]), (b"skip", &[1; 9]), (b"moov", &[0; 64])]), MP4),
        ("free beyond the head", b"\x00\x01\x00\x00free".to_vec(), MP4),
        ("a preview first", boxes(&[(b"pnot", &[0; 12])]), MP4),
        ("WebM", ebml(b"\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08\x42\x82\x84webm"), WEBM),
        ("Matroska", ebml(b"\x42\x86\x81\x01\x42\x82\x88matroska\x42\x87\x81\x04"), MATROSKA),
        (
            "Matroska with an empty element and a checksum",
            ebml(b"\xec\x81\0\xbf\x84abcd\x42\x82\x88matroska"),
            MATROSKA,
        ),
        (
            "Matroska, sizes of eight bytes",
            [&b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x13\x42\x82\x01\0\0\0\0\0\0\x08matroska"[..], b"\xec"].concat(),
            MATROSKA,
        ),
        ("Matroska without a profile", ebml(b"\x42\x86\x81\x01"), MATROSKA),
        ("a profile that ends early", ebml(b"\x42\x82\x88webm\0\0\0\0"), WEBM),
        ("AVI", b"RIFF\x00\x10\x00\x00AVI LIST".to_vec(), AVI),
        ("AVI, OpenDML", b"RIFF\x00\x10\x00\x00AVIXLIST".to_vec(), AVI),
        ("MPEG-TS", packets(0, 188), MPEG_TS),
        ("M2TS", packets(4, 192), MPEG_TS),
        ("MPEG-TS with checksums", packets(0, 204), MPEG_TS),
        ("MPEG-TS from the middle of a packet", packets(187, 188), MPEG_TS),
        ("M2TS from the middle of a packet", packets(190, 192), MPEG_TS),
        ("MPEG-TS behind something else", [&[0x11; 700][..], &packets(0, 188)].concat(), MPEG_TS),
        (
            "QuickTime with a box of its own first",
            boxes(&[(b"junk", b"qt  "), (b"wide", b""), (b"mdat", &[7; 30])]),
            MP4,
        ),
        ("Motion JPEG 2000", boxes(&[(b"jP  ", b"\r\n\x87\n"), (b"ftyp", b"mjp2\0\0\0\0mjp2")]), MP4),
        ("a fragment", boxes(&[(b"moof", &[0; 16])]), MP4),
        (
            "3GP behind something else",
            [b"HTTP/1.1 200 OK\r\n\r\n\0", &ftyp(b"3gp4")[..]].concat(),
            VideoKind { skip_bytes: 20, ..MP4 },
        ),
        ("FLV", b"FLV\x01\x05\0\0\0\x09".to_vec(), kind("flv", "flv")),
        ("WMV", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c".to_vec(), kind("asf", "asf")),
        ("MPEG-PS", b"\0\0\x01\xba\x44\0\x04\0".to_vec(), kind("mpegps", "mpeg")),
        ("MPEG-1 video", b"\0\0\x01\xb3\x16\0\xf0".to_vec(), kind("mpegvideo", "mpegvideo")),
        ("Ogg with Theora", ogg(b"\x80theora\x03\x02"), kind("ogg", "ogg")),
        ("Ogg with an unknown codec", ogg(b"fishead\0"), kind("ogg", "ogg")),
        ("MXF", b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02".to_vec(), kind("mxf", "mxf")),
        ("IVF", b"DKIF\0\0\x20\0VP90".to_vec(), kind("ivf", "ivf")),
        ("DV", b"\x1f\x07\0\xbf".to_vec(), kind("dv", "dv")),
        ("H.264", b"\0\0\0\x01\x67\x64\0\x1f".to_vec(), kind("h264", "h264")),
        ("HEVC", b"\0\0\0\x01\x40\x01\x0c\x01".to_vec(), kind("hevc", "hevc")),
        ("three packets in all", packets(0, 188)[..564].to_vec(), MPEG_TS),
    ];
    for (name, start, expected) in cases {
        let head = if start.len() > 500 { start } else { padded(&start) };
        assert_eq!(sniff(&head), Ok(Kind::Video(expected)), "{name}");
    }
}

#[test]
fn heif_is_known_by_its_brands_and_a_video_stays_a_video() {
    let ftyp = |first: &[u8], others: &[u8]| boxes(&[(b"ftyp", &[first, b"\0\0\0\0", others].concat())]);
    let meta = |handler: &[u8]| {
        let hdlr = boxes(&[(b"hdlr", &[&[0; 8][..], handler, &[0; 13]].concat())]);
        boxes(&[(b"meta", &[&[0; 4][..], &hdlr].concat())])
    };
    let heif: [(&str, Vec<u8>, &str); 11] = [
        ("HEIC", ftyp(b"heic", b"mif1heic"), "heic"),
        ("HEIC of 10 bits", ftyp(b"heix", b"mif1heix"), "heic"),
        ("a burst", ftyp(b"msf1", b"hevcmif1heic"), "heic"),
        ("HEIF, then HEIC", ftyp(b"mif1", b"miafMiHBheic"), "heic"),
        ("AVIF", ftyp(b"avif", b"mif1miafMA1B"), "avif"),
        ("AVIF in motion", ftyp(b"avis", b"msf1mif1"), "avif"),
        ("HEIF, then AVIF", ftyp(b"mif1", b"avifmiaf"), "avif"),
        ("HEIF and no more", ftyp(b"mif1", b"mif1"), "heif"),
        ("without compatible brands", ftyp(b"mif1", b""), "heif"),
        ("the short form", ftyp(b"mif3", b""), "heif"),
        ("a stranger's brand first", [ftyp(b"XYZ ", b"mif1heic"), meta(b"pict")].concat(), "heic"),
    ];
    for (name, start, expected) in heif {
        assert_eq!(sniff(&padded(&start)), Ok(Kind::Heif(expected)), "{name}");
    }
    let videos = [
        ("a video that names brands of images", ftyp(b"isom", b"mp42mif1heic")),
        ("one with a meta of another kind", [ftyp(b"qt  ", b"mif1heic"), meta(b"mdta")].concat()),
        ("one with a meta of pictures and no brand", [ftyp(b"isom", b"mp42"), meta(b"pict")].concat()),
    ];
    for (name, start) in videos {
        assert_eq!(sniff(&padded(&start)), Ok(Kind::Video(MP4)), "{name}");
    }
}

#[test]
fn what_is_not_decoded_says_what_it_is() {
    use RejectionClass::{NoVideo, NotMedia, Unsupported};
    let ogg = |codec: &[u8]| [b"OggS\0\x02\0\0\0\0\0\0\0\0abcd\0\0\0\0efgh\x01\x1e", codec].concat();
    let cases: [(&str, Vec<u8>, Rejected); 19] = [
        ("CR3", b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom".to_vec(), (Some("image"), Unsupported, "cr3")),
        ("RealMedia", b".RMF\0\0\0\x12".to_vec(), (Some("video"), Unsupported, "RealMedia")),
        ("Ogg with Vorbis", ogg(b"\x01vorbis\0\0\0\0\x02"), (None, NoVideo, "audio/ogg")),
        ("Ogg with Opus", ogg(b"OpusHead\x01\x02"), (None, NoVideo, "audio/ogg")),
        ("MP3 with tags", b"ID3\x04\0\0\0\0\x0f\x76".to_vec(), (None, NoVideo, "audio/mpeg")),
        ("MP3", b"\xff\xfb\x90\x64\0".to_vec(), (None, NoVideo, "audio/mpeg")),
        ("MP3 of 22 kHz", b"\xff\xf3\x40\xc0\0".to_vec(), (None, NoVideo, "audio/mpeg")),
        ("WAV", b"RIFF\x64\0\0\0WAVEfmt ".to_vec(), (None, NoVideo, "audio/x-wav")),
        ("FLAC", b"fLaC\0\0\0\x22".to_vec(), (None, NoVideo, "flac")),
        ("AAC", b"\xff\xf1\x50\x80\x02".to_vec(), (None, NoVideo, "aac")),
        ("another EBML", b"\x1a\x45\xdf\xa3\x87\x42\x82\x84abcd".to_vec(), (Some("video"), Unsupported, "video/webm")),
        (
            "two packets that agree",
            [packets(0, 188)[..376].to_vec(), vec![0; 500]].concat(),
            (None, NotMedia, "no known"),
        ),
        ("a box of impossible size", b"\0\0\0\x05moovmvhd".to_vec(), (Some("video"), Unsupported, "quicktime")),
        ("nothing but room", boxes(&[(b"free", &[0; 1016])]), (None, NotMedia, "no known")),
        ("noise", b"\x91\x02\x33\x9c\xee\x01\x10\xf3".to_vec(), (None, NotMedia, "no known")),
        ("a playlist", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n".repeat(30), (None, NotMedia, "no known")),
        ("a list of files", b"ffconcat version 1.0\nfile /etc/passwd\n".repeat(30), (None, NotMedia, "no known")),
        ("text like a box", b"    moovmvhd, said the text. ".repeat(40), (None, NotMedia, "text")),
        (
            "text like packets",
            packets(0, 188).iter().map(|b| if *b < 0x20 { b'x' } else { *b }).collect(),
            (None, NotMedia, "no known"),
        ),
    ];
    for (name, start, (kind, class, found)) in cases {
        let head = if start.len() > 500 { start } else { padded(&start) };
        let other = sniff(&head).unwrap_err();
        assert_eq!((other.kind, other.rejection.class), (kind, class), "{name}: {}", other.rejection.message);
        assert!(other.rejection.message.contains(found), "{name}: {}", other.rejection.message);
    }
}

#[test]
fn no_prefix_of_a_beginning_panics() {
    for start in
        [&b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm"[..], b"\0\0\0\x08wide\0\0\0\x08free\0\0\0\0mdat"]
    {
        for length in 0..=start.len() {
            for changed in 0..length {
                for value in [0, 1, 0x7f, 0xff] {
                    let mut head = start[..length].to_vec();
                    head[changed] = value;
                    let _ = sniff(&head);
                }
            }
        }
    }
}
