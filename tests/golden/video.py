"""What facenet-pytorch 2.6.0 finds in the frames of a video as OpenCV decodes them.

In:   tests/media/good/clip.mp4, or --video FILE
Out:  tests/golden/video.json, or --out FILE: the faces of each frame, by the frame's number
Never: reads anything that Rust wrote.

Decoders agree on a video's planes and differ by a grey level in the colours they make of them. So each frame is looked
at again with a level added or taken away at random. A face that is found each time, in the same place, is `steady`; the
others sit on a threshold or on a tie and are no measure for anybody, but what was found there is written down too.
The script fails if the committed clip has a face that is not steady; of another video's it says how many there are.

    python -m pip install --no-deps -r tests/golden/requirements.txt -r tests/golden/requirements-opencv.txt
    python tests/golden/video.py [--video FILE --out FILE] [--every N] [--min-face-px N]
"""

import argparse
import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN

HERE = Path(__file__).resolve().parent
CLIP = HERE.parent / "media" / "good" / "clip.mp4"

THRESHOLDS = (0.6, 0.7, 0.7)
FACTOR = 0.709
NOISY_RUNS = 2
# What the Rust test asks for. Random levels move a box by up to a tenth of itself, a decoder's rounding by less.
STEADY_IOU = 0.9


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, default=CLIP)
    parser.add_argument("--out", type=Path, default=HERE / "video.json")
    parser.add_argument("--every", type=int, default=4, help="take each N-th frame (default: 4)")
    parser.add_argument("--min-face-px", type=int, default=40)
    choice = parser.parse_args()

    torch.set_num_threads(1)  # a fixed order of summation
    mtcnn = MTCNN(
        keep_all=True, min_face_size=choice.min_face_px, thresholds=list(THRESHOLDS), factor=FACTOR, device="cpu"
    )
    frames, size, total = [], None, 0
    for index, picture in decoded(choice.video):
        size, total = (picture.shape[1], picture.shape[0]), index + 1
        if index % choice.every == 0:
            frames.append({"index": index, **look(mtcnn, picture, index)})
    found = sum(len(frame["steady"]) for frame in frames)
    doubtful = sum(len(frame["unsteady"]) for frame in frames)
    if doubtful and choice.video == CLIP:
        raise SystemExit(f"{doubtful} faces of {CLIP} change by a grey level")
    print(f"{choice.video.name}: {total} frames of {size}, {len(frames)} looked at, {found} faces, {doubtful} not steady")

    settings = {
        "reference": f"facenet-pytorch 2.6.0, OpenCV {cv2.__version__}",
        "video": str(choice.video.resolve().relative_to(HERE.parent.parent)) if choice.video == CLIP else str(choice.video.resolve()),
        "sha256": hashlib.sha256(choice.video.read_bytes()).hexdigest(),
        "width": size[0], "height": size[1], "frames_in_all": total, "min_face_px": choice.min_face_px,
    }  # fmt: skip
    lines = ",\n ".join(json.dumps(frame) for frame in frames)
    choice.out.write_text(f'{json.dumps(settings)[:-1]}, "frames": [\n {lines}\n]}}\n')


def decoded(path):
    """Frames in the order in which they are shown, turned upright as OpenCV does by itself: RGB."""
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not video.isOpened():
        raise SystemExit(f"{path}: OpenCV cannot open it")
    index = 0
    while True:
        there, picture = video.read()
        if not there:
            return
        yield index, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        index += 1


def look(mtcnn, picture, index):
    """Faces found each time in the same place, and what else was found at any time."""
    faces = detect(mtcnn, picture)
    again = [detect(mtcnn, noisy(picture, index, run)) for run in range(NOISY_RUNS)]
    steady = [face for face in faces if all(nearest(face, run) >= STEADY_IOU for run in again)]
    others = [face for run in (faces, *again) for face in run if nearest(face, steady) < STEADY_IOU]
    return {"steady": steady, "unsteady": others}


def noisy(picture, index, run):
    draw = np.random.default_rng([index, run])
    return np.clip(picture.astype(np.int16) + draw.integers(-1, 2, picture.shape), 0, 255).astype(np.uint8)


def detect(mtcnn, picture):
    boxes, confidences = mtcnn.detect(picture)
    if boxes is None:
        return []
    faces = [
        {"box": [round(float(at), 3) for at in box], "confidence": round(float(confidence), 6)}
        for box, confidence in zip(boxes, confidences)
    ]
    return sorted(faces, key=lambda face: (-face["confidence"], face["box"]))


def nearest(face, others):
    return max((iou(face["box"], other["box"]) for other in others), default=0)


def iou(a, b):
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (area - width * height)


if __name__ == "__main__":
    main()
