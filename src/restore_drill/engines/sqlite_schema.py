"""What is in a database: its own names for its objects, without the helpers that SQLite keeps for itself.

Shadow tables (in which FTS and R-tree tables keep their content) are told by their names and not by asking SQLite, so
that machines with different versions and modules see the same structure.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass, field
from typing import Final

from restore_drill.errors import CouldNotVerify

_SHADOWS: Final = {
    "fts3": ("content", "segments", "segdir", "docsize", "stat"),
    "fts4": ("content", "segments", "segdir", "docsize", "stat"),
    "fts5": ("data", "idx", "content", "docsize", "config"),
    "rtree": ("node", "parent", "rowid"),
    "rtree_i32": ("node", "parent", "rowid"),
    "geopoly": ("node", "parent", "rowid"),
}
_IDENTIFIER: Final = r"(?:\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'|`(?:[^`]|``)*`|\[[^\]]*\]|[^\s(\"'`\[;]+)"
_VIRTUAL: Final = re.compile(
    rf"CREATE\s+VIRTUAL\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_IDENTIFIER}\s*USING\s*[\"'`\[]?(\w+)[\"'`\]]?\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)
_OWN_CONTENT: Final = re.compile(r"[(,]\s*content\s*=", re.IGNORECASE)
_SCHEMA: Final = """
    SELECT type, name, tbl_name, sql IS NULL,
        CASE WHEN type = 'table' AND coalesce(rootpage, 0) = 0 THEN substr(sql, 1, 20000) END
    FROM sqlite_master WHERE typeof(name) = 'text' AND typeof(type) = 'text' AND typeof(tbl_name) = 'text'
"""


@dataclass(frozen=True, slots=True)
class Index:
    """An index; ``implied`` ones exist because of a UNIQUE or PRIMARY KEY clause."""

    name: str
    implied: bool


@dataclass(frozen=True, slots=True)
class Virtual:
    """A virtual table.

    Attributes:
        module: In lower case; ``""`` when the statement could not be understood.
        external: Its content is kept in another table, or nowhere (``content=``).
    """

    name: str
    module: str
    external: bool


@dataclass(slots=True)
class Schema:
    """The objects of a database by kind, names as they are spelled in it.

    Attributes:
        tables: Ordinary tables, in the order in which they were made.
        stored: Every table that has a b-tree, internal and shadow tables included.
        indexes: By lower-case name of their table.
        unusable: Names that are no valid text, as far as they can be shown.
    """

    tables: list[str] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    virtuals: list[Virtual] = field(default_factory=list)
    indexes: dict[str, list[Index]] = field(default_factory=dict)
    views: list[str] = field(default_factory=list)
    triggers: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)

    def structure(self) -> dict[str, list[str]]:
        """Names by type; SQLite's own and the indexes of shadow tables are left out."""
        owners = {name.lower() for name in self.tables}
        named = [
            index.name
            for table, indexes in self.indexes.items()
            if table in owners
            for index in indexes
            if not index.implied
        ]
        return {
            "table": sorted(self.tables),
            "virtual table": sorted(virtual.name for virtual in self.virtuals),
            "index": sorted(named),
            "view": sorted(self.views),
            "trigger": sorted(self.triggers),
        }

    def countable(self) -> list[str]:
        """The tables whose rows are counted: ordinary ones, and FTS and R-tree tables that own their content."""
        return self.tables + [item.name for item in self.virtuals if item.module in _SHADOWS and not item.external]

    def require_usable(self) -> None:
        """Raise :class:`CouldNotVerify` when a table has a name that cannot be written in a statement."""
        if self.unusable:
            raise CouldNotVerify(
                "a table has a name that is not valid UTF-8 text, and cannot be asked for",
                remedy="Rename the table, or write a check of your own.",
                details=tuple(self.unusable[:100]),
            )


def read(connection: sqlite3.Connection) -> Schema:
    """Read the schema table.

    Raises:
        sqlite3.Error: It cannot be read.
    """
    schema = Schema()
    factory = connection.text_factory
    connection.text_factory = bytes
    try:
        rows = connection.execute(_SCHEMA).fetchall()
    finally:
        connection.text_factory = factory
    for kind, name, table, implied, statement in rows:
        _add(schema, kind, name, _text(table).lower(), implied=bool(implied), statement=statement)
    _leave_out_shadows(schema)
    return schema


def quoted(name: str) -> str:
    """A name as an identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as a string in SQL."""
    return "'" + text.replace("'", "''") + "'"


def _add(schema: Schema, kind: bytes, raw: bytes, table: str, *, implied: bool, statement: bytes | None) -> None:
    name = _text(raw)
    if kind == b"index":
        schema.indexes.setdefault(table, []).append(Index(name, implied))
    elif kind == b"view":
        schema.views.append(name)
    elif kind == b"trigger":
        schema.triggers.append(name)
    elif kind == b"table" and not _is_usable(raw):
        schema.unusable.append(name)
    elif kind == b"table" and statement:
        schema.virtuals.append(_virtual(name, _text(statement)))
    elif kind == b"table":
        schema.stored.append(name)
        if not name.lower().startswith("sqlite_"):
            schema.tables.append(name)


def _virtual(name: str, statement: str) -> Virtual:
    found = _VIRTUAL.match(statement)
    if found is None:
        return Virtual(name, "", external=False)
    return Virtual(name, found[1].lower(), external=_OWN_CONTENT.search(found[2]) is not None)


def _leave_out_shadows(schema: Schema) -> None:
    shadows = {f"{item.name}_{suffix}".lower() for item in schema.virtuals for suffix in _SHADOWS.get(item.module, ())}
    schema.tables = [name for name in schema.tables if name.lower() not in shadows]


def _is_usable(raw: bytes) -> bool:
    try:
        return "\0" not in raw.decode()
    except UnicodeDecodeError:
        return False


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")
