"""The locate stage: which time a snapshot is judged by, which gaps are looked at, and how many are kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.backups import MakeRepository, Objects
from tests.support.plans import plan_of, planned_target
from tests.unit.repositories.conftest import make_repository

from restore_drill.errors import BackupFailed
from restore_drill.facts import Located
from restore_drill.history import CopyHistory
from restore_drill.locate import locate
from restore_drill.run import Run, RunOptions

__all__ = ["make_repository"]

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def located(
    repository: Any, tmp_path: Path, *, past: dict[str, Any] | None = None, snapshot: str = "", **target: Any
) -> Located:
    planned = planned_target(repository.copy, **target)
    options = RunOptions(snapshot=snapshot)
    run = Run("r", tmp_path, plan_of(planned), options, clock=NOW.timestamp)
    return locate(repository, planned, run, None if past is None else CopyHistory(past, []))


def put(tmp_path: Path, *ages: timedelta, text: str = "db/{time:%Y%m%d_%H%M%S}.db", zone: str = "UTC") -> None:
    job = Objects(tmp_path / "store", text, zone)
    for age in ages:
        job.put(NOW - age)


@pytest.fixture
def hourly(make_repository: MakeRepository, tmp_path: Path) -> Any:
    """Three days of hourly backups, without the one of ten hours ago."""
    put(tmp_path, *(hours * HOUR for hours in range(1, 73) if hours != 10))
    return lambda **copy: make_repository(path="db/{time:%Y%m%d_%H%M%S}.db", **copy)


def test_what_is_measured(hourly: Any, tmp_path: Path) -> None:
    facts = located(hourly(), tmp_path)
    assert facts.snapshot.taken_at == NOW - HOUR
    assert (facts.points, facts.now, facts.age_seconds) == (71, NOW.timestamp(), 3600.0)
    assert facts.oldest == (NOW - 72 * HOUR).timestamp()
    assert facts.listed == 142 and facts.where.endswith("/db/")


def test_gaps_are_looked_at_since_the_last_drill(hourly: Any, tmp_path: Path) -> None:
    new = located(hourly(), tmp_path)
    assert new.window_start == (NOW - DAY).timestamp()
    assert new.intervals[0][:2] == ((NOW - 11 * HOUR).timestamp(), (NOW - 9 * HOUR).timestamp())
    past = {"judged_until": (NOW - 5 * HOUR).timestamp()}
    since = located(hourly(), tmp_path, past=past)
    assert since.window_start == (NOW - 5 * HOUR).timestamp()
    assert {right - left for left, right, _ in since.intervals} == {3600.0}


def test_the_five_longest_intervals_are_kept_and_every_gap(
    make_repository: MakeRepository,
    tmp_path: Path,
) -> None:
    put(tmp_path, *(hours * HOUR for hours in range(1, 20)))
    kept = located(make_repository(path="db/{time:%Y%m%d_%H%M%S}.db"), tmp_path).intervals
    assert len(kept) == 5
    gaps = located(make_repository(path="db/{time:%Y%m%d_%H%M%S}.db"), tmp_path, rpo="30m").intervals
    assert len(gaps) == 18


@pytest.mark.parametrize(
    ("retention", "rpo", "start", "said"),
    [
        ({"hourly": 12}, "1h", 12 * HOUR, False),
        ({"hourly": 12, "daily": 30}, "1h", 12 * HOUR, False),
        ({"daily": 2}, "1d", 2 * DAY, False),
        ({"daily": 30}, "1d", 10 * DAY, False),
        ({"daily": 30}, "1h", timedelta(0), True),
        ({"at_least": 3}, "1h", 10 * DAY, False),
    ],
)
def test_what_retention_thins_out_is_no_gap(
    hourly: Any, tmp_path: Path, retention: dict[str, int], rpo: str, start: timedelta, said: bool
) -> None:
    past = {"judged_until": (NOW - 10 * DAY).timestamp()}
    facts = located(hourly(retention=retention), tmp_path, past=past, rpo=rpo)
    assert facts.window_start == (NOW - start).timestamp()
    assert any("gaps are not judged" in note for note in facts.notes) is said


def test_of_a_frozen_target_nothing_is_said_of_gaps(hourly: Any, tmp_path: Path) -> None:
    assert located(hourly(retention={"daily": 30}), tmp_path, frozen=True, rpo="1h").notes == ()


@pytest.mark.parametrize(("written", "age"), [(5 * HOUR, 7 * HOUR), (12 * HOUR, 0 * HOUR), (30 * HOUR, -12 * HOUR)])
def test_a_name_that_states_the_day_only_is_refined_by_when_it_was_written(
    make_repository: MakeRepository, tmp_path: Path, written: timedelta, age: timedelta
) -> None:
    Objects(tmp_path / "store", "db/{time:%Y%m%d}.db").put(NOW - 12 * HOUR, delay=written)
    facts = located(make_repository(path="db/{time:%Y%m%d}.db"), tmp_path, clock_skew="20h")
    assert facts.age_seconds == age.total_seconds()


@pytest.mark.parametrize(("text", "doubt"), [("%Y%m%d_%H%M%S", 3600.0), ("%Y%m%d_%H%M%S%z", 0.0)])
def test_a_clock_change_leaves_doubt_about_an_interval(
    make_repository: MakeRepository, tmp_path: Path, text: str, doubt: float
) -> None:
    change = datetime(2026, 10, 25, 1, tzinfo=UTC)  # 3:00 becomes 2:00
    path, zone = f"db/{{time:{text}}}.db", "Europe/Berlin"
    job = Objects(tmp_path / "store", path, zone)
    for hours in (-5, -3, 0, 3):
        job.put(change + hours * HOUR)
    past = {"judged_until": (change - 9 * HOUR).timestamp()}
    facts = located(make_repository(path=path, timezone=zone), tmp_path, past=past)
    doubts = {left: found for left, _, found in facts.intervals}
    assert doubts[(change - 5 * HOUR).timestamp()] == 0.0
    assert max(doubts.values()) == doubt


def test_what_is_bad_as_it_lies_is_raised(hourly: Any, tmp_path: Path) -> None:
    with pytest.raises(BackupFailed):
        located(hourly(), tmp_path, snapshot="20200101T000000Z")
    assert located(hourly(), tmp_path, snapshot=f"{NOW - 5 * HOUR:%Y%m%dT%H%M%SZ}").snapshot.taken_at == NOW - 5 * HOUR
