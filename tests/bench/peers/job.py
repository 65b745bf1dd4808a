"""The whole job in Python, as a sensible user would write it: videos to faces to scores in Parquet.

In:   a folder of videos; --frames, a JSON file {video name: [frame numbers]}, ascending; a CLIP tower as ONNX; a linear head.
Out:  OUT/faces.parquet: key, frame_index, face_index, box, confidence, logit, score; on standard output one line of JSON with
      seconds of each stage, frames and faces.

    python tests/bench/peers/job.py VIDEOS OUT THREADS TOWER_ONNX --frames FILE --head FILE
"""

import argparse
import json
import os
import time
from pathlib import Path

MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
MARGIN = 0.3
SIDE_PX = 224
BATCH = 32


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("threads", type=int)
    parser.add_argument("tower", type=Path)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--head", type=Path, required=True)
    parser.add_argument("--min-face-px", type=int, default=40)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    seconds = dict.fromkeys(("load", "decode", "detect", "embed", "write"), 0.0)

    with Timed(seconds, "load"):
        job = Job(args)
    wanted = json.loads(args.frames.read_text())
    faces, frames = [], 0
    for name in sorted(wanted):
        for index, picture in decoded(args.videos / name, wanted[name], seconds):
            frames += 1
            with Timed(seconds, "detect"):
                faces += job.faces(name, index, picture)
            with Timed(seconds, "embed"):
                job.embed(faces, at_least=BATCH)
    with Timed(seconds, "embed"):
        job.embed(faces, at_least=1)
    with Timed(seconds, "write"):
        write(faces, args.out)
    print(json.dumps({"seconds": {name: round(spent, 3) for name, spent in seconds.items()}, "frames": frames, "faces": len(faces)}))


class Timed:
    def __init__(self, seconds, stage):
        self.seconds, self.stage = seconds, stage

    def __enter__(self):
        self.begin = time.perf_counter()

    def __exit__(self, *_):
        self.seconds[self.stage] += time.perf_counter() - self.begin


def decoded(path, wanted, seconds):
    """Frames in their order; those between are decoded, but not converted."""
    import cv2

    video = cv2.VideoCapture(str(path))
    wanted, at = list(wanted), 0
    while wanted:
        begin = time.perf_counter()
        picture = None
        while picture is None:
            if not video.grab():
                raise SystemExit(f"{path.name}: expected a frame {wanted[0]}, found the end after {at}")
            if at == wanted[0]:
                picture = cv2.cvtColor(video.retrieve()[1], cv2.COLOR_BGR2RGB)
            at += 1
        seconds["decode"] += time.perf_counter() - begin
        yield wanted.pop(0), picture


class Job:
    def __init__(self, args):
        import cv2
        import onnxruntime
        import torch
        from facenet_pytorch import MTCNN
        from safetensors.numpy import load_file

        cv2.setNumThreads(args.threads)
        torch.set_num_threads(args.threads)
        torch.set_num_interop_threads(1)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = args.threads, 1
        # Its threads would else spin while PyTorch's look for faces.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self.tower = onnxruntime.InferenceSession(args.tower, options, providers=["CPUExecutionProvider"])
        head = load_file(args.head)
        self.weight, self.bias = head["weight"][0], head["bias"][0]
        self.mtcnn = MTCNN(keep_all=True, min_face_size=args.min_face_px, device="cpu", select_largest=False).eval()
        self.squares = []

    def faces(self, name, index, picture):
        """Rows of one frame, the most confident first; their squares wait for a batch."""
        import torch

        with torch.inference_mode():
            boxes, confidences = self.mtcnn.detect(picture)
        rows = []
        for box, confidence in sorted(zip(boxes, confidences), key=lambda face: -face[1]) if boxes is not None else ():
            self.squares.append(square(picture, box))
            rows.append({
                "key": name, "frame_index": index, "face_index": len(rows), "confidence": float(confidence),
                **{side: float(at) for side, at in zip(("box_x0", "box_y0", "box_x1", "box_y1"), box)},
            })  # fmt: skip
        return rows

    def embed(self, faces, at_least):
        """Scores for the faces whose squares wait, in whole batches; the squares are those of the last rows."""
        import numpy as np

        while len(self.squares) >= at_least:
            first = len(faces) - len(self.squares)
            batch, self.squares = self.squares[:BATCH], self.squares[BATCH:]
            embeddings = self.tower.run(["image_embeds"], {"input": np.stack(batch)})[0]  # [b, proj]
            embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
            for row, logit in zip(faces[first:], embeddings @ self.weight + self.bias):
                row |= {"logit": float(logit), "score": float(1 / (1 + np.exp(-logit)))}


def square(picture, box):
    """The box and MARGIN of its sides around it, clipped to the frame; short side to 224 px, then the centre: [3, 224, 224]."""
    import numpy as np
    from PIL import Image

    height, width = picture.shape[:2]
    dx, dy = (box[2] - box[0]) * MARGIN, (box[3] - box[1]) * MARGIN
    left, right = (int(np.clip(np.rint(at), 0, width)) for at in (box[0] - dx, box[2] + dx))
    top, bottom = (int(np.clip(np.rint(at), 0, height)) for at in (box[1] - dy, box[3] + dy))
    cut = Image.fromarray(picture[top:bottom, left:right])
    short = min(cut.size)
    wide, high = (int(SIDE_PX * side / short) for side in cut.size)
    cut = cut.resize((wide, high), Image.Resampling.BICUBIC)
    left, top = (wide - SIDE_PX) // 2, (high - SIDE_PX) // 2
    values = np.asarray(cut.crop((left, top, left + SIDE_PX, top + SIDE_PX)), dtype=np.float32) / 255
    return ((values - np.float32(MEAN)) / np.float32(DEVIATION)).transpose(2, 0, 1)


def write(faces, out):
    import pyarrow
    import pyarrow.parquet

    out.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(faces), out / "faces.parquet")


if __name__ == "__main__":
    main()
