# shellcheck shell=bash
# What the scripts need, installed where it is missing. To be sourced, from the root of the repository.

# Runs a command as root, through sudo where that is needed.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    echo "setup: need root for: $*" >&2
    return 1
  fi
}

# need COMMAND PACKAGE...: installs Debian packages unless the command is there.
need() {
  local command=$1
  shift
  command -v "$command" >/dev/null && return
  command -v apt-get >/dev/null || {
    echo "setup: $command is missing and this is no Debian: install it and run again" >&2
    return 1
  }
  echo "setup: installing $*"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# A C compiler (the TLS library and zstd are C) and cargo.
need_rust() {
  need cc build-essential
  command -v cargo >/dev/null || {
    echo "setup: cargo is missing: install Rust $(grep -m1 rust-version Cargo.toml | cut -d'"' -f2) or newer from https://rustup.rs" >&2
    return 1
  }
}

# ffmpeg and ffprobe, with which deepsweep decodes videos: the system's own package.
need_ffmpeg() {
  if ! command -v ffmpeg >/dev/null || ! command -v ffprobe >/dev/null; then
    echo "setup: installing ffmpeg"
    if command -v apt-get >/dev/null; then
      as_root apt-get update -qq
      as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ffmpeg >/dev/null
    elif command -v dnf >/dev/null; then
      # RPM Fusion's package where that source is set up; Fedora's own comes without decoders for H.264 and HEVC.
      as_root dnf install -y -q ffmpeg 2>/dev/null || as_root dnf install -y -q ffmpeg-free
    elif command -v apk >/dev/null; then
      as_root apk add --quiet ffmpeg
    elif command -v brew >/dev/null; then
      brew install --quiet ffmpeg
    else
      echo "setup: ffmpeg is missing, and none of apt-get, dnf, apk, brew is here: install it and run again" >&2
      return 1
    fi
  fi
  local decoders codec missing=()
  decoders=$(ffmpeg -hide_banner -v error -decoders)
  for codec in h264 hevc vp8 vp9 'av1|libdav1d' mpeg4 mjpeg; do
    grep -Eq "^ V[^ ]* ($codec) " <<<"$decoders" || missing+=("${codec%|*}")
  done
  [ ${#missing[@]} = 0 ] || echo "setup: $(command -v ffmpeg) does not decode ${missing[*]}: such videos will be rejected." \
    "On Fedora, RPM Fusion's package has them all (https://rpmfusion.org/Configuration)" >&2
}

# need_venv FOLDER REQUIREMENTS: a Python environment with exactly what the file pins.
need_venv() {
  local folder=$1 requirements=$2
  cmp -s "$requirements" "$folder/requirements.txt" && return
  # Debian ships the module without what it needs to work.
  python3 -c 'import ensurepip, venv' 2>/dev/null || need no-such-command python3 python3-venv
  rm -rf "$folder"
  python3 -m venv "$folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
  cp "$requirements" "$folder/requirements.txt"
}

# need_slurm: the daemons of a cluster, for tests that start one of their own. Where they cannot be had the tests say so
# and do without. Debian's own daemons of that name stay down: there is no /etc/slurm/slurm.conf.
need_slurm() {
  PATH=$PATH:/usr/sbin need slurmctld munge slurmctld slurmd slurm-client ||
    echo "setup: no Slurm: tests of job arrays will stand in for it" >&2
}

# need_cargo_tool NAME VERSION: built from its source where it is missing; the lightest build that does the work.
need_cargo_tool() {
  local name=$1 version=$2
  command -v "$name" >/dev/null && return
  echo "setup: building $name (some minutes, once)"
  cargo install --locked --quiet "$name@$version" --config profile.release.opt-level=1 --config profile.release.lto=false
}
