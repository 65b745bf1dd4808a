"""What the peers and ours are shown: pictures, tensors, towers and videos, made once.

In:   tests/media/good/group.jpg, or multiface.jpg and talk.mp4 of the folder MEDIA; the weights inside facenet-pytorch.
Out:  in OUT (default target/bench/peers):
      1280x720.png, 1920x1080.png, 1200x630.png    lossless, RGB
      pyramid.safetensors                          level0.. [1, 3, h, w] of 1280x720 at a smallest face of 20 px
      crops.json, crops.safetensors                windows as the cascade shows them to R-Net [300] and O-Net [60]
      pnet.onnx, rnet.onnx, onet.onnx, b32.onnx, l14.onnx
      b32/, l14/                                   towers as transformers publishes them, filled as tests/golden/clip.py does
      clip.safetensors                             "pixels" [32, 3, 224, 224]
      scorer-b32/                                  a scorer folder of b32 with a head of its own
      videos/*.mp4
Never: replaces a file that is there. Each is made under another name and then renamed.

    python tests/bench/peers/inputs.py [OUT [MEDIA]]
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from facenet_pytorch import MTCNN
from facenet_pytorch.models.utils import detect_face
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.functional import interpolate
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/golden"))
from clip import LAYER_NORM_EPS, TOWERS, fill, tensor_shapes  # noqa: E402

GROUP = ROOT / "tests/media/good/group.jpg"
PORTRAIT = ROOT / "tests/media/good/astronaut.jpg"
PICTURES = ((1280, 720), (1920, 1080), (1200, 630))
MIN_FACE_PX = 20
FACTOR = 0.709
THRESHOLD = 0.6
CROPS = {"rnet": (300, 24), "onet": (60, 48)}
TOWERS_HERE = ("b32", "l14")
PIXELS = 32
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
# Embeddings of faces by an untrained tower lie near each other; a head so steep tells them apart. The report says by how much.
HEAD_SCALE = 400.0


def main():
    torch.set_num_threads(2)
    out = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/bench/peers")
    media = Path(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2] else None
    (out / "videos").mkdir(parents=True, exist_ok=True)
    pictures(out, media)
    with torch.inference_mode():
        make(out / "pyramid.safetensors", lambda target: save_file(pyramid(out), target))
        make(out / "crops.json", lambda target: target.write_text(json.dumps(windows(out))))
        make(out / "crops.safetensors", lambda target: save_file(crops(out), target))
    cascade(out)
    for name in TOWERS_HERE:
        make(out / name, lambda target, name=name: tower(name, target))
        make(out / f"{name}.onnx", lambda target, name=name: tower_onnx(out / name, target))
    make(out / "clip.safetensors", lambda target: save_file({"pixels": fill("pixel_values", (PIXELS, 3, 224, 224))}, target))
    make(out / "scorer-b32", scorer)
    videos(out / "videos", media)


def make(target, write):
    """`write` makes a file or a folder under the name that it is given, of the same ending."""
    if target.exists():
        return
    print(f"making {target.name}", flush=True)
    making = target.with_name(f"making-{target.name}")
    shutil.rmtree(making, ignore_errors=True)
    making.unlink(missing_ok=True)
    write(making)
    making.rename(target)


# Pictures, and what the three networks see of them


def pictures(out, media):
    source = Image.open(media / "multiface.jpg" if media else GROUP).convert("RGB")
    for size in PICTURES:
        write = lambda target, size=size: source.resize(size, Image.Resampling.BICUBIC).save(target)  # noqa: E731
        make(out / f"{size[0]}x{size[1]}.png", write)


def pixels_of(out):
    """1280x720 as facenet-pytorch takes it: [1, 3, 720, 1280], f32 of 0 to 255."""
    return torch.from_numpy(np.array(Image.open(out / "1280x720.png"))).permute(2, 0, 1)[None].float()


def normalised(values):
    return (values - 127.5) * 0.0078125


def scales(height, width):
    scale, shorter = 12.0 / MIN_FACE_PX, min(height, width) * 12.0 / MIN_FACE_PX
    while shorter >= 12:
        yield scale
        scale, shorter = scale * FACTOR, shorter * FACTOR


def pyramid(out):
    picture = pixels_of(out)
    height, width = picture.shape[2:]
    sizes = [(int(height * scale + 1), int(width * scale + 1)) for scale in scales(height, width)]
    return {f"level{at}": normalised(detect_face.imresample(picture, size)).contiguous() for at, size in enumerate(sizes)}


def windows(out):
    """What reaches R-Net in that picture, the most confident first, whole pixels; too few are shifted about."""
    picture = pixels_of(out)
    height, width = picture.shape[2:]
    net = MTCNN(device="cpu").pnet
    found = []
    for scale in scales(height, width):
        level = normalised(detect_face.imresample(picture, (int(height * scale + 1), int(width * scale + 1))))
        regression, probabilities = net(level)
        boxes, _ = detect_face.generateBoundingBox(regression, probabilities[:, 1], scale, THRESHOLD)
        found.append(boxes[detect_face.batched_nms(boxes[:, :4], boxes[:, 4], torch.zeros(len(boxes)), 0.5)])
    boxes = torch.cat(found)
    boxes = boxes[detect_face.batched_nms(boxes[:, :4], boxes[:, 4], torch.zeros(len(boxes)), 0.7)]
    sides = (boxes[:, 2:4] - boxes[:, :2]).repeat(1, 2)
    refined = torch.cat([boxes[:, :4] + boxes[:, 5:9] * sides, boxes[:, 4:5]], dim=1)
    rows = [inside(row, width, height) for row in detect_face.rerec(refined)[:, :4].trunc().int().tolist()]
    rows = [row for row in rows if row]
    draw = np.random.default_rng(1604_02878)
    while len(rows) < max(count for count, _ in CROPS.values()):
        x0, y0, x1, y1 = rows[draw.integers(len(rows))]
        reach = max((x1 - x0) // 4, 1)
        dx, dy = (int(by) for by in draw.integers(-reach, reach + 1, 2))
        row = inside([x0 + dx, y0 + dy, x1 + dx, y1 + dy], width, height)
        rows.extend([row] if row else [])
    return {name: rows[:count] for name, (count, _) in CROPS.items()}


def inside(row, width, height):
    """Clipped to the picture as facenet-pytorch's `pad` does, but with an exclusive end; None where nothing is left."""
    x0, y0, x1, y1 = max(row[0], 1) - 1, max(row[1], 1) - 1, min(row[2], width), min(row[3], height)
    return [x0, y0, x1, y1] if x1 > x0 and y1 > y0 else None


def crops(out):
    picture, rows = pixels_of(out), json.loads((out / "crops.json").read_text())
    return {
        name: torch.cat(
            [normalised(interpolate(picture[:, :, y0:y1, x0:x1], size=(side, side), mode="area")) for x0, y0, x1, y1 in rows[name]]
        ).contiguous()
        for name, (_, side) in CROPS.items()
    }


def cascade(out):
    nets = MTCNN(device="cpu").eval()
    for name, answers in (("pnet", ["reg", "prob"]), ("rnet", ["reg", "prob"]), ("onet", ["reg", "landmarks", "prob"])):
        side = {"pnet": 49, **{net: side for net, (_, side) in CROPS.items()}}[name]
        moving = {0: "batch"} | ({2: "height", 3: "width"} if name == "pnet" else {})
        make(
            out / f"{name}.onnx",
            lambda target, name=name, answers=answers, side=side, moving=moving: export(
                getattr(nets, name), torch.rand(2, 3, side, side), answers, moving, target
            ),
        )


def export(net, example, answers, moving, target):
    """By the exporter that traces: the graph keeps the nets' own nodes, and every moving side is named."""
    axes = {"input": moving} | {answer: {0: "batch"} for answer in answers}
    torch.onnx.export(
        net, (example,), str(target), input_names=["input"], output_names=answers, dynamic_axes=axes, opset_version=18,
        dynamo=False,
    )  # fmt: skip


# Towers


def tower(name, target):
    target.mkdir()
    CLIPVisionConfig(**TOWERS[name], hidden_act="quick_gelu", layer_norm_eps=LAYER_NORM_EPS).save_pretrained(target)
    weights = {tensor: fill(tensor, shape) for tensor, shape in tensor_shapes(TOWERS[name]).items()}
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})


class Projected(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixels):
        return self.model(pixel_values=pixels).image_embeds


def tower_onnx(folder, target):
    model = CLIPVisionModelWithProjection.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()
    export(Projected(model), fill("pixel_values", (2, 3, 224, 224)), ["image_embeds"], {0: "batch"}, target)


def scorer(target):
    width = TOWERS["b32"]["projection_dim"]
    target.mkdir()
    # The fill is within ±sqrt(3 / inputs); ours and job.py read the same file.
    weight = HEAD_SCALE / width**0.5 * fill("visual_projection.weight", (1, width))
    save_file({"weight": weight, "bias": torch.zeros(1)}, target / "head.safetensors")
    lines = [
        'name = "bench-b32"', 'version = "1"', 'licence = "MIT"', 'source = "tests/bench/peers/inputs.py"',
        "", "[tower]", 'path = "../b32"',
        "", "[input]", 'crop = "box"', "margin = 0.3", 'resize = "short-side"', "size_px = 224",
        f"mean = {list(MEAN)}", f"deviation = {list(DEVIATION)}",
        "", "[embedding]", 'tap = "projected"', "l2 = true",
        "", "[head]", 'kind = "linear"', 'file = "head.safetensors"',
    ]  # fmt: skip
    (target / "scorer.toml").write_text("\n".join(lines) + "\n")


# Videos


def videos(folder, media):
    """Of 1920 × 1080 and 1280 × 720, one or two faces a frame as people film each other: four of a portrait, and the talk where
    there is one, else the sample group."""
    for size in ("1920:1080", "1280:720"):
        for name, turned in (("left", ""), ("right", "hflip,")):
            target = folder / f"portrait_{name}_{size.split(':')[1]}p.mp4"
            make(target, lambda target, size=size, turned=turned: clip(PORTRAIT, f"{turned}scale=2400:2400", size, target))
    if media and (media / "talk.mp4").exists():
        make(folder / "talk_1080p.mp4", lambda target: shutil.copyfile(media / "talk.mp4", target))
    else:
        make(folder / "group_1080p.mp4", lambda target: clip(GROUP, "scale=2400:1350", "1920:1080", target))


def clip(picture, grown, size, target):
    """Ten seconds in which a picture drifts, as video.sh makes them; a key frame each two seconds."""
    drift = f"{grown},crop=1920:1080:x='240+200*sin(n/40)':y='135+100*cos(n/55)',noise=alls=4:allf=t"
    ffmpeg(
        "-loop", "1", "-framerate", "25", "-i", picture, "-frames:v", "250", "-vf", f"{drift},scale={size},format=yuv420p",
        "-c:v", "libx264", "-preset", "veryfast", "-b:v", "2M", "-maxrate", "3M", "-bufsize", "4M", "-g", "50", "-bf", "2",
        target,
    )  # fmt: skip


def ffmpeg(*words):
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, words)], check=True)


if __name__ == "__main__":
    main()
