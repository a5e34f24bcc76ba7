"""What the SQLite engine does with restored bytes. Every function runs inside the sandbox and returns JSON values."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from pathlib import Path
from typing import Any, Final

from restore_drill import disk
from restore_drill.engines import sqlite_companions as companions
from restore_drill.engines import sqlite_measure, sqlite_schema
from restore_drill.engines.base import nothing_came_back
from restore_drill.engines.sqlite_connection import Deadline, connect, forbid_outside
from restore_drill.engines.sqlite_errors import (
    ERRORS,
    SqliteProblem,
    lacks_module,
    primary_code,
    printable,
    translate,
)
from restore_drill.engines.sqlite_format import DATABASE, HEADER_SIZE, MAGIC, Header, recognise
from restore_drill.engines.sqlite_schema import Schema, quoted
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.sandboxes.base import Call

#: Where a database lies in the work directory once it was restored from a file.
RESTORED: Final = "restored/database.db"
#: What SQLite says when the file is shorter than its header, and of other damage that is not the schema's text.
_MALFORMED: Final = "database disk image is malformed"
#: Seconds before the caller gives up in which this side answers by itself.
_BEFORE: Final = 1.0


def restore_file(call: Call, payload: str, parts: list[str], allow_empty: bool, seconds: float) -> dict[str, Any]:
    """Move a database to where it is examined, apply its log or journal, and ask it the first question."""
    database = call.work / RESTORED
    database.parent.mkdir(mode=0o700, exist_ok=True)
    (call.work / payload).replace(database)
    companions.place(database, [call.work / part for part in parts])
    return bring_back(call, database, allow_empty=allow_empty, seconds=seconds)


def restore_tree(call: Call, root: str, database: str, allow_empty: bool, seconds: float) -> dict[str, Any]:
    """Bring back the database in a tree; ``database`` names it, ``""`` stands for the only one.

    Like one that was backed up alone it is moved out, with its log or journal: the tree's directories may be read-only.
    """
    base = call.work / root
    found = _named(base, database) if database else _only(base)
    restored = call.work / RESTORED
    restored.parent.mkdir(mode=0o700, exist_ok=True)
    found.parent.chmod(0o700)
    for ending in ("", companions.WAL, companions.JOURNAL):
        part = companions.beside(found, ending)
        if part.is_file() and not part.is_symlink():
            part.replace(companions.beside(restored, ending))
    return bring_back(call, restored, allow_empty=allow_empty, seconds=seconds)


def bring_back(call: Call, database: Path, *, allow_empty: bool, seconds: float) -> dict[str, Any]:
    """Open a database read-write, with what belongs to it, and make sure that something came back."""
    header = _header(database)
    log, journal = companions.examine_log(database), companions.examine_journal(database)
    with deadline_of(call, seconds, database) as deadline:
        try:
            with contextlib.closing(connect(database, deadline, forbid_outside)) as connection:
                schema = sqlite_schema.read(connection)
                log = companions.recover_log(connection, database, log) if log else None
                # The copy is ours alone: without a log every page is read from one place.
                mode = connection.execute("PRAGMA main.journal_mode=DELETE").fetchone()[0]
                _require_writable(connection)
                first = first_row(connection, schema, database)
        except ERRORS as problem:
            raise _refused(problem, database, header) from problem
    if not first and not allow_empty:
        raise nothing_came_back("no table has a row" if schema.countable() else "the database has no table")
    return {"path": str(database.relative_to(call.work)), "facts": _facts(database, header, schema, log, journal, mode)}


def measure(
    call: Call, database: str, wanted: list[str], threads: int, seconds: float, **limits: int
) -> dict[str, Any]:
    """``integrity full`` or ``integrity quick``, ``structure``, ``rows``, as wanted; see :mod:`.sqlite_measure`."""
    with deadline_of(call, seconds, call.work / database) as deadline:
        return sqlite_measure.measure(call.work / database, deadline, frozenset(wanted), max(1, threads), **limits)


def deadline_of(call: Call, seconds: float, database: Path | None = None) -> Deadline:
    """The earlier of the caller's patience and ``seconds`` from now; the work directory's disk is not to be filled."""
    until = min(call.until - _BEFORE, time.monotonic() + seconds)
    return Deadline(until, call.work, disk.reserve(call.work), _size(database) if database else None)


def _size(database: Path) -> int | None:
    """Bytes of a database with its log or journal; ``None`` where there is none yet."""
    try:
        parts = (companions.beside(database, ending) for ending in (companions.WAL, companions.JOURNAL))
        return database.stat().st_size + sum(part.stat().st_size for part in parts if part.exists())
    except FileNotFoundError:
        return None


def first_row(connection: sqlite3.Connection, schema: Schema, database: Path) -> bool:
    """Whether any table gives a row: the first question that is answered.

    Raises:
        RestoreDrillError: None gives a row, and one gives an error instead.
    """
    broken: SqliteProblem | None = None
    for table in schema.countable():
        try:
            if connection.execute(f"SELECT 1 FROM main.{quoted(table)} LIMIT 1").fetchone():  # noqa: S608
                return True
        except ERRORS as problem:
            broken = broken or (None if lacks_module(problem) else problem)
    if broken is not None:
        raise translate(broken, "no table can be read", database, Stage.RESTORE) from broken
    schema.require_usable()
    return False


def _header(database: Path) -> Header:
    for path in (
        database,
        companions.beside(database, companions.WAL),
        companions.beside(database, companions.JOURNAL),
    ):
        if path.exists():
            path.chmod(0o600)  # a copy of ours: SQLite would open a read-only one without a word
    with database.open("rb") as file:
        head = file.read(HEADER_SIZE)
    if not head:
        raise nothing_came_back("the database file is empty")
    header = Header.parse(head)
    if header is None:
        raise BackupFailed(
            "the file is not a SQLite database: its header is wrong" if recognise(head) == DATABASE
            else "the file is not a SQLite database",
            remedy="Check what the backup job writes; an encrypted database (SQLCipher) needs a check of your own.",
            stage=Stage.RESTORE,
        )  # fmt: skip
    return header


def _refused(problem: SqliteProblem, database: Path, header: Header) -> Exception:
    there = database.stat().st_size // header.page_size
    if isinstance(problem, sqlite3.Error) and str(problem) == _MALFORMED and there < header.pages:
        return BackupFailed(
            f"the database is cut short: {there} of its {header.pages} pages are there",
            remedy="Compare its size with the original; copy a live database with .backup or VACUUM INTO only.",
            stage=Stage.RESTORE,
            details=(printable(str(problem)),),
        )
    return translate(problem, "SQLite refuses the database", database, Stage.RESTORE)


def _require_writable(connection: sqlite3.Connection) -> None:
    """Nothing is to be written, but a handle that only reads skips CHECK constraints.

    Raises:
        CouldNotVerify: The file's own header asks for that.
        sqlite3.Error: Another error.
    """
    (version,) = connection.execute("PRAGMA main.user_version").fetchone()
    try:
        connection.execute("BEGIN")
        connection.execute(f"PRAGMA main.user_version={version}")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError as problem:
        if primary_code(problem) != sqlite3.SQLITE_READONLY:
            raise
        raise CouldNotVerify(
            "the header of the database asks for a newer SQLite to write it, and CHECK constraints would be skipped",
            remedy="Run the drill with the SQLite that wrote it; if that is no newer one, the header is damaged.",
            stage=Stage.RESTORE,
        ) from problem


def _facts(
    database: Path,
    header: Header,
    schema: Schema,
    log: dict[str, Any] | None,
    journal: dict[str, Any] | None,
    mode: str,
) -> dict[str, Any]:
    return {
        "sqlite": sqlite3.sqlite_version,
        "written_by": header.written_by,
        "bytes": database.stat().st_size,
        "page_size": header.page_size,
        "encoding": header.encoding,
        "auto_vacuum": header.auto_vacuum,
        "journal_mode": "wal" if header.wal_mode else mode,
        "tables": len(schema.tables),
        **({"wal": log} if log else {}),
        **({"journal": journal} if journal else {}),
    }


def _named(base: Path, name: str) -> Path:
    found = base / name
    inside = found.resolve().is_relative_to(base.resolve())
    if Path(name).is_absolute() or not inside or found.is_symlink() or not found.is_file():
        raise BackupFailed(
            f"the tree holds no file {printable(name)}",
            looked_at="engine_options.database",
            remedy="Correct the path, which is relative to the root of the tree, or check what the backup job packs.",
            stage=Stage.RESTORE,
        )
    return found


def _only(base: Path) -> Path:
    found = []
    for directory, _, names in os.walk(base):
        found += [path for path in map(Path(directory).joinpath, names) if _is_database(path)]
    if len(found) == 1:
        return found[0]
    if found:
        raise CouldNotVerify(
            f"the tree holds {len(found)} SQLite databases",
            remedy="Name one of them in the catalogue: engine_options: {database: path/in/the/tree}.",
            stage=Stage.RESTORE,
            details=tuple(str(path.relative_to(base)) for path in found[:100]),
        )
    raise BackupFailed(
        "the tree holds no SQLite database", remedy="Check what the backup job packs.", stage=Stage.RESTORE
    )


def _is_database(path: Path) -> bool:
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC
