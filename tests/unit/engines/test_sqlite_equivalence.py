"""The shared-out integrity check gives the verdict of the plain one, whatever is damaged.

Small databases of every shape are damaged at random, the same each time: flipped bits, overwritten, copied and zeroed
pages, page and cell headers, the free list, the file header, and tables changed behind the back of an index. SQLite's
own ``PRAGMA integrity_check`` is the oracle. Where it says ``ok`` and we do not, it has skipped the accounting of pages
because a view or virtual table leads its list of tables, and what we found is of that kind.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import sqlite3
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.calls import DirectCall

from restore_drill.engines import sqlite_probe
from restore_drill.errors import RestoreDrillError

DAMAGES = 250
SCHEMA = """
    CREATE TABLE plain (id INTEGER PRIMARY KEY, x INT NOT NULL, y TEXT UNIQUE, z REAL CHECK (z >= 0), w BLOB);
    CREATE INDEX plain_x ON plain (x);
    CREATE INDEX plain_xy ON plain (x, y DESC);
    CREATE INDEX plain_some ON plain (z) WHERE z > 50;
    CREATE INDEX plain_expression ON plain (x + 1, lower(y));
    CREATE UNIQUE INDEX plain_nocase ON plain (y COLLATE nocase, id);
    CREATE TABLE pairs (k TEXT, l INT, v TEXT, PRIMARY KEY (k, l)) WITHOUT ROWID;
    CREATE INDEX pairs_v ON pairs (v);
    CREATE INDEX pairs_vl ON pairs (v, l);
    CREATE TABLE computed (id INTEGER PRIMARY KEY, p INT, q INT AS (p * 2) STORED, r INT AS (p + 1) VIRTUAL);
    CREATE INDEX computed_r ON computed (r);
    CREATE INDEX computed_q ON computed (q);
    CREATE TABLE "odd ""name" (a, b INT);
    CREATE INDEX odd_a ON "odd ""name" (a);
    CREATE TABLE numbered (i INTEGER PRIMARY KEY AUTOINCREMENT, s TEXT);
"""
VIRTUALS = """
    CREATE VIRTUAL TABLE words USING fts5 (t); CREATE VIRTUAL TABLE old_words USING fts4 (t);
    CREATE VIRTUAL TABLE boxes USING rtree (id, x1, x2);
    INSERT INTO words VALUES ('hello world'), ('one two'); INSERT INTO old_words VALUES ('hello world');
    INSERT INTO boxes VALUES (1, 2, 3), (4, 5, 6);
"""
#: Name → settings, number of rows, and what else is in the schema.
SHAPES: dict[str, tuple[str, int, str]] = {
    "small": ("PRAGMA page_size=512", 30, ""),
    "free-pages": ("PRAGMA page_size=512", 200, "DELETE FROM plain WHERE id % 7 = 0; DELETE FROM numbered WHERE i > 9"),
    "auto-vacuum": ("PRAGMA page_size=1024; PRAGMA auto_vacuum=1", 200, "DELETE FROM pairs WHERE l % 5 = 0"),
    "incremental": ("PRAGMA page_size=1024; PRAGMA auto_vacuum=2", 120, "DELETE FROM pairs WHERE l % 5 = 0"),
    "utf-16": ("PRAGMA page_size=1024; PRAGMA encoding='UTF-16be'", 120, ""),
    "large-pages": ("PRAGMA page_size=65536", 300, ""),
    "virtual": ("PRAGMA page_size=512", 60, VIRTUALS),
    "view-last": (
        "PRAGMA page_size=512",
        60,
        "DELETE FROM plain WHERE id % 3 = 0; CREATE VIEW v AS SELECT * FROM plain",
    ),
}
#: What SQLite skips when something without pages leads its list.
ACCOUNTING = {"freelist", "unused_page", "b_tree"}


def build(path: Path, shape: str) -> bytes:
    settings, rows, more = SHAPES[shape]
    source = random.Random(shape)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(f"{settings}; PRAGMA synchronous=OFF; {SCHEMA}")
        connection.execute("BEGIN")
        for number in range(rows):
            blob = source.randbytes(3000 if number % 50 == 0 else 10)
            connection.execute(
                "INSERT INTO plain VALUES (?, ?, ?, ?, ?)",
                (number + 1, source.randrange(50), f"t{number}é", source.random() * 100, blob),
            )
            connection.execute(
                "INSERT INTO pairs VALUES (?, ?, ?)", (f"k{number % 17}", number, f"v{source.randrange(99)}")
            )
            connection.execute("INSERT INTO computed (p) VALUES (?)", (source.randrange(1000),))
            connection.execute('INSERT INTO "odd ""name" VALUES (?, ?)', (number, number))
            connection.execute("INSERT INTO numbered (s) VALUES (?)", (str(number),))
        connection.execute("COMMIT")
        connection.executescript(more)
    return path.read_bytes()


# --- damage -----------------------------------------------------------------------------------------------------------

Damage = Callable[[bytearray, random.Random, int], None]


def flip_a_bit(data: bytearray, source: random.Random, size: int) -> None:
    data[source.randrange(len(data))] ^= 1 << source.randrange(8)


def overwrite_bytes(data: bytearray, source: random.Random, size: int) -> None:
    for _ in range(source.randrange(1, 6)):
        data[source.randrange(len(data))] = source.randrange(256)


def randomise_a_page(data: bytearray, source: random.Random, size: int) -> None:
    page = source.randrange(len(data) // size) * size
    data[page : page + size] = source.randbytes(size)


def copy_a_page(data: bytearray, source: random.Random, size: int) -> None:
    to, origin = (source.randrange(len(data) // size) * size for _ in range(2))
    data[to : to + size] = data[origin : origin + size]


def zero_a_page(data: bytearray, source: random.Random, size: int) -> None:
    page = source.randrange(len(data) // size) * size
    data[page : page + size] = bytes(size)


def damage_a_page_header(data: bytearray, source: random.Random, size: int) -> None:
    page = source.randrange(len(data) // size)
    data[page * size + (100 if page == 0 else 0) + source.randrange(12)] = source.randrange(256)


def damage_a_cell_pointer(data: bytearray, source: random.Random, size: int) -> None:
    page = source.randrange(len(data) // size)
    at = page * size + (100 if page == 0 else 0) + 8 + 2 * source.randrange(10)
    data[at : at + 2] = struct.pack(">H", source.randrange(65536))


def damage_the_free_list(data: bytearray, source: random.Random, size: int) -> None:
    pages = len(data) // size
    if source.random() < 0.5:
        data[32:36] = struct.pack(">I", source.randrange(pages + 3))
    data[36:40] = struct.pack(">I", source.randrange(pages + 3))


def damage_the_file_header(data: bytearray, source: random.Random, size: int) -> None:
    # Not the format versions: those make SQLite open the file for reading only, which restoring refuses.
    data[source.randrange(20, 100)] = source.randrange(256)


def move_some_bytes(data: bytearray, source: random.Random, size: int) -> None:
    to, origin, width = source.randrange(len(data) - 20), source.randrange(len(data) - 20), source.randrange(1, 16)
    data[to : to + width] = data[origin : origin + width]


DAMAGE: list[Damage] = [
    flip_a_bit, overwrite_bytes, randomise_a_page, copy_a_page, zero_a_page, damage_a_page_header,
    damage_a_cell_pointer, damage_the_free_list, damage_the_file_header, move_some_bytes,
]  # fmt: skip


def edit_behind_an_index(path: Path, source: random.Random) -> None:
    """Change a table while the schema does not know of one of its indexes."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        rows = connection.execute("SELECT * FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchall()
        index = source.choice(rows)
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = ?", (index[1],))
        connection.execute("PRAGMA writable_schema=RESET")
        table = '"' + index[2].replace('"', '""') + '"'
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        first, second, last = columns[0], columns[1], columns[-1]
        some = f"{first} IN (SELECT {first} FROM {table} LIMIT 3)"
        statement = source.choice(
            [
                f"DELETE FROM {table} WHERE {second} = (SELECT {second} FROM {table} LIMIT 1)",
                f"UPDATE OR IGNORE {table} SET {second} = {second} || '1' WHERE {some}",
                f"UPDATE OR IGNORE {table} SET {last} = NULL WHERE {some}",
            ]
        )
        connection.execute(statement)
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", index)


# --- verdicts ---------------------------------------------------------------------------------------------------------


def plain(path: Path) -> bool:
    """Whether ``PRAGMA integrity_check`` is content."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None)) as connection:
        connection.text_factory = bytes
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        try:
            return connection.execute("PRAGMA integrity_check").fetchall() == [(b"ok",)]
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            return False


def shared(path: Path, threads: int, share_from: int) -> dict[str, Any] | None:
    """What our check found in SQLite's own structures, ``None`` when it could not begin."""
    call = DirectCall(path.parent)
    try:
        answer = sqlite_probe.measure(
            call, path.name, ["integrity full"], threads, 60.0, plain_below=0, share_from=share_from
        )["integrity full"]
    except RestoreDrillError:
        return None
    return answer.get("value")


def leads_without_pages(path: Path) -> bool:
    """Whether the list of tables begins with something that has no pages."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        first = connection.execute("PRAGMA table_list").fetchone()
    return bool(first[2] in ("view", "virtual"))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_verdict_is_that_of_the_plain_check(tmp_path: Path, shape: str) -> None:
    path, source = tmp_path / "x.db", random.Random(f"damage {shape}")
    good = build(path, shape)
    size = struct.unpack_from(">H", good, 16)[0]
    seen: Counter[str] = Counter()
    for number, (threads, share_from) in zip(range(DAMAGES), itertools.cycle([(1, 1), (2, 1), (3, 1), (2, 100)])):
        path.write_bytes(good)
        if number % 7 == 0:
            how = "edit_behind_an_index"
            edit_behind_an_index(path, source)
        else:
            damage = DAMAGE[number % len(DAMAGE)]
            how, data = damage.__name__, bytearray(good)
            damage(data, source, 65536 if size == 1 else size)
            path.write_bytes(data)
        before = path.read_bytes()
        content = plain(path)
        found = shared(path, threads, share_from)
        rules = {problem["rule"] for problem in found["problems"]} - {"virtual_table"} if found else {"schema"}
        if content and rules:
            assert rules <= ACCOUNTING, (number, how)
            assert leads_without_pages(path), (number, how)
        else:
            assert content is not bool(rules), (number, how)
        assert path.read_bytes() == before, (number, how)
        seen["content" if content else "damaged"] += 1
    assert seen["content"] > DAMAGES // 10
    assert seen["damaged"] > DAMAGES // 3
