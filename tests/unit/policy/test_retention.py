"""Retention: what a healthy estate does never fails, a hole that the policy forbids always does."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_drill.catalogue.models import RetentionRule
from restore_drill.model import Finding, Verdict
from restore_drill.policy import retention_kept
from restore_drill.policy.retention import RetentionFacts

UTC_ZONE = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
HOUR, DAY = 3600.0, 86400.0
GRACE = 900.0
PERIODS = {"hourly": HOUR, "daily": DAY, "weekly": 7 * DAY}


def at(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[misc, arg-type]


def nightly(first: float, count: int) -> list[float]:
    return [first + night * DAY for night in range(count)]


def judge(
    times: Sequence[float],
    now: float,
    *,
    oldest: float | None = None,
    gaps: Sequence[tuple[float, float]] = (),
    slack: float = GRACE,
    zone: ZoneInfo = UTC_ZONE,
    **rule: int,
) -> Finding:
    facts = RetentionFacts("nas", times, oldest, gaps, slack, GRACE)
    return retention_kept([(facts, RetentionRule(**rule))], now, zone)


def prune(times: Sequence[float], zone: ZoneInfo, **rule: int) -> list[float]:
    """What restic's forget leaves: the newest of each of the last N periods that have one (its manual)."""
    forms = {"hourly": "%Y%m%d%H%z", "daily": "%Y%m%d", "weekly": "%G%V", "monthly": "%Y%m", "yearly": "%Y"}
    kept: set[float] = set()
    for period, count in rule.items():
        seen: set[str] = set()
        for moment in sorted(times, reverse=True):
            label = datetime.fromtimestamp(moment, zone).strftime(forms[period])
            if label not in seen and len(seen) < count:
                seen.add(label)
                kept.add(moment)
    return sorted(kept)


NOW = at(2026, 11, 23, 3)
FIRST = at(2026, 10, 1, 2)
FULL = nightly(FIRST, 54)  # the last one is an hour old


def test_what_the_policy_promises_is_there() -> None:
    finding = judge(FULL, NOW, oldest=FIRST, daily=7, weekly=4, monthly=1)
    assert finding == Finding(expected="what the policy promises", actual="54 recovery points, none missing")


def test_a_hole_is_named_by_its_period() -> None:
    holed = [moment for moment in FULL if moment != at(2026, 11, 20, 2)]
    finding = judge(holed, NOW, oldest=FIRST, daily=7)
    assert finding.verdict is Verdict.FAILED
    assert finding.message == "nas: no daily recovery point for 2026-11-20"
    assert finding.remedy.startswith("Check the prune job")
    assert judge(holed, NOW, oldest=FIRST, weekly=4).passed


def test_over_pruning_is_a_hole_for_every_period_it_empties() -> None:
    finding = judge(FULL[-2:], NOW, oldest=FIRST, daily=7)
    assert "no daily recovery point for 2026-11-21; " in finding.message
    assert finding.message.endswith("; and 1 more")
    assert finding.actual == "5 missing"


@pytest.mark.parametrize(
    ("rule", "gone"),
    [
        ({"weekly": 3}, (at(2026, 11, 9), at(2026, 11, 16), "weekly recovery point for 2026-W46")),
        ({"monthly": 2}, (at(2026, 10, 1), at(2026, 11, 1), "monthly recovery point for 2026-10")),
    ],
)
def test_weeks_and_months_are_periods_too(rule: dict[str, int], gone: tuple[float, float, str]) -> None:
    first = at(2026, 8, 1, 2)
    whole = nightly(first, 115)
    assert judge(whole, NOW, oldest=first, **rule).passed
    holed = [moment for moment in whole if not gone[0] <= moment < gone[1]]
    assert gone[2] in judge(holed, NOW, oldest=first, **rule).message


def test_the_current_period_is_one_of_those_that_are_kept() -> None:
    seven_files = FULL[-7:]
    assert judge(seven_files, NOW, oldest=FIRST, daily=7).passed
    assert not judge(FULL[-6:], NOW, oldest=FIRST, daily=7).passed
    assert judge([*FULL[:-1]][-7:], NOW, oldest=FIRST, daily=7).passed


def test_a_new_target_is_not_asked_for_what_was_never_there() -> None:
    for age in range(1, 9):
        first = at(2026, 11, 23, 2) - (age - 1) * DAY
        points = nightly(first, age)
        assert judge(points, NOW, daily=7, weekly=4, monthly=12, yearly=3, at_least=5).passed
        assert judge(points, NOW, oldest=first, daily=7, weekly=4, at_least=5).passed


def test_the_oldest_point_ever_seen_counts_when_it_is_gone() -> None:
    assert judge(FULL[-2:], NOW, oldest=FULL[-2], daily=7).passed
    assert not judge(FULL[-2:], NOW, oldest=FIRST, daily=7).passed
    assert not judge(FULL[-2:], NOW, oldest=FIRST, at_least=3).passed
    assert judge(FULL[-3:], NOW, oldest=FIRST, at_least=3).passed
    assert "0 recovery points" in judge([], NOW, at_least=3).message


def test_a_night_that_the_gap_case_reported_is_not_reported_again() -> None:
    missed = [moment for moment in FULL if moment != at(2026, 11, 20, 2)]
    gap = (at(2026, 11, 19, 2), at(2026, 11, 21, 2))
    assert judge(missed, NOW, oldest=FIRST, gaps=[gap], daily=7).passed
    also_pruned = [moment for moment in missed if moment != at(2026, 11, 18, 2)]
    finding = judge(also_pruned, NOW, oldest=FIRST, gaps=[gap], daily=7)
    assert finding.message == "nas: no daily recovery point for 2026-11-18"


def test_what_is_still_on_its_way_is_not_missed() -> None:
    late = FULL[:-1]
    after_midnight = at(2026, 11, 24, 0, 10)
    assert judge(late, after_midnight, oldest=FIRST, daily=7).passed
    assert judge(late, at(2026, 11, 24, 9), oldest=FIRST, daily=7, slack=10 * HOUR).passed
    assert not judge(late, at(2026, 11, 24, 9), oldest=FIRST, daily=7, slack=GRACE).passed


def test_a_job_that_drifts_over_midnight_skips_no_day() -> None:
    drifting = [at(2026, 11, 1, 22) + night * (DAY + 600) for night in range(22)]
    assert 13 not in {datetime.fromtimestamp(moment, UTC).day for moment in drifting}
    assert judge(drifting, at(2026, 11, 24, 1), oldest=drifting[0], daily=21).passed
    holed = [moment for moment in drifting if datetime.fromtimestamp(moment, UTC).day != 12]
    assert judge(holed, at(2026, 11, 24, 1), oldest=drifting[0], daily=21).actual == "2 missing"


def test_the_hours_of_a_night_when_clocks_change_are_all_judged() -> None:
    for night in (at(2026, 3, 29), at(2026, 10, 25)):
        hours = [night - 6 * HOUR + hour * HOUR + 60 for hour in range(12)]
        now = hours[-1] + HOUR
        assert judge(hours, now, oldest=hours[0], hourly=12, zone=BERLIN).passed
        for gone in hours[1:-1]:
            finding = judge([hour for hour in hours if hour != gone], now, oldest=hours[0], hourly=12, zone=BERLIN)
            assert finding.actual == "1 missing"


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/Havana", "Pacific/Apia", "Asia/Kathmandu"])
def test_a_days_backup_belongs_to_the_day_of_its_zone(name: str) -> None:
    zone = ZoneInfo(name)
    local = [datetime(2026, month, day, 0, 30, tzinfo=zone) for month in range(1, 13) for day in (1, 2, 3)]
    for moment in local:
        points = [moment.replace(day=1).timestamp(), moment.replace(day=3).timestamp()]
        now = moment.replace(day=4, hour=12).timestamp()
        finding = judge(points, now, oldest=points[0], daily=4, zone=zone)
        assert finding.message == f"nas: no daily recovery point for {moment.replace(day=2).date()}"


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    every=st.sampled_from([("hourly", HOUR), ("daily", DAY)]),
    rule=st.dictionaries(st.sampled_from(["hourly", "daily", "weekly"]), st.integers(1, 30), min_size=1),
    count=st.integers(1, 120),
    zone=st.sampled_from([UTC_ZONE, BERLIN]),
)
def test_no_history_of_a_healthy_estate_fails(
    seed: int, every: tuple[str, float], rule: dict[str, int], count: int, zone: ZoneInfo
) -> None:
    """Late jobs, missed ones that were reported, new targets, thinning by the policy itself."""
    numbers = random.Random(seed)
    period, interval = every
    rule = {name: number for name, number in rule.items() if PERIODS[name] >= PERIODS[period]}
    if not rule:
        return
    begun = at(2026, 10, 1) + numbers.uniform(0, 20 * DAY) // HOUR * HOUR
    made = [
        begun + number * interval + numbers.uniform(0, GRACE)
        for number in range(count)
        if number == 0 or numbers.random() > 0.05
    ]
    gaps = [(left, right) for left, right in pairwise(made) if right - left > interval + GRACE]
    kept = prune(made, zone, **rule)
    now = made[-1] + numbers.uniform(0, interval - GRACE)
    finding = judge(kept, now, oldest=made[0], gaps=gaps, zone=zone, **rule)
    assert finding.passed, finding.message


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), period=st.sampled_from(["hourly", "daily"]), promised=st.integers(3, 40))
def test_a_promised_point_that_was_removed_is_always_missed(seed: int, period: str, promised: int) -> None:
    numbers = random.Random(seed)
    interval = PERIODS[period]
    begun = at(2026, 3, 1) + numbers.uniform(0, 300 * DAY) // interval * interval
    made = [begun + number * interval + numbers.uniform(0, GRACE / 2) for number in range(promised + 20)]
    now = made[-1] + numbers.uniform(GRACE, interval / 2)
    assert judge(made, now, oldest=made[0], **{period: promised}).passed
    back = numbers.randrange(1, promised - 1)
    gone = made[-1 - back]
    finding = judge([moment for moment in made if moment != gone], now, oldest=made[0], **{period: promised})
    assert finding.actual == "1 missing"


def test_copies_are_judged_each_by_its_own_policy() -> None:
    facts = [RetentionFacts(name, FULL[-2:], FIRST) for name in ("nas", "offsite")]
    finding = retention_kept([(facts[0], RetentionRule(daily=2)), (facts[1], RetentionRule(daily=3))], NOW, UTC_ZONE)
    assert finding.message == "offsite: no daily recovery point for 2026-11-21"


def test_a_hundred_thousand_points_are_judged_at_once() -> None:
    points = [at(2015, 1, 1) + number * HOUR for number in range(100_000)]
    now = points[-1] + 60
    finding = judge(points, now, oldest=points[0], hourly=500, daily=400, weekly=100, monthly=60, yearly=10)
    assert finding.passed
