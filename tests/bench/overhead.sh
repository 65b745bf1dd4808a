#!/usr/bin/env bash
# What an object costs that is hardly there: 20,000 local files, half of them a kilobyte of text, half a JPEG of two, without
# a scorer. Several programs are measured in turns, so that a change can be held against what was before it.
#   ./tests/bench/overhead.sh [PROGRAM...]      default: target/release/deepsweep
# ROUNDS=N (default: 5); FILES=N (default: 20000); BENCH_OUT=FOLDER keeps files elsewhere than in target/bench/overhead.
# Text alone, which no thread computes on: KIND=text. The first round of each fills the system's cache and is not counted.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/bench/measure.sh

rounds=${ROUNDS:-5}
files=${FILES:-20000}
kind=${KIND:-mixed}
programs=("$@")
[ ${#programs[@]} -gt 0 ] || programs=(target/release/deepsweep)
out=$(realpath -m "${BENCH_OUT:-target/bench/overhead}")/$kind-$files

if [ ! -e "$out/made" ]; then
  rm -rf "$out"
  mkdir -p "$out/files"
  python3 - "$out/files" "$files" "$kind" tests/media/formats/jpeg_420.jpg <<'PYTHON'
import pathlib, random, sys
folder, count, kind, picture = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], pathlib.Path(sys.argv[4]).read_bytes()
random.seed(2026)
for at in range(count):
    below = folder / f"{at // 1000:03}"
    below.mkdir(exist_ok=True)
    if at % 2 and kind == "mixed":
        (below / f"{at:06}.jpg").write_bytes(picture)
    else:
        (below / f"{at:06}.txt").write_text("".join(random.choices("abcdefgh \n", k=1000)))
PYTHON
  touch "$out/made"
fi

# Prints seconds by the clock, seconds of processors, and the peak of memory in MiB.
measure_run() {
  local dest
  dest=$(mktemp -d "$out/dest.XXXXXX")
  measure "$1" run "$out/files" --scorer none --out "$dest" --run-id again --quiet
  rm -r "$dest"
}

echo "date      $(date -u +%F)"
echo "commit    $(git describe --always --dirty 2>/dev/null || echo unknown)"
echo "machine   $(grep -m1 'model name' /proc/cpuinfo 2>/dev/null | cut -d: -f2- | xargs), $(getconf _NPROCESSORS_ONLN) cores"
echo "run       $files files, $kind"
for program in "${programs[@]}"; do measure_run "$program" >/dev/null; done

: >"$out/figures"
printf '\n%-6s %-40s %9s %9s %9s %6s\n' round program "clock s" "cores s" "peak MiB" load
for round in $(seq "$rounds"); do
  for program in "${programs[@]}"; do
    figures=$(measure_run "$program")
    echo "$program $figures" >>"$out/figures"
    # shellcheck disable=SC2086 # three words
    printf '%-6s %-40s %9s %9s %9s %6s\n' "$round" "$program" $figures "$(cut -d' ' -f1 /proc/loadavg)"
  done
done

echo
for program in "${programs[@]}"; do
  of() { awk -v name="$program" -v column="$1" '$1 == name { print $column }' "$out/figures" | median; }
  awk -v name="$program" -v clock="$(of 2)" -v cores="$(of 3)" -v peak="$(of 4)" -v n="$files" \
    'BEGIN { printf "median %s: %.2f s, %.2f s of cores, %.0f objects/s, peak %.0f MiB\n", name, clock, cores, n / clock, peak }'
done
