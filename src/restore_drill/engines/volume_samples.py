"""What the ``volume`` engine proves itself with: the state of a small application, and the ways in which it goes bad.

The application is any that serves the files of its volume on port 8080, and whose program ``serve.py check`` says
whether the SQLite catalogue in the volume can be read and every file that it lists is there in its size.
"""

from __future__ import annotations

import io
import sqlite3
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.base import Sample

#: When their snapshot was taken, and their newest file written (seconds since the epoch).
TAKEN: Final = 1_700_000_000
_LONG_AGO: Final = 1_000_000_000
#: The account of the application.
_ACCOUNT: Final = 1000
#: What the target's ``engine_options`` would say.
SETTINGS: Final[Mapping[str, Any]] = {"mount": "/data"}
#: What a catalogue would expect of these samples.
EXPECT: Final[Mapping[str, Any]] = {
    "files": {"must_exist": ["catalogue.db", "uploads/*"], "must_not_exist": ["**/*.tmp"]},
    "newest_file": {"within": "1h"},
    "smoke": [
        {"name": "its-own-check", "run": ["python3", "-I", "/opt/app/serve.py", "check"]},
        {"name": "it-serves-a-file", "http": {"port": 8080, "path": "/files/uploads/3.bin"}},
    ],
}


def samples() -> Iterator[Sample]:
    """The good one first."""
    good = contents()
    lost = {name: data for name, data in good.items() if name != "uploads/7.bin"}
    yield Sample("good", "", volume(good))
    yield Sample("catalogue-lost", "files", volume({name: good[name] for name in good if name != "catalogue.db"}))
    yield Sample("half-written", "files", volume({**good, "uploads/8.tmp": b"half"}))
    yield Sample("stale", "newest", volume(good, written=_LONG_AGO))
    yield Sample("upload-lost", "smoke", volume(lost))
    yield Sample("upload-short", "smoke", volume({**good, "uploads/7.bin": good["uploads/7.bin"][:-1]}))
    yield Sample("catalogue-empty", "smoke", volume({**good, "catalogue.db": b""}))
    yield Sample("no-file", "restores", volume({}))


def contents(uploads: int = 12) -> dict[str, bytes]:
    """The files of a good volume by name."""
    files = {f"uploads/{number}.bin": bytes([number]) * (100 + number) for number in range(uploads)}
    catalogue = sqlite3.connect(":memory:")
    try:
        catalogue.execute("CREATE TABLE files (name TEXT PRIMARY KEY, bytes INTEGER NOT NULL)")
        catalogue.executemany("INSERT INTO files VALUES (?, ?)", ((name, len(data)) for name, data in files.items()))
        catalogue.commit()
        return {"catalogue.db": catalogue.serialize(), **files}
    finally:
        catalogue.close()


def volume(files: Mapping[str, bytes], *, written: int = TAKEN) -> Callable[[Path], Path]:
    """A tar of a volume as ``docker run --volumes-from`` and tar write it."""

    def build(directory: Path) -> Path:
        path = directory / "volume.tar"
        with tarfile.open(path, "w") as archive:
            for name in (".", "./uploads"):
                archive.addfile(_member(name, tarfile.DIRTYPE, 0o750, written))
            for name, data in files.items():
                member = _member(f"./{name}", tarfile.REGTYPE, 0o640, written)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return path

    return build


def _member(name: str, kind: bytes, mode: int, written: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.mtime = kind, mode, written
    member.uid = member.gid = _ACCOUNT
    return member
