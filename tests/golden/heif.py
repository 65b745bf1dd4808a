"""HEIC, HEIF and AVIF files of every kind, and what libheif (HEIC) and libavif (AVIF) make of them → heif/, heif.json.

    python -B tests/golden/heif.py

Needs requirements-heif.txt, and ffmpeg with libaom for AV1 of 10 and 12 bits. The expected picture of FILE is FILE.png: 8 bits,
turned as the file's properties say, transparent places over black. The files are small: each stands for one thing that a
reader can get wrong.
"""

import io
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import av
import numpy as np
import PIL
import PIL.features
import pillow_heif
from heif_boxes import Heif, auxc, box, clap, grid, imir, irot, ispe, nclx, overlay, track
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
OUT = HERE / "heif"
TILE = (64, 64)
ALPHA = "urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"

pillow_heif.register_heif_opener()
# Coloured and with edges, so that colours that are shifted by a pixel or turned the wrong way show.
SCENE = Image.open(HERE / "pictures" / "portrait_small.png").convert("RGB")


def scene(width, height, at=(0, 0)):
    side = min(SCENE.size)
    whole = SCENE.crop((0, 0, side, side)).resize((128, 128), Image.Resampling.BOX)
    return whole.crop((at[0], at[1], at[0] + width, at[1] + height))


def ramp(width, height):
    """Alpha from clear to opaque."""
    row = np.linspace(0, 255, width).astype(np.uint8)
    return Image.fromarray(np.tile(row, (height, 1)))


def hevc(picture, pixels="yuv420p", params="", qp=30):
    """One intra picture by x265 → (hvcC, the item's bytes)."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx265", rate=1)
        stream.width, stream.height = picture.size
        stream.pix_fmt = pixels
        given = f"info=0:log-level=none:keyint=1:qp={qp}" + (":" + params if params else "")
        stream.options = {"x265-params": given, "preset": "veryfast"}
        frame = av.VideoFrame.from_image(picture).reformat(format=pixels)
        frame.pts = 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return pieces(file.getvalue(), b"hvcC")


def av1(picture, pixels="yuv420p", *more):
    """One key frame by libaom → (av1C, the item's bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        picture.save(f"{folder}/in.png")
        words = ["-v", "error", "-i", f"{folder}/in.png", "-frames:v", "1", "-pix_fmt", pixels, "-c:v", "libaom-av1"]
        words += ["-still-picture", "1", "-cpu-used", "6", "-crf", "35", "-fflags", "+bitexact", *more]
        subprocess.run(["ffmpeg", *words, f"{folder}/out.mp4"], check=True)
        return pieces(Path(f"{folder}/out.mp4").read_bytes(), b"av1C")


def pieces(mp4, name):
    at = mp4.index(name)
    configuration = mp4[at - 4 : at - 4 + int.from_bytes(mp4[at - 4 : at], "big")]
    at = mp4.index(b"mdat")
    return configuration, mp4[at + 4 : at - 4 + int.from_bytes(mp4[at - 4 : at], "big")]


def tiles(count_x, count_y, **more):
    """Tiles of one scene, and the set-up that they share."""
    made = [hevc(scene(*TILE, at=(x * 64, y * 64)), qp=42, **more) for y in range(count_y) for x in range(count_x)]
    assert all(made[0][0] == one[0] for one in made)
    return made[0][0], [data for _, data in made]


def one(coded, size, *properties, kind=b"hvc1", brands=(b"heic", b"mif1", b"heic"), extents=1, extra=b"", **versions):
    file = Heif(brands, **versions)
    file.add(kind, coded[1], [ispe(*size), coded[0], *properties], extents=extents)
    return file.bytes(extra)


def gridded(rows, columns, size, *properties, in_idat=True, long=False, hidden=True, **versions):
    configuration, datas = tiles(columns, rows)
    file = Heif(**versions)
    ids = [file.add(b"hvc1", data, [ispe(*TILE), configuration], hidden=hidden) for data in datas]
    body = grid(rows, columns, *size, long=long)
    file.primary = file.add(b"grid", body, [ispe(*size), *properties], in_idat=in_idat, dimg=ids)
    return file.bytes()


def with_alpha(colours, alpha, size, *, premultiplied=False, urn=ALPHA, turn=(), alpha_turn=()):
    file = Heif()
    master = file.add(b"hvc1", colours[1], [ispe(*size), colours[0], *turn])
    properties = [ispe(*alpha[2]), alpha[0], auxc(urn), *alpha_turn]
    mask = file.add(b"hvc1", alpha[1], properties, hidden=True, auxl=master)
    if premultiplied:
        file.refs.append((b"prem", master, [mask]))
    return file.bytes()


def saved(picture, format, **options):
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def heics():
    s = (61, 47)
    odd = scene(*s)
    tile = scene(*TILE)
    base = hevc(tile)
    yield "plain_420.heic", saved(odd, "HEIF", quality=50, chroma=420)
    yield "plain_422.heic", saved(odd, "HEIF", quality=50, chroma=422)
    yield "plain_444.heic", saved(odd, "HEIF", quality=50, chroma=444)
    yield "grey.heic", saved(odd.convert("L"), "HEIF", quality=50)
    rgba = odd.copy()
    rgba.putalpha(ramp(*s))
    yield "alpha.heic", saved(rgba, "HEIF", quality=50)
    yield "exif_is_ignored.heic", with_exif(base)
    thumbnailed = pillow_heif.from_pillow(odd)
    thumbnailed[0].info["thumbnails"] = [32]
    file = io.BytesIO()
    thumbnailed.save(file, quality=50)
    yield "thumbnail.heic", file.getvalue()
    for depth in (10, 12):
        for chroma in ("420", "422", "444"):
            coded = hevc(tile, f"yuv{chroma}p{depth}le", "range=full:colormatrix=bt709")
            yield f"depth_{depth}_{chroma}.heic", one(coded, TILE)
    yield "grey_10.heic", one(hevc(tile.convert("L").convert("RGB"), "gray10le", "range=full"), TILE)
    for quarters in (1, 2, 3):
        yield f"irot_{quarters}.heic", one(base, TILE, irot(quarters))
    for axis in (0, 1):
        yield f"imir_{axis}.heic", one(base, TILE, imir(axis))
    yield "irot_imir.heic", one(base, TILE, irot(1), imir(0))
    yield "imir_irot.heic", one(base, TILE, imir(0), irot(1))
    yield "irot_imir_1.heic", one(base, TILE, irot(3), imir(1))
    yield "clap.heic", one(base, TILE, clap(40, 30, (5, 1), (-7, 1)))
    yield "clap_half.heic", one(base, TILE, clap(41, 31, (1, 2), (-3, 2)))
    yield "clap_irot.heic", one(base, TILE, clap(40, 30, (5, 1), (-7, 1)), irot(1))
    yield "irot_clap.heic", one(base, TILE, irot(1), clap(40, 30, (5, 1), (-7, 1)))
    yield "grid.heic", gridded(2, 2, (128, 96))
    yield "grid_cut.heic", gridded(2, 2, (101, 90))
    yield "grid_irot_clap.heic", gridded(1, 2, (120, 60), irot(3), clap(50, 100))
    yield "grid_in_mdat.heic", gridded(2, 1, (64, 128), in_idat=False, long=True, hidden=False)
    yield "versions_new.heic", gridded(
        1, 2, (128, 64), iloc=2, iinf=1, infe=3, ipma=1, iref=1, pitm=1, wide=1, first_id=70_000
    )
    yield "iloc_0.heic", one(base, TILE, iloc=0, extents=3)
    yield "overlay.heic", layers([(0, 0), (70, 50), (-20, 40)], (30_000, 60_000, 10_000, 65_535))
    yield "identity.heic", identity()
    yield "colr_full_601.heic", one(base, TILE, nclx(1, 13, 6, True))
    yield "colr_limited_709.heic", one(base, TILE, nclx(1, 1, 1, False))
    yield "colr_full_2020.heic", one(base, TILE, nclx(9, 14, 9, True))
    yield "colr_identity.heic", one(hevc(tile, "gbrp", "colormatrix=gbr:range=full"), TILE, nclx(1, 13, 0, True))
    yield "vui_limited_709.heic", one(hevc(tile, params="colormatrix=bt709:range=limited"), TILE)
    yield "vui_full_601.heic", one(hevc(tile, "yuvj420p", "colormatrix=smpte170m:range=full"), TILE)
    yield "colr_over_vui.heic", one(hevc(tile, params="colormatrix=bt709:range=limited"), TILE, nclx(1, 13, 6, True))
    yield "hlg.heic", one(hevc(tile, "yuv420p10le"), TILE, nclx(9, 18, 9, True))
    yield "pq.heic", one(hevc(tile, "yuv420p10le"), TILE, nclx(9, 16, 9, True))
    mask = hevc(ramp(*TILE).convert("RGB"), "gray", "range=full")
    yield "alpha_premultiplied.heic", with_alpha(base, (*mask, TILE), TILE, premultiplied=True)
    half = hevc(ramp(32, 32).convert("RGB"), "gray", "range=full")
    yield "alpha_smaller.heic", with_alpha(base, (*half, (32, 32)), TILE, urn="urn:mpeg:hevc:2015:auxid:1")
    yield "depth_is_ignored.heic", with_alpha(base, (*mask, TILE), TILE, urn="urn:mpeg:hevc:2015:auxid:2")
    yield "alpha_irot.heic", with_alpha(base, (*mask, TILE), TILE, turn=(irot(1),), alpha_turn=(irot(1),))
    brands = (b"msf1", b"hevc", b"mif1", b"heic")
    yield "brands_of_a_sequence.heic", one(base, TILE, brands=brands)
    yield "brands_of_a_stranger.heic", one(base, TILE, brands=(b"abcd", b"mif1", b"heic"))


def with_exif(coded):
    """EXIF that would turn it, which a reader of HEIF leaves to the properties."""
    file = Heif()
    master = file.add(b"hvc1", coded[1], [ispe(*TILE), coded[0]])
    turned = b"\0\0\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    file.add(b"Exif", turned, hidden=True, cdsc=master)
    return file.bytes()


def jpeg_item(jpeg, *properties):
    file = Heif((b"mif1", b"mif1", b"jpeg"))
    file.add(b"jpeg", jpeg, [ispe(*TILE), *properties])
    return file.bytes()


def layers(places, background):
    configuration, datas = tiles(1, 1)
    file = Heif()
    ids = [file.add(b"hvc1", datas[0], [ispe(*TILE), configuration, *turn], hidden=True) for turn in ((), (irot(1),), (imir(0),))]
    body = overlay(background, 128, 100, places)
    file.primary = file.add(b"iovl", body, [ispe(128, 100)], in_idat=True, dimg=ids)
    return file.bytes()


def identity():
    configuration, datas = tiles(1, 1)
    file = Heif()
    base = file.add(b"hvc1", datas[0], [ispe(*TILE), configuration, irot(1)])
    file.primary = file.add(b"iden", b"", [ispe(*TILE), imir(1), clap(50, 40)], dimg=base)
    return file.bytes()


def avifs():
    s = (61, 47)
    odd = scene(*s)
    tile = scene(*TILE)
    for subsampling in ("4:2:0", "4:2:2", "4:4:4", "4:0:0"):
        name = subsampling.replace(":", "")
        yield f"plain_{name}.avif", saved(odd, "AVIF", quality=60, subsampling=subsampling)
    yield "limited.avif", saved(odd, "AVIF", quality=60, range="limited")
    rgba = odd.copy()
    rgba.putalpha(ramp(*s))
    yield "alpha.avif", saved(rgba, "AVIF", quality=60)
    yield "alpha_premultiplied.avif", saved(rgba, "AVIF", quality=60, alpha_premultiplied=True)
    frames = [scene(*TILE, at=(8 * n, 0)) for n in range(3)]
    yield "sequence.avif", saved(frames[0], "AVIF", quality=40, save_all=True, append_images=frames[1:])
    brands = (b"avif", b"mif1", b"avif", b"miaf")
    av01 = {"kind": b"av01", "brands": brands}
    coded = av1(tile)
    for depth in (10, 12):
        for chroma in ("420", "444"):
            deep = av1(tile, f"yuv{chroma}p{depth}le", "-color_range", "pc", "-colorspace", "bt709")
            yield f"depth_{depth}_{chroma}.avif", one(deep, TILE, **av01)
    for quarters in (1, 2, 3):
        yield f"irot_{quarters}.avif", one(coded, TILE, irot(quarters), **av01)
    yield "imir_0.avif", one(coded, TILE, imir(0), **av01)
    yield "irot_imir.avif", one(coded, TILE, irot(1), imir(1), **av01)
    yield "brand_mif1.avif", one(coded, TILE, kind=b"av01", brands=(b"mif1", b"avif", b"mif1", b"miaf"))
    yield "colr_full_709.avif", one(coded, TILE, nclx(1, 13, 1, True), **av01)
    yield "colr_ycgco.avif", one(av1(tile, "yuv444p"), TILE, nclx(1, 13, 8, True), **av01)
    yield "colr_2020_limited.avif", one(coded, TILE, nclx(9, 14, 9, False), **av01)
    yield "colr_of_primaries.avif", one(coded, TILE, nclx(12, 13, 12, True), **av01)
    yield "extents.avif", one(coded, TILE, extents=4, iloc=2, **av01)


def sequence_without_item():
    coded = hevc(scene(*TILE))
    ftyp = box(b"ftyp", b"msf1", b"\0\0\0\0", b"msf1", b"hevc")
    moov = track(b"hvc1", *TILE, coded[0], len(coded[1]), 0)
    moov = track(b"hvc1", *TILE, coded[0], len(coded[1]), len(ftyp) + len(moov) + 8)
    # What it shows is what the same picture as an item shows.
    return ftyp + moov + box(b"mdat", coded[1]), one(coded, TILE)


def over_black(picture):
    if picture.mode == "RGBa":  # multiplied already
        return Image.fromarray(np.ascontiguousarray(np.asarray(picture)[..., :3]))
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("RGBA", "LA"):
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, (0, 0, 0, 255)), picture)
    return picture.convert("RGB")


def by_libheif(data):
    return over_black(pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True).to_pillow())


def by_libavif(data):
    with Image.open(io.BytesIO(data), formats=["AVIF"]) as picture:
        picture.load()
        return over_black(ImageOps.exif_transpose(picture))


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    names = []

    def keep(name, data, shown):
        (OUT / name).write_bytes(data)
        shown.save(OUT / f"{name}.png", optimize=True)
        names.append(name)

    for name, data in heics():
        keep(name, data, by_libheif(data))
    data, as_item = sequence_without_item()
    keep("sequence_without_item.heic", data, by_libheif(as_item))
    # This libheif has no JPEG; what is in the item is a JPEG file, and its property turns it.
    jpeg = saved(scene(*TILE), "JPEG", quality=80, subsampling=0)
    keep("jpeg.heif", jpeg_item(jpeg, irot(1)), Image.open(io.BytesIO(jpeg)).transpose(Image.Transpose.ROTATE_90))
    for name, data in avifs():
        keep(name, data, by_libavif(data))
    # Faces, for the detector.
    group = Image.open(HERE / "pictures" / "group.png").convert("RGB")
    group = group.resize((320, 320 * group.height // group.width), Image.Resampling.LANCZOS)
    for name, data, shown in [
        ("faces.heic", data := saved(group, "HEIF", quality=45), by_libheif(data)),
        ("faces.avif", data := saved(group, "AVIF", quality=55), by_libavif(data)),
    ]:
        keep(name, data, shown)
    info = pillow_heif.libheif_info()
    reference = {
        "pillow": PIL.__version__,
        "libavif": PIL.features.version("avif"),
        "libheif": info["libheif"],
        "libde265": info["decoders"]["libde265"],
    }
    (HERE / "heif.json").write_text(json.dumps({"reference": reference, "files": sorted(names)}, indent=1) + "\n")
    print(len(names), "files,", sum(file.stat().st_size for file in OUT.iterdir()), "bytes")


main()
