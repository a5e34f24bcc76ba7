"""Age and gaps: what the bounds are made of, and where exactly they lie."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.support.plans import planned_copy, planned_target

from restore_drill.facts import Located
from restore_drill.model import Artifact, Snapshot, Verdict
from restore_drill.policy import located, no_gap, within_rpo
from restore_drill.policy.snapshot import broken_bounds, rpo_bound

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
HOUR = 3600.0
SNAPSHOT = Snapshot(NOW, (Artifact("db/x", 10, NOW.timestamp()),))


def facts(age: float = 0.0, **more: Any) -> Located:
    given = {"points": 3, "listed": 5, "oldest": 0.0, "window_start": NOW.timestamp() - 24 * HOUR, **more}
    return Located(SNAPSHOT, "s3://b/db/", NOW.timestamp(), NOW.timestamp() - age, **given)


COPY = planned_copy(lag="30m")
TARGET = planned_target(COPY, rpo="1h", grace="15m")


def test_what_was_stepped_over_is_named_with_the_reason() -> None:
    finding = located(facts(stepped_over=(("y.db", "its digest is not there yet, 2 min old"),), notes=("a note",)))
    assert finding.passed
    assert finding.actual == "20261123T030000Z, the newest of 3"
    assert finding.notes == ("stepped over y.db: its digest is not there yet, 2 min old", "a note")


@pytest.mark.parametrize(
    ("times", "place"),
    [([-2, -1, 0], "the newest of 3"), ([-1, 0, 1], "1 of 3 is newer"), ([0, 1, 2], "2 of 3 are newer")],
)
def test_an_older_snapshot_is_not_called_the_newest(times: list[int], place: str) -> None:
    found = located(facts(times=[NOW.timestamp() + HOUR * each for each in times]))
    assert found.actual == f"20261123T030000Z, {place}"


def test_the_bound_is_the_rpo_the_grace_and_the_copys_own_lag() -> None:
    bound, tolerance = rpo_bound(TARGET, COPY)
    assert (bound.total_seconds(), tolerance) == (1.75 * HOUR, "15 min grace, 30 min replication")
    bound, tolerance = rpo_bound(TARGET, planned_copy())
    assert (bound.total_seconds(), tolerance) == (1.25 * HOUR, "15 min grace")


@pytest.mark.parametrize(
    ("age", "verdict"),
    [
        (-60, Verdict.PASSED), (0, Verdict.PASSED), (1.75 * HOUR, Verdict.PASSED), (1.75 * HOUR + 1, Verdict.FAILED),
        (71 * HOUR, Verdict.FAILED),
    ],
)  # fmt: skip
def test_a_snapshot_may_be_exactly_as_old_as_the_bound(age: float, verdict: Verdict) -> None:
    assert within_rpo(facts(age), TARGET, COPY).verdict is verdict


def test_a_snapshot_that_is_too_old_says_where_and_what() -> None:
    finding = within_rpo(facts(71 * HOUR), TARGET, COPY)
    assert finding.message == (
        "no snapshot under s3://b/db/ newer than 1 h 45 min (latest 2026-11-20 04:00Z, 2 d 23 h old)"
    )
    assert finding.remedy == "Check the backup job, or raise the tier's rpo."


def gap(hours: float, doubt: float = 0.0, back: float = 10) -> tuple[float, float, float]:
    return NOW.timestamp() - back * HOUR, NOW.timestamp() - (back - hours) * HOUR, doubt


@pytest.mark.parametrize(
    ("intervals", "broken"),
    [
        ((), 0),
        ((gap(1), gap(1.75)), 0),
        ((gap(1.76), gap(1)), 1),
        ((gap(2.75, doubt=HOUR), gap(2.76, doubt=HOUR)), 1),
        ((gap(5), gap(3, back=30)), 2),
    ],
)
def test_a_gap_is_longer_than_the_bound_and_the_doubt(
    intervals: tuple[tuple[float, float, float], ...], broken: int
) -> None:
    assert len(broken_bounds(intervals, TARGET, COPY)) == broken
    finding = no_gap(facts(intervals=intervals), TARGET, COPY)
    assert finding.passed is (broken == 0)
    assert finding.message.startswith(f"{broken} gap{'s' if broken > 1 else ''} since ") is (broken > 0)


def test_the_longest_gap_is_named_and_what_was_not_restored_is_said() -> None:
    finding = no_gap(facts(intervals=(gap(3), gap(5, back=20))), TARGET, COPY)
    assert "no recovery point for 5 h, from 2026-11-22 07:00Z to 2026-11-22 12:00Z, allowed are 1 h 45 min" in (
        finding.message
    )
    assert finding.notes == ("recovery points in between were not restored: they are judged by the listing",)


def test_one_point_alone_has_no_gap() -> None:
    assert no_gap(facts(), TARGET, COPY).actual == "one recovery point"


def test_the_gaps_of_a_frozen_target_are_nobodys() -> None:
    frozen = planned_target(COPY, frozen=True)
    assert broken_bounds((gap(500),), frozen, COPY) == []
    assert broken_bounds((gap(500),), TARGET, COPY) == [gap(500)[:2]]
