"""Loading SQL text: what a dump contains comes back, what it must not do is refused by name."""

from __future__ import annotations

import contextlib
import sqlite3
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from tests.support.calls import DirectCall

from restore_drill import disk
from restore_drill.engines import sqlite_text
from restore_drill.engines.sqlite_text_policy import unistr
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded, RestoreDrillError
from restore_drill.model import Stage

TABLE = "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT UNIQUE);"
ROWS = "INSERT INTO t VALUES(1,'one'),(2,'two; -- not a comment');"
DUMP = f"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n{TABLE}\n{ROWS}\nCOMMIT;\n"


def load(work: Path, text: str | bytes, *, allow_empty: bool = False, seconds: float = 60.0) -> dict[str, Any]:
    work.mkdir(exist_ok=True)
    payload = work / "payload-0"
    payload.write_bytes(text.encode() if isinstance(text, str) else text)
    return sqlite_text.load(DirectCall(work), "payload-0", allow_empty, seconds)


def ask(work: Path, sql: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(work / "restored" / "database.db")) as connection:
        return connection.execute(sql).fetchall()


def refused(work: Path, text: str | bytes) -> BackupFailed:
    """The error with which a text is refused; its twin without the flaw loads."""
    with pytest.raises(BackupFailed) as caught:
        load(work / "bad", text)
    assert caught.value.stage is Stage.RESTORE
    assert caught.value.remedy
    return caught.value


def test_a_dump_comes_back(tmp_path: Path) -> None:
    answer = load(tmp_path, DUMP)
    assert ask(tmp_path, "SELECT * FROM t") == [(1, "one"), (2, "two; -- not a comment")]
    assert answer["facts"]["complete"] == "COMMIT"
    assert answer["facts"]["text_bytes"] == len(DUMP)
    assert answer["facts"]["tables"] == 1
    assert answer["notes"] == []
    assert answer["path"] == "restored/database.db"


def test_everything_a_database_can_hold_comes_back(tmp_path: Path) -> None:
    live = tmp_path / "live.db"
    with contextlib.closing(sqlite3.connect(live)) as connection:
        connection.executescript(
            """
            PRAGMA user_version=7;
            CREATE TABLE "odd ""name"" ☃" ("a;b" BLOB, [c] REAL, `d` INT GENERATED ALWAYS AS (length("a;b")) VIRTUAL);
            INSERT INTO "odd ""name"" ☃" VALUES (x'00ff', 1.5), ('it''s', NULL), (zeroblob(5000), -9e99);
            CREATE TABLE log (id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT);
            CREATE TRIGGER audit AFTER INSERT ON log BEGIN
                INSERT INTO log(what) SELECT CASE WHEN new.what = 'x;' THEN 'y' ELSE 'z' END WHERE new.id < 0;
                SELECT 1; -- END;
            END;
            INSERT INTO log (what) VALUES ('multi
line; text'), ('-- no comment'), ('/* nor this');
            CREATE VIEW seen AS SELECT what FROM log;
            CREATE UNIQUE INDEX log_what ON log (what) WHERE what IS NOT NULL;
            CREATE TABLE pairs (k, v, PRIMARY KEY (k, v)) WITHOUT ROWID;
            INSERT INTO pairs VALUES (1, 2);
            """
        )
        lines = "\n".join(connection.iterdump())
        expected = {
            table: connection.execute(f'SELECT * FROM "{table.replace(chr(34), chr(34) * 2)}"').fetchall()
            for table in ('odd "name" ☃', "log", "pairs", "seen")
        }
        schema = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
    load(tmp_path, lines)
    for table, rows in expected.items():
        assert ask(tmp_path, f'SELECT * FROM "{table.replace(chr(34), chr(34) * 2)}"') == rows
    assert ask(tmp_path, "SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2") == schema


def test_settings_that_are_content_are_obeyed(tmp_path: Path) -> None:
    load(
        tmp_path,
        "PRAGMA page_size=1024; PRAGMA encoding='UTF-16le'; PRAGMA auto_vacuum=1; PRAGMA user_version=42;"
        f"PRAGMA application_id=99; {DUMP}",
    )
    found = [ask(tmp_path, f"PRAGMA {name}")[0][0] for name in ("page_size", "encoding", "auto_vacuum", "user_version")]
    assert found == [1024, "UTF-16le", 1, 42]
    assert ask(tmp_path, "PRAGMA application_id") == [(99,)]


def test_settings_that_are_none_of_its_business_are_passed_over(tmp_path: Path) -> None:
    answer = load(
        tmp_path, f"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA locking_mode=NORMAL; {DUMP} VACUUM;"
    )
    assert len(answer["notes"]) == 1
    for name in ("PRAGMA journal_mode", "PRAGMA locking_mode", "PRAGMA synchronous", "VACUUM"):
        assert name in answer["notes"][0]
    assert ask(tmp_path, "PRAGMA journal_mode") == [("delete",)]


def test_a_dump_of_full_text_tables_comes_back(tmp_path: Path) -> None:
    """``.dump`` writes virtual tables into the schema table itself."""
    text = """PRAGMA foreign_keys=OFF;
        BEGIN TRANSACTION;
        PRAGMA writable_schema=ON;
        INSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql)
            VALUES('table','f','f',0,'CREATE VIRTUAL TABLE f USING fts5(t)');
        CREATE TABLE IF NOT EXISTS 'f_data'(id INTEGER PRIMARY KEY, block BLOB);
        INSERT INTO f_data VALUES(1,X'010503');
        INSERT INTO f_data VALUES(10,X'000000000101010001010101');
        INSERT INTO f_data VALUES(137438953473,X'0000001204306f6e65010204010374776f02020204080b');
        CREATE TABLE IF NOT EXISTS 'f_idx'(segid, term, pgno, PRIMARY KEY(segid, term)) WITHOUT ROWID;
        INSERT INTO f_idx VALUES(1,X'',2);
        CREATE TABLE IF NOT EXISTS 'f_content'(id INTEGER PRIMARY KEY, c0);
        INSERT INTO f_content VALUES(1,'one');
        CREATE TABLE IF NOT EXISTS 'f_docsize'(id INTEGER PRIMARY KEY, sz BLOB);
        CREATE TABLE IF NOT EXISTS 'f_config'(k PRIMARY KEY, v) WITHOUT ROWID;
        INSERT INTO f_config VALUES('version',4);
        PRAGMA writable_schema=OFF;
        COMMIT;"""
    assert load(tmp_path, text)["facts"]["complete"] == "COMMIT"
    assert ask(tmp_path, "SELECT count(*) FROM f") == [(1,)]


def test_unistr_of_newer_versions_is_understood(tmp_path: Path) -> None:
    load(tmp_path, f"BEGIN;{TABLE}INSERT INTO t VALUES(1,unistr('a\\u000ab\\\\c\\U0001F600'));COMMIT;")
    assert ask(tmp_path, "SELECT b FROM t") == [("a\nb\\c\U0001f600",)]
    assert unistr(None) is None
    assert unistr("\\+00006A\\006B") == "jk"


def test_without_begin_there_is_no_witness(tmp_path: Path) -> None:
    answer = load(tmp_path, TABLE + ROWS)
    assert answer["facts"]["complete"] == "no witness"
    assert "nothing in it proves that it is whole" in answer["notes"][0]
    assert ask(tmp_path, "SELECT count(*) FROM t") == [(2,)]


def test_a_last_commit_needs_no_semicolon(tmp_path: Path) -> None:
    assert load(tmp_path, DUMP.rstrip().rstrip(";"))["facts"]["complete"] == "COMMIT"


def test_windows_line_ends_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    load(tmp_path, b"\xef\xbb\xbf" + DUMP.replace("\n", "\r\n").encode())
    assert ask(tmp_path, "SELECT count(*) FROM t") == [(2,)]


def test_scripts_may_drop_what_is_not_there_and_print_what_is(tmp_path: Path) -> None:
    answer = load(
        tmp_path, f".headers on\nDROP TABLE t; DROP VIEW IF EXISTS v; {DUMP} SELECT * FROM t; SELECT nothing;"
    )
    assert ask(tmp_path, "SELECT count(*) FROM t") == [(2,)]
    assert any("2 SELECT" in note for note in answer["notes"])
    assert any(".headers" in note for note in answer["notes"])


def test_statistics_of_another_build_do_no_harm(tmp_path: Path) -> None:
    load(tmp_path, f"{DUMP} ANALYZE sqlite_schema; INSERT INTO sqlite_stat9 VALUES('t','i','1');")
    assert ask(tmp_path, "SELECT count(*) FROM t") == [(2,)]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (DUMP.replace("COMMIT;\n", ""), "the dump ends without COMMIT"),
        (DUMP[: DUMP.index("COMMIT")], "the dump ends without COMMIT"),
        (DUMP.replace("COMMIT;", "ROLLBACK; -- due to errors"), "takes back what it contains: ROLLBACK on line 5"),
        (DUMP[: DUMP.index("two")], "ends in the middle of the statement that begins on line 4"),
        (DUMP + "INSERT INTO t VALUES(3,'three')", "ends in the middle of the statement that begins on line 6"),
        (DUMP + "/* and so", "ends inside of a comment"),
        (DUMP.replace("BEGIN TRANSACTION;\n", ""), "ends a transaction on line 4 that it never began"),
        (f"SAVEPOINT s;{TABLE}{ROWS}", "the dump ends without COMMIT"),
        (DUMP.replace("COMMIT", "/****** CORRUPTION ERROR *******/COMMIT"), "its database was corrupt"),
    ],
    ids=["no-commit", "cut", "rollback", "cut-statement", "unfinished", "comment", "head-lost", "savepoint", "remark"],
)
def test_what_is_not_whole_is_refused(tmp_path: Path, text: str, cause: str) -> None:
    load(tmp_path, DUMP)
    assert cause in refused(tmp_path, text).cause


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("ATTACH DATABASE 'elsewhere.db' AS other;", "ATTACH"),
        ("attach 'elsewhere.db' as o;", "ATTACH"),
        ("DETACH DATABASE main;", "DETACH"),
        ("VACUUM INTO 'elsewhere.db';", "VACUUM INTO"),
        ("vacuum main into 'elsewhere.db';", "VACUUM INTO"),
        ("SELECT load_extension('elsewhere');", "load_extension"),
        ("INSERT INTO t VALUES(9, load_extension('elsewhere'));", "load_extension"),
        ("SELECT fts3_tokenizer('simple');", "fts3_tokenizer"),
        ("PRAGMA temp_store_directory='/tmp';", "PRAGMA temp_store_directory"),
        ("PRAGMA main.data_store_directory='/tmp';", "PRAGMA data_store_directory"),
        (".shell touch elsewhere\n", ".shell"),
        (".system touch elsewhere\n", ".system"),
        (".read elsewhere.sql\n", ".read"),
        ("  .output elsewhere\n", ".output"),
        (".ShElL touch elsewhere\n", ".shell"),
        (".once |touch elsewhere\n", ".once"),
        (".import elsewhere t\n", ".import"),
    ],
)
def test_what_reaches_outside_is_refused_by_name(
    tmp_path: Path, statement: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    load(tmp_path, DUMP)
    error = refused(tmp_path, f"{DUMP}{statement}")
    assert cause in error.cause
    assert "reaches outside of its database" in error.cause
    assert list((tmp_path / "cwd").iterdir()) == []
    assert sorted(path.name for path in (tmp_path / "bad").iterdir()) == ["payload-0", "restored"]


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("INSERT INTO t VALUES(1,'again');", "UNIQUE constraint failed: t.a"),
        ("INSERT INTO t VALUES(8,'one');", "UNIQUE constraint failed: t.b"),
        ("INSERT INTO nowhere VALUES(1);", "no such table: nowhere"),
        ("INSERT INTO t VALUES(1);", "table t has 2 columns but 1 values were supplied"),
        ("INSERT INTO t VALUES(9, secret-word);", "SQLITE_ERROR"),
        ("CREATE TABLE t(a);", "table t already exists"),
        ("BEGIN; BEGIN;", "SQLITE_ERROR"),
        ("GRANT secret-word TO x;", "SQLITE_ERROR"),
    ],
)
def test_a_statement_that_fails_is_named_without_its_data(tmp_path: Path, statement: str, cause: str) -> None:
    load(tmp_path, DUMP)
    error = refused(tmp_path, DUMP + statement)
    assert error.cause == f"the statement that begins on line 6 fails: {cause}"
    assert "secret-word" not in str(error)
    assert error.details


def test_a_dump_that_breaks_its_own_keys_is_refused(tmp_path: Path) -> None:
    script = """
        PRAGMA foreign_keys=ON; CREATE TABLE p (a PRIMARY KEY); INSERT INTO p VALUES (1);
        CREATE TABLE c (a REFERENCES p DEFERRABLE INITIALLY DEFERRED); INSERT INTO c VALUES ({});
    """
    load(tmp_path, script.format(1))
    assert "FOREIGN KEY constraint failed" in refused(tmp_path, script.format(2)).cause


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t VALUES(3, not_here(1));",
        "CREATE VIRTUAL TABLE v USING not_here(a);",
        "CREATE INDEX i ON t(b COLLATE not_here);",
    ],
)
def test_what_this_sqlite_lacks_is_not_the_backups_fault(tmp_path: Path, statement: str) -> None:
    load(tmp_path, DUMP)
    with pytest.raises(CouldNotVerify) as caught:
        load(tmp_path / "other", DUMP + statement)
    assert "not_here" in caught.value.cause
    assert sqlite3.sqlite_version in caught.value.remedy


@pytest.mark.parametrize("byte", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\0"])
def test_what_is_no_text_is_refused(tmp_path: Path, byte: bytes) -> None:
    load(tmp_path, f"{DUMP}INSERT INTO t VALUES(3,'☃');")
    error = refused(tmp_path, f"{DUMP}INSERT INTO t VALUES(3,'".encode() + byte + b"');")
    assert "line 6 is not valid UTF-8 text" in error.cause


@pytest.mark.parametrize("text", ["", "-- nothing\n", "PRAGMA foreign_keys=OFF;BEGIN;COMMIT;", f"BEGIN;{TABLE}COMMIT;"])
def test_nothing_came_back(tmp_path: Path, text: str) -> None:
    assert "nothing came back" in refused(tmp_path, text).cause
    load(tmp_path, text, allow_empty=True)
    assert ask(tmp_path, "SELECT count(*) FROM sqlite_master WHERE type = 'table'") in ([(0,)], [(1,)])


def test_endless_work_meets_its_deadline(tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) INSERT INTO t SELECT max(i), 1 FROM n;"
    with pytest.raises(DeadlineExceeded):
        load(tmp_path, DUMP + endless, seconds=0.3)


@pytest.mark.parametrize("where", ["t SELECT i, randomblob(100000) FROM n", "t SELECT i, i FROM n ORDER BY random()"])
def test_endless_rows_do_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    rows = "WITH RECURSIVE n(i) AS (SELECT 9 UNION ALL SELECT i + 1 FROM n {}) INSERT INTO " + where + ";"
    load(tmp_path / "few", DUMP + rows.format("LIMIT 5"))
    assert ask(tmp_path / "few", "SELECT count(*) FROM t") == [(7,)]
    monkeypatch.setattr(disk, "reserve", lambda path: 1 << 62)  # as if hardly anything were free
    with pytest.raises(CouldNotVerify, match="the disk is too small") as caught:
        load(tmp_path / "endless", DUMP + rows.format(""))
    assert not isinstance(caught.value, DeadlineExceeded)


def test_a_trigger_cannot_reach_outside_either(tmp_path: Path) -> None:
    trigger = "CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT load_extension('elsewhere'); END;"
    load(tmp_path, DUMP + trigger)
    with pytest.raises(RestoreDrillError) as caught:
        load(tmp_path / "other", f"{DUMP}{trigger}INSERT INTO t VALUES(7,'seven');")
    assert "load_extension" in caught.value.cause


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    payload = tmp_path / "payload-0"
    row = b"INSERT INTO t VALUES(NULL,'" + b"x" * 1000 + b"');\n"
    with payload.open("wb") as file:
        file.write(b"BEGIN;CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);\n")
        for _ in range(20):
            file.write(row * 1000)
        file.write(b"COMMIT;")
    call = DirectCall(tmp_path)
    tracemalloc.start()
    try:
        sqlite_text.load(call, "payload-0", False, 60.0)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert ask(tmp_path, "SELECT count(*) FROM t") == [(20_000,)]
    assert call.reports[-1] == {"bytes": payload.stat().st_size, "of": payload.stat().st_size}
