"""(a) One large database, against the same steps in a shell."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.benchmarks.measure import Benchmark, Way
from tests.benchmarks.project import Project, record_digest

#: Rows that give 700 MB together with their indexes.
_ROWS = {"customers": 255_000, "orders": 1_280_000, "items": 4_080_000}
_SCHEMA = """
    pragma journal_mode=off; pragma synchronous=off; pragma cache_size=-200000;
    create table customers (
        id integer primary key, name text not null, email text not null unique, created_at text not null);
    create table orders (
        id integer primary key, customer_id integer not null references customers (id), created_at text not null,
        status text not null check (status in ('new', 'paid', 'sent')), note text);
    create index orders_customer on orders (customer_id);
    create index orders_created on orders (created_at);
    create table items (
        id integer primary key, order_id integer not null references orders (id), sku text not null,
        quantity integer not null check (quantity > 0), price real not null, description text);
    create index items_order on items (order_id);
    create index items_sku on items (sku);
"""
_SHELL = """\
set -e
cp backups/*.db.gz backups/*.db.gz.sha256 shell/; cd shell
sha256sum -c --quiet *.sha256
gunzip *.gz
[ "$(sqlite3 *.db 'pragma integrity_check')" = ok ]
[ "$(sqlite3 *.db 'select count(*) from customers')" = CUSTOMERS ]
[ "$(sqlite3 *.db 'select count(*) from orders')" = ORDERS ]
[ "$(sqlite3 *.db 'select count(*) from items')" = ITEMS ]
"""


@contextmanager
def build(scratch: Path, *, small: bool) -> Iterator[list[Benchmark]]:
    """Three tables with indexes and foreign keys, compressed by ``gzip``, with their digest."""
    project = Project(scratch / "large")
    rows = {table: count // (10 if small else 1) for table, count in _ROWS.items()}
    path = project.stores / f"{project.stamp}_shop.db"
    _fill(path, rows)
    size = path.stat().st_size
    subprocess.run(["gzip", str(path)], check=True)
    stored = path.with_name(f"{path.name}.gz")
    record_digest(stored)
    project.date(stored)
    project.add("shop", "{time:%Y%m%d_%H%M%S}_shop.db.gz", expect={"rows": dict(rows)})
    project.write()
    script = project.root / "shell.sh"
    script.write_text(_script(rows))
    shell = project.root / "shell"

    def empty() -> None:
        shutil.rmtree(shell, ignore_errors=True)
        shell.mkdir()

    yield [
        Benchmark(
            "a",
            f"one SQLite database of {size / 1e6:.0f} MB as .db.gz ({stored.stat().st_size / 1e6:.0f} MB)",
            2.2,
            [
                Way("shell", ["sh", str(script)], project.root, shown=_one_line(_script(rows)), prepare=empty),
                project.way("pytest"),
            ],
            remarks=[
                "the drill checks more: foreign keys, structure, size, age, gaps, time to restore, disposal",
                "a file that is mapped into memory counts as resident, although the kernel can drop it at any time",
            ],
        )
    ]


def _script(rows: dict[str, int]) -> str:
    script = _SHELL
    for table, count in rows.items():
        script = script.replace(table.upper(), str(count))
    return script


def _one_line(script: str) -> str:
    return "; ".join(script.replace("set -e\n", "").splitlines())


def _fill(path: Path, rows: dict[str, int]) -> None:
    """The same rows each time; texts compress to a half, as business data does."""
    source = random.Random(1)
    words = ["".join(source.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=8)) for _ in range(5000)]
    phrases = [" ".join(source.choices(words, k=6)) for _ in range(200_000)]
    pick, below = source.choice, source.randrange
    customers, orders, items = (range(1, rows[table] + 1) for table in _ROWS)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(_SCHEMA)
        database.executemany(
            "insert into customers values (?, ?, ?, ?)",
            ((n, pick(phrases), f"u{n}@{pick(words)}.example", f"2026-01-{n % 28 + 1:02d}") for n in customers),
        )
        database.executemany(
            "insert into orders values (?, ?, ?, ?, ?)",
            ((n, below(1, len(customers)), _time(n), ("new", "paid", "sent")[n % 3], pick(phrases)) for n in orders),
        )
        database.executemany(
            "insert into items values (?, ?, ?, ?, ?, ?)",
            ((n, below(1, len(orders)), pick(words), n % 9 + 1, n * 0.37, pick(phrases)) for n in items),
        )
        database.commit()


def _time(number: int) -> str:
    return f"2026-{number % 12 + 1:02d}-{number % 28 + 1:02d} {number % 24:02d}:{number % 60:02d}:00"
