"""Chains: which links a snapshot needs, and that none is missing, twice there or unknown in its order."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_drill.errors import BackupFailed
from restore_drill.model import Artifact, Kind, Snapshot, Stage
from restore_drill.repositories import chain, points
from restore_drill.repositories.base import KEPT, Survey
from restore_drill.repositories.points import Points

START = datetime(2026, 11, 1, tzinfo=UTC)
LETTERS = {"F": Kind.FULL, "D": Kind.DIFFERENTIAL, "I": Kind.INCREMENTAL, "L": Kind.LOG}


def link(letter: str, hour: float, sequence: int | None = None) -> Snapshot:
    taken = START + timedelta(hours=hour)
    key = f"{taken:%Y%m%d%H%M}-{letter}-{sequence}"
    return Snapshot(taken, (Artifact(key, 10, taken.timestamp()),), LETTERS[letter], sequence=sequence)


def series(letters: str, *, numbered: bool = True) -> list[Snapshot]:
    """Snapshots an hour apart, oldest first."""
    return [link(letter, hour, hour if numbered else None) for hour, letter in enumerate(letters)]


def newest(snapshots: list[Snapshot]) -> Snapshot:
    return chain.link(sorted(snapshots, key=points.order, reverse=True), KEPT)[0]


def shape(snapshot: Snapshot) -> str:
    return "".join(each.kind[0].upper() for each in (*snapshot.parents, snapshot))


@pytest.mark.parametrize(
    ("letters", "needed"),
    [
        ("F", "F"),
        ("FFF", "F"),
        ("FD", "FD"),
        ("FDDD", "FD"),
        ("FIII", "FIII"),
        ("FIFII", "FII"),
        ("FIDI", "FII"),
        ("FDLL", "FLL"),
        ("FIILL", "FLL"),
        ("FLFL", "FL"),
    ],
)
def test_a_snapshot_needs_the_last_full_one_and_what_its_kind_builds_on(letters: str, needed: str) -> None:
    found = newest(series(letters, numbered=False))
    assert shape(found) == needed
    assert chain.problem(found) is None
    assert [each.taken_at for each in found.parents] == sorted(each.taken_at for each in found.parents)


@settings(max_examples=60, deadline=None)
@given(st.text("FDIL", max_size=40))
def test_following_what_each_builds_on_directly_gives_its_chain(letters: str) -> None:
    made = sorted(series(letters, numbered=False), key=points.order, reverse=True)
    direct = dict(zip((each.main.key for each in made), chain.nearest(made), strict=True))
    for whole in chain.link(made, len(made)):
        followed, found = direct[whole.main.key], list[Snapshot]()
        while followed is not None:
            found.append(followed)
            followed = direct[followed.main.key]
        assert [each.main.key for each in found[::-1]] == [each.main.key for each in whole.parents]


def problem(snapshots: list[Snapshot]) -> str:
    found = chain.problem(newest(snapshots))
    assert isinstance(found, BackupFailed)
    assert found.stage is Stage.CHAIN
    assert found.remedy.startswith("Take a full backup now")
    return found.cause


def test_a_chain_without_its_full_snapshot_is_broken() -> None:
    assert "the full snapshot it builds on is missing" in problem(series("III"))
    assert "the full snapshot it builds on is missing" in problem(series("D"))
    assert chain.problem(newest(series("FIII"))) is None


def test_a_missing_link_is_noticed_by_its_number() -> None:
    whole = series("FIIII")
    assert chain.problem(newest(whole)) is None
    assert "1 link(s) between 202611010100-I-1 and 202611010300-I-3 are missing" in problem(
        [each for each in whole if each.sequence != 2]
    )
    assert "2 link(s) between 202611010000-F-0 and 202611010300-I-3" in problem(
        [each for each in whole if each.sequence not in (1, 2)]
    )


def test_numbers_that_overlap_are_noticed() -> None:
    assert "their numbers overlap" in problem([link("F", 0, 0), link("I", 1, 1), link("I", 2, 1)])
    assert "their numbers overlap" in problem([link("F", 0, 5), link("I", 1, 5)])


def test_the_numbers_of_differentials_count_nothing() -> None:
    assert chain.problem(newest([link("F", 0, 0), link("D", 1, 1), link("D", 9, 7)])) is None


def test_links_of_one_time_without_numbers_are_refused() -> None:
    twice = [link("F", 0), link("I", 1), Snapshot(START + timedelta(hours=1), (Artifact("x", 1, 0),), Kind.INCREMENTAL)]
    assert "claim the same time: their order is not known" in problem(twice)


def test_names_that_state_the_day_only_are_put_in_order_by_their_numbers() -> None:
    day = START
    made = [
        Snapshot(
            day, (Artifact(f"{number}", 10, 0.0),), Kind.FULL if number == 3 else Kind.INCREMENTAL, sequence=number
        )
        for number in (3, 10, 4, 9, 5, 8, 6, 7)
    ]
    found = newest(made)
    assert [each.sequence for each in (*found.parents, found)] == list(range(3, 11))
    assert chain.problem(found) is None
    unnumbered = [link("F", 0), link("D", 0)]
    assert newest(unnumbered).kind is Kind.DIFFERENTIAL


# --- in bounded memory --------------------------------------------------------------------------------------------


def collect(snapshots: list[Snapshot]) -> Points:
    found = Points()
    for snapshot in snapshots:
        found.add(snapshot)
    return found


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 1500), fulls=st.sampled_from([0.001, 0.02, 0.3, 1.0]))
def test_pruning_while_listing_changes_nothing_that_is_drilled(seed: int, count: int, fulls: float) -> None:
    numbers = random.Random(seed)
    kinds = numbers.choices("FDIL", weights=[fulls, *[(1 - fulls) / 3] * 3], k=count)
    made = [link(letter, hour) for hour, letter in enumerate(kinds)]
    expected = chain.link(made[::-1], KEPT)
    shuffled = numbers.sample(made, count)
    found = collect(shuffled)
    assert chain.link(found.needed(), KEPT) == expected
    assert sorted(found.times) == [each.taken_at.timestamp() for each in made]


def test_only_the_newest_are_kept_where_nothing_builds_on_anything() -> None:
    made = series("F" * 5000)
    found = collect(made)
    assert len(found._points) < 4 * KEPT
    assert found.needed() == made[: -KEPT - 1 : -1]


def test_a_long_chain_is_kept_whole() -> None:
    found = collect(series("F" + "F" + "L" * 2000 + "I"))
    kept = chain.link(found.needed(), KEPT)
    logs = [each for each in kept if each.kind is Kind.LOG]
    assert len(logs) == KEPT
    assert len(logs[0].parents) == 2000
    assert len(logs[-1].parents) == 2000 - KEPT + 1
    assert chain.problem(logs[0]) is None


def test_fulls_are_kept_beside_many_logs_so_that_sizes_can_be_compared() -> None:
    found = collect(series(("F" + "L" * 100) * 5))
    assert [each.kind for each in chain.link(found.needed(), KEPT)].count(Kind.FULL) == 5


def survey(made: list[Snapshot], wanted: str = "") -> Survey:
    listings = 0

    def read(found: Survey) -> object:
        nonlocal listings
        listings += 1
        assert listings <= 2
        for each in made:
            found.listed += 1
            yield each

    return points.survey(read, wanted)  # type: ignore[arg-type]


def test_an_old_link_is_found_with_its_parents() -> None:
    made = series("F" + "I" * 10 + "F" * 200)
    wanted = made[5]
    found = survey(made, wanted.id)
    assert found.wanted is not None
    assert shape(found.wanted) == "FIIIII"
    assert found.listed == len(made)
    for name in (wanted.main.key, wanted.main.name):
        assert survey(made, name).wanted == found.wanted
    assert survey(made, "20010101T000000Z").wanted is None
    assert survey(made).wanted is None


def test_points_that_claim_the_same_are_told() -> None:
    first, second = link("F", 1), Snapshot(START + timedelta(hours=1), (Artifact("other", 1, 0),))
    assert survey([first, link("F", 2), second]).clashes == [(second.main.key, first.main.key)]
    assert survey([first, link("D", 1), link("F", 2)]).clashes == []
