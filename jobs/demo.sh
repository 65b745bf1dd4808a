#!/usr/bin/env bash
# Everything the demo needs, then the main job: sample pictures and a video in a folder → Parquet, and a table of what was found.
#   ./jobs/demo.sh [SOURCE]      SOURCE: a folder of your own, or s3://bucket/prefix (default: the samples)
# DEEPSWEEP=PATH uses a program that is built already; DEMO_OUT=FOLDER writes elsewhere than target/demo.
set -euo pipefail
source_arg=${1:+$(case $1 in s3://*) echo "$1" ;; *) realpath "$1" ;; esac)}
cd "$(dirname "$0")/.."
source jobs/setup.sh

out=${DEMO_OUT:-target/demo}
if [ -z "${DEEPSWEEP:-}" ]; then
  need_rust
  echo "building deepsweep: the first time takes ten minutes or more, most of it the AWS SDK and Arrow"
  cargo build --release --locked
  DEEPSWEEP=target/release/deepsweep
fi
need_ffmpeg
need_venv target/venv-demo jobs/requirements.txt

# Each run has a name of its own, so a second demo stands beside the first; the tables below show this one.
run_id="demo-$(date -u +%Y%m%dT%H%M%SZ)-$$"
if [ -n "$source_arg" ]; then
  "$DEEPSWEEP" run "$source_arg" --scorer untrained-demo --include-finished --out "$out" --run-id "$run_id"
else
  "$DEEPSWEEP" run jobs/demo.toml --out "$out" --run-id "$run_id"
fi
target/venv-demo/bin/python jobs/show.py "$out" "$run_id"
