"""What the ``sqlite`` engine proves itself with: a small shop's database, and the ways in which a copy goes bad."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.base import Sample

#: What the catalogue would say of these samples under ``expect:``; the newest order is of the time below.
EXPECT: Final[Mapping[str, Any]] = {
    "rows": {"customers": 40, "orders": 200, "items": {"min": 400}},
    "queries": [{"name": "the-right-shop", "sql": "SELECT count(*) FROM shop WHERE name = 'production'", "equals": 1}],
    "newest_record": {"sql": "SELECT max(created_at) FROM orders", "within": "2h"},
}
#: Seconds since the epoch at which a snapshot of the good sample would have been taken.
TAKEN: Final = 1_700_000_000
_SCHEMA: Final = """
    CREATE TABLE shop (name TEXT NOT NULL);
    CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE);
    CREATE TABLE orders (
        id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id), created_at INTEGER NOT NULL
    );
    CREATE TABLE items (
        order_id INTEGER NOT NULL REFERENCES orders (id), line INTEGER NOT NULL, quantity INTEGER CHECK (quantity > 0),
        PRIMARY KEY (order_id, line)
    ) WITHOUT ROWID;
    CREATE INDEX orders_customer ON orders (customer_id);
    CREATE VIEW open_orders AS SELECT * FROM orders WHERE created_at > 0;
    CREATE TRIGGER no_free_items BEFORE INSERT ON items WHEN new.quantity = 0
    BEGIN SELECT raise(ABORT, 'free'); END;
"""

Damage = Callable[[sqlite3.Connection], None]


def samples() -> Iterator[Sample]:
    """The good ones first."""
    yield Sample("good", "", _database())
    yield Sample("good-with-its-log", "", _with_log)
    yield Sample("good-dump", "", _dump())
    yield from _damaged_databases()
    yield from _damaged_files()
    yield from _damaged_dumps()


def _damaged_databases() -> Iterator[Sample]:
    """SQLite opens them all without a word."""
    yield Sample("index-entry-lost", "integrity", _database(_lose_index_entry))
    yield Sample("orphans", "integrity", _database("DELETE FROM orders WHERE id = 77"))
    yield Sample("broken-constraint", "integrity", _database(_break_constraint))
    if "ENABLE_FTS5" in _options():
        yield Sample("full-text-lost", "integrity", _database(_lose_full_text))
    yield Sample("view-lost", "structure", _database("DROP VIEW open_orders"))
    yield Sample("table-emptied", "structure", _database("DELETE FROM shop"))
    yield Sample("rows-lost", "rows", _database("DELETE FROM items WHERE order_id = 77"))
    yield Sample("another-shop", "query", _database("UPDATE shop SET name = 'staging'"))
    yield Sample("stale", "newest", _database("UPDATE orders SET created_at = created_at - 86400"))
    yield Sample("schema-only", "restores", _database(_delete_everything))


def _damaged_files() -> Iterator[Sample]:
    yield Sample("page-overwritten", "integrity", _page_overwritten)
    yield Sample("schema-overwritten", "restores", _file(lambda data: _patch(data, 100, b"\xff" * 64)))
    yield Sample("cut", "restores", _file(lambda data: data[: len(data) // 2]))
    yield Sample("encrypted", "fetched", _file(lambda data: bytes(byte ^ 0xA5 for byte in data)))
    yield Sample("log-of-another-database", "restores", _with_log_of_another)


def _damaged_dumps() -> Iterator[Sample]:
    yield Sample("error-page", "fetched", _text(b"<html><body>503 Service Unavailable</body></html>"))
    yield Sample("dump-without-commit", "restores", _dump(lambda text: text.replace("COMMIT;", "")))
    yield Sample("dump-cut", "restores", _dump(lambda text: text[: len(text) // 2]))
    yield Sample(
        "dump-rolled-back", "restores", _dump(lambda text: text.replace("COMMIT;", "ROLLBACK; -- due to errors"))
    )
    yield Sample("dump-attaches", "restores", _dump(lambda text: text + "ATTACH DATABASE 'elsewhere.db' AS other;\n"))
    yield Sample("dump-runs-a-command", "restores", _dump(lambda text: text + ".system touch elsewhere\n"))
    yield Sample("empty-dump", "restores", _text(b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCOMMIT;\n"))


def _database(damage: str | Damage = "") -> Callable[[Path], Path]:
    def build(directory: Path) -> Path:
        path = directory / "shop.db"
        _fill(path, damage)
        return path

    return build


def _file(damage: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def build(directory: Path) -> Path:
        path = _database()(directory)
        path.write_bytes(damage(path.read_bytes()))
        return path

    return build


def _dump(damage: Callable[[str], str] = str) -> Callable[[Path], Path]:
    def build(directory: Path) -> Path:
        database = _database()(directory)
        with contextlib.closing(sqlite3.connect(database)) as connection:
            lines = "\n".join(connection.iterdump())
        database.unlink()
        path = directory / "shop.sql"
        path.write_text(damage(f"PRAGMA foreign_keys=OFF;\n{lines}\n"), encoding="utf-8")
        return path

    return build


def _text(content: bytes) -> Callable[[Path], Path]:
    def build(directory: Path) -> Path:
        path = directory / "shop.sql"
        path.write_bytes(content)
        return path

    return build


def _with_log(directory: Path) -> Path:
    """A copy of database and log taken together, while the database was open: its newest rows are in the log only."""
    live = directory / "live.db"
    _fill(live, "DELETE FROM orders WHERE id > 190; DELETE FROM items WHERE order_id > 190")
    path = directory / "shop.db"
    with contextlib.closing(sqlite3.connect(live)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(_rows(191, 201))
        shutil.copy(live, path)
        shutil.copy(f"{live}-wal", f"{path}-wal")
    live.unlink()
    return path


def _with_log_of_another(directory: Path) -> Path:
    other = directory / "other"
    other.mkdir()
    with contextlib.closing(sqlite3.connect(other / "other.db")) as connection:
        connection.executescript(
            "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)"
        )
        path = _database()(directory)
        shutil.copy(other / "other.db-wal", f"{path}-wal")
    shutil.rmtree(other)
    return path


def _fill(path: Path, damage: str | Damage) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(f"PRAGMA page_size=512; PRAGMA synchronous=OFF; {_SCHEMA}")
        connection.execute("INSERT INTO shop VALUES ('production')")
        connection.executemany(
            "INSERT INTO customers VALUES (?, ?)",
            ((number, f"customer{number}@example.org") for number in range(1, 41)),
        )
        connection.executescript(_rows(1, 201))
        if isinstance(damage, str):
            connection.executescript(damage)
        else:
            damage(connection)


def _rows(first: int, behind: int) -> str:
    orders = ", ".join(
        f"({number}, {number % 40 + 1}, {TAKEN - (200 - number) * 60})" for number in range(first, behind)
    )
    items = ", ".join(f"({number}, {line}, {line + 1})" for number in range(first, behind) for line in (0, 1))
    return f"INSERT INTO orders VALUES {orders}; INSERT INTO items VALUES {items};"  # noqa: S608 - numbers of ours


def _lose_index_entry(connection: sqlite3.Connection) -> None:
    """Delete a row while the schema does not know of the index, then bring both back as they were."""
    index = connection.execute("SELECT * FROM sqlite_master WHERE name = 'orders_customer'").fetchone()
    connection.executescript("PRAGMA writable_schema=ON; DELETE FROM sqlite_master WHERE name = 'orders_customer'")
    connection.executescript("PRAGMA writable_schema=RESET; UPDATE orders SET customer_id = 1 WHERE id = 77")
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", index)


def _break_constraint(connection: sqlite3.Connection) -> None:
    connection.executescript("PRAGMA ignore_check_constraints=ON; UPDATE items SET quantity = -1 WHERE order_id = 77")


def _lose_full_text(connection: sqlite3.Connection) -> None:
    connection.executescript(
        "CREATE VIRTUAL TABLE notes USING fts5(text); INSERT INTO notes VALUES ('first'), ('second');"
        "DELETE FROM notes_content WHERE id = 1"
    )


def _delete_everything(connection: sqlite3.Connection) -> None:
    connection.executescript("DELETE FROM items; DELETE FROM orders; DELETE FROM customers; DELETE FROM shop")


def _page_overwritten(directory: Path) -> Path:
    path = _database()(directory)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'items'").fetchone()
    path.write_bytes(_patch(path.read_bytes(), (page - 1) * 512, b"\x5a" * 512))
    return path


def _patch(data: bytes, position: int, patch: bytes) -> bytes:
    return data[:position] + patch + data[position + len(patch) :]


def _options() -> set[str]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        return {option for (option,) in connection.execute("PRAGMA compile_options")}
