"""facenet-pytorch 2.6.0: the whole cascade, and its three networks in PyTorch.

In, out: as protocol.py says. An array is its faster way in: a PIL image is copied into one first.
"""

from protocol import INPUTS, THREADS, picture, serve, told_cells, unknown

import torch  # isort: skip
from facenet_pytorch import MTCNN
from safetensors.torch import load_file

torch.set_num_threads(THREADS)
torch.set_num_interop_threads(1)


def detector(min_face_px):
    return MTCNN(
        keep_all=True, min_face_size=min_face_px, thresholds=[0.6, 0.7, 0.7], factor=0.709, device="cpu", select_largest=False
    ).eval()


def prepare(words):
    match words:
        case ["mtcnn", size, min_face_px]:
            mtcnn, pixels = detector(int(min_face_px)), picture(size)
            return inference(lambda: mtcnn.detect(pixels, landmarks=True)), told_faces
        case ["pnet"]:
            net, levels = detector(20).pnet, load_file(INPUTS / "pyramid.safetensors")
            levels = [levels[f"level{at}"] for at in range(len(levels))]
            return inference(lambda: [net(level)[1] for level in levels]), lambda out: told_cells([at[:, 1].numpy() for at in out])
        case ["rnet" | "onet" as name]:
            net, crops = getattr(detector(20), name), load_file(INPUTS / "crops.safetensors")[name]
            return inference(lambda: net(crops)[-1]), lambda out: out[:, 1].tolist()
        case _:
            unknown(words)


def inference(run):
    def quiet():
        with torch.inference_mode():
            return run()

    return quiet


def told_faces(found):
    boxes, confidences, _ = found
    if boxes is None:
        return []
    return [[*map(float, box), float(confidence)] for box, confidence in zip(boxes, confidences)]


if __name__ == "__main__":
    serve(prepare)
