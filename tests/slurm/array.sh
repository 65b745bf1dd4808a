#!/usr/bin/env bash
# A sweep in three jobs under a real Slurm, with the files of jobs/slurm/: sixteen pictures, four tasks, of which one is
# killed in its first attempt and one is told to stop. In the end each picture must have one row, and SUCCESS.json be there.
#   tests/slurm/array.sh DEEPSWEEP        DEEPSWEEP_READERS_PYTHON: a Python with duckdb (default: that of target/)
# Where no Slurm can be started, processes with a task's environment stand in for it, and the last line says so;
# REQUIRE_SLURM=1 makes that a failure.
set -euo pipefail
[ $# = 1 ] || { echo "usage: $0 DEEPSWEEP" >&2; exit 2; }
DEEPSWEEP_UNDER_TEST=$(realpath "$1")
export DEEPSWEEP_UNDER_TEST
cd "$(dirname "$0")/../.."
python=${DEEPSWEEP_READERS_PYTHON:-$PWD/target/venv-readers/bin/python}
tasks=4 run_id=array

folder=$(mktemp -d /tmp/slurm-XXXXXX) # short, for the sockets
trap 'tests/slurm/stop.sh "$folder/cluster"; rm -rf "$folder"' EXIT
fail() {
  echo "array.sh: $*" >&2
  tail -n 15 "$folder"/*.log >&2 2>/dev/null || true
  exit 1
}

mkdir "$folder/pictures"
for copy in 1 2 3 4; do
  for picture in tests/media/good/*.jpg; do
    cp "$picture" "$folder/pictures/$copy-$(basename "$picture")"
  done
done
cat >"$folder/job.toml" <<JOB
source = "$folder/pictures"
scorer = "untrained-demo"
min_face_px = 40
JOB

# deepsweep, but the first attempts of tasks 1 and 2 get a signal when they have begun to work.
export INTERRUPTED=$folder/interrupted
mkdir "$INTERRUPTED"
cat >"$folder/deepsweep" <<'WRAPPER'
#!/usr/bin/env bash
signal=
if [ "$1" = work ]; then
  case ${SLURM_ARRAY_TASK_ID:-} in 1) signal=KILL ;; 2) signal=TERM ;; esac
fi
if [ -z "$signal" ] || ! mkdir "$INTERRUPTED/$signal" 2>/dev/null; then
  exec "$DEEPSWEEP_UNDER_TEST" "$@"
fi
"$DEEPSWEEP_UNDER_TEST" "$@" &
sleep 0.5
kill -"$signal" $!
wait $!
code=$?
echo "$code" >"$INTERRUPTED/$signal/code"
exit "$code"
WRAPPER
chmod +x "$folder/deepsweep"
export DEEPSWEEP=$folder/deepsweep
run=$folder/results/_runs/$run_id

with_slurm() {
  local jobs finish
  jobs=$(cd "$folder" && RUN_ID=$run_id "$OLDPWD/jobs/slurm/submit.sh" job.toml "$folder/results" $tasks \
    --cpus-per-task=1 --mem=1G --time=10 --chdir="$folder" | sed -n 's/^jobs *//p')
  finish=${jobs##* }
  echo "array.sh: jobs $jobs"
  local deadline=$((SECONDS + 300))
  while [ -n "$(squeue --noheader --jobs="$finish" 2>/dev/null)" ]; do
    [ $SECONDS -lt $deadline ] || fail "the jobs do not end: $(squeue)"
    sleep 0.5
  done
  scontrol --oneliner show job "$finish" | grep -q 'JobState=COMPLETED.* ExitCode=0:0' ||
    fail "finish failed: $(scontrol --oneliner show job "$finish" | grep -oE '(JobState|Reason|ExitCode)=[^ ]*' | tr '\n' ' ')"
}

# A task by its environment alone, started again as often as Slurm would.
task() {
  local attempt code
  for attempt in 1 2 3; do
    code=0
    SLURM_ARRAY_TASK_ID=$1 SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_COUNT=$tasks "$DEEPSWEEP" work "$run" --threads 1 \
      >>"$folder/task-$1.log" 2>&1 || code=$?
    echo "attempt $attempt ended with $code" >>"$folder/task-$1.log"
    case $code in 75 | 137) ;; *) return "$code" ;; esac
  done
  return "$code"
}

without_slurm() {
  "$DEEPSWEEP" plan "$folder/job.toml" --out "$folder/results" --run-id $run_id --shards $tasks >"$folder/plan.log" 2>&1 || fail "plan ended with $?"
  local index children=() failed=
  for index in $(seq 0 $((tasks - 1))); do
    task "$index" &
    children+=($!)
  done
  for child in "${children[@]}"; do wait "$child" || failed=1; done
  [ -z "$failed" ] || fail "a task failed"
  "$DEEPSWEEP" finish "$run" >"$folder/finish.log" 2>&1 || fail "finish ended with $?"
}

began=$SECONDS
code=0
SLURM_CONF=$(tests/slurm/start.sh "$folder/cluster") || code=$?
case $code in
  0)
    export SLURM_CONF
    with_slurm
    how="Slurm $(sinfo --version | cut -d' ' -f2)"
    ;;
  3)
    [ -z "${REQUIRE_SLURM:-}" ] || fail "REQUIRE_SLURM is set, and no Slurm can be started"
    unset SLURM_CONF
    without_slurm
    how="NO SLURM HERE: plain processes with the environment of an array's tasks"
    ;;
  *) fail "start.sh ended with $code" ;;
esac

# The interruptions happened, and were what they should be.
for expected in KILL=137 TERM=75; do
  found=$(cat "$INTERRUPTED/${expected%=*}/code" 2>/dev/null || echo none)
  [ "$found" = "${expected#*=}" ] || fail "the task that got SIG${expected%=*}: expected exit code ${expected#*=}, found $found"
done
[ -s "$run/SUCCESS.json" ] || fail "$run/SUCCESS.json is missing"
"$python" - "$folder" $run_id <<'CHECK' || fail "the rows are not those of the pictures"
import os
import sys

import duckdb

folder, run_id = sys.argv[1:]
rows = duckdb.sql(f"""
    SELECT key, count(*) FROM read_parquet('{folder}/results/media/*/run={run_id}/*.parquet') GROUP BY key ORDER BY key""").fetchall()
expected = [(key, 1) for key in sorted(os.listdir(f"{folder}/pictures"))]
assert rows == expected, f"expected {expected}, found {rows}"
CHECK
echo "array.sh: 16 pictures, 16 rows, two of four tasks interrupted, $((SECONDS - began)) s. $how"
