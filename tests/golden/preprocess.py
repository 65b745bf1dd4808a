"""What the CLIP image processor of transformers 5.23.0, on Pillow, makes of tests/golden/pictures; and, where nothing is
resized, torchvision 0.29.2.

In:   tests/golden/pictures/*.png
Out:  tests/golden/preprocess/<case>.png   the u8 picture before rescaling and normalisation
      tests/golden/preprocess.json         the cases, mean and deviation, and some normalised values of one case
Never: reads anything that Rust wrote.

Three rules of resizing, all to a square of `side_px`, all bicubic with antialiasing:
    shortest   the short side becomes side_px, the long one int(side_px * long / short); then the centre is cut out
    squash     both sides become side_px
    none       nothing is resized; torchvision's CenterCrop cuts the centre out, and pads a smaller picture with zeros: heads
               that want no resizing were trained with it (UniversalFakeDetect, validate.py), and transformers rounds otherwise

    python -m pip install --no-deps -r tests/golden/requirements.txt
    python tests/golden/preprocess.py
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.transforms import CenterCrop
from transformers.models.clip.image_processing_clip import CLIPImageProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

HERE = Path(__file__).resolve().parent
PICTURES = HERE / "pictures"
OUTPUT = HERE / "preprocess"

# picture, rule, side_px
CASES = (
    ("astronaut", "shortest", 224),
    ("group", "shortest", 224),
    ("group", "shortest", 336),
    ("tall", "shortest", 224),
    ("tiny", "shortest", 224),
    ("strip", "shortest", 224),
    ("tall", "squash", 224),
    ("tiny", "squash", 224),
    ("strip", "squash", 224),
    ("tall", "none", 224),
    ("tall", "none", 98),  # 235 and 419 too many: halves that torchvision rounds up
    ("portrait_small", "none", 224),
    ("tiny", "none", 224),
    ("strip", "none", 224),
)
NORMALISED = ("group", "shortest", 224)
POSITIONS = 48


def main():
    OUTPUT.mkdir(exist_ok=True)
    cases = [run_case(*case) for case in CASES]
    processor = CLIPImageProcessorPil()
    text = {
        "reference": "transformers 5.23.0, CLIPImageProcessorPil; torchvision 0.29.2, CenterCrop",
        "mean": processor.image_mean,
        "std": processor.image_std,
        "cases": cases,
        "normalised": {"case": "_".join(map(str, NORMALISED)), "chw_values": normalised()},
    }
    lines = []
    for key, value in text.items():
        rows = value if key == "cases" else None
        body = "[\n  " + ",\n  ".join(map(json.dumps, rows)) + "\n ]" if rows else json.dumps(value)
        lines.append(f" {json.dumps(key)}: {body}")
    (HERE / "preprocess.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def run_case(picture, rule, side_px):
    source = PICTURES / f"{picture}.png"
    image = Image.open(source).convert("RGB")
    pixels = process(CLIPImageProcessorPil, image, rule, side_px)  # [side, side, 3], u8
    target = OUTPUT / f"{picture}_{rule}_{side_px}.png"
    Image.fromarray(pixels).save(target, optimize=True)

    other = process(CLIPImageProcessor, image, rule, side_px)
    apart = np.abs(pixels.astype(int) - other.astype(int))
    transformers_on_torchvision = {
        "max_levels": int(apart.max()),
        "mean_levels": round(float(apart.mean()), 4),
        "share_over_one": round(float((apart > 1).mean()), 5),
    }
    print(f"{target.name:32} {target.stat().st_size:7} bytes; transformers on torchvision {transformers_on_torchvision}")
    return {
        "source": f"pictures/{source.name}",
        "size": list(image.size),
        "rule": rule,
        "side_px": side_px,
        "output": f"preprocess/{target.name}",
        "transformers_on_torchvision": transformers_on_torchvision,
    }


def process(processor, image, rule, side_px, **numbers):
    """u8 [side, side, 3], unless `numbers` asks for the later steps too."""
    if rule == "none" and processor is CLIPImageProcessorPil:
        return np.asarray(CenterCrop(side_px)(image))
    size = {"height": side_px, "width": side_px} if rule == "squash" else {"shortest_edge": side_px}
    steps = {"do_rescale": False, "do_normalize": False} | numbers
    done = processor(
        size=size, crop_size={"height": side_px, "width": side_px}, do_resize=rule != "none", **steps
    )(image)  # fmt: skip
    pixels = np.asarray(done["pixel_values"][0])
    assert pixels.shape == (3, side_px, side_px) and (numbers or pixels.dtype == np.uint8), (pixels.shape, pixels.dtype)
    return pixels.transpose(1, 2, 0)


def normalised():
    """[channel, row, column, value] at places spread by a stride that is prime to the extents."""
    picture, rule, side_px = NORMALISED
    image = Image.open(PICTURES / f"{picture}.png").convert("RGB")
    values = process(CLIPImageProcessorPil, image, rule, side_px, do_rescale=True, do_normalize=True).transpose(2, 0, 1)
    stride = values.size // POSITIONS + 1
    while np.gcd(stride, values.size) != 1:
        stride += 1
    places = [tuple(map(int, np.unravel_index(at * stride % values.size, values.shape))) for at in range(POSITIONS)]
    return [[*place, float(str(np.float32(values[place])))] for place in places]


if __name__ == "__main__":
    main()
