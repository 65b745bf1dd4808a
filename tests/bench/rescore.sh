#!/usr/bin/env bash
# What scoring again costs: a million stored embeddings of 768 numbers through a linear head, on the pooled and on the
# projected vector, the whole command by the clock. Target: 500,000 embeddings a second on two cores for the pooled one.
#   ./tests/bench/rescore.sh [ROUNDS]      ROUNDS: at least 5 (default)
# KIND=videos (default: 32 frames with two faces each) or KIND=pictures (one face each, so that rows of media weigh most);
# EMBEDDINGS=N makes fewer; BENCH_OUT=FOLDER keeps the run elsewhere than in target/bench/rescore, where it needs 4 GB;
# DEEPSWEEP=PATH uses a program that is built already (default: target/release/deepsweep); FLAGS="--threads 1" adds.
# The run is local and in the system's cache: the first of each kind of round fills it and is not counted.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/bench/measure.sh

rounds=${1:-5}
kind=${KIND:-videos}
embeddings=${EMBEDDINGS:-1000000}
deepsweep=${DEEPSWEEP:-target/release/deepsweep}
out=$(realpath -m "${BENCH_OUT:-target/bench/rescore}")/$kind-$embeddings
read -ra flags <<<"${FLAGS:-}"
[ "$rounds" -ge 5 ] || { echo "rescore.sh: expected 5 rounds or more, found $rounds" >&2; exit 2; }
[ -x "$deepsweep" ] || { echo "rescore.sh: no program at $deepsweep: cargo build --release, or DEEPSWEEP=PATH" >&2; exit 2; }

if [ ! -s "$out/results/_runs/made/SUCCESS.json" ]; then
  rm -rf "$out"
  # Unoptimised, with what the tests have built: a minute or two, against ten for building it all once more.
  cargo bench --profile dev --locked --bench rescore -- "$out" "$kind" "$embeddings"
fi

# Prints seconds by the clock, seconds of processors, and the peak of memory in MiB.
measure_run() {
  local results
  results=$(mktemp -d)
  measure "$deepsweep" rescore "$out/results/_runs/made" --scorer "$out/$1" --out "$results" --run-id again --quiet \
    ${flags[@]+"${flags[@]}"}
  rm -r "$results"
}

echo "date      $(date -u +%F)"
echo "commit    $(git describe --always --dirty 2>/dev/null || echo unknown)"
echo "machine   $(grep -m1 'model name' /proc/cpuinfo 2>/dev/null | cut -d: -f2- | xargs), $(getconf _NPROCESSORS_ONLN) cores"
echo "run       $embeddings embeddings of $kind${FLAGS:+, $FLAGS}"
for table in media frames faces tracks embeddings; do
  echo "  $table    $(find "$out/results/$table" -name '*.parquet' -printf '%s\n' | awk '{ sum += $1 } END { print sum + 0, "bytes in", NR, "parts" }')"
done
for head in pooled projected; do measure_run "$head" >/dev/null; done

: >"$out/figures"
printf '\n%-6s %-10s %10s %10s %10s\n' round head "clock s" "cores s" "peak MiB"
for round in $(seq "$rounds"); do
  for head in pooled projected; do
    figures=$(measure_run "$head")
    echo "$head $figures" >>"$out/figures"
    # shellcheck disable=SC2086 # three words
    printf '%-6s %-10s %10s %10s %10s\n' "$round" "$head" $figures
  done
done

echo
for head in pooled projected; do
  of() { awk -v head="$head" -v column="$1" '$1 == head { print $column }' "$out/figures" | median; }
  awk -v head="$head" -v clock="$(of 2)" -v cores="$(of 3)" -v peak="$(of 4)" -v n="$embeddings" \
    'BEGIN { printf "median %s: %.2f s, %.2f s of cores, %.0f embeddings/s, peak %.0f MiB\n", head, clock, cores, n / clock, peak }'
done
