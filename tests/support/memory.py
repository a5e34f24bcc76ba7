"""How much memory a tree of processes takes at its peak, as the kernel accounts it."""

from __future__ import annotations

import os
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

#: Seconds between two looks. What lies between them is not missed for a single process: the kernel keeps its peak.
_EVERY = 0.05


@dataclass
class Peak:
    """The most that was seen, in bytes.

    Attributes:
        largest: Resident memory of the largest process (``VmHWM``: whatever it maps of files included).
        together: Resident memory of all processes at one time, a page that several share counted once.
        private: Likewise, without the pages of files that are mapped: those the kernel may drop at any time.
        largest_command: The beginning of the largest one's command line.
        processes: The most processes at one time.
    """

    largest: int = 0
    together: int = 0
    private: int = 0
    largest_command: str = ""
    processes: int = 0

    def look(self, root: int, besides: Container[Path] = ()) -> None:
        """Take in what the descendants of a process have now; some of them, and theirs, are none of our business."""
        found = list(descendants(root, besides))
        self.processes = max(self.processes, len(found))
        together = private = 0
        for process in found:
            shared_out = _text(process / "smaps_rollup")
            together += _field(shared_out, "Pss")
            private += _field(shared_out, "Pss_Anon") + _field(shared_out, "Pss_Shmem")
            highest = _field(_text(process / "status"), "VmHWM")
            if highest > self.largest:
                self.largest, self.largest_command = highest, _command(process)
        self.together = max(self.together, together)
        self.private = max(self.private, private)


@contextmanager
def watched(root: int | None = None) -> Iterator[Peak]:
    """Watch what a process (default: this one) starts from now on, until the block ends."""
    peak, watched_root = Peak(), os.getpid() if root is None else root
    ended = threading.Event()
    before = frozenset(descendants(watched_root))

    def watch() -> None:
        while not ended.wait(_EVERY):
            peak.look(watched_root, before)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()


def descendants(root: int, besides: Container[Path] = ()) -> Iterator[Path]:
    """The directories in ``/proc`` of all processes that a process started, and those started."""
    for task in _listed(Path(f"/proc/{root}/task")):
        for child in _text(task / "children").split():
            if Path("/proc", child) not in besides:
                yield Path("/proc", child)
                yield from descendants(int(child), besides)


def _listed(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []  # it has ended


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _field(text: str, name: str) -> int:
    """A line ``name:  123 kB``, in bytes; 0 of a process that has ended."""
    for line in text.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _command(process: Path) -> str:
    return _text(process / "cmdline").replace("\0", " ")[:200]
