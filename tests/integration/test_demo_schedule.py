"""The demo's schedules: at any moment of a year, the listing keeps what the catalogue promises of it."""

from __future__ import annotations

import random
import sys
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
if str(CHECKOUT / "fixtures") not in sys.path:
    sys.path.append(str(CHECKOUT / "fixtures"))

from demo_estate.estate import JOBS  # noqa: E402
from demo_estate.schedule import FINISHED, Chained, HalfHourly, Nightly, Schedule  # noqa: E402

_BERLIN = ZoneInfo("Europe/Berlin")
_START = datetime(2026, 11, 1, tzinfo=UTC).timestamp()


def _moments() -> list[float]:
    """Moments of four years: at random, and around each change of the clocks."""
    numbers = random.Random(7)
    moments = [_START + numbers.uniform(0, 4 * 366 * 86400) for _ in range(400)]
    for changed in (datetime(2027, 3, 28, 1, tzinfo=UTC), datetime(2027, 10, 31, 1, tzinfo=UTC)):
        moments += [changed.timestamp() + minutes * 60 for minutes in range(-3000, 3000, 7)]
    return moments


@pytest.mark.parametrize("moment", [0, 119, 120, 1800, 1919, 1920, 3599])
def test_the_newest_hourly_point_is_finished_and_young_for_another_half_hour(moment: int) -> None:
    now = _START + moment
    newest = HalfHourly().due(now)[-1]
    assert newest + FINISHED <= now
    assert now + 1800 - newest < 3600 + 15 * 60


def test_hourly_points_leave_no_gap_and_no_hour_out() -> None:
    for now in _moments():
        points = HalfHourly().due(now)
        assert 4 <= len(points) <= 6
        assert all(later - earlier <= 3600 for earlier, later in pairwise(points))
        hours = {point // 3600 for point in points}
        assert all(int(now // 3600) - back in hours for back in (1, 2, 3))


def test_nightly_points_have_one_for_each_local_day_and_unmistakable_names() -> None:
    schedule = Nightly(time(3, 30), "Europe/Berlin")
    for now in _moments():
        points = [datetime.fromtimestamp(point, _BERLIN) for point in schedule.due(now)]
        today = datetime.fromtimestamp(now, _BERLIN).date()
        assert len(points) == 5 and points[-1].timestamp() + FINISHED <= now
        assert {today - timedelta(days=back) for back in (1, 2, 3)} <= {point.date() for point in points}
        assert all(point.strftime("%H%M") == "0330" for point in points)
        assert now - points[-1].timestamp() <= 25 * 3600 + FINISHED


def test_chains_begin_with_a_month_and_have_no_gap_of_a_week() -> None:
    schedule = Chained()
    for now in _moments():
        points = [datetime.fromtimestamp(point, UTC) for point in schedule.due(now)]
        assert all(later - earlier <= timedelta(days=4) for earlier, later in pairwise(points))
        assert now - points[-1].timestamp() < 4 * 86400 + FINISHED
        numbers = [schedule.number(point) for point in points]
        assert numbers[0] == 0 and numbers.count(0) == 2
        assert all(later == earlier + 1 or (later == 0 and point.day == 1)
                   for (earlier, later), point in zip(pairwise(numbers), points[1:], strict=True))  # fmt: skip
        assert schedule.chain(points[-1]) == points[len(points) - numbers[-1] - 1 :]


@pytest.mark.parametrize("schedule", [schedule for _, schedule in JOBS.values()], ids=list(JOBS))
def test_nothing_is_due_before_the_announced_change(schedule: Schedule) -> None:
    for now in _moments():
        change = schedule.changes(now)
        assert change > now
        newest = schedule.due(now)[-1]
        assert schedule.due(change - 1)[-1] == newest
        assert schedule.due(change)[-1] > newest


@pytest.mark.parametrize("schedule", [schedule for _, schedule in JOBS.values()], ids=list(JOBS))
def test_after_any_pause_what_is_missing_is_newer_than_what_is_there(schedule: Schedule) -> None:
    numbers = random.Random(11)
    for now in _moments()[:400]:
        there = schedule.due(now)
        later = schedule.due(now + numbers.choice((600, 5000, 20_000, 90_000, 900_000, 9_000_000)))
        assert all(point > there[-1] for point in later if point not in there)
