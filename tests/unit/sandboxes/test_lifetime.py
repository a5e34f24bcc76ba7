"""What is left when the host process ends, in every way in which one can."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.sandboxes.waiting import eventually, is_gone

from restore_drill.sandboxes.reaper import reap
from restore_drill.testing.sandbox import processes_marked

_HOST = """
import sys
from pathlib import Path
from restore_drill.sandboxes import launcher
from restore_drill.sandboxes.base import Limits
from restore_drill.sandboxes.directory import DirectorySandbox
TRIALS = "restore_drill.sandboxes.trials"
base, marker, how = sys.argv[1:]
sandbox = DirectorySandbox(Path(base), run="run", name="target.copy", limits=Limits()).__enter__()
sandbox.call(f"{TRIALS}:leave_daemon", {"marker": marker}, deadline=60)
script, up = f": > up; sleep 3600; : {marker}", sandbox.work / "up"
sandbox.start(["sh", "-c", script], ready=up.exists, deadline=60)
print(launcher.current().pid, flush=True)
if how == "leave":
    sys.exit(0)
if how == "raise":
    raise ValueError("a defect")
try:
    sandbox.submit(f"{TRIALS}:hang", {}, deadline=3600).result()
finally:
    sandbox.dispose()
"""

_Start = Callable[[str], tuple[subprocess.Popen[str], int]]


@pytest.fixture
def marker() -> str:
    return f"marked-{os.getpid()}-{os.urandom(6).hex()}"


@pytest.fixture
def start(tmp_path: Path, marker: str) -> Iterator[_Start]:
    """Start a host process that has a daemon and a server in a sandbox; returns it and the number of its zygote."""
    hosts: list[subprocess.Popen[str]] = []

    def begin(how: str) -> tuple[subprocess.Popen[str], int]:
        host = subprocess.Popen(
            [sys.executable, "-c", _HOST, str(tmp_path), marker, how],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        hosts.append(host)
        assert host.stdout is not None
        return host, int(host.stdout.readline())

    yield begin
    for host in hosts:
        host.kill()
        host.communicate()


def _inside(marker: str) -> list[int]:
    """Marked processes but for the host, which has the mark in its own arguments."""
    return [pid for pid in processes_marked(marker) if b"sandboxes.directory" not in _arguments(pid)]


def _arguments(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b"sandboxes.directory"


def _runs(base: Path) -> list[Path]:
    root = base / f"restore-drill-{os.geteuid()}"
    return list(root.iterdir())


def test_host_that_is_killed_leaves_files_only_and_the_reaper_takes_them(
    start: _Start, marker: str, tmp_path: Path
) -> None:
    host, zygote = start("wait")
    assert len(_inside(marker)) >= 2
    assert reap(tmp_path) == []
    host.send_signal(signal.SIGKILL)
    host.wait()
    eventually(lambda: is_gone(zygote) and _inside(marker) == [])
    left = _runs(tmp_path)
    assert len(left) == 1
    assert reap(tmp_path) == left
    assert _runs(tmp_path) == []


def test_host_that_is_interrupted_leaves_nothing(start: _Start, marker: str, tmp_path: Path) -> None:
    host, zygote = start("wait")
    host.send_signal(signal.SIGINT)
    _, errors = host.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert is_gone(zygote) and _inside(marker) == []
    assert _runs(tmp_path) == []


@pytest.mark.parametrize(("how", "status"), [("leave", 0), ("raise", 1)])
def test_host_that_forgets_to_dispose_leaves_nothing(
    start: _Start, marker: str, tmp_path: Path, how: str, status: int
) -> None:
    host, zygote = start(how)
    assert host.wait(timeout=60) == status
    assert is_gone(zygote) and _inside(marker) == []
    assert _runs(tmp_path) == []


def test_zygote_that_is_told_to_end_ends_everything(start: _Start, marker: str) -> None:
    _, zygote = start("wait")
    os.kill(zygote, signal.SIGTERM)
    eventually(lambda: is_gone(zygote) and _inside(marker) == [])


def test_key_pressed_to_interrupt_reaches_the_host_only(start: _Start, marker: str) -> None:
    host, zygote = start("wait")
    assert os.getsid(zygote) != os.getsid(host.pid)
    assert all(os.getsid(pid) != os.getsid(host.pid) for pid in _inside(marker))
