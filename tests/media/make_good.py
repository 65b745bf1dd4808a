"""Draw the sample pictures in tests/media/good.

In:   two pictures of the scikit-image 0.26.0 wheel: `astronaut` (NASA, public domain) and `coffee` (CC0).
Out:  tests/media/good/*.jpg, JPEG quality 90, without EXIF or colour profile.
Never: draws at random; the same wheels give the same files.

    python -m pip install --no-deps -r tests/golden/requirements.txt
    python tests/media/make_good.py
"""

import hashlib
import importlib.util
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

GOOD = Path(__file__).resolve().parent / "good"

SHA256 = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
}

# Where the face is in `astronaut`, in its pixels: MTCNN's own box is 87 wide around this centre.
FACE_CENTRE = (224, 117)
FACE_WIDTH = 87
# Half the extent of what is cut out around that centre: hair and chin, no more.
HEAD_REACH = (88, 112)


@dataclass(frozen=True)
class Face:
    """One copy of the astronaut's head: where its face is and how it was changed."""

    centre: tuple[int, int]
    width: int
    flip: bool = False
    brightness: float = 1.0
    degrees: float = 0.0


GROUP_SIZE = (1280, 720)
GROUP = (
    Face((265, 385), 250),
    Face((620, 240), 150, flip=True),
    Face((870, 190), 100, brightness=1.25),
    Face((1110, 190), 110, flip=True, degrees=12),
    Face((640, 560), 70, brightness=0.6),
    Face((820, 520), 60, degrees=-15),
    Face((965, 470), 40),
    Face((1075, 560), 32, flip=True),
    Face((1190, 490), 24, brightness=1.15),
)


def main():
    GOOD.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        target = GOOD / f"{name}.jpg"
        picture.save(target, quality=90, optimize=True)
        print(f"{target.name}: {picture.width}x{picture.height}, {target.stat().st_size} bytes")


def pictures():
    return {
        "astronaut": astronaut(),
        "group": compose(GROUP_SIZE, GROUP),
        "portrait_small": portrait((200, 150), face_width=60),
        "no_face": no_face((640, 480)),
    }


def astronaut():
    return from_wheel("astronaut.png")


def portrait(size, face_width):
    """A cut from `astronaut`, so scaled that the face in it is `face_width` wide."""
    scale = FACE_WIDTH / face_width
    left, top = FACE_CENTRE[0] - size[0] * scale / 2, FACE_CENTRE[1] - size[1] * scale / 2
    box = (left, top, left + size[0] * scale, top + size[1] * scale)
    return astronaut().resize(size, Image.Resampling.LANCZOS, box=box)


def no_face(size):
    """A cup of coffee: round and textured, so that the first network has candidates to reject."""
    coffee = from_wheel("coffee.png")
    width = coffee.height * size[0] / size[1]
    left = (coffee.width - width) / 2
    return coffee.resize(size, Image.Resampling.LANCZOS, box=(left, 0, left + width, coffee.height))


def compose(size, faces, scale=1.0):
    """The faces on a smooth ground; `scale` shrinks the whole scene, places and widths alike."""
    canvas = ground(tuple(round(extent * scale) for extent in size))
    for face in faces:
        head, mask = cut_head(face, face.width * scale)
        corner = tuple(round(at * scale - extent / 2) for at, extent in zip(face.centre, head.size))
        canvas.paste(head, corner, mask)
    return canvas


def ground(size):
    """Two slow waves over a gradient: nothing with an edge in it."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float64)
    x, y = x / size[0], y / size[1]
    wave = 12 * np.sin(2 * math.pi * (1.5 * x + 0.5 * y)) + 8 * np.cos(2 * math.pi * (y - 0.7 * x))
    levels = np.stack([110 + 60 * x + wave, 120 + 40 * y + wave, 150 - 50 * x + wave], axis=-1)
    return Image.fromarray(levels.round().astype(np.uint8))


def cut_head(face, width):
    """The head, its face `width` pixels wide, and the soft oval through which it is pasted."""
    (x, y), (reach_x, reach_y) = FACE_CENTRE, HEAD_REACH
    box = (x - reach_x, y - reach_y, x + reach_x, y + reach_y)
    size = tuple(round(2 * reach * width / FACE_WIDTH) for reach in HEAD_REACH)
    head = astronaut().resize(size, Image.Resampling.LANCZOS, box=box)
    head = ImageEnhance.Brightness(head).enhance(face.brightness)

    mask = Image.new("L", size, 0)
    edge = size[0] * 0.05
    ImageDraw.Draw(mask).ellipse((edge, edge, size[0] - 1 - edge, size[1] - 1 - edge), fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(edge / 2))

    if face.flip:
        head, mask = (layer.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for layer in (head, mask))
    if face.degrees:
        head, mask = (layer.rotate(face.degrees, Image.Resampling.BICUBIC) for layer in (head, mask))
    return head, mask


def from_wheel(name):
    """A picture of scikit-image's wheel, read from its folder: the package itself need not be importable."""
    package = importlib.util.find_spec("skimage")
    if package is None:
        sys.exit("scikit-image is not installed")
    data = (Path(package.origin).parent / "data" / name).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256[name]:
        sys.exit(f"{name}: expected sha256 {SHA256[name]}, found {found}")
    with Image.open(Path(package.origin).parent / "data" / name) as picture:
        # Through an array, so that colour profile and comment stay behind.
        return Image.fromarray(np.asarray(picture.convert("RGB")))


if __name__ == "__main__":
    main()
