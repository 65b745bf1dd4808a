"""What transformers 5.23.0 answers for CLIP's vision towers at full size, with weights that anybody can make.

In:   nothing but the names and shapes of the tensors.
Out:  tests/golden/clip_towers.safetensors   `<tower>.<activation>[.<rounding>].{pooled,projected}`, f32, two rows each
      tests/golden/clip_towers.json          the towers' settings, the fill rule, samples of the fill, the measured effects
Never: reads or writes a weights file that outlives the run.

    python -m pip install --no-deps -r tests/golden/requirements.txt
    python tests/golden/clip.py

The fill
--------
Each tensor is filled from its own name, so that no order of creation matters. All integers are u64 and wrap.

    seed  = FNV-1a-64 of the name's UTF-8 bytes
    z     = seed + (i + 1) * 0x9E3779B97F4A7C15      for element i, counted from 0 in row-major order
    z     = (z ^ z >> 30) * 0xBF58476D1CE4E5B9
    z     = (z ^ z >> 27) * 0x94D049BB133111EB
    z     =  z ^ z >> 31
    k     = z >> 40                                  24 bits
    v     = f32(2 * k - 2^24) / f32(2^24)            exact, in [-1, 1)
    value = f32(offset) + f32(scale) * v             two f32 roundings, no fused multiply-add

Names are those of the published checkpoints (`model.safetensors` of openai/clip-vit-*). The first row whose
suffix ends the name gives offset and scale; `fan_in` means scale = f32(number * sqrt(3 / in)), computed in f64 and
rounded once, where `in` is the product of all extents but the first: a unit input then leaves with deviation `number`.

    suffix                     offset  rule      number   why
    patch_embedding.weight     0       fan_in    1.0      patches keep the input's size
    position_embedding.weight  0       absolute  0.5      a place weighs a quarter of a patch, so that it shows
    class_embedding            0       absolute  0.5      as a place
    q_proj.weight              0       fan_in    1.6      logits deviate by 2.5: a token looks at some of the others
    k_proj.weight              0       fan_in    1.6      as q
    v_proj.weight              0       fan_in    1.5      so that attention weighs beside the mlp
    q_proj.bias                0       absolute  1.0      by way of the softmax it counts for little, so it is large
    out_proj.weight            0       fan_in    1.0
    fc1.weight                 0       fan_in    1.0
    fc2.weight                 0       fan_in    1.5      the activation function shows
    visual_projection.weight   0       fan_in    1.0
    norm.weight                1       absolute  0.3      pre_layrnorm, post_layernorm
    norm1.weight               1       absolute  0.3
    norm2.weight               1       absolute  0.3
    .bias                      0       absolute  0.2      every other bias, also of the norms
    pixel_values               0       absolute  2.0      the input, [2, 3, side, side]
"""

import argparse
import copy
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.utils import logging

HERE = Path(__file__).resolve().parent

FILL = (
    ("patch_embedding.weight", 0.0, "fan_in", 1.0),
    ("position_embedding.weight", 0.0, "absolute", 0.5),
    ("class_embedding", 0.0, "absolute", 0.5),
    ("q_proj.weight", 0.0, "fan_in", 1.6),
    ("k_proj.weight", 0.0, "fan_in", 1.6),
    ("v_proj.weight", 0.0, "fan_in", 1.5),
    ("q_proj.bias", 0.0, "absolute", 1.0),
    ("out_proj.weight", 0.0, "fan_in", 1.0),
    ("fc1.weight", 0.0, "fan_in", 1.0),
    ("fc2.weight", 0.0, "fan_in", 1.5),
    ("visual_projection.weight", 0.0, "fan_in", 1.0),
    ("norm.weight", 1.0, "absolute", 0.3),
    ("norm1.weight", 1.0, "absolute", 0.3),
    ("norm2.weight", 1.0, "absolute", 0.3),
    (".bias", 0.0, "absolute", 0.2),
    ("pixel_values", 0.0, "absolute", 2.0),
)

BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "projection_dim": 512}
LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16, "projection_dim": 768}
TOWERS = {
    "b32": {**BASE, "image_size": 224, "patch_size": 32},
    "b16": {**BASE, "image_size": 224, "patch_size": 16},
    "l14": {**LARGE, "image_size": 224, "patch_size": 14},
    "l14_336": {**LARGE, "image_size": 336, "patch_size": 14},
}
ACTIVATIONS = ("quick_gelu", "gelu")
LAYER_NORM_EPS = 1e-5

# Weights rounded to these and widened again, for one tower: the sums stay in f32.
ROUNDED = ("b32", "quick_gelu", {"fp16": torch.float16, "bf16": torch.bfloat16})

# What the Rust test allows on an embedding of unit length, and how much more than that a fault must show.
TOLERANCE = 2e-4
CLEARLY = 5
# The towers share their code, and the smallest is the quickest to break thirty times.
STUDIED = ("b32",)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--towers", nargs="+", choices=TOWERS, help="only these, and only print: a quick look")
    towers = parser.parse_args().towers
    torch.set_num_threads(2)
    logging.set_verbosity_error()
    logging.disable_progress_bar()

    answers, effects = {}, {}
    for tower in towers or TOWERS:
        effects[tower] = run_tower(tower, answers)
    if towers:
        return
    save_file(answers, HERE / "clip_towers.safetensors")
    (HERE / "clip_towers.json").write_text(settings(effects))


def run_tower(tower, answers):
    """Adds the tower's answers to `answers` and gives back the effect of each fault."""
    by_activation = {}
    weights = {name: fill(name, shape) for name, shape in tensor_shapes(TOWERS[tower]).items()}
    for activation in ACTIVATIONS:
        model, pixels = load(tower, activation, weights)
        name = f"{tower}.{activation}"
        answer = answers_of(model, pixels, watch=lambda out: expect_alive(name, out))
        by_activation[activation] = answer
        keep(answers, name, answer)
        expect_apart(name, answer)
        if (tower, activation) == ROUNDED[:2]:
            for rounding, dtype in ROUNDED[2].items():
                rounded = answers_of(round_weights(model, dtype), pixels)
                keep(answers, f"{name}.{rounding}", rounded)
                print(f"{name}.{rounding}: {effect(answer, rounded)}")
        if tower in STUDIED and activation == ACTIVATIONS[0]:
            effects = study(model, pixels, answer)
    effects = effects if tower in STUDIED else {}
    effects["the other activation"] = effect(*by_activation.values())
    expect_visible(tower, effects)
    return effects


# The fill


def fnv1a_64(text):
    seed = 0xCBF29CE484222325
    for byte in text.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    return seed


def fill(name, shape, rules=FILL):
    """f32 values of the tensor called `name`; see the top of this file."""
    offset, scale = offset_and_scale(name, shape, rules)
    z = np.arange(1, math.prod(shape) + 1, dtype=np.uint64)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(fnv1a_64(name))
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    k = (z >> np.uint64(40)).astype(np.int64)
    v = (2 * k - 2**24).astype(np.float32) / np.float32(2**24)
    return torch.from_numpy(np.float32(offset) + np.float32(scale) * v).reshape(shape)


def offset_and_scale(name, shape, rules):
    for suffix, offset, rule, number in rules:
        if name.endswith(suffix):
            inputs = math.prod(shape[1:])
            return offset, number * math.sqrt(3 / inputs) if rule == "fan_in" else number
    raise SystemExit(f"no fill for {name}")


# The reference


def load(tower, activation, weights):
    """The model, loaded by its own loader from a checkpoint with the published names, and its input."""
    config = CLIPVisionConfig(**TOWERS[tower], hidden_act=activation, layer_norm_eps=LAYER_NORM_EPS)
    with tempfile.TemporaryDirectory() as folder:
        save_file(weights, Path(folder) / "model.safetensors", metadata={"format": "pt"})
        config.save_pretrained(folder)
        model, report = CLIPVisionModelWithProjection.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
        model = copy.deepcopy(model)  # nothing mapped from the folder, which goes away
    troubles = {kind: names for kind, names in report.items() if names}
    if troubles:
        raise SystemExit(f"{tower}: the checkpoint was not taken whole: {troubles}")
    return model.eval(), fill("pixel_values", (2, 3, config.image_size, config.image_size))


def tensor_shapes(tower):
    """The vision half of a published checkpoint: name -> shape."""
    d, wide, patch = tower["hidden_size"], tower["intermediate_size"], tower["patch_size"]
    tokens = (tower["image_size"] // patch) ** 2 + 1
    shapes = {
        "vision_model.embeddings.class_embedding": (d,),
        "vision_model.embeddings.patch_embedding.weight": (d, 3, patch, patch),
        "vision_model.embeddings.position_embedding.weight": (tokens, d),
        "visual_projection.weight": (tower["projection_dim"], d),
    }
    for norm in ("pre_layrnorm", "post_layernorm"):
        shapes |= {f"vision_model.{norm}.weight": (d,), f"vision_model.{norm}.bias": (d,)}
    for layer in range(tower["num_hidden_layers"]):
        prefix = f"vision_model.encoder.layers.{layer}"
        for norm in ("layer_norm1", "layer_norm2"):
            shapes |= {f"{prefix}.{norm}.weight": (d,), f"{prefix}.{norm}.bias": (d,)}
        for linear in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= {f"{prefix}.self_attn.{linear}.weight": (d, d), f"{prefix}.self_attn.{linear}.bias": (d,)}
        shapes |= {f"{prefix}.mlp.fc1.weight": (wide, d), f"{prefix}.mlp.fc1.bias": (wide,)}
        shapes |= {f"{prefix}.mlp.fc2.weight": (d, wide), f"{prefix}.mlp.fc2.bias": (d,)}
    return shapes


@torch.no_grad()
def answers_of(model, pixels, watch=None):
    """pooled [2, d], after post_layernorm; projected [2, proj], before any normalisation."""
    seen = []
    hook = model.vision_model.post_layernorm.register_forward_hook(lambda _norm, _in, out: seen.append(out))
    out = model(pixels, output_hidden_states=watch is not None, output_attentions=watch is not None)
    hook.remove()
    if watch:
        watch(out)
    (pooled,) = seen
    return {"pooled": pooled, "projected": out.image_embeds}


def keep(answers, name, answer):
    answers |= {f"{name}.{tap}": value.contiguous() for tap, value in answer.items()}


def round_weights(model, dtype):
    rounded = copy.deepcopy(model)
    with torch.no_grad():
        for weight in rounded.parameters():
            weight.copy_(weight.to(dtype).float())
    return rounded


# Is it a measure?


def effect(one, other):
    """The largest change of a unit-length embedding, by tap."""
    return {tap: float((unit(one[tap]) - unit(other[tap])).abs().max()) for tap in one}


def unit(rows):
    return torch.nn.functional.normalize(rows, dim=-1)


def expect_alive(name, out):
    """Activations neither vanish nor run away, and attention is neither flat nor one-hot."""
    deviations = [float(state.std()) for state in out.hidden_states]
    tokens = out.attentions[0].shape[-1]
    # exp of the entropy: how many tokens one looks at, were it to look at each of them alike.
    looked_at = [float((-(p * p.clamp_min(1e-30).log()).sum(-1)).exp().mean()) for p in out.attentions]
    print(f"{name}: deviation after each layer {[round(value, 2) for value in deviations]}")
    print(f"{name}: of {tokens} tokens one looks at {[round(value, 1) for value in looked_at]}")
    if not all(0.3 < value < 10 for value in deviations) or not all(1.5 < value < 0.7 * tokens for value in looked_at):
        raise SystemExit(f"{name}: not like a trained tower")


def expect_apart(name, answer):
    """Two inputs are told apart."""
    cosines = {tap: float((unit(rows)[0] * unit(rows)[1]).sum()) for tap, rows in answer.items()}
    print(f"{name}: two inputs have cosine {cosines}, pooled deviation {float(answer['pooled'].std()):.3f}")
    if max(cosines.values()) >= 0.98:
        raise SystemExit(f"{name}: not like a trained tower")


# k_proj.bias adds the same to every logit of a row, and softmax takes it out again: no test of any answer can see it.
INVISIBLE = "k_proj.bias"


def study(model, pixels, answer):
    """Each fault done to the tower in turn -> its effect."""
    weights = dict(model.named_parameters())
    last = model.config.num_hidden_layers - 1
    found = {}

    def try_fault(fault, changes, inputs=pixels):
        kept = {name: weights[name].detach().clone() for name in changes}
        with torch.no_grad():
            for name, change in changes.items():
                weights[name].copy_(change(kept[name]))
            found[fault] = effect(answer, answers_of(model, inputs))
            for name, value in kept.items():
                weights[name].copy_(value)

    vision = "vision_model"
    position = f"{vision}.embeddings.position_embedding.weight"
    try_fault("no class_embedding", {f"{vision}.embeddings.class_embedding": torch.zeros_like})
    try_fault("no position_embedding", {position: torch.zeros_like})
    try_fault("position_embedding off by one", {position: lambda rows: rows.roll(1, 0)})
    try_fault("blue before red", {}, inputs=pixels.flip(1))
    for norm in ("pre_layrnorm", "post_layernorm"):
        try_fault(f"no {norm}.weight", {f"{vision}.{norm}.weight": torch.ones_like})
        try_fault(f"no {norm}.bias", {f"{vision}.{norm}.bias": torch.zeros_like})
    for layer in (0, last):
        at = f"{vision}.encoder.layers.{layer}"
        for norm in ("layer_norm1", "layer_norm2"):
            try_fault(f"no {norm}.weight in layer {layer}", {f"{at}.{norm}.weight": torch.ones_like})
            try_fault(f"no {norm}.bias in layer {layer}", {f"{at}.{norm}.bias": torch.zeros_like})
        for linear in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2"):
            try_fault(f"no {linear.split('.')[1]}.bias in layer {layer}", {f"{at}.{linear}.bias": torch.zeros_like})
        q, k = weights[f"{at}.self_attn.q_proj.weight"], weights[f"{at}.self_attn.k_proj.weight"]
        q_before, k_before = q.detach().clone(), k.detach().clone()
        try_fault(
            f"q and k swapped in layer {layer}",
            {f"{at}.self_attn.q_proj.weight": lambda _, k=k_before: k, f"{at}.self_attn.k_proj.weight": lambda _, q=q_before: q},
        )
    return found


def expect_visible(tower, effects):
    for fault, taps in sorted(effects.items(), key=lambda item: min(item[1].values())):
        print(f"{tower}: {fault}: {', '.join(f'{tap} {value:.1e}' for tap, value in taps.items())}")
        if INVISIBLE not in fault and min(taps.values()) < CLEARLY * TOLERANCE:
            raise SystemExit(f"{tower}: {fault} would hardly show")


def settings(effects):
    samples = {
        "vision_model.embeddings.class_embedding": (768,),
        "vision_model.embeddings.patch_embedding.weight": (768, 3, 32, 32),
        "vision_model.pre_layrnorm.weight": (768,),
        "vision_model.encoder.layers.11.mlp.fc2.bias": (768,),
        "vision_model.encoder.layers.0.self_attn.q_proj.weight": (768, 768),
        "pixel_values": (2, 3, 224, 224),
    }
    text = {
        "reference": "transformers 5.23.0, CLIPVisionModelWithProjection, f32 on a CPU, eager attention",
        "tolerance": TOLERANCE,
        "layer_norm_eps": LAYER_NORM_EPS,
        "towers": TOWERS,
        "activations": ACTIVATIONS,
        "rounded": {"tower": ROUNDED[0], "activation": ROUNDED[1], "roundings": list(ROUNDED[2])},
        "fill": FILL,
        "fill_samples": [sample(name, shape) for name, shape in samples.items()],
        "effects": {
            tower: {fault: {tap: float(f"{value:.2g}") for tap, value in taps.items()} for fault, taps in faults.items()}
            for tower, faults in effects.items()
        },
    }
    lines = [f" {json.dumps(key)}: {one_per_line(value)}" for key, value in text.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def one_per_line(value):
    """Lists of rows and nested tables a row per line, all else on one."""
    if isinstance(value, dict) and all(isinstance(inner, dict) for inner in value.values()):
        rows = [f"{json.dumps(key)}: {one_per_line(inner)}" for key, inner in value.items()]
        return "{\n  " + ",\n  ".join(rows) + "\n }"
    if isinstance(value, (list, tuple)) and isinstance(value[0], (list, tuple, dict)):
        return "[\n  " + ",\n  ".join(json.dumps(row) for row in value) + "\n ]"
    return json.dumps(value)


def sample(name, shape):
    """The first four values and the last, in the fewest digits that give back the same f32."""
    values = fill(name, shape).flatten()
    return {
        "name": name,
        "shape": shape,
        "seed": f"{fnv1a_64(name):#018x}",
        "first": [float(str(value)) for value in values[:4].numpy()],
        "last": float(str(values[-1].numpy())),
    }


if __name__ == "__main__":
    main()
