"""What an error of SQLite means for a backup, in words that quote no data. Runs inside the sandbox."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from restore_drill.engines.sqlite_format import HEADER_SIZE, Header
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded, RestoreDrillError
from restore_drill.model import Stage

#: What a call of SQLite may raise: its message may quote a damaged name, which Python then fails to decode;
#: and Python has an error of its own for a lack of memory.
SqliteProblem = sqlite3.Error | UnicodeDecodeError | MemoryError
ERRORS: Final = (sqlite3.Error, UnicodeDecodeError, MemoryError)

#: What helps against a deadline.
MORE_TIME: Final = "Raise the target's deadlines, or check a smaller sample with queries of your own."


def is_damage(problem: SqliteProblem) -> bool:
    """Whether SQLite says that the bytes are bad (SQLITE_CORRUPT, SQLITE_NOTADB)."""
    return primary_code(problem) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def lacks_module(problem: SqliteProblem) -> bool:
    """Whether a virtual table cannot be used because its module, or a tokenizer of it, is not on this machine."""
    return str(problem).startswith(_NOT_HERE)


def translate(
    problem: SqliteProblem, cause: str, path: Path | None = None, stage: Stage | None = None
) -> RestoreDrillError:
    """What an error of SQLite means for the backup.

    Args:
        problem: The error.
        cause: What was being done and failed, as the beginning of a sentence.
        path: The database, to tell a newer writer from damage.
        stage: The stage that owns the cause.
    """
    details = (printable(str(problem)),) if str(problem) else ()
    code = primary_code(problem)
    if newer := _newer_writer(problem, path):
        return CouldNotVerify(f"{cause}: {newer}", remedy=_NEWER, stage=stage, details=details)
    if code in _BAD_BYTES:
        remedy = "Use another copy or an earlier snapshot, and check the live database for the same damage."
        return BackupFailed(f"{cause}: {_BAD_BYTES[code]}", remedy=remedy, stage=stage, details=details)
    if code == sqlite3.SQLITE_INTERRUPT:
        return DeadlineExceeded(f"{cause}: it did not end in time", remedy=MORE_TIME, stage=stage)
    reason, remedy = _OUR_TROUBLE.get(code, (f"SQLite answers {error_name(problem)}", "See the details."))
    return CouldNotVerify(f"{cause}: {reason}", remedy=remedy, stage=stage, details=details)


def error_name(problem: BaseException) -> str:
    """SQLite's name for an error, without the text that may quote data."""
    return str(getattr(problem, "sqlite_errorname", type(problem).__name__))


def printable(text: str, limit: int = 300) -> str:
    """A text from a hostile place, on one line and not without end."""
    shown = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[: limit + 1]
    )
    return shown if len(shown) <= limit else shown[:limit] + "…"


_BAD_BYTES: Final = {
    sqlite3.SQLITE_CORRUPT: "the database is malformed",
    sqlite3.SQLITE_NOTADB: "the file is not a database",
}
_OUR_TROUBLE: Final = {
    sqlite3.SQLITE_NOMEM: ("memory ran out", "Give the sandbox more memory."),
    sqlite3.SQLITE_FULL: ("the disk is full", "Make room where drills restore to."),
    sqlite3.SQLITE_IOERR: ("reading or writing the private copy failed", "Check the disk that drills restore to."),
    sqlite3.SQLITE_TOOBIG: ("a value is larger than SQLite may read here", "Ask for less."),
}
_NOT_HERE: Final = ("no such module", "no such tokenizer", "unknown tokenizer", "error in tokenizer constructor")
_NEWER: Final = "Run the drill with a SQLite at least that new."


def primary_code(problem: SqliteProblem) -> int:
    """SQLite's error code without its extension; 0 for an error of Python's own layer."""
    if isinstance(problem, UnicodeDecodeError):
        return sqlite3.SQLITE_CORRUPT
    if isinstance(problem, MemoryError):
        return sqlite3.SQLITE_NOMEM
    return int(getattr(problem, "sqlite_errorcode", 0)) & 0xFF


def _newer_writer(problem: SqliteProblem, path: Path | None) -> str:
    """Words for a schema that this SQLite cannot read because a newer one wrote it; a damaged page is none."""
    text = str(problem)
    if path is None or not text.startswith(("malformed database schema", "unsupported file format")):
        return ""
    if "syntax error" not in text and "unsupported" not in text and "no such" not in text:
        return ""
    with path.open("rb") as file:
        header = Header.parse(file.read(HEADER_SIZE))
    here = sqlite3.sqlite_version_info
    if header is None or header.written_by_number <= here[0] * 1_000_000 + here[1] * 1000 + here[2]:
        return ""
    return f"SQLite {header.written_by} wrote it, and {sqlite3.sqlite_version} does not understand its schema"
