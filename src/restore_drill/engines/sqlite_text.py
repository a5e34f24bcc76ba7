"""Restores a database from SQL text of any size. Runs inside the sandbox.

``sqlite3 .dump`` begins its text with ``BEGIN`` and ends it with ``COMMIT``: the only witness of its being whole. It is
no witness of anything else, since a corrupt database is dumped with ``COMMIT`` as well.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from restore_drill.engines import sqlite_probe
from restore_drill.engines.sqlite_connection import Deadline
from restore_drill.engines.sqlite_loader import Loader, RowsFailed
from restore_drill.engines.sqlite_split import Piece, Splitter
from restore_drill.errors import BackupFailed
from restore_drill.model import Stage
from restore_drill.sandboxes.base import Call

_CHUNK: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"
#: A last statement that needs no semicolon.
_LAST: Final = re.compile(rb"(?:COMMIT|END)(?:\s+TRANSACTION)?\s*", re.IGNORECASE)


def load(call: Call, payload: str, allow_empty: bool, seconds: float) -> dict[str, Any]:
    """Load a text into a fresh database, and make sure that something came back."""
    return load_file(call, call.work / payload, allow_empty=allow_empty, seconds=seconds)


def load_file(call: Call, text: Path, *, allow_empty: bool, seconds: float) -> dict[str, Any]:
    """Load the text of a file into a fresh database.

    Raises:
        BackupFailed: It is cut, is no SQL that SQLite understands, or reaches outside.
        CouldNotVerify: Memory, disk or time did not suffice.
    """
    with sqlite_probe.deadline_of(call, seconds) as deadline:
        try:
            loader = _run(call, text, deadline, together=True)
        except RowsFailed:
            deadline.check()
            # Slower, one statement at a time, to be able to say which one it was.
            loader = _run(call, text, deadline, together=False)
    database = call.work / sqlite_probe.RESTORED
    answer = sqlite_probe.bring_back(call, database, allow_empty=allow_empty, seconds=seconds)
    facts = {**answer["facts"], **loader.facts(), "text_bytes": text.stat().st_size}
    return {**answer, "facts": facts, "notes": loader.notes()}


def _run(call: Call, text: Path, deadline: Deadline, *, together: bool) -> Loader:
    database = call.work / sqlite_probe.RESTORED
    database.parent.mkdir(mode=0o700, exist_ok=True)
    database.unlink(missing_ok=True)
    database.touch(mode=0o600)
    loader = Loader(database, deadline)
    with contextlib.closing(loader.connection):
        for piece in pieces(call, text, together=together):
            loader.take(piece)
        loader.finish()
    return loader


def pieces(call: Call, text: Path, *, together: bool) -> Iterator[Piece]:
    """The statements of a file, a chunk of which is in memory at a time.

    Raises:
        BackupFailed: It ends in the middle of one.
        CouldNotVerify: One is longer than memory allows.
    """
    splitter, done, size = Splitter(together=together), 0, text.stat().st_size
    with text.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield from splitter.feed(chunk if done else chunk.removeprefix(_BOM))
            done += len(chunk)
            call.report({"bytes": done, "of": size})
    yield from splitter.feed(b"", last=True)
    rest = splitter.rest()
    if rest is not None and not _LAST.fullmatch(rest.text):
        raise BackupFailed(
            f"the text ends in the middle of the statement that begins on line {rest.line}",
            remedy="Compare its size with the original, and take the backup again: it is cut.",
            stage=Stage.RESTORE,
        )
    if rest is not None:
        yield rest
