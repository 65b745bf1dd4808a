"""What transformers 5.23.0 gives for `untrained-demo`, whose tower is drawn from a seed: the logit of its golden picture.

In:   nothing
Out:  models/untrained-demo/golden.png   the picture, 96 x 80, drawn here
      prints the logit that src/scorers/untrained.rs states beside it
Never: reads anything that Rust wrote.

The draw, as src/scorers/untrained.rs tells it: SplitMix64, its state started by folding the bytes of the tensor's name
into the seed; the upper 24 bits of each number, spread over [-bound, bound).

    python tests/golden/untrained.py
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

SEED = 0x6465657073776565
MASK = (1 << 64) - 1
OUT = Path(__file__).parents[2] / "models/untrained-demo/golden.png"


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def uniform(name, count, bound):
    state = SEED
    for byte in name.encode():
        state = mix(state ^ byte)
    z = (np.uint64(state) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    unit = (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
    return np.float32(bound) * (np.float32(2) * unit - np.float32(1))


def tensor(name, shape):
    if "norm" in name or "layrnorm" in name:
        return torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
    if name.endswith(".bias"):
        return torch.zeros(shape)
    count = int(np.prod(shape))
    bound = np.float32(np.sqrt(np.float32(3.0) / np.float32(count // shape[0])))
    return torch.from_numpy(uniform(name, count, bound)).reshape(shape)


def picture():
    y, x = np.mgrid[0:80, 0:96]
    rgb = np.stack([x * 255 // 95, y * 255 // 79, (x * y) % 256], axis=-1)
    rgb[20:60, 30:66] = (rgb[20:60, 30:66] + [200, 160, 130]) // 2
    return Image.fromarray(rgb.astype(np.uint8))


def main():
    config = CLIPVisionConfig(
        hidden_size=192, intermediate_size=768, num_hidden_layers=2, num_attention_heads=3, image_size=224,
        patch_size=32, projection_dim=64, hidden_act="quick_gelu", layer_norm_eps=1e-5,
    )
    model = CLIPVisionModelWithProjection(config).eval()
    state = model.state_dict()
    filled = {}
    for name, value in state.items():
        full = name if name.startswith(("vision_model.", "visual_projection.")) else f"vision_model.{name}"
        filled[name] = value if name.endswith("position_ids") else tensor(full, tuple(value.shape))
    model.load_state_dict(filled)
    OUT.parent.mkdir(exist_ok=True)
    picture().save(OUT, optimize=True)
    pixels = CLIPImageProcessorPil()(Image.open(OUT), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        hidden = model.vision_model(pixels).pooler_output[0].double()
    unit = hidden / hidden.norm()
    head = torch.from_numpy(uniform("head.weight", 192, 3.0)).double()
    print("logit", float(head @ unit))


if __name__ == "__main__":
    main()
