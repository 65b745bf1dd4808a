"""What transformers 5.23.0 answers for CLIP's text towers and for zero-shot prompts, at full size, with made weights.

In:   tests/golden/tokenizer/* (tokenizer.py), tests/golden/pictures/*.png
Out:  tests/golden/text_towers.safetensors   `<tower>.<activation>.<pooling>`, f32, a projected vector a text
      tests/golden/text_towers.json          the towers' settings, the texts, the fill rule, samples of it, the measured effects
      tests/golden/zero_shot.json            probabilities of pictures against prompts
Never: reads or writes a weights file that outlives the run.

    python -m pip install --no-deps -r tests/golden/requirements.txt
    python tests/golden/text.py

The fill is that of clip.py with these rows before its own:

    suffix                     offset  rule      number   why
    token_embedding.weight     0       absolute  1.7      deviates by 1, as a patch does
    text_projection.weight     0       fan_in    1.0
    logit_scale                4.6052  absolute  0        CLIP's at the end of its training: x 100
"""

import json
import random
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.utils import logging

import clip
from clip import ACTIVATIONS, CLEARLY, LAYER_NORM_EPS, TOLERANCE, expect_alive, fnv1a_64, one_per_line, unit

HERE = Path(__file__).resolve().parent
TOKENIZER = HERE / "tokenizer"

FILL = (
    ("token_embedding.weight", 0.0, "absolute", 1.7),
    ("text_projection.weight", 0.0, "fan_in", 1.0),
    ("logit_scale", 4.6052, "absolute", 0.0),
    *clip.FILL,
)
# Beside B/32 and B/16, and beside L/14.
TOWERS = {
    "b": {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8, "projection_dim": 512},
    "l": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "projection_dim": 768},
}
VOCABULARY, CONTEXT = 49_408, 77
START, END, COMMA = 49_406, 49_407, 267
STUDIED = "b"


def drawn(count, *also):
    draw = random.Random(count)
    ids = [draw.randrange(300, START) for _ in range(count - len(also))]
    for id in also:
        ids.insert(draw.randrange(1, len(ids)), id)
    return ids


# pooling -> eos_token_id and texts of many lengths in one batch; the last is as long as they come.
POOLINGS = {
    "end": (END, [[START, 320, 1125, 539, 320, 2368, END], [START, 2368, END], [START, *drawn(40, END), END], [START, *drawn(75), END]]),
    # 2 is what OpenAI's and LAION's configurations say; the largest id is meant.
    "largest": (2, [[START, 320, 1125, 539, 320, 2368, END], drawn(30)]),
    "comma": (COMMA, [[START, 1710, COMMA, 2751, END], [START, *drawn(20, COMMA, COMMA), END]]),
}


def main():
    torch.set_num_threads(2)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    answers, effects = {}, {}
    for tower in TOWERS:
        effects[tower] = run_tower(tower, answers)
    save_file(answers, HERE / "text_towers.safetensors")
    (HERE / "text_towers.json").write_text(settings(effects))
    (HERE / "zero_shot.json").write_text(zero_shot())


# The towers


def run_tower(tower, answers):
    weights = {name: clip.fill(name, shape, FILL) for name, shape in tensor_shapes(TOWERS[tower]).items()}
    by_activation = {}
    for activation in ACTIVATIONS:
        for pooling, (eos_token_id, texts) in POOLINGS.items():
            model = load(tower, activation, eos_token_id, weights)
            name = f"{tower}.{activation}.{pooling}"
            watch = (lambda out: expect_alive(tower, out)) if pooling == "end" else None
            answers[name] = answer_of(model, texts, watch)
            if pooling == "end":
                by_activation[activation] = answers[name]
                if tower == STUDIED and activation == ACTIVATIONS[0]:
                    effects = study(model, texts, answers[name])
    effects = effects if tower == STUDIED else {}
    effects["the other activation"] = effect(*by_activation.values())
    expect_visible(tower, effects)
    return effects


def load(tower, activation, eos_token_id, weights):
    """The model, loaded by its own loader from a checkpoint with the published names."""
    config = CLIPTextConfig(**TOWERS[tower], hidden_act=activation, layer_norm_eps=LAYER_NORM_EPS, eos_token_id=eos_token_id)
    assert (config.vocab_size, config.max_position_embeddings) == (VOCABULARY, CONTEXT)
    return load_whole(CLIPTextModelWithProjection, config, weights)


def load_whole(kind, config, weights):
    with tempfile.TemporaryDirectory() as folder:
        save_file(weights, Path(folder) / "model.safetensors", metadata={"format": "pt"})
        config.save_pretrained(folder)
        model, report = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
        with torch.no_grad():  # nothing mapped from the folder, which goes away
            for weight in model.parameters():
                weight.data = weight.data.clone()
    troubles = {what: names for what, names in report.items() if names}
    if troubles:
        raise SystemExit(f"the checkpoint was not taken whole: {troubles}")
    return model.eval()


def tensor_shapes(tower):
    """The text half of a published checkpoint: name -> shape."""
    d, wide = tower["hidden_size"], tower["intermediate_size"]
    shapes = {
        "text_model.embeddings.token_embedding.weight": (VOCABULARY, d),
        "text_model.embeddings.position_embedding.weight": (CONTEXT, d),
        "text_model.final_layer_norm.weight": (d,),
        "text_model.final_layer_norm.bias": (d,),
        "text_projection.weight": (tower["projection_dim"], d),
    }
    for layer in range(tower["num_hidden_layers"]):
        prefix = f"text_model.encoder.layers.{layer}"
        for norm in ("layer_norm1", "layer_norm2"):
            shapes |= {f"{prefix}.{norm}.weight": (d,), f"{prefix}.{norm}.bias": (d,)}
        for linear in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= {f"{prefix}.self_attn.{linear}.weight": (d, d), f"{prefix}.self_attn.{linear}.bias": (d,)}
        shapes |= {f"{prefix}.mlp.fc1.weight": (wide, d), f"{prefix}.mlp.fc1.bias": (wide,)}
        shapes |= {f"{prefix}.mlp.fc2.weight": (d, wide), f"{prefix}.mlp.fc2.bias": (d,)}
    return shapes


@torch.no_grad()
def answer_of(model, texts, watch=None):
    """[texts, projection], before any normalisation; padded and masked as the tokenizer does it."""
    longest = max(map(len, texts))
    ids = torch.tensor([text + [END] * (longest - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    if watch:
        watch(model(input_ids=ids[-1:], output_hidden_states=True, output_attentions=True))
    return model(input_ids=ids, attention_mask=mask).text_embeds.contiguous()


# Is it a measure?


def effect(one, other):
    """By text, the largest change of a unit-length embedding; of these the smallest."""
    return float((unit(one) - unit(other)).abs().amax(-1).min())


def study(model, texts, answer):
    """Each fault done to the tower in turn -> its effect."""
    weights = dict(model.named_parameters())
    last = model.config.num_hidden_layers - 1
    found = {}

    def try_fault(fault, changes):
        kept = {name: weights[name].detach().clone() for name in changes}
        with torch.no_grad():
            for name, change in changes.items():
                weights[name].copy_(change(kept[name]))
            found[fault] = effect(answer, answer_of(model, texts))
            for name, value in kept.items():
                weights[name].copy_(value)

    tower = "text_model"
    position = f"{tower}.embeddings.position_embedding.weight"
    try_fault("no position_embedding", {position: torch.zeros_like})
    try_fault("position_embedding off by one", {position: lambda rows: rows.roll(1, 0)})
    try_fault("no final_layer_norm.weight", {f"{tower}.final_layer_norm.weight": torch.ones_like})
    try_fault("no final_layer_norm.bias", {f"{tower}.final_layer_norm.bias": torch.zeros_like})
    for layer in (0, last):
        at = f"{tower}.encoder.layers.{layer}"
        for norm in ("layer_norm1", "layer_norm2"):
            try_fault(f"no {norm}.weight in layer {layer}", {f"{at}.{norm}.weight": torch.ones_like})
            try_fault(f"no {norm}.bias in layer {layer}", {f"{at}.{norm}.bias": torch.zeros_like})
        for linear in ("self_attn.q_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2"):
            try_fault(f"no {linear.split('.')[1]}.bias in layer {layer}", {f"{at}.{linear}.bias": torch.zeros_like})
    found["each token sees all"] = effect(answer, torch.cat([seeing_all(model, text) for text in texts]))
    found["pooled one place early"] = effect(answer, torch.cat([pooled_early(model, text) for text in texts]))
    return found


@torch.no_grad()
def seeing_all(model, text):
    """Without the causal mask; each text alone, since padding would then be seen too."""
    open_mask = torch.zeros(1, 1, len(text), len(text))
    x = model.text_model.embeddings(input_ids=torch.tensor([text]))
    for layer in model.text_model.encoder.layers:
        x = layer(x, attention_mask=open_mask)
    return model.text_projection(model.text_model.final_layer_norm(x)[:, text.index(END)])


@torch.no_grad()
def pooled_early(model, text):
    states = model.text_model(input_ids=torch.tensor([text])).last_hidden_state
    return model.text_projection(states[:, text.index(END) - 1])


def expect_visible(tower, effects):
    for fault, change in sorted(effects.items(), key=lambda item: item[1]):
        print(f"{tower}: {fault}: {change:.1e}")
        if change < CLEARLY * TOLERANCE:
            raise SystemExit(f"{tower}: {fault} would hardly show")


def settings(effects):
    samples = {
        "text_model.embeddings.token_embedding.weight": (VOCABULARY, 512),
        "text_projection.weight": (512, 512),
        "text_model.final_layer_norm.weight": (512,),
    }
    text = {
        "reference": "transformers 5.23.0, CLIPTextModelWithProjection, f32 on a CPU, eager attention",
        "tolerance": TOLERANCE,
        "layer_norm_eps": LAYER_NORM_EPS,
        "towers": TOWERS,
        "activations": ACTIVATIONS,
        "poolings": {name: {"eos_token_id": id, "texts": texts} for name, (id, texts) in POOLINGS.items()},
        "fill": FILL,
        "fill_samples": [sample(name, shape) for name, shape in samples.items()],
        "effects": {
            tower: {fault: float(f"{change:.2g}") for fault, change in faults.items()} for tower, faults in effects.items()
        },
    }
    return table(text)


def table(content):
    lines = [f" {json.dumps(key)}: {one_per_line(value)}" for key, value in content.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def sample(name, shape):
    """The first four values and the last, in the fewest digits that give back the same f32."""
    values = clip.fill(name, shape, FILL).flatten()
    return {
        "name": name,
        "shape": shape,
        "seed": f"{fnv1a_64(name):#018x}",
        "first": [float(str(value)) for value in values[:4].numpy()],
        "last": float(str(values[-1].numpy())),
    }


# Zero-shot

PROBABILITY_TOLERANCE = 1e-4
PICTURES = ("astronaut", "group", "portrait_small", "tall")
# More than are embedded at a time.
FAKE_FACES = [
    "a photo of a fake face",
    "a bad photo of a fake face",
    "a low resolution photo of a fake face",
    "a close-up photo of a fake face",
    "a cropped photo of a fake face",
    "a photo of a synthetic person",
    "a photo of a GAN-generated face",
    "a photo of a face swap",
    "a photo of a diffusion-model portrait",
    "a photo of a CGI character",
    "a photo of a wax figure",
    "a photo of an avatar",
    "a photo of a celebrity deepfake",
    "a deepfake, a face-swapped portrait",
    "a face generated by a neural network",
    "a fake face, shot on a phone",
    "This is a fake face.",
    "a jpeg corrupted photo of a fake face",
]
# Real, fake; the scale where it is not the checkpoint's. All of them are among the tokenizer's texts.
PROMPTS = {
    "one prompt a class": (["a photo of a real face"], ["a photo of a fake face"], None),
    "one prompt a class, a scale of its own": (
        ["a photograph of a real human face"],
        ["a face generated by a neural network"],
        2.6593,
    ),
    "averaged": (
        ["a photo of a real face", "an authentic, unedited photo of a person", "a close-up photo of a woman"],
        FAKE_FACES,
        3.2,
    ),
}


@torch.no_grad()
def zero_shot():
    """Probabilities of "fake" by CLIPModel itself, and from its features where prompts are averaged."""
    known = {text for text, _ in json.loads((TOKENIZER / "texts.json").read_text())}
    unknown = [prompt for real, fake, _ in PROMPTS.values() for prompt in real + fake if prompt not in known]
    if unknown:
        raise SystemExit(f"the small vocabulary was not made for {unknown}")
    tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
    pictures = [Image.open(HERE / "pictures" / f"{name}.png").convert("RGB") for name in PICTURES]
    pixels = CLIPImageProcessorPil()(pictures, return_tensors="pt")["pixel_values"]
    vision, text = clip.TOWERS["b32"], TOWERS["b"]
    shapes = {**clip.tensor_shapes(vision), **tensor_shapes(text), "logit_scale": ()}
    weights = {name: clip.fill(name, shape, FILL) for name, shape in shapes.items()}
    rows = []
    for activation in ACTIVATIONS:
        common = {"hidden_act": activation, "layer_norm_eps": LAYER_NORM_EPS}
        config = CLIPConfig(text_config={**text, **common}, vision_config={**vision, **common}, projection_dim=text["projection_dim"])
        model = load_whole(CLIPModel, config, weights)
        for case, (real, fake, logit_scale) in PROMPTS.items():
            fractions = by_features(model, tokenizer, pixels, real, fake, logit_scale)
            if len(real) == len(fake) == 1:
                fractions = by_model(model, tokenizer, pixels, real + fake, logit_scale)
            else:
                expect_averaged(fractions, by_features(model, tokenizer, pixels, real, fake, logit_scale, each=lambda x: x))
            print(f"{activation}, {case}: {[round(value, 4) for value in fractions]}")
            rows.append({"activation": activation, "case": case, "fake": fractions})
    content = {
        "reference": "transformers 5.23.0, CLIPModel and CLIPImageProcessorPil, f32 on a CPU, eager attention",
        "tolerance": PROBABILITY_TOLERANCE,
        "vision": vision,
        "text": text,
        "pictures": PICTURES,
        "prompts": {case: {"real": real, "fake": fake, "logit_scale": scale} for case, (real, fake, scale) in PROMPTS.items()},
        "answers": rows,
    }
    unsure = [value for row in rows for value in row["fake"] if 0.05 < value < 0.95]
    if len(unsure) < 8:
        raise SystemExit(f"only {len(unsure)} probabilities are neither 0 nor 1: they would show little")
    return table(content)


def by_model(model, tokenizer, pixels, prompts, logit_scale):
    kept = model.logit_scale.data.clone()
    if logit_scale is not None:
        model.logit_scale.data.fill_(logit_scale)
    inputs = tokenizer(prompts, padding=True, return_tensors="pt")
    out = model(pixel_values=pixels, **inputs)
    model.logit_scale.data.copy_(kept)
    return out.logits_per_image.softmax(-1)[:, 1].double().tolist()


def unit_rows(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def by_features(model, tokenizer, pixels, real, fake, logit_scale, each=unit_rows):
    """As in openai/CLIP's notebook on prompt ensembling: unit length, mean, unit length."""

    def features(out):
        return np.asarray(getattr(out, "pooler_output", out), dtype=np.float64)

    classes = []
    for prompts in (real, fake):
        rows = [features(model.get_text_features(**tokenizer([prompt], return_tensors="pt")))[0] for prompt in prompts]
        classes.append(unit_rows(each(np.stack(rows)).mean(0)))
    images = unit_rows(features(model.get_image_features(pixel_values=pixels)))
    scale = float(model.logit_scale) if logit_scale is None else logit_scale
    logits = np.exp(scale) * images @ np.stack(classes).T
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return (odds / odds.sum(-1, keepdims=True))[:, 1].tolist()


def expect_averaged(right, wrong):
    """A mean of vectors that were not brought to unit length is told from the right one."""
    change = max(abs(a - b) for a, b in zip(right, wrong))
    print(f"averaged without unit length: {change:.1e}")
    if change < CLEARLY * PROBABILITY_TOLERANCE:
        raise SystemExit("a mean without unit length would hardly show")


if __name__ == "__main__":
    main()
