"""Restoring a database file or a tree with one, and asking questions of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.calls import DirectCall

from restore_drill.engines import sqlite_probe, sqlite_query
from restore_drill.engines.sqlite_connection import Deadline
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded, RestoreDrillError
from restore_drill.model import Stage

SCHEMA = "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT); INSERT INTO t VALUES (1, 'one'), (2, NULL), (3, 'three');"


def make(path: Path, script: str = SCHEMA) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(script)
    return path


def restore(work: Path, *, allow_empty: bool = False) -> dict[str, Any]:
    return sqlite_probe.restore_file(DirectCall(work), "payload-0", [], allow_empty, 60.0)


def restore_tree(work: Path, database: str = "") -> dict[str, Any]:
    return sqlite_probe.restore_tree(DirectCall(work), "tree", database, False, 60.0)


def refused(work: Path, **options: Any) -> BackupFailed:
    with pytest.raises(BackupFailed) as caught:
        restore(work, **options)
    assert caught.value.stage is Stage.RESTORE
    assert caught.value.remedy
    return caught.value


def ask(work: Path, sql: str, seconds: float = 60.0) -> list[list[Any]]:
    return sqlite_query.query(DirectCall(work), sqlite_probe.RESTORED, sql, seconds)


# --- a file ----------------------------------------------------------------------------------------------------------


def test_a_database_is_moved_and_described(tmp_path: Path) -> None:
    make(tmp_path / "payload-0", "PRAGMA page_size=1024;" + SCHEMA)
    answer = restore(tmp_path)
    assert answer["path"] == "restored/database.db"
    facts = answer["facts"]
    assert (facts["page_size"], facts["encoding"], facts["tables"]) == (1024, "UTF-8", 1)
    assert facts["bytes"] == (tmp_path / "restored" / "database.db").stat().st_size
    assert facts["written_by"] == facts["sqlite"] == sqlite3.sqlite_version
    assert not (tmp_path / "payload-0").exists()


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
@pytest.mark.parametrize("settings", ["page_size=65536", "page_size=512", "auto_vacuum=2", "journal_mode=WAL"])
def test_any_settings(tmp_path: Path, encoding: str, settings: str) -> None:
    make(tmp_path / "payload-0", f"PRAGMA encoding='{encoding}'; PRAGMA {settings}; {SCHEMA}")
    assert restore(tmp_path)["facts"]["encoding"] == encoding
    assert ask(tmp_path, "SELECT b FROM t WHERE a = 3") == [["three"]]


@pytest.mark.parametrize("mode", [0o400, 0o000])
def test_a_read_only_copy_is_made_writable(tmp_path: Path, mode: int) -> None:
    make(tmp_path / "payload-0").chmod(mode)
    restore(tmp_path)
    assert (tmp_path / "restored" / "database.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("PRAGMA user_version=1", "nothing came back: the database has no table"),
        ("CREATE TABLE a(x); CREATE TABLE b(y); CREATE VIEW v AS SELECT 1", "nothing came back: no table has a row"),
        ("CREATE VIRTUAL TABLE f USING fts5(x)", "nothing came back: no table has a row"),
    ],
)
def test_nothing_came_back(tmp_path: Path, script: str, cause: str) -> None:
    make(tmp_path / "payload-0", script)
    assert refused(tmp_path).cause == cause
    make(tmp_path / "payload-0", script)
    assert restore(tmp_path, allow_empty=True)["facts"]["tables"] in (0, 2)
    make(tmp_path / "payload-0", f"{script}; CREATE TABLE last(x); INSERT INTO last VALUES (NULL)")
    restore(tmp_path)


def test_a_row_in_a_full_text_table_is_something(tmp_path: Path) -> None:
    make(tmp_path / "payload-0", "CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES ('word')")
    assert restore(tmp_path)["facts"]["tables"] == 0


def test_a_file_that_is_not_there_is_never_made(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="payload-0"):
        restore(tmp_path)
    with pytest.raises(CouldNotVerify):
        ask(tmp_path, "SELECT 1")
    assert not list(tmp_path.rglob("*.db"))


@pytest.mark.parametrize("content", [b"", b"x" * 2000, b"SQLite format 3\0", b"SQLite format 3\0" + b"\xff" * 2000])
def test_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "payload-0").write_bytes(content)
    for allow_empty in (False, True):
        refused(tmp_path, allow_empty=allow_empty)
        (tmp_path / "payload-0").write_bytes(content)


def test_a_database_cut_short_is_refused_by_name(tmp_path: Path) -> None:
    path = make(tmp_path / "payload-0", f"PRAGMA page_size=1024; {SCHEMA} INSERT INTO t VALUES (9, zeroblob(9000))")
    pages = path.stat().st_size // 1024
    path.write_bytes(path.read_bytes()[: 3 * 1024 + 100])
    assert refused(tmp_path).cause == f"the database is cut short: 3 of its {pages} pages are there"


def test_a_damaged_schema_is_refused_without_its_text(tmp_path: Path) -> None:
    path = make(tmp_path / "payload-0", SCHEMA + "CREATE TABLE secretname(a)")
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE secretname", b"CREATE TABLE secretname"[:-1] + b"\xb0"))
    error = refused(tmp_path)
    assert "the database is malformed" in error.cause
    assert "secretname" not in str(error)


def test_a_newer_schema_is_not_the_backups_fault(tmp_path: Path) -> None:
    path = make(tmp_path / "payload-0", SCHEMA + "CREATE TABLE n(a)")
    data = path.read_bytes().replace(b"CREATE TABLE n(a)", b"CREATE TABLE n<a>")
    path.write_bytes(data)
    assert refused(tmp_path).verdict == "failed"
    path.write_bytes(data[:96] + struct.pack(">I", 3_999_009) + data[100:])
    with pytest.raises(CouldNotVerify) as caught:
        restore(tmp_path)
    assert "SQLite 3.999.9 wrote it" in caught.value.cause


def test_a_header_that_makes_sqlite_read_only_is_not_accepted(tmp_path: Path) -> None:
    """A handle that only reads skips CHECK constraints, so that it says ``ok`` of rows that break them."""
    path = make(tmp_path / "payload-0", f"{SCHEMA} CREATE TABLE c(a CHECK (a > 0));")
    data = bytearray(path.read_bytes())
    data[18] = 3
    path.write_bytes(data)
    with pytest.raises(CouldNotVerify) as caught:
        restore(tmp_path)
    assert "CHECK constraints would be skipped" in caught.value.cause
    data[18] = 1
    path.write_bytes(data)
    restore(tmp_path)


def test_one_unreadable_table_is_left_to_the_integrity_check(tmp_path: Path) -> None:
    path = make(tmp_path / "payload-0", "PRAGMA page_size=512; CREATE TABLE a(x); INSERT INTO a VALUES (1);" + SCHEMA)
    data = path.read_bytes()
    path.write_bytes(data[:512] + b"\xff" * 512 + data[1024:])
    restore(tmp_path)
    whole = make(tmp_path / "payload-0", "PRAGMA page_size=512; CREATE TABLE a(x); INSERT INTO a VALUES (1)")
    data = whole.read_bytes()
    whole.write_bytes(data[:512] + b"\xff" * 512)
    assert "no table can be read: the database is malformed" in refused(tmp_path).cause


# --- a tree ----------------------------------------------------------------------------------------------------------


def test_the_only_database_of_a_tree(tmp_path: Path) -> None:
    make(tmp_path / "tree" / "var" / "lib" / "app.data")
    (tmp_path / "tree" / "readme.txt").write_text("SQLite format 3")
    (tmp_path / "tree" / "link").symlink_to("var/lib/app.data")
    os.mkfifo(tmp_path / "tree" / "fifo")
    assert restore_tree(tmp_path)["path"] == "restored/database.db"
    assert ask(tmp_path, "SELECT count(*) FROM t") == [[3]]


def test_a_database_of_a_tree_has_its_log_beside_it(tmp_path: Path) -> None:
    live = tmp_path / "live.db"
    with contextlib.closing(sqlite3.connect(live, isolation_level=None)) as connection:
        connection.executescript(f"PRAGMA journal_mode=WAL; {SCHEMA}")
        (tmp_path / "tree").mkdir()
        for ending in ("", "-wal", "-shm"):
            (tmp_path / "tree" / f"app.db{ending}").write_bytes(Path(f"{live}{ending}").read_bytes())
    (tmp_path / "tree").chmod(0o500)
    assert restore_tree(tmp_path)["facts"]["wal"]["recovered"] > 0
    assert ask(tmp_path, "SELECT count(*) FROM t") == [[3]]


def test_several_databases_need_a_name(tmp_path: Path) -> None:
    make(tmp_path / "tree" / "a.db")
    make(tmp_path / "tree" / "b.db", "CREATE TABLE other(x); INSERT INTO other VALUES (1)")
    with pytest.raises(CouldNotVerify) as caught:
        restore_tree(tmp_path)
    assert "2 SQLite databases" in caught.value.cause
    assert "engine_options" in caught.value.remedy
    assert sorted(caught.value.details) == ["a.db", "b.db"]
    assert "a.db" not in str(caught.value)
    restore_tree(tmp_path, "b.db")
    assert ask(tmp_path, "SELECT count(*) FROM other") == [[1]]


@pytest.mark.parametrize("name", ["", "missing.db", "directory", "link.db", "up/outside.db", "readme.txt"])
def test_a_tree_without_the_database_is_refused(tmp_path: Path, name: str) -> None:
    make(tmp_path / "outside" / "outside.db")
    (tmp_path / "tree" / "directory").mkdir(parents=True)
    (tmp_path / "tree" / "readme.txt").write_text("nothing")
    (tmp_path / "tree" / "link.db").symlink_to(tmp_path / "outside" / "outside.db")
    (tmp_path / "tree" / "up").symlink_to(tmp_path / "outside")
    with pytest.raises(BackupFailed) as caught:
        restore_tree(tmp_path, name)
    assert caught.value.stage is Stage.RESTORE
    assert (tmp_path / "outside" / "outside.db").exists()


# --- questions --------------------------------------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path: Path) -> Path:
    make(
        tmp_path / "payload-0",
        SCHEMA
        + """
        CREATE TABLE v(x); INSERT INTO v VALUES (x'00ff'), (cast(x'ff' AS TEXT)), (1.5), (9e999), (NULL), ('☃');
        CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES ('hello world');
        CREATE VIRTUAL TABLE r USING rtree(id, x1, x2); INSERT INTO r VALUES (1, 2, 3);
        CREATE VIEW endless AS
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS i FROM n;
        """,
    )
    restore(tmp_path)
    return tmp_path


def test_answers_are_json_values(work: Path) -> None:
    blob = {"bytes": 2, "sha256": hashlib.sha256(b"\x00\xff").hexdigest()}
    text = {"bytes": 1, "sha256": hashlib.sha256(b"\xff").hexdigest()}
    assert ask(work, "SELECT x FROM v") == [[blob], [text], [1.5], ["Infinity"], [None], ["☃"]]
    assert ask(work, "SELECT a, b FROM t -- and so on") == [[1, "one"], [2, None], [3, "three"]]
    assert ask(work, "SELECT a FROM t WHERE 0") == []
    assert ask(work, "SELECT 9223372036854775807") == [[9223372036854775807]]


@pytest.mark.parametrize(
    "sql",
    [
        "WITH x(a) AS (VALUES (1)) SELECT a FROM x;",
        "VALUES (1)",
        "SELECT 1 FROM f WHERE f MATCH 'hello'",
        "SELECT id FROM r WHERE x1 < 5",
        "SELECT count(*) FROM pragma_table_info('v')",
        "SELECT min(a) FROM t",
    ],
)
def test_reading_statements_of_any_kind(work: Path, sql: str) -> None:
    assert ask(work, sql) == [[1]]


def test_reading_pragmas(work: Path) -> None:
    assert ask(work, "PRAGMA user_version") == [[0]]
    assert ask(work, "PRAGMA integrity_check") == [["ok"]]
    assert ask(work, "PRAGMA table_info(v)")[0][1] == "x"


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM t", "INSERT INTO t VALUES (9, 9)", "UPDATE t SET b = 1", "DROP TABLE t", "CREATE TABLE n(a)",
        "CREATE TEMP TABLE n(a)", "ALTER TABLE t ADD c", "REINDEX", "ANALYZE", "VACUUM", "VACUUM INTO 'elsewhere'",
        "ATTACH 'elsewhere' AS e", "DETACH main", "BEGIN", "SAVEPOINT s", "PRAGMA user_version=5",
        "PRAGMA writable_schema=ON", "PRAGMA journal_mode=WAL", "PRAGMA temp_store_directory='/tmp'",
        "PRAGMA query_only", "SELECT load_extension('x')", "SELECT fts3_tokenizer('simple')",
        "INSERT INTO f(f) VALUES ('rebuild')", "WITH x AS (SELECT 1) DELETE FROM t", "DELETE FROM t RETURNING a",
        "SELECT * FROM pragma_user_version(7)",
    ],
)  # fmt: skip
def test_what_does_more_than_read_is_no_question(work: Path, sql: str) -> None:
    before = (work / sqlite_probe.RESTORED).read_bytes()
    with pytest.raises(CouldNotVerify) as caught:
        ask(work, sql)
    assert caught.value.cause.startswith(("the query does more than read", "the query is wrong"))
    assert caught.value.remedy
    assert (work / sqlite_probe.RESTORED).read_bytes() == before
    assert [path.name for path in (work / "restored").iterdir()] == ["database.db"]
    assert ask(work, "SELECT count(*) FROM t") == [[3]]


@pytest.mark.parametrize(
    ("sql", "cause"),
    [
        ("SELECT nowt FROM t", "the query is wrong: no such column: nowt"),
        ("SELECT * FROM nowhere", "the query is wrong: no such table: nowhere"),
        ("SELEKT 1", 'the query is wrong: near "SELEKT": syntax error'),
        ("SELECT 1; SELECT 2", "the query is wrong: You can only execute one statement"),
        ("", "the query is wrong: incomplete input"),
        ("-- nothing", "the query is wrong: incomplete input"),
        ("SELECT ?", "the query is wrong: Incorrect number of bindings"),
        ("SELECT 1\0", "the query is wrong: the query contains a null character"),
        ("SELECT '\ud800'", "the query is wrong"),
    ],
)
def test_wrong_statements_are_not_the_backups_fault(work: Path, sql: str, cause: str) -> None:
    with pytest.raises(CouldNotVerify) as caught:
        ask(work, sql)
    assert caught.value.cause.startswith(cause)


def test_an_error_while_running_tells_nothing_of_the_data(work: Path) -> None:
    with pytest.raises(CouldNotVerify) as caught:
        ask(work, "SELECT json_extract(b, '$') FROM t")
    assert "one" not in str(caught.value)
    with pytest.raises(CouldNotVerify) as caught:
        ask(work, "SELECT x FROM f WHERE f MATCH (SELECT x || '\"' FROM f)")
    assert "hello" not in str(caught.value)


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10001) SELECT i FROM n",
        "SELECT printf('%.*c', 17000000, 'x')",
        "SELECT printf('%.*c', 9000000, 'x') FROM t",
    ],
)
def test_answers_have_a_limit(work: Path, sql: str) -> None:
    with pytest.raises(CouldNotVerify) as caught:
        ask(work, sql)
    assert "more than 10000 rows or 16 MiB" in caught.value.cause
    assert len(ask(work, sql.replace("10001", "10000").replace("17000000", "1700").replace("9000000", "900"))) > 0


@pytest.mark.parametrize("sql", ["SELECT * FROM endless", "SELECT count(*) FROM t a, t b, endless"])
def test_endless_questions_meet_their_deadline(work: Path, sql: str) -> None:
    with pytest.raises(DeadlineExceeded):
        ask(work, sql, seconds=0.2)


COUNTING = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT max(i) FROM n"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


def test_the_clock_is_looked_at_while_statements_are_interpreted() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        Deadline(time.monotonic() + 0.1).watch(connection)  # its thread is never started
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            connection.execute(ENDLESS).fetchall()


def test_of_a_small_database_the_thread_is_started_only_when_something_takes_long() -> None:
    with (
        contextlib.closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection,
        Deadline(time.monotonic() + 60, size=40_960) as deadline,
    ):
        deadline.watch(connection)
        deadline._begun = time.monotonic() + 60
        connection.execute(COUNTING).fetchall()
        assert deadline._thread.ident is None
        deadline._begun = time.monotonic() - 1
        connection.execute(COUNTING).fetchall()
        assert deadline._thread.is_alive()
    assert not deadline._thread.is_alive()


def test_a_small_database_whose_functions_take_long_meets_its_deadline() -> None:
    """A hundred bytes can ask for a second an instruction."""
    slow = "length(replace(hex(zeroblob(3000000 + i)), '0', 'x'))"
    with (
        contextlib.closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection,
        Deadline(time.monotonic() + 0.2, size=8192) as deadline,
    ):
        deadline.watch(connection)
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            connection.execute(COUNTING.replace("max(i)", f"max({slow})")).fetchall()


@pytest.mark.parametrize("size", [None, 1 << 20])
def test_of_others_it_is_started_at_once(size: int | None) -> None:
    with Deadline(time.monotonic() + 60, size=size) as deadline:
        assert deadline._thread.is_alive()


def test_an_endless_question_to_a_small_database_meets_its_deadline() -> None:
    with (
        contextlib.closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection,
        Deadline(time.monotonic() + 0.1, size=1) as deadline,
    ):
        deadline.watch(connection)
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            connection.execute(ENDLESS).fetchall()


def test_what_is_not_interpreted_is_interrupted() -> None:
    with (
        contextlib.closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection,
        Deadline(time.monotonic() + 0.1) as deadline,
    ):
        deadline.watch(connection)
        connection.set_progress_handler(None, 0)
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            connection.execute(ENDLESS).fetchall()


def test_a_schema_is_not_trusted(work: Path) -> None:
    """What a question may use itself, a view that came with the backup may not."""
    assert ask(work, "SELECT count(*) FROM pragma_table_info('v')") == [[1]]
    with contextlib.closing(sqlite3.connect(work / sqlite_probe.RESTORED)) as connection:
        connection.execute("CREATE VIEW sly AS SELECT * FROM pragma_table_info('v')")
    with pytest.raises(CouldNotVerify, match="unsafe use of virtual table"):
        ask(work, "SELECT * FROM sly")


def test_damage_found_by_a_question_is_the_backups_fault(work: Path) -> None:
    path = work / sqlite_probe.RESTORED
    data = bytearray(path.read_bytes())
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 't'").fetchone()
    data[(root - 1) * 4096 : root * 4096] = b"\xff" * 4096
    path.write_bytes(data)
    with pytest.raises(RestoreDrillError) as caught:
        ask(work, "SELECT sum(a) FROM t")
    assert isinstance(caught.value, BackupFailed)
