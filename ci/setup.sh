# shellcheck shell=bash
# Sourced by ci/drill and ci/test: finds Python, makes the virtual environment, installs the project into it.
# Idempotent; asks nothing; writes only below the checkout, or where RESTORE_DRILL_VENV says.

unset CDPATH PYTHONHOME
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
  die 'no Python 3.11 or newer was found' 'sudo apt-get install python3 (Debian 12, Ubuntu 24.04 or newer)'
}

# Install Debian packages where that is allowed; returns 1 where it is not, or where it fails.
install_packages() {
  command -v apt-get >/dev/null 2>&1 || return 1
  [ "$(id -u)" = 0 ] || return 1
  say "installing $*"
  without_services apt_get install "$@" >/dev/null 2>&1 ||
    { apt_get update >/dev/null 2>&1 && without_services apt_get install "$@" >/dev/null; }
}

# Run a command while no package may start its service: what is installed here serves nobody (policy-rc.d is Debian's way
# to say so). A policy that is there already stays.
without_services() {
  local policy=/usr/sbin/policy-rc.d status=0
  if [ -e "$policy" ] || ! printf '#!/bin/sh\nexit 101\n' 2>/dev/null >"$policy"; then
    "$@"
    return
  fi
  chmod 755 "$policy"
  "$@" || status=$?
  rm -f "$policy"
  return "$status"
}

apt_get() {
  local options=(-qq -o DPkg::Lock::Timeout=120)
  [ "$1" = update ] || options+=(-y --no-install-recommends)
  DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" "$@" </dev/null
}

# Whether the environment works: its Python starts (an upgrade of the system may have taken it away) and has pip.
works() {
  [ -x "$venv/bin/python" ] &&
    "$venv/bin/python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("pip") is None)' >/dev/null 2>&1
}

# Nothing is removed but an environment: RESTORE_DRILL_VENV may name a directory by mistake.
remove_venv() {
  if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ ! -e "$venv/bin/python" ] && ! rmdir "$venv" 2>/dev/null; then
    die "$venv is not a virtual environment" 'name another directory in RESTORE_DRILL_VENV, or remove this one'
  fi
  rm -rf "$venv"
}

make_venv() {
  local python=$1 package
  remove_venv
  if "$python" -m venv "$venv" >/dev/null 2>&1 && works; then
    return
  fi
  # Debian splits ensurepip off; a half-made environment is of no use.
  rm -rf "$venv"
  package=${python##*/}-venv
  install_packages "$package" || die 'this Python cannot make virtual environments' "sudo apt-get install $package"
  if ! "$python" -m venv "$venv" >&2 || ! works; then
    die "$python cannot make a virtual environment in $venv" 'see the message above'
  fi
}

# What an installation depends on; another one is needed when this changes.
fingerprint() {
  { "$venv/bin/python" -V && cat "$root/pyproject.toml" && echo "$root"; } | cksum
}

# Whether these extras, or more, were installed for this fingerprint.
is_installed() {
  local extras=$1 wanted=$2 stamp
  for stamp in "$venv"/.installed-*; do
    case ",${stamp##*/.installed-}," in
      *",$extras,"*) [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return ;;
    esac
  done
  return 1
}

# Index, proxy, cache and certificates are those of the user's own pip settings; only where it installs to is ours.
install() {
  local extras=$1
  say "installing restore-drill[$extras]"
  env -u PIP_TARGET -u PIP_PREFIX -u PIP_ROOT PIP_USER=0 \
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "${root}[$extras]" >&2 ||
    die 'the packages could not be installed' 'see the message above; a package index must be reachable'
}

# Usage: setup EXTRAS; installs again only when what it would install has changed.
setup() {
  local extras=$1 python wanted
  mkdir -p "$(dirname "$venv")"
  if command -v flock >/dev/null 2>&1; then
    exec 9>"$venv.lock"
    flock 9
  fi
  if ! works; then
    python=$(find_python)
    say "making a virtual environment in $venv with $python"
    make_venv "$python"
  fi
  wanted=$(fingerprint)
  if ! is_installed "$extras" "$wanted"; then
    install "$extras"
    printf '%s\n' "$wanted" >"$venv/.installed-$extras"
  fi
  exec 9>&-
}
