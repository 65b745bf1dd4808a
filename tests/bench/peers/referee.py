"""Ours and the peers in turns, task by task, on the same inputs.

In:   the folder of inputs.py; --ours, a program that speaks as protocol.py says; the peers beside this file.
Out:  OUT/peers.txt: what ran where, medians and ratios beside their targets, whether answers agree, then every figure.
      Exit code 1 where answers disagree; a missed target is only said.
Never: runs two at once. Processes live through the whole run and sleep while others have their turn.

    python tests/bench/peers/referee.py --ours PROGRAM --out tests/bench/runs/…
"""

import argparse
import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]

FACENET, TENSORFLOW, ORT, TORCH, CANDLE = "facenet-pytorch", "mtcnn-tensorflow", "onnxruntime", "torch", "candle-transformers"
OURS = "ours"
# task -> peer -> how many times as long as ours its median should be.
TASKS = {
    "mtcnn 1280x720 20": {FACENET: 10.0},
    "mtcnn 1280x720 40": {FACENET: 10.0},
    "mtcnn 1920x1080 20": {FACENET: 8.0},
    "mtcnn 1920x1080 40": {FACENET: 8.0},
    "mtcnn 1200x630 20": {TENSORFLOW: 14.0},
    "pnet": {ORT: 2.5},
    "rnet": {ORT: 2.5},
    "onet": {ORT: 2.5},
} | {f"clip {tower} {batch}": {ORT: 1.0, TORCH: 1.25, CANDLE: 2.2} for tower in ("b32", "l14") for batch in (1, 8, 32)}
# Packages that decide how fast a peer is.
PACKAGES = ("facenet-pytorch", "torch", "torchvision", "transformers", "onnxruntime", "mtcnn", "tensorflow-cpu", "numpy")

UNCOUNTED_RUNS = 2
FEWEST_ROUNDS = 7
# A turn is so long, or one run: a batch job keeps processors at work, and a core that slept wakes up milliseconds late, which
# is the more to whoever is faster. The first run of a turn wakes them and is not counted, unless it fills the turn.
TURN_MS = 250.0
# Longer than a pool goes on spinning after its last work.
PAUSE_SECS = 0.03
# Instruction sets that the programs choose their kernels by.
FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")

NEAR_IOU, NEAR_CONFIDENCE = 0.95, 0.01
NEAR_CELLS, NEAR_SUM = 1, 1e-3
NEAR_PROBABILITY = 1e-3
NEAR_EMBEDDING = 2e-4


def main():
    args = arguments()
    tasks = [task for task in TASKS if not args.tasks or any(part in task for part in args.tasks)]
    if not tasks:
        raise SystemExit(f"no task has any of {args.tasks} in its name; there are: {', '.join(TASKS)}")
    begin_load = os.getloadavg()
    programs = Programs(args)
    results, troubles = [], []
    for task in tasks:
        contestants = [(OURS, task)] + [(peer, task) for peer in TASKS[task] if peer not in args.without]
        if task.startswith("clip "):
            contestants += [(f"{OURS} {variant}", f"{task} {variant}") for variant in args.also_ours]
        answers, figures = play(programs, contestants, rounds_of(task, args))
        found, notes = compare(task, answers)
        troubles += found
        results.append((task, figures, notes))
        for line in rows(task, figures, notes):
            print(line, flush=True)
    programs.close()
    text = report(args, begin_load, results, troubles)
    args.out.mkdir(parents=True, exist_ok=True)
    target = args.out / args.name
    making = target.with_name(f"making-{target.name}")
    making.write_text(text)
    making.rename(target)
    print(f"\nwritten to {target}")
    for trouble in troubles:
        print(f"disagreement: {trouble}", file=sys.stderr)
    sys.exit(1 if troubles else 0)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True, type=Path, help="a program called with INPUTS THREADS")
    parser.add_argument("--inputs", type=Path, default=ROOT / "target/bench/peers", help="what inputs.py made")
    parser.add_argument("--candle", type=Path, default=ROOT / "target/peers-candle/release/candle-peer")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report")
    parser.add_argument("--name", default="peers.txt", help="name of the report, where a run is split")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=FEWEST_ROUNDS)
    parser.add_argument("--rounds-of", action="append", default=[], metavar="PART=N", help="other rounds where a task has PART in its name")
    parser.add_argument("--tasks", nargs="*", default=[], metavar="PART", help="only tasks with one of these in their names")
    parser.add_argument("--without", nargs="*", default=[], metavar="PEER", help="peers to leave out")
    parser.add_argument("--also-ours", nargs="*", default=[], metavar="WORDS", help="further ways of ours for CLIP, such as bf16")
    parser.add_argument("--smoke", action="store_true", help="allow fewer rounds: to see that all works")
    args = parser.parse_args()
    fewest = min([args.rounds, *(rounds for _, rounds in map(parse_rounds, args.rounds_of))])
    if fewest < FEWEST_ROUNDS and not args.smoke:
        parser.error(f"expected {FEWEST_ROUNDS} rounds or more, found {fewest}")
    return args


def parse_rounds(words):
    part, _, rounds = words.rpartition("=")
    return part, int(rounds)


def rounds_of(task, args):
    fitting = [rounds for part, rounds in map(parse_rounds, args.rounds_of) if part in task]
    return fitting[-1] if fitting else args.rounds


# The contestants


class Programs:
    """One process for each, started when it is first asked."""

    def __init__(self, args):
        self.args = args
        python = sys.executable
        self.commands = {
            OURS: [args.ours],
            FACENET: [python, HERE / "facenet.py"],
            TENSORFLOW: [python, HERE / "tensorflow_mtcnn.py"],
            ORT: [python, HERE / "onnxruntime_peer.py"],
            TORCH: [python, HERE / "torch_clip.py"],
            CANDLE: [args.candle],
        }
        self.running = {}

    def ask(self, name, task):
        name = name.split()[0]  # ways of ours share its process
        if name not in self.running:
            environment = os.environ | {"RAYON_NUM_THREADS": str(self.args.threads), "CUDA_VISIBLE_DEVICES": ""}
            self.running[name] = subprocess.Popen(
                [*map(str, self.commands[name]), str(self.args.inputs), str(self.args.threads)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment,
            )  # fmt: skip
        process = self.running[name]
        print(task, file=process.stdin, flush=True)
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{name} ended at {task!r} with code {process.wait()}")
        answer = json.loads(line)
        return answer["ms"], answer["out"]

    def close(self):
        for process in self.running.values():
            process.stdin.close()
            process.wait()


def play(programs, contestants, rounds):
    """The last answer and all milliseconds of each. Who begins changes from round to round."""
    answers, figures = {}, {name: [] for name, _ in contestants}
    for name, task in contestants:
        for _ in range(UNCOUNTED_RUNS):
            programs.ask(name, task)
    for at in range(rounds):
        first = at % len(contestants)
        for name, task in contestants[first:] + contestants[:first]:
            time.sleep(PAUSE_SECS)
            ms, answers[name] = turn(programs, name, task)
            figures[name].append(ms)
    return answers, figures


def turn(programs, name, task):
    """Milliseconds of a run, the mean of those of a turn, and the last answer."""
    ms, answer = programs.ask(name, task)
    if ms >= TURN_MS:
        return ms, answer
    counted = []
    while sum(counted) < TURN_MS:
        ms, answer = programs.ask(name, task)
        counted.append(ms)
    return statistics.mean(counted), answer


# Do they say the same?


def compare(task, answers):
    """What disagrees, and a note for each peer on how near it is to ours."""
    troubles, notes = [], {}
    kind = task.split()[0]
    for name, answer in answers.items():
        if name == OURS:
            continue
        note, near = NEARNESS[kind](answers[OURS], answer)
        notes[name] = note
        # The package on TensorFlow has other rules, and a way of ours in lower precision has to be looked at: only told.
        if not near and name != TENSORFLOW and not name.startswith(OURS):
            troubles.append(f"{task}: {name}: {note}")
    return troubles, notes


def faces(ours, theirs):
    note = f"{len(theirs)} faces, ours {len(ours)}"
    if not ours or not theirs:
        return note, len(ours) == len(theirs)
    left, lowest, gap = list(ours), 1.0, 0.0
    for face in theirs:
        best = max(left or ours, key=lambda other: iou(face, other))
        if best in left:
            left.remove(best)
        lowest, gap = min(lowest, iou(face, best)), max(gap, abs(face[4] - best[4]))
    near = len(ours) == len(theirs) and lowest >= NEAR_IOU and gap <= NEAR_CONFIDENCE
    return f"{note}, IoU ≥ {lowest:.4f}, confidence ± {gap:.1e}", near


def iou(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (both - shared)


def cells(ours, theirs):
    note = f"{theirs[0]} cells, ours {ours[0]}, sums {theirs[1]:.3f} and {ours[1]:.3f}"
    return note, abs(ours[0] - theirs[0]) <= NEAR_CELLS and abs(ours[1] - theirs[1]) <= NEAR_SUM * abs(theirs[1])


def numbers(near):
    def compare_numbers(ours, theirs):
        if len(ours) != len(theirs):
            return f"{len(theirs)} numbers, ours {len(ours)}", False
        gap = max(abs(a - b) for a, b in zip(ours, theirs))
        return f"± {gap:.1e}", gap <= near  # false for NaN

    return compare_numbers


NEARNESS = {
    "mtcnn": faces,
    "pnet": cells,
    "rnet": numbers(NEAR_PROBABILITY),
    "onet": numbers(NEAR_PROBABILITY),
    "clip": numbers(NEAR_EMBEDDING),
}


# The report


def rows(task, figures, notes):
    ours = statistics.median(figures[OURS])
    for name, all_ms in figures.items():
        median = statistics.median(all_ms)
        line = f"{task:20} {name:20} {median:10.1f}"
        if name != OURS:
            line += f" {median / ours:8.2f}"
            target = TASKS[task].get(name)
            line += f" {target:8.2f} {'met' if median / ours >= target else 'missed':8}" if target else " " * 18
            line += f" {notes.get(name, '')}"
        yield line.rstrip()


def report(args, begin_load, results, troubles):
    lines = heading(args, begin_load, args.ours)
    lines += ["", "median milliseconds; ratio: the peer's median over ours; the note: its answer against ours", ""]
    lines += [f"{'task':20} {'who':20} {'median ms':>10} {'ratio':>8} {'target':>8} {'':8} note"]
    for result in results:
        lines += [*rows(*result)]
    lines += [""] + ([f"disagreement: {trouble}" for trouble in troubles] or ["all answers agree"])
    lines += ["", f"every figure, in milliseconds of a run, the mean of a turn of {TURN_MS:.0f} ms or more, round by round", ""]
    lines += [
        f"{task:20} {name:20} {' '.join(f'{ms:.2f}' for ms in all_ms)}"
        for task, figures, _ in results
        for name, all_ms in figures.items()
    ]
    return "\n".join(lines) + "\n"


def heading(args, begin_load, program):
    """What ran, on what, and how busy it was beside."""
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    cpu = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", cpu)
    flags = re.search(r"flags\s*: (.*)", cpu)
    has = [flag for flag in FLAGS if flags and flag in flags[1].split()]
    load = lambda three: " ".join(f"{one:.2f}" for one in three)  # noqa: E731
    lock = (HERE / "candle/Cargo.lock").read_text()
    candle = re.search(r'name = "candle-transformers"\nversion = "(.*)"', lock)
    return [
        f"date      {datetime.datetime.now(datetime.UTC):%F}",
        f"commit    {commit.stdout.strip() or 'unknown'}",
        f"machine   {model[1] if model else 'unknown'}, {len(os.sched_getaffinity(0))} cores, {' '.join(has)}",
        # The commit is that of this checkout; which program was measured only its bytes tell.
        f"ours      {program.name}, sha256 {hashlib.sha256(program.read_bytes()).hexdigest()[:16]}",
        *(["smoke     too few rounds: these figures prove nothing"] if args.smoke else []),
        f"threads   {args.threads}",
        f"load      {load(begin_load)} at the start, {load(os.getloadavg())} at the end",
        f"peers     Python {platform.python_version()}, "
        + ", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES)
        + f", candle-transformers {candle[1] if candle else 'unknown'}",
    ]


if __name__ == "__main__":
    main()
