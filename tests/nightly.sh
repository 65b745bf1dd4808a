#!/usr/bin/env bash
# The tests that take too long for every day: those marked `#[ignore = "nightly: …"]`, after tests/run.sh has set up.
#   ./tests/nightly.sh [NEXTEST ARGUMENTS]                                    e.g. ./tests/nightly.sh scale_tiny
#   DEEPSWEEP_PROGRAM=target/release/deepsweep ./tests/nightly.sh             with that program
set -euo pipefail
cd "$(dirname "$0")/.."
export DEEPSWEEP_READERS_PYTHON=${DEEPSWEEP_READERS_PYTHON:-$PWD/target/venv-readers/bin/python}
export DEEPSWEEP_MOTO_SERVER=${DEEPSWEEP_MOTO_SERVER:-$PWD/target/venv-moto/bin/moto_server}
cargo nextest run --workspace --locked --profile nightly --run-ignored ignored-only --success-output final "$@"
