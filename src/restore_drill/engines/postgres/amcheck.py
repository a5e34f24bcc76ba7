"""Heaps and B-tree indexes by PostgreSQL's own ``amcheck``: every page, every index against its table.

``pg_amcheck`` (since 14) exits with 2 when something is damaged and lists it; before 14 only the extension's functions
for B-trees exist. What it cannot see (other kinds of indexes, sequences, values that decode to nonsense) is read by
:mod:`.reading`.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from restore_drill.engines.postgres import batches
from restore_drill.engines.postgres.batches import Piece
from restore_drill.engines.postgres.findings import Findings
from restore_drill.engines.postgres.server import PostgresServer, connection, identifier
from restore_drill.errors import CouldNotVerify, RestoreDrillError

_FOUND: Final = re.compile(r'^(heap table|btree index) "(.*?)"(?:, block \d+(?:, offset \d+)?(?:, attribute \d+)?)?:$')
_TOAST: Final = re.compile(r"pg_toast\.pg_toast_(\d+)(_index)?")
#: Exit status of ``timeout`` when it had to end the program, and of ``pg_amcheck`` when something is damaged.
_ENDED: Final = (124, 137)
_DAMAGED: Final = 2
_BTREES: Final = """
select c.oid::text, n.nspname, c.relname, pg_relation_size(c.oid)::text
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
  join pg_am a on a.oid = c.relam
where a.amname = 'btree' and c.relkind = 'i' and c.relpersistence <> 't' and i.indisready and i.indisvalid
"""


@contextlib.contextmanager
def extension(server: PostgresServer, database: str, name: str, *, seconds: float) -> Iterator[bool]:
    """Have an extension for a while, out of the way of what came back; whether there is one at all."""
    known = batches.rows(
        server, database, f"select count(*)::text from pg_extension where extname = '{name}'", seconds=seconds
    )
    if known[0][0] != "0":
        yield True
        return
    made = server.ask(
        database,
        [f"create extension {identifier(name)} schema pg_catalog"],
        seconds=seconds,
        settings=_writing(server),
    )[0]
    if made.problem is not None:
        yield False
        return
    try:
        yield True
    finally:
        with contextlib.suppress(RestoreDrillError):  # the server is thrown away with it
            server.psql(database, f"drop extension {identifier(name)}", seconds=seconds, settings=_writing(server))


def _writing(server: PostgresServer) -> dict[str, str]:
    """For a session that has to write, whatever the database says of its sessions."""
    return {**batches.quiet(server), "default_transaction_read_only": "off"}


def check(
    server: PostgresServer, database: str, found: Findings, names: Mapping[int, str], *, full: bool, until: float,
    parallel: int, descend: bool = False,
) -> None:  # fmt: skip
    """Look at every table, TOAST table and B-tree of a database, the system's own among them.

    Args:
        server: It runs.
        database: Which.
        found: Is told.
        names: Tables by oid, for what is wrong with their TOAST.
        full: Compare every index with its table.
        until: ``time.monotonic()`` from which it is given up.
        parallel: How many sessions may work at once.
        descend: When full, also look for every entry from the root, which takes as long again: an index that came as a
            file may be sorted by another collation, one that was built here cannot.
    """
    seconds = max(1.0, until - time.monotonic())
    with extension(server, database, "amcheck", seconds=seconds) as there:
        if not there:
            found.undone.append(f"amcheck of {database}: the server has no such extension")
        elif server.major < 14:
            _check_btrees(server, database, found, full=full, until=until, parallel=parallel)
        else:
            deep = ["--heapallindexed", "--parent-check"] if full else []
            deep += ["--rootdescend"] if full and descend else []
            _run(server, database, found, names, deep=deep, seconds=seconds, parallel=parallel)


def _run(
    server: PostgresServer, database: str, found: Findings, names: Mapping[int, str], *, deep: Sequence[str],
    seconds: float, parallel: int,
) -> None:  # fmt: skip
    argv = ["timeout", "-k", "5", str(int(seconds) + 1), "pg_amcheck", "--no-password", f"--jobs={max(1, parallel)}"]
    options = {**batches.quiet(server), "statement_timeout": str(int(seconds * 1000) + 1000)}
    told = " ".join(f"-c {name}={value}" for name, value in options.items())
    done = server.run(
        [*argv, *deep, connection(database)],
        seconds=seconds + 30,
        PGOPTIONS=told,
        PGCLIENTENCODING=server.encoding(database),
    )
    lines = done.stdout.decode(errors="replace").splitlines()
    damaged = _relations(lines, database, names)
    for kind, relation, count in damaged:
        rule = "heap" if kind == "heap table" else "btree"
        found.problem(rule, f"the {'table' if rule == 'heap' else 'index'} {relation} is damaged", count)
    found.detail([f"pg_amcheck: {line}" for line in lines])
    errors = done.stderr.decode(errors="replace").splitlines()
    if done.returncode in _ENDED or "statement timeout" in done.stdout.decode(errors="replace"):
        found.undone.append(f"amcheck of {database} took longer than {seconds:.0f} s")
    elif done.returncode == _DAMAGED and not damaged:
        found.problem("amcheck", f"pg_amcheck finds damage in {database}")
    elif done.returncode not in (0, _DAMAGED):
        found.detail(f"pg_amcheck: {line}" for line in errors)
        found.undone.append(f"pg_amcheck of {database} ended with status {done.returncode}")
    found.checked.append("amcheck" if deep else "amcheck without comparing indexes and tables")


def _relations(lines: Sequence[str], database: str, names: Mapping[int, str]) -> list[tuple[str, str, int]]:
    """What is damaged: kind, name, and how often it was said; statement timeouts are no damage."""
    counts: dict[tuple[str, str], int] = {}
    for place, line in enumerate(lines):
        if said := _FOUND.match(line):
            after = lines[place + 1] if place + 1 < len(lines) else ""
            if "statement timeout" not in after:
                key = (said[1], _name(said[2].removeprefix(f"{database}."), names))
                counts[key] = counts.get(key, 0) + 1
    return [(*key, count) for key, count in sorted(counts.items())]


def _name(relation: str, names: Mapping[int, str]) -> str:
    if toast := _TOAST.fullmatch(relation):
        return f"of TOAST of {names.get(int(toast[1]), 'a system catalogue')}"
    return relation.removeprefix("public.")


def _check_btrees(
    server: PostgresServer, database: str, found: Findings, *, full: bool, until: float, parallel: int
) -> None:
    """With the functions that exist before 14: indexes only, and their tables through them."""
    call = "bt_index_parent_check({oid}::oid::regclass, true)" if full else "bt_index_check({oid}::oid::regclass)"
    listed = batches.rows(server, database, _BTREES, seconds=max(1.0, until - time.monotonic()))
    names = {str(oid): f"{schema}.{name}".removeprefix("public.") for oid, schema, name, _ in listed}
    pieces = [
        Piece(str(oid), f"select count(*)::text from (select {call.format(oid=oid)}) x", int(size or 0))
        for oid, _, _, size in listed
    ]
    late = []
    for key, outcome in batches.ask(server, database, pieces, until=until, parallel=parallel).items():
        if outcome.damage:
            found.problem("btree", f"the index {names[key]} is damaged", 1, _said(outcome.problem))
        elif outcome.problem is not None:
            late.append(names[key])
    if late:
        found.undone.append(f"amcheck of {len(late)} of {len(pieces)} indexes of {database}")
    found.checked.append("amcheck of B-trees")


def _said(problem: CouldNotVerify | None) -> tuple[str, ...]:
    return problem.details if problem is not None else ()
