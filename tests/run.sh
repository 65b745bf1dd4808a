#!/usr/bin/env bash
# Everything the checks need, then all of them: format, lints, licences, tests, the README's demo.
#   ./tests/run.sh [NEXTEST ARGUMENTS]      e.g. ./tests/run.sh parity_mtcnn
set -euo pipefail
cd "$(dirname "$0")/.."
source jobs/setup.sh

step() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

step "setup"
need_rust
need_ffmpeg
need_cargo_tool cargo-nextest 0.9.143
need_cargo_tool cargo-deny 0.20.2
need_venv target/venv-readers tests/readers/requirements.txt
need_venv target/venv-moto tests/servers/requirements.txt
need_venv target/venv-kubernetes tests/kubernetes/requirements.txt
need shellcheck shellcheck
need_slurm
export DEEPSWEEP_READERS_PYTHON=$PWD/target/venv-readers/bin/python
export DEEPSWEEP_MOTO_SERVER=$PWD/target/venv-moto/bin/moto_server

step "format"
cargo fmt --all --check

step "licences and sources"
cargo deny --locked check bans licenses sources

step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings

step "scripts and templates of jobs"
shellcheck --external-sources --source-path=. jobs/*.sh jobs/*/*.sh jobs/slurm/sweep.sbatch tests/*.sh tests/*/*.sh
target/venv-kubernetes/bin/python tests/kubernetes/check.py

step "tests"
cargo nextest run --workspace --locked "$@"

step "tests of the kernels as processors without AVX-512 run them"
cargo nextest run --package deepsweep-kernels --no-default-features --locked

# The demo as the README has it, with the program that was just tested: building it again, optimised, would take
# as long as everything above.
step "demo"
DEEPSWEEP=target/debug/deepsweep DEMO_OUT=$(mktemp -d) ./jobs/demo.sh

step "an array of jobs"
./tests/slurm/array.sh target/debug/deepsweep

step "done"
