"""What backup jobs leave on a disk: objects with sidecars and generations with manifests, dated as if made then."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from restore_drill.patterns import PathPattern
from restore_drill.repositories.base import Repository, Staging

MakeRepository = Callable[..., Repository]
MakeStaging = Callable[..., Staging]


@cache
def database(rows: int = 100) -> bytes:
    """A small database with that many orders."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "db")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("create table orders (id integer primary key, what text)")
            connection.executemany("insert into orders (what) values (?)", ((f"order {n}",) for n in range(rows)))
            connection.commit()
        return path.read_bytes()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def date(path: Path, when: datetime) -> None:
    """Give a file or directory the modification time of then."""
    os.utime(path, (when.timestamp(), when.timestamp()), follow_symlinks=False)


class Objects:
    """A job that writes one file a snapshot, and its digest beside it.

    Args:
        root: The store.
        text: Where it writes, relative to the store.
        zone: The zone of its names.
    """

    def __init__(self, root: Path, text: str, zone: str = "UTC") -> None:
        self.root = root
        self.pattern = PathPattern(text, ZoneInfo(zone))

    def path(self, when: datetime) -> Path:
        return self.root / self.pattern.format(when)

    def put(
        self,
        when: datetime,
        content: bytes = b"",
        *,
        name: str = "",
        digest: bool = True,
        delay: timedelta = timedelta(seconds=30),
    ) -> Path:
        """One backup, which was on the store ``delay`` after the time it claims."""
        path = self.root / name if name else self.path(when)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content or database())
        date(path, when + delay)
        if digest:
            self.sidecar(path).write_text(f"{sha256(path.read_bytes())}  {path.name}\n")
            date(self.sidecar(path), when + delay)
        return path

    @staticmethod
    def sidecar(path: Path) -> Path:
        return path.with_name(f"{path.name}.sha256")


class Generations:
    """A job that fills one directory a snapshot, and lists its files in ``SHA256SUMS``.

    The store dates a directory by when its inode last changed, which nobody can set: what the names claim must be
    relative to the present.
    """

    def __init__(self, root: Path, text: str, zone: str = "UTC") -> None:
        self.root = root
        self.pattern = PathPattern(text, ZoneInfo(zone))

    def path(self, when: datetime) -> Path:
        return self.root / self.pattern.format(when).rstrip("/")

    def put(self, when: datetime, files: dict[str, bytes], *, name: str = "", digest: bool = True) -> Path:
        root = self.root / name if name else self.path(when)
        for inner, content in files.items():
            (root / inner).parent.mkdir(parents=True, exist_ok=True)
            (root / inner).write_bytes(content)
            date(root / inner, when)
        if digest:
            lines = [f"{sha256(content)}  ./{inner}\n" for inner, content in files.items()]
            (root / "SHA256SUMS").write_text("".join(lines))
        return root
