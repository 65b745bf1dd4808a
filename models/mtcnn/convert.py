"""Turn the MTCNN weights of facenet-pytorch 2.6.0 into safetensors.

In:   the PyPI wheel of facenet-pytorch 2.6.0, given as a path or fetched by pip.
Out:  pnet.safetensors, rnet.safetensors, onet.safetensors beside this script (or under --out), f32, the keys as
      in facenet-pytorch's state dicts. The same wheel gives the same bytes.
Never: imports the wheel's code, or unpickles anything but the handful of names a state dict needs.

    python models/mtcnn/convert.py [--wheel PATH] [--out DIR] [--check]
"""

import argparse
import hashlib
import io
import pickle
import subprocess
import sys
import tempfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
from safetensors.numpy import save

REQUIREMENT = "facenet-pytorch==2.6.0"
WHEEL_SHA256 = "ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca"
NETWORKS = ("pnet", "rnet", "onet")

# What torch.save wrote before its zip format: these two numbers open the file.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001


def main():
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="the wheel, if it is here already; otherwise pip fetches it")
    parser.add_argument("--out", type=Path, default=here, help="folder to write to (default: beside this script)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the files there differ")
    flags = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        wheel = (flags.wheel or fetch_wheel(scratch)).read_bytes()
    expect_sha256(REQUIREMENT, wheel)

    differing = []
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        for network in NETWORKS:
            converted = convert(archive.read(f"facenet_pytorch/data/{network}.pt"))
            target = flags.out / f"{network}.safetensors"
            if flags.check:
                same = target.is_file() and target.read_bytes() == converted
                differing += [] if same else [target.name]
            else:
                target.write_bytes(converted)
            print(f"{hashlib.sha256(converted).hexdigest()}  {target.name}  {len(converted)} bytes")
    if differing:
        sys.exit(f"not what the wheel gives: {', '.join(differing)}")


def fetch_wheel(folder):
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, REQUIREMENT],
        check=True,
    )
    (wheel,) = Path(folder).glob("*.whl")
    return wheel


def expect_sha256(name, data):
    found = hashlib.sha256(data).hexdigest()
    if found != WHEEL_SHA256:
        sys.exit(f"{name}: expected sha256 {WHEEL_SHA256}, found {found}")


def convert(checkpoint):
    """A legacy checkpoint's bytes -> a safetensors file's bytes, tensors laid out row-major."""
    tensors = read_legacy_state_dict(checkpoint)
    return save({name: np.ascontiguousarray(tensor) for name, tensor in sorted(tensors.items())})


def read_legacy_state_dict(checkpoint):
    """Name -> f32 array, from the format that torch.save wrote up to 1.5.

    The file is five pickles (magic, protocol, system, tensors, storage keys), then each storage as an
    int64 count and that many little-endian floats. Tensors are strided views into storages, and here some are
    not contiguous, so the strides have to be followed.
    """
    stream = io.BytesIO(checkpoint)
    storages = {}

    magic, protocol, system = (Restricted(stream).load() for _ in range(3))
    if (magic, protocol, system["little_endian"]) != (LEGACY_MAGIC, LEGACY_PROTOCOL, True):
        sys.exit(f"not a legacy little-endian checkpoint: magic {magic:x}, protocol {protocol}")
    state = StateDict(stream, storages).load()
    for key in Restricted(stream).load():
        (count,) = np.frombuffer(stream.read(8), "<i8")
        if count != storages[key].size:
            sys.exit(f"storage {key}: expected {storages[key].size} values, found {count}")
        storages[key][:] = np.frombuffer(stream.read(4 * int(count)), "<f4")
    if stream.read(1):
        sys.exit("bytes after the last storage")
    return state


class Restricted(pickle.Unpickler):
    """Plain data only: no name is resolved."""

    def find_class(self, module, name):
        raise pickle.UnpicklingError(f"not allowed here: {module}.{name}")


class StateDict(pickle.Unpickler):
    """A state dict of float tensors: three names are resolved, none of them to foreign code."""

    def __init__(self, stream, storages):
        super().__init__(stream)
        self.storages = storages

    def find_class(self, module, name):
        allowed = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): strided_view,
            ("torch", "FloatStorage"): "f32",
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"not allowed here: {module}.{name}")
        return allowed[module, name]

    def persistent_load(self, reference):
        kind, dtype, key, _device, count, view = reference
        if (kind, dtype, view) != ("storage", "f32", None):
            raise pickle.UnpicklingError(f"not a plain float storage: {reference}")
        # Filled in once the stream reaches the values, after the tensors that look into it.
        return self.storages.setdefault(key, np.empty(count, np.float32))


def strided_view(storage, offset, shape, stride, _requires_grad, _hooks):
    last = offset + sum((extent - 1) * step for extent, step in zip(shape, stride))
    if min((offset, *stride)) < 0 or last >= storage.size:
        raise pickle.UnpicklingError(f"tensor {shape} with strides {stride} leaves its storage of {storage.size}")
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, strides)


if __name__ == "__main__":
    main()
