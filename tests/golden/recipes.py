"""From a decoded picture to a score as the authors' own libraries have it: five recipes, towers at full size.

In:   tests/golden/pictures/*.png, tests/golden/mtcnn.json (boxes and landmarks)
Out:  tests/golden/recipes.json   the recipes, their heads, and logit and probability of each case
Never: reads anything that Rust wrote; needs no published weights, since clip.py's fill makes the towers.

    clip-b32         transformers' CLIP, QuickGELU; face box + 30 % on each side; cosine with two prompts; softmax
    clip-b32-laion   the same with GELU, on the whole picture
    own-probe        what `squash` and the pooled tap give without L2: one row, sigmoid
    univfd           WisconsinAIVision/UniversalFakeDetect, validate.py: torchvision CenterCrop(224), nothing resized;
                     OpenAI L/14, projected, not normalised; one row, sigmoid
    gend             yermandy/GenD, detector.py and src/hf/modeling_gend.py: the face aligned (align.py), transformers'
                     CLIP preprocessing, OpenAI L/14, pooled, L2; two rows, softmax, fake second

A head's numbers are filled by name and then brought to where its probabilities spread, since probabilities of 0 and 1 are
no measure. Each fault that a program could make is tried, and the script fails if one would hide within what the Rust
test allows.

    python -m pip install --no-deps -r tests/golden/requirements.txt -r tests/golden/requirements-opencv.txt
    python tests/golden/recipes.py
"""

import argparse
import json
from pathlib import Path

import align
import clip
import cv2
import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from transformers.models.clip.image_processing_clip import CLIPImageProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.utils import logging

HERE = Path(__file__).resolve().parent
PICTURES = HERE / "pictures"

MEAN = [0.48145466, 0.4578275, 0.40821073]
DEVIATION = [0.26862954, 0.26130258, 0.27577711]
SIDE_PX = 224

# What the Rust test allows on a probability, and how many times that a fault must move one at the least.
TOLERANCE = 1e-3
CLEARLY = 5
# Probabilities of a recipe reach at least this far apart, and no further than that.
SPREAD = (0.25, 0.75)
SURE = (0.05, 0.95)
LARGEST = 2.4  # of the logits: 0.083 and 0.917
LOGIT_SCALE = 4.6052  # where CLIP's training clips it: times 100
PROMPTS_TRIED = 4000
REFERENCE = "transformers 5.23.0, torchvision 0.29.2, OpenCV 4.12.0, PyTorch 2.15.0 in f32 on a CPU"

# picture, window of it [x0, y0, x1, y1] or None, place among its faces at 20 px (or "astray", "rolled": align.py)
FACES = [("astronaut", 0), ("border", 0), ("border", 3), ("border", 4), ("group", 5), ("group", 7), ("group", 8), ("tiny", 0)]
WHOLE = [("astronaut", None), ("tall", None), ("tiny", None), ("strip", None), ("border", [3, 2, 390, 291]), ("no_face", None)]
UNRESIZED = [
    ("astronaut", [100, 20, 431, 247]),  # 107 and 3 too many: halves that round down and up
    ("tall", None),
    ("portrait_small", None),  # too small both ways
    ("tiny", None),  # by an odd number
    ("group", [0, 150, 231, 273]),  # 7 too wide, 101 too low
]
ALIGNED = [("astronaut", 0), ("border", 0), ("border", 4), ("group", 8), ("portrait_small", "astray"), ("astronaut", "rolled")]

RECIPES = {
    "clip-b32": {
        "tower": "b32", "activation": "quick_gelu", "input": {"crop": "box", "margin": 0.3, "resize": "short-side"},
        "tap": "projected", "l2": True, "kind": "zero-shot", "rows": 2,
        "cases": [(picture, None, face) for picture, face in FACES],
    },
    "clip-b32-laion": {
        "tower": "b32", "activation": "gelu", "input": {"crop": "frame", "resize": "short-side"},
        "tap": "projected", "l2": True, "kind": "zero-shot", "rows": 2,
        "cases": [(picture, window, None) for picture, window in WHOLE],
    },
    "own-probe": {
        "tower": "b32", "activation": "quick_gelu", "input": {"crop": "box", "margin": 0.0, "resize": "squash"},
        "tap": "pooled", "l2": False, "kind": "linear", "rows": 1,
        "cases": [(picture, None, face) for picture, face in FACES],
    },
    "univfd": {
        "tower": "l14", "activation": "quick_gelu", "input": {"crop": "frame", "resize": "none"},
        "tap": "projected", "l2": False, "kind": "linear", "rows": 1,
        "cases": [(picture, window, None) for picture, window in UNRESIZED],
    },
    "gend": {
        "tower": "l14", "activation": "quick_gelu",
        "input": {"crop": "align5", "align": "gend", "scale": 1.3, "resize": "short-side"},
        "tap": "pooled", "l2": True, "kind": "linear", "rows": 2,
        "cases": [(picture, None, face) for picture, face in ALIGNED],
    },
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, help="only these, and only print: a quick look")
    recipes = parser.parse_args().recipes
    torch.set_num_threads(2)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    clip.FILL = (*clip.FILL, ("head", 0.0, "absolute", 1.0))  # heads: plain numbers in [-1, 1)
    wanted = {name: recipe for name, recipe in RECIPES.items() if not recipes or name in recipes}
    towers = {(recipe["tower"], recipe["activation"]): None for recipe in wanted.values()}
    results = {}
    for tower, activation in towers:
        weights = {name: clip.fill(name, shape) for name, shape in clip.tensor_shapes(clip.TOWERS[tower]).items()}
        model, _ = clip.load(tower, activation, weights)
        (other,) = set(clip.ACTIVATIONS) - {activation}
        other, _ = clip.load(tower, other, weights)
        for name, recipe in wanted.items():
            if (recipe["tower"], recipe["activation"]) == (tower, activation):
                results[name] = run(name, recipe, model, other)
        del model, other
    if recipes:
        return
    (HERE / "recipes.json").write_text(as_json(results))


def run(name, recipe, model, other_model):
    cases = [case(*entry) for entry in recipe["cases"]]
    normalised = torch.stack([preprocessed(recipe["input"], one) for one in cases])
    taps = taps_of(model, normalised)
    head = fitted_head(name, recipe, taps[recipe["tap"]])
    logits, probabilities = scores(head, taps[recipe["tap"]], recipe["l2"])
    print(f"{name}: {[round(p, 3) for p in probabilities.tolist()]}")
    if not (probabilities.min() < SPREAD[0] and probabilities.max() > SPREAD[1]):
        raise SystemExit(f"{name}: too much alike")
    if not (SURE[0] < probabilities.min() and probabilities.max() < SURE[1]):
        raise SystemExit(f"{name}: too sure")

    effects = {}

    def effect(fault, taps, tap=recipe["tap"], l2=recipe["l2"], head=head):
        moved = (scores(head, taps[tap], l2)[1] - probabilities).abs().max()
        effects[fault] = float(f"{moved:.2g}")
        print(f"  {fault}: {moved:.2g}")
        if moved < CLEARLY * TOLERANCE and not fault.startswith(SMALL):
            raise SystemExit(f"{name}: {fault} would hardly show")

    effect("the other activation", taps_of(other_model, normalised))
    effect("blue before red", taps_of(model, normalised.flip(1)))
    for fault, changed in faults(recipe["input"], cases):
        effect(fault, taps_of(model, changed))
    if recipe["kind"] == "linear":
        effect("l2 the other way", taps, l2=not recipe["l2"])
    effect("classes the other way", taps, head=head | {"swapped": True})

    entries = [
        {"picture": one["file"], "window": one["window"], "face": one["face"]}
        | {"logit": round(float(logit), 6), "probability": round(float(probability), 7)}
        for one, logit, probability in zip(cases, logits, probabilities)
    ]
    settings = {key: recipe[key] for key in ("tower", "activation", "input", "tap", "l2", "kind")}
    return settings | {"head": head, "effects": effects, "cases": entries}


# From a picture to what the tower is shown


def case(picture, window, face):
    pixels = Image.open(PICTURES / f"{picture}.png").convert("RGB")
    if window:
        pixels = pixels.crop(window)
    entry = {"file": f"pictures/{picture}.png", "window": window, "face": None, "pixels": pixels}
    if face is not None:
        at = face if isinstance(face, int) else 0
        cases = json.loads((HERE / "mtcnn.json").read_text())["cases"]
        (faces,) = [c["faces"] for c in cases if c["file"] == entry["file"] and c["min_face_px"] == 20]
        landmarks = [[float(str(v)) for v in point] for point in align.landmarks_of(picture, face)]
        entry["face"] = {"box": faces[at]["box"], "landmarks": landmarks}
    return entry


def preprocessed(how, one, **changes):
    """[3, side, side], normalised; `changes` are the faults that are tried."""
    how = how | changes
    if how["crop"] == "frame":
        picture = one["pixels"]
    elif how["crop"] == "box":
        picture = one["pixels"].crop(box_with_margin(one, how["margin"]))
    else:
        picture = aligned(one, how)
    mean, deviation = how.get("mean", MEAN), how.get("deviation", DEVIATION)
    if how["resize"] == "none":
        steps = [transforms.CenterCrop(SIDE_PX), transforms.ToTensor(), transforms.Normalize(mean, deviation)]
        return transforms.Compose(steps)(picture)
    size = {"height": SIDE_PX, "width": SIDE_PX} if how["resize"] == "squash" else {"shortest_edge": SIDE_PX}
    processor = how.get("processor", CLIPImageProcessorPil)(
        size=size, do_resize=how["resize"] != "uncropped", image_mean=mean, image_std=deviation, **how.get("more", {})
    )
    return processor(picture, return_tensors="pt")["pixel_values"][0]


def box_with_margin(one, margin):
    """Each side moved out by a share of the box's own, rounded to even, clipped to the picture."""
    x0, y0, x1, y1 = np.array(one["face"]["box"], np.float32)
    dx, dy = (x1 - x0) * np.float32(margin), (y1 - y0) * np.float32(margin)
    width, height = one["pixels"].size
    left, right = (min(max(int(np.round(x)), 0), width) for x in (x0 - dx, x1 + dx))
    top, bottom = (min(max(int(np.round(y)), 0), height) for y in (y0 - dy, y1 + dy))
    return left, top, right, bottom


def aligned(one, how):
    points = np.array(one["face"]["landmarks"], np.float32)
    side_px = how.get("align_px") or align.own_side_px(points, how["scale"])
    fit = align.fitted("", points, how["align"], how["scale"], side_px)
    matrix = np.array(fit["matrix"])
    if how.get("all_landmarks"):
        to = align.destination(how["align"], how["scale"], side_px)
        matrix = align.umeyama(points.astype(np.float64), to.astype(np.float64))
    bgr = cv2.cvtColor(np.asarray(one["pixels"]), cv2.COLOR_RGB2BGR)
    return Image.fromarray(cv2.cvtColor(cv2.warpAffine(bgr, matrix, (side_px, side_px)), cv2.COLOR_BGR2RGB))


# The faults that are only told, for what is no fault but another library.
SMALL = "as "


def faults(how, cases):
    def changed(**changes):
        return torch.stack([preprocessed(how, one, **changes) for one in cases])

    yield "ImageNet's mean and deviation", changed(mean=[0.485, 0.456, 0.406], deviation=[0.229, 0.224, 0.225])
    if how["resize"] != "none":
        yield "bilinear for bicubic", changed(more={"resample": Image.Resampling.BILINEAR})
        yield "as torchvision resizes", changed(processor=CLIPImageProcessor)
    if how["resize"] == "none":
        yield "short side first", changed(resize="short-side")
        yield "transformers' centre crop", changed(resize="uncropped")
    if how["crop"] == "box":
        yield "another margin", changed(margin=how["margin"] + 0.05)
        yield "the whole picture", changed(crop="frame")
    if how["resize"] == "squash":
        yield "short side", changed(resize="short-side")
    if how["crop"] == "align5":
        yield "every landmark counts", changed(all_landmarks=True)
        yield "deepfakebench's template", changed(align="deepfakebench")
        yield "no surroundings", changed(scale=1.0)
        yield "aligned to 256 px", changed(align_px=256)
        yield "the box instead", changed(crop="box", margin=0.3)


# From the tower to a score


@torch.no_grad()
def taps_of(model, normalised):
    """What GenD takes (`vision_model(…).pooler_output`), and what CLIP's `encode_image` gives."""
    pooled = model.vision_model(normalised).pooler_output
    return {"pooled": pooled, "projected": model.visual_projection(pooled)}


def scores(head, rows, l2):
    """Logit and probability of fake for each row, in f64 so that the head adds nothing of its own."""
    values = clip.fill(head["values"], (head["rows"], rows.shape[1])).double()
    if head.get("swapped"):
        values = values.flip(0) if head["rows"] == 2 else -values
    rows = rows.double()
    if head["kind"] == "zero-shot":
        logits = torch.exp(torch.tensor(head["logit_scale"]).double()) * unit(rows) @ unit(values).T
    else:
        rows = unit(rows) if l2 else rows
        weight = (np.float32(head["gain"]) * values.float()).double()
        logits = rows @ weight.T + torch.tensor(head["bias"]).double()
    if head["rows"] == 1:
        return logits[:, 0], logits[:, 0].sigmoid()
    return logits[:, 1] - logits[:, 0], logits.softmax(dim=1)[:, 1]


def unit(rows):
    return torch.nn.functional.normalize(rows, dim=-1)


def fitted_head(name, recipe, rows):
    """A head whose logits for these rows reach from about -LARGEST to LARGEST."""
    head = {"kind": recipe["kind"], "rows": recipe["rows"], "values": f"{name}.0.head"}
    if recipe["kind"] == "linear":
        logits, _ = scores(head | {"gain": 1.0, "bias": [0.0] * recipe["rows"]}, rows, recipe["l2"])
        middle, gain = float(logits.max() + logits.min()) / 2, LARGEST / float(logits.max() - logits.min()) * 2
        gain = float(f"{gain:.4g}")
        bias = [-middle * gain] if recipe["rows"] == 1 else [middle * gain + 0.125, 0.125]
        bias = [round(value, 4) for value in bias]
        return head | {"gain": gain, "bias": bias}
    # Two prompts leave nothing to choose but themselves.
    best, best_reach = None, 0.0
    for number in range(PROMPTS_TRIED):
        tried = head | {"values": f"{name}.{number}.head", "logit_scale": LOGIT_SCALE}
        logits, _ = scores(tried, rows, recipe["l2"])
        reach = min(float(logits.max()), -float(logits.min()))
        if best_reach < reach and max(float(logits.max()), -float(logits.min())) < 1.1 * LARGEST:
            best, best_reach = tried, reach
    return best


def as_json(results):
    """One line a case and one a setting: short enough to read, and a change shows as a line."""
    text = {"reference": REFERENCE, "tolerance": TOLERANCE, "size_px": SIDE_PX, "mean": MEAN, "deviation": DEVIATION}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in text.items()]
    recipes = []
    for name, result in results.items():
        settings = [f"   {json.dumps(key)}: {json.dumps(value)}" for key, value in result.items() if key != "cases"]
        cases = ",\n    ".join(map(json.dumps, result["cases"]))
        recipes.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(settings) + f',\n   "cases": [\n    {cases}\n   ]\n  }}')
    lines.append(' "recipes": {\n' + ",\n".join(recipes) + "\n }")
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
