"""transformers' CLIPVisionModelWithProjection in PyTorch, f32, with fused attention: its fastest way without compiling.

In, out: as protocol.py says.
"""

from protocol import INPUTS, THREADS, serve, told_embedding, unknown

import torch  # isort: skip
from safetensors.torch import load_file
from transformers import CLIPVisionModelWithProjection
from transformers.utils import logging

torch.set_num_threads(THREADS)
torch.set_num_interop_threads(1)
logging.disable_progress_bar()

TOWERS = {}


def prepare(words):
    match words:
        case ["clip", name, batch]:
            if name not in TOWERS:
                TOWERS[name] = CLIPVisionModelWithProjection.from_pretrained(
                    INPUTS / name, dtype=torch.float32, attn_implementation="sdpa"
                ).eval()
            tower, pixels = TOWERS[name], load_file(INPUTS / "clip.safetensors")["pixels"][: int(batch)].clone()

            def run():
                with torch.inference_mode():
                    return tower(pixel_values=pixels).image_embeds

            return run, lambda out: told_embedding(out.numpy())
        case _:
            unknown(words)


if __name__ == "__main__":
    serve(prepare)
