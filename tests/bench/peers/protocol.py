"""What every peer says and hears: tasks as lines, one run each, one line of JSON back.

In:   `PEER INPUTS THREADS`; on standard input lines such as `mtcnn 1280x720 20`, `pnet`, `rnet`, `onet`, `clip b32 8`.
Out:  {"ms": …, "out": …} for each, at once.
Never: measures what can be loaded beforehand: that happens on the first line that needs it.
"""

import json
import os
import sys
import time
from pathlib import Path

INPUTS = Path(sys.argv[1]) if len(sys.argv) > 1 else None
THREADS = int(sys.argv[2]) if len(sys.argv) > 2 else 1

# Libraries that look at the environment do so when they are imported, which is after this file.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(THREADS)
# Whether OpenMP's threads still spin when the next peer's turn comes has not been measured; nothing is set for it.


def serve(prepare):
    """`prepare(words)` gives what runs the task and a function from its result to `out`; it is asked once a task."""
    prepared = {}
    # What libraries print must not stand among the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        task = line.strip()
        if task not in prepared:
            prepared[task] = prepare(task.split())
        run, told = prepared[task]
        begin = time.perf_counter()
        result = run()
        ms = (time.perf_counter() - begin) * 1e3
        print(json.dumps({"ms": ms, "out": told(result)}), file=answers, flush=True)


def unknown(words):
    raise SystemExit(f"unknown task {' '.join(words)!r}")


def picture(size):
    """RGB [h, w, 3] of u8."""
    import numpy as np
    from PIL import Image

    return np.array(Image.open(INPUTS / f"{size}.png").convert("RGB"))


def told_cells(levels):
    """Face probabilities of P-Net's levels, numpy -> how many reach its threshold, and their sum."""
    reached = [level[level >= 0.6] for level in levels]
    return [sum(len(level) for level in reached), float(sum(level.astype("f8").sum() for level in reached))]


def told_embedding(rows):
    """[b, proj], numpy -> the first at unit length."""
    first = rows[0].astype("f8")
    return (first / (first @ first) ** 0.5).tolist()
