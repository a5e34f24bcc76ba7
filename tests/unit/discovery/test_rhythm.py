"""Rhythms, time zones and sizes: what is guessed keeps a healthy series green, and never excuses a gap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from restore_drill.discovery.rhythm import rhythm, rto_for, size_drop
from restore_drill.discovery.zones import guess_zone

_NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


def _every(step: timedelta, count: int = 30, age: timedelta = _HOUR) -> list[float]:
    return [(_NOW - age - number * step).timestamp() for number in range(count)]


@pytest.mark.parametrize(
    ("step", "tier", "rpo"),
    [
        (timedelta(minutes=15), "critical", ""),
        (_HOUR, "critical", ""),
        (6 * _HOUR, "important", ""),
        (_DAY, "important", ""),
        (7 * _DAY, "archival", ""),
        (30 * _DAY, "archival", "33d"),
    ],
)
def test_the_tier_is_one_that_it_keeps(step: timedelta, tier: str, rpo: str) -> None:
    found = rhythm(_every(step), _NOW.timestamp())
    assert (found.tier, found.rpo, found.frozen, found.warnings) == (tier, rpo, False, ())


def test_nights_without_weekends_get_an_rpo_of_their_own() -> None:
    nights = [_NOW.replace(hour=2) - number * _DAY for number in range(40)]
    found = rhythm([night.timestamp() for night in nights if night.weekday() < 5], _NOW.timestamp())
    assert (found.tier, found.rpo) == ("important", "73h")
    assert "not on weekends" in found.why


def test_a_gap_is_told_and_is_not_the_measure() -> None:
    hours = _every(_HOUR)
    found = rhythm([*hours[:5], *hours[11:]], _NOW.timestamp())
    assert (found.tier, found.rpo) == ("critical", "")
    assert found.warnings == ("1 of the last 23 intervals are longer, up to 7 h",)


def test_what_stopped_is_told_and_not_frozen() -> None:
    found = rhythm(_every(_DAY, age=9 * _DAY), _NOW.timestamp())
    assert not found.frozen
    assert found.warnings[0].startswith("the newest is 9 d old: the drill will fail over it")


def test_one_old_snapshot_is_an_archive_and_a_new_one_is_not() -> None:
    assert rhythm(_every(_DAY, 1, age=400 * _DAY), _NOW.timestamp()).frozen
    assert not rhythm(_every(_DAY, 1, age=_DAY), _NOW.timestamp()).frozen
    assert rhythm(_every(365 * _DAY, 3, age=600 * _DAY), _NOW.timestamp()).frozen


def test_a_job_of_every_quarter_that_stopped_is_told_and_archives_of_any_day_are_archives() -> None:
    stopped = rhythm(_every(91 * _DAY, 5, age=200 * _DAY), _NOW.timestamp())
    assert (stopped.frozen, stopped.warnings[0].partition(":")[0]) == (False, "the newest is 200 d old")
    days = [_NOW - timedelta(days=ago) for ago in (200, 270, 500, 590, 900)]
    assert rhythm([day.timestamp() for day in days], _NOW.timestamp()).frozen


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York", "America/Los_Angeles"])
def test_a_zone_is_told_by_when_objects_were_written(name: str) -> None:
    """Across the end of summer time, so that no zone without it fits as well."""
    pairs = []
    for number in range(60):
        moment = _NOW - number * _DAY
        local = moment.astimezone(ZoneInfo(name)).replace(tzinfo=UTC)
        pairs.append((local.timestamp(), moment.timestamp() + 240 + number))
    found = guess_zone(pairs, timedelta(seconds=1))
    assert found.told
    assert [ZoneInfo(found.name).utcoffset(_NOW - days * _DAY) for days in (0, 59)] == [
        ZoneInfo(name).utcoffset(_NOW - days * _DAY) for days in (0, 59)
    ]


def test_nothing_is_told_by_a_copy_of_a_bucket_and_the_future_is_ruled_out() -> None:
    old = [((_NOW - number * _DAY).timestamp(), _NOW.timestamp() + 9e6) for number in range(20)]
    assert not guess_zone(old, timedelta(seconds=1)).told
    ahead = [(stamp, stamp - 2.5 * 3600 + number * 4000) for number, (stamp, _) in enumerate(old)]
    assert guess_zone(ahead, timedelta(seconds=1)).name == "Etc/GMT-3"


def test_sizes_that_differ_get_room_and_a_collapse_gets_none() -> None:
    steady = [100, 101, 99, 100, 98, 100, 102, 100]
    assert size_drop(steady) == (0, False)
    assert size_drop([20, *steady]) == (0, True)
    wild = [100, 20, 100, 100, 25, 100, 22, 100, 100, 100]
    assert size_drop(wild) == (83, False)
    assert size_drop([5, *wild]) == (83, True)
    assert size_drop([1, 2]) == (0, False)


def test_what_is_large_gets_time() -> None:
    quarter, hours = timedelta(minutes=15), timedelta(hours=4)
    assert [rto_for(size, quarter) for size in (0, 5 * 10**9, 50 * 10**9)] == ["", "", "3h"]
    assert [rto_for(size, hours) for size in (50 * 10**9, 10**12)] == ["", "42h"]
