"""The loader beside SQLite's own shell: what ``sqlite3 new.db < dump`` makes of a dump, we make of it as well."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.calls import DirectCall

from restore_drill.engines import sqlite_probe, sqlite_text
from restore_drill.errors import BackupFailed

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(
    lambda name: not name.lower().startswith("sqlite_")
)
TEXTS = st.text(
    st.one_of(st.sampled_from(";'\"`[]()-/*\n\r\t\\.#é☃\U0001f600 "), st.characters(exclude_categories=["Cs"]))
)
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    TEXTS.map(lambda text: text.replace("\0", "")),
    st.binary(max_size=40),
)
TABLES = st.dictionaries(NAMES, st.lists(st.tuples(VALUES, VALUES), max_size=6), min_size=1, max_size=4)
TRIGGER = """
    CREATE TRIGGER {name} AFTER INSERT ON {table} WHEN new.rowid < 0 BEGIN
        UPDATE {table} SET "a;" = CASE WHEN 1 THEN 'END;' ELSE ';' END; -- END;
        SELECT ';' /* END; */; END
"""


@pytest.fixture(scope="module")
def shell(require_program: Callable[[str], str]) -> Callable[..., bytes]:
    program = require_program("sqlite3")

    def run(database: Path, *commands: str, text: bytes = b"") -> bytes:
        return subprocess.run(
            [program, "-batch", database, *commands], input=text, capture_output=True, check=True
        ).stdout

    return run


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def build(path: Path, tables: dict[str, list[tuple[Any, Any]]]) -> None:
    path.unlink(missing_ok=True)
    taken: set[str] = set()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for number, (name, rows) in enumerate(tables.items()):
            if name.casefold() in taken:
                continue
            taken.add(name.casefold())
            connection.execute(f'CREATE TABLE {quoted(name)} ("a;" , [b] BLOB)')
            connection.executemany(f"INSERT INTO {quoted(name)} VALUES (?, ?)", rows)
            connection.execute(f"CREATE INDEX {quoted(f'{name}; {number}')} ON {quoted(name)} ([b], 'x' || \"a;\")")
            connection.execute(TRIGGER.format(name=quoted(f"{name}';"), table=quoted(name)))
            connection.execute(f"CREATE VIEW {quoted(f'view {number} --')} AS SELECT [b] FROM {quoted(name)}")
        connection.commit()


def load(work: Path, text: bytes) -> Path:
    shutil.rmtree(work / "restored", ignore_errors=True)
    (work / "payload-0").write_bytes(text)
    sqlite_text.load(DirectCall(work), "payload-0", True, 60.0)
    return work / "restored" / "database.db"


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(TABLES)
def test_a_dump_comes_back_as_the_shell_brings_it_back(
    tmp_path: Path, shell: Callable[..., bytes], tables: dict[str, list[tuple[Any, Any]]]
) -> None:
    live, theirs = tmp_path / "live.db", tmp_path / "theirs.db"
    build(live, tables)
    text = shell(live, ".dump")
    theirs.unlink(missing_ok=True)
    shell(theirs, text=text)
    ours = load(tmp_path, text)
    assert shell(ours, ".dump") == shell(theirs, ".dump")


def test_a_dump_with_virtual_tables_comes_back(tmp_path: Path, shell: Callable[..., bytes]) -> None:
    live = tmp_path / "live.db"
    with contextlib.closing(sqlite3.connect(live)) as connection:
        connection.executescript(
            """
            CREATE VIRTUAL TABLE words USING fts5(t); CREATE VIRTUAL TABLE old USING fts4(t);
            CREATE VIRTUAL TABLE boxes USING rtree(id, x1, x2);
            INSERT INTO words VALUES ('hello; world'), ('it''s'); INSERT INTO old VALUES ('one two');
            INSERT INTO boxes VALUES (1, 2, 3); CREATE TABLE s (i INTEGER PRIMARY KEY AUTOINCREMENT);
            INSERT INTO s VALUES (41); CREATE INDEX s_i ON s (i); ANALYZE;
            """
        )
    text = shell(live, ".dump")
    ours = load(tmp_path, text)
    assert shell(ours, ".dump") == text
    call = DirectCall(tmp_path)
    found = sqlite_probe.measure(call, "restored/database.db", ["integrity full", "rows"], 2, 60.0)
    assert found["integrity full"]["value"]["problems"] == []
    assert found["rows"]["value"] == {"s": 1, "words": 2, "old": 1, "boxes": 1}


def test_a_dump_of_a_corrupt_database_is_refused_where_it_says_so(tmp_path: Path, shell: Callable[..., bytes]) -> None:
    """``.dump`` exits with 0; where it ends with COMMIT all the same, only row counts and the live check can tell."""
    live = tmp_path / "live.db"
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 900)"
    with contextlib.closing(sqlite3.connect(live)) as connection:
        connection.executescript("PRAGMA page_size=512; CREATE TABLE t (a INTEGER PRIMARY KEY, b)")
        connection.execute(f"{numbers} INSERT INTO t SELECT i, hex(i) FROM n")
        connection.commit()
    load(tmp_path, shell(live, ".dump"))
    data = bytearray(live.read_bytes())
    data[512 * 7 : 512 * 8] = b"\xff" * 512
    live.write_bytes(data)
    text = shell(live, ".dump")
    assert text.rstrip().endswith(b"ROLLBACK; -- due to errors")
    with pytest.raises(BackupFailed) as caught:
        load(tmp_path, text)
    assert "corrupt when it was taken" in caught.value.cause or "takes back what it contains" in caught.value.cause


@pytest.mark.parametrize("copy", ["VACUUM INTO '{}'", ".backup '{}'", ".clone '{}'"])
def test_copies_that_the_shell_makes_come_back(tmp_path: Path, shell: Callable[..., bytes], copy: str) -> None:
    live = tmp_path / "live.db"
    with contextlib.closing(sqlite3.connect(live)) as connection:
        connection.executescript("PRAGMA journal_mode=WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)")
        shell(live, copy.format(tmp_path / "payload-0"))
    answer = sqlite_probe.restore_file(DirectCall(tmp_path), "payload-0", [], False, 60.0)
    assert answer["facts"]["tables"] == 1
    found = sqlite_probe.measure(DirectCall(tmp_path), "restored/database.db", ["integrity full", "rows"], 2, 60.0)
    assert found["rows"]["value"] == {"t": 2}
    assert found["integrity full"]["value"]["problems"] == []
