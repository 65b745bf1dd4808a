#!/usr/bin/env bash
# Ours against the peers in Python and Rust: detector, towers, and the whole job, in turns on the same inputs.
#   ./tests/bench/peers.sh [MEDIA]      MEDIA: a folder with multiface.jpg and talk.mp4; without, tests/media/good
# ROUNDS=N (default: 7); TASKS="mtcnn pnet" only tasks with one of these in their names, "jobs" the whole job, all if nothing
# is said; ALSO_OURS="" leaves out the tower in bfloat16, which is measured where the CPU multiplies so; FASTEST="" the whole job with it.
# What is built already: PEERS_VENV=FOLDER, DEEPSWEEP=PATH, OURS=PATH (the bench `networks`), CANDLE=PATH.
# BENCH_OUT=FOLDER keeps inputs elsewhere than in target/bench/peers, where they need 4 GB; RUN_OUT=FOLDER the report, whose
# name is REPORT=NAME where a run is split (default: peers.txt).
set -euo pipefail
cd "$(dirname "$0")/../.."
source jobs/setup.sh

media=${1:-}
rounds=${ROUNDS:-7}
read -ra tasks <<<"${TASKS:-}"
bf16=$(grep -m1 -ow avx512_bf16 /proc/cpuinfo >/dev/null && echo yes || echo no)
read -ra also_ours <<<"${ALSO_OURS-$([ "$bf16" = no ] || echo bf16)}"
fastest=${FASTEST-$([ "$bf16" = no ] || echo +bf16)}
inputs=${BENCH_OUT:-target/bench/peers}
out=${RUN_OUT:-tests/bench/runs/$(date -u +%F)-$(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2- | xargs | awk '{ print tolower($NF) }')-$(getconf _NPROCESSORS_ONLN)-cores}

# Not need_venv: the lists name each other, and pip must not look at what packages ask for.
venv=${PEERS_VENV:-target/venv-peers}
if [ -z "${PEERS_VENV:-}" ]; then
  lists=(tests/golden/requirements.txt tests/golden/requirements-opencv.txt tests/bench/peers/requirements.txt)
  if ! cat "${lists[@]}" | cmp -s - "$venv/requirements.txt"; then
    rm -rf "$venv"
    python3.11 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r tests/bench/peers/requirements.txt
    cat "${lists[@]}" >"$venv/requirements.txt"
  fi
fi
python=$venv/bin/python

need_ffmpeg
"$python" -W ignore tests/bench/peers/inputs.py "$inputs" "$media"

if [ -z "${OURS:-}" ]; then
  need_rust
  OURS=$(cargo build --release --locked --bench networks --message-format=json |
    python3 -c 'import json, sys
for line in sys.stdin:
    built = json.loads(line)
    if built["reason"] == "compiler-artifact" and built["target"]["name"] == "networks" and built["executable"]:
        print(built["executable"])')
fi
if [ -z "${DEEPSWEEP:-}" ]; then
  need_rust
  cargo build --release --locked --bin deepsweep
  DEEPSWEEP=target/release/deepsweep
fi
if [ -z "${CANDLE:-}" ]; then
  need_rust
  cargo build --release --locked --manifest-path tests/bench/peers/candle/Cargo.toml --target-dir target/peers-candle
  CANDLE=target/peers-candle/release/candle-peer
fi

code=0
jobs=$([ ${#tasks[@]} = 0 ] && echo yes || echo no)
networks=()
for task in ${tasks[@]+"${tasks[@]}"}; do
  if [ "$task" = jobs ]; then jobs=yes; else networks+=("$task"); fi
done
if [ ${#tasks[@]} = 0 ] || [ ${#networks[@]} -gt 0 ]; then
  "$python" tests/bench/peers/referee.py --ours "$OURS" --inputs "$inputs" --candle "$CANDLE" --out "$out" --rounds "$rounds" \
    --name "${REPORT:-peers.txt}" --tasks ${networks[@]+"${networks[@]}"} --also-ours ${also_ours[@]+"${also_ours[@]}"} || code=$?
fi
if [ "$jobs" = yes ]; then
  "$python" tests/bench/peers/jobs.py --deepsweep "$DEEPSWEEP" --inputs "$inputs" --out "$out" --rounds "$rounds" \
    --fastest "$fastest" || code=$?
fi
exit "$code"
