"""Names of many tools, and what of them is a time; numbers that are none are told by the series they are in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from restore_drill.discovery.forms import choose_forms
from restore_drill.discovery.model import Heap
from restore_drill.discovery.names import kind_of, read, text_of
from restore_drill.discovery.naming import target_name
from restore_drill.model import Artifact
from restore_drill.patterns import PathPattern

_WHEN = datetime(2026, 11, 23, 2, 15, 30, tzinfo=UTC)


def _pattern(key: str) -> str | None:
    reading = read(key)
    return text_of(reading.pieces, kinds=reading.kind)


@pytest.mark.parametrize(
    ("key", "pattern", "stated"),
    [
        ("o/20261123_021530_orders.db.gz.age", "o/{time:%Y%m%d_%H%M%S}_orders.db.gz.age", _WHEN),
        ("20261123T031530+0100.db", "{time:%Y%m%dT%H%M%S%z}.db", _WHEN),
        ("m_20261123T021530Z.db", "m_{time:%Y%m%dT%H%M%S%Z}.db", _WHEN),
        ("20261123021530.sql", "{time:%Y%m%d%H%M%S}.sql", _WHEN),
        ("2026-11-23T02:15:30.125Z.json", "{time:%Y-%m-%dT%H:%M:%S.%f%Z}.json", _WHEN + timedelta(milliseconds=125)),
        ("u/2026-11-23/u_021530.tar", "u/{time:%Y-%m-%d}/u_{time:%H%M%S}.tar", _WHEN),
        ("2026/11/23/db.sql", "{time:%Y/%m/%d}/db.sql", datetime(2026, 11, 23, tzinfo=UTC)),
        ("2026/orders-20261123.sql", "{time:%Y}/orders-{time:%Y%m%d}.sql", datetime(2026, 11, 23, tzinfo=UTC)),
        ("2026-11-23/db-2026-11-23.sql", "{time:%Y-%m-%d}/db-{time:%Y-%m-%d}.sql", datetime(2026, 11, 23, tzinfo=UTC)),
        ("2026-11-23/log/s-20261120.gz", "{time:%Y-%m-%d}/log/s-20261120.gz", datetime(2026, 11, 23, tzinfo=UTC)),
        ("u-1795400130.tar", "u-{time:%s}.tar", datetime.fromtimestamp(1795400130, UTC)),
        ("u-1795400130125.tar", "u-{time:%s%f}.tar", datetime.fromtimestamp(1795400130.125, UTC)),
        ("db-2026-W48.tar", "db-{time:%G-W%V}.tar", datetime(2026, 11, 23, tzinfo=UTC)),
        ("db-2026W48-1.tar", "db-{time:%GW%V-%u}.tar", datetime(2026, 11, 23, tzinfo=UTC)),
        ("db-23Nov2026.dump", "db-{time:%d%b%Y}.dump", datetime(2026, 11, 23, tzinfo=UTC)),
        ("db-November-23-2026.dump", "db-{time:%B-%d-%Y}.dump", datetime(2026, 11, 23, tzinfo=UTC)),
        ("x_2026-11-23_02h15m_Monday.sql", "x_{time:%Y-%m-%d_%Hh%Mm}_{any}.sql", _WHEN.replace(second=0)),
        ("v-2026_11_23-02_15_30.vma.zst", "v-{time:%Y_%m_%d-%H_%M_%S}.vma.zst", _WHEN),
        ("1795400130_2026_11_23_17.6.0_gitlab.tar", "{time:%s}_{time:%Y_%m_%d}_17.6.0_gitlab.tar", None),
        ("2026-11.csv", "{time:%Y-%m}.csv", datetime(2026, 11, 1, tzinfo=UTC)),
        ("shop-full-20261123.tar", "shop-full-{time:%Y%m%d}.tar", datetime(2026, 11, 23, tzinfo=UTC)),
        ("r_20261123T021530Z_inc-04.tar", "r_{time:%Y%m%dT%H%M%S%Z}_inc-{seq}.tar", _WHEN),
        ("big_20261123.tar.aa", "big_{time:%Y%m%d}.tar.{part}", datetime(2026, 11, 23, tzinfo=UTC)),
        ("taxes-2024.zip", "taxes-2024.zip", None),
        ("fuzz7-00184.db", "fuzz7-00184.db", None),
        ("daily.3/etc/passwd", "daily.{rotation}/etc/passwd", None),
        # A number that may be a date as well does not hide the one behind it.
        ("ip-10-20-30-40-20261123.tar.gz", "ip-10-20-30-40-{time:%Y%m%d}.tar.gz", None),
        ("10.10.20.5-20261123_021530.db", "10.10.20.5-{time:%Y%m%d_%H%M%S}.db", _WHEN),
        ("app-12.04.22-20261123.tgz", "app-12.04.22-{time:%Y%m%d}.tgz", None),
        ("ticket-123456-2026-11-23.sql", "ticket-123456-{time:%Y-%m-%d}.sql", None),
        ("a{b}-20261123.db", None, None),
    ],
)  # fmt: skip
def test_a_name_is_read(key: str, pattern: str | None, stated: datetime | None) -> None:
    assert _pattern(key) == pattern
    if pattern and stated:
        match = PathPattern(pattern, UTC).match(key)
        assert match is not None
        assert match.taken_at == stated


def _heap(
    form: str, count: int = 20, *, late: timedelta = timedelta(minutes=3), step: timedelta = timedelta(days=1)
) -> Heap:
    """A series by strftime's letters, written a little after its times."""
    keys = [(_WHEN - number * step).strftime(form) for number in range(count)]
    heap = Heap(read(keys[0]).pieces)
    for number, key in enumerate(keys):
        heap.add(Artifact(key, 10, (_WHEN - number * step + late).timestamp()))
    return heap


@pytest.mark.parametrize(
    "form",
    [
        "{time:%d-%m-%Y}", "{time:%m-%d-%Y}", "{time:%d%m%Y}", "{time:%m%d%Y}", "{time:%y%m%d}", "{time:%d%m%y}",
        "{time:%Y-%j}", "{time:%y-%m-%d}", "{time:%d.%m.%y}", "{time:%Y-%m-%d_%H%M}", "{time:%Y%m%d%H}",
    ],
)  # fmt: skip
def test_a_series_decides_what_one_name_leaves_open(form: str) -> None:
    strftime = form.removeprefix("{time:").removesuffix("}")
    heap = _heap(f"db_{strftime}.sql", step=timedelta(hours=25))
    assert choose_forms(heap) == (form,)


def test_a_short_date_and_the_same_in_full_are_both_times() -> None:
    assert choose_forms(_heap("%y%m%d/db-%Y%m%d.sql")) == ("{time:%y%m%d}", "{time:%Y%m%d}")


def test_a_bucket_that_was_copied_at_once_still_tells() -> None:
    heap = _heap("db_%d-%m-%Y.sql")
    heap.newest = [(_WHEN.timestamp() + 9e6, key, artifact, kind) for _, key, artifact, kind in heap.newest]
    assert choose_forms(heap) == ("{time:%d-%m-%Y}",)


@pytest.mark.parametrize("form", ["{time:%Y-%m-%d-%H}", "{time:%Y%m%d%H}", "{time:%d-%m-%Y_%H%M}"])
def test_and_hours_are_hours_in_it(form: str) -> None:
    heap = _heap(f"db_{form.removeprefix('{time:').removesuffix('}')}.sql", 40, step=timedelta(hours=1))
    heap.newest = [(_WHEN.timestamp() + 9e5, key, artifact, kind) for _, key, artifact, kind in heap.newest]
    assert choose_forms(heap) == (form,)


def test_numbers_that_are_no_times_are_none() -> None:
    heap = Heap(read("job_104417.sql").pieces)
    for number in range(104417, 104440):
        heap.add(Artifact(f"job_{number}.sql", 10, _WHEN.timestamp() + number))
    assert choose_forms(heap) is None


def test_words_for_kinds() -> None:
    assert [read(f"db_{word}_20261123.tar").kind for word in ("full", "INCR", "diff", "orders")] == [
        "full",
        "INCR",
        "diff",
        "",
    ]
    assert [kind_of(word) for word in ("Full", "inc", "diff", "wal")] == ["full", "incremental", "differential", "log"]
    assert read("fuller_20261123.tar").kind == read("full/db_20261123.tar").kind == read("app_20261123.log").kind == ""


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("orders/{time:%Y%m%d}_orders.db.gz.age", "orders"),
        ("crm/{time:%Y/%m/%d}/backup.sql.gz", "crm"),
        ("events/{time:%Y-%m-%d-%H}.ndjson", "events"),
        ("big/big_{time:%Y%m%d}.tar.{part}", "big"),
        ("wiki/wiki.tar{rotation:.}.gz", "wiki"),
        ("r/r_{time:%Y%m%d}_full-{seq}.tar", "r-full"),
        ("{time:%Y}.sql", "backup"),
        ("Ünïcode Näme/{time:%Y%m%d}.db", "Unicode-Name"),
        ("日本/{time:%Y%m%d}.db", "backup"),
    ],
)
def test_a_target_is_called_after_what_is_backed_up(pattern: str, name: str) -> None:
    assert target_name(pattern) == name
