"""Call functions that are meant for a sandbox directly, in this process: a harness for calling them, nothing more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


class DirectCall:
    """What a sandbox would hand to a function."""

    def __init__(self, work: Path, feed: Iterable[bytes] = (), until: float = float("inf")) -> None:
        self.work = work
        self.until = until
        self.reports: list[Mapping[str, Any]] = []
        self._feed = feed

    def chunks(self) -> Iterator[bytes]:
        return iter(self._feed)

    def report(self, progress: Mapping[str, Any]) -> None:
        self.reports.append(progress)
