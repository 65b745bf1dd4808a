# For benches: `measure COMMAND…` prints seconds by the clock, seconds of processors, and the peak of memory in MiB of a program;
# `median` that of the numbers on its standard input.
# shellcheck shell=bash

measure() {
  python3 - "$@" <<'PYTHON'
import resource, subprocess, sys, time
begin = time.monotonic()
code = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL).returncode
clock = time.monotonic() - begin
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{clock:.3f} {used.ru_utime + used.ru_stime:.3f} {used.ru_maxrss / 1024:.0f}")
sys.exit(code)
PYTHON
}

median() { sort -n | awk '{ all[NR] = $1 } END { print NR % 2 ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2 }'; }
