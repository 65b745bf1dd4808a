//! HEIC and AVIF through the whole program: their rows, with and without videos, on a machine without ffmpeg, and files whose
//! boxes lie.

use bytes::Bytes;
use deepsweep::error::RejectionClass;
use deepsweep::media::heif::read;
use deepsweep::media::still::DecodeLimits;

use crate::program::{Landed, Sweep, landed_in_folder, media};

fn sweep(names: &[&str], flags: &[&str], environment: &[(&'static str, String)]) -> Landed {
    let [source, out] = [0; 2].map(|_| tempfile::tempdir().unwrap());
    for name in names {
        std::fs::copy(crate::root().join("tests/golden/heif").join(name), source.path().join(name)).unwrap();
    }
    let [folder, destination] = [&source, &out].map(|folder| folder.path().to_str().unwrap());
    Sweep { source: folder, out: destination, scorer: "none", flags }.succeed(environment);
    landed_in_folder(out.path())
}

#[test]
fn rows_say_container_size_turn_and_transfer_whether_or_not_videos_are_wanted() {
    let names = ["faces.heic", "faces.avif", "jpeg.heif", "grid_irot_clap.heic", "pq.heic"];
    for flags in [&["--min-face-px", "20"][..], &["--min-face-px", "20", "--no-video"]] {
        let landed = sweep(&names, flags, &[]);
        for name in names {
            let row = media(&landed, name);
            assert_eq!((&row["kind"], &row["codec"]), (&"image".into(), &serde_json::Value::Null), "{row:?}");
            assert_eq!(row["container"].as_str(), name.rsplit('.').next(), "{row:?}");
            assert!(row["error_class"].is_null() && row["decoder_message"].is_null(), "{row:?}");
        }
        for name in ["faces.heic", "faces.avif"] {
            let row = media(&landed, name);
            assert!(row["n_faces"].as_i64().unwrap() > 3, "{row:?}");
        }
        let turned = media(&landed, "grid_irot_clap.heic");
        assert_eq!([&turned["width"], &turned["height"], &turned["orientation"]], [50, 100, 6], "{turned:?}");
        assert_eq!(media(&landed, "pq.heic")["color_transfer"], "smpte2084");
    }
}

#[test]
fn without_ffmpeg_the_row_says_what_to_install_and_the_run_goes_on() {
    let nowhere = tempfile::tempdir().unwrap();
    let path = ("PATH", nowhere.path().to_str().unwrap().to_owned());
    for flags in [&["--max-failed", "1"][..], &["--no-video", "--max-failed", "1"]] {
        let landed = sweep(&["faces.heic", "faces.avif", "jpeg.heif"], flags, std::slice::from_ref(&path));
        for name in ["faces.heic", "faces.avif"] {
            let row = media(&landed, name);
            assert_eq!(row["error_class"], "no_decoder", "{row:?}");
            let message = row["error_message"].as_str().unwrap();
            assert!(message.contains("libdav1d") && message.contains("install ffmpeg"), "{message}");
        }
        // Nothing of this one is decoded elsewhere.
        assert!(media(&landed, "jpeg.heif")["error_class"].is_null());
    }
}

fn sized(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32 + 8).to_be_bytes()[..], kind, content].concat()
}

fn full(kind: &[u8; 4], version_and_flags: u32, content: &[u8]) -> Vec<u8> {
    sized(kind, &[&version_and_flags.to_be_bytes()[..], content].concat())
}

/// One item, and whatever else is in `meta`.
fn file(kind: &[u8; 4], protection: u8, body: &[u8], more: &[Vec<u8>]) -> Bytes {
    let entry = full(b"infe", 0x0200_0000, &[&[0, 1, 0, protection][..], kind, &[0]].concat());
    let place = [&[0x44, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0][..], &(body.len() as u32).to_be_bytes()].concat();
    let parts = [
        full(b"hdlr", 0, b"\0\0\0\0pict\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        full(b"pitm", 0, &[0, 1]),
        full(b"iinf", 0, &[&[0, 1][..], &entry].concat()),
        full(b"iloc", 0x0100_0000, &place),
        sized(b"idat", body),
    ];
    let meta = full(b"meta", 0, &[parts.concat(), more.concat()].concat());
    [sized(b"ftyp", b"heic\0\0\0\0mif1heic"), meta].concat().into()
}

#[test]
fn files_that_lie_are_refused_before_anything_is_decoded() {
    use RejectionClass::{Corrupt, Encrypted, TooLarge, Unsupported};
    let references = |kind: &[u8; 4], to: &[u16]| {
        let to: Vec<u8> = to.iter().flat_map(|id| id.to_be_bytes()).collect();
        let count = (to.len() as u16 / 2).to_be_bytes();
        full(b"iref", 0, &sized(kind, &[&[0, 1][..], &count, &to].concat()))
    };
    let grid = |rows: u8, columns: u8, side: u32| {
        [&[0, 1, rows - 1, columns - 1][..], &side.to_be_bytes(), &side.to_be_bytes()].concat()
    };
    let essential = sized(
        b"iprp",
        &[sized(b"ipco", &sized(b"abcd", b"")), full(b"ipma", 0, &[0, 0, 0, 1, 0, 1, 1, 0x81])].concat(),
    );
    let cases = [
        ("a circle", file(b"iden", 0, b"", &[references(b"dimg", &[1])]), Corrupt, "steps"),
        ("a grid of itself", file(b"grid", 0, &grid(2, 2, 64), &[references(b"dimg", &[1; 4])]), Corrupt, "steps"),
        (
            "a canvas too large",
            file(b"grid", 0, &grid(1, 1, 100_000), &[references(b"dimg", &[1])]),
            TooLarge,
            "100000",
        ),
        ("a canvas of nothing", file(b"grid", 0, &grid(1, 1, 0), &[references(b"dimg", &[1])]), Corrupt, "0×0"),
        ("missing tiles", file(b"grid", 0, &grid(3, 3, 64), &[references(b"dimg", &[1])]), Corrupt, "found 1"),
        ("no set-up", file(b"hvc1", 0, b"\0\0\0\x01A", &[]), Corrupt, "hvcC"),
        ("no header", file(b"av01", 0, b"\x12\0", &[]), Corrupt, "sequence header"),
        ("encrypted", file(b"hvc1", 1, b"", &[]), Encrypted, "encrypted"),
        ("VVC", file(b"vvc1", 0, b"", &[]), Unsupported, "VVC"),
        ("uncompressed", file(b"unci", 0, b"", &[]), Unsupported, "unci"),
        ("what must be known", file(b"hvc1", 0, b"", &[essential]), Unsupported, "abcd"),
        ("no boxes", sized(b"ftyp", b"heic\0\0\0\0").into(), Corrupt, "primary item"),
        ("a JPEG that is none", file(b"jpeg", 0, b"\xff\xd8\xff", &[]), Corrupt, "JPEG"),
    ];
    let limits = DecodeLimits { max_pixels: 1 << 24, max_decode_bytes: 1 << 28 };
    for (name, file, class, found) in cases {
        let rejection = read(&file, limits).unwrap_err();
        assert_eq!(rejection.class, class, "{name}: {}", rejection.message);
        assert!(rejection.message.contains(found), "{name}: {}", rejection.message);
    }
}

#[test]
fn what_decoding_takes_is_said_with_the_way_out() {
    let bytes = std::fs::read(crate::root().join("tests/golden/heif/faces.heic")).unwrap();
    let limits = DecodeLimits { max_pixels: 1 << 24, max_decode_bytes: 1 << 20 };
    let rejection = read(&Bytes::from(bytes), limits).unwrap_err();
    assert_eq!(rejection.class, RejectionClass::TooLarge);
    assert!(rejection.message.contains("--memory"), "{}", rejection.message);
}
