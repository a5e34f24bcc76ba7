"""Which older snapshots are drawn, and what that proves."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from fractions import Fraction
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_drill.sampling import (
    EVERY,
    LONGEST_AGO,
    NEVER,
    RETEST,
    Sampling,
    choose,
    detection,
    odds,
    parse,
    slot_of,
    split,
    told,
)

_PLACE = ("orders", "nas")


def _older(count: int) -> list[str]:
    return [f"orders/{number:03}.db" for number in range(count)]


def _drilled(at: float, *, passed: bool = True) -> dict[str, Any]:
    return {"at": at, "passed": passed, "run": "r"}


# --- what is asked for ------------------------------------------------------------------------------------------------


def test_what_may_be_asked_for() -> None:
    assert parse("", 7) is None
    assert parse("latest", 7) is None
    assert parse("all", 7) == Sampling(None, 7)
    assert parse("sample:12", 7) == Sampling(12, 7)
    for wrong in ("sample", "sample:", "sample:0", "sample:-1", "sample:1.5", "sample:99999", "newest", "ALL"):
        with pytest.raises(ValueError, match="latest, all and sample:N"):
            parse(wrong, 7)


def test_a_slot_is_told_from_a_copy() -> None:
    assert split(slot_of("nas", 12)) == ("nas", 12)
    assert split("nas") == ("nas", 0)
    assert split("nas~x") == ("nas~x", 0)


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_anybody_can_draw_again() -> None:
    older = _older(50)
    drawn = [each.identity for each in choose(Sampling(3, 42), _PLACE, older, {})]
    by_hand = sorted(older, key=lambda key: hashlib.sha256(f"42 orders/nas {key}".encode()).hexdigest())
    assert drawn == by_hand[:3]
    assert drawn == [each.identity for each in choose(Sampling(3, 42), _PLACE, older[::-1], {})], (
        "order decides nothing"
    )
    assert drawn != [each.identity for each in choose(Sampling(3, 43), _PLACE, older, {})]
    assert drawn != [each.identity for each in choose(Sampling(3, 42), ("orders", "offsite"), older, {})]


def test_every_one_that_was_never_drilled_has_the_same_chance() -> None:
    older, drawn = _older(10), Counter[str]()
    for seed in range(4000):
        drawn.update(each.identity for each in choose(Sampling(2, seed), _PLACE, older, {}))
    # 800 each; chi squared with 9 degrees of freedom exceeds 33.7 once in ten thousand.
    assert sum((count - 800) ** 2 / 800 for count in drawn.values()) * 10 / 8 < 33.7
    assert set(drawn) == set(older)


def test_those_with_the_best_claim_come_first() -> None:
    older = _older(6)
    known = {older[0]: _drilled(30), older[1]: _drilled(10), older[2]: _drilled(20), older[3]: _drilled(40)}
    drawn = choose(Sampling(5, 1), _PLACE, older, known)
    assert {each.identity for each in drawn[:2]} == {older[4], older[5]}
    assert [each.identity for each in drawn[2:]] == [older[1], older[2], older[0]]
    assert [each.why for each in drawn] == [NEVER, NEVER, LONGEST_AGO, LONGEST_AGO, LONGEST_AGO]


def test_what_failed_is_drilled_again_and_leaves_room_for_others() -> None:
    older = _older(8)
    known = {each: _drilled(place, passed=False) for place, each in enumerate(older[:4])}
    drawn = choose(Sampling(3, 1), _PLACE, older, known)
    assert [each.identity for each in drawn[:2]] == older[:2], "half of the slots, those first that wait longest"
    assert [each.why for each in drawn] == [RETEST, RETEST, NEVER]
    assert [each.why for each in choose(Sampling(1, 1), _PLACE, older, known)] == [RETEST]


def test_spares_are_nobody_elses() -> None:
    older = _older(10)
    drawn = choose(Sampling(3, 5), _PLACE, older, {})
    everything = [name for each in drawn for name in (each.identity, *each.spare)]
    assert len(everything) == len(set(everything)) == 9


def test_all_are_all() -> None:
    older = _older(3)
    drawn = choose(Sampling(None, 1), _PLACE, older, {older[1]: _drilled(1)})
    assert [(each.identity, each.why) for each in drawn] == [(each, EVERY) for each in older]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 30), st.integers(1, 7), st.integers(0, 2**48), st.sets(st.integers(0, 29)))
def test_each_that_stays_is_drilled_in_time(count: int, size: int, seed: int, bad: set[int]) -> None:
    """Without damage within N/n runs; with damage, half of the slots go on."""
    older, known = _older(count), dict[str, dict[str, Any]]()
    damaged = {older[place] for place in bad if place < count}
    free = size if not damaged else size - (size + 1) // 2
    runs = math.ceil(count / free) + len(damaged) if free else 0
    for run in range(runs):
        drawn = choose(Sampling(size, seed + run), _PLACE, older, known)
        assert len({each.identity for each in drawn}) == len(drawn) == min(size, count)
        for each in drawn:
            known[each.identity] = _drilled(run, passed=each.identity not in damaged)
    if free:
        assert known.keys() == set(older)


# --- what it proves ---------------------------------------------------------------------------------------------------


@given(st.integers(0, 80).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(0, n))))
def test_the_chance_is_the_hypergeometric_distributions(figures: tuple[int, int, int]) -> None:
    population, drilled, damaged = figures
    exact = 1 - Fraction(math.comb(population - damaged, drilled), math.comb(population, drilled))
    assert detection(population, drilled, damaged) == pytest.approx(float(exact), abs=1e-12)


def test_the_chance_is_what_counting_gives() -> None:
    """Every sample of three of seven, of which two are damaged."""
    samples = list(combinations(range(7), 3))
    hits = sum(bool({0, 1} & set(sample)) for sample in samples)
    assert detection(7, 3, 2) == pytest.approx(hits / len(samples))


def test_the_chance_of_what_is_known_already() -> None:
    assert detection(100, 100, 1) == 1.0
    assert detection(100, 0, 50) == 0.0
    assert detection(100, 60, 41) == 1.0, "not one of them fits into the rest"
    assert detection(10**6, 1000, 10**4) == pytest.approx(1 - 0.99**1000, rel=1e-2)
    for wrong in ((5, 6, 1), (5, 1, 6), (5, -1, 1)):
        with pytest.raises(ValueError, match="damaged of"):
            detection(*wrong)


def test_chances_are_told_of_one_and_of_shares() -> None:
    found = odds(200, 5, 50)
    assert [each["damaged"] for each in found] == [1, 2, 10, 20]
    assert found[0] == {"damaged": 1, "this_run": 0.025, "so_far": 0.25}
    assert odds(0, 0, 0) == []
    assert odds(3, 3, 3) == [{"damaged": 1, "this_run": 1.0, "so_far": 1.0}]


def test_what_is_not_certain_is_not_told_as_certain() -> None:
    assert odds(10**9, 10**9 - 1, 10**9 - 1)[0]["so_far"] == 0.999999


def test_what_is_known_is_told_in_a_sentence() -> None:
    block = {
        "target": "orders", "copy": "nas", "rule": "sample:3", "seed": 42, "population": 40, "drawn": 3, "drilled": 10,
        "since": "2026-11-02T02:00:00Z", "failed": [], "detection": odds(40, 3, 10),
    }  # fmt: skip
    assert told(block) == (
        "orders/nas: 10 of 40 drilled since 2026-11-02; by this run 3, drawn by the seed 42; a single damaged one "
        "would have been found with 25 %"
    )
    assert "another damaged one" in told({**block, "failed": ["20261101T020000Z"]})
    assert told({**block, "failed": ["20261101T020000Z"]}).endswith("FAILED: 20261101T020000Z")
    assert told({**block, "population": 0}).endswith("there is none beside the newest")
    assert told({**block, "problem": "no route to host"}).endswith("could not be listed: no route to host")
