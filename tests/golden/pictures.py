"""Draw the lossless pictures that the golden numbers are computed from.

JPEG decoders differ by a grey level here and there; PNG leaves nothing to differ in.

In:   the scenes of tests/media/make_good.py, and some of odd shape.
Out:  tests/golden/pictures/*.png, RGB, 8 bit.
Never: draws at random; the same wheels give the same pixels.

    python -m pip install --no-deps -r tests/golden/requirements.txt
    python tests/golden/pictures.py
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PICTURES = HERE / "pictures"
sys.path.insert(0, str(HERE.parent / "media"))

from make_good import GROUP, GROUP_SIZE, Face, astronaut, compose, no_face, portrait  # noqa: E402

TALL = (
    Face((170, 160), 140, brightness=1.1),
    Face((80, 400), 45, flip=True),
    Face((190, 440), 66, degrees=8),
    Face((290, 380), 28),
)

# Every edge cuts one face.
BORDER = (
    Face((28, 150), 100),
    Face((392, 70), 80, flip=True),
    Face((210, 272), 90),
    Face((190, 24), 64, degrees=-6),
    Face((250, 140), 40),
)


def main():
    PICTURES.mkdir(parents=True, exist_ok=True)
    total = 0
    for name, picture in pictures().items():
        target = PICTURES / f"{name}.png"
        picture.save(target, optimize=True)
        total += target.stat().st_size
        print(f"{target.name}: {picture.width}x{picture.height}, {target.stat().st_size} bytes")
    print(f"{total} bytes in all")


def pictures():
    return {
        "astronaut": astronaut(),
        "group": compose(GROUP_SIZE, GROUP, scale=0.75),
        "portrait_small": portrait((200, 150), face_width=60),
        "no_face": no_face((320, 240)),
        "tall": compose((333, 517), TALL),
        "border": compose((421, 299), BORDER),
        "tiny": portrait((90, 61), face_width=24),
        "strip": strip((3000, 40)),
    }


def strip(size):
    """Seventy-five times as wide as high: the astronaut's face band, squeezed upright and pulled along."""
    return astronaut().resize(size, box=(0, 60, 512, 180))


if __name__ == "__main__":
    main()
