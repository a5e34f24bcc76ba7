# shellcheck shell=bash
# Sourced by ci/test, behind ci/setup.sh: a container engine for as long as the tests run, where none answers and one may
# be started.

# Usage: engine_answers PYTHON; whether one answers where DOCKER_HOST, or nobody, says.
engine_answers() {
  "$1" -c 'import docker; docker.from_env(timeout=10).ping()' >/dev/null 2>&1
}

# Usage: start_engine PYTHON DIRECTORY; sets $engine to the process that stop_engine ends. An engine that is there serves
# as it is; one that DOCKER_HOST names is somebody's own to start. Images stay where the engine keeps them, for next time.
start_engine() {
  local python=$1 log=$2/dockerd.log
  engine=
  if engine_answers "$python"; then
    return
  fi
  if [ -n "${DOCKER_HOST:-}" ] || [ "$(id -u)" != 0 ] || ! command -v dockerd >/dev/null 2>&1; then
    say 'no container engine answers, and the tests that need one cannot run'
    say 'remedy: start Docker Engine as root, or set DOCKER_HOST'
    return
  fi
  say 'starting dockerd'
  # In a session of its own, because Ctrl-C is to end the tests first; and ended with this shell, however that ends.
  setsid setpriv --pdeathsig TERM dockerd --pidfile "$2/dockerd.pid" >"$log" 2>&1 </dev/null &
  engine=$!
  local until=$((SECONDS + 90))
  until engine_answers "$python"; do
    if [ "$SECONDS" -ge "$until" ] || ! kill -0 "$engine" 2>/dev/null; then
      say 'dockerd does not answer, and the tests that need it cannot run; the end of its log:'
      tail -n 5 "$log" >&2
      return
    fi
    sleep 0.2
  done
}

# End the engine that start_engine started, if it did, and what runs in it.
stop_engine() {
  [ -n "${engine:-}" ] || return 0
  local until=$((SECONDS + 60))
  kill "$engine" 2>/dev/null || return 0
  while kill -0 "$engine" 2>/dev/null && [ "$SECONDS" -lt "$until" ]; do
    sleep 0.2
  done
  kill -KILL "$engine" 2>/dev/null || true
}
