#!/usr/bin/env bash
# A sweep on Kubernetes: a Job that plans, an Indexed Job of WORKERS workers, a Job that finishes; each after the one before.
#   IMAGE=… ./jobs/kubernetes/submit.sh JOB.toml s3://BUCKET/PREFIX WORKERS
#   IMAGE=… RUN_ID=20261125t0230-catalogue ./jobs/kubernetes/submit.sh jobs/adhoc.toml s3://results/faces 16
# Once before: kubectl apply -f jobs/kubernetes/account.yaml
# RUN_ID names the run (default: the time). The same command with the same RUN_ID goes on with a run that ended early; it may be
# stopped and repeated at any time, since the jobs go on without it. NAMESPACE (default: deepsweep) is where they live.
# MODELS=s3://BUCKET/PREFIX, where `deepsweep models pull --models` has put them (default: DEST/models).
set -euo pipefail
if [ $# != 3 ] || [ -z "${IMAGE:-}" ]; then
  sed -n '2,8s/^# //p' "$0" >&2
  exit 2
fi
job=$1 dest=${2%/} workers=$3
[[ $workers =~ ^[1-9][0-9]*$ ]] || {
  echo "submit.sh: WORKERS: expected a number from 1 on, found \"$workers\"" >&2
  exit 2
}
run_id=${RUN_ID:-$(date -u +%Y%m%dt%H%M%Sz)}
# The run's name becomes part of the jobs' and their pods'.
[[ $run_id =~ ^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$ ]] || {
  echo "submit.sh: RUN_ID: expected at most 40 of a-z, 0-9 and -, found \"$run_id\"" >&2
  exit 2
}
here=$(cd "$(dirname "$0")" && pwd)
namespace=${NAMESPACE:-deepsweep}
k() { kubectl --namespace "$namespace" "$@"; }

# The file of a step, with this run's values in place of the example's.
filled() {
  local step=$1 spec='"template":{}'
  case $step in
    plan) spec='"template":{"spec":{"volumes":[{"name":"job","configMap":{"name":"deepsweep-'$run_id'"}}]}}' ;;
    work) spec='"completions":'$workers',"parallelism":'$workers ;;
  esac
  kubectl patch --local -f "$here/$step.yaml" --type=strategic -o yaml \
    -p '{"metadata":{"name":"deepsweep-'"$step-$run_id"'","namespace":"'"$namespace"'"},"spec":{'"$spec"'}}' |
    kubectl set env --local -f - -o yaml "DEST=$dest" "RUN_ID=$run_id" "WORKERS=$workers" "DEEPSWEEP_MODELS=${MODELS:-$dest/models}" |
    kubectl set image --local -f - -o yaml "deepsweep=$IMAGE"
}

# Complete, Failed, or nothing yet.
outcome() {
  k get job "$1" --ignore-not-found -o jsonpath='{.status.conditions[?(@.status=="True")].type}' | grep -owE 'Complete|Failed' | head -n 1 || true
}

# Runs a step to its end; a failed one of an earlier attempt makes way, one that still runs is waited for.
step() {
  local name=deepsweep-$1-$run_id ended
  [ "$(outcome "$name")" != Failed ] || k delete job "$name" --wait
  filled "$1" | k apply -f -
  while :; do
    ended=$(outcome "$name")
    case $ended in
      Complete) return 0 ;;
      Failed) return 1 ;;
    esac
    sleep "${POLL_SECONDS:-10}"
  done
}

echo "run $dest/_runs/$run_id; to go on with it: RUN_ID=$run_id $0 $*"
k create configmap "deepsweep-$run_id" --from-file=job.toml="$job" --dry-run=client -o yaml | k apply -f -
step plan || {
  k logs "job/deepsweep-plan-$run_id" --tail=20 >&2
  exit 3
}
step work || echo "submit.sh: not every worker ended well: kubectl --namespace $namespace describe job deepsweep-work-$run_id" >&2
# Where a worker failed, this says which slices are missing.
code=0
step finish || code=3
k logs "job/deepsweep-finish-$run_id" --tail=20
exit $code
