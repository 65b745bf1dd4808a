#!/usr/bin/env bash
# A Slurm cluster of this machine alone, for tests: its own munged, slurmctld and slurmd, with everything that they keep below FOLDER.
#   conf=$(tests/slurm/start.sh FOLDER) && export SLURM_CONF=$conf        stop it: tests/slurm/stop.sh FOLDER
# Prints the path of slurm.conf. A cluster that is up already is left as it is. Exit code 3, with the reason, where the daemons
# are missing or do not start. It takes a few seconds, needs neither root nor systemd, and touches no other cluster:
# ports are free ones, and nothing of /etc/slurm or /run/munge is read or written.
set -euo pipefail

cannot() {
  echo "slurm: cannot start a cluster here: $*" >&2
  exit 3
}

[ $# = 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" || cannot "$1 cannot be made"
folder=$(cd "$1" && pwd)
# Daemons live in folders that the path of an ordinary user lacks.
PATH=$PATH:/usr/sbin:/sbin
export SLURM_CONF=$folder/slurm.conf

for program in munged mungekey slurmctld slurmd sbatch scontrol sinfo; do
  command -v "$program" >/dev/null || cannot "$program is missing (apt-get install munge slurmctld slurmd slurm-client)"
done
# A socket's path holds 107 bytes.
[ ${#folder} -le 80 ] || cannot "the path of $folder is too long for a socket"

is_up() { [ "$(timeout 5 sinfo --noheader --format=%T 2>/dev/null)" = "$1" ]; }
if [ -e "$SLURM_CONF" ]; then
  if is_up idle || is_up mixed || is_up allocated; then
    echo "$SLURM_CONF"
    exit
  fi
  "$here/stop.sh" "$folder"
fi
# Whatever fails from here on leaves no daemon behind.
trap '"$here/stop.sh" "$folder"' ERR EXIT

host=$(hostname -s)
user=$(id -un)
read -r ctld_port slurmd_port < <(python3 - <<'PYTHON'
import socket

sockets = [socket.socket() for _ in range(2)]
for one in sockets:
    one.bind(("", 0))
print(*(one.getsockname()[1] for one in sockets))
PYTHON
) || cannot "python3 finds no free ports"

mkdir -p "$folder"/{munge,state,spool,log}
chmod 0700 "$folder/munge"
cat >"$SLURM_CONF" <<CONF
ClusterName=deepsweep-test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$ctld_port
SlurmdPort=$slurmd_port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
CredType=cred/munge
# Also how long a requeued job waits before it starts again: two minutes, unless told otherwise.
AuthInfo=socket=$folder/munge/socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld
SlurmdLogFile=$folder/log/slurmd
# Neither control groups nor an accounting database: where tests run there are none.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
# As many tasks as a test wants, whatever the machine has.
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=1
ReturnToService=2
KillWait=5
NodeName=$host NodeAddr=127.0.0.1 CPUs=8 RealMemory=65536 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
# From 23.11 on slurmd wants control groups unless it is told that there are none; before, it knows no such word.
version=$(slurmd -V | grep -oE '[0-9]+\.[0-9]+' | head -1)
if [ "$(printf '%s\n' 23.11 "$version" | sort -V | head -1)" = 23.11 ]; then
  echo "CgroupPlugin=disabled" >"$folder/cgroup.conf"
fi

# $1: its name. Waits for a daemon's answer, and says what it wrote where none comes.
try() {
  local name=$1
  shift
  "$@" >"$folder/log/$name.start" 2>&1 ||
    cannot "$name ended with $?: $(cat "$folder/log/$name.start" "$folder/log/$name" 2>/dev/null | tail -n 3 | tr '\n' ' ')"
}

[ -e "$folder/munge/key" ] || try mungekey mungekey --create --keyfile="$folder/munge/key"
# --force: /tmp as a parent is fine here.
try munged munged --force --socket="$folder/munge/socket" --key-file="$folder/munge/key" --pid-file="$folder/munged.pid" \
  --log-file="$folder/log/munged" --seed-file="$folder/munge/seed" --num-threads=2
try slurmctld slurmctld -c -f "$SLURM_CONF"
try slurmd slurmd -f "$SLURM_CONF" -N "$host"

for _ in $(seq 60); do
  if is_up idle; then
    trap - ERR EXIT
    echo "$SLURM_CONF"
    exit
  fi
  sleep 0.5
done
cannot "the node does not come up in 30 s: $(sinfo --noheader 2>&1 | tail -n 1); $(tail -n 3 "$folder"/log/slurm* 2>/dev/null | tr '\n' ' ')"
