"""The whole job, ours against job.py: cold processes in turns, from videos to scores in Parquet.

In:   the folder of inputs.py; --deepsweep, the program. The frames that it looked at are given to job.py.
Out:  OUT/jobs.txt: seconds by the clock and of processors, the peak of memory, faces; medians and ratios beside their targets;
      how far scores lie apart. Exit code 1 where frames, or faces of a frame, differ.

    python tests/bench/peers/jobs.py --deepsweep target/release/deepsweep --out tests/bench/runs/…
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet
from referee import FEWEST_ROUNDS, ROOT, heading, iou

HERE = Path(__file__).resolve().parent
PYTHON, OURS, FASTEST = "python", "ours", "ours, fastest"
TARGETS = {OURS: 2.2, FASTEST: 3.0}
# Decoders differ by a grey level, which moves a box by up to a tenth of itself: tests/golden/README.md, "Video".
NEAR_IOU = 0.9
FEWEST_JOB_ROUNDS = 5


def main():
    args = arguments()
    begin_load = os.getloadavg()
    ways = {OURS: ""} | ({FASTEST: args.fastest} if args.fastest else {})
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(args, ways, Path(scratch))
        # This first run of each is not counted: it fills the system's cache and tells the frames.
        tables = {way: bench.ours(way)[1] for way in ways}
        bench.write_frames()
        said, tables[PYTHON] = bench.python()[1:]
        contestants = [PYTHON, *ways]
        figures = {name: [] for name in contestants}
        for at in range(args.rounds):
            first = at % len(contestants)
            for name in contestants[first:] + contestants[:first]:
                used = (bench.python() if name == PYTHON else bench.ours(name))[0]
                figures[name].append(used)
                print(f"round {at + 1} {name:14} {used[0]:8.2f} s {used[1]:8.2f} s of cores {used[2]:6.0f} MiB", flush=True)
    troubles, notes = compare(tables)
    text = report(args, begin_load, figures, tables, said, troubles, notes)
    print("\n" + text)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "jobs.txt").write_text(text)
    sys.exit(1 if troubles else 0)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deepsweep", type=Path, required=True)
    parser.add_argument("--inputs", type=Path, default=ROOT / "target/bench/peers")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=FEWEST_ROUNDS)
    parser.add_argument("--frames", type=int, default=32, help="of each video")
    parser.add_argument("--min-face-px", type=int, default=40)
    parser.add_argument("--fastest", default="", metavar="ENDING", help="behind the scorer's name, of a second, faster way of ours: +bf16")
    parser.add_argument("--smoke", action="store_true", help="allow fewer rounds: to see that all works")
    args = parser.parse_args()
    if args.rounds < FEWEST_JOB_ROUNDS and not args.smoke:
        parser.error(f"expected {FEWEST_JOB_ROUNDS} rounds or more, found {args.rounds}")
    return args


class Bench:
    def __init__(self, args, ways, scratch):
        self.args, self.ways, self.scratch = args, ways, scratch
        self.videos = args.inputs / "videos"

    def ours(self, way):
        """What it took, and its faces."""
        out = self.scratch / "ours"
        shutil.rmtree(out, ignore_errors=True)
        used, _ = measure([
            self.args.deepsweep, "run", self.videos, "--out", out, "--scorer", f"{self.args.inputs / 'scorer-b32'}{self.ways[way]}",
            "--frames", self.args.frames, "--min-face-px", self.args.min_face_px, "--threads", self.args.threads,
            "--device", "cpu", "--run-id", "bench", "--quiet",
        ])  # fmt: skip
        if way == OURS:
            self.frames = sorted((row["key"], row["frame_index"]) for row in rows(out / "frames", ["key", "frame_index"]))
        return used, faces(out / "faces")

    def write_frames(self):
        wanted = {}
        for key, index in self.frames:
            wanted.setdefault(key, []).append(index)
        (self.scratch / "frames.json").write_text(json.dumps(wanted))

    def python(self):
        """What it took, what it said of its stages, and its faces."""
        out = self.scratch / "python"
        shutil.rmtree(out, ignore_errors=True)
        used, said = measure([
            sys.executable, HERE / "job.py", self.videos, out, self.args.threads, self.args.inputs / "b32.onnx",
            "--frames", self.scratch / "frames.json", "--head", self.args.inputs / "scorer-b32/head.safetensors",
            "--min-face-px", self.args.min_face_px,
        ])  # fmt: skip
        said = json.loads(said.splitlines()[-1])
        if said["frames"] != len(self.frames):
            raise SystemExit(f"job.py looked at {said['frames']} frames, ours at {len(self.frames)}")
        return used, said, faces(out / "faces.parquet")


def measure(command):
    """(seconds by the clock, seconds of processors, peak of memory in MiB) of a process and those it waited for; its output."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryFile("w+") as said:
        begin = time.monotonic()
        process = subprocess.Popen([*map(str, command)], stdin=subprocess.DEVNULL, stdout=said, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        clock = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{command[0]} ended with code {process.returncode}")
        said.seek(0)
        return (clock, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024), said.read()


def rows(table, columns):
    files = [table] if table.is_file() else sorted(table.rglob("*.parquet"))
    return [row for file in files for row in pyarrow.parquet.ParquetFile(file).read(columns).to_pylist()]


def faces(table):
    """(video, frame) -> its faces."""
    columns = ["key", "frame_index", "box_x0", "box_y0", "box_x1", "box_y1", "confidence", "score"]
    by_frame = {}
    for row in rows(table, columns):
        face = [row[column] for column in columns[2:]]
        by_frame.setdefault((row["key"], row["frame_index"]), []).append(face)
    return by_frame


def compare(tables):
    """Each other way against ours in f32: what differs, and how near scores are."""
    troubles, notes = [], {}
    ours = tables[OURS]
    for name, theirs in tables.items():
        if name == OURS:
            continue
        gap, lowest = 0.0, 1.0
        for frame in sorted(ours.keys() | theirs.keys()):
            mine, other = ours.get(frame, []), theirs.get(frame, [])
            if len(mine) != len(other):
                troubles.append(f"{frame[0]} frame {frame[1]}: {name} {len(other)} faces, ours {len(mine)}")
            for face in other if mine else []:
                best = max(mine, key=lambda one, face=face: iou(one, face))
                lowest = min(lowest, iou(face, best))
                if iou(face, best) >= NEAR_IOU:
                    gap = max(gap, abs(face[5] - best[5]))
        scores = [face[5] for faces in ours.values() for face in faces]
        share = 100 * gap / (max(scores) - min(scores)) if len(scores) > 1 else 0.0
        notes[name] = f"IoU ≥ {lowest:.4f}, score ± {gap:.1e} against ours, {share:.2f} % of what scores span"
    return troubles, notes


def spread(table):
    """Lowest, middle and highest score: a gap between two ways says nothing of scores that are all alike."""
    scores = sorted(face[5] for faces in table.values() for face in faces)
    return f"{scores[0]:.4f} to {scores[-1]:.4f}, median {statistics.median(scores):.4f}" if scores else "none"


def report(args, begin_load, figures, tables, said, troubles, notes):
    medians = {name: [statistics.median(column) for column in zip(*used)] for name, used in figures.items()}
    lines = heading(args, begin_load, args.deepsweep)
    lines += [f"job       {args.frames} frames of each video, smallest face {args.min_face_px} px, CLIP B/32, linear head, Parquet"]
    lines += [f"videos    {', '.join(path.name for path in sorted((args.inputs / 'videos').glob('*.mp4')))}"]
    lines += [f"fastest   --scorer scorer-b32{args.fastest}"] if args.fastest else []
    lines += [f"scores    {spread(tables[OURS])}"]
    lines += [f"python    seconds of its stages in the first run: {said['seconds']}", ""]
    lines += [f"{'who':14} {'clock s':>8} {'cores s':>8} {'peak MiB':>8} {'faces':>6} {'ratio':>7} {'target':>7}         note"]
    for name, (clock, cores, peak) in medians.items():
        count = sum(map(len, tables[name].values()))
        line = f"{name:14} {clock:8.2f} {cores:8.2f} {peak:8.0f} {count:6}"
        if name in TARGETS:
            ratio = medians[PYTHON][0] / clock
            line += f" {ratio:7.2f} {TARGETS[name]:7.2f} {'met' if ratio >= TARGETS[name] else 'missed':7}"
        else:
            line += " " * 24
        lines.append(f"{line} {notes.get(name, '')}".rstrip())
    lines += [""] + ([f"difference: {trouble}" for trouble in troubles] or ["every frame has as many faces"])
    lines += ["", "every figure: seconds by the clock, seconds of processors, peak of memory in MiB, round by round", ""]
    lines += [f"{name:14} " + "  ".join(f"{clock:.2f} {cores:.2f} {peak:.0f}" for clock, cores, peak in used) for name, used in figures.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
