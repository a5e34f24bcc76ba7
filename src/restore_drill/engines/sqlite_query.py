"""Asking questions of a restored database. Runs inside the sandbox."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.sqlite_connection import Reading, connect, explaining, reading_only
from restore_drill.engines.sqlite_errors import ERRORS, error_name, is_damage, printable, translate
from restore_drill.engines.sqlite_probe import deadline_of
from restore_drill.errors import CouldNotVerify
from restore_drill.sandboxes.base import Call

#: A query's answer is a number or a few names, not a copy of the data.
ROWS_AT_MOST: Final = 10_000
BYTES_AT_MOST: Final = 16 << 20


def query(call: Call, database: str, sql: str, seconds: float) -> list[list[Any]]:
    """The rows of one read-only statement, values as JSON: ``{"bytes", "sha256"}`` for what is not text or a number."""
    path = call.work / database
    with deadline_of(call, seconds) as deadline:
        try:
            with contextlib.closing(connect(path, deadline, reading_only, reading=Reading.SEEKING_ALONE)) as connection:
                connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 4 * BYTES_AT_MOST)
                connection.text_factory = _decode
                _compile(connection, sql, path)
                return list(_rows(connection.execute(sql)))
        except ERRORS as problem:
            if error_name(problem) == _FORBIDDEN:
                raise CouldNotVerify("the query does more than read", remedy=_READ) from problem
            raise translate(problem, "the query did not come to an end", path) from problem


def _compile(connection: sqlite3.Connection, sql: str, database: Path) -> None:
    """Have the statement understood before anything is read: errors up to there quote the rule and no data."""
    if not sql.isascii() and any("\ud800" <= character <= "\udfff" for character in sql):
        raise CouldNotVerify("the query is wrong: it is not valid text", remedy=_CORRECT)
    # Some virtual tables prepare statements that write when they are first spoken of; EXPLAIN runs none of them.
    connection.set_authorizer(explaining)
    with contextlib.suppress(*ERRORS, sqlite3.Warning):
        connection.execute(f"EXPLAIN {sql}").close()
    connection.set_authorizer(reading_only)
    try:
        connection.execute(f"EXPLAIN {sql}").close()
    except (*ERRORS, sqlite3.Warning) as problem:
        if not isinstance(problem, sqlite3.Warning) and is_damage(problem):
            raise translate(problem, "the query cannot be answered", database) from problem
        if error_name(problem) == _FORBIDDEN:
            raise CouldNotVerify(f"the query does more than read: {printable(str(problem))}", remedy=_READ) from problem
        raise CouldNotVerify(f"the query is wrong: {printable(str(problem))}", remedy=_CORRECT) from problem


def _rows(cursor: sqlite3.Cursor) -> Iterator[list[Any]]:
    size = 0
    for rows, row in enumerate(cursor, 1):
        values = [_as_json(value) for value in row]
        size += sum(len(value) if isinstance(value, str) else 24 for value in values)
        if rows > ROWS_AT_MOST or size > BYTES_AT_MOST:
            raise CouldNotVerify(
                f"the query answers with more than {ROWS_AT_MOST} rows or {BYTES_AT_MOST >> 20} MiB",
                remedy="Ask for a count, a maximum or a few rows.",
            )
        yield values


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _decode(raw: bytes) -> Any:
    """A text, or the bytes of what claims to be one."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


_FORBIDDEN: Final = "SQLITE_AUTH"
_READ: Final = "Ask with SELECT (or a reading PRAGMA) only."
_CORRECT: Final = "Correct the statement in the catalogue."
