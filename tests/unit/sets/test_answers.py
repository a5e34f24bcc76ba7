"""Answers of systems that know nothing of each other: alike is what means the same, and what is missing is found."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from restore_drill.catalogue.sets import SetQuery
from restore_drill.engines.base import Restored
from restore_drill.errors import CouldNotVerify
from restore_drill.policy import set_query
from restore_drill.sets.answers import compare

_TREE = {"uploads/a.png": 10, "uploads/b.png": 20, "uploads/c.png": 30}
_MANY = 12_345


class _Database(Restored):
    """A database in memory, which answers with as many rows as an engine does."""

    def __init__(self, *statements: str) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.asked: list[str] = []
        for statement in statements:
            self.connection.execute(statement)

    def query(self, sql: str, deadline: float | None = None) -> list[tuple[Any, ...]]:
        self.asked.append(sql)
        with contextlib.closing(self.connection.execute(sql)) as cursor:
            rows = cursor.fetchmany(10_001)
        assert len(rows) <= 10_000, "an engine would refuse"
        return rows


class _Tree(Restored):
    """A tree of files that have a size."""

    def __init__(self, files: Mapping[str, int]) -> None:
        self.files_of = files

    def entries(self, rule: Mapping[str, Any], deadline: float) -> Iterator[tuple[Any, ...]]:
        known = ({"path": path, "bytes": size} for path, size in self.files_of.items())
        return (tuple(each[name] for name in rule["give"]) for each in known)


def _uploads(*rows: str) -> _Database:
    return _Database("create table uploads (path, bytes)", *(f"insert into uploads values ({row})" for row in rows))


def _rule(**more: Any) -> SetQuery:
    asked = {"target": "db", "sql": "select path, bytes from uploads"}
    held = {"target": "tree", "files": "**", "give": ["path", "bytes"]}
    return SetQuery.model_validate({"name": "uploads", "ask": asked, "is_in": held, **more})


def _found(rule: SetQuery, **systems: Restored) -> tuple[bool, dict[str, Any]]:
    facts = compare(rule, systems, 60.0)
    return set_query(facts, rule).passed, facts


_GOOD = ("'uploads/a.png', 10", "'uploads/b.png', '20'", "'uploads/c.png', 30.0", "'uploads/a.png', 10")


def test_every_row_is_there_however_its_numbers_are_written() -> None:
    passed, facts = _found(_rule(), db=_uploads(*_GOOD), tree=_Tree(_TREE))
    assert passed and facts == {"asked": 3, "held": 3, "missing": 0, "extra": 0, "details": []}


@pytest.mark.parametrize("row", ["'uploads/d.png', 10", "'uploads/a.png', 11", "null, 10", "'uploads/A.png', 10"])
def test_a_row_that_is_not_there_is_counted_and_named_in_the_details_only(row: str) -> None:
    rule = _rule()
    facts = compare(rule, {"db": _uploads(*_GOOD, row), "tree": _Tree(_TREE)}, 60.0)
    finding = set_query(facts, rule)
    assert not finding.passed and finding.message == "uploads: 1 of 4 rows of db are not in tree"
    assert len(finding.details) == 1 and "png" not in finding.message + finding.remedy + finding.actual


def test_what_the_other_has_beside_matters_where_both_must_be_the_same() -> None:
    files = {**_TREE, "uploads/left over.png": 1}
    assert _found(_rule(), db=_uploads(*_GOOD), tree=_Tree(files))[0]
    same = _rule(is_in=None, equals={"target": "tree", "files": "**", "give": ["path", "bytes"]})
    assert _found(same, db=_uploads(*_GOOD), tree=_Tree(_TREE))[0]
    passed, facts = _found(same, db=_uploads(*_GOOD), tree=_Tree(files))
    assert not passed and (facts["missing"], facts["extra"], len(facts["details"])) == (0, 1, 1)


def test_as_many_may_be_missing_as_are_tolerated() -> None:
    two_gone = {"uploads/a.png": 10}
    assert _found(_rule(tolerate=2), db=_uploads(*_GOOD), tree=_Tree(two_gone))[0]
    assert not _found(_rule(tolerate=1), db=_uploads(*_GOOD), tree=_Tree(two_gone))[0]


def test_an_answer_without_rows_proves_nothing() -> None:
    rule = _rule()
    finding = set_query(compare(rule, {"db": _uploads(), "tree": _Tree(_TREE)}, 60.0), rule)
    assert not finding.passed and finding.message == "uploads: db answers without a single row"
    assert _found(_rule(allow_empty=True), db=_uploads(), tree=_Tree(_TREE))[0]


def test_nothing_at_all_is_not_what_is_tolerated() -> None:
    rule = _rule(tolerate=100)
    finding = set_query(compare(rule, {"db": _uploads(*_GOOD), "tree": _Tree({})}, 60.0), rule)
    assert not finding.passed and finding.message == "uploads: tree answers without a single row"
    assert _found(rule, db=_uploads(*_GOOD), tree=_Tree({"uploads/a.png": 10}))[0]


def test_paths_may_be_told_below_a_directory() -> None:
    held = {"target": "tree", "files": "uploads/**", "below": "./uploads/"}
    rule = _rule(ask={"target": "db", "sql": "select path from uploads"}, is_in=held)
    assert _found(rule, db=_uploads("'a.png', 1", "'c.png', 1"), tree=_Tree(_TREE))[0]
    assert not _found(rule, db=_uploads("'uploads/a.png', 1"), tree=_Tree(_TREE))[0]


def test_many_rows_are_asked_for_page_by_page_and_none_is_lost() -> None:
    numbers = f"with recursive n(i) as (select 1 union all select i + 1 from n where i < {_MANY}) select i from n"
    database, other = _Database(f"create table t as {numbers}"), _Database(f"create table t as {numbers}")
    rule = _rule(
        ask={"target": "db", "sql": "select i from t; "}, is_in=None,
        equals={"target": "other", "sql": "with all_of_it as (select i from t) select i from all_of_it"},
    )  # fmt: skip
    passed, facts = _found(rule, db=database, other=other)
    assert passed and (facts["asked"], facts["held"]) == (_MANY, _MANY)
    other.connection.execute("delete from t where i = 7777")
    passed, facts = _found(rule, db=database, other=other)
    assert not passed and (facts["missing"], facts["details"]) == (1, ["not in other: 7777"])
    assert all(" limit 5000" in asked for asked in database.asked)


@pytest.mark.parametrize(
    "sql",
    [
        "-- why\nselect i from t",
        "/* why\nand how */ select i from t;",
        "select i from t; -- that is all",
        "(select i from t)",
        "select ';-- ' || i from t",
    ],
)
def test_what_stands_around_a_statement_changes_no_answer(sql: str) -> None:
    numbers = f"with recursive n(i) as (select 1 union all select i + 1 from n where i < {_MANY}) select i from n"
    database, other = _Database(f"create table t as {numbers}"), _Database(f"create table t as {numbers}")
    plain = "select ';-- ' || i from t" if "||" in sql else "select i from t"
    rule = _rule(ask={"target": "db", "sql": sql}, is_in=None, equals={"target": "other", "sql": plain})
    passed, facts = _found(rule, db=database, other=other)
    assert passed and (facts["asked"], facts["held"]) == (_MANY, _MANY)
    database.connection.execute("delete from t where i = 7777")
    passed, facts = _found(rule, db=database, other=other)
    assert not passed and (facts["missing"], facts["extra"]) == (0, 1)


def test_what_is_no_table_is_asked_as_it_stands() -> None:
    database = _uploads("'a', 1")
    rule = _rule(
        ask={"target": "db", "sql": "-- columns\npragma table_info(uploads);"},
        is_in={"target": "other", "sql": "select * from pragma_table_info('uploads')"},
    )
    assert _found(rule, db=database, other=_uploads())[0]
    assert database.asked == ["-- columns\npragma table_info(uploads);"]


class _Collated(Restored):
    """A server to which case means nothing: what differs in that alone comes in another order each time."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.turns = 0

    def query(self, sql: str, deadline: float | None = None) -> list[tuple[Any, ...]]:
        self.turns += 1
        ordered = sorted(self.names, key=lambda name: (name.lower(), name if self.turns % 2 else name.swapcase()))
        limit, _, offset = sql.rpartition(" limit ")[2].partition(" offset ")
        start = int(offset or 0)
        return [(name,) for name in ordered[start : start + int(limit)]]


def test_what_a_collation_takes_for_equal_is_not_lost_between_two_pages() -> None:
    names = ["0", *(f"{letter}{number:05}" for number in range(6000) for letter in "aA")]
    server, other = _Collated(names), _Database("create table t (name)")
    other.connection.executemany("insert into t values (?)", [(name,) for name in names])
    asked = {"target": "db", "sql": "select name from t"}
    rule = _rule(ask=asked, is_in=None, equals={"target": "other", "sql": "select name from t"})
    passed, facts = _found(rule, db=server, other=other)
    assert passed and (facts["asked"], facts["held"]) == (len(names), len(names))
    # The one that stands where one page ends and the next begins is missed where it is missing.
    for at in (4000, 4001, 5000, 5001):
        left = sorted(names, key=str.lower)
        gone = left.pop(at)
        passed, facts = _found(rule, db=_Collated(left), other=other)
        assert not passed and facts["details"] == [f"not in db: {gone!r}"]


def test_what_is_no_statement_of_sql_is_asked_as_it_is() -> None:
    class Server(Restored):
        def query(self, sql: str, deadline: float | None = None) -> list[tuple[Any, ...]]:
            assert sql == "SMEMBERS uploads"
            return [("uploads/a.png",)]

    rule = _rule(ask={"target": "db", "sql": "SMEMBERS uploads"}, is_in={"target": "tree", "files": "**"})
    assert _found(rule, db=Server(), tree=_Tree(_TREE))[0]


def test_time_that_is_over_is_no_answer() -> None:
    with pytest.raises(CouldNotVerify, match="not there in time"):
        compare(_rule(), {"db": _uploads(*_GOOD), "tree": _Tree(_TREE)}, -1.0)
