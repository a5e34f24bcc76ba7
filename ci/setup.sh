# Sourced by ci/drill and ci/test: finds Python, makes the virtual environment, installs the project into it.
# Idempotent; asks nothing; writes only below the checkout. shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${RESTORE_DRILL_VENV:-$root/.venv}

say() { printf '%s\n' "$*" >&2; }

die() {
  say "error: $1"
  say "remedy: $2"
  exit 69 # EX_UNAVAILABLE
}

# The newest suitable Python that is installed, preferring the one called python3.
find_python() {
  local name
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$name" >/dev/null 2>&1 &&
      "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      command -v "$name"
      return
    fi
  done
  die 'no Python 3.11 or newer was found' 'apt-get install python3 (Debian 12, Ubuntu 24.04 or newer)'
}

# Install Debian packages where that is allowed; returns 1 where it is not.
install_packages() {
  command -v apt-get >/dev/null 2>&1 || return 1
  [ "$(id -u)" = 0 ] || return 1
  say "installing $*"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 ||
    { apt-get update -qq >/dev/null 2>&1 &&
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
}

make_venv() {
  local python=$1
  if "$python" -m venv "$venv" >/dev/null 2>&1; then
    return
  fi
  # Debian splits ensurepip off; a half-made environment is of no use.
  rm -rf "$venv"
  install_packages python3-venv ||
    die 'this Python cannot make virtual environments' 'sudo apt-get install python3-venv'
  "$python" -m venv "$venv"
}

# Usage: setup EXTRAS; installs again only when what it would install has changed.
setup() {
  local extras=$1 python wanted stamp
  exec 9>"$root/.setup.lock"
  if command -v flock >/dev/null 2>&1; then
    flock 9
  fi
  if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c '' >/dev/null 2>&1; then
    python=$(find_python)
    say "making a virtual environment in $venv with $python"
    make_venv "$python"
  fi
  stamp=$venv/.installed-$extras
  wanted=$({ "$venv/bin/python" -V; cat "$root/pyproject.toml"; echo "$root"; } | cksum)
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    say "installing restore-drill[$extras]"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root[$extras]" ||
      die 'the packages could not be installed' 'see the message above; a package index must be reachable'
    printf '%s\n' "$wanted" >"$stamp"
  fi
  exec 9>&-
}
