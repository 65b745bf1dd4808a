"""What facenet-pytorch 2.6.0 finds in tests/golden/pictures, and what its three networks answer on small inputs.

In:   tests/golden/pictures/*.png; the weights inside the facenet-pytorch wheel.
Out:  tests/golden/mtcnn.json               faces of each picture at each smallest face size
      tests/golden/mtcnn_stages.safetensors inputs and outputs of P-Net, R-Net, O-Net and of the area resize
Never: reads models/mtcnn or anything of ours, so that a wrong conversion shows.

Every case is computed again with weights nudged by a millionth of themselves, which is more than another order of
summation does. If that finds other faces, or the same ones more than STABLE_PX away, the picture sits on a threshold
or on a tie, is no measure for anybody, and the script fails.

    python -m pip install --no-deps -r tests/golden/requirements.txt
    python tests/golden/mtcnn.py
"""

import json
from pathlib import Path

import numpy as np
import torch
from facenet_pytorch import MTCNN
from PIL import Image
from safetensors.torch import save_file
from torch.nn.functional import interpolate

HERE = Path(__file__).resolve().parent
PICTURES = HERE / "pictures"

MIN_FACE_PX = (20, 40, 80)
THRESHOLDS = (0.6, 0.7, 0.7)
FACTOR = 0.709
# P-Net sees 12 pixels at a time. With no scale at which the short side has that many, facenet-pytorch 2.6.0
# raises from torch.cat([]); the answer that it fails to give is "no faces".
CELL_PX = 12

NUDGE = 1e-6
NUDGED_RUNS = 3
# A fiftieth of what the Rust test allows.
STABLE_PX = 0.02
STABLE_CONFIDENCE = 0.0002


def main():
    torch.set_num_threads(1)  # a fixed order of summation
    cases = [case(picture, size) for picture in sorted(PICTURES.glob("*.png")) for size in MIN_FACE_PX]
    settings = {"thresholds": THRESHOLDS, "factor": FACTOR, "keep_all": True, "reference": "facenet-pytorch 2.6.0"}
    (HERE / "mtcnn.json").write_text(as_json(settings, cases))
    save_file(stages(), HERE / "mtcnn_stages.safetensors")


def case(path, min_face_px):
    picture = Image.open(path).convert("RGB")
    found = detect(picture, min_face_px)
    name = f"{path.name} at {min_face_px} px"
    drift_px = 0.0
    for seed in range(NUDGED_RUNS):
        nudged = detect(picture, min_face_px, nudge_seed=seed)
        drift_px = max(drift_px, expect_stable(name, found["faces"], nudged["faces"]))
    print(
        f"{name:30} {found['rnet_inputs']:4} -> {found['onet_inputs']:3} -> {len(found['faces'])} faces, "
        f"nudged by up to {drift_px:.5f} px"
    )
    return {"file": f"pictures/{path.name}", "min_face_px": min_face_px, **found}


def detect(picture, min_face_px, nudge_seed=None):
    """Faces by falling confidence, and how many windows reached the second and third network."""
    if min(picture.size) * CELL_PX / min_face_px < CELL_PX:
        return {"rnet_inputs": 0, "onet_inputs": 0, "faces": []}

    mtcnn = MTCNN(
        keep_all=True, min_face_size=min_face_px, thresholds=list(THRESHOLDS), factor=FACTOR, device="cpu"
    )
    if nudge_seed is not None:
        nudge(mtcnn, nudge_seed)
    seen = {"rnet": 0, "onet": 0}
    for name in seen:
        getattr(mtcnn, name).register_forward_pre_hook(count_rows(seen, name))

    boxes, confidences, landmarks = mtcnn.detect(picture, landmarks=True)
    faces = [
        {
            "box": [float(at) for at in box],
            "confidence": float(confidence),
            "landmarks": [[float(x), float(y)] for x, y in points],
        }
        for box, confidence, points in zip(boxes, confidences, landmarks)
    ] if boxes is not None else []
    faces.sort(key=lambda face: (-face["confidence"], face["box"]))
    return {"rnet_inputs": seen["rnet"], "onet_inputs": seen["onet"], "faces": faces}


@torch.no_grad()
def nudge(network, seed):
    draw = torch.Generator().manual_seed(seed)
    for weight in network.parameters():
        weight.mul_(1 + NUDGE * torch.randn(weight.shape, generator=draw))


def count_rows(seen, name):
    def hook(_network, inputs):
        seen[name] += len(inputs[0])

    return hook


def expect_stable(name, found, nudged):
    """The largest distance in pixels between the two; order is free, since confidences near 1 tie."""
    if len(found) != len(nudged):
        raise SystemExit(f"{name}: {len(found)} faces, {len(nudged)} once nudged")
    drift_px = 0.0
    for face in found:
        gap_px, confidence_gap = min(gap(face, other) for other in nudged)
        if gap_px > STABLE_PX or confidence_gap > STABLE_CONFIDENCE:
            raise SystemExit(f"{name}: {gap_px} px and {confidence_gap} between the weights and nudged ones")
        drift_px = max(drift_px, gap_px)
    return drift_px


def gap(one, other):
    def places(face):
        return np.array(face["box"] + [at for point in face["landmarks"] for at in point])

    return float(np.abs(places(one) - places(other)).max()), abs(one["confidence"] - other["confidence"])


def as_json(settings, cases):
    """One line per face: short enough to read, and a change shows as a line."""
    lines = [json.dumps(settings)[:-1] + ', "cases": [']
    for at, entry in enumerate(cases):
        head = json.dumps({key: value for key, value in entry.items() if key != "faces"})[:-1]
        faces = [json.dumps(shortest(face)) for face in entry["faces"]]
        body = "[" + ",".join(f"\n  {face}" for face in faces) + "]"
        lines.append(f' {head}, "faces": {body}}}' + ("," if at + 1 < len(cases) else ""))
    return "\n".join(lines) + "\n]}\n"


def shortest(value):
    """Floats in the fewest digits that give back the same f32."""
    if isinstance(value, dict):
        return {key: shortest(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shortest(inner) for inner in value]
    return float(str(np.float32(value)))


@torch.no_grad()
def stages():
    """Small inputs of an odd shape for each network, values in [-1, 1], and the answers to them."""
    mtcnn = MTCNN(device="cpu")
    draw = np.random.default_rng(1604_02878)
    face = torch.from_numpy(np.array(Image.open(PICTURES / "astronaut.png"))).permute(2, 0, 1)[None]
    face = (face.float() - 127.5) / 128  # [1, 3, 512, 512]

    # P-Net: the head small enough for a 12 pixel window, in a frame whose width the pool rounds up.
    pnet_in = interpolate(face[:, :, 20:240, 80:364], size=(24, 31), mode="area")
    pnet_in = 0.85 * pnet_in + 0.15 * smooth(draw, 1, 24, 31)
    pnet_reg, pnet_prob = mtcnn.pnet(pnet_in)

    rnet_in = three_windows(face, draw, 24)
    rnet_reg, rnet_prob = mtcnn.rnet(rnet_in)
    onet_in = three_windows(face, draw, 48)
    onet_reg, onet_landmarks, onet_prob = mtcnn.onet(onet_in)

    area_in = smooth(draw, 1, 37, 53)
    tensors = {
        "pnet.in": pnet_in, "pnet.prob": pnet_prob, "pnet.reg": pnet_reg,
        "rnet.in": rnet_in, "rnet.prob": rnet_prob, "rnet.reg": rnet_reg,
        "onet.in": onet_in, "onet.prob": onet_prob, "onet.reg": onet_reg, "onet.landmarks": onet_landmarks,
        "area.in": area_in,
        "area.out": interpolate(area_in, size=(13, 20), mode="area"),
        "area_up.out": interpolate(area_in, size=(48, 61), mode="area"),
    }  # fmt: skip
    for name, tensor in tensors.items():
        assert name.endswith(".in") is False or tensor.abs().max() <= 1, name
        print(f"{name:15} {list(tensor.shape)} from {tensor.min():.4f} to {tensor.max():.4f}")
        if name.endswith("prob"):
            print(f"{'':15} face: {[round(p, 4) for p in tensor[:, 1].flatten().tolist()]}")
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def three_windows(face, draw, side):
    """A face, half a face under noise, and noise alone: a sure answer, a doubtful one, another sure one."""
    window = interpolate(face[:, :, 60:176, 166:282], size=(side, side), mode="area")
    noise = smooth(draw, 2, side, side)
    return torch.cat([window, 0.5 * window + 0.5 * noise[:1], noise[1:]])  # [3, 3, side, side]


def smooth(draw, count, height, width):
    """Coarse noise drawn large, with a little fine noise on it, in [-1, 1]: [count, 3, height, width]."""
    coarse = torch.from_numpy(draw.uniform(-1, 1, (count, 3, 5, 5))).float()
    fine = torch.from_numpy(draw.uniform(-1, 1, (count, 3, height, width))).float()
    coarse = interpolate(coarse, size=(height, width), mode="bilinear", align_corners=True)
    return 0.8 * coarse + 0.2 * fine


if __name__ == "__main__":
    main()
