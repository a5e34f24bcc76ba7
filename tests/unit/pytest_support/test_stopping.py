"""Signals: SIGTERM does what Ctrl-C does, once, and workers are told by their numbers, strangers never."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from restore_drill.pytest_support.stopping import raise_on_sigterm, stop_workers


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_request_to_terminate_is_an_interruption_once() -> None:
    raise_on_sigterm()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)  # does not break the clean-up
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_a_thread_leaves_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=raise_on_sigterm)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two that wait for the end of their input."""
    found = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(2)]
    yield found
    for child in found:
        child.kill()
        child.communicate()


def test_workers_of_this_process_are_told_and_nobody_else(
    tmp_path: Path, children: list[subprocess.Popen[bytes]]
) -> None:
    worker, other = children
    (tmp_path / f"progress.gw0.{worker.pid}").touch()
    (tmp_path / f"progress.main.{other.pid}").touch()
    (tmp_path / f"progress.gw1.{os.getppid()}").touch()
    (tmp_path / "progress.gw2.notanumber").touch()
    (tmp_path / "progress.gw3.999999999").touch()
    stop_workers(tmp_path)
    assert worker.wait(30) == -signal.SIGTERM
    assert other.poll() is None
