"""Where skimage 0.26.0 and OpenCV 4.12.0 put five landmarks, and what they make of the picture around them.

In:   tests/golden/pictures/*.png, tests/golden/mtcnn.json
Out:  tests/golden/align.json          landmarks, school, scale, side, the 2 x 3 matrix from picture to square
      tests/golden/align/<case>.png    the warped pictures of some of them
Never: reads anything that Rust wrote.

The two schools, told from their own code and not from ours:
    gend            yermandy/GenD, detector.py: cv2.estimateAffinePartial2D(method=LMEDS), the square as large as the face
                    unless a size is given; requirements.txt there pins OpenCV 4.12.0.88 and, through mediapipe, numpy 1
    deepfakebench   SCLBD/DeepfakeBench, preprocessing/preprocess.py: skimage's SimilarityTransform, 256 px

    python -m pip install --no-deps -r tests/golden/requirements.txt -r tests/golden/requirements-opencv.txt
    python tests/golden/align.py
"""

import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage.transform import SimilarityTransform

HERE = Path(__file__).resolve().parent
PICTURES = HERE / "pictures"
OUTPUT = HERE / "align"

GEND = np.array([[0.34, 0.46], [0.66, 0.46], [0.5, 0.64], [0.37, 0.82], [0.63, 0.82]], np.float32)
ARCFACE = np.array(
    [[30.2946, 51.6963], [65.5318, 51.5014], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.2041]], np.float32
)

# name, picture, place among its faces at 20 px (or landmarks), school, scale, side in px (None: the face's own).
# `astray` moves one eye of a face by a tenth of the distance between the eyes, `rolled` turns all landmarks over.
WARPED = (
    ("astronaut_gend_own", "astronaut", 0, "gend", 1.3, None),
    ("astronaut_deepfakebench_256", "astronaut", 0, "deepfakebench", 1.3, 256),
    ("astronaut_gend_rolled", "astronaut", "rolled", "gend", 1.3, 128),
    ("portrait_small_gend_astray", "portrait_small", "astray", "gend", 1.3, None),
    ("portrait_small_deepfakebench_astray", "portrait_small", "astray", "deepfakebench", 1.3, 112),
    ("border_gend_top", "border", 0, "gend", 1.3, None),
    ("border_gend_left", "border", 4, "gend", 1.3, 160),
    ("border_deepfakebench_right", "border", 3, "deepfakebench", 1.6, 96),
    ("group_gend_small", "group", 8, "gend", 1.3, None),
    ("tiny_gend_enlarged", "tiny", 0, "gend", 1.3, 160),
    ("strip_gend_made_up", "strip", [[1400, 15], [1431, 11], [1420, 21], [1407, 31], [1436, 29]], "gend", 1.3, 96),
    ("strip_deepfakebench_end", "strip", [[2970, 3], [3004, 9], [2985, 20], [2966, 30], [2998, 38]], "deepfakebench", 1.0, 64),
)
# Heads that only have landmarks: drawn at random, half of them with one landmark astray.
HEADS = 60


def main():
    OUTPUT.mkdir(exist_ok=True)
    cases = [warped(*case) for case in WARPED]
    draw = np.random.default_rng(3)
    cases += [head(draw, number) for number in range(HEADS)]
    lines = ",\n  ".join(json.dumps(case) for case in cases)
    text = f'{{"reference": "skimage 0.26.0, OpenCV {cv2.__version__}", "cases": [\n  {lines}\n]}}\n'
    (HERE / "align.json").write_text(text)
    rejected = sum(case["school"] == "gend" and not all(case["counts"]) for case in cases)
    print(f"{len(cases)} cases, in {rejected} OpenCV leaves a landmark out")


def warped(name, picture, landmarks, school, scale, side_px):
    source = cv2.imread(str(PICTURES / f"{picture}.png"))
    points = landmarks_of(picture, landmarks)
    entry = fitted(name, points, school, scale, side_px)
    matrix, side_px = np.array(entry["matrix"]), entry["side_px"]
    pixels = cv2.warpAffine(source, matrix, (side_px, side_px), flags=cv2.INTER_LINEAR)
    target = OUTPUT / f"{name}.png"
    Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)).save(target, optimize=True)
    print(f"{target.name:36} {side_px:3} px, {target.stat().st_size:6} bytes, counts {entry['counts']}")
    return entry | {"picture": f"pictures/{picture}.png", "output": f"align/{target.name}"}


def landmarks_of(picture, which):
    if isinstance(which, list):
        return np.array(which, np.float32)
    cases = json.loads((HERE / "mtcnn.json").read_text())["cases"]
    (faces,) = [c["faces"] for c in cases if c["file"] == f"pictures/{picture}.png" and c["min_face_px"] == 20]
    if not isinstance(which, str):
        return np.array(faces[which]["landmarks"], np.float32)
    points = np.array(faces[0]["landmarks"])
    if which == "astray":
        points[0, 1] += 0.1 * np.linalg.norm(points[1] - points[0])
    else:
        centre, turn = points.mean(0), np.radians(140)
        points = (points - centre) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + centre
    return points.astype(np.float32)


def head(draw, number):
    turn, size = draw.uniform(-np.pi, np.pi), np.exp(draw.uniform(np.log(12), np.log(3000)))
    points = (GEND - GEND.mean(0)) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    points += draw.normal(0, 0.012, points.shape)
    if number % 2:
        points[draw.integers(5)] += draw.normal(0, 0.15, 2)
    points = (points * size + draw.uniform(-0.1, 1, 2) * 4000).astype(np.float32)
    school = ("gend", "deepfakebench")[number % 3 == 2]
    side_px = None if number % 3 == 0 else int(draw.choice([112, 224, 256, 317]))
    return fitted(f"head_{number}", points, school, float(draw.choice([1.0, 1.3, 1.5])), side_px)


def fitted(name, points, school, scale, side_px):
    own = side_px is None
    if own:
        side_px = own_side_px(points, scale)
    to = destination(school, scale, side_px)
    if school == "gend":
        matrix, counts = cv2.estimateAffinePartial2D(points, to, method=cv2.LMEDS)
        counts = [bool(count) for count in counts.ravel()]
    else:
        # The school hands f32 to skimage, whose SVD then has f32's digits; here it is given more of them.
        matrix, counts = umeyama(points.astype(np.float64), to.astype(np.float64)), [True] * 5
        apart_px = np.abs(umeyama(points, to) @ corners(points) - matrix @ corners(points)).max()
        assert apart_px < 0.01, (name, apart_px)
    return {
        "name": name,
        "landmarks": [[float(str(at)) for at in point] for point in points],
        "school": school,
        "scale": scale,
        "align_px": None if own else side_px,
        "side_px": side_px,
        "matrix": matrix.tolist(),
        "counts": counts,
    }


def umeyama(points, to):
    transform = SimilarityTransform.from_estimate(points, to)
    assert transform, transform
    return np.asarray(transform.params)[:2]


def corners(points):
    return np.vstack([points.astype(np.float64).T, np.ones(5)])


def own_side_px(points, scale):
    def distances(of):
        return np.linalg.norm(of[:, None, :] - of[None, :, :], axis=-1)[np.triu_indices(5, k=1)]

    return int(np.round(np.mean(distances(points) / distances(GEND)) * scale))


def destination(school, scale, side_px):
    """In f32, each step rounded, as numpy has it where the sizes are Python's numbers."""
    if school == "gend":
        to = GEND * side_px
    else:
        to = ARCFACE.copy()
        to[:, 0] += 8.0
        to = to * side_px / 112
    margin_px = side_px * (scale - 1) / 2.0
    to = (to + margin_px) * (side_px / (side_px + 2 * margin_px))
    assert to.dtype == np.float32
    return to


if __name__ == "__main__":
    main()
