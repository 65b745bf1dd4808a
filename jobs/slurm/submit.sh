#!/usr/bin/env bash
# A sweep by Slurm: a job that plans, an array of WORKERS tasks, a job that finishes; each waits for the one before.
#   ./jobs/slurm/submit.sh JOB.toml DEST WORKERS [OPTIONS OF SBATCH]
#   ./jobs/slurm/submit.sh jobs/adhoc.toml /data/results 16 --partition=spot --time=08:00:00
# RUN_ID=… names the run (default: the time). The same command with the same RUN_ID goes on with a run that ended early.
# DEEPSWEEP=PATH names the program, as the nodes see it (default: deepsweep of PATH).
# DEST and what JOB.toml names must be the same for every node: a bucket, or a folder of a shared file system.
set -euo pipefail
if [ $# -lt 3 ]; then
  sed -n '2,7s/^# //p' "$0" >&2
  exit 2
fi
job=$1 dest=${2%/} workers=$3
shift 3
[[ $workers =~ ^[1-9][0-9]*$ ]] || {
  echo "submit.sh: WORKERS: expected a number from 1 on, found \"$workers\"" >&2
  exit 2
}
here=$(dirname "$0")
run_id=${RUN_ID:-$(date -u +%Y%m%dT%H%M%SZ)-slurm}
run=$dest/_runs/$run_id
# The log of a task that started again goes on in the same file.
logs=deepsweep-$run_id

# submit NAME [OPTIONS] -- ARGUMENTS OF DEEPSWEEP; the caller's options come last, and win.
submit() {
  local name=$1 options=()
  shift
  while [ "$1" != -- ]; do
    options+=("$1")
    shift
  done
  shift
  sbatch --parsable --job-name="deepsweep-$name" --kill-on-invalid-dep=yes "${options[@]}" "${sbatch_options[@]}" \
    "$here/sweep.sbatch" "$@"
}
sbatch_options=("$@")

plan=$(submit plan --output="$logs-plan.log" -- plan "$job" --out "$dest" --run-id "$run_id" --shards "$workers")
# A shard for each task: the plan makes them equal in expected work, and an array needs its size before there is a plan.
work=$(WORKERS=$workers submit work --array="0-$((workers - 1))" --output="$logs-work-%a.log" --dependency="afterok:$plan" -- work "$run")
# afterany: where a task failed, finish says which slices are missing, and exits with 3.
finish=$(submit finish --output="$logs-finish.log" --dependency="afterany:$work" -- finish "$run")

cat <<TEXT
run     $run
logs    $logs-{plan,work-*,finish}.log
watch   squeue --jobs=$plan,$work,$finish
resume  RUN_ID=$run_id $0 $job $dest $workers $*
jobs    $plan $work $finish
TEXT
