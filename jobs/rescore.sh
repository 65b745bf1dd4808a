#!/usr/bin/env bash
# New scores for an archive out of stored embeddings: a better head, or another calibration. No media is fetched or decoded, so what
# took days takes minutes. The new rows stand beside the old ones, as a run of their own.
#   ./jobs/rescore.sh SCORER NEW_RUN_ID RUN...
#   ./jobs/rescore.sh ./my-probe probe-2026-11 s3://results/faces/_runs/october s3://results/faces/_runs/november
# On one machine as it stands. As the task of an array (AWS Batch, an Indexed Job, Slurm) it takes its share, and whoever ends last
# writes SUCCESS.json. WORKERS is the size of the array where its environment does not say it.
# DEEPSWEEP names the program (default: deepsweep of PATH); FLAGS are more flags, such as "--keep-embeddings --out s3://other".
set -euo pipefail
if [ $# -lt 3 ]; then
  sed -n '2,8s/^# //p' "$0" >&2
  exit 2
fi
scorer=$1 run_id=$2
shift 2

shard=0/1
if [ -n "${AWS_BATCH_JOB_ARRAY_INDEX:-}" ]; then
  shard=$AWS_BATCH_JOB_ARRAY_INDEX/${WORKERS:-$AWS_BATCH_JOB_ARRAY_SIZE}
elif [ -n "${JOB_COMPLETION_INDEX:-}" ]; then
  shard=$JOB_COMPLETION_INDEX/${WORKERS:?is the number of completions of the Job}
elif [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
  # Of --array=1-8 the first is shard 0. With WORKERS the array begins at 0, and a part of it may be submitted again.
  first=${SLURM_ARRAY_TASK_MIN:-0}
  shard=${WORKERS:+$SLURM_ARRAY_TASK_ID/$WORKERS}
  shard=${shard:-$((SLURM_ARRAY_TASK_ID - first))/$SLURM_ARRAY_TASK_COUNT}
fi

# In place of this shell, so that a signal to stop reaches deepsweep itself.
read -ra flags <<<"${FLAGS:-}"
exec "${DEEPSWEEP:-deepsweep}" rescore "$@" --scorer "$scorer" --run-id "$run_id" --shard "$shard" "${flags[@]}"
