#!/usr/bin/env bash
# What objects take, against what a plan expects of them (src/plan/expected.rs): seconds of processors, those of ffmpeg
# included, of pictures and videos of several sizes. Whoever else is on the machine hardly changes them.
#   ./tests/bench/expected.sh [ROUNDS]      ROUNDS: 1 (default); the least of them counts
# SCORER=NAME (default: none; others add their faces); BENCH_OUT=FOLDER keeps media elsewhere than in target/bench/expected;
# MEDIA=FOLDER adds pictures and videos of your own; DEEPSWEEP=PATH uses a program that is built already (default:
# target/release/deepsweep). Needs ffmpeg.
set -euo pipefail
cd "$(dirname "$0")/../.."
source jobs/setup.sh

rounds=${1:-1}
scorer=${SCORER:-none}
deepsweep=${DEEPSWEEP:-target/release/deepsweep}
out=$(realpath -m "${BENCH_OUT:-target/bench/expected}")
[ -x "$deepsweep" ] || { echo "expected.sh: no program at $deepsweep: cargo build --release, or DEEPSWEEP=PATH" >&2; exit 2; }
need_ffmpeg
mkdir -p "$out/media"

if [ ! -e "$out/made" ]; then
  make() { ffmpeg -nostdin -v error -y "$@"; }
  cp tests/media/good/*.jpg tests/media/good/*.mp4 "$out/media"
  # Pictures of a megapixel, of a telephone and of a camera, with the grain that makes them as large as theirs.
  for side in 1000 4000 6000; do
    make -i tests/media/good/group.jpg -vf "scale=$side:-2:flags=lanczos,noise=alls=20" -q:v 3 "$out/media/group_$side.jpg"
  done
  # Five seconds, a minute and ten of a person in 1080p, at the bit rate of the web.
  make -loop 1 -framerate 25 -i tests/media/good/group.jpg -t 60 -c:v libx264 -preset ultrafast -b:v 4M -g 125 \
    -vf "scale=1920:1080:flags=lanczos,noise=alls=6:allf=t,format=yuv420p" "$out/media/group_60s.mp4"
  make -i "$out/media/group_60s.mp4" -t 5 -c copy "$out/media/group_5s.mp4"
  make -stream_loop 9 -i "$out/media/group_60s.mp4" -c copy "$out/media/group_600s.mp4"
  touch "$out/made"
fi
[ -z "${MEDIA:-}" ] || cp "$MEDIA"/*.jpg "$MEDIA"/*.mp4 "$out/media"

echo "date      $(date -u +%F)"
echo "commit    $(git describe --always --dirty 2>/dev/null || echo unknown)"
echo "machine   $(grep -m1 'model name' /proc/cpuinfo 2>/dev/null | cut -d: -f2- | xargs), $(getconf _NPROCESSORS_ONLN) cores, load $(cut -d' ' -f1 /proc/loadavg)"
echo "scorer    $scorer"
python3 - "$out" "$rounds" "$scorer" "$deepsweep" <<'PYTHON'
import json, os, pathlib, resource, shutil, subprocess, sys

out, rounds, scorer, deepsweep = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
folder, dest = out / "copies", out / "results"


def cores():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(make):
    """Seconds of processors, and the finished run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    make()
    least = float("inf")
    for _ in range(rounds):
        shutil.rmtree(dest, ignore_errors=True)
        before = cores()
        flags = ["--scorer", scorer, "--out", dest, "--run-id", "measured", "--quiet"]
        subprocess.run([deepsweep, "run", folder, *flags], check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        least = min(least, cores() - before)
    run = dest / "_runs/measured"
    return least, json.loads((run / "plan.json").read_text()), json.loads((run / "SUCCESS.json").read_text())


# Starting, and nothing to look at.
start, _, _ = measured(lambda: (folder / "a").write_text("text"))
print(f"start     {start:.2f} s\n")
line = "{:20} {:>8} {:>7} {:>6} {:>9} {:>9} {:>7}"
print(line.format("media", "MB", "frames", "faces", "cores s", "expected", "ratio"))
for path in sorted((out / "media").iterdir(), key=lambda path: (path.suffix, path.stat().st_size)):
    copies = 1 if path.suffix == ".mp4" else 20
    took, plan, run = measured(lambda: [os.link(path, folder / f"{at}{path.suffix}") for at in range(copies)])
    took, expected = (took - start) / copies, plan["core_seconds"] / copies
    print(line.format(path.name, f"{path.stat().st_size / 1e6:.3f}", run["tally"]["frames"] // copies, run["tally"]["faces"] // copies,
        f"{took:.3f}", f"{expected:.3f}", f"{expected / took:.2f}"), flush=True)
PYTHON
