"""Faults of databases: what SQLite's own checks miss and what jobs leave out, each beside an undamaged twin."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.contents import Change, altered, dump, empty_database, gz, page_of, shop, sql, tar, with_log, xz
from tests.support.matrix import AGES, FaultMatrix, Make, Matrix, Row, Site, flip, stored, unsigned

_TIME = "{time:%Y%m%d_%H%M%S}"
_RULES: dict[str, Any] = {
    "rows": {"customers": 40, "orders": {"min": 250}},
    "queries": [
        {
            "name": "this is production",
            "sql": "select value from settings where key = 'environment'",
            "equals": "production",
        }
    ],
}
#: What shrinks on purpose is not to be stopped by its size.
_ANY_SIZE = {"predecessors": 60}


def a_database(site: Site) -> None:
    site.copy(f"{_TIME}.db")
    site.options |= {"expect": dict(_RULES), "size": _ANY_SIZE}
    for age in AGES:
        site.put(age, shop(site.now - age))


def a_fresh_database(site: Site) -> None:
    a_database(site)
    newest = {"sql": "select max(created_at) from orders", "within": "1h"}
    site.options["expect"] = {**_RULES, "newest_record": newest}


def a_database_that_may_be_empty(site: Site) -> None:
    a_database(site)
    site.options["expect"] = {"allow_empty": True}


def a_dump(site: Site) -> None:
    site.copy(f"{_TIME}.sql.xz")
    site.options |= {"expect": dict(_RULES), "size": _ANY_SIZE}
    for age in AGES:
        site.put(age, xz(dump(shop(site.now - age))))


def a_database_in_a_volume(site: Site) -> None:
    site.copy(f"{_TIME}.tar.gz")
    site.options |= {"expect": dict(_RULES), "engine_options": {"database": "app/data.db"}, "size": _ANY_SIZE}
    for age in AGES:
        when = site.now - age
        site.put(age, gz(tar({"app/data.db": shop(when), "app/readme": b"shop\n"}, when)))


def a_search_index(site: Site) -> None:
    site.copy(f"{_TIME}.db")
    words = [f"insert into notes values ('letter {n} of the year')" for n in range(50)]
    site.options["expect"] = {
        "queries": [{"name": "found", "sql": "select count(*) from notes where notes match 'letter'", "min": 1}]
    }
    for age in AGES:
        site.put(age, shop(site.now - age, change=sql("create virtual table notes using fts5(body)", *words)))


def _with_log(site: Site, **options: Any) -> None:
    site.copy(f"{_TIME}.db", parts=["{name}-wal"])
    site.options |= {"size": _ANY_SIZE, **options}
    for age in AGES:
        database, log = with_log(site.now - age)
        key = site.put(age, database)
        site.beside(log, "-wal", key=key)
        site.sign(key=f"{key}-wal")


def a_database_and_its_log(site: Site) -> None:
    _with_log(site, expect={"rows": {"orders": {"min": 250}}})


def a_database_and_its_counts(site: Site) -> None:
    _with_log(site, expect={"rows": {"recorded": "{name}.counts.json", "orders": {"recorded": True}}})
    for age in AGES:
        site.beside(json.dumps({"orders": 300}).encode(), ".counts.json", key=site.key(site.now - age))


def a_database_and_its_fresh_log(site: Site) -> None:
    newest = {"sql": "select max(created_at) from orders", "within": "1h"}
    _with_log(site, expect={"newest_record": newest})


def now(*statements: str) -> Make:
    """Statements were run on the database before it was backed up."""
    return changed(sql(*statements))


def changed(change: Change) -> Make:
    return stored(lambda data: altered(data, change))


def zeroed(name: str) -> Callable[[bytes], bytes]:
    """The root page of a table or index is overwritten."""

    def change(data: bytes) -> bytes:
        place = page_of(data, name)
        return data[: place.start] + bytes(place.stop - place.start) + data[place.stop :]

    return change


def short_of_an_entry(name: str) -> Callable[[bytes], bytes]:
    """The last entry of an index that has one page is no longer counted (file format, section 1.6)."""

    def change(data: bytes) -> bytes:
        place = page_of(data, name)
        assert data[place.start] == 0x0A
        count = int.from_bytes(data[place.start + 3 : place.start + 5], "big")
        return data[: place.start + 3] + (count - 1).to_bytes(2, "big") + data[place.start + 5 :]

    return change


def text(change: Callable[[str], str]) -> Make:
    """The dump is another one."""

    def harm(site: Site) -> None:
        site.rewrite(xz(change(dump(shop(site.when(site.newest()))).decode()).encode()))
        site.sign()

    return harm


def without(word: str) -> Callable[[str], str]:
    """Without the lines that begin like this."""
    return lambda told: "".join(line for line in told.splitlines(keepends=True) if not line.startswith(word))


def without_log(site: Site) -> None:
    """The log is lost, and nobody expected one."""
    del site.options["copies"]["nas"]["parts"]


def is_lost(suffix: str) -> Make:
    return lambda site: site.places["nas"].remove(f"{site.newest()}{suffix}")


def stale(site: Site) -> None:
    site.rewrite(shop(site.when(site.newest()) - timedelta(hours=40)))
    site.sign()


_JOB = "Find out why its rows are not what they should be"

ROWS = [
    Row(
        36, "empty dump", a_dump, text(lambda _: "BEGIN TRANSACTION;\nCOMMIT;\n"), "nas/restores", "no table|empty",
        ".",
    ),
    Row(
        36, "schema-only dump", a_dump, text(without('INSERT INTO "')), "nas/restores",
        "nothing came back: no table has a row", ".",
    ),
    Row(
        36, "schema-only dump but for settings", a_dump, text(without('INSERT INTO "orders')), "nas/rows/orders",
        "0 rows", _JOB,
    ),
    Row(
        45, "missing table", a_database, now("drop table audit"), "nas/structure", "the table audit vanished",
        "baseline accept", history=True,
    ),
    Row(
        45, "missing view", a_database, now("drop view totals"), "nas/structure", "the view totals vanished",
        "baseline accept", history=True,
    ),
    Row(
        45, "missing trigger", a_database, now("drop trigger orders_are_noted"), "nas/structure",
        "the trigger orders_are_noted vanished", "baseline accept", history=True,
    ),
    Row(
        45, "missing index", a_database, now("drop index orders_by_customer"), "nas/structure",
        "the index orders_by_customer vanished", "baseline accept", history=True,
    ),
    Row(
        46, "wrong database (staging for production)", a_database, now("update settings set value = 'staging'"),
        "nas/query/this-is-production", "a certain text", ".",
    ),
    Row(
        47, "foreign-key orphans", a_database, now("update orders set customer = 4711 where id = 7"), "nas/integrity",
        "foreign_key", "earlier snapshot",
    ),
    Row(
        48, "all rows of an unnamed table deleted", a_database, now("delete from audit"), "nas/structure",
        "the table audit was emptied .300 rows before", "baseline accept", history=True,
    ),
    Row(
        48, "all rows of a named table deleted", a_database, now("delete from orders"), "nas/rows/orders", "0 rows",
        _JOB,
    ),
    Row(
        49, "fresh file, stale content", a_fresh_database, stale, "nas/newest", "older than the snapshot",
        "stale replica",
    ),
    *(
        Row(
            55, f"single bit flip at {share:.0%}", a_database, unsigned(flip(share)), "nas/checksum", "recorded is",
            "use another copy", blocked=("nas/integrity", "nas/rows/orders"),
        )
        for share in (0.02, 0.3, 0.6, 0.97)
    ),
    Row(
        56, "corrupt although .dump ends in COMMIT", a_database, stored(zeroed("orders_by_customer")), "nas/integrity",
        "", "earlier snapshot",
    ),
    Row(
        56, "a table overwritten", a_database, stored(zeroed("orders")), "nas/integrity", "b_tree", "earlier snapshot",
        blocked=("nas/rows/orders",),
    ),
    Row(
        56, "dump of a corrupt database ends in ROLLBACK", a_dump,
        text(lambda told: told.replace("COMMIT;", "ROLLBACK; -- due to errors")), "nas/restores", "ROLLBACK",
        "live database",
    ),
    Row(
        56, "dump of a corrupt database ends in COMMIT", a_dump, text(without('INSERT INTO "orders" VALUES(2')),
        "nas/rows/orders", "rows", _JOB,
    ),
    Row(
        57, "integrity_check reports problems with exit 0", a_database, stored(short_of_an_entry("orders_by_customer")),
        "nas/integrity", "2 more kinds of problems", "earlier snapshot",
    ),
    Row(
        58, "a read-only handle skips CHECK constraints", a_database,
        now("pragma ignore_check_constraints=1", "update orders set cents = -5 where id = 3"), "nas/integrity",
        "check_constraint", "earlier snapshot",
    ),
    Row(
        59, "a missing path opens as a new empty database", a_database, stored(lambda _: empty_database()),
        "nas/restores", "no table|empty", ".",
    ),
    Row(
        59, "a new empty database where emptiness is allowed", a_database_that_may_be_empty,
        stored(lambda _: empty_database()), "nas/structure", "vanished", "baseline accept", history=True,
    ),
    Row(
        59, "the database is missing in the volume", a_database_in_a_volume,
        stored(lambda _: gz(tar({"app/readme": b"shop\n"}, datetime(2026, 1, 1, tzinfo=UTC)))), "nas/restores",
        "app/data.db|database", ".",
    ),
    Row(
        60, "lost -wal", a_database_and_its_log, is_lost("-wal"), "nas/fetched",
        "the part .*-wal of the snapshot is missing", "all files of one state",
    ),
    Row(60, "lost -wal: older rows", a_database_and_its_counts, without_log, "nas/rows/orders", "180", _JOB),
    Row(
        60, "lost -wal: older records", a_database_and_its_fresh_log, without_log, "nas/newest",
        "older than the snapshot", "stale replica",
    ),
    Row(
        61, "FTS5 content destroyed", a_search_index, now("delete from notes_data where id > 10"), "nas/integrity",
        "(?i)fts", "earlier snapshot",
    ),
    Row(
        61, "FTS5 content table emptied", a_search_index, now("delete from notes_content"), "nas/integrity", "(?i)fts",
        "earlier snapshot",
    ),
]  # fmt: skip


class TestFaults(FaultMatrix):
    """The rows of this module."""


def test_damage_that_keeps_tables_from_being_counted_is_reported_once(matrix: Matrix) -> None:
    """Integrity, which bears it otherwise, is not selected."""
    target = next(row.target for row in ROWS if row.fault == "a table overwritten")
    run = matrix.project.drill("-k", f"row_count and {target}")
    assert run.status == 1
    assert list(run.causes(target).values()) == ["failed"]
    assert {case.blocked_by for case in run.of(target).values() if case.verdict == "error"} <= {"rows"}
