"""Proofs that an index is right: tried only where they mean something, and failing wherever the index is wrong."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from restore_drill.engines import sqlite_proof, sqlite_schema
from restore_drill.engines.sqlite_connection import Deadline
from restore_drill.engines.sqlite_integrity import Copy

ROWS = 400
SCHEMA = """
    CREATE TABLE t (id INTEGER PRIMARY KEY, a INT, b TEXT, c TEXT COLLATE nocase);
    CREATE INDEX t_a ON t (a);
    CREATE INDEX t_ba ON t (b, a);
    CREATE INDEX t_binary ON t (c COLLATE binary);
"""
OTHERS = """
    CREATE UNIQUE INDEX t_unique ON t (b, id);
    CREATE INDEX t_some ON t (a) WHERE a > 50;
    CREATE INDEX t_down ON t (a DESC);
    CREATE INDEX t_nocase ON t (c);
    CREATE INDEX t_expression ON t (a + 1);
    CREATE TABLE pairs (k TEXT, l INT, v TEXT, PRIMARY KEY (k, l)) WITHOUT ROWID;
    CREATE INDEX pairs_v ON pairs (v);
    CREATE TABLE names (rowid TEXT, oid TEXT, _rowid_ TEXT);
    CREATE INDEX names_oid ON names (oid);
    CREATE TABLE implied (u TEXT UNIQUE);
"""


def make(path: Path, more: str = "") -> Path:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(f"PRAGMA page_size=512; {SCHEMA} {more} BEGIN;")
        connection.executemany(
            "INSERT INTO t VALUES (?, ?, ?, ?)", ((n, n * 7919 % 101, f"b{n % 13}", f"C{n % 11}") for n in range(ROWS))
        )
        connection.execute("INSERT INTO t VALUES (9999, NULL, NULL, NULL)")
        connection.execute("COMMIT")
    return path


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[Copy, dict[str, sqlite_proof.Proof]]]:
    with Deadline(time.monotonic() + 60) as deadline, contextlib.closing(Copy(path, deadline, 1)) as copy:
        connection = copy.connection()
        proofs = sqlite_proof.possible(connection, sqlite_schema.read(connection))
        yield copy, {proof.index: proof for proof in proofs}


def outcomes(path: Path) -> dict[str, int | None]:
    with opened(path) as (copy, proofs):
        return {index: sqlite_proof.attempt(copy, proof) for index, proof in proofs.items()}


def behind(path: Path, index: str, statement: str) -> None:
    """Run a statement while the schema does not know of an index."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        row = connection.execute("SELECT * FROM sqlite_master WHERE name = ?", (index,)).fetchone()
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = ?", (index,))
        connection.execute("PRAGMA writable_schema=RESET")
        assert connection.execute(statement).rowcount > 0
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)


def complaints(path: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("PRAGMA integrity_check")}


def test_right_indexes_are_proved(tmp_path: Path) -> None:
    path = make(tmp_path / "x.db")
    assert outcomes(path) == {"t_a": ROWS + 1, "t_ba": ROWS + 1, "t_binary": ROWS + 1}


def test_only_plain_indexes_are_tried(tmp_path: Path) -> None:
    with opened(make(tmp_path / "x.db", OTHERS)) as (_, proofs):
        assert set(proofs) == {"t_a", "t_ba", "t_binary"}


@pytest.mark.parametrize(
    ("statement", "entries"),
    [
        ("DELETE FROM t WHERE id = 17", ROWS + 1),
        ("INSERT INTO t VALUES (5000, 3, 'b3', 'C3')", None),
        ("UPDATE t SET a = 102 WHERE id = 17", None),
        ("UPDATE t SET a = NULL WHERE id = 17", None),
        ("UPDATE t SET id = 7000 WHERE id = 17", None),
    ],
    ids=["an entry too many", "an entry too few", "another value", "no value", "another row"],
)
def test_an_index_that_is_not_of_its_table_is_never_proved(tmp_path: Path, statement: str, entries: int | None) -> None:
    path = make(tmp_path / "x.db")
    behind(path, "t_a", statement)
    found = outcomes(path)
    assert found["t_a"] == entries
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT count(*) FROM t NOT INDEXED").fetchone()[0]
    assert found["t_a"] != rows
    assert found["t_ba"] == rows
    assert complaints(path) != {"ok"}


def swap(data: bytearray, first: bytes, second: bytes) -> None:
    one, other = data.find(first), data.find(second)
    assert one > 0
    assert other > 0
    data[one : one + len(first)], data[other : other + len(second)] = second, first


def repeat(data: bytearray, first: bytes, second: bytes) -> None:
    assert second in data
    data[data.find(second) : data.find(second) + len(second)] = first


@pytest.mark.parametrize("damage", [swap, repeat])
def test_entries_out_of_order_are_never_proved(
    tmp_path: Path, damage: Callable[[bytearray, bytes, bytes], None]
) -> None:
    path = tmp_path / "x.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("CREATE TABLE t (a TEXT); CREATE INDEX t_a ON t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", [("aaaa",), ("bbbb",), ("cccc",)])
    assert outcomes(path) == {"t_a": 3}
    data = bytearray(path.read_bytes())
    # In an index the rowid follows the value: 1 is a constant without bytes, 2 and 3 are one byte each.
    damage(data, b"bbbb\x02", b"cccc\x03")
    path.write_bytes(data)
    assert outcomes(path) == {"t_a": None}
    assert complaints(path) != {"ok"}


def test_what_cannot_be_read_proves_nothing(tmp_path: Path) -> None:
    path = make(tmp_path / "x.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 't_a'").fetchone()
    data = bytearray(path.read_bytes())
    data[512 * (root - 1)] = 0xFF
    path.write_bytes(data)
    found = outcomes(path)
    assert found["t_a"] is None
    assert found["t_ba"] == ROWS + 1


def test_a_plan_that_sorts_the_entries_proves_nothing(tmp_path: Path) -> None:
    with opened(make(tmp_path / "x.db", "CREATE INDEX t_down ON t (a DESC);")) as (copy, proofs):
        good = proofs["t_a"]
        assert sqlite_proof.attempt(copy, good) == ROWS + 1
        wrong = sqlite_proof.Proof(
            "t", "t_down", good.differs.replace('"t_a"', '"t_down"'),
            good.entries, good.rows,
        )  # fmt: skip
        assert sqlite_proof.attempt(copy, wrong) is None


def test_large_tables_come_first(tmp_path: Path) -> None:
    more = "CREATE TABLE few (x INT); CREATE INDEX few_x ON few (x); INSERT INTO few VALUES (1);"
    with opened(make(tmp_path / "x.db", more)) as (_, proofs):
        assert list(proofs)[-1] == "few_x"
        assert proofs["few_x"].rows == 1
