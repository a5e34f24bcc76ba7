"""Which snapshots go together: the newest that are near enough to each other, and never ones that are not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_drill.errors import BackupFailed
from restore_drill.model import Artifact, Snapshot
from restore_drill.sets.moment import Candidates, choose

_NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
_WITHIN = timedelta(minutes=5)


def _snapshot(minutes: float, resolution: timedelta = timedelta(seconds=1), modified: float = 0.0) -> Snapshot:
    taken = _NOON - timedelta(minutes=minutes)
    written = modified or taken.timestamp()
    return Snapshot(taken, (Artifact(f"{minutes}", 1, written),), resolution=resolution)


def _of(*minutes: float, timeless: bool = False, incomplete: tuple[float, ...] = ()) -> Candidates:
    def unfinished(snapshot: Snapshot) -> str | None:
        return "a part is missing" if _minutes(snapshot) in incomplete else None

    return Candidates([_snapshot(each) for each in sorted(minutes)], timeless, unfinished)


def _chosen(**candidates: Candidates) -> dict[str, float]:
    return {name: _minutes(snapshot) for name, snapshot in choose(candidates, _WITHIN)[0].items()}


def _minutes(snapshot: Snapshot) -> float:
    return float(snapshot.main.key)


def test_the_newest_are_taken_when_they_fit() -> None:
    assert _chosen(database=_of(3, 63), files=_of(8, 68)) == {"database": 3, "files": 8}


def test_who_is_ahead_goes_back_to_the_newest_that_fits() -> None:
    assert _chosen(database=_of(1, 31, 61, 91), files=_of(60, 1500)) == {"database": 61, "files": 60}


def test_what_no_longer_changes_goes_with_any_moment() -> None:
    assert _chosen(database=_of(1), archive=_of(400_000, timeless=True)) == {"database": 1, "archive": 400_000}


def test_an_incomplete_snapshot_is_stepped_over_and_noted() -> None:
    candidates = {"database": _of(1, 61, incomplete=(1,)), "files": _of(2, 62)}
    chosen, notes = choose(candidates, _WITHIN)
    assert {name: _minutes(snapshot) for name, snapshot in chosen.items()} == {"database": 61, "files": 62}
    assert notes == ["database: 20261123T115900Z was stepped over: a part is missing"]


def test_without_a_common_moment_it_says_how_far_apart_they_are() -> None:
    with pytest.raises(BackupFailed) as caught:
        choose({"database": _of(180, 1620), "files": _of(2, 1442)}, _WITHIN)
    assert caught.value.cause == (
        "the targets have no common moment: their newest snapshots lie 2 h 58 min apart (database 2026-11-23 09:00Z, "
        "files 2026-11-23 11:58Z), and no earlier ones within 5 min of each other"
    )


def test_a_name_that_tells_the_day_only_is_refined_by_when_it_was_written() -> None:
    midnight = _snapshot(12 * 60, timedelta(days=1), modified=(_NOON - timedelta(minutes=64)).timestamp())
    daily = Candidates([midnight], timeless=False, unfinished=lambda _: None)
    chosen, _ = choose({"daily": daily, "hourly": _of(1, 61, 121)}, _WITHIN)
    assert (chosen["daily"], _minutes(chosen["hourly"])) == (midnight, 61)


@given(st.lists(st.sets(st.integers(0, 40), min_size=1, max_size=6), min_size=2, max_size=3))
def test_it_is_the_newest_of_all_combinations(histories: list[set[int]]) -> None:
    candidates = {f"t{number}": _of(*map(float, each)) for number, each in enumerate(histories)}
    fitting = [each for each in product(*histories) if max(each) - min(each) <= _WITHIN.total_seconds() / 60]
    if not fitting:
        with pytest.raises(BackupFailed):
            choose(candidates, _WITHIN)
        return
    found = tuple(int(_minutes(snapshot)) for snapshot in choose(candidates, _WITHIN)[0].values())
    assert found in fitting
    assert all(mine <= other for each in fitting for mine, other in zip(found, each, strict=True)), "newest of each"
