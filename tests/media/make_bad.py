"""Writes bad/: files that break, lie or explode, some that only look so, and expected.json.

In: the picture `astronaut` of scikit-image. Out: bad/*, the same bytes on each run.
The expected answers follow from how each file is made; no decoder was asked.

`status` lists what may become of the file, the wanted answer first; `error_class` the same for a rejection. Where two are
listed, a person could defend either; where one is listed, anything else is a bug.
"""

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

import writers as w
from make_formats import encode, full_picture, palette_of

OUT = Path(__file__).parent / "bad"

OK, NO_FACE, REJECTED = "ok", "no_face", "rejected"
EMPTY, NOT_MEDIA, NO_VIDEO, UNSUPPORTED = "empty", "not_media", "no_video", "unsupported"
CORRUPT, TOO_LARGE = "corrupt", "too_large"

SOI, EOI, SOF_BASELINE, SOF_PROGRESSIVE, SOF_ARITHMETIC, DHT, DQT, SOS, APP0, APP1, APP5 = (
    0xD8, 0xD9, 0xC0, 0xC2, 0xC9, 0xC4, 0xDB, 0xDA, 0xE0, 0xE1, 0xE5)


def face():
    """[156, 208, 3] u8, at the size of the original: the face is about 90 pixels wide."""
    return np.array(Image.fromarray(full_picture()).crop((120, 30, 328, 186)))


def face_jpeg():
    return encode(face(), "JPEG", quality=85, subsampling="4:2:0")


def face_png(before_data=b""):
    indexes, palette = palette_of(face(), 64)
    return w.png(indexes, 8, w.PNG_PALETTE, before_data + w.png_chunk(b"PLTE", palette.tobytes()))


def deflated_zeros(length):
    """`length` zero bytes as a zlib stream, about a thousand times smaller, without holding them all."""
    block = bytes(1 << 20)
    squeeze = zlib.compressobj(9)
    out = [squeeze.compress(block) for _ in range(length >> 20)]
    return b"".join(out) + squeeze.compress(bytes(length & 0xFFFFF)) + squeeze.flush()


def texts():
    yield ("empty.jpg", b"", [REJECTED], [EMPTY],
           "no bytes at all: an upload that never finished")
    yield ("text.jpg", b"This is a note, not a picture.\nSomebody chose the wrong name.\n", [REJECTED], [NOT_MEDIA],
           "plain text with the name of a picture")
    yield ("html_error.png", b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head>\n<body><h1>Not Found</h1></body></html>\n",
           [REJECTED], [NOT_MEDIA], "the error page that a crawler saved in place of the picture")
    svg = (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="64" height="48">'
           b'<circle cx="32" cy="24" r="20" fill="#c96"/></svg>\n')
    yield ("svg_as.png", svg, [REJECTED], [NOT_MEDIA, UNSUPPORTED],
           "a drawing made of text: no pixels to decode, though some would call it an image")
    samples = bytes(64)
    wave = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8) + b"data" + struct.pack("<I", len(samples)) + samples
    yield ("riff_not_webp.webp", b"RIFF" + struct.pack("<I", len(wave)) + wave, [REJECTED], [NO_VIDEO],
           "a sound: starts with RIFF as WebP does, but goes on with WAVE")
    boxes = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic")
    handler = struct.pack(">I4sII4s12sB", 33, b"hdlr", 0, 0, b"pict", bytes(12), 0)
    boxes += struct.pack(">I4sI", 12 + len(handler), b"meta", 0) + handler
    yield ("heic_header.jpg", boxes, [REJECTED], [UNSUPPORTED, CORRUPT],
           "the head of a HEIC photo, whose boxes are those of MP4: a known kind that is not decoded here, cut as well")


def jpegs():
    good = face_jpeg()
    scan_at, frame_at = w.jpeg_marker_at(good, [SOS]), w.jpeg_marker_at(good, [SOF_BASELINE])
    cut = (scan_at + len(good)) // 2
    yield ("truncated.jpg", good[:cut], [REJECTED], [CORRUPT],
           "cut in the middle of the scan: the lower half would be a guess")
    yield ("truncated_header.jpg", good[:frame_at + 5], [REJECTED], [CORRUPT],
           "cut inside the frame header, before the width is known")
    yield ("truncated_end.jpg", good[:-2], [OK, REJECTED], [CORRUPT],
           "only the end-of-image marker is missing: every pixel is there")
    yield ("magic_only.jpg", good[:3], [REJECTED], [CORRUPT],
           "the three bytes by which a JPEG is known, and nothing else")
    huge = bytearray(good)
    huge[frame_at + 5:frame_at + 9] = struct.pack(">HH", 65535, 65535)
    yield ("jpeg_bad_dims.jpg", bytes(huge), [REJECTED], [TOO_LARGE],
           "the frame header says 65535x65535 (4295 MP), the scan ends after 208x156")
    other = bytearray(good)
    other[frame_at + 1] = SOF_ARITHMETIC
    yield ("jpeg_arithmetic.jpg", bytes(other), [NO_FACE, REJECTED], [UNSUPPORTED, CORRUPT],
           "the frame header says arithmetic coding and the scan is Huffman coded: a decoder that knows it finds noise")
    yield ("jpeg_many_markers.jpg", w.jpeg_with(good, w.jpeg_segment(APP5, b"") * 20_000), [OK, REJECTED], [CORRUPT, TOO_LARGE],
           "20,000 empty application segments before a good picture: legal, and slow where segments are collected in a list")
    lies = b"II" + struct.pack("<HIH", 42, 8, 65535) + struct.pack("<HHII", 274, 3, 0xFFFFFFFF, 0xFFFFFFF0)
    yield ("exif_bad.jpg", w.jpeg_with(good, w.jpeg_segment(APP1, b"Exif\0\0" + lies)), [OK], [],
           "EXIF with 65,535 entries of which one is there, pointing outside: the picture is good, only its orientation is unknown")
    yield ("wrong_extension.png", good, [OK], [],
           "a good JPEG with the name of a PNG: the content decides")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        packed.writestr(zipfile.ZipInfo("note.txt", (1980, 1, 1, 0, 0, 0)), b"also a zip archive\n")
    yield ("polyglot.jpg", good + archive.getvalue(), [OK], [],
           "a good JPEG followed by a zip archive: bytes behind the end of the picture do not matter")
    yield ("jpeg_many_scans.jpg", many_scans(1000), [NO_FACE, REJECTED], [CORRUPT, TOO_LARGE],
           "a progressive JPEG of 2048x2048 with 1,000 empty scans of 18 bytes: each makes a decoder walk all 65,536 blocks")


def many_scans(scans):
    """Grey, flat. Huffman code "0" means "no difference" in the DC table and "end of 16,384 blocks" in the AC table."""
    side, blocks = 2048, 65_536
    def table(number, symbol):
        return w.jpeg_segment(DHT, bytes([number, 1]) + bytes(15) + bytes([symbol]))

    def scan(first, last, data):
        return w.jpeg_segment(SOS, bytes([1, 1, 0x00, first, last, 0])) + data
    out = bytes([0xFF, SOI]) + w.jpeg_segment(DQT, bytes([0]) + bytes([1] * 64))
    out += w.jpeg_segment(SOF_PROGRESSIVE, struct.pack(">BHHBBBB", 8, side, side, 1, 1, 0x11, 0))
    out += table(0x00, 0x00) + table(0x10, 0xE0)
    out += scan(0, 0, bytes(blocks // 8))
    # Four codes, each followed by 14 zero bits that add nothing to 2^14, then ones to fill the byte.
    out += scan(1, 63, bytes(7) + b"\x0f") * scans
    return out + bytes([0xFF, EOI])


def pngs():
    good = face_png()
    yield ("truncated.png", good[:len(good) // 2], [REJECTED], [CORRUPT],
           "cut in the middle of the pixels")
    yield ("magic_only.png", good[:8], [REJECTED], [CORRUPT],
           "the signature of a PNG, and nothing else")
    flipped = bytearray(good)
    flipped[good.index(b"IDAT") + 2000] ^= 0x10
    yield ("bitflip.png", bytes(flipped), [REJECTED], [CORRUPT],
           "one bit of the pixel data is wrong, so the checksum of the chunk does not match")
    yield ("huge_header.png", png_of_zeros(30_000, 30_000, 8, w.PNG_RGB, 64), [REJECTED], [TOO_LARGE],
           "the header says 30000x30000 (900 MP), the data end at once")
    yield ("zero_size.png", png_of_zeros(0, 48, 8, w.PNG_RGB, 0), [REJECTED], [CORRUPT],
           "a width of zero, which the format forbids")
    yield ("bomb.png", png_of_zeros(20_000, 20_000, 1, w.PNG_GREY, 20_000 * 2501), [REJECTED], [TOO_LARGE],
           "valid: 20000x20000 (400 MP) black pixels in 50 kB")
    yield ("icc_bomb.png", face_png(w.png_chunk(b"iCCP", b"zeros\0\0" + deflated_zeros(160 << 20))), [OK, REJECTED], [TOO_LARGE, CORRUPT],
           "a good picture with a colour profile that inflates to 160 MiB: the profile is not needed")
    yield ("text_bomb.png", face_png(w.png_chunk(b"zTXt", b"Comment\0\0" + deflated_zeros(110 << 20))), [OK, REJECTED], [TOO_LARGE, CORRUPT],
           "a good picture with a comment that inflates to 110 MiB: the comment is not needed")
    yield ("one_pixel.png", w.png(np.array([[[200, 150, 120]]], np.uint8), 8, w.PNG_RGB), [NO_FACE], [],
           "1x1, as trackers use them: good, and smaller than any face")
    ramp = (np.arange(20_000) % 256).astype(np.uint8)[:, None]
    yield ("thin.png", w.png(ramp, 8, w.PNG_GREY), [NO_FACE], [],
           "1x20000, within every limit: good, but scaled down to fit anything its width rounds to zero")


def png_of_zeros(width, height, bits, colour, length):
    """A header, and `length` bytes of rows, whatever the header promises."""
    return (w.PNG_SIGNATURE + w.png_header(width, height, bits, colour)
            + w.png_chunk(b"IDAT", deflated_zeros(length)) + w.png_chunk(b"IEND", b""))


def webps():
    good = encode(face(), "WEBP", quality=80, method=4)
    yield ("truncated.webp", good[:len(good) // 2], [REJECTED], [CORRUPT],
           "cut in the middle of the pixels")
    canvas = (30_000 - 1).to_bytes(3, "little") * 2
    frame = bytes(6) + bytes(6) + (100).to_bytes(3, "little") + b"\0" + riff_chunk(b"VP8L", flat_vp8l(1))
    body = (riff_chunk(b"VP8X", b"\x02\0\0\0" + canvas) + riff_chunk(b"ANIM", b"\0\0\0\xff" + b"\0\0")
            + riff_chunk(b"ANMF", frame))
    yield ("huge_header.webp", riff(body), [REJECTED], [TOO_LARGE],
           "an animation on a canvas of 30000x30000 (900 MP) whose only frame is 1x1")
    yield ("bomb.webp", riff(riff_chunk(b"VP8L", flat_vp8l(16_383))), [REJECTED], [TOO_LARGE],
           "valid: 16383x16383 (268 MP) in 30 bytes, as a picture of one colour needs no bits per pixel")


def riff_chunk(kind, data):
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def riff(body):
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def flat_vp8l(side):
    """A lossless WebP stream of one opaque black: five prefix codes with one symbol each, and no pixel data (RFC 9649, 3.8)."""
    value, count = 0, 0

    def put(bits, width):
        nonlocal value, count
        value |= bits << count
        count += width
    put(0x2F, 8)
    put(side - 1, 14)
    put(side - 1, 14)
    put(0, 1)  # alpha is not used
    put(0, 3)  # version
    put(0, 3)  # no transform, no colour cache, no groups of prefix codes
    for symbol in (0, 0, 0, 255, 0):  # green, red, blue, alpha, distance
        put(1, 1)  # a simple code
        put(0, 1)  # of one symbol
        put(int(symbol > 1), 1)
        put(symbol, 8 if symbol > 1 else 1)
    return value.to_bytes((count + 7) // 8, "little")


def gifs():
    small = np.array(Image.fromarray(face()).resize((64, 48), Image.Resampling.LANCZOS))
    indexes, palette = palette_of(small, 64)
    good = w.gif_start(64, 48, palette) + w.gif_frame(indexes, 64) + b";"
    yield ("truncated.gif", good[:len(good) // 2], [REJECTED], [CORRUPT],
           "cut in the middle of its only frame")
    black_white = np.array([[0, 0, 0], [255, 255, 255]])
    dot = np.array([[1]])
    yield ("huge_header.gif", w.gif_start(65_535, 65_535, black_white) + w.gif_frame(dot, 2) + b";", [REJECTED], [TOO_LARGE],
           "a screen of 65535x65535 (4295 MP) whose only frame is 1x1")
    bare_frames = [struct.pack("<BHHHHB", 0x2C, i % 2, i // 2 % 2, 1, 1, 0) + w.gif_lzw([i % 2], 2) for i in range(9_999)]
    first = w.gif_frame(np.array([[0, 1], [1, 0]]), 2)
    yield ("gif_10000_frames.gif", w.gif_start(2, 2, black_white, loops=True) + first + b"".join(bare_frames) + b";",
           [NO_FACE], [], "valid: 10,000 frames of a dot on 2x2; the first frame counts, the others need not be decoded")


def bmps():
    huge = b"BM" + struct.pack("<IHHI", 54 + 64, 0, 0, 54) + w.bmp_info(30_000, 30_000, 24, 0) + bytes(64)
    yield ("huge_header.bmp", huge, [REJECTED], [TOO_LARGE],
           "the header says 30000x30000 (900 MP), 64 bytes follow")
    good = w.bmp(np.array(Image.fromarray(face()).resize((64, 48), Image.Resampling.LANCZOS)))
    yield ("truncated.bmp", good[:len(good) // 2], [REJECTED], [CORRUPT],
           "cut in the middle of the pixels")


def tiffs():
    small = np.array(Image.fromarray(face()).resize((64, 48), Image.Resampling.LANCZOS))
    good = w.tiff(small, 2)
    yield ("truncated.tiff", good[:len(good) // 2], [REJECTED], [CORRUPT],
           "cut in the pixels; the directory stood at the end, so it is gone")

    def page(width, height, offsets, lengths, rows, samples=1, bits=8, compression=1, sample_format=1):
        return {256: ("I", [width]), 257: ("I", [height]), 258: ("H", [bits] * samples), 259: ("H", [compression]),
                262: ("H", [1 if samples == 1 else 2]), 273: ("I", offsets), 277: ("H", [samples]),
                278: ("I", [rows]), 279: ("I", lengths), 339: ("H", [sample_format] * samples)}

    flat = page(16, 16, [8], [256], 16)
    second_at = 8 + 256 + len(w.tiff_ifd("<", flat, 0))
    cycle = w.tiff_start("<", 264) + bytes([128]) * 256 + w.tiff_ifd("<", flat, 264, second_at) + w.tiff_ifd("<", flat, second_at, 264)
    yield ("tiff_cycle.tiff", cycle, [NO_FACE, REJECTED], [CORRUPT],
           "two pages of 16x16, each of which says that the other is the next: the first page is good, a page count never ends")
    selfish = page(16, 16, [8], [256], 16)
    del selfish[256]
    yield ("tiff_cycle_no_width.tiff", w.tiff_start("<", 264) + bytes(256) + w.tiff_ifd("<", selfish, 264, 264), [REJECTED], [CORRUPT],
           "one page without a width, which is its own successor")
    outside = page(64, 48, [0xFFFFFF00, 0x7FFFFFFF, 100_000], [1024, 1024, 1024], 16)
    yield ("tiff_bad_offsets.tiff", w.tiff_start("<", 8) + w.tiff_ifd("<", outside, 8), [REJECTED], [CORRUPT],
           "a good directory whose strips lie outside of the file")
    huge = page(30_000, 30_000, [8], [2_700_000_000], 30_000, samples=3)
    yield ("huge_header.tiff", w.tiff_start("<", 72) + bytes(64) + w.tiff_ifd("<", huge, 72), [REJECTED], [TOO_LARGE],
           "the header says 30000x30000 (900 MP), 64 bytes follow")
    side, rows = 9_500, 100
    strip = deflated_zeros(side * rows * 16)
    deep = page(side, side, [8] * (side // rows), [len(strip)] * (side // rows), rows, samples=4, bits=32, compression=8, sample_format=3)
    deep[338] = ("H", [2])
    at = 8 + len(strip) + len(strip) % 2
    yield ("bomb.tiff", w.tiff_start("<", at) + strip.ljust(at - 8, b"\0") + w.tiff_ifd("<", deep, at), [REJECTED], [TOO_LARGE, UNSUPPORTED],
           "valid: 90 MP, below the limit of pixels, but of four 32-bit floats each (1.4 GB); all 95 strips are the same 15 kB")
    indexes, palette = palette_of(small, 64)
    colours = (np.pad(palette.astype(int), ((0, 192), (0, 0))) * 257).T.reshape(-1).tolist()
    yield ("tiff_palette.tiff", w.tiff(indexes, 3, extra={320: ("H", colours)}), [OK, NO_FACE, REJECTED], [UNSUPPORTED],
           "valid: a rare variant, TIFF with a palette; refused by name or decoded, never shown in wrong colours")


def main():
    OUT.mkdir(exist_ok=True)
    expected, total = {}, 0
    for group in (texts, jpegs, pngs, webps, gifs, bmps, tiffs):
        for name, data, status, classes, why in group():
            (OUT / name).write_bytes(data)
            total += len(data)
            assert (REJECTED in status) == bool(classes), name
            expected[name] = {"status": status, "error_class": classes, "why": why}
    assert total < 1_500_000, f"expected less than 1500000 bytes, found {total}"
    lines = [f"  {json.dumps(name)}: {json.dumps(expected[name])}" for name in sorted(expected)]
    (OUT / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
