"""ONNX Runtime on the CPU: the three networks of MTCNN and CLIP's towers, f32, all graph optimisations.

In, out: as protocol.py says.
"""

import os

from protocol import INPUTS, THREADS, serve, told_cells, told_embedding, unknown

import onnxruntime  # isort: skip
from safetensors.numpy import load_file

# Threads of a run spin for each other's work, which is its default and the faster way. PEERS_ORT_SPIN=0 is without.
SPIN = os.environ.get("PEERS_ORT_SPIN", "1")


def session(name):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", SPIN)
    # Once a run has ended they sleep, so that the peer whose turn is next has the processor to itself.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(INPUTS / f"{name}.onnx", options, providers=["CPUExecutionProvider"])


SESSIONS = {}


def prepare(words):
    match words:
        case ["pnet"]:
            net, levels = session("pnet"), load_file(INPUTS / "pyramid.safetensors")
            levels = [levels[f"level{at}"] for at in range(len(levels))]
            run = lambda: [net.run(["prob"], {"input": level})[0] for level in levels]  # noqa: E731
            return run, lambda out: told_cells([level[:, 1] for level in out])
        case ["rnet" | "onet" as name]:
            net, crops = session(name), load_file(INPUTS / "crops.safetensors")[name]
            return lambda: net.run(["prob"], {"input": crops})[0], lambda out: out[:, 1].tolist()
        case ["clip", name, batch]:
            if name not in SESSIONS:
                SESSIONS[name] = session(name)
            net, pixels = SESSIONS[name], load_file(INPUTS / "clip.safetensors")["pixels"][: int(batch)].copy()
            return lambda: net.run(["image_embeds"], {"input": pixels})[0], told_embedding
        case _:
            unknown(words)


if __name__ == "__main__":
    serve(prepare)
