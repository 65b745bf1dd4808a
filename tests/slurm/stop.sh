#!/usr/bin/env bash
# Ends the cluster of tests/slurm/start.sh FOLDER with its jobs; what it wrote stays. Nothing is done where none runs.
set -euo pipefail
[ $# = 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
folder=$1
export SLURM_CONF=$folder/slurm.conf

# A pid file outlives its daemon: a process is ended only if it is the daemon of this folder.
alive() {
  local pid
  pid=$(cat "$folder/$1.pid" 2>/dev/null) && grep -qsF "$folder" "/proc/$pid/cmdline"
}

if alive slurmctld; then
  timeout 10 scancel --user="$(id -un)" >/dev/null 2>&1 || true
  # Jobs are told to end, and killed after KillWait.
  for _ in $(seq 30); do
    [ -n "$(timeout 5 squeue --noheader 2>/dev/null || true)" ] || break
    sleep 0.5
  done
fi
for daemon in slurmd slurmctld munged; do
  alive "$daemon" || continue
  kill "$(cat "$folder/$daemon.pid")" 2>/dev/null || true
  for _ in $(seq 40); do
    alive "$daemon" || break
    sleep 0.25
  done
  if alive "$daemon"; then kill -KILL "$(cat "$folder/$daemon.pid")" 2>/dev/null || true; fi
done
