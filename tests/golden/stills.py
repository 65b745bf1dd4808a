"""Small pictures of every kind that is easily read wrongly, and what Pillow or libvips makes of them → stills/, stills.json.

    python -B tests/golden/stills.py

The files are made of `pictures/astronaut.png`. What is expected is decoded by Pillow (orientation applied, alpha over black),
by libvips where Pillow misreads the kind, never by what went in. Where neither shows the kind, `class` says what the row
says. `message` is a part of the column decoder_message; `salvage` holds for --salvage.
"""

import io
import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL
import pyvips
import tifffile
from PIL import Image, ImageFile, ImageOps

from jpeg_writer import jpeg, segment

HERE = Path(__file__).resolve().parent
OUT = HERE / "stills"
PHOTO = Image.open(HERE / "pictures/astronaut.png").convert("RGB")
PHOTO = ImageOps.fit(PHOTO, (83, 61))  # no side is a multiple of eight
RGB = np.asarray(PHOTO)
GREY = np.asarray(PHOTO.convert("L"))
YCC = [np.asarray(band) for band in PHOTO.convert("YCbCr").split()]
KEY = np.clip(GREY.astype(int) + 60, 0, 255).astype(np.uint8)
FILES = {}


def add(name, content, by="pillow", **more):
    FILES[name] = {"content": content, "by": by, **more}


def saved(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(value, kind=3, order="<", prefix=b""):
    size = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}[kind]
    entry = struct.pack(order + "HHHI", 1, 0x112, kind, 1) + struct.pack(order + size, value).ljust(4, b"\0")
    return prefix + (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8) + entry + bytes(4)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'


def jpegs():
    three = {
        "1x1_2x1_2x1": [(1, 1), (2, 1), (2, 1)],
        "2x2_1x1_2x2": [(2, 2), (1, 1), (2, 2)],
        "3x1_1x1_1x1": [(3, 1), (1, 1), (1, 1)],
        "4x1_1x1_1x1": [(4, 1), (1, 1), (1, 1)],
        "1x4_1x1_1x1": [(1, 4), (1, 1), (1, 1)],
        "1x2_1x1_1x1": [(1, 2), (1, 1), (1, 1)],
        "2x2_2x1_1x2": [(2, 2), (2, 1), (1, 2)],
        "2x1_2x1_2x1": [(2, 1), (2, 1), (2, 1)],
    }
    for name, sampling in three.items():
        add(f"jpeg_{name}.jpg", jpeg(YCC, sampling))
    add("jpeg_3x1_2x1_2x1.jpg", jpeg(YCC, [(3, 1), (1, 1), (1, 1)]).replace(b"\2\x11\0\3\x11\0", b"\2\x21\0\3\x21\0"), "none", **{"class": "unsupported"})
    inks = [*YCC, KEY]
    for name, sampling in {"2111": [(2, 1), (1, 1), (1, 1), (1, 1)], "2112": [(2, 2), (1, 1), (1, 1), (2, 2)], "1111": [(1, 1)] * 4}.items():
        add(f"jpeg_ycck_{name}.jpg", jpeg(inks, sampling, adobe=2, jfif=False))
        add(f"jpeg_cmyk_{name}.jpg", jpeg(inks, sampling, adobe=0, jfif=False))
    add("jpeg_cmyk_no_adobe.jpg", jpeg(inks, [(1, 1)] * 4, jfif=False))
    halves = [(2, 2), (1, 1), (1, 1)]
    for name, scans in {"0_12": [[0], [1, 2]], "2_0_1": [[2], [0], [1]], "02_1": [[0, 2], [1]]}.items():
        add(f"jpeg_scans_{name}.jpg", jpeg(YCC, halves, scans))
    whole = jpeg(YCC, halves, interval=3)
    add("jpeg_restarts.jpg", whole)
    mark = lambda number: bytes([0xFF, 0xD0 + number % 8])
    add("jpeg_restart_wrong_number.jpg", jpeg(YCC, halves, interval=3, restarts=lambda n: mark(n + 3) if n == 2 else mark(n)), message="restart")
    add("jpeg_restart_missing.jpg", jpeg(YCC, halves, interval=3, restarts=lambda n: b"" if n == 2 else mark(n)), message="restart")
    add("jpeg_restart_twice.jpg", jpeg(YCC, halves, interval=3, restarts=lambda n: mark(n) * 2 if n == 2 else mark(n)), message="restart")
    plain = jpeg(YCC, halves)
    at = plain.index(b"\xff\xc4")
    add("jpeg_rubbish.jpg", plain[:at] + b"rubbish" + plain[at:], message="7 bytes")
    add("jpeg_no_end.jpg", plain[:-2], "truncated", message="end marker")
    cut = plain[: len(plain) * 2 // 3]
    add("jpeg_cut.jpg", cut, "none", **{"class": "corrupt"})
    add("jpeg_cut_salvaged.jpg", cut, "truncated", message="rows are missing", salvage=True)
    progressive = saved(PHOTO, "JPEG", progressive=True, quality=85)
    scans = [at for at in range(len(progressive)) if progressive[at : at + 2] == b"\xff\xda"]
    ends = [progressive.rindex(b"\xff\xc4", 0, at) for at in scans]
    for keep in (1, 4, 7):
        add(f"jpeg_progressive_{keep}_scans.jpg", progressive[: ends[keep]] + b"\xff\xd9", message="last scans are missing")
    twelve = bytearray(plain)
    twelve[plain.index(b"\xff\xc0") + 4] = 12
    add("jpeg_12_bits.jpg", bytes(twelve), "none", **{"class": "unsupported"})
    mpo = saved(PHOTO, "MPO", save_all=True, append_images=[PHOTO.transpose(Image.Transpose.ROTATE_90)])
    add("jpeg_mpo.jpg", mpo)
    add("jpeg_motion_photo.jpg", plain + b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(200))
    add("jpeg_ultra_hdr.jpg", saved(PHOTO, "JPEG", xmp=b'<x:xmpmeta hdrgm:Version="1.0"/>') + saved(PHOTO.convert("L"), "JPEG"))
    for kind, order in ((1, "<"), (4, ">"), (9, "<")):
        # Pillow leaves a BYTE alone; it means what it says all the same.
        add(f"jpeg_exif_kind{kind}.jpg", by="turned", like=plain, content=plain[:2] + segment(0xE1, exif(6, kind, order, b"Exif\0\0")) + plain[2:])
    add("jpeg_exif_9.jpg", plain[:2] + segment(0xE1, exif(9, 3, "<", b"Exif\0\0")) + plain[2:])
    add("jpeg_xmp_8.jpg", plain[:2] + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP) + plain[2:])


def chunk(name, content, crc=None):
    return struct.pack(">I", len(content)) + name + content + (crc or struct.pack(">I", zlib.crc32(name + content)))


def pngs():
    plain = saved(PHOTO, "PNG")
    head, body, end = plain[:33], plain[33:-12], plain[-12:]
    add("png_exif_before.png", head + chunk(b"eXIf", exif(6)) + body + end)
    add("png_exif_after.png", head + body + chunk(b"eXIf", exif(6)) + end)
    add("png_exif_prefix.png", head + chunk(b"eXIf", exif(5, prefix=b"Exif\0\0")) + body + end)
    profile = exif(3, prefix=b"Exif\0\0")
    text = f"\nexif\n{len(profile):8}\n{profile.hex()}\n".encode()
    add("png_raw_profile.png", head + chunk(b"tEXt", b"Raw profile type exif\0" + text) + body + end)
    add("png_raw_profile_z.png", head + chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)) + body + end)
    add("png_xmp_8.png", head + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP) + body + end)
    add("png_no_iend.png", head + body, message="IEND")
    add("png_text.png", head + chunk(b"tEXt", b"chara\0" + b"0123456789abcdef" * 400) * 6 + body + end)
    add("png_bad_ancillary_crc.png", head + chunk(b"gAMA", bytes(4), b"abcd") + body + end, "vips")
    add("png_cgbi.png", plain[:8] + chunk(b"CgBI", b"\x50\0\x20\x02") + plain[8:], "none", **{"class": "unsupported"})
    cut = plain[: len(plain) * 2 // 3]
    add("png_cut.png", cut, "none", **{"class": "corrupt"})
    add("png_cut_salvaged.png", cut, "top", message="rows are missing", salvage=True)
    grey = PHOTO.convert("L")
    add("png_trns_grey.png", saved(grey, "PNG", transparency=int(GREY[30, 40])))
    add("png_trns_rgb.png", saved(PHOTO, "PNG", transparency=tuple(int(v) for v in RGB[30, 40])))
    add("png_trns_palette.png", saved(PHOTO.quantize(64), "PNG", transparency=bytes(range(0, 256, 4))))
    wide = Image.fromarray(GREY.astype(np.uint16) * 257)
    add("png_grey16.png", saved(wide, "PNG"), "vips", tolerance=1)
    add("png_apng.png", saved(PHOTO, "PNG", save_all=True, append_images=[PHOTO.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]))


def tiff(array, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, metadata=None, **options)
    return buffer.getvalue()


def tiffs():
    vips = pyvips.Image.new_from_array(RGB)
    add("tiff_jpeg_ycbcr.tif", vips.tiffsave_buffer(compression="jpeg", Q=80))
    add("tiff_jpeg_ycbcr_tiled.tif", vips.tiffsave_buffer(compression="jpeg", Q=90, tile=True, tile_width=32, tile_height=32))
    add("tiff_jpeg_grey.tif", saved(PHOTO.convert("L"), "TIFF", compression="jpeg"))
    add("tiff_bigtiff.tif", tiff(RGB, photometric="rgb", bigtiff=True))
    add("tiff_bigtiff_big_endian.tif", tiff(RGB, photometric="rgb", bigtiff=True, byteorder=">", compression="deflate"), "vips")
    planes = np.ascontiguousarray(RGB.transpose(2, 0, 1))
    add("tiff_planar.tif", tiff(planes, photometric="rgb", planarconfig="separate", rowsperstrip=16))
    add("tiff_planar_tiled.tif", tiff(planes, photometric="rgb", planarconfig="separate", tile=(16, 32), compression="deflate"))
    add("tiff_planar16.tif", tiff(planes.astype(np.uint16) * 257, photometric="rgb", planarconfig="separate"), "vips", tolerance=1)
    add("tiff_tiled_predictor.tif", tiff(RGB, photometric="rgb", tile=(32, 16), compression="deflate", predictor=2))
    add("tiff_predictor16.tif", tiff(RGB.astype(np.uint16) * 257, photometric="rgb", compression="deflate", predictor=2), "vips", tolerance=1)
    add("tiff_float.tif", tiff(RGB.astype(np.float32) / 255, photometric="rgb", compression="deflate", predictor=3), "value")
    add("tiff_float16.tif", tiff((RGB / 255).astype(np.float16), photometric="rgb"), "value", tolerance=1)
    beyond = GREY.astype(np.float32)
    beyond[:9] = 400
    beyond[9:12] = np.nan
    add("tiff_float_beyond.tif", tiff(beyond, photometric="minisblack"), "beyond", message="between 0 and 400", tolerance=1)
    for bits, colours in ((1, 2), (2, 4), (4, 16), (8, 200)):
        palette = PHOTO.quantize(colours)
        rows, table = np.asarray(palette), np.array(palette.getpalette()[: 3 * colours]).reshape(-1, 3)
        full = np.zeros((1 << bits, 3), np.uint16)
        full[: len(table)] = table * 257
        if bits == 8:
            content = saved(palette, "TIFF", compression="tiff_lzw")
        else:
            content = packed_tiff(rows, bits, 3, full)
        add(f"tiff_palette{bits}.tif", content)
    bilevel = PHOTO.convert("1")
    for name in ("group3", "group4", "tiff_ccitt", "packbits", "tiff_lzw"):
        add(f"tiff_bilevel_{name}.tif", saved(bilevel, "TIFF", compression=name))
    add("tiff_white_is_zero1.tif", packed_tiff(np.asarray(bilevel).astype(np.uint8), 1, 0))
    add("tiff_grey4.tif", packed_tiff(GREY >> 4, 4, 1))
    add("tiff_reversed_bits.tif", packed_tiff(np.asarray(bilevel).astype(np.uint8), 1, 1, reversed_bits=True))
    add("tiff_grey_alpha.tif", tiff(np.dstack([GREY, KEY]), photometric="minisblack", extrasamples=[2]))
    cmyk = np.dstack([255 - RGB, 255 - KEY])
    add("tiff_cmyk_one_strip.tif", saved(PHOTO.convert("CMYK"), "TIFF"))
    add("tiff_cmyk_strips.tif", tiff(cmyk, photometric="separated", rowsperstrip=7, compression="deflate"))
    alpha = np.full_like(GREY, 128)
    half = (RGB.astype(int) * 128 // 255).astype(np.uint8)
    add("tiff_associated.tif", tiff(np.dstack([half, alpha]), photometric="rgb", extrasamples=[1]), tolerance=2)
    add("tiff_unassociated.tif", tiff(np.dstack([RGB, alpha]), photometric="rgb", extrasamples=[2]), tolerance=1)
    for kind in (1, 3, 4):
        size = {1: "B", 3: "H", 4: "I"}[kind]
        add(f"tiff_orientation_kind{kind}.tif", by="turned", like=tiff(RGB, photometric="rgb"), content=tiff(RGB, photometric="rgb", extratags=[(274, size, 1, 6, True)]))
    add("tiff_ycbcr.tif", subsampled_tiff(1, 1), tolerance=2)
    add("tiff_ycbcr_22.tif", subsampled_tiff(2, 2), tolerance=2)
    add("tiff_old_jpeg.tif", tiff(RGB, photometric="rgb").replace(struct.pack("<HHII", 259, 3, 1, 1), struct.pack("<HHII", 259, 3, 1, 6)), "none", **{"class": "unsupported"})
    add("tiff_two_pages.tif", saved(PHOTO, "TIFF", save_all=True, append_images=[PHOTO.convert("L")]))
    cut = tiff(RGB, photometric="rgb", rowsperstrip=8)
    cut = cut[: len(cut) - 83 * 3 * 21]
    add("tiff_cut.tif", cut, "none", **{"class": "corrupt"})
    add("tiff_cut_salvaged.tif", cut, "top", message="rows are missing", salvage=True)


def directory(entries, pixels):
    """A classic TIFF, little-endian: `entries` as tag, type, values; the pixels come first."""
    sizes = {1: "B", 3: "H", 4: "I"}
    at = 8 + len(pixels) + len(pixels) % 2
    extra, table = b"", b""
    start = at + 2 + 12 * len(entries) + 4
    for tag, kind, values in sorted(entries):
        content = struct.pack(f"<{len(values)}{sizes[kind]}", *values)
        if len(content) > 4:
            table += struct.pack("<HHII", tag, kind, len(values), start + len(extra))
            extra += content + bytes(len(content) % 2)
        else:
            table += struct.pack("<HHI", tag, kind, len(values)) + content.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", at) + pixels + bytes(len(pixels) % 2) + struct.pack("<H", len(entries)) + table + bytes(4) + extra


def packed_tiff(rows, bits, photometric, palette=None, reversed_bits=False):
    height, width = rows.shape
    planes = np.stack([rows >> at & 1 for at in range(bits - 1, -1, -1)], axis=-1).reshape(height, -1)
    pixels = np.packbits(planes, axis=1, bitorder="little" if reversed_bits else "big").tobytes()
    entries = [(256, 4, [width]), (257, 4, [height]), (258, 3, [bits]), (259, 3, [1]), (262, 3, [photometric]), (273, 4, [8]),
               (277, 3, [1]), (278, 4, [height]), (279, 4, [len(pixels)])]
    if palette is not None:
        entries.append((320, 3, [int(v) for v in palette.T.ravel()]))
    if reversed_bits:
        entries.append((266, 3, [2]))
    return directory(entries, pixels)


def subsampled_tiff(across, down):
    height, width = GREY.shape
    pixels = b""
    for y in range(0, height, down):
        for x in range(0, width, across):
            for v in range(down):
                for h in range(across):
                    pixels += bytes([YCC[0][min(y + v, height - 1), min(x + h, width - 1)]])
            pixels += bytes([YCC[1][y, x], YCC[2][y, x]])
    pixels = zlib.compress(pixels)  # Pillow leaves YCbCr to libtiff only where something is packed
    return directory([(256, 4, [width]), (257, 4, [height]), (258, 3, [8, 8, 8]), (259, 3, [8]), (262, 3, [6]), (273, 4, [8]), (277, 3, [3]),
                      (278, 4, [height]), (279, 4, [len(pixels)]), (530, 3, [across, down])], pixels)


def bmp(header, palette, pixels):
    offset = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + header + palette + pixels


def others():
    webp = saved(PHOTO, "WEBP", lossless=True, exif=exif(6))
    add("webp_exif.webp", webp)
    add("webp_exif_prefix.webp", saved(PHOTO, "WEBP", lossless=True, exif=exif(6, prefix=b"Exif\0\0")))
    add("webp_xmp_8.webp", saved(PHOTO, "WEBP", lossless=True, xmp=XMP))
    lines = np.pad(RGB[::-1, :, ::-1].reshape(61, -1), ((0, 0), (0, -83 * 3 % 4))).tobytes()
    add("bmp_os2_1.bmp", bmp(struct.pack("<IHHHH", 12, 83, 61, 1, 24), b"", lines))
    add("bmp_os2_2.bmp", bmp(struct.pack("<IiiHHII", 64, 83, 61, 1, 24, 0, len(lines)).ljust(64, b"\0"), b"", lines))
    small = PHOTO.quantize(10)
    numbers, table = np.asarray(small), small.getpalette()[:30]
    colours = b"".join(bytes([table[3 * at + 2], table[3 * at + 1], table[3 * at], 0]) for at in range(10))
    info = lambda bits, compression, used, height=61: struct.pack("<IiiHHIIiiII", 40, 83, height, 1, bits, compression, 0, 0, 0, used, 0)
    runs = b"".join(b"".join(bytes([1, v]) for v in row) + b"\0\0" for row in numbers[::-1]) + b"\0\1"
    add("bmp_rle8.bmp", bmp(info(8, 1, 10), colours, runs))
    pairs = np.pad(numbers[::-1], ((0, 0), (0, 1)))
    runs = b"".join(bytes([0, 82]) + bytes(int(a) << 4 | int(b) for a, b in zip(row[0:82:2], row[1:82:2])) + b"\0" + bytes([1, int(row[82]) << 4]) + b"\0\0" for row in pairs)
    add("bmp_rle4.bmp", bmp(info(4, 2, 10), colours, runs + b"\0\1"))
    short = np.pad(numbers[::-1], ((0, 0), (0, -83 % 4))).tobytes()
    add("bmp_short_palette.bmp", bmp(info(8, 0, 10), colours, short))
    five = (RGB[::-1].astype(np.uint16) >> 3) @ np.array([1 << 10, 1 << 5, 1], np.uint16)
    add("bmp_555.bmp", bmp(info(16, 0, 0), b"", np.pad(five, ((0, 0), (0, 1))).astype("<u2").tobytes()), tolerance=1)
    whole = bmp(info(24, 0, 0), b"", lines)
    add("bmp_cut.bmp", whole[: len(whole) // 2], "none", **{"class": "corrupt"})
    add("bmp_cut_salvaged.bmp", whole[: len(whole) // 2], "bottom", message="rows are missing", salvage=True)
    for name, picture, options in (
        ("rgb", PHOTO, {}), ("rle", PHOTO, {"compression": "tga_rle"}), ("grey", PHOTO.convert("L"), {}),
        ("palette", PHOTO.quantize(200), {}), ("rgba", Image.fromarray(np.dstack([RGB, KEY])), {}),
    ):
        add(f"tga_{name}.tga", saved(picture, "TGA", **options))
    add("pnm_rgb.ppm", saved(PHOTO, "PPM"))
    add("pnm_grey.pgm", saved(PHOTO.convert("L"), "PPM"))
    add("pnm_bits.pbm", saved(PHOTO.convert("1"), "PPM"))
    add("pnm_text.ppm", b"P3\n# a comment\n83 61\n255\n" + b" ".join(b"%d" % v for v in RGB.ravel()))
    add("pnm_pam.pam", b"P7\nWIDTH 83\nHEIGHT 61\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + RGB.tobytes(), "vips-ppm")
    add("qoi_rgb.qoi", saved(PHOTO, "QOI"))
    add("ico_largest.ico", saved(Image.fromarray(np.dstack([RGB, KEY])).resize((64, 64)), "ICO", sizes=[(16, 16), (64, 64), (32, 32)]))
    add("ico_bmp.ico", saved(PHOTO.convert("RGBA").resize((32, 32)), "ICO", sizes=[(32, 32)], bitmap_format="bmp"))
    add("dds_dxt1.dds", saved(PHOTO, "DDS", pixel_format="DXT1"), tolerance=8)
    add("pcx_rgb.pcx", saved(PHOTO, "PCX"))
    add("pcx_palette.pcx", saved(PHOTO.quantize(200), "PCX"))
    add("pcx_bits.pcx", saved(PHOTO.convert("1"), "PCX"))
    gif = saved(PHOTO.quantize(64), "GIF", interlace=0)
    add("gif_cut.gif", gif[: len(gif) // 2], "none", **{"class": "corrupt"})
    add("gif_cut_salvaged.gif", gif[: len(gif) // 2], "top-of", whole=gif, message="rows are missing", salvage=True)


def by_pillow(content):
    picture = Image.open(io.BytesIO(content))
    picture.load()
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        picture = (picture if picture.mode != "RGBa" else picture.convert("RGBA")).convert("RGBA")
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        black.alpha_composite(picture)
        picture = black
    return np.asarray(picture.convert("RGB"))


def expected(name, file):
    content, by = file["content"], file["by"]
    match by:
        case "pillow":
            return by_pillow(content)
        case "truncated":
            ImageFile.LOAD_TRUNCATED_IMAGES = True
            rows = by_pillow(content)
            ImageFile.LOAD_TRUNCATED_IMAGES = False
            return rows
        case "vips":
            picture = pyvips.Image.new_from_buffer(content, "").colourspace("srgb")
            return picture.numpy()[:, :, :3]
        case "vips-ppm" | "value":
            return RGB
        case "beyond":
            rows = np.repeat(np.clip(GREY, 0, 255)[:, :, None], 3, axis=2).copy()
            rows[:9], rows[9:12] = 255, 0
            return rows
        case "top" | "bottom":
            return RGB
        case "turned":
            return np.asarray(Image.fromarray(by_pillow(file["like"])).transpose(Image.Transpose.ROTATE_270))
        case "top-of":
            return by_pillow(file["whole"])
    return None


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    for make in (jpegs, pngs, tiffs, others):
        make()
    cases = {}
    for name, file in sorted(FILES.items()):
        (OUT / name).write_bytes(file["content"])
        case = {key: file[key] for key in ("class", "message", "salvage", "tolerance") if key in file}
        rows = expected(name, file)
        if rows is not None:
            case |= {"by": file["by"], "width": rows.shape[1], "height": rows.shape[0]}
            target = name.replace(".", "_") + ".expected.png"
            for other, earlier in cases.items():
                # Many show the same pixels.
                if "expected" in earlier and np.array_equal(np.asarray(Image.open(OUT / earlier["expected"])), rows):
                    target = earlier["expected"]
                    break
            else:
                Image.fromarray(rows).save(OUT / target, optimize=True)
            case["expected"] = target
        cases[name] = case
    reference = f"Pillow {PIL.__version__}, libvips {pyvips.version(0)}.{pyvips.version(1)}.{pyvips.version(2)}"
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items())
    OUT.with_suffix(".json").write_text(f'{{\n "reference": {json.dumps(reference)},\n "files": {{\n{lines}\n }}\n}}\n')


main()
