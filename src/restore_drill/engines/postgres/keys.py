"""Foreign keys held against the rows themselves.

The server takes a foreign key that it once validated as true for ever. Rows that were loaded while triggers were off
(``--disable-triggers``, ``session_replication_role``), or damaged later, are orphans that it never notices, and
``VALIDATE CONSTRAINT`` looks at nothing that is marked as validated.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from restore_drill.engines.postgres import batches
from restore_drill.engines.postgres.batches import Piece
from restore_drill.engines.postgres.findings import Findings, several
from restore_drill.engines.postgres.server import PostgresServer, identifier
from restore_drill.engines.postgres.tables import SYSTEM

# Columns and operators in the order of the key. A partitioned table's key is one for all its partitions (11 and later).
_KEYS: Final = f"""
select k.oid::text, n.nspname, c.relname, k.conname, rn.nspname, r.relname, k.confmatchtype::text, c.relkind::text,
  r.relkind::text, c.oid::text, r.oid::text, pg_relation_size(c.oid)::text, pg_relation_size(r.oid)::text,
  (select json_agg(json_build_array(a.attname, b.attname, op.nspname, o.oprname, ln.nspname, l.collname)
     order by position.n)
   from unnest(k.conkey, k.confkey, k.conpfeqop) with ordinality position(one, other, operator, n)
     join pg_attribute a on a.attrelid = k.conrelid and a.attnum = position.one
     join pg_attribute b on b.attrelid = k.confrelid and b.attnum = position.other
     left join pg_collation l on l.oid = b.attcollation and l.oid <> a.attcollation
     left join pg_namespace ln on ln.oid = l.collnamespace
     join pg_operator o on o.oid = position.operator join pg_namespace op on op.oid = o.oprnamespace)::text
from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
  join pg_class r on r.oid = k.confrelid join pg_namespace rn on rn.oid = r.relnamespace
where k.contype = 'f' and k.convalidated and {{whole}} and not {SYSTEM}
"""


@dataclass(frozen=True, slots=True)
class _Key:
    name: str
    piece: Piece


def check_keys(
    server: PostgresServer, database: str, found: Findings, *, until: float, parallel: int,
    restored: frozenset[int] | None = None,
) -> None:  # fmt: skip
    """Count the rows of each validated foreign key that refer to no row.

    Args:
        server: It runs.
        database: Which.
        found: Is told.
        until: ``time.monotonic()`` from which it is given up.
        parallel: How many sessions may work at once.
        restored: The tables (oid) whose rows were restored; ``None`` for all. Keys between others are not looked at.
    """
    seconds = max(1.0, until - time.monotonic())
    keys: dict[str, _Key] = {}
    for row in batches.rows(server, database, _listing(server.major), seconds=seconds):
        values = [value or "" for value in row]
        if restored is None or {int(values[9]), int(values[10])} <= restored:
            keys[values[0]] = _key(values)
    if not keys:
        return
    outcomes = batches.ask(server, database, [key.piece for key in keys.values()], until=until, parallel=parallel)
    late, refused = [], []
    for oid, outcome in outcomes.items():
        name = keys[oid].name
        if outcome.problem is None and outcome.values[0] != "0":
            message = f"{name}: rows refer to rows that do not exist"
            found.problem("foreign_key", message, int(outcome.values[0] or 0))
        elif outcome.late:
            late.append(name)
        elif outcome.problem is not None and not outcome.damage:  # damage is told by who reads every row
            refused.append(name)
            found.detail(outcome.problem.details)
    if late:
        found.undone.append(f"{database}: {len(late)} of {len(keys)} foreign keys (not in time)")
    if refused:
        found.undone.append(f"{database}: foreign keys that cannot be compared: {several(refused)}")
    found.checked.append("foreign keys")


def _listing(major: int) -> str:
    whole = "k.conparentid = 0" if major >= 11 else "true"
    # Since 18 a key may be declared as not enforced, or over periods of time.
    return _KEYS.format(whole=f"{whole} and k.conenforced and not k.conperiod" if major >= 18 else whole)


def _key(values: Sequence[str]) -> _Key:
    oid, schema, table, name, other_schema, other, match, kind, other_kind = values[:9]
    columns: list[list[Any]] = json.loads(values[13] or "[]")
    # As the server's own check does it: no partitions of others, no children that merely inherit.
    one = f"{'' if kind == 'p' else 'only '}{identifier(schema)}.{identifier(table)} f"
    two = f"{'' if other_kind == 'p' else 'only '}{identifier(other_schema)}.{identifier(other)} p"
    joined = " and ".join(
        f"p.{identifier(there)} operator({identifier(space)}.{symbol}) f.{identifier(here)}{_collate(*collation)}"
        for here, there, space, symbol, *collation in columns
    )
    filled = [f"f.{identifier(here)} is not null" for here, *_ in columns]
    asked = f"({' or '.join(filled)})" if match == "f" else " and ".join(filled)
    sql = f"select count(*)::text from {one} where {asked} and not exists (select 1 from {two} where {joined})"
    shown = f"{schema}.{table}".removeprefix("public.")
    return _Key(f"{shown}.{name}", Piece(oid, sql, int(values[11] or 0) + int(values[12] or 0)))


def _collate(schema: str | None, name: str | None) -> str:
    """As the server's own check does it: where two columns have different collations, that of the parent counts."""
    return f" collate {identifier(schema)}.{identifier(name)}" if schema and name else ""


def oids_of(names: Mapping[tuple[str, int], str], database: str, wanted: Sequence[str]) -> frozenset[int]:
    """The tables of a database with one of the names."""
    return frozenset(oid for (of, oid), name in names.items() if of == database and name in wanted)
