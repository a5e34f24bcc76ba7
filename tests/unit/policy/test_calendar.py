"""Windows of a copy: what a jittering job must not be blamed for, and what it must."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st

from restore_drill.policy.calendar import Calendar, Held, Window, tolerance

DAY = 86400.0
NIGHTS = 12


def emitted(drills: Sequence[float], until: float, every: float = DAY, first: float = 0.0) -> list[Window]:
    found: list[Window] = []
    calendar = Calendar(first, every, found.append)
    for number, moment in enumerate(sorted(moment for moment in drills if moment <= until)):
        calendar.drill(Held(moment, str(number), "passed"))
    calendar.close(until)
    return found


def missed(drills: Sequence[float], until: float, every: float = DAY) -> list[int]:
    """Numbers of the windows that are missed."""
    return [number for number, window in enumerate(emitted(drills, until, every)) if not window.held]


def nights(jitter: Sequence[float]) -> list[float]:
    """A drill a night, each off by so many days."""
    return [(number + off) * DAY for number, off in enumerate(jitter)]


quarter = st.floats(-0.25, 0.25)


@settings(max_examples=60, deadline=None)
@given(st.lists(quarter, min_size=NIGHTS, max_size=NIGHTS), st.floats(0, 0.25))
@example([0.25, *[-0.25] * 11], 0.0)
@example([0.25, -0.25] * 6, 0.25)
def test_a_nightly_job_that_jitters_by_a_quarter_is_never_missed(jitter: list[float], begun: float) -> None:
    drills = nights(jitter)
    first = drills[0] - begun * DAY / 100  # the run that lists it begins a little before its drill ends
    found = emitted(drills, drills[-1], first=first)
    assert len(found) >= NIGHTS - 3
    assert all(window.held for window in found)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-0.24, 0.24), min_size=NIGHTS, max_size=NIGHTS), st.integers(1, NIGHTS - 3))
@example([0.0] * NIGHTS, 5)
@example([0.0, *[0.01] * 11], 1)
@example([0.0, *[-0.01] * 11], 1)
def test_a_night_that_was_left_out_is_missed_and_no_other(jitter: list[float], left_out: int) -> None:
    drills = nights([0.0, *jitter[1:]])
    kept = drills[:left_out] + drills[left_out + 1 :]
    assert missed(kept, drills[-1]) == [left_out]
    assert missed(drills, drills[-1]) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(1, NIGHTS - 3), st.lists(st.floats(0.001, 0.4), min_size=1, max_size=4))
def test_reruns_stay_with_what_they_rerun(left_out: int, after: list[float]) -> None:
    drills = nights([0.001] * NIGHTS)
    kept = drills[:left_out] + drills[left_out + 1 :]
    again = [drills[left_out + 1] + later * DAY for later in after]
    found = emitted([*kept, *again], drills[-1])
    assert [number for number, window in enumerate(found) if not window.held] == [left_out]
    assert len(found[left_out + 1].held) == 1 + len(again)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, NIGHTS - 3), st.floats(0.5, 0.95), st.floats(0.001, 0.45))
@example(5, 0.8, 0.1)
def test_a_rerun_does_not_stand_for_the_next_night(left_out: int, late: float, after: float) -> None:
    drills = nights([late] * NIGHTS)
    again = drills[left_out - 1] + after * DAY  # by now it may be the next window's time
    kept = [*drills[:left_out], again, *drills[left_out + 1 :]]
    assert missed(kept, drills[-1]) == [left_out]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 12), max_size=20), st.lists(st.floats(0, 12), max_size=4), st.floats(1, 13))
def test_one_more_drill_never_makes_one_more_missed(drills: list[float], more: list[float], until: float) -> None:
    some = [moment * DAY for moment in drills]
    before = missed(some, until * DAY)
    after = missed([*some, *(moment * DAY for moment in more)], until * DAY)
    assert len(after) <= len(before)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 12), max_size=30), st.floats(0, 13))
def test_every_drill_is_in_one_window_and_no_window_is_told_twice(drills: list[float], until: float) -> None:
    found = emitted([moment * DAY for moment in drills], until * DAY)
    held = [each.run for window in found for each in window.held]
    assert len(held) == len(set(held))
    assert [window.start for window in found] == sorted({window.start for window in found})
    assert all(window.end <= until * DAY for window in found)
    ended = int(until)
    assert ended - 1 <= len(found) <= ended  # the last may wait for its tolerance
    within = tolerance(DAY)
    for window in found:
        firsts = window.held[:1]
        assert all(window.start - within <= each.finished <= window.end + within for each in firsts)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 40), st.sampled_from([0.5, 1, 7, 30])), max_size=6),
    st.lists(st.floats(0, 40), max_size=20),
)
def test_windows_follow_one_another_however_the_interval_changes(
    changes: list[tuple[float, float]], drills: list[float]
) -> None:
    found: list[Window] = []
    calendar = Calendar(0.0, DAY, found.append)
    told = [(moment * DAY, every * DAY) for moment, every in changes] + [(moment * DAY, 0.0) for moment in drills]
    for moment, every in sorted(told):
        if every:
            calendar.change(moment, every)
        else:
            calendar.drill(Held(moment, "", "passed"))
    calendar.close(80 * DAY)
    edges = [0.0, *(window.end for window in found)]
    assert [window.start for window in found] == edges[:-1]
    assert all(0 < window.end - window.start < 30 * DAY + 1 for window in found)


def test_a_weekly_drill_that_is_held_daily_is_due_weekly() -> None:
    found = emitted([day * DAY + 1 for day in range(29)], 28 * DAY, every=7 * DAY)
    assert [len(window.held) for window in found] == [6, 7, 7, 7]  # the seventh day is within a day of the next week


def test_a_job_slower_than_its_interval_misses_its_share() -> None:
    slow = [number * 1.25 * DAY for number in range(40)]
    assert len(missed(slow, 48 * DAY)) == 9  # 39 drills for 48 windows


def test_a_window_under_way_ends_early_for_a_shorter_interval_and_in_time_for_a_longer_one() -> None:
    for every, change, ends in (
        (30 * DAY, (3 * DAY, DAY), [4 * DAY, 5 * DAY, 6 * DAY]),
        (DAY, (2.5 * DAY, 30 * DAY), [DAY, 2 * DAY, 3 * DAY, 33 * DAY]),
    ):
        found: list[Window] = []
        calendar = Calendar(0.0, every, found.append)
        calendar.change(*change)
        calendar.close(6.9 * DAY if every > DAY else 40 * DAY)
        assert [window.end for window in found] == ends


def test_an_interval_of_a_slip_of_the_pen_makes_no_millions_of_windows() -> None:
    assert len(emitted([], 3600.0, every=0.001)) == 59


def test_the_worked_example_of_the_page_about_it() -> None:
    hour, minute = 3600.0, 60.0
    drills = [10 * minute, DAY + 40 * minute, 2 * DAY - 10 * minute]  # Monday at 02:00 is the beginning
    drills += [4 * DAY + 5 * minute, 4 * DAY + 7 * hour, 5 * DAY + 10 * minute]
    found = emitted(drills, 5 * DAY + 6 * hour)
    assert [[each.finished for each in window.held] for window in found] == [
        drills[:1], drills[1:2], drills[2:3], [], drills[3:5]
    ]  # fmt: skip
