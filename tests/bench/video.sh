#!/usr/bin/env bash
# What 32 frames of a long video cost: a file of 60 minutes against one of a minute, both 1080p, H.264 at about 2 Mbit/s,
# 25 frames a second, a keyframe every ten seconds. Target: the long one takes at most eight times as long.
#   ./tests/bench/video.sh [ROUNDS]      ROUNDS: at least 5 (default)
# DEEPSWEEP=PATH uses a program that is built already (default: target/release/deepsweep); BENCH_OUT=FOLDER keeps the
# files elsewhere than in target/bench/video, where they need a gigabyte. FLAGS="--threads 2" adds to the command line.
# Both files are local: what is measured is finding and decoding, not the network. Rounds go to and fro between the two,
# so that whatever else the machine does falls on both; the first of each is not counted, it fills the system's cache.
set -euo pipefail
cd "$(dirname "$0")/../.."

rounds=${1:-5}
deepsweep=${DEEPSWEEP:-target/release/deepsweep}
out=${BENCH_OUT:-target/bench/video}
read -ra flags <<<"${FLAGS:-}"
[ "$rounds" -ge 5 ] || { echo "video.sh: expected 5 rounds or more, found $rounds" >&2; exit 2; }
[ -x "$deepsweep" ] || { echo "video.sh: no program at $deepsweep: cargo build --release, or DEEPSWEEP=PATH" >&2; exit 2; }
mkdir -p "$out"

# Ten seconds in which the sample group drifts, with a little noise, as cameras have; then the same again and again.
make_clip() {
  local target=$1 times=$2
  [ -s "$target" ] && return
  if [ ! -s "$out/ten_seconds.mp4" ]; then
    ffmpeg -nostdin -v error -y -loop 1 -framerate 25 -i tests/media/good/group.jpg -frames:v 250 \
      -vf "scale=2400:1350,crop=1920:1080:x='240+200*sin(n/40)':y='135+100*cos(n/55)',noise=alls=4:allf=t,format=yuv420p" \
      -c:v libx264 -preset veryfast -b:v 2M -maxrate 3M -bufsize 4M -g 250 -bf 2 "$out/making.mp4"
    mv "$out/making.mp4" "$out/ten_seconds.mp4"
  fi
  ffmpeg -nostdin -v error -y -stream_loop $((times - 1)) -i "$out/ten_seconds.mp4" -c copy "$out/making.mp4"
  mv "$out/making.mp4" "$target"
}

# Prints seconds by the clock and seconds of processors.
measure() {
  local results code
  results=$(mktemp -d)
  TIMEFORMAT='%R %U %S'
  { time "$deepsweep" run "$1" --out "$results" --frames 32 --scorer none --device cpu --quiet --max-object-size 8GiB \
    ${flags[@]+"${flags[@]}"} >/dev/null 2>"$results/said"; } 2>"$results/times" && code=0 || code=$?
  if [ "$code" != 0 ]; then
    cat "$results/said" >&2
    exit "$code"
  fi
  awk '{ printf "%.2f %.2f\n", $1, $2 + $3 }' "$results/times"
  rm -r "$results"
}

median() { sort -n | awk '{ all[NR] = $1 } END { print NR % 2 ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2 }'; }

make_clip "$out/one_minute.mp4" 6
make_clip "$out/sixty_minutes.mp4" 360

echo "date      $(date -u +%F)"
echo "commit    $(git describe --always --dirty 2>/dev/null || echo unknown)"
echo "machine   $(grep -m1 'model name' /proc/cpuinfo 2>/dev/null | cut -d: -f2- | xargs), $(getconf _NPROCESSORS_ONLN) cores"
echo "ffmpeg    $(ffmpeg -version | head -1 | cut -d' ' -f3)"
echo "flags     --frames 32 --scorer none${FLAGS:+ $FLAGS}"
for clip in one_minute sixty_minutes; do
  echo "$clip    $(stat -c %s "$out/$clip.mp4") bytes"
  measure "$out/$clip.mp4" >/dev/null
done

: >"$out/figures"
printf '\n%-6s %-14s %10s %10s\n' round clip "clock s" "cores s"
for round in $(seq "$rounds"); do
  for clip in one_minute sixty_minutes; do
    figures=$(measure "$out/$clip.mp4")
    echo "$clip $figures" >>"$out/figures"
    # shellcheck disable=SC2086 # two words
    printf '%-6s %-14s %10s %10s\n' "$round" "$clip" $figures
  done
done

echo
for column in 2 3; do
  of() { awk -v clip="$1" -v column="$column" '$1 == clip { print $column }' "$out/figures" | median; }
  minute=$(of one_minute) hour=$(of sixty_minutes)
  what=$([ "$column" = 2 ] && echo clock || echo cores)
  awk -v minute="$minute" -v hour="$hour" -v what="$what" \
    'BEGIN { printf "median %s: one minute %.2f s, sixty minutes %.2f s, ratio %.2f\n", what, minute, hour, hour / minute }'
done
