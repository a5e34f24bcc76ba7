"""What the engines of tables do with restored bytes. Every function runs inside the sandbox."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Protocol

from restore_drill.engines.sqlite_connection import Deadline, Reading, connect, forbid_outside
from restore_drill.engines.sqlite_errors import ERRORS, printable, translate
from restore_drill.engines.sqlite_probe import deadline_of
from restore_drill.engines.sqlite_schema import quoted
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded
from restore_drill.model import Stage
from restore_drill.sandboxes.base import Call

#: The database that questions in SQL are put to.
_DATABASE: Final = "tables.db"
#: Tables, columns of a table in SQLite, lines of details, and characters of a name at most.
TABLES_AT_MOST: Final = 10_000
COLUMNS_AT_MOST: Final = 1_500
_DETAILS: Final = 50
_NAME: Final = 120

Row = Sequence[Any]
Take = Callable[[Sequence[Row]], None]
#: Name, type (``""`` where the format has none), and whether it belongs to the structure.
Column = tuple[str, str, bool]


@dataclass(slots=True)
class Table:
    """What reading a table found, over all its parts.

    Attributes:
        rows: Records so far.
        columns: As the first part has them.
        until: ``time.monotonic()`` at which reading gives up.
    """

    name: str
    until: float
    rows: int = 0
    columns: list[Column] | None = None
    problems: dict[tuple[str, str], int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def problem(self, rule: str, message: str, count: int = 1, where: str = "") -> None:
        """Something is wrong with so many records."""
        self.problems[rule, message] = self.problems.get((rule, message), 0) + count
        if where and len(self.details) < _DETAILS:
            self.details.append(f"{self.name}: {where}: {message}")

    def note(self, text: str) -> None:
        """Remark something, once."""
        if text not in self.notes:
            self.notes.append(text)

    def refuse(self, cause: str, remedy: str, where: str = "") -> BackupFailed:
        """The error for a table that cannot be read to its end."""
        details = (f"{self.name}{f': {where}' if where else ''}",)
        return BackupFailed(cause, looked_at=where, remedy=remedy, stage=Stage.RESTORE, details=details)

    def agree(self, columns: list[Column]) -> None:
        """Columns of one more part: as in the parts before."""
        if self.columns is None:
            self.columns = columns
        elif [column[:2] for column in self.columns] != [column[:2] for column in columns]:
            self.problem("schema", "parts of a table have other columns than its first part")

    def in_time(self) -> None:
        """Give up when the caller does.

        Raises:
            DeadlineExceeded: It is time to.
        """
        if time.monotonic() > self.until:
            raise DeadlineExceeded("the tables could not be read in time", remedy="Raise the target's deadlines.")


class Reader(Protocol):
    """What a reader's module has."""

    #: Rules that it looks at.
    CHECKED: Sequence[str]

    @staticmethod
    def scan(path: Path, settings: Mapping[str, Any], table: Table, take: Take | None) -> None:
        """Read a file to its end: count, note what is wrong, hand rows in batches to ``take``.

        Raises:
            BackupFailed: It cannot be read to its end.
        """


def read(call: Call, reader: str, payload: str, tree: bool, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Read every table once.

    Returns:
        ``rows`` (table → count), ``columns`` (table → :data:`Column`), ``problems``, ``checked``, ``details``,
        ``notes``, ``facts``.
    """
    kind: Reader = importlib.import_module(reader)  # type: ignore[assignment]
    files, ignored = _tables(call.work / payload, tree, settings)
    tables = [_read(kind, name, parts, settings, call.until - 1) for name, parts in files.items()]
    notes = [note for table in tables for note in table.notes]
    problems: dict[tuple[str, str], int] = {}
    for table in tables:
        for key, count in table.problems.items():
            problems[key] = problems.get(key, 0) + count
    facts: dict[str, Any] = {"bytes": sum(part.stat().st_size for parts in files.values() for part in parts)}
    for table in tables:
        facts |= {key: value for key, value in table.facts.items() if key not in facts}
    return {
        "rows": {table.name: table.rows for table in tables},
        "columns": {table.name: table.columns or [] for table in tables},
        "problems": [{"rule": rule, "message": text, "count": count} for (rule, text), count in problems.items()],
        "checked": list(kind.CHECKED),
        "details": [line for table in tables for line in table.details][:_DETAILS],
        "notes": [*_counted(notes), *([f"{ignored} files of the tree are no tables"] if ignored else [])],
        "facts": {**facts, "files": sum(len(parts) for parts in files.values())},
    }


def _read(kind: Reader, name: str, parts: list[Path], settings: Mapping[str, Any], until: float) -> Table:
    table = Table(name, until)
    for part in parts:
        try:
            kind.scan(part, settings, table, None)
        except MemoryError as problem:
            raise CouldNotVerify("memory ran out while a table was read", remedy="Export smaller parts.") from problem
    return table


def _counted(notes: list[str]) -> list[str]:
    """The same remark on many tables is one."""
    return [f"{note} ({notes.count(note)} tables)" if notes.count(note) > 1 else note for note in dict.fromkeys(notes)]


def load(
    call: Call,
    reader: str,
    payload: str,
    tree: bool,
    settings: Mapping[str, Any],
    columns: Mapping[str, list[Column]],
    seconds: float,
) -> str:
    """Load the tables into a SQLite database, and return its path in the work directory."""
    kind: Reader = importlib.import_module(reader)  # type: ignore[assignment]
    database = call.work / _DATABASE
    database.touch(mode=0o600)
    files, _ = _tables(call.work / payload, tree, settings)
    with deadline_of(call, seconds) as deadline:
        try:
            with contextlib.closing(connect(database, deadline, forbid_outside, reading=Reading.MAKING)) as connection:
                for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
                    connection.execute(f"PRAGMA {pragma}").fetchall()
                for name, parts in files.items():
                    _load(connection, kind, Table(name, deadline.until), parts, settings, columns[name], deadline)
        except ERRORS as problem:
            raise translate(problem, "the tables cannot be loaded for questions", database) from problem
    return _DATABASE


def _load(
    connection: sqlite3.Connection,
    kind: Reader,
    table: Table,
    parts: list[Path],
    settings: Mapping[str, Any],
    columns: list[Column],
    deadline: Deadline,
) -> None:
    if len(columns) > COLUMNS_AT_MOST:
        raise CouldNotVerify(
            f"a table has {len(columns)} columns, and questions can be asked of {COLUMNS_AT_MOST}",
            remedy="Remove the questions, or export fewer columns.",
        )
    names = distinct([name for name, _, _ in columns]) or ["column_1"]
    connection.execute(f"CREATE TABLE {quoted(table.name)} ({', '.join(map(quoted, names))})")
    width = len(names)
    insert = f"INSERT INTO {quoted(table.name)} VALUES ({', '.join('?' * width)})"  # noqa: S608 - quoted
    table.columns = [*columns]

    def take(rows: Sequence[Row]) -> None:
        deadline.check()
        fitting = [row if len(row) == width else _fitted(row, width) for row in rows]
        try:
            connection.executemany(insert, fitting)
        except UnicodeEncodeError:  # a lone surrogate, which JSON can spell
            connection.executemany(insert, [[_encodable(value) for value in row] for row in fitting])

    connection.execute("BEGIN")
    for part in parts:
        kind.scan(part, settings, table, take)
    connection.execute("COMMIT")


def _fitted(row: Row, width: int) -> Row:
    return [*itertools.islice(itertools.chain(row, itertools.repeat(None)), width)]


def _encodable(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def distinct(names: Sequence[str]) -> list[str]:
    """Names that SQLite can tell apart, which looks at no letter's case: a second ``id`` is ``id_2``."""
    seen: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 2
        while candidate.casefold() in seen:
            candidate, number = f"{name}_{number}", number + 1
        seen.add(candidate.casefold())
        result.append(candidate)
    return result


def shown(name: str) -> str:
    """A name from a hostile place, fit for a report."""
    return printable(name, _NAME)


def _tables(path: Path, tree: bool, settings: Mapping[str, Any]) -> tuple[dict[str, list[Path]], int]:
    """The files of each table, and how many files are none."""
    if not tree:
        if not path.stat().st_size:
            return {}, 0
        return {settings["table"]: [path]}, 0
    found: dict[str, list[Path]] = {}
    ignored = 0
    for file in _walk(path):
        inside = file.relative_to(path).as_posix()
        if not any(fnmatchcase(inside, pattern) or fnmatchcase(file.name, pattern) for pattern in settings["match"]):
            ignored += 1
            continue
        name = _table_name(inside, settings)
        found.setdefault(shown(name), []).append(file)
    return _checked(found, settings), ignored


def _checked(found: dict[str, list[Path]], settings: Mapping[str, Any]) -> dict[str, list[Path]]:
    if len(found) > TABLES_AT_MOST:
        raise CouldNotVerify(
            f"the tree has more than {TABLES_AT_MOST} tables",
            remedy="Say tables: directories in engine_options if its files are parts of tables.",
        )
    folded = [name.casefold() for name in found]
    twice = settings["tables"] == "files" and any(len(parts) > 1 for parts in found.values())
    if twice or len(set(folded)) < len(folded):
        raise CouldNotVerify(
            "two files of the tree would be the same table",
            remedy="Choose with match in engine_options which files are tables.",
            details=tuple(str(part) for parts in found.values() if len(parts) > 1 for part in parts)[:_DETAILS],
        )
    return found


def _walk(root: Path) -> Iterator[Path]:
    """Regular files in the order of their names; hidden ones and markers (``_SUCCESS``) are no tables."""
    for directory, subdirectories, names in os.walk(root):
        subdirectories[:] = sorted(name for name in subdirectories if not name.startswith((".", "_")))
        for name in sorted(names):
            path = Path(directory, name)
            if not name.startswith((".", "_")) and stat.S_ISREG(path.lstat().st_mode):
                yield path


def _table_name(inside: str, settings: Mapping[str, Any]) -> str:
    if settings["tables"] == "directories":
        first, _, rest = inside.partition("/")
        return first if rest else str(settings["table"])
    return inside.rpartition(".")[0] or inside
