#!/usr/bin/env bash
# From labels to calibrated scores, on an archive that it makes itself: 300 pictures of one face, half of which were
# shrunk and blown up again, as a careless face swap is. Then: run, fit, calibrate, rescore, evaluate.
#   ./jobs/learn.sh
# DEEPSWEEP=PATH uses a program that is built already; LEARN_OUT=FOLDER writes elsewhere than in target/learn.
# The tower is untrained-demo's, whose weights are random: it needs no download and shows the way. On material of your
# own take a trained one, such as clip-b32: the commands are the same.
set -euo pipefail
cd "$(dirname "$0")/.."
source jobs/setup.sh

out=${LEARN_OUT:-target/learn}
if [ -z "${DEEPSWEEP:-}" ]; then
  need_rust
  cargo build --release --locked
  DEEPSWEEP=target/release/deepsweep
fi
need_ffmpeg
say() { printf '\n$ deepsweep %s\n' "$*"; "$DEEPSWEEP" "$@"; }

rm -rf "$out"
mkdir -p "$out/archive"

# make CLASS FILTERS: 150 pictures between which the camera moves, the light changes and the noise is another.
make() {
  ffmpeg -nostdin -v error -y -loop 1 -framerate 25 -i tests/media/good/astronaut.jpg -frames:v 150 -q:v 3 -vf \
    "crop=400:300:x='56+50*sin(n*1.7)':y='20+20*cos(n*2.3)',eq=brightness='0.06*sin(n*0.9)':contrast='1+0.15*cos(n*1.3)':eval=frame,$2noise=alls=7:allf=t:all_seed=1" \
    "$out/archive/$1-%03d.jpg"
}
make real ""
make fake "scale=133:100,scale=400:300,"

# Two thirds to learn from, the rest to calibrate and to be judged by. Three pictures in a row belong together: they
# are in one split, and no fold of a cross-validation tears them apart.
{
  echo "key,label,split,group"
  for class in real fake; do
    for number in $(seq 1 150); do
      shot=$(((number - 1) / 3))
      split=$(case $((shot % 6)) in 4) echo calibrate ;; 5) echo test ;; *) echo train ;; esac)
      printf '%s-%03d.jpg,%s,%s,%s\n' "$class" "$number" "$class" "$split" "$class-shot-$shot"
    done
  done
} >"$out/labels.csv"

say run "$out/archive" --out "$out" --run-id first --scorer untrained-demo --quiet
say fit "$out/_runs/first" --labels "$out/labels.csv" --split train --base untrained-demo --out "$out/probe" --quiet
say calibrate "$out/_runs/first" --labels "$out/labels.csv" --split calibrate --scorer "$out/probe" \
  --out "$out/probe-calibrated" --wanted-fpr 0.1 --quiet
say rescore "$out/_runs/first" --scorer "$out/probe-calibrated" --run-id second --quiet
say evaluate "$out/_runs/second" --labels "$out/labels.csv" --split test --quiet
