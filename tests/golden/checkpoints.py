"""Checkpoints as people publish them, written by PyTorch itself, and what Python reads out of them.

Out:  tests/golden/checkpoints/heads/*         a linear head in every way that torch.save has of writing one
      tests/golden/checkpoints/kinds.pth       types, strides, shared storages, scalars, buffers
      tests/golden/checkpoints/bad/*           what must be refused, each for its own reason
      tests/golden/checkpoints/tower/*         one small CLIP under the names of transformers, open_clip and OpenAI
      tests/golden/checkpoints/checkpoints.json   of every tensor type, shape and sha256 of its row-major bytes
      tests/golden/checkpoints/answers.safetensors   pixels, and what transformers answers for each tower
Never: reads anything.

    python -m pip install --no-deps -r tests/golden/requirements.txt
    python tests/golden/checkpoints.py

open_clip's layout is made here with torch's own operations and checked by a tower of torch.nn.MultiheadAttention,
which is what open_clip's and OpenAI's towers are made of: it must answer as transformers does.
"""

import builtins
import hashlib
import io
import json
import os
import pickle
import shutil
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPConfig, CLIPModel
from transformers.utils import logging

OUT = Path(__file__).resolve().parent / "checkpoints"
TIGHT = 2e-6  # what one order of summation may differ from another on unit-length vectors of this size
VISIBLE = 1e-3  # what a wrong layout must at least change

# Where a storage says that it lay. torch asks these in order of their priority; the processor's has 10.
location = None
torch.serialization.register_package(5, lambda storage: location, lambda storage, where: None)


def main():
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(20261123)
    shutil.rmtree(OUT, ignore_errors=True)
    for folder in ("heads", "bad", "tower"):
        (OUT / folder).mkdir(parents=True)
    expected = {}
    heads(expected)
    kinds(expected)
    bad()
    answers = towers(expected)
    save_file(answers, OUT / "answers.safetensors")
    (OUT / "checkpoints.json").write_text(json.dumps(expected, indent=1) + "\n")


def record(expected, name, tensors):
    expected[name] = {
        key: {
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "shape": list(tensor.shape),
            "sha256": hashlib.sha256(row_major_bytes(tensor)).hexdigest(),
        }
        for key, tensor in tensors.items()
    }


def row_major_bytes(tensor):
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()


# Heads


def heads(expected):
    def save(name, checkpoint, tensors, where=None, in_memory=False, **how):
        global location
        location = where
        path = OUT / "heads" / name
        if in_memory:  # without a file's name the archive's folder is called `archive`
            buffer = io.BytesIO()
            torch.save(checkpoint, buffer, **how)
            path.write_bytes(buffer.getvalue())
        else:
            torch.save(checkpoint, path, **how)
        location = None
        record(expected, f"heads/{name}", tensors)

    # Made as UnivFD's published file was: the state_dict of a Linear(768, 1) that lay on a GPU.
    univfd = nn.Linear(768, 1).state_dict()
    save("fc_weights.pth", univfd, univfd, where="cuda:0")
    # In the year it was published PyTorch wrote fewer entries, and no word on the order of bytes.
    with zipfile.ZipFile(OUT / "heads/fc_weights.pth") as new, zipfile.ZipFile(OUT / "heads/few_entries.pth", "w") as old:
        for name in ("data.pkl", "data/0", "data/1", "version"):
            old.writestr(zipfile.ZipInfo(f"fc_weights/{name}"), new.read(f"fc_weights/{name}"))
    record(expected, "heads/few_entries.pth", univfd)

    def linear(rows=1, width=16, dtype=torch.float32):
        return nn.Linear(width, rows).to(dtype).state_dict()

    def named(prefix, table):
        return OrderedDict((prefix + key, value) for key, value in table.items())

    one = linear()
    save("archive_root.pth", one, one, in_memory=True)
    for protocol in (2, 3, 4, 5):
        save(f"protocol{protocol}.pth", one, one, pickle_protocol=protocol)
    save("plain_dict.pt", dict(one), one)
    save("parameters.pt", {"weight": nn.Parameter(one["weight"]), "bias": nn.Parameter(one["bias"])}, one)
    with_attribute = one["weight"].clone()
    with_attribute.note = "set on the tensor"
    save("attributes.pt", {"weight": with_attribute, "bias": one["bias"]}, one)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        table = linear(2, dtype=dtype)
        save(f"{str(dtype).removeprefix('torch.')}.pth", table, table)
    for prefix in ("fc.", "model.linear.", "head.", "classifier.", "module.fc."):
        table = named(prefix, linear(2))
        save(f"{prefix.strip('.').replace('.', '_')}.pth", table, table)

    # As training scripts save: more than the table of tensors, and the table in a table.
    model = nn.Linear(16, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    model(torch.randn(4, 16)).sum().backward()
    optimizer.step()
    table = model.state_dict()
    save("trainer.pth", {"model": table, "optimizer": optimizer.state_dict(), "total_steps": 400_000}, table, where="cuda:1")
    save(
        "lightning.ckpt",
        {"epoch": 3, "state_dict": named("model.head.", table), "loss": 0.25, "seed": 2**80, "shape": torch.Size([1, 2])},
        named("model.head.", table),
    )
    save("nested.pth", {"model": {"state_dict": table}, "config": {"lr": 1e-3, "names": ["a", "b"]}}, table)
    two = named("real.", linear()) | named("fake.", linear())
    save("two_heads.pth", two, two)
    save_file(named("fc.", linear(2)), OUT / "heads/fc.safetensors")

    for value in (float("nan"), float("inf")):
        table = {"weight": torch.full((1, 4), 0.5), "bias": torch.tensor([value])}
        torch.save(table, OUT / f"bad/{value}.pth")


def kinds(expected):
    base = torch.randn(6, 4)
    long = torch.arange(40, dtype=torch.float32)
    tensors = {
        "contiguous": torch.randn(2, 3),
        "transposed": base.t(),
        "permuted": torch.randn(2, 3, 4, 5).permute(3, 1, 0, 2),
        "every_other_row": base[::2],
        "column": base[:, 1],
        "rows_from_the_middle": base[2:5],
        "shares_with_transposed": base,
        "window": long[7:31].view(4, 6)[1:, 2:5],
        "strided_by_hand": torch.as_strided(long, (3, 5), (2, 7), 3),
        "scalar": torch.tensor(4.6052),
        "no_elements": torch.zeros(0, 7),
        "one_row": base[3:4].t(),
        "float16": torch.randn(3).half(),
        "bfloat16": torch.randn(3, 2).bfloat16().t(),
        "float64": torch.randn(2).double(),
        "position_ids": torch.arange(10).expand(1, -1),
        "int32": torch.tensor([-1, 2], dtype=torch.int32),
        "int16": torch.tensor([-300], dtype=torch.int16),
        "int8": torch.tensor([-3], dtype=torch.int8),
        "uint8": torch.tensor([200], dtype=torch.uint8),
        "bool": torch.tensor([True, False]),
    }
    torch.save(tensors, OUT / "kinds.pth")
    record(expected, "kinds.pth", tensors)


# What is refused


class Calls:
    """Unpickled by Python, it would call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Items:
    """A dictionary of items that come as they are, twice if need be."""

    def __init__(self, *items):
        self.items = items

    def __reduce__(self):
        return OrderedDict, (), None, None, iter(self.items)


class Storage:
    def __init__(self, key, elements, kind=torch.FloatStorage):
        self.id = ("storage", kind, key, "cpu", elements)


class CheckpointPickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.id if isinstance(value, Storage) else None


def bad():
    weight, bias = torch.randn(1, 4), torch.randn(1)
    for name, harm in {
        "os_system": Calls(os.system, "touch /tmp/deepsweep_was_run"),
        "eval": Calls(builtins.eval, "open('/tmp/deepsweep_was_run', 'w')"),
        "getattr": Calls(builtins.getattr, "text", "upper"),
        "torch_load": Calls(torch.load, "other.pth"),
    }.items():
        torch.save({"weight": weight, "bias": bias, "extra": harm}, OUT / f"bad/{name}.pth")
    torch.save(nn.Linear(4, 1), OUT / "bad/whole_model.pth")
    table = nn.Linear(4, 1).state_dict()
    torch.save(table, OUT / "bad/legacy.pth", _use_new_zipfile_serialization=False)
    (OUT / "bad/plain_pickle.bin").write_bytes(pickle.dumps({"weight": [1.0, 2.0]}, protocol=4))
    torch.jit.save(torch.jit.script(nn.Linear(4, 1)), OUT / "bad/torchscript.pt")
    torch.save(weight, OUT / "bad/one_tensor.pth")
    torch.save({"epoch": 3, "args": {"lr": 1e-3}}, OUT / "bad/no_tensors.pth")
    torch.save({"generator": {"weight": weight}, "critic": {"weight": weight}}, OUT / "bad/two_tables.pth")

    def rebuilt(storage, offset=0, shape=(1, 4), strides=(4, 1)):
        return Calls(torch._utils._rebuild_tensor_v2, storage, offset, shape, strides, False, OrderedDict())

    four = Storage("0", 4)
    tensors = {
        "short_storage": rebuilt(four, shape=(1, 5)),
        "claims_more_than_is_there": rebuilt(Storage("0", 400), shape=(1, 4)),
        "offset_past_the_end": rebuilt(four, offset=1),
        "negative_offset": rebuilt(four, offset=-1),
        "negative_stride": rebuilt(four, strides=(4, -1)),
        "negative_size": rebuilt(four, shape=(-1, 4)),
        "huge_size": rebuilt(four, shape=(2**62, 2**62)),
        "huge_stride": rebuilt(four, shape=(2, 2), strides=(2**62, 2**62)),
        "repeated_by_stride_0": rebuilt(four, shape=(2**30,), strides=(0,)),
        "strides_missing": rebuilt(four, strides=(1,)),
        "many_axes": rebuilt(four, shape=(1,) * 9, strides=(1,) * 9),
        "size_is_text": rebuilt(four, shape=("1", "4")),
        "no_such_storage": rebuilt(Storage("7", 4)),
        "storage_elsewhere": rebuilt(Storage("../../../etc/passwd", 4)),
        "no_storage": rebuilt("0"),
        "call_in_the_shape": rebuilt(four, shape=Calls(builtins.eval, "(1, 4)")),
        "too_few_arguments": Calls(torch._utils._rebuild_tensor_v2, four, 0),
    }
    for name, tensor in tensors.items():
        crafted(name, {"weight": tensor})
    crafted("name_twice", Items(("weight", rebuilt(four)), ("weight", rebuilt(four))))
    crafted("complex", {"weight": rebuilt(Storage("0", 2, torch.ComplexFloatStorage))})
    crafted("big_endian", {"weight": rebuilt(four)}, {"byteorder": b"big"})


def crafted(name, value, more=()):
    """A zip as torch.save writes it around a pickle that it would not write."""
    buffer = io.BytesIO()
    CheckpointPickler(buffer, protocol=2).dump(value)
    with zipfile.ZipFile(OUT / f"bad/{name}.pth", "w") as archive:
        entries = {"data.pkl": buffer.getvalue(), "data/0": row_major_bytes(torch.ones(4)), "version": b"3\n"} | dict(more)
        for entry, body in entries.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{entry}"), body)


# Towers

CONFIG = {
    "projection_dim": 8,
    "vision_config": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 12,
        "patch_size": 4,
        "projection_dim": 8,
        "hidden_act": "quick_gelu",
    },
    "text_config": {
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "vocab_size": 20,
        "max_position_embeddings": 6,
        "projection_dim": 8,
        "hidden_act": "quick_gelu",
        "bos_token_id": 18,
        "eos_token_id": 19,
    },
}


def towers(expected):
    model = CLIPModel(CLIPConfig(**CONFIG)).eval()
    fill(model)
    table = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if not name.endswith("position_ids")}
    record(expected, "tower", table)
    pixels = torch.rand(2, 3, 12, 12) * 4 - 2
    answers = {"pixels": pixels} | answered(model, pixels, "plain")
    folder = OUT / "tower/transformers"
    folder.mkdir()
    model.config.save_pretrained(folder)
    save_file(table, folder / "model.safetensors", metadata={"format": "pt"})

    theirs = open_clip_names(table)
    check_open_clip(theirs, model, pixels)
    torch.save(OrderedDict(theirs), OUT / "tower/open_clip_pytorch_model.bin")
    custom = {f"text.{name}" if not name.startswith(("visual.", "logit")) else name: value for name, value in theirs.items()}
    save_file({name: value.contiguous() for name, value in custom.items()}, OUT / "tower/open_clip_model.safetensors")
    training = {"epoch": 1, "name": "run", "state_dict": {f"module.{name}": value for name, value in theirs.items()}}
    torch.save(training, OUT / "tower/epoch_1.pt")

    # OpenAI stored matrices in half precision, and three numbers beside them.
    half = {name: value.half() if is_matrix(name, value) else value for name, value in theirs.items()}
    settings = {"input_resolution": torch.tensor(12), "context_length": torch.tensor(6), "vocab_size": torch.tensor(20)}
    global location
    location = "cuda:0"
    torch.save(OrderedDict(half | settings), OUT / "tower/openai_state_dict.pt")
    location = None
    rounded = CLIPModel(CLIPConfig(**CONFIG)).eval()
    stored = {name: value.half() if is_matrix(name, value) else value for name, value in table.items()}
    rounded.load_state_dict({name: value.float() for name, value in stored.items()}, strict=False)
    answers |= answered(rounded, pixels, "half")
    record(expected, "tower_half", stored)

    shards(table)
    tuned(table, model, pixels, answers)
    vision = {name: value for name, value in table.items() if name.startswith("vis")}
    head = {"model.linear.weight": torch.randn(2, 16), "model.linear.bias": torch.randn(2)}
    save_file({f"feature_extractor.{name}": value for name, value in vision.items()} | head, OUT / "tower/wrapped.safetensors")
    return answers


def fill(model):
    """Alive at this size: every bias and norm shows."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name == "logit_scale":
                weight.fill_(4.0)
            elif "norm" in name or "layrnorm" in name:
                weight.uniform_(-0.3, 0.3).add_(1.0 if name.endswith("weight") else 0.0)
            elif weight.dim() > 1 and "embedding" not in name:
                weight.normal_(0, 1.3 * weight[0].numel() ** -0.5)
            else:
                weight.normal_(0, 0.4)


def is_matrix(name, value):
    return value.dim() > 1 and "position" not in name and "token_embedding" not in name


def answered(model, pixels, case):
    with torch.no_grad():
        pooled = model.vision_model(pixels).pooler_output
        return {f"{case}.pooled": pooled, f"{case}.projected": model.visual_projection(pooled)}


def open_clip_names(table):
    found = {
        "visual.class_embedding": table["vision_model.embeddings.class_embedding"],
        "visual.conv1.weight": table["vision_model.embeddings.patch_embedding.weight"],
        "visual.positional_embedding": table["vision_model.embeddings.position_embedding.weight"],
        "visual.proj": table["visual_projection.weight"].t().contiguous(),
        "token_embedding.weight": table["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": table["text_model.embeddings.position_embedding.weight"],
        "text_projection": table["text_projection.weight"].t().contiguous(),
        "logit_scale": table["logit_scale"],
    }
    for kind in ("weight", "bias"):
        found[f"visual.ln_pre.{kind}"] = table[f"vision_model.pre_layrnorm.{kind}"]
        found[f"visual.ln_post.{kind}"] = table[f"vision_model.post_layernorm.{kind}"]
        found[f"ln_final.{kind}"] = table[f"text_model.final_layer_norm.{kind}"]
        for ours, theirs, layers in (("vision_model", "visual.", 2), ("text_model", "", 1)):
            for i in range(layers):
                a, b = f"{ours}.encoder.layers.{i}", f"{theirs}transformer.resblocks.{i}"
                parts = [table[f"{a}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
                found[f"{b}.attn.in_proj_{kind}"] = torch.cat(parts)
                found[f"{b}.attn.out_proj.{kind}"] = table[f"{a}.self_attn.out_proj.{kind}"]
                found[f"{b}.ln_1.{kind}"] = table[f"{a}.layer_norm1.{kind}"]
                found[f"{b}.ln_2.{kind}"] = table[f"{a}.layer_norm2.{kind}"]
                found[f"{b}.mlp.c_fc.{kind}"] = table[f"{a}.mlp.fc1.{kind}"]
                found[f"{b}.mlp.c_proj.{kind}"] = table[f"{a}.mlp.fc2.{kind}"]
    return found


class Block(nn.Module):
    """A residual attention block with the module names of OpenAI's CLIP."""

    def __init__(self, width, heads, wide):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(OrderedDict(c_fc=nn.Linear(width, wide), c_proj=nn.Linear(wide, width)))

    def forward(self, x, mask=None):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        y = self.mlp.c_fc(self.ln_2(x))
        return x + self.mlp.c_proj(y * torch.sigmoid(1.702 * y))


def blocks(table, start, layers, *shape):
    made = nn.ModuleList(Block(*shape) for _ in range(layers))
    made.load_state_dict({name.removeprefix(start): value for name, value in table.items() if name.startswith(start)})
    return made


@torch.no_grad()
def check_open_clip(table, model, pixels):
    """The layout answers as transformers does, and a wrong one does not."""

    def image(table):
        x = nn.functional.conv2d(pixels, table["visual.conv1.weight"], stride=4).flatten(2).permute(2, 0, 1)
        x = torch.cat([table["visual.class_embedding"].expand(1, 2, 16), x]) + table["visual.positional_embedding"][:, None]
        x = nn.functional.layer_norm(x, (16,), table["visual.ln_pre.weight"], table["visual.ln_pre.bias"])
        for block in blocks(table, "visual.transformer.resblocks.", 2, 16, 2, 32):
            x = block(x)
        x = nn.functional.layer_norm(x[0], (16,), table["visual.ln_post.weight"], table["visual.ln_post.bias"])
        return unit(x @ table["visual.proj"])

    def text(table, ids):
        x = (table["token_embedding.weight"][ids] + table["positional_embedding"]).transpose(0, 1)
        mask = torch.full((6, 6), float("-inf")).triu(1)
        for block in blocks(table, "transformer.resblocks.", 1, 24, 1, 32):
            x = block(x, mask)
        x = nn.functional.layer_norm(x, (24,), table["ln_final.weight"], table["ln_final.bias"])
        return unit(x.transpose(0, 1)[torch.arange(2), ids.argmax(-1)] @ table["text_projection"])

    ids = torch.tensor([[18, 3, 5, 7, 19, 0], [18, 4, 19, 0, 0, 0]])
    answer = unit(model.visual_projection(model.vision_model(pixels).pooler_output))
    words = unit(model.text_projection(model.text_model(input_ids=ids).pooler_output))
    found = {"image": float((image(table) - answer).abs().max()), "text": float((text(table, ids) - words).abs().max())}
    print("open_clip's layout against transformers:", found)
    if max(found.values()) > TIGHT:
        raise SystemExit("the layout is wrong")
    name = "visual.transformer.resblocks.1.attn.in_proj_weight"
    q, k, v = table[name].chunk(3)
    for fault, value in {"q and k": (k, q, v), "k and v": (q, v, k), "q and v": (v, k, q)}.items():
        effect = float((image(table | {name: torch.cat(value)}) - answer).abs().max())
        print(f"{fault} changed over: {effect:.1e}")
        if effect < VISIBLE:
            raise SystemExit(f"{fault} changed over would hardly show")


def unit(rows):
    return nn.functional.normalize(rows, dim=-1)


def shards(table):
    """The layout of transformers' save_pretrained: two files and an index, in either format."""
    names = sorted(table)
    halves = [names[: len(names) // 2], names[len(names) // 2 :]]
    for kind, stem in (("safetensors", "model"), ("bin", "pytorch_model")):
        folder = OUT / f"tower/sharded_{kind}"
        folder.mkdir()
        shutil.copy(OUT / "tower/transformers/config.json", folder)
        weight_map = {}
        for i, half in enumerate(halves, 1):
            file = f"{stem}-{i:05}-of-00002.{kind}"
            shard = {name: table[name] for name in half}
            save_file(shard, folder / file, metadata={"format": "pt"}) if kind == "safetensors" else torch.save(shard, folder / file)
            weight_map |= dict.fromkeys(half, file)
        index = {"metadata": {"total_size": sum(t.numel() * 4 for t in table.values())}, "weight_map": weight_map}
        (folder / f"{stem}.{kind}.index.json").write_text(json.dumps(index, indent=1) + "\n")


@torch.no_grad()
def tuned(table, model, pixels, answers):
    """Layer norms and a head that were trained, and nothing else, by the names of a wrapper."""
    state = model.state_dict()
    norms = {name: value + 0.1 * torch.randn_like(value) for name, value in state.items() if "vision" in name and "norm" in name}
    head = nn.Linear(16, 2).state_dict()
    changed = CLIPModel(CLIPConfig(**CONFIG)).eval()
    changed.load_state_dict(state | norms)
    partial = {f"backbone.{name}": value for name, value in norms.items()} | {f"head.{name}": value for name, value in head.items()}
    torch.save({"state_dict": partial}, OUT / "tower/tuned.pth")
    answers |= answered(changed, pixels, "tuned")
    answers["tuned.classes"] = answers["tuned.pooled"] @ head["weight"].t() + head["bias"]
    effect = float((unit(answers["tuned.pooled"]) - unit(answers["plain.pooled"])).abs().max())
    if effect < VISIBLE:
        raise SystemExit("the tuned norms would hardly show")
    stranger = partial | {"backbone.vision_model.encoder.layers.7.layer_norm1.weight": torch.ones(16)}
    torch.save(stranger, OUT / "tower/tuned_too_deep.pth")
    torch.save({"backbone.vision_model.post_layernorm.weight": torch.ones(12)}, OUT / "tower/tuned_too_narrow.pth")
    torch.save({"fc.weight": torch.ones(1, 12), "fc.bias": torch.ones(1)} | partial, OUT / "tower/tuned_two_heads.pth")


if __name__ == "__main__":
    main()
