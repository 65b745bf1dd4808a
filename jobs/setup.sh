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

# need_cargo_tool NAME VERSION: built from its source where it is missing; the lightest build that does the work.
need_cargo_tool() {
  local name=$1 version=$2
  command -v "$name" >/dev/null && return
  echo "setup: building $name (some minutes, once)"
  cargo install --locked --quiet "$name@$version" --config profile.release.opt-level=1 --config profile.release.lto=false
}
