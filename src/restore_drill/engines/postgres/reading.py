"""Everything read once: each value of each row with its TOAST, large objects, sequences, and the indexes amcheck skips.

``pg_amcheck`` exits with 0 when pages of hash, GIN or BRIN indexes or of a sequence are overwritten, and does not
decode values. Reading does: the server refuses a page that is none, a checksum that is wrong, a TOAST value of which a
piece is missing, and text that is not in the database's encoding.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Final

from restore_drill.engines.postgres import batches
from restore_drill.engines.postgres.amcheck import extension
from restore_drill.engines.postgres.batches import Outcome, Piece
from restore_drill.engines.postgres.findings import Findings, several
from restore_drill.engines.postgres.server import PostgresServer, connection, identifier
from restore_drill.engines.postgres.tables import SYSTEM, Table

_ENDED: Final = (124, 137)
_EXHAUSTED: Final = re.compile(rb"out of (shared )?memory|No space left|too many clients")
# Materialised views with data, and sequences.
_OTHERS: Final = f"""
select c.oid::text, n.nspname, c.relname, c.relkind::text, pg_relation_size(c.oid)::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where (c.relkind = 'S' or c.relkind = 'm' and c.relispopulated) and c.relpersistence <> 't' and not {SYSTEM}
"""
_INDEXES: Final = f"""
select c.oid::text, n.nspname, c.relname, a.amname, pg_relation_size(c.oid)::text
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
  join pg_am a on a.oid = c.relam
where c.relkind = 'i' and a.amname <> 'btree' and i.indisvalid and c.relpersistence <> 't' and not {SYSTEM}
"""


def read_rows(
    server: PostgresServer, database: str, tables: Sequence[Table], names: Mapping[int, str], found: Findings, *,
    until: float, parallel: int,
) -> None:  # fmt: skip
    """Have the server write out every row of every table, materialised view, sequence and large object, to nowhere."""
    shown = {f"t{table.oid}": f"the table {names.get(table.root, table.name)}" for table in tables if table.kind == "r"}
    pieces = [
        _copy(f"t{table.oid}", f"select * from only {table.sql}", table.size) for table in tables if table.kind == "r"
    ]
    others = batches.rows(server, database, _OTHERS, seconds=max(1.0, until - time.monotonic()))
    for oid, schema, name, kind, size in others:
        key, sql = f"o{oid}", f"{identifier(schema or '')}.{identifier(name or '')}"
        what = "sequence" if kind == "S" else "materialised view"
        shown[key] = f"the {what} {schema}.{name}".replace(" public.", " ")
        pieces.append(
            Piece(key, f"select last_value::text from {sql}")
            if kind == "S"
            else _copy(key, f"select * from {sql}", int(size or 0))
        )
    pieces.append(_copy("lo", "select * from pg_catalog.pg_largeobject", 1 << 20))
    shown["lo"] = "a large object"
    outcomes = batches.ask(server, database, pieces, until=until, parallel=parallel)
    _judge(outcomes, shown, found, "unreadable", f"{database}: read of every row")
    found.checked.append("read of every row")


def read_schema(server: PostgresServer, database: str, found: Findings, *, until: float) -> None:
    """Have ``pg_dump`` put together every definition: what it cannot, nobody can back up again."""
    seconds = max(1.0, until - time.monotonic())
    argv = ["timeout", "-k", "5", str(int(seconds) + 1), "pg_dump", "--no-password", "--schema-only", "-f", "/dev/null"]
    told = " ".join(f"-c {name}={value}" for name, value in batches.quiet(server).items() if name != "search_path")
    done = server.run(
        [*argv, "-d", connection(database)],
        seconds=seconds + 30,
        PGOPTIONS=told,
        PGCLIENTENCODING=server.encoding(database),
    )
    if done.returncode in _ENDED:
        found.undone.append(f"{database}: definitions, within {seconds:.0f} s")
    elif _EXHAUSTED.search(done.stderr):
        found.undone.append(f"{database}: definitions, for want of memory, locks or room")
    elif done.returncode:
        lines = done.stderr.decode(errors="replace").splitlines()
        found.problem("definitions", f"pg_dump cannot put together the schema of {database}", 1, lines[-20:])
    found.checked.append("definitions")


def read_indexes(server: PostgresServer, database: str, found: Findings, *, until: float, parallel: int) -> None:
    """Read every page of the indexes that amcheck knows nothing of, and walk through those where a function can."""
    seconds = max(1.0, until - time.monotonic())
    listed = batches.rows(server, database, _INDEXES, seconds=seconds)
    if not listed:
        return
    with (
        extension(server, database, "pg_prewarm", seconds=seconds) as pages,
        extension(server, database, "pgstattuple", seconds=seconds) as tuples,
        extension(server, database, "amcheck", seconds=seconds) as check,
    ):
        pieces, shown = [], {}
        for oid, schema, name, method, size in listed:
            for how in _ways(method or "", pages=pages, tuples=tuples, check=check and server.major >= 18):
                key = f"{oid} {how}"
                shown[key] = f"the {method} index {schema}.{name}".replace(" public.", " ")
                sql = f"select count(*)::text from (select {how}({oid}::oid::regclass)) x"
                pieces.append(Piece(key, sql, int(size or 0)))
        outcomes = batches.ask(server, database, pieces, until=until, parallel=parallel)
    _judge(outcomes, shown, found, "index", f"{database}: indexes that are no B-trees")
    unread = [f"{schema}.{name}".removeprefix("public.") for _, schema, name, _, _ in listed] if not pages else []
    if unread:
        found.remark("unread_indexes", "the server lacks pg_prewarm, with which these indexes are read", unread)
    found.checked.append("read of indexes that are no B-trees")


def _ways(method: str, *, pages: bool, tuples: bool, check: bool) -> list[str]:
    """The functions that read an index of some kind."""
    ways = ["pg_prewarm"] if pages else []
    if tuples and method in ("hash", "gist"):
        ways.append("pgstathashindex" if method == "hash" else "pgstattuple")
    return [*ways, "gin_index_check"] if check and method == "gin" else ways


def _copy(key: str, sql: str, size: int) -> Piece:
    return Piece(key, f"copy ({sql}) to '/dev/null'", size, alone=True)


def _judge(outcomes: Mapping[str, Outcome], shown: Mapping[str, str], found: Findings, rule: str, whole: str) -> None:
    late, refused = [], []
    told = set()
    for key, outcome in outcomes.items():
        if outcome.problem is None or shown[key] in told:
            continue
        if outcome.damage:
            told.add(shown[key])
            found.problem(rule, f"{shown[key]} cannot be read ({outcome.state})", 1, outcome.problem.details)
        elif outcome.late:
            late.append(shown[key])
        else:
            refused.append(shown[key])
            found.detail(outcome.problem.details)
    if late:
        found.undone.append(f"{whole} ({len(late)} of {len(outcomes)} not in time)")
    if refused:
        found.undone.append(f"{whole} (refused: {several(refused)})")
