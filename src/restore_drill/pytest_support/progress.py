"""Live progress across processes: every worker writes what it is doing into a small shared file, one thread reads.

The slot is written in memory (``mmap``), so that telling costs about a microsecond; a torn read is no JSON and is
ignored.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from restore_drill.quantities import format_duration, format_size

_SLOT = 512
#: How often the bytes done are written at most (seconds).
_EVERY = 0.2


class SharedProgress:
    """Tells what this process is doing.

    Args:
        directory: The run's directory.
        worker: The name of this process.
    """

    def __init__(self, directory: Path, worker: str) -> None:
        self._path = directory / f"progress.{worker}"
        self._slot: mmap.mmap | None = None
        self._state: tuple[str, str, str, int, float] | None = None
        self._done = 0
        self._told = 0.0

    def begin(self, target: str, copy: str, stage: str, total: int) -> None:
        """A stage begins."""
        self._state = (target, copy, stage, total, time.time())
        self._done = 0
        self._tell()

    def advance(self, count: int) -> None:
        """So many more bytes are done."""
        self._done += count
        if time.monotonic() - self._told > _EVERY:
            self._tell()

    def end(self) -> None:
        """The stage ended."""
        self._state = None
        self._tell()

    def _tell(self) -> None:
        if self._slot is None:
            self._slot = _open_slot(self._path)
            if self._slot is None:
                return
        self._told = time.monotonic()
        text = json.dumps([*self._state, self._done]) if self._state else ""
        self._slot[:] = text.encode()[:_SLOT].ljust(_SLOT)


def _open_slot(path: Path) -> mmap.mmap | None:
    """The shared slot, or ``None`` where the run's directory cannot be written (the run reports that itself).

    Its room is claimed before it is mapped: writing to a page that a full disk has no room for is a SIGBUS.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        return None
    try:
        os.posix_fallocate(descriptor, 0, _SLOT)
        return mmap.mmap(descriptor, _SLOT)
    except OSError:
        return None
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Step:
    """What one process is doing."""

    target: str
    copy: str
    stage: str
    total: int
    since: float
    done: int

    def describe(self, now: float) -> str:
        """``orders-db/offsite: fetch 3.2 GB of 10.4 GB, 220 MB/s, 33 s left``."""
        seconds = max(now - self.since, 0.001)
        where = f"{self.target}/{self.copy}: {self.stage}"
        if not self.done:
            return f"{where} {format_duration(round(seconds))}"
        rate = self.done / seconds
        text = f"{where} {format_size(self.done)}"
        if self.total > 0:
            left = max(self.total - self.done, 0) / rate
            text += f" of {format_size(self.total)}, {format_size(int(rate))}/s, {format_duration(round(left))} left"
            return text
        return f"{text}, {format_size(int(rate))}/s"


def steps(directory: Path) -> list[Step]:
    """What every process of a run is doing now: what takes longest first, for a terminal has room for few."""
    found = []
    for path in directory.glob("progress.*"):
        with contextlib.suppress(OSError, ValueError, TypeError):
            text = path.read_bytes().strip()
            if text:
                found.append(Step(*json.loads(text)))
    return sorted(found, key=lambda step: (step.since, step.target, step.copy))


class Watcher:
    """Shows what takes long, in a thread of its own.

    Args:
        directory: The run's directory.
        show: Called with one line for each step under way.
        every: Seconds between two looks.
        patience: Steps younger than this (seconds) are not worth a line.
    """

    def __init__(self, directory: Path, show: Callable[[list[str]], None], every: float, patience: float) -> None:
        self._directory = directory
        self._show = show
        self._every = every
        self._patience = patience
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="restore-drill-progress", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            now = time.time()
            self._show([step.describe(now) for step in steps(self._directory) if now - step.since >= self._patience])
