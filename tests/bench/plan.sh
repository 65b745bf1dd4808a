#!/usr/bin/env bash
# What planning costs: ten million objects out of an inventory of S3, as CSV and as Parquet, and out of a list of keys;
# the same with five million of them finished by earlier runs. Target: 1 GiB, and five minutes on two cores.
#   ./tests/bench/plan.sh [ROUNDS]      ROUNDS: 3 (default)
# OBJECTS=N makes fewer; SHARDS=N deals them out to so many (default: 256); CASES="csv keys" measures some of csv-dry, csv,
# parquet, earlier, keys; BENCH_OUT=FOLDER keeps lists and scratch files elsewhere than in target/bench/plan, where they
# need 12 GB; DEEPSWEEP=PATH uses a program that is built already (default: target/release/deepsweep).
# The lists are local and, where memory allows, in the system's cache. The bucket that they speak of is not asked.
set -euo pipefail
cd "$(dirname "$0")/../.."
source jobs/setup.sh
source tests/bench/measure.sh

rounds=${1:-3}
objects=${OBJECTS:-10000000}
shards=${SHARDS:-256}
read -ra cases <<<"${CASES:-csv-dry csv parquet earlier keys}"
deepsweep=${DEEPSWEEP:-target/release/deepsweep}
out=$(realpath -m "${BENCH_OUT:-target/bench/plan}")/$objects
[ -x "$deepsweep" ] || { echo "plan.sh: no program at $deepsweep: cargo build --release, or DEEPSWEEP=PATH" >&2; exit 2; }
need_venv target/venv-readers tests/readers/requirements.txt
python=target/venv-readers/bin/python

if [ ! -e "$out/made" ]; then
  rm -rf "$out"
  mkdir -p "$out/one"
  cp tests/media/good/astronaut.jpg "$out/one"
  "$deepsweep" run "$out/one" --scorer none --out "$out/tiny" --run-id tiny --quiet
  "$python" tests/bench/plan.py "$out" "$objects" $((objects / 2)) "$out"/tiny/media/*/*/*.parquet
  touch "$out/made"
fi

coproc BUCKET { exec "$python" tests/bench/plan.py serve; }
# shellcheck disable=SC2153 # bash sets it
bucket=$BUCKET_PID
trap 'kill "$bucket"' EXIT
read -r port <&"${BUCKET[0]}"
export AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none AWS_REGION=us-east-1

# Prints seconds by the clock, seconds of processors, the peak of memory in MiB, slices, and the expected work of the
# largest shard against the mean.
measure_case() {
  local dest=$out/dest flags=(--shards "$shards") source
  rm -rf "$dest"
  mkdir "$dest"
  case $1 in
    csv*) source=$out/inventory-csv/manifest.json ;;
    parquet | earlier) source=$out/inventory-parquet/manifest.json ;;
    keys) source=$out/keys.csv ;;
  esac
  [ "$1" != earlier ] || ln -s "$out/earlier/media" "$dest/media"
  [ "$1" != csv-dry ] || flags+=(--dry-run)
  python3 - "$dest" "$deepsweep" plan "$source" --out "$dest" --scorer none --run-id planned --quiet --scratch "$out" \
    --endpoint-url "http://127.0.0.1:$port" "${flags[@]}" <<'PYTHON'
import json, pathlib, resource, subprocess, sys, time
begin = time.monotonic()
code = subprocess.run(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode
clock = time.monotonic() - begin
used = resource.getrusage(resource.RUSAGE_CHILDREN)
line = f"{clock:.1f} {used.ru_utime + used.ru_stime:.1f} {used.ru_maxrss / 1024:.0f}"
plan = pathlib.Path(sys.argv[1], "_runs/planned/plan.json")
if plan.exists():
    shards = json.loads(plan.read_text())["shards"]
    work = [shard["core_seconds"] for shard in shards]
    balance = max(work) / (sum(work) / len(work))
    line += f" {sum(shard['objects'] for shard in shards)} {sum(shard['slices'] for shard in shards)} {balance:.4f}"
print(line)
sys.exit(code)
PYTHON
  rm -rf "$dest"
}

echo "date      $(date -u +%F)"
echo "commit    $(git describe --always --dirty 2>/dev/null || echo unknown)"
echo "machine   $(grep -m1 'model name' /proc/cpuinfo 2>/dev/null | cut -d: -f2- | xargs), $(getconf _NPROCESSORS_ONLN) cores"
echo "run       $objects objects, $shards shards"
: >"$out/figures"
printf '\n%-6s %-8s %8s %8s %9s %9s %7s %9s %6s\n' round case "clock s" "cores s" "peak MiB" objects slices max/mean load
for round in $(seq "$rounds"); do
  for case in "${cases[@]}"; do
    figures=$(measure_case "$case")
    read -r clock cores peak planned slices balance <<<"$figures"
    echo "$case $clock $cores $peak" >>"$out/figures"
    printf '%-6s %-8s %8s %8s %9s %9s %7s %9s %6s\n' "$round" "$case" "$clock" "$cores" "$peak" "${planned:--}" \
      "${slices:--}" "${balance:--}" "$(cut -d' ' -f1 /proc/loadavg)"
  done
done

echo
for case in "${cases[@]}"; do
  of() { awk -v name="$case" -v column="$1" '$1 == name { print $column }' "$out/figures" | median; }
  awk -v name="$case" -v clock="$(of 2)" -v cores="$(of 3)" -v peak="$(of 4)" \
    'BEGIN { printf "median %s: %.0f s, %.0f s of cores, peak %.0f MiB\n", name, clock, cores, peak }'
done
