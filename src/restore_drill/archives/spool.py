"""Lines sorted in bounded memory: what does not fit is written to temporary files in sorted runs and merged."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterator
from typing import IO

#: Bytes of lines that are kept in memory.
_IN_MEMORY = 32 << 20
#: Runs are merged into one when there are this many, so that descriptors do not run out.
_MOST_RUNS = 64


class SortedSpool:
    """Collects byte lines and gives them back in byte order, as often as asked.

    Args:
        directory: Where temporary files may lie; they have no name and vanish with the process.
        in_memory: Bytes of lines to keep in memory.
    """

    def __init__(self, directory: str, in_memory: int = _IN_MEMORY) -> None:
        self._directory = directory
        self._in_memory = in_memory
        self._lines: list[bytes] = []
        self._size = 0
        self._runs: list[IO[bytes]] = []
        self.count = 0

    def add(self, line: bytes) -> None:
        """Take a line in; it must not hold a newline."""
        self._lines.append(line)
        self.count += 1
        self._size += len(line)
        if self._size > self._in_memory:
            self._spill()

    def __iter__(self) -> Iterator[bytes]:
        """Every line in byte order."""
        self._lines.sort()
        if not self._runs:
            return iter(self._lines)
        return heapq.merge(self._lines, *map(_read, self._runs))

    def close(self) -> None:
        """Drop everything."""
        for run in self._runs:
            run.close()
        self._runs, self._lines, self._size = [], [], 0

    def _spill(self) -> None:
        merging = len(self._runs) >= _MOST_RUNS
        run = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115 - it stays open until the spool is closed
        self._lines.sort()
        run.writelines(line + b"\n" for line in (self if merging else self._lines))
        if merging:
            for old in self._runs:
                old.close()
            self._runs = []
        self._runs.append(run)
        self._lines, self._size = [], 0


def _read(run: IO[bytes]) -> Iterator[bytes]:
    run.seek(0)
    for line in run:
        yield line[:-1]
