"""The thread that looks at what a directory sandbox's programs write, and ends them when it is too much."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from restore_drill import disk
from restore_drill.errors import CouldNotVerify
from restore_drill.quantities import format_size
from restore_drill.sandboxes.base import Limits

#: Seconds between two looks, and how many times as long as a look took is waited before the next.
_PAUSE = 0.5
_REST = 10.0
_BLOCK = 512


class DiskWatch:
    """Watches directories until :meth:`stop`.

    What lies in a directory that its account closed is not counted, and need not be: when less than the reserve stays
    free on the disk, whoever took it, the programs are ended as well.

    Args:
        directories: Where programs may write.
        budget: Bytes that they may take up there.
        end: Ends the programs; called once, from the watching thread.
    """

    def __init__(self, directories: Iterable[Path], budget: int, end: Callable[[], None]) -> None:
        self.problem: CouldNotVerify | None = None
        self._directories = tuple(directories)
        self._budget = budget
        self._end = end
        self._reserve = disk.reserve(self._directories[0])
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="restore-drill-disk", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more; returns when nobody is ended any more."""
        self._stopped.set()
        self._thread.join()

    def look(self) -> CouldNotVerify | None:
        """What is wrong now, if anything is."""
        free = disk.free_space(self._directories[0])
        if free < self._reserve:
            return self._too_much(f"only {format_size(free)} are left on the disk")
        # What has no budget is bounded by the disk alone, and need not be walked through.
        bounded = self._budget < Limits().disk
        used = sum(size_of(directory) for directory in self._directories) if bounded else 0
        if used > self._budget:
            return self._too_much(f"programs wrote {format_size(used)}, they may write {format_size(self._budget)}")
        return None

    def _watch(self) -> None:
        pause = _PAUSE
        while not self._stopped.wait(pause):
            begun = time.monotonic()
            try:
                self.problem = self.look()
            except (OSError, RecursionError) as problem:
                self.problem = self._too_much(f"what programs wrote cannot be measured: {type(problem).__name__}")
            if self.problem is not None:
                self._end()
                return
            pause = max(_PAUSE, _REST * (time.monotonic() - begun))

    def _too_much(self, why: str) -> CouldNotVerify:
        return CouldNotVerify(
            f"the sandbox was ended: {why}",
            looked_at=str(self._directories[0].parent),
            remedy="If the restored system is that big, give --work-dir a larger disk, or raise sandbox.disk.",
        )


def size_of(directory: Path) -> int:
    """Bytes of disk that a tree takes up, links not followed; what vanishes meanwhile does not count."""
    total = 0
    for _, _, names, holder in os.fwalk(directory):
        for name in names:
            try:
                total += os.stat(name, dir_fd=holder, follow_symlinks=False).st_blocks * _BLOCK
            except OSError:
                continue
    return total
