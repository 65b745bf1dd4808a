"""Animated GIF and WebP, and their frames as Pillow shows them → animation/.

    python -B tests/golden/animation.py

Out:  animation/NAME.gif and .webp, small enough to be read in a debugger; animation/NAME.png, the frames of each one
      below the other, alpha over black; animation.json, how long each frame is shown by the file's own account.
Pillow decodes WebP with libwebp and its WebPAnimDecoder. Frames of WebP are put together by hand here, because an
encoder chooses by itself which parts of the picture it writes and how they are mixed.
"""

import io
import json
import struct
import sys
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

MEDIA = Path(__file__).resolve().parent.parent / "media"
sys.path.insert(0, str(MEDIA))
import make_good
import writers as w

OUT = Path(__file__).with_name("animation")
WIDTH, HEIGHT = 40, 30


# --- GIF.


def gifs(rgb):
    few = Image.fromarray(rgb).quantize(63, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    indexes, palette = np.asarray(few), np.zeros((64, 3), np.uint8)  # the last colour is the one that shows through
    used = np.array(few.getpalette(), np.uint8).reshape(-1, 3)[:63]
    palette[: len(used)] = used
    start = w.gif_start(WIDTH, HEIGHT, palette, loops=True)
    holed = indexes.copy()
    holed[20:, :12] = 63
    part = indexes[5:17, 8:30]
    holed_part = part.copy()
    holed_part[3:9, 4:12] = 63
    for disposal, name in [(1, "keep"), (2, "background"), (3, "previous")]:
        frames = [
            w.gif_frame(holed, 64, transparent=63, disposal=1),
            w.gif_frame(holed_part, 64, left=3, top=2, transparent=63, disposal=disposal, delay_cs=4),
            w.gif_frame(part[::-1], 64, left=15, top=16, transparent=63, disposal=disposal, interlaced=True, delay_cs=7),
            w.gif_frame(holed_part[:, ::-1], 64, left=10, top=9, transparent=63, disposal=1, delay_cs=250),
        ]
        yield f"gif_{name}.gif", start + b"".join(frames) + b";"
    delays = [w.gif_frame(np.roll(indexes, 7 * at, axis=1), 64, delay_cs=cs) for at, cs in enumerate([0, 1, 2, 300])]
    yield "gif_delays.gif", start + b"".join(delays) + b";"


# --- WebP.


def encode(pixels, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", method=4, **options)
    return buffer.getvalue()


def chunks(webp):
    """The chunks of a still picture that belong into a frame."""
    at = 12
    while at < len(webp):
        name, size = struct.unpack_from("<4sI", webp, at)
        end = at + 8 + size + size % 2
        if name in (b"ALPH", b"VP8 ", b"VP8L"):
            yield webp[at:end]
        at = end


def chunk(name, content):
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def u24(number):
    return struct.pack("<I", number)[:3]


def frame(pixels, left=0, top=0, delay=100, blend=True, dispose=False, **options):
    height, width = pixels.shape[:2]
    head = u24(left // 2) + u24(top // 2) + u24(width - 1) + u24(height - 1) + u24(delay)
    flags = bytes([(not blend) << 1 | dispose])
    return chunk(b"ANMF", head + flags + b"".join(chunks(encode(pixels, **options))))


def animated(frames, alpha):
    # The background colour is a loud one: a decoder that uses it is found out.
    body = (b"WEBP" + chunk(b"VP8X", struct.pack("<I", 2 | 16 * alpha) + u24(WIDTH - 1) + u24(HEIGHT - 1))
            + chunk(b"ANIM", bytes([0, 255, 0, 255, 0, 0])) + b"".join(frames))
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webps(rgb):
    lossless, lossy = {"lossless": True, "exact": True}, {"quality": 90}
    ramp = np.clip(np.arange(WIDTH) * 8 - 20, 0, 255).astype(np.uint8) * np.ones((HEIGHT, 1), np.uint8)
    rgba = np.dstack([rgb, ramp])
    part, opaque_part = rgba[4:20, 6:28], rgb[4:20, 6:28]
    flipped = np.ascontiguousarray(part[:, ::-1])
    for kind, options in [("lossless", lossless), ("lossy", lossy)]:
        yield f"webp_{kind}_mixed.webp", animated([
            frame(rgb, **options),
            frame(part, 2, 4, 40, **options),
            frame(flipped, 16, 10, 70, blend=False, **options),
            frame(part, 10, 6, 250, **options),
        ], alpha=True)
        yield f"webp_{kind}_taken_away.webp", animated([
            frame(rgb, **options),
            frame(opaque_part, 2, 4, dispose=True, **options),
            frame(opaque_part[::-1], 16, 10, dispose=True, **options),
            frame(flipped, 8, 8, dispose=True, **options),
            frame(rgba, dispose=True, **options),
            frame(part, 10, 6, **options),
        ], alpha=True)
    yield "webp_opaque.webp", animated([
        frame(rgb, delay=0, **lossy),
        frame(opaque_part, 2, 4, 10, **lossy),
        frame(opaque_part[::-1], 16, 10, 11, dispose=True, **lossy),
        frame(opaque_part, 4, 8, 1000, **lossless),
    ], alpha=False)
    # As Pillow writes one by itself.
    buffer = io.BytesIO()
    others = [Image.fromarray(np.roll(rgb, 3 * at, axis=1)) for at in range(1, 5)]
    Image.fromarray(rgb).save(buffer, "WEBP", save_all=True, append_images=others, duration=40, allow_mixed=True, method=4)
    yield "webp_by_pillow.webp", buffer.getvalue()


def over_black(picture):
    rgba = np.asarray(picture.convert("RGBA")).astype(np.uint16)
    return ((rgba[..., :3] * rgba[..., 3:] + 127) // 255).astype(np.uint8)


def main():
    OUT.mkdir(exist_ok=True)
    rgb = np.array(make_good.portrait((WIDTH, HEIGHT), face_width=16))
    files = {}
    for name, data in [*gifs(rgb), *webps(rgb)]:
        (OUT / name).write_bytes(data)
        shown, delays = [], []
        with Image.open(io.BytesIO(data)) as picture:
            for at in range(picture.n_frames):
                picture.seek(at)
                picture.load()  # only then does WebP know how long
                shown.append(over_black(picture))
                delays.append(picture.info.get("duration", 0))
        Image.fromarray(np.concatenate(shown)).save((OUT / name).with_suffix(".png"), optimize=True)
        files[name] = {"frames": len(shown), "delays_ms": delays}
    reference = {"reference": f"Pillow {PIL.__version__}", "width": WIDTH, "height": HEIGHT, "files": files}
    OUT.with_suffix(".json").write_text(json.dumps(reference, indent=1) + "\n")


main()
