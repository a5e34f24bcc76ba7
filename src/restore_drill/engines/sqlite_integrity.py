"""``PRAGMA integrity_check`` over several cores, with at least the verdict that the plain one would give.

The plain check does, in one thread: the pages of all b-trees, the free list, the pointer map, and whether every page is
used once; then for every row NOT NULL, types and CHECK; then for every row and every index the index entry, and the
number of entries. ``quick_check`` is all of it but the index part, in a tenth of the time; ``integrity_check('table')``
is the index part and the b-trees of one table. So ``quick_check`` of the whole and ``integrity_check`` of every table,
in threads, look at everything that the plain check looks at. Where one big table would keep one core busy, its indexes
are shared out among several connections.

Each of those has some indexes taken out of its own view of the schema, in a transaction that is never written. The same
means mends a hole in the plain check: a view or virtual table that happens to come first in SQLite's own list of tables
has no pages, which SQLite takes for the mark of a partial check, and then skips the free list and the search for unused
pages (``sqlite3BtreeIntegrityCheck``: ``aRoot[0]==0``). Here such objects are out of sight while pages are accounted
for.

Pages that ``quick_check`` found sound are then read without checking each cell again, mapped into memory.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import sys
import threading
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.sqlite_connection import MAPPED_AT_MOST, Deadline, Reading, connect, forbid_outside
from restore_drill.engines.sqlite_errors import ERRORS, SqliteProblem, is_damage, lacks_module, printable, translate
from restore_drill.engines.sqlite_schema import Index, Schema, literal, quoted
from restore_drill.engines.sqlite_verdicts import LINES_AT_MOST, Verdicts, problem_lines

#: Below this many bytes the plain check takes less than a second.
PLAIN_BELOW: Final = 16 << 20
#: Index entries from which sharing out the indexes of one table pays.
SHARE_FROM: Final = 200_000
#: integrity_check('table') exists since this version.
_SINCE: Final = (3, 33, 0)
#: Virtual tables are part of integrity_check since this version.
_VIRTUALS_SINCE: Final = (3, 44, 0)
_IN_MEMORY: Final = ("PRAGMA journal_mode=MEMORY", "PRAGMA cache_spill=OFF", "PRAGMA writable_schema=ON", "BEGIN")
#: What has no pages of its own, and what refers to that.
_WITHOUT_PAGES: Final = "type IN ('view', 'trigger') OR (type = 'table' AND coalesce(rootpage, 0) = 0)"
_TABLES_AT_MOST: Final = 2000
#: ``integrity_check('5')`` means five lines at most, and not a table of that name.
_LIKE_A_NUMBER: Final = re.compile(r"[+-]?[0-9]")


class Copy:
    """A private copy that several threads examine, each on connections of its own.

    Args:
        small: Whether one connection for everything does: how it reads makes no difference.
    """

    def __init__(self, path: Path, deadline: Deadline, threads: int, *, small: bool = False) -> None:
        self.path = path
        self.deadline = deadline
        self.threads = threads
        self._small = small
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[sqlite3.Connection] = []

    def connection(self, reading: Reading = Reading.SEEKING) -> sqlite3.Connection:
        """The calling thread's connection that reads in this way.

        Raises:
            DeadlineExceeded: It is too late to begin anything.
            sqlite3.Error: The database cannot be opened.
        """
        if self._small:
            reading = Reading.SEEKING
        known: dict[Reading, sqlite3.Connection] = self._local.__dict__.setdefault("known", {})
        if reading not in known:
            known[reading] = self._connect(reading)
            with self._lock:
                self._open.append(known[reading])
        self.deadline.check()
        return known[reading]

    def private(self, reading: Reading) -> sqlite3.Connection:
        """A connection without file locks, for changes that are never written."""
        return self._connect(reading, locks=False)

    def _connect(self, reading: Reading, *, locks: bool = True) -> sqlite3.Connection:
        self.deadline.check()
        if reading is Reading.SOUND and self.path.stat().st_size > MAPPED_AT_MOST:
            reading = Reading.SOUND_AND_LARGE
        return connect(self.path, self.deadline, forbid_outside, reading=reading, sharing=self.threads, locks=locks)

    def close(self) -> None:
        """Close every connection, whichever thread opened it."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a table's check: everything, or everything but some of its explicit indexes."""

    table: str
    left_out: tuple[str, ...] = ()
    weight: int = 0


def can_share(schema: Schema, size: int, plain_below: int = PLAIN_BELOW) -> bool:
    """Whether the check of this database can be shared out, and is worth it."""
    tables = _checked(schema)
    return (
        size >= plain_below
        and sqlite3.sqlite_version_info >= _SINCE
        and not schema.unusable
        and len(tables) <= _TABLES_AT_MOST
        and not any(_LIKE_A_NUMBER.match(table) for table in tables)
    )


def shares(
    schema: Schema,
    counts: Mapping[str, int | None],
    threads: int,
    share_from: int = SHARE_FROM,
    proved: Set[str] = frozenset(),
) -> list[Share]:
    """What is left to check after ``quick_check`` and where some indexes are ``proved``, heaviest first."""
    weights = {table: _weight(schema, table, counts, proved) for table in _checked(schema)}
    # Parts of a third of what each thread has to do: fine enough to end together, each repeats the reading of its rows.
    ideal = max(share_from, sum(weights.values()) // (3 * threads)) if threads > 1 else sys.maxsize
    found = [share for table, weight in weights.items() for share in _split(schema, table, weight, ideal, proved)]
    return sorted(found, key=lambda share: -share.weight)


def check_whole(copy: Copy, pragma: str) -> Verdicts:
    """``quick_check`` or ``integrity_check`` of the whole database, as SQLite does it."""
    found = Verdicts()
    reading = Reading.WALKING if pragma == "quick_check" else Reading.SEEKING
    try:
        _take(found, copy.connection(reading).execute(f"PRAGMA main.{pragma}").fetchall())
    except ERRORS as problem:
        _judge(problem, found, pragma)
    return found


def check_pages(copy: Copy, schema: Schema) -> Verdicts:
    """``quick_check`` of the whole database, with every page accounted for whatever else is in the schema."""
    if not (schema.views or schema.virtuals):
        return check_whole(copy, "quick_check")
    found = Verdicts()
    try:
        rows = _without(copy, _WITHOUT_PAGES, (), "PRAGMA main.quick_check", Reading.WALKING)
    except ERRORS as problem:
        _judge(problem, found, "quick_check")
        return found
    if rows is None:
        found = check_whole(copy, "quick_check")
        found.absorb(check_share(copy, Share("sqlite_master")))
        found.notes.append("unused pages could not be looked for, because the schema holds views or virtual tables")
        return found
    _take(found, rows)
    return found


def check_share(copy: Copy, share: Share) -> Verdicts:
    """``integrity_check`` of one table, or of a part of its indexes."""
    found = Verdicts()
    statement = f"PRAGMA main.integrity_check({literal(share.table)})"
    rows = None
    try:
        if share.left_out:
            names = ", ".join("?" * len(share.left_out))
            rows = _without(copy, f"type = 'index' AND name IN ({names})", share.left_out, statement, Reading.SOUND)
        if rows is None:
            rows = copy.connection(Reading.SOUND).execute(statement).fetchall()
        _take(found, rows)
    except ERRORS as problem:
        _judge(problem, found, f"integrity_check of {printable(share.table)}")
    return found


def _without(
    copy: Copy, objects: str, names: Sequence[str], statement: str, reading: Reading
) -> list[tuple[Any, ...]] | None:
    """What a statement answers where some objects are out of sight; ``None`` when this file does not allow that.

    They are deleted from the schema table in a transaction that stays in memory and is rolled back.
    """
    try:
        with contextlib.closing(copy.private(reading)) as connection:
            for preparation in _IN_MEMORY:
                connection.execute(preparation).fetchall()
            if reading is Reading.SOUND:
                connection.execute("PRAGMA ignore_check_constraints=ON")  # quick_check has looked at them
            connection.execute(f"DELETE FROM main.sqlite_master WHERE {objects}", names)  # noqa: S608
            connection.execute("PRAGMA writable_schema=RESET")
            return connection.execute(statement).fetchall()
    except ERRORS as problem:
        if is_damage(problem):
            raise
        copy.deadline.check()
        return None


def check_virtuals(copy: Copy, schema: Schema) -> Verdicts:
    """The own checks of FTS and R-tree tables, which ``integrity_check`` does not look into before SQLite 3.44."""
    found = Verdicts()
    for virtual in schema.virtuals:
        try:
            _check_virtual(copy.connection(), virtual.name, virtual.module, found, external=virtual.external)
        except ERRORS as problem:
            _judge_virtual(problem, virtual.name, virtual.module, found, external=virtual.external)
    return found


def _checked(schema: Schema) -> list[str]:
    virtuals = [item.name for item in schema.virtuals] if sqlite3.sqlite_version_info >= _VIRTUALS_SINCE else []
    return ["sqlite_master", *schema.stored, *virtuals]


def _weight(schema: Schema, table: str, counts: Mapping[str, int | None], proved: Set[str]) -> int:
    left = [index for index in schema.indexes.get(table.lower(), ()) if index.name not in proved]
    return (counts.get(table) or 0) * (1 + 4 * len(left))


def _split(schema: Schema, table: str, weight: int, ideal: int, proved: Set[str]) -> list[Share]:
    indexes: Sequence[Index] = schema.indexes.get(table.lower(), ())
    done = tuple(index.name for index in indexes if index.name in proved)
    explicit = [index.name for index in indexes if not index.implied and index.name not in proved]
    implied = sum(index.implied for index in indexes)
    parts = min(-(-weight // ideal), len(explicit))
    if parts < 2 or weight <= ideal:
        return [Share(table, done, weight)]
    kept = [explicit[part::parts] for part in range(parts)]
    rows = weight // (1 + 4 * (implied + len(explicit)))
    return [
        Share(
            table,
            (*done, *(name for name in explicit if name not in names)),
            rows * (1 + 4 * (implied + len(names))),
        )
        for names in kept
    ]


def _take(found: Verdicts, rows: Sequence[tuple[Any, ...]]) -> None:
    found.capped = found.capped or len(rows) >= LINES_AT_MOST
    found.lines |= dict.fromkeys(problem_lines(rows))


def _judge(problem: SqliteProblem, found: Verdicts, what: str) -> None:
    if not is_damage(problem):
        raise translate(problem, f"{what} did not come to an end") from problem
    found.capped = True
    found.add("b_tree", "the pages of a b-tree are damaged", detail=f"{what}: {problem}")


def _check_virtual(connection: sqlite3.Connection, name: str, module: str, found: Verdicts, *, external: bool) -> None:
    if module in ("fts3", "fts4", "fts5"):
        if external and module != "fts5":
            found.notes.append(f"{module} table {printable(name)}: its content is kept elsewhere, not checked")
            return
        _ask_full_text(connection, name)
    elif module in ("rtree", "rtree_i32"):
        answer = connection.execute(f"SELECT rtreecheck('main', {literal(name)})").fetchone()[0]
        if answer != "ok":
            meaning = f"the R-tree {printable(name)} is damaged"
            found.add("virtual_table", meaning, len(answer.splitlines()), f"{name}: {answer}")
    else:
        found.notes.append(
            f"virtual table {printable(name)} ({printable(module) or 'unknown'}): it has no check of its own"
        )
        return
    found.checked.append(f"{module} {printable(name)}")


def _ask_full_text(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("BEGIN")
    try:
        connection.execute(f"INSERT INTO main.{quoted(name)}({quoted(name)}) VALUES ('integrity-check')")  # noqa: S608
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _judge_virtual(problem: SqliteProblem, name: str, module: str, found: Verdicts, *, external: bool) -> None:
    shown = printable(name)
    if is_damage(problem) and not external:
        detail = f"{name}: {problem}"
        found.add("virtual_table", f"the {module} table {shown} does not agree with its own content", detail=detail)
    elif is_damage(problem):
        found.notes.append(f"{module} table {shown}: it does not agree with its content, which is kept elsewhere")
    elif lacks_module(problem):
        found.notes.append(
            f"virtual table {shown}: {module or 'its module'} is not complete here, it cannot be checked"
        )
    else:
        raise translate(problem, f"the {module} table {shown} cannot be checked") from problem
