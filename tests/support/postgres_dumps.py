"""Dumps of one small cluster in every form that pg_dump and pg_dumpall write, made by a server of the tests' own."""

# ruff: noqa: E501 - statements, dumps and messages stand as they are

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.support.postgres_server import Postgres, running

#: Rows of the database ``shop`` as they are counted.
ROWS: Final = {"customers": 500, "orders": 2000, "Sales Dept.Mixed Case": 3}
#: Something of everything that a dump has to bring back.
_SHOP: Final = (
    'create schema "Sales Dept" authorization app',
    "create extension pg_trgm",
    "create type mood as enum ('sad', 'ok', 'happy')",
    "create domain amount as numeric check (value > 0)",
    "create table customers (id serial primary key, name text not null, mood mood default 'ok', doc jsonb)",
    "create table orders (id bigint generated always as identity, customer int references customers, total amount,"
    " tax numeric generated always as (total * 0.19) stored, at date not null, primary key (id, at))"
    " partition by range (at)",
    "create table orders_2024 partition of orders for values from ('2024-01-01') to ('2025-01-01')",
    "create table orders_2025 partition of orders for values from ('2025-01-01') to ('2026-01-01')",
    'create table "Sales Dept"."Mixed Case" ("Id" int primary key, "a;b" text, c bytea)',
    r"insert into customers (name, doc) select 'customer ' || i || e' \\ \t it''s \n $x$ ;', jsonb_build_object('i', i)"
    " from generate_series(1, 500) i",
    "insert into orders (customer, total, at) select 1 + i % 500, i, date '2024-01-01' + i % 700"
    " from generate_series(1, 2000) i",
    r"""insert into "Sales Dept"."Mixed Case" values (1, e'\\.', '\x00ff'), (2, e'\n\\.\n', null), (3, '\! id', null)""",
    "create index customers_trgm on customers using gin (name gin_trgm_ops)",
    "create view totals as select customer, sum(total) as total from orders group by customer",
    "create materialized view years as select extract(year from at) as year, count(*) from orders group by 1",
    r"create function touched() returns trigger language plpgsql as $body$ begin /* it's; \! */ return new; end $body$",
    "create function two() returns int language sql begin atomic select 1; select 2; end",
    "create trigger touching before update on customers for each row execute function touched()",
    "create rule kept as on delete to customers do also (select 1; select 2)",
    'create policy own on customers to app, "Read Only" using (true)',
    "alter table customers enable row level security",
    'grant select on all tables in schema public to "Read Only"',
    'alter default privileges for role app in schema public grant select on tables to "Read Only"',
    "alter table customers owner to app",
    "comment on table customers is 'it''s; -- a /* comment'",
    "select lo_from_bytea(4711, 'large object'), lo_from_bytea(4712, convert_to(repeat('x', 100000), 'UTF8'))",
    "create publication everything for table customers",
    'alter database shop set search_path = public, "Sales Dept"',
)
_WIDE: Final = (
    "do $$ begin for n in 1..500 loop execute format('create table t%s (a int primary key)', n); end loop; end $$"
)
#: Name → the program, its arguments, and whether it writes a file of its own (else its output is kept).
_COMMANDS: Final = {
    "custom": ("pg_dump", "-Fc", "-f", "shop"),
    "piped": ("pg_dump", "-Fc", "", "shop"),
    "stored": ("pg_dump", "-Fc", "-Z0", "-f", "shop"),
    "tar": ("pg_dump", "-Ft", "-f", "shop"),
    "script": ("pg_dump", "-f", "shop"),
    "clean": ("pg_dump", "-c", "-f", "shop"),
    "clean-create": ("pg_dump", "-c", "-C", "-f", "shop"),
    "inserts": ("pg_dump", "--inserts", "-f", "shop"),
    "cluster": ("pg_dumpall", "-f", ""),
    "cluster-clean": ("pg_dumpall", "-c", "-f", ""),
    "globals": ("pg_dumpall", "-g", "-f", ""),
    "schema": ("pg_dump", "-s", "-Fc", "-f", "shop"),
    "second": ("pg_dump", "-Fc", "-f", "Second DB"),
    "wide": ("pg_dump", "-Fc", "-f", "wide"),
    "directory": ("pg_dump", "-Fd", "-f", "shop"),
    "directory-stored": ("pg_dump", "-Fd", "-Z0", "-f", "shop"),
}


def take(base: Path, find: Callable[[str], str]) -> dict[str, Path]:
    """Dump the cluster in every form; those in directory form are directories.

    Args:
        base: Where.
        find: Where a program is installed.
    """
    with running(base) as source:
        source.run("create role app login", 'create role "Read Only"', 'grant "Read Only" to app')
        source.run("create database shop owner app", 'create database "Second DB"', "create database wide")
        source.run(*_SHOP, database="shop")
        source.run("create table only_here (a int primary key); insert into only_here values (1), (2)",
                   database="Second DB")  # fmt: skip
        dumps = {name: _kept(source, name, base, find) for name in _COMMANDS if name != "wide"}
        source.run(_WIDE, "insert into t7 values (1), (2)", database="wide")
        return dumps | {"wide": _kept(source, "wide", base, find)}


def _kept(source: Postgres, name: str, base: Path, find: Callable[[str], str]) -> Path:
    path = base / f"dump-{name}"
    program, *options = _COMMANDS[name]
    place = options.index("-f") + 1 if "-f" in options else 0
    argv = [find(program), *options[:place], *([str(path)] if place else []), *options[place:]]
    environment = source.server.environment() | {"PGHOST": str(source.server.ground.reachable), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [part for part in argv if part], env=environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    if not place:
        path.write_bytes(done.stdout)
    return path
