"""Integrity, foreign keys, structure and row counts: every fault is found, and its undamaged twin is clean."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.calls import DirectCall

from restore_drill.engines import sqlite_measure, sqlite_probe, sqlite_proof
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded

SHOP = """
    CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, age INT CHECK (age > 0));
    CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INT REFERENCES customers (id), note TEXT);
    CREATE INDEX orders_customer ON orders (customer);
    CREATE UNIQUE INDEX orders_note ON orders (note) WHERE note IS NOT NULL;
    CREATE VIEW all_orders AS SELECT * FROM orders;
    CREATE TRIGGER no_op AFTER INSERT ON orders BEGIN SELECT 1; END;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300)
        INSERT INTO customers SELECT i, 'c' || i || '@example.org', i FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 900)
        INSERT INTO orders SELECT i, i % 300 + 1, 'note ' || i FROM n;
"""
#: Ways to make the shared-out check run on small files as it does on large ones.
SHARED: dict[str, int] = {"plain_below": 0, "share_from": 1}
PLAIN: dict[str, int] = {}
BOTH = pytest.mark.parametrize("limits", [SHARED, PLAIN], ids=["shared", "plain"])


def make(work: Path, script: str = SHOP, change: str | Callable[[sqlite3.Connection], None] = "") -> Path:
    path = work / "x.db"
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(f"PRAGMA page_size=1024; {script}")
        if callable(change):
            change(connection)
        else:
            connection.executescript(change)
    return path


def measure(
    work: Path, *wanted: str, threads: int = 2, seconds: float = 60.0, limits: dict[str, int] | None = None
) -> dict[str, Any]:
    return sqlite_probe.measure(DirectCall(work), "x.db", list(wanted), threads, seconds, **(limits or {}))


def integrity(work: Path, mode: str = "full", limits: dict[str, int] | None = None, threads: int = 2) -> dict[str, Any]:
    found: dict[str, Any] = measure(work, f"integrity {mode}", limits=limits, threads=threads)[f"integrity {mode}"]
    assert "error" not in found, found
    value: dict[str, Any] = found["value"]
    return value


def rules(answer: dict[str, Any]) -> set[str]:
    return {problem["rule"] for problem in answer["problems"]}


def unseen(connection: sqlite3.Connection, index: str, change: str) -> None:
    """Change a table while the schema does not know of one of its indexes."""
    row = connection.execute("SELECT * FROM sqlite_master WHERE name = ?", (index,)).fetchone()
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute("DELETE FROM sqlite_master WHERE name = ?", (index,))
    connection.execute("PRAGMA writable_schema=RESET")
    connection.executescript(change)
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)


# --- integrity --------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_good_database_is_clean(tmp_path: Path, limits: dict[str, int], threads: int) -> None:
    path = make(tmp_path)
    before = path.read_bytes()
    answer = integrity(tmp_path, limits=limits, threads=threads)
    assert answer["problems"] == []
    assert answer["checked"] == ["integrity_check", "foreign_key_check orders"]
    assert (answer["total"], answer["at_least"], answer["notes"], answer["details"]) == (0, False, [], [])
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["x.db"]


@BOTH
@pytest.mark.parametrize(
    ("change", "rule", "message"),
    [
        (lambda c: unseen(c, "orders_customer", "UPDATE orders SET customer = 1 WHERE id IN (77, 78)"), "index",
         "rows are missing from the index orders_customer"),
        (lambda c: unseen(c, "orders_customer", "DELETE FROM orders WHERE id = 77"), "index",
         "the index orders_customer has a wrong number of entries"),
        (lambda c: unseen(c, "orders_note", "UPDATE orders SET note = NULL WHERE id = 77"), "index",
         "the index orders_note has a wrong number of entries"),
        ("PRAGMA ignore_check_constraints=ON; UPDATE customers SET age = -1 WHERE id < 4", "check_constraint",
         "rows break a CHECK constraint of customers"),
        ("PRAGMA writable_schema=ON; UPDATE sqlite_master SET sql = replace(sql, 'note TEXT', 'note TEXT NOT NULL')"
         " WHERE name = 'orders'; PRAGMA writable_schema=RESET; PRAGMA writable_schema=ON;"
         "UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '') WHERE name = 'orders';"
         "PRAGMA writable_schema=RESET; UPDATE orders SET note = NULL WHERE id = 7; PRAGMA writable_schema=ON;"
         "UPDATE sqlite_master SET sql = replace(sql, 'note TEXT', 'note TEXT NOT NULL') WHERE name = 'orders'",
         "not_null", "there are NULL values in orders.note"),
        ("PRAGMA writable_schema=ON; UPDATE sqlite_master SET sql = replace(sql, 'INDEX', 'UNIQUE INDEX')"
         " WHERE name = 'orders_customer'", "unique", "the unique index orders_customer holds the same key twice"),
    ],
    ids=["entry-missing", "entry-too-many", "partial-index", "check", "not-null", "unique"],
)  # fmt: skip
def test_what_breaks_the_schemas_promises_is_found(
    tmp_path: Path, change: Any, rule: str, message: str, limits: dict[str, int]
) -> None:
    make(tmp_path, change=change)
    answer = integrity(tmp_path, limits=limits)
    assert {"rule": rule, "message": message} in [
        {"rule": problem["rule"], "message": problem["message"]} for problem in answer["problems"]
    ]
    assert answer["total"] == sum(problem["count"] for problem in answer["problems"]) > 0
    assert answer["details"]


def test_rows_are_counted_and_not_named(tmp_path: Path) -> None:
    make(tmp_path, change=lambda c: unseen(c, "orders_customer", "UPDATE orders SET customer = 9 WHERE id / 2 = 386"))
    answer = integrity(tmp_path)
    missing = next(problem for problem in answer["problems"] if problem["message"].startswith("rows are missing"))
    assert missing["count"] == 2
    assert any("772" in line for line in answer["details"])
    assert "772" not in str(answer["problems"])


def test_many_problems_are_at_least_so_many(tmp_path: Path) -> None:
    make(tmp_path, change="PRAGMA ignore_check_constraints=ON; UPDATE customers SET age = -1")
    answer = integrity(tmp_path)
    assert answer["at_least"] is True
    assert answer["problems"][0]["rule"] == "check_constraint"


@BOTH
@pytest.mark.parametrize(
    ("place", "patch"),
    [
        (lambda root, _size: (root - 1) * 1024, b"\0" * 1024),
        (lambda root, _size: (root - 1) * 1024 + 3, b"\xff\xff"),
        (lambda _root, _size: 32, b"\0\0\0\3\0\0\0\1"),
        (lambda _root, size: size - 1024, b"\x0d" + b"\xff" * 60),
    ],
    ids=["zeroed-page", "cell-count", "freelist", "last-page"],
)
def test_damaged_pages_are_found(
    tmp_path: Path, place: Callable[[int, int], int], patch: bytes, limits: dict[str, int]
) -> None:
    path = make(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'orders'").fetchone()
    data = bytearray(path.read_bytes())
    at = place(root, len(data))
    data[at : at + len(patch)] = patch
    path.write_bytes(data)
    answer = integrity(tmp_path, limits=limits)
    assert rules(answer) & {"b_tree", "freelist", "unused_page"}
    assert rules(integrity(tmp_path, "quick")) & {"b_tree", "freelist", "unused_page"}


@BOTH
def test_orphans_are_found(tmp_path: Path, limits: dict[str, int]) -> None:
    """``integrity_check`` itself says ``ok``."""
    path = make(tmp_path, change="DELETE FROM customers WHERE id IN (5, 6)")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    for mode in ("full", "quick"):
        answer = integrity(tmp_path, mode, limits)
        assert answer["problems"] == [
            {"rule": "foreign_key", "message": "rows of orders refer to missing rows of customers", "count": 6}
        ]
        assert "row 4 of orders refers to a missing row of customers" in answer["details"]


KEYS = [
    ("CREATE TABLE c (p INTEGER REFERENCES p); CREATE INDEX i ON c (p)", True),
    ("CREATE TABLE c (p INTEGER REFERENCES p (id)); CREATE INDEX i ON c (p, x DESC)", True),
    ("CREATE TABLE c (p INTEGER REFERENCES p (ID)); CREATE UNIQUE INDEX i ON c (P)", True),
    ("CREATE TABLE c (p INTEGER REFERENCES p)", False),
    ("CREATE TABLE c (p TEXT REFERENCES p); CREATE INDEX i ON c (p)", False),
    ("CREATE TABLE c (p INTEGER REFERENCES p); CREATE INDEX i ON c (p) WHERE p > 0", False),
    ("CREATE TABLE c (p INTEGER REFERENCES p); CREATE INDEX i ON c (x, p)", False),
    ("CREATE TABLE c (p INTEGER REFERENCES q (k)); CREATE INDEX i ON c (p)", False),
    ("CREATE TABLE c (p INTEGER REFERENCES w); CREATE INDEX i ON c (p)", False),
    ("CREATE TABLE c (p INTEGER REFERENCES d); CREATE INDEX i ON c (p)", False),
    ("CREATE TABLE c (p INTEGER REFERENCES r); CREATE INDEX i ON c (p)", False),
    ("CREATE TABLE c (p INTEGER REFERENCES nowhere); CREATE INDEX i ON c (p)", False),
    ("CREATE TABLE c (p INTEGER, x2, FOREIGN KEY (p, x2) REFERENCES t2); CREATE INDEX i ON c (p)", False),
]


@pytest.mark.parametrize(("child", "fast"), KEYS)
@pytest.mark.parametrize("value", ["1", "NULL", "'1'", "1.0", "7", "'a'", "1.5", "x'01'", "-1"])
def test_an_index_gives_the_answer_that_the_pragma_gives(tmp_path: Path, child: str, fast: bool, value: str) -> None:
    parents = """
        CREATE TABLE p (id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1), (2);
        CREATE TABLE q (k UNIQUE); INSERT INTO q VALUES (1), (2);
        CREATE TABLE w (id INTEGER PRIMARY KEY) WITHOUT ROWID; INSERT INTO w VALUES (1), (2);
        CREATE TABLE d (id INTEGER PRIMARY KEY DESC); INSERT INTO d VALUES (1), (2);
        CREATE TABLE r (id INTEGER PRIMARY KEY, rowid); INSERT INTO r VALUES (1, 7), (2, 8);
        CREATE TABLE t2 (a, b, PRIMARY KEY (a, b)); INSERT INTO t2 VALUES (1, 1);
    """
    child = child.replace("(p ", "(x, p ") if "x2" not in child else child
    path = make(tmp_path, f"{parents} {child}; INSERT INTO c (p) VALUES (2), ({value});")
    from restore_drill.engines import sqlite_keys, sqlite_schema

    with contextlib.closing(sqlite3.connect(path)) as connection:
        expected = connection.execute("PRAGMA foreign_key_check").fetchall()
        questions = sqlite_keys.declaring(connection, sqlite_schema.read(connection))["c"]
        assert bool(questions) is fast
        assert fast is False or any(connection.execute(question).fetchone() for question in questions) is bool(expected)
    counted = sum(problem["count"] for problem in integrity(tmp_path)["problems"])
    assert counted == len(expected)


def test_a_key_that_cannot_be_checked_is_remarked(tmp_path: Path) -> None:
    make(tmp_path, "CREATE TABLE p (a); CREATE TABLE c (a REFERENCES p (a)); INSERT INTO c VALUES (1)")
    answer = integrity(tmp_path)
    assert answer["problems"] == []
    assert "columns they refer to are not unique" in answer["notes"][0]


@BOTH
@pytest.mark.parametrize(
    ("create", "lose"),
    [
        ("CREATE VIRTUAL TABLE f USING fts5(t)", "DELETE FROM f_content WHERE id = 1"),
        ("CREATE VIRTUAL TABLE f USING fts5(t)", "UPDATE f_data SET block = zeroblob(8) WHERE id > 10"),
        ("CREATE VIRTUAL TABLE f USING fts4(t)", "UPDATE f_content SET c0t = 'other' WHERE docid = 1"),
        ("CREATE VIRTUAL TABLE f USING fts3(t)", "UPDATE f_content SET c0t = 'other' WHERE docid = 1"),
    ],
)
def test_full_text_that_is_lost_is_found(tmp_path: Path, create: str, lose: str, limits: dict[str, int]) -> None:
    """``integrity_check`` says ``ok`` before SQLite 3.44."""
    fill = f"{create}; INSERT INTO f VALUES ('hello world'), ('one two three')"
    make(tmp_path, fill)
    answer = integrity(tmp_path, limits=limits)
    assert answer["problems"] == []
    assert any(name.endswith(" f") for name in answer["checked"])
    make(tmp_path, fill, lose)
    assert "virtual_table" in rules(integrity(tmp_path, limits=limits))


def test_a_damaged_r_tree_is_found(tmp_path: Path) -> None:
    fill = "CREATE VIRTUAL TABLE r USING rtree(id, x1, x2); INSERT INTO r VALUES (1, 2, 3), (4, 5, 6)"
    make(tmp_path, fill)
    assert integrity(tmp_path)["checked"] == ["integrity_check", "rtree r"]
    make(tmp_path, fill, "DELETE FROM r_rowid WHERE rowid = 4")
    found = {"rule": "virtual_table", "message": "the R-tree r is damaged", "count": 2}
    assert found in integrity(tmp_path)["problems"]


def test_full_text_whose_content_is_elsewhere_is_no_false_alarm(tmp_path: Path) -> None:
    make(
        tmp_path,
        """
        CREATE TABLE c (id INTEGER PRIMARY KEY, b); INSERT INTO c VALUES (1, 'hello');
        CREATE VIRTUAL TABLE f5 USING fts5(b, content='c', content_rowid='id');
        INSERT INTO f5 (rowid, b) VALUES (1, 'hello');
        CREATE VIRTUAL TABLE f4 USING fts4(b, content="c"); INSERT INTO f4 (docid, b) VALUES (1, 'hello');
        CREATE VIRTUAL TABLE none USING fts4(b, content=""); INSERT INTO none (docid, b) VALUES (1, 'hello');
        UPDATE c SET b = 'bye';
        """,
    )
    answer = integrity(tmp_path)
    assert answer["problems"] == []
    assert sorted(note.split(":")[0] for note in answer["notes"]) == ["fts4 table f4", "fts4 table none"]
    assert measure(tmp_path, "rows")["rows"]["value"] == {"c": 1}


def test_a_virtual_table_whose_module_is_missing_is_remarked(tmp_path: Path) -> None:
    statement = "CREATE VIRTUAL TABLE v USING not_here(a)"
    make(
        tmp_path,
        "CREATE TABLE t (a); INSERT INTO t VALUES (1)",
        f"PRAGMA writable_schema=ON; INSERT INTO sqlite_master VALUES ('table', 'v', 'v', 0, '{statement}');"
        "INSERT INTO sqlite_master VALUES ('table', 'f', 'f', 0,"
        " 'CREATE VIRTUAL TABLE f USING fts5(a, tokenize=not_here)')",
    )
    answer = integrity(tmp_path)
    assert answer["problems"] == []
    assert len(answer["notes"]) == 2
    assert measure(tmp_path, "rows")["rows"]["value"] == {"t": 1}
    assert measure(tmp_path, "structure")["structure"]["value"]["virtual table"] == ["f", "v"]


def test_what_this_sqlite_lacks_cannot_be_verified(tmp_path: Path) -> None:
    def build(connection: sqlite3.Connection) -> None:
        connection.create_collation("not_here", lambda a, b: (a > b) - (a < b))
        connection.executescript("CREATE TABLE t (a TEXT COLLATE not_here); CREATE INDEX i ON t (a)")
        connection.execute("INSERT INTO t VALUES ('x')")

    make(tmp_path, "CREATE TABLE u (a); INSERT INTO u VALUES (1)", build)
    for limits in (SHARED, PLAIN):
        found = measure(tmp_path, "integrity full", "rows", limits=limits)
        assert found["integrity full"]["error"]["kind"] == "CouldNotVerify"
        assert "not_here" in found["integrity full"]["error"]["details"][0]
        assert found["rows"]["value"] == {"t": 1, "u": 1}


def test_a_key_that_needs_what_this_sqlite_lacks_cannot_be_verified(tmp_path: Path) -> None:
    def build(connection: sqlite3.Connection) -> None:
        connection.create_collation("not_here", lambda a, b: (a > b) - (a < b))
        connection.executescript(
            "CREATE TABLE p (a TEXT COLLATE not_here PRIMARY KEY); INSERT INTO p VALUES ('x');"
            "CREATE TABLE c (a REFERENCES p (a)); INSERT INTO c VALUES ('x')"
        )

    make(tmp_path, "SELECT 1", build)
    found = measure(tmp_path, "integrity quick")["integrity quick"]
    assert found["error"]["kind"] == "CouldNotVerify"


def test_where_nothing_can_be_hidden_it_is_said(tmp_path: Path) -> None:
    """A file that SQLite only reads: restoring refuses it, and here it is checked as far as it goes."""
    path = make(tmp_path)
    data = bytearray(path.read_bytes())
    data[18] = 3
    path.write_bytes(data)
    answer = integrity(tmp_path, limits=SHARED)
    assert answer["problems"] == []
    assert answer["notes"] == ["unused pages could not be looked for, because the schema holds views or virtual tables"]


def test_quick_is_less(tmp_path: Path) -> None:
    make(tmp_path, change=lambda c: unseen(c, "orders_customer", "UPDATE orders SET customer = 1 WHERE id = 77"))
    quick = integrity(tmp_path, "quick")
    assert quick["problems"] == []
    assert quick["checked"] == ["quick_check", "foreign_key_check orders"]
    assert rules(integrity(tmp_path)) == {"index"}


def test_a_hostile_schema_meets_its_deadline(tmp_path: Path) -> None:
    rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000) INSERT INTO h SELECT i FROM n"
    light, heavy = "length(a)", "length(hex(hex(hex(hex(hex(hex(hex(zeroblob(200000 + a % 7)))))))))"
    make(tmp_path, f"CREATE TABLE h (a, b AS ({light}) CHECK (b > 0)); {rows}")
    assert integrity(tmp_path)["problems"] == []
    with contextlib.closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, ?, ?)", (light, heavy))
    found = measure(tmp_path, "integrity full", "structure", "rows", seconds=0.5)
    assert found["integrity full"]["error"]["kind"] == "DeadlineExceeded"
    assert found["structure"]["value"]["table"] == ["h"]
    assert found["rows"]["value"] == {"h": 3000}


@BOTH
@pytest.mark.parametrize("last", ["CREATE VIEW v AS SELECT * FROM t", "CREATE VIRTUAL TABLE v USING fts5vocab(t, row)"])
def test_pages_are_accounted_for_whatever_comes_first(tmp_path: Path, last: str, limits: dict[str, int]) -> None:
    """SQLite takes a view or virtual table at the head of its list of tables for the mark of a partial check."""
    script = "CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(9000)); CREATE TABLE u (a); DELETE FROM t;"
    rules_of = {}
    for name, statement in {"with": last, "without": "SELECT 1"}.items():
        path = make(tmp_path, script + statement)
        assert integrity(tmp_path, limits=limits)["problems"] == []
        assert integrity(tmp_path, "quick")["problems"] == []
        data = bytearray(path.read_bytes())
        data[36:40] = b"\0\0\0\1"
        path.write_bytes(data)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            said = connection.execute("PRAGMA integrity_check").fetchall()
        assert (said != [("ok",)]) is (name == "without")
        rules_of[name] = (rules(integrity(tmp_path, limits=limits)), rules(integrity(tmp_path, "quick")))
    assert rules_of["with"] == rules_of["without"] == ({"freelist"}, {"freelist"})


def test_a_deadline_in_the_past_is_said_so(tmp_path: Path) -> None:
    make(tmp_path)
    call = DirectCall(tmp_path, until=time.monotonic() - 1)
    with pytest.raises(DeadlineExceeded):
        sqlite_probe.measure(call, "x.db", ["integrity full"], 2, 60.0)


def test_a_damaged_schema_is_the_backups_fault(tmp_path: Path) -> None:
    path = make(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE orders", b"CREATE\xffTABLE orders"))
    with pytest.raises(BackupFailed) as caught:
        measure(tmp_path, "integrity full", "rows")
    assert "the schema cannot be read" in caught.value.cause


# --- structure and counts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("free", [None, 0])
def test_nothing_is_sorted_where_there_is_no_room_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int | None
) -> None:
    make(tmp_path)
    tried = []
    attempt = sqlite_proof.attempt
    monkeypatch.setattr(sqlite_proof, "attempt", lambda copy, proof: tried.append(proof.index) or attempt(copy, proof))
    if free is not None:
        monkeypatch.setattr(sqlite_measure.disk, "free_space", lambda path: free)
        monkeypatch.setattr(sqlite_measure.disk, "reserve", lambda path: 0)
    assert integrity(tmp_path, limits=SHARED)["problems"] == []
    assert bool(tried) is (free is None)


def test_rows_are_those_of_the_table_whatever_an_index_holds(tmp_path: Path) -> None:
    table = "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT, c TEXT); CREATE INDEX t_a ON t (a);"
    make(tmp_path, table + "INSERT INTO t VALUES (1, 'x', 'y'), (2, 'x', 'y');")
    assert measure(tmp_path, "rows")["rows"]["value"] == {"t": 2}
    make(tmp_path, table, lambda connection: unseen(connection, "t_a", "INSERT INTO t VALUES (1, 'x', 'y')"))
    assert measure(tmp_path, "rows")["rows"]["value"] == {"t": 1}


def test_structure_and_counts_leave_helpers_out(tmp_path: Path) -> None:
    make(
        tmp_path,
        SHOP
        + """
        CREATE TABLE "Two ""quoted""  words;" (a); CREATE TABLE 'ünïcode ☃' (a);
        CREATE TABLE [Select] (a INTEGER PRIMARY KEY); INSERT INTO [Select] VALUES (1), (2);
        CREATE TABLE "5" (a); INSERT INTO "5" VALUES (1);
        CREATE TABLE s (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO s VALUES (NULL); ANALYZE;
        CREATE VIRTUAL TABLE "my f" USING fts5(t); INSERT INTO "my f" VALUES ('a'), ('b');
        CREATE VIRTUAL TABLE r USING rtree(id, x1, x2); INSERT INTO r VALUES (1, 2, 3);
        CREATE VIRTUAL TABLE words USING fts5vocab('my f', 'row');
        CREATE TABLE "my f_other" (a);
        """,
    )
    for limits in (SHARED, PLAIN):
        found = measure(tmp_path, "structure", "rows", "integrity full", limits=limits)
        assert found["structure"]["value"] == {
            "table": sorted(
                ["customers", "orders", 'Two "quoted"  words;', "ünïcode ☃", "Select", "5", "s", "my f_other"]
            ),
            "virtual table": ["my f", "r", "words"],
            "index": ["orders_customer", "orders_note"],
            "view": ["all_orders"],
            "trigger": ["no_op"],
        }
        assert found["rows"]["value"] == {
            "customers": 300, "orders": 900, 'Two "quoted"  words;': 0, "ünïcode ☃": 0, "Select": 2, "5": 1, "s": 1,
            "my f_other": 0, "my f": 2, "r": 1,
        }  # fmt: skip
        assert found["integrity full"]["value"]["problems"] == []


def test_a_table_that_cannot_be_counted_is_named(tmp_path: Path) -> None:
    path = make(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        roots = connection.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = 'customers'").fetchall()
    data = bytearray(path.read_bytes())
    for (page,) in roots:
        data[(page - 1) * 1024 : page * 1024] = b"\xff" * 1024
    path.write_bytes(data)
    found = measure(tmp_path, "rows", "structure")
    assert found["rows"]["error"]["kind"] == "BackupFailed"
    assert found["rows"]["error"]["cause"] == "the rows of customers cannot be counted: the database is malformed"
    assert "orders" in found["structure"]["value"]["table"]


def test_a_name_that_is_no_text_cannot_be_asked_for(tmp_path: Path) -> None:
    path = make(tmp_path, SHOP + "CREATE TABLE badname (a); INSERT INTO badname VALUES (1)")
    path.write_bytes(path.read_bytes().replace(b"badname", b"bad\xffame"))
    found = measure(tmp_path, "rows", "integrity full", "structure", limits=SHARED)
    assert found["rows"]["error"]["kind"] == "CouldNotVerify"
    assert found["integrity full"]["value"]["problems"] == []
    notes = found["integrity full"]["value"]["notes"]
    assert notes == ["foreign keys were not checked: a table's name is not valid text"]
    assert "badname" not in found["structure"]["value"]["table"]


def test_views_are_not_counted_and_many_tables_are(tmp_path: Path) -> None:
    tables = ";".join(f"CREATE TABLE t{number} (a UNIQUE); INSERT INTO t{number} VALUES (1)" for number in range(300))
    make(tmp_path, tables)
    found = measure(tmp_path, "rows", "integrity full", limits=SHARED, threads=3)
    assert found["rows"]["value"] == {f"t{number}": 1 for number in range(300)}
    assert found["integrity full"]["value"]["problems"] == []


def test_nothing_is_made_where_there_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(CouldNotVerify):
        measure(tmp_path, "rows")
    assert list(tmp_path.iterdir()) == []
