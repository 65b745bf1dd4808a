#!/usr/bin/env bash
# What a run costs with a tower of full size, CLIP B/32 of random weights, fp32: from the start of the program to rows that are
# written, the peak of memory on videos of 1080p, and seconds for photographs on each number of cores and threads.
#   ./tests/bench/costs.sh [ROUNDS]      ROUNDS: at least 5 (default: 7)
# DEEPSWEEP=PATH (default: target/release/deepsweep); PICTURES=N photographs (default: 200); SCORER_ENDING=+bf16 for the tower in
# bfloat16. Scorer and videos are those of tests/bench/peers.sh, in BENCH_OUT=FOLDER (default: target/bench/peers).
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/bench/measure.sh

rounds=${1:-7}
pictures=${PICTURES:-200}
program=${DEEPSWEEP:-target/release/deepsweep}
inputs=${BENCH_OUT:-target/bench/peers}
scorer=$inputs/scorer-b32
[ "$rounds" -ge 5 ] || { echo "costs.sh: expected 5 rounds or more, found $rounds" >&2; exit 2; }
[ -x "$program" ] || { echo "costs.sh: no program at $program: cargo build --release, or DEEPSWEEP=PATH" >&2; exit 2; }
[ -d "$scorer" ] || { echo "costs.sh: no scorer at $scorer: tests/bench/peers.sh makes it" >&2; exit 2; }
scorer+=${SCORER_ENDING:-}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# A picture of 1280 x 720 with nine faces, and one of 640 x 480 without any, in turn.
mkdir "$scratch/one" "$scratch/pictures" "$scratch/videos"
cp tests/media/good/portrait_small.jpg "$scratch/one"
for at in $(seq "$pictures"); do
  source=$([ $((at % 2)) = 0 ] && echo group || echo no_face)
  cp "tests/media/good/$source.jpg" "$scratch/pictures/$at.jpg"
done
cp "$inputs"/videos/*1080p.mp4 "$scratch/videos"

# What of `run` beside a folder: seconds by the clock, seconds of processors, and the peak of memory in MiB.
measure_run() {
  local folder=$1
  shift
  rm -rf "$scratch/dest"
  measure "$@" "$program" run "$scratch/$folder" --out "$scratch/dest" --scorer "$scorer" --device cpu --quiet "${flags[@]}"
}

# Three medians of a kind of run, and every figure behind them.
report() {
  local name=$1 figures=$scratch/figures
  shift
  : >"$figures"
  measure_run "$@" >/dev/null
  for _ in $(seq "$rounds"); do measure_run "$@" >>"$figures"; done
  printf '%-34s' "$name"
  for column in 1 2 3; do printf ' %9s' "$(cut -d' ' -f"$column" "$figures" | median)"; done
  printf '   %s\n' "$(tr '\n' ';' <"$figures")"
}

echo "date      $(date -u +%F)"
echo "commit    $(git describe --always --dirty 2>/dev/null || echo unknown)"
echo "machine   $(grep -m1 'model name' /proc/cpuinfo 2>/dev/null | cut -d: -f2- | xargs), $(getconf _NPROCESSORS_ONLN) cores"
echo "program   $(stat -c %s "$program") bytes; $(strip -o "$scratch/stripped" "$program" && stat -c %s "$scratch/stripped") without symbols"
echo "scorer    scorer-b32${SCORER_ENDING:-}"
echo "rounds    $rounds, after one that is not counted"
echo
printf '%-34s %9s %9s %9s   %s\n' run "clock s" "cores s" "peak MiB" "every figure"
flags=(--threads 2)
report "a portrait, start to end" one
flags=(--threads 2 --frames 32 --min-face-px 40)
report "videos of 1080p, 32 frames" videos
cores=$(getconf _NPROCESSORS_ONLN)
for used in $(seq "$cores"); do
  for threads in "$used" $((2 * used)); do
    flags=(--threads "$threads")
    report "$pictures pictures, $used cores, $threads threads" pictures taskset -c "0-$((used - 1))"
  done
done
