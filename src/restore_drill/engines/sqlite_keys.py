"""Foreign keys of a SQLite database, checked in about a fifth of the time ``foreign_key_check`` takes.

``foreign_key_check`` looks every row's parent up in the order of the rows. Where an index leads with the referring
column, its distinct values are looked up in order instead, which touches each page once. The index must have been found
right by ``integrity_check`` for that to prove anything; and what such a look finds is counted by the pragma itself.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from restore_drill.engines.sqlite_errors import ERRORS, SqliteProblem, is_damage, printable, translate
from restore_drill.engines.sqlite_schema import Schema, literal, quoted
from restore_drill.engines.sqlite_verdicts import Verdicts

#: Violations that are counted per table; more are "at least".
_COUNTED: Final = 10_000
_DETAILS: Final = 20


@dataclass(frozen=True, slots=True)
class Reference:
    """One foreign key: its columns, and the parent's (``None`` for its primary key)."""

    parent: str
    columns: tuple[str, ...]
    parent_columns: tuple[str | None, ...]


def references(connection: sqlite3.Connection, table: str) -> list[Reference]:
    """The foreign keys that a table declares."""
    keys: dict[int, list[tuple[str, str, str | None]]] = {}
    for number, _, parent, column, parent_column, *_ in _pragma(connection, "foreign_key_list", table):
        keys.setdefault(number, []).append((parent, column, parent_column))
    return [
        Reference(parts[0][0], tuple(part[1] for part in parts), tuple(part[2] for part in parts))
        for parts in keys.values()
    ]


def declaring(connection: sqlite3.Connection, schema: Schema) -> dict[str, list[str]]:
    """The tables that declare foreign keys, with what to ask of their indexes.

    The questions of a table answer with a row where a key is violated. There are none where an index cannot tell for
    each of its keys.
    """
    found = {}
    for table in schema.tables:
        if keys := references(connection, table):
            questions = [_question(connection, table, key) for key in keys]
            found[table] = [question for question in questions if question] if all(questions) else []
    return found


def check(connect: Callable[[], sqlite3.Connection], table: str, questions: list[str]) -> Verdicts:
    """Check the foreign keys of one table.

    Args:
        connect: Gives a connection of the calling thread.
        table: The table that refers to others.
        questions: What :func:`declaring` says to ask of its indexes, where ``integrity_check`` looks at those as well;
            nothing for the pragma.
    """
    found = Verdicts()
    try:
        connection = connect()
        if not questions or any(connection.execute(question).fetchone() for question in questions):
            _count(connection, table, found)
        found.checked.append(f"foreign_key_check {printable(table)}")
    except ERRORS as problem:
        _judge(problem, table, found)
    return found


def _judge(problem: SqliteProblem, table: str, found: Verdicts) -> None:
    if is_damage(problem):
        found.add("b_tree", "the pages of a b-tree are damaged", detail=f"foreign_key_check: {problem}")
    elif str(problem).startswith("foreign key mismatch"):
        # A flaw of the definition (the parent's columns are not unique), which says nothing about the rows.
        found.notes.append(
            f"the foreign keys of {printable(table)} cannot be checked: the columns they refer to are not unique"
        )
    else:
        raise translate(problem, f"the foreign keys of {printable(table)} cannot be checked") from problem


def _count(connection: sqlite3.Connection, table: str, found: Verdicts) -> None:
    parents: Counter[str] = Counter()
    for number, (_, rowid, parent, _) in enumerate(_pragma(connection, "foreign_key_check", table), 1):
        parents[parent] += 1
        if number <= _DETAILS:
            found.details.append(f"row {rowid} of {table} refers to a missing row of {parent}")
        if number >= _COUNTED:
            found.capped = True
            break
    for parent, count in parents.items():
        found.add("foreign_key", f"rows of {printable(table)} refer to missing rows of {printable(parent)}", count)


def _question(connection: sqlite3.Connection, table: str, key: Reference) -> str:
    if len(key.columns) != 1 or not _is_rowid(connection, key.parent, key.parent_columns[0]):
        return ""
    index = _leading_index(connection, table, key.columns[0])
    if index is None:
        return ""
    column, parent = quoted(key.columns[0]), quoted(key.parent)
    return (
        f"SELECT 1 FROM (SELECT DISTINCT {column} AS value FROM main.{quoted(table)} INDEXED BY {quoted(index)})"  # noqa: S608
        f" WHERE value IS NOT NULL AND NOT EXISTS (SELECT 1 FROM main.{parent} AS p WHERE p.rowid = value) LIMIT 1"
    )


def _is_rowid(connection: sqlite3.Connection, parent: str, column: str | None) -> bool:
    """Whether a column (``None``: the primary key) is the rowid of an ordinary table under its own name."""
    columns = _pragma(connection, "table_info", parent).fetchall()
    primary = [(name, declared) for _, name, declared, _, _, position in columns if position]
    names = {name.lower() for _, name, *_ in columns}
    if len(primary) != 1 or primary[0][1].upper() != "INTEGER" or "rowid" in names - {primary[0][0].lower()}:
        return False
    if column is not None and column.lower() != primary[0][0].lower():
        return False
    # INTEGER PRIMARY KEY DESC, and tables WITHOUT ROWID, keep their key in an index of its own.
    return not any(origin == "pk" for _, _, _, origin, _ in _pragma(connection, "index_list", parent))


def _leading_index(connection: sqlite3.Connection, table: str, column: str) -> str | None:
    """A complete index whose first column is an integer column."""
    declared = {name.lower(): kind.upper() for _, name, kind, *_ in _pragma(connection, "table_info", table)}
    if "INT" not in declared.get(column.lower(), ""):
        return None
    for _, name, _, origin, partial in _pragma(connection, "index_list", table):
        first = next(iter(_pragma(connection, "index_info", name)), None)
        if not partial and origin != "pk" and first and (first[2] or "").lower() == column.lower():
            return str(name)
    return None


def _pragma(connection: sqlite3.Connection, pragma: str, argument: str) -> sqlite3.Cursor:
    return connection.execute(f"PRAGMA main.{pragma}({literal(argument)})")
