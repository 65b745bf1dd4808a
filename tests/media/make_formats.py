"""Writes formats/: one small picture in every format and variant that has to be decoded, and expected.json.

In: the picture `astronaut` of scikit-image. Out: formats/*, the same bytes on each run.
The expected colours come from the array that went into the encoder, never from a decoder.
"""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

import writers as w

OUT = Path(__file__).parent / "formats"
ASTRONAUT_SHA256 = "a8c429c18afa7b0fd5673e598d73a21225d94c864a71bbb3885126fdecb41071"
WIDTH, HEIGHT = 80, 60  # 60 is no multiple of 8: the last row of JPEG and WebP blocks is padded
PATCH_SIDE = 8

# Top left corners of the patches: the red mark, the blue mark, the face, the two lower corners.
PATCHES = [(4, 4), (68, 4), (36, 28), (4, 46), (66, 46)]

# Largest difference of a patch mean, per channel. Lossless: rounding of 16 bits, or of alpha, to 8.
# JPEG: quantisation at quality 90. Subsampled chroma and WebP's video-range YUV add their own.
EXACT, LOSSLESS, JPEG, SUBSAMPLED = 0.6, 1.5, 4.0, 6.0


def full_picture():
    """[512, 512, 3] u8: NASA's portrait of Eileen Collins, public domain."""
    full = skimage.data.astronaut()
    found = hashlib.sha256(full.tobytes()).hexdigest()
    assert found == ASTRONAUT_SHA256, f"astronaut: expected sha256 {ASTRONAUT_SHA256}, found {found}"
    return full


def picture():
    """[60, 80, 3] u8: a face, a red mark at the top left and a blue one at the top right, so that no turn looks the same."""
    small = Image.fromarray(full_picture()).crop((120, 30, 328, 186)).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    rgb = np.array(small)
    rgb[:16, :16] = (220, 20, 30)
    rgb[:16, -16:] = (20, 40, 210)
    return rgb


def grey_of(rgb):
    return np.rint(rgb @ [0.299, 0.587, 0.114]).astype(np.uint8)


def alpha_of_places():
    """[60, 80] u8: opaque above, below a ramp that starts with nothing: the lower left corner is fully transparent."""
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[24:] = np.clip((np.arange(WIDTH) - 16) * 5, 0, 255)
    return alpha


def over_black(rgb, alpha):
    return rgb * (alpha[..., None] / 255)


def cmyk_of(rgb):
    """Ink amounts with all the common part in black, so that a decoder which forgets black is found out."""
    rgb = rgb.astype(float)
    white = np.maximum(rgb.max(axis=2, keepdims=True), 1)
    inks = np.concatenate([255 * (1 - rgb / white), 255 - white], axis=2)
    return np.rint(inks).astype(np.uint8)


def rgb_of_cmyk(cmyk):
    """Without a colour profile: light that passes the ink times light that passes the black."""
    passes = 255.0 - cmyk
    return passes[..., :3] * passes[..., 3:] / 255


def turned_back(rgb, orientation):
    """What has to be stored so that a viewer which obeys `orientation` (EXIF 2.32, tag 274) shows `rgb`."""
    return [rgb, rgb[:, ::-1], rgb[::-1, ::-1], rgb[::-1], rgb.transpose(1, 0, 2), np.rot90(rgb, 1),
            np.rot90(rgb, 2).transpose(1, 0, 2), np.rot90(rgb, -1)][orientation - 1]


def wide(samples):
    """8 bits -> 16 bits with low bits of their own; 257 * v is exactly v, and the rest stays below half a step."""
    ramp = (np.arange(samples.size).reshape(samples.shape) * 7) % 97
    return np.clip(samples.astype(int) * 257 + ramp, 0, 65535).astype(np.uint16)


def encode(samples, kind, mode=None, **options):
    image = samples if isinstance(samples, Image.Image) else Image.fromarray(np.ascontiguousarray(samples))
    assert mode in (None, image.mode), f"expected mode {mode}, found {image.mode}"
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def palette_of(rgb, colours):
    """(indexes [h, w], palette [colours, 3])"""
    image = Image.fromarray(rgb).quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    palette = np.array(image.getpalette(), np.uint8).reshape(-1, 3)[:colours]
    return np.array(image), np.pad(palette, ((0, colours - len(palette)), (0, 0)))


def jpegs(rgb):
    full = encode(rgb, "JPEG", quality=90, subsampling="4:4:4")
    yield "jpeg_420.jpg", encode(rgb, "JPEG", quality=90, subsampling="4:2:0"), rgb, SUBSAMPLED
    yield "jpeg_422.jpg", encode(rgb, "JPEG", quality=90, subsampling="4:2:2"), rgb, SUBSAMPLED
    yield "jpeg_444.jpg", full, rgb, JPEG
    yield "jpeg_progressive.jpg", encode(rgb, "JPEG", quality=90, subsampling="4:2:0", progressive=True), rgb, SUBSAMPLED
    yield "jpeg_restart.jpg", encode(rgb, "JPEG", quality=90, subsampling="4:2:0", restart_marker_blocks=2), rgb, SUBSAMPLED
    yield "jpeg_adobe_rgb.jpg", encode(rgb, "JPEG", quality=90, keep_rgb=True), rgb, JPEG
    grey = grey_of(rgb)
    yield "jpeg_grey.jpg", encode(grey, "JPEG", quality=90), grey, JPEG

    cmyk = cmyk_of(rgb)
    # Pillow stores CMYK inverted, as Photoshop does, with an Adobe marker that says "no transform".
    yield "jpeg_cmyk.jpg", encode(Image.fromarray(cmyk, "CMYK"), "JPEG", quality=92), rgb_of_cmyk(cmyk), SUBSAMPLED
    # YCCK: the three inks as YCbCr and the black as it is. The inversion is undone first, as Pillow is going to invert;
    # then the last byte of the Adobe marker says "YCCK" instead of "no transform".
    as_ycc = np.array(Image.fromarray(cmyk[..., :3]).convert("YCbCr"))
    planes = np.concatenate([255 - as_ycc, cmyk[..., 3:]], axis=2)
    ycck = bytearray(encode(Image.fromarray(planes, "CMYK"), "JPEG", quality=92))
    ycck[w.jpeg_marker_at(ycck, [0xEE]) + 15] = 2
    yield "jpeg_ycck.jpg", bytes(ycck), rgb_of_cmyk(cmyk), SUBSAMPLED

    for orientation in range(1, 9):
        stored = encode(turned_back(rgb, orientation), "JPEG", quality=90, subsampling="4:2:0")
        order = "<>"[orientation % 2]  # both byte orders occur in cameras
        data = w.jpeg_with(stored, w.jpeg_segment(0xE1, b"Exif\0\0" + w.exif(orientation, order)))
        yield f"jpeg_orientation_{orientation}.jpg", data, rgb, SUBSAMPLED


def pngs(rgb):
    grey, alpha = grey_of(rgb), alpha_of_places()
    rgba = np.dstack([rgb, alpha])
    yield "png_rgb8.png", w.png(rgb, 8, w.PNG_RGB), rgb, EXACT
    yield "png_rgb8_interlaced.png", w.png(rgb, 8, w.PNG_RGB, interlaced=True), rgb, EXACT
    yield "png_rgb16.png", w.png(wide(rgb), 16, w.PNG_RGB), wide(rgb) / 257, LOSSLESS
    yield "png_grey8.png", w.png(grey, 8, w.PNG_GREY), grey, EXACT
    yield "png_grey16.png", w.png(wide(grey), 16, w.PNG_GREY), wide(grey) / 257, LOSSLESS
    black_white = (grey >= 128).astype(np.uint8)
    yield "png_grey1.png", w.png(black_white, 1, w.PNG_GREY), black_white * 255, EXACT
    yield "png_grey4_interlaced.png", w.png(grey >> 4, 4, w.PNG_GREY, interlaced=True), (grey >> 4) * 17, EXACT
    yield "png_rgba8.png", w.png(rgba, 8, w.PNG_RGB_ALPHA), over_black(rgb, alpha), LOSSLESS
    yield "png_rgba16.png", w.png(wide(rgba), 16, w.PNG_RGB_ALPHA), over_black(wide(rgb) / 257, wide(rgba)[..., 3] / 257), LOSSLESS
    yield "png_grey_alpha8.png", w.png(np.dstack([grey, alpha]), 8, w.PNG_GREY_ALPHA), over_black(np.dstack([grey] * 3), alpha), LOSSLESS

    indexes, palette = palette_of(rgb, 64)
    plte = w.png_chunk(b"PLTE", palette.tobytes())
    yield "png_palette8.png", w.png(indexes, 8, w.PNG_PALETTE, plte), palette[indexes], EXACT
    few, few_palette = palette_of(rgb, 16)
    few_plte = w.png_chunk(b"PLTE", few_palette.tobytes())
    yield "png_palette4.png", w.png(few, 4, w.PNG_PALETTE, few_plte), few_palette[few], EXACT
    # Shorter than the palette on purpose: entries beyond tRNS are opaque.
    entry_alpha = np.array([0, 128, 255, 64] * 8, np.uint8)
    full_alpha = np.concatenate([entry_alpha, np.full(32, 255, np.uint8)])
    trns = w.png_chunk(b"tRNS", entry_alpha.tobytes())
    yield "png_palette_trns.png", w.png(indexes, 8, w.PNG_PALETTE, plte + trns), over_black(palette[indexes], full_alpha[indexes]), LOSSLESS
    # One colour, that of the red mark, counts as transparent.
    key = w.png_chunk(b"tRNS", b"".join(int(v).to_bytes(2, "big") for v in rgb[0, 0]))
    opaque = np.where((rgb == rgb[0, 0]).all(axis=2), 0, 255)
    yield "png_rgb8_trns.png", w.png(rgb, 8, w.PNG_RGB, key), over_black(rgb, opaque), EXACT
    turned = w.png(turned_back(rgb, 6), 8, w.PNG_RGB, w.png_chunk(b"eXIf", w.exif(6, ">")))
    yield "png_orientation_6.png", turned, rgb, EXACT


def webps(rgb):
    alpha = alpha_of_places()
    rgba = np.dstack([rgb, alpha])
    yield "webp_lossy.webp", encode(rgb, "WEBP", quality=92, method=4), rgb, SUBSAMPLED
    yield "webp_lossless.webp", encode(rgb, "WEBP", lossless=True, method=4), rgb, EXACT
    yield "webp_lossy_alpha.webp", encode(rgba, "WEBP", quality=92, method=4, mode="RGBA"), over_black(rgb, alpha), SUBSAMPLED
    yield "webp_lossless_alpha.webp", encode(rgba, "WEBP", lossless=True, method=4, mode="RGBA"), over_black(rgb, alpha), LOSSLESS
    later = [Image.fromarray(255 - rgb), Image.fromarray(rgb[::-1].copy())]
    data = encode(rgb, "WEBP", save_all=True, append_images=later, duration=100, quality=92, method=4)
    yield "webp_animated.webp", data, rgb, SUBSAMPLED
    data = encode(turned_back(rgb, 6), "WEBP", lossless=True, method=4, exif=b"Exif\0\0" + w.exif(6))
    yield "webp_orientation_6.webp", data, rgb, EXACT


def gifs(rgb):
    indexes, palette = palette_of(rgb, 64)
    colours, shown = palette[indexes], len(palette)
    start = w.gif_start(WIDTH, HEIGHT, palette)
    yield "gif_static.gif", start + w.gif_frame(indexes, shown) + b";", colours, EXACT
    yield "gif_interlaced.gif", start + w.gif_frame(indexes, shown, interlaced=True) + b";", colours, EXACT

    # 63 colours and one index that shows through: the lower left corner of the first frame has nothing behind it.
    indexes, palette = palette_of(rgb, 63)
    palette = np.concatenate([palette, [[0, 255, 0]]])
    holed = indexes.copy()
    holed[40:, :16] = 63
    first = w.gif_frame(holed, 64, transparent=63)
    second = w.gif_frame(indexes[::-1, ::-1], 64, transparent=63)
    third = w.gif_frame(indexes[10:30, 10:40], 64, left=30, top=20, transparent=63)
    colours = np.where((holed == 63)[..., None], 0, palette[holed])
    data = w.gif_start(WIDTH, HEIGHT, palette, loops=True) + first + second + third + b";"
    yield "gif_animated.gif", data, colours, EXACT
    # The first frame may be smaller than the canvas. What it leaves is transparent for some viewers and of the first or
    # the background colour for others; with black as that colour all say black.
    palette = np.concatenate([[[0, 0, 0]], palette[:63]])
    indexes = indexes + 1
    data = w.gif_start(WIDTH, HEIGHT, palette) + w.gif_frame(indexes[:40, 20:], 64, left=20, top=0) + b";"
    canvas = np.zeros_like(rgb)
    canvas[:40, 20:] = palette[indexes[:40, 20:]]
    yield "gif_small_frame.gif", data, canvas, EXACT


def bmps(rgb):
    indexes, palette = palette_of(rgb, 64)
    alpha = alpha_of_places()
    yield "bmp_24.bmp", w.bmp(rgb), rgb, EXACT
    yield "bmp_24_top_down.bmp", w.bmp(rgb, top_down=True), rgb, EXACT
    yield "bmp_palette8.bmp", w.bmp(indexes, palette), palette[indexes], EXACT
    yield "bmp_32_alpha.bmp", w.bmp(np.dstack([rgb, alpha])), over_black(rgb, alpha), LOSSLESS
    # Without masks the fourth byte is reserved, and zero in most files: reading it as alpha makes the picture black.
    reserved = np.dstack([rgb, np.zeros_like(alpha)])[::-1][:, :, [2, 1, 0, 3]].tobytes()
    head = b"BM" + (54 + len(reserved)).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    yield "bmp_32.bmp", head + w.bmp_info(WIDTH, HEIGHT, 32, len(reserved)) + reserved, rgb, EXACT


def tiffs(rgb):
    grey, cmyk, alpha = grey_of(rgb), cmyk_of(rgb), alpha_of_places()
    yield "tiff_rgb8.tiff", w.tiff(rgb, 2), rgb, EXACT
    yield "tiff_rgb8_big_endian.tiff", w.tiff(rgb, 2, order=">"), rgb, EXACT
    yield "tiff_rgb8_tiled.tiff", w.tiff(rgb, 2, tile=32), rgb, EXACT
    yield "tiff_rgb16.tiff", w.tiff(wide(rgb), 2), wide(rgb) / 257, LOSSLESS
    yield "tiff_grey8.tiff", w.tiff(grey, 1), grey, EXACT
    yield "tiff_grey8_white_is_zero.tiff", w.tiff(255 - grey, 0), grey, EXACT
    yield "tiff_grey16_big_endian.tiff", w.tiff(wide(grey), 1, order=">"), wide(grey) / 257, LOSSLESS
    yield "tiff_rgba8.tiff", w.tiff(np.dstack([rgb, alpha]), 2, extra={338: ("H", [2])}), over_black(rgb, alpha), LOSSLESS
    yield "tiff_cmyk8.tiff", w.tiff(cmyk, 5), rgb_of_cmyk(cmyk), LOSSLESS
    yield "tiff_lzw.tiff", encode(rgb, "TIFF", compression="tiff_lzw"), rgb, EXACT
    yield "tiff_lzw_predictor.tiff", encode(rgb, "TIFF", compression="tiff_lzw", tiffinfo={317: 2}), rgb, EXACT
    yield "tiff_deflate.tiff", encode(rgb, "TIFF", compression="tiff_adobe_deflate"), rgb, EXACT
    yield "tiff_packbits.tiff", encode(rgb, "TIFF", compression="packbits"), rgb, EXACT
    yield "tiff_orientation_6.tiff", w.tiff(turned_back(rgb, 6), 2, extra={274: ("H", [6])}), rgb, EXACT


def patch_means(shown):
    """shown [60, 80] or [60, 80, 3], what a viewer with a black desk sees -> the mean colour of each patch."""
    if shown.ndim == 2:
        shown = np.dstack([shown] * 3)
    means = []
    for x, y in PATCHES:
        patch = shown[y:y + PATCH_SIDE, x:x + PATCH_SIDE].reshape(-1, 3)
        means.append({"x": x, "y": y, "rgb": [round(float(v), 2) for v in patch.mean(axis=0)]})
    return means


def main():
    OUT.mkdir(exist_ok=True)
    rgb = picture()
    files = {}
    for group in (jpegs, pngs, webps, gifs, bmps, tiffs):
        for name, data, shown, tolerance in group(rgb):
            assert len(data) < 30_000, f"{name}: expected less than 30000 bytes, found {len(data)}"
            assert shown.shape[:2] == (HEIGHT, WIDTH), name
            (OUT / name).write_bytes(data)
            files[name] = {"container": name.split("_")[0], "width": WIDTH, "height": HEIGHT,
                           "tolerance": tolerance, "patches": patch_means(shown)}
    lines = [f"    {json.dumps(name)}: {json.dumps(files[name])}" for name in sorted(files)]
    head = json.dumps({"patch_side": PATCH_SIDE, "background": [0, 0, 0]})[1:-1]
    (OUT / "expected.json").write_text("{\n  " + head + ',\n  "files": {\n' + ",\n".join(lines) + "\n  }\n}\n")


if __name__ == "__main__":
    main()
