"""Which tables came back, what they are called, and how many rows they have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from restore_drill.engines.postgres import batches
from restore_drill.engines.postgres.batches import Outcome, Piece
from restore_drill.engines.postgres.server import PostgresServer, identifier
from restore_drill.errors import BackupFailed
from restore_drill.model import Stage

#: Schemas that hold nothing of a user's.
SYSTEM: Final = "(n.nspname ~ '^pg_' or n.nspname = 'information_schema')"
#: Whether an object was brought by an extension, and so by the server's packages and not by the backup.
OF_EXTENSION: Final = (
    "exists (select 1 from pg_depend e where e.classid = '{catalog}'::regclass and e.objid = {oid} and e.deptype = 'e')"
)
# A table of an extension counts where the extension says that its rows are the user's (pg_extension_config_dump).
_TABLES: Final = f"""
with recursive tree(oid, root) as (
  select c.oid, c.oid from pg_class c where c.relkind = 'p' and not c.relispartition
  union all
  select i.inhrelid, tree.root from tree join pg_inherits i on i.inhparent = tree.oid
    join pg_class c on c.oid = i.inhrelid and c.relispartition
)
select c.oid::text, n.nspname, c.relname, c.relkind::text, c.relpersistence::text,
  pg_relation_size(c.oid)::text, coalesce(tree.root, c.oid)::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace left join tree on tree.oid = c.oid
where c.relkind in ('r', 'p', 'f') and c.relpersistence <> 't' and not {SYSTEM}
  and (not {OF_EXTENSION.format(catalog="pg_class", oid="c.oid")}
    or exists (select 1 from pg_extension x where c.oid = any(x.extconfig)))
"""


@dataclass(frozen=True, slots=True)
class Table:
    """One relation with rows of its own, or one that only its partitions have rows for.

    Attributes:
        kind: ``r`` (table or partition), ``p`` (partitioned) or ``f`` (foreign: its rows are elsewhere).
        size: Bytes on disk, without TOAST.
        root: The partitioned table that it is a partition of, whatever lies between; else itself.
        unlogged: Its rows are in no base backup.
    """

    database: str
    oid: int
    schema: str
    name: str
    kind: str
    size: int
    root: int
    unlogged: bool = False

    @property
    def sql(self) -> str:
        """Its name in a statement."""
        return f"{identifier(self.schema)}.{identifier(self.name)}"

    @property
    def is_partition(self) -> bool:
        """Whether it is part of another table."""
        return self.root != self.oid


def tables_of(server: PostgresServer, database: str, *, seconds: float) -> list[Table]:
    """Every table of a database but what the system and extensions have for themselves."""
    found = []
    rows = batches.rows(server, database, _TABLES, seconds=seconds)
    known = {row[0] for row in rows}
    for row in rows:
        oid, schema, name, kind, persistence, size, root = (value or "" for value in row)
        whole = root if root in known else oid  # an extension's table may have partitions of the user's
        found.append(Table(database, int(oid), schema, name, kind, int(size or 0), int(whole), persistence == "u"))
    return found


def names_of(tables: Iterable[Table], examined: str) -> dict[tuple[str, int], str]:
    """What each table is called, by database and oid: ``orders``, ``schema.table``, ``database.table``; no partitions.

    Args:
        tables: Of all databases that came back.
        examined: The database whose name is left out.
    """
    whole = [table for table in tables if not table.is_partition]
    return shown_names({(each.database, each.oid): (each.database, each.schema, each.name) for each in whole}, examined)


def shown_names(objects: Mapping[tuple[str, int], tuple[str, str, str]], examined: str) -> dict[tuple[str, int], str]:
    """Short names of objects; where two would be called alike (a dot in a name), they are spelled out."""
    short = {key: short_name(*parts, examined) for key, parts in objects.items()}
    often = Counter(short.values())
    return {key: name if often[name] == 1 else ".".join(objects[key]) for key, name in short.items()}


def short_name(database: str, schema: str, name: str, examined: str) -> str:
    """A name as a user of the examined database would write it; a dot in it is not taken for a schema's."""
    parts = [] if database == examined else [database]
    parts += [schema] if schema != "public" or "." in name else []
    return ".".join([*parts, name])


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows by table.

    Attributes:
        exact: Of every table that could be counted in time.
        estimates: Of those that could not, what the planner assumes.
    """

    exact: dict[str, int]
    estimates: dict[str, int]


def count(
    server: PostgresServer, tables: Sequence[Table], names: Mapping[tuple[str, int], str], *, until: float,
    parallel: int,
) -> Counts:  # fmt: skip
    """Count the rows of every table, the biggest first, several at once.

    A partitioned table has the rows of its partitions, which are not listed themselves; foreign tables have none here.

    Raises:
        BackupFailed: A table cannot be read.
        CouldNotVerify: One cannot be counted for another reason than time.
    """
    exact = {names[table.database, table.root]: 0 for table in tables if table.kind != "f"}
    guessed: dict[str, int] = {}
    for database in dict.fromkeys(table.database for table in tables):
        counted = {str(table.oid): table for table in tables if table.database == database and table.kind == "r"}
        pieces = [Piece(key, f"select count(*)::text from only {table.sql}", table.size)
                  for key, table in counted.items()]  # fmt: skip
        outcomes = batches.ask(server, database, pieces, until=until, parallel=parallel)
        late = [table for key, table in counted.items() if outcomes[key].late]
        assumed = _assumed(server, database, late)
        for key, table in counted.items():
            name = names[database, table.root]
            if outcomes[key].late:
                guessed[name] = guessed.get(name, 0) + assumed[key]
            else:
                exact[name] += _number(outcomes[key], names[database, table.root])
    return Counts(
        {name: rows for name, rows in exact.items() if name not in guessed},
        {name: rows + exact[name] for name, rows in guessed.items()},
    )


def _number(outcome: Outcome, name: str) -> int:
    if outcome.problem is None:
        return int(outcome.values[0] or 0)
    if outcome.damage:
        raise BackupFailed(
            f"the table {name} cannot be read: {outcome.state}",
            remedy="Use another copy or an earlier snapshot, and check the live system for the same damage.",
            stage=Stage.CONTENT,
            details=outcome.problem.details,
        )
    raise outcome.problem


def _assumed(server: PostgresServer, database: str, tables: Sequence[Table]) -> dict[str, int]:
    """What the planner assumes from the sizes of tables and earlier statistics, by oid; reads none of them."""
    found = {}
    for start in range(0, len(tables), 100):
        part = tables[start : start + 100]
        asked = [f"explain (format json) select 1 from only {table.sql}" for table in part]
        for table, answer in zip(
            part, server.ask(database, asked, seconds=60, settings=batches.reading(server)), strict=True
        ):
            found[str(table.oid)] = _plan_rows(answer.rows)
    return found


def _plan_rows(rows: list[list[str | None]]) -> int:
    import json

    text = "\n".join(row[0] or "" for row in rows)
    try:
        return int(json.loads(text)[0]["Plan"]["Plan Rows"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return 0
