"""What Pillow makes of the sample files: sha256 of their RGB pixels → decode.json.

    python -B tests/golden/decode.py

Pillow decodes JPEG with libjpeg-turbo and WebP with libwebp, as OpenCV and torchvision do. The cascade answers to a
grey level of difference in a few of a hundred faces, so the Rust side is held to the same bits.
"""

import hashlib
import json
from pathlib import Path

import PIL
from PIL import Image

MEDIA = Path(__file__).resolve().parent.parent / "media"
OUT = Path(__file__).with_name("decode.json")


def main():
    files = sorted([*MEDIA.glob("good/*.jpg"), *MEDIA.glob("formats/jpeg_*.jpg"), MEDIA / "formats/webp_lossy.webp"])
    pixels = {}
    for file in files:
        with Image.open(file) as picture:  # as stored: EXIF orientation is not applied
            rgb = picture.convert("RGB")
        pixels[str(file.relative_to(MEDIA))] = {
            "width": rgb.width,
            "height": rgb.height,
            "sha256": hashlib.sha256(rgb.tobytes()).hexdigest(),
        }
    OUT.write_text(json.dumps({"reference": f"Pillow {PIL.__version__}", "files": pixels}, indent=1) + "\n")


main()
