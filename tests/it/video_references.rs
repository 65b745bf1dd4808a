//! Files that point elsewhere: playlists in disguise, containers whose samples lie in another file. What they name is not
//! opened, and nobody is called.

use std::net::TcpListener;
use std::time::Duration;

use crate::clips::{clip, encode};
use crate::program::media;
use crate::run_sources::text;
use crate::video_bad::{SMALL, check_refused, sweep};

/// A server that nobody may call.
struct Uncalled(TcpListener);

impl Uncalled {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    fn expect_no_call(&self) {
        std::thread::sleep(Duration::from_millis(50));
        let called = self.0.accept();
        assert!(called.is_err(), "somebody called: {called:?}");
    }
}

#[test]
fn a_playlist_in_disguise_is_no_media_and_what_it_names_is_not_opened() {
    let server = Uncalled::start();
    let address = server.address();
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = elsewhere.path().join("secret.ts");
    std::fs::copy(clip("film.ts", &[encode(49, "format=yuv420p", SMALL)]), &secret).unwrap();
    let secret = text(&secret);
    let playlist = |target: &str| format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n");
    let files: Vec<(&str, String)> = vec![
        ("hls_of_a_file.mp4", playlist(secret)),
        ("hls_of_a_file_url.mkv", playlist(&format!("file://{secret}"))),
        ("hls_of_an_address.mp4", playlist(&format!("http://{address}/a.ts"))),
        ("hls_key.ts", format!("#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"http://{address}/k\"\n#EXTINF:2,\n{secret}\n")),
        ("hls_by_concat.avi", playlist(&format!("concat:http://{address}/header.m3u8|file://{secret}"))),
        ("concat.mp4", format!("ffconcat version 1.0\nfile '{secret}'\n")),
        ("concat_of_an_address.mov", format!("ffconcat version 1.0\nfile 'http://{address}/a.ts'\n")),
        ("dash.mp4", format!("<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\"><Period><AdaptationSet><Representation id=\"1\" mimeType=\"video/mp4\"><BaseURL>http://{address}/a.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>")),
        ("session.mp4", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n".to_owned()),
        ("reference.mov", format!("RTSPtext\nrtsp://{address}/a\n")),
        ("smil.mp4", format!("<smil><body><video src=\"http://{address}/a.mp4\"/></body></smil>")),
        ("pictures.mp4", format!("{}/%d.png", elsewhere.path().display())),
    ];
    let files: Vec<(&str, Vec<u8>)> = files.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    let (landed, _) = sweep(&files, &[]);
    for (name, _) in &files {
        check_refused(&landed, name, &["not_media", "unsupported", "corrupt"]);
    }
    server.expect_no_call();
}

/// Places of the boxes that lead to `path` in an MP4, outermost first.
pub fn boxes(file: &[u8], path: &[&[u8; 4]]) -> Vec<usize> {
    let (mut from, mut to, mut found) = (0, file.len(), vec![]);
    for kind in path {
        loop {
            let size = u32::from_be_bytes(file[from..from + 4].try_into().unwrap()) as usize;
            assert!(size >= 8 && from + size <= to, "no box {kind:?}");
            if &file[from + 4..from + 8] == kind.as_slice() {
                (to, found) = (from + size, [found, vec![from]].concat());
                from += 8;
                break;
            }
            from += size;
        }
    }
    found
}

/// The film as a QuickTime file that says of its samples that they lie elsewhere: `dref` of its video is replaced, and
/// where the samples were are zeros.
fn film_with_reference(film: &[u8], kind: &[u8; 4], target: &[u8]) -> Vec<u8> {
    let mut file = film.to_vec();
    let samples = boxes(&file, &[b"mdat"])[0];
    let size = u32::from_be_bytes(file[samples..samples + 4].try_into().unwrap()) as usize;
    file[samples + 8..samples + size].fill(0);
    let path = [b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"];
    let places = boxes(&file, &path);
    let at = *places.last().unwrap();
    let old = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let mut entry = [&((12 + target.len()) as u32).to_be_bytes()[..], kind, &[0; 4], target].concat();
    let mut dref = [&((16 + entry.len()) as u32).to_be_bytes()[..], b"dref", &[0; 4], &1_u32.to_be_bytes()].concat();
    dref.append(&mut entry);
    let grown = dref.len() - old;
    file.splice(at..at + old, dref);
    // ffmpeg writes `moov` behind the samples, so no place of a sample moves.
    for place in &places[..places.len() - 1] {
        let size = u32::from_be_bytes(file[*place..place + 4].try_into().unwrap()) + grown as u32;
        file[*place..place + 4].copy_from_slice(&size.to_be_bytes());
    }
    file
}

/// A Macintosh alias with an absolute path in it.
fn alias(path: &str) -> Vec<u8> {
    let name = path.rsplit('/').next().unwrap();
    let mut alias = vec![0; 10];
    alias.extend([6]);
    alias.extend(b"volume".iter().copied().chain([0; 21]));
    alias.extend([0; 12]);
    alias.push(name.len() as u8);
    alias.extend(name.bytes().chain(std::iter::repeat(0)).take(63));
    alias.extend([0; 16]);
    alias.extend([0, 1, 0, 1]); // one level up, one down
    alias.extend([0; 16]);
    for kind in [2_u16, 18] {
        alias.extend(kind.to_be_bytes());
        alias.extend((path.len() as u16).to_be_bytes());
        alias.extend(path.bytes());
        alias.extend(vec![0; path.len() % 2]);
    }
    alias.extend([0xff, 0xff, 0, 0]);
    alias
}

#[test]
fn a_container_whose_samples_lie_elsewhere_gets_nothing_from_there() {
    let server = Uncalled::start();
    let url = format!("http://{}/film.mov\0", server.address());
    // The whole film, its samples at the same places: whoever follows the reference sees a face.
    let whole = clip("reference.mov", &[encode(49, "format=yuv420p", SMALL)]);
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = elsewhere.path().join("secret.mov");
    std::fs::copy(&whole, &secret).unwrap();
    let film = std::fs::read(&whole).unwrap();
    let files = vec![
        ("url.mov", film_with_reference(&film, b"url ", url.as_bytes())),
        ("url_of_a_file.mov", film_with_reference(&film, b"url ", format!("file://{}\0", text(&secret)).as_bytes())),
        ("alias.mov", film_with_reference(&film, b"alis", &alias(text(&secret)))),
        ("alias_of_an_address.mov", film_with_reference(&film, b"alis", &alias(url.trim_end_matches('\0')))),
    ];
    let (landed, _) = sweep(&files, &["--frames", "3"]);
    for (name, _) in &files {
        let row = media(&landed, name);
        assert_eq!(row["frames_with_face"].as_u64(), Some(0), "{name}: {row:?}");
    }
    server.expect_no_call();
}
