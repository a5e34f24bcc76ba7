"""Proofs that an index holds exactly the rows of its table, in half the time that ``integrity_check`` takes for it.

``integrity_check`` looks the entry of every row up in the index, a jump for each. Here the rows are sorted as the index
should be, and compared with its entries as they lie, in one pass. When every row meets its entry on the way, and there
are as many entries as rows, then the index is in order, lacks nothing and holds nothing else: every look-up would find
what it looks for. Whatever else comes out proves nothing, and ``integrity_check`` has the word.

Only plain indexes are proved like this: all rows, ascending columns that compare byte by byte, not unique. (For others
``integrity_check`` looks at more than the entry.)
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any, Final

from restore_drill.engines.sqlite_connection import Reading
from restore_drill.engines.sqlite_errors import ERRORS
from restore_drill.engines.sqlite_integrity import Copy
from restore_drill.engines.sqlite_schema import Schema, literal, quoted
from restore_drill.errors import RestoreDrillError

_ROWID_NAMES: Final = ("rowid", "_rowid_", "oid")


@dataclass(frozen=True, slots=True)
class Proof:
    """What would prove an index right.

    Attributes:
        differs: A statement that answers with a row where a sorted row does not meet its entry.
        entries: One that counts the entries.
        rows: About how many rows the table has.
    """

    table: str
    index: str
    differs: str
    entries: str
    rows: int


def possible(connection: sqlite3.Connection, schema: Schema) -> list[Proof]:
    """The indexes of which a proof may be tried, those of the largest tables first.

    Raises:
        sqlite3.Error: The schema cannot be read.
    """
    found = []
    for table in schema.stored:
        explicit = {index.name for index in schema.indexes.get(table.lower(), ()) if not index.implied}
        rowid = _rowid_name(connection, table) if explicit else None
        if rowid is None:
            continue
        rows = connection.execute(f"SELECT max({rowid}) FROM main.{quoted(table)}").fetchone()[0] or 0  # noqa: S608
        for _, index, unique, origin, partial in _pragma(connection, "index_list", table):
            columns = _plain_columns(connection, index)
            if index in explicit and columns and not unique and not partial and origin == "c":
                found.append(_proof(table, index, columns, rowid, rows))
    return sorted(found, key=lambda proof: -proof.rows)


def attempt(copy: Copy, proof: Proof) -> int | None:
    """How many entries the index has, if each row of the table met its entry in it; ``None`` proves nothing.

    The pages must be found sound by somebody else.
    """
    try:
        connection = copy.connection(Reading.WALKING)
        if not _compares_in_order(connection, proof) or connection.execute(proof.differs).fetchone() is not None:
            return None
        return int(connection.execute(proof.entries).fetchone()[0])
    except (*ERRORS, RestoreDrillError):
        return None


def _compares_in_order(connection: sqlite3.Connection, proof: Proof) -> bool:
    """Whether SQLite means to sort the rows and to take the entries as they lie: only then is anything proved."""
    plan = connection.execute(f"EXPLAIN QUERY PLAN {proof.differs}").fetchall()
    sides = {detail: number for number, _, _, detail in plan if detail in ("LEFT", "RIGHT")}
    rows, entries = ([step[3] for step in plan if step[1] == sides.get(side)] for side in ("LEFT", "RIGHT"))
    sorts = rows == ["SCAN t", "USE TEMP B-TREE FOR ORDER BY"]
    return sorts and entries == [f"SCAN t USING COVERING INDEX {proof.index}"]


def _proof(table: str, index: str, columns: list[str], rowid: str, rows: int) -> Proof:
    keys = ", ".join(f"{quoted(column)} COLLATE binary AS k{number}" for number, column in enumerate(columns))
    order = ", ".join(str(number + 1) for number in range(len(columns) + 1))
    source = f"main.{quoted(table)} AS t"
    # count(*) alone would be answered from the smallest index, whichever is named.
    entries = f"SELECT coalesce(sum(1), 0) FROM {source} INDEXED BY {quoted(index)}"  # noqa: S608 - all names are quoted
    differs = (
        f"SELECT 1 FROM (SELECT {keys}, {rowid} AS r FROM {source} NOT INDEXED"  # noqa: S608 - as above
        f" EXCEPT SELECT {keys}, {rowid} FROM {source} INDEXED BY {quoted(index)} ORDER BY {order}) LIMIT 1"
    )
    return Proof(table, index, differs, entries, rows)


def _rowid_name(connection: sqlite3.Connection, table: str) -> str | None:
    """A name by which the rowid can be asked for; ``None`` for tables without one."""
    columns = {row[1].lower() for row in _pragma(connection, "table_xinfo", table)}
    name = next((name for name in _ROWID_NAMES if name not in columns), None)
    without = any(
        origin == "pk" and _is_the_table(connection, index)
        for _, index, _, origin, _ in _pragma(connection, "index_list", table)
    )
    return None if without else name


def _is_the_table(connection: sqlite3.Connection, index: str) -> bool:
    """Whether the index of a primary key is the table itself, WITHOUT ROWID: then no rowid ends its entries."""
    return all(column != -1 for _, column, *_ in _pragma(connection, "index_xinfo", index))


def _plain_columns(connection: sqlite3.Connection, index: str) -> list[str]:
    """The columns of an index, in order; none where one is an expression, descending, or compared in another way."""
    keys = [row for row in _pragma(connection, "index_xinfo", index) if row[5]]
    plain = all(
        number >= 0 and name is not None and not descending and collation.upper() == "BINARY"
        for _, number, name, descending, collation, _ in keys
    )
    return [name for _, _, name, *_ in keys] if plain else []


def _pragma(connection: sqlite3.Connection, pragma: str, argument: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"PRAGMA main.{pragma}({literal(argument)})").fetchall()
