#!/usr/bin/env bash
# What learning from labels costs: fit, calibrate and evaluate over a million stored embeddings of 768 numbers, each as a
# whole command. Prints seconds by the clock, seconds of processors and the peak of memory.
#   ./tests/bench/learn.sh [ROUNDS]      ROUNDS: 3 (default)
# The embeddings are those of rescore.sh, which makes them; EMBEDDINGS, BENCH_OUT and DEEPSWEEP mean what they mean there.
# Labels are the head's own scores with noise, so that there is something to learn and nothing is told apart wholly.
set -euo pipefail
cd "$(dirname "$0")/../.."
source jobs/setup.sh

rounds=${1:-3}
embeddings=${EMBEDDINGS:-1000000}
deepsweep=${DEEPSWEEP:-target/release/deepsweep}
made=$(realpath -m "${BENCH_OUT:-target/bench/rescore}")/videos-$embeddings
[ -s "$made/results/_runs/made/SUCCESS.json" ] || { echo "learn.sh: no embeddings at $made: ./tests/bench/rescore.sh makes them" >&2; exit 2; }
need_venv target/venv-demo jobs/requirements.txt

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$deepsweep" rescore "$made/results/_runs/made" --scorer "$made/pooled" --out "$work/out" --run-id scored --quiet
target/venv-demo/bin/python - "$work" <<'PYTHON'
import sys, duckdb
work = sys.argv[1]
duckdb.sql("select setseed(0.5)")
duckdb.sql(f"""create table media as select key, score_mean + 0.02 * random() AS noisy
               from read_parquet('{work}/out/media/**/*.parquet') where score_mean is not null order by key""")
duckdb.sql(f"""copy (select key, if(noisy > (select median(noisy) from media), 'fake', 'real') as label from media)
               to '{work}/labels.csv' (header)""")
PYTHON

measure() {
  python3 - "$@" <<'PYTHON'
import resource, subprocess, sys, time
begin = time.monotonic()
code = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{time.monotonic() - begin:10.1f} {used.ru_utime + used.ru_stime:10.1f} {used.ru_maxrss / 1024:10.0f}")
sys.exit(code)
PYTHON
}

echo "date      $(date -u +%F)"
echo "commit    $(git describe --always --dirty 2>/dev/null || echo unknown)"
echo "machine   $(grep -m1 'model name' /proc/cpuinfo 2>/dev/null | cut -d: -f2- | xargs), $(getconf _NPROCESSORS_ONLN) cores"
echo "data      $embeddings embeddings, $(($(wc -l <"$work/labels.csv") - 1)) labelled media"
printf '\n%-6s %-10s %10s %10s %10s\n' round command "clock s" "cores s" "peak MiB"
for round in $(seq "$rounds"); do
  rm -rf "$work/probe" "$work/calibrated"
  run=$made/results/_runs/made
  printf '%-6s %-10s %s\n' "$round" calibrate \
    "$(measure "$deepsweep" calibrate "$run" --labels "$work/labels.csv" --scorer "$made/pooled" --out "$work/calibrated" --quiet)"
  printf '%-6s %-10s %s\n' "$round" evaluate \
    "$(measure "$deepsweep" evaluate "$work/out/_runs/scored" --labels "$work/labels.csv" --quiet)"
  printf '%-6s %-10s %s\n' "$round" fit \
    "$(measure "$deepsweep" fit "$run" --labels "$work/labels.csv" --base "$made/pooled" --out "$work/probe" --quiet)"
done
