"""The order of recovery: dependencies first, then the tier; an urgent target takes forward what it waits for."""

from __future__ import annotations

from graphlib import TopologicalSorter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_drill.recovery.order import Turn, Wanted, turns


def wanted(name: str, *waits_for: str, urgency: int = 1, rto: float = 60) -> Wanted:
    return Wanted(name, waits_for, urgency, rto)


def test_the_tier_decides_between_what_need_not_wait() -> None:
    found = turns([wanted("slow", urgency=2), wanted("b"), wanted("a"), wanted("quick", rto=5), wanted("x", urgency=0)])
    assert [turn.name for turn in found] == ["x", "quick", "a", "b", "slow"]
    assert {turn.wave for turn in found} == {1}


def test_what_an_urgent_target_waits_for_comes_before_what_is_less_urgent() -> None:
    found = turns(
        [
            wanted("shop", "accounts", urgency=0),
            wanted("accounts", "certificates", urgency=3),
            wanted("certificates", urgency=3),
            wanted("wiki", urgency=1),
            wanted("archive", urgency=3),
        ]
    )
    assert found == [
        Turn("certificates", 1, "shop"),
        Turn("accounts", 2, "shop"),
        Turn("shop", 3),
        Turn("wiki", 1),
        Turn("archive", 1),
    ]


def test_what_is_left_out_is_not_waited_for() -> None:
    assert turns([wanted("shop", "gone")]) == [Turn("shop", 1)]


def test_a_circle_is_no_order() -> None:
    with pytest.raises(ValueError, match="wait for each other: a, b"):
        turns([wanted("a", "b"), wanted("b", "a"), wanted("c")])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sets(st.integers(0, 40), max_size=4)), max_size=40))
def test_nothing_comes_before_what_it_waits_for(drawn: list[tuple[int, int, set[int]]]) -> None:
    targets = [
        Wanted(f"t{number}", tuple(f"t{other}" for other in sorted(others) if other < number), urgency, rto)
        for number, (urgency, rto, others) in enumerate(drawn)
    ]
    found = turns(targets)
    place = {turn.name: index for index, turn in enumerate(found)}
    wave = {turn.name: turn.wave for turn in found}
    assert sorted(place) == sorted(target.name for target in targets)
    for target in targets:
        assert all(place[other] < place[target.name] and wave[other] < wave[target.name] for other in target.waits_for)
        assert wave[target.name] == 1 + max((wave[other] for other in target.waits_for), default=0)
    # At every place stands the best of what could stand there; as urgent as the most urgent that needs it.
    graph = {target.name: set(target.waits_for) for target in targets}
    needs: dict[str, set[str]] = {}
    for name in TopologicalSorter(graph).static_order():
        needs[name] = graph[name].union(*(needs[other] for other in graph[name]))
    best = {
        name: min((other.urgency, other.rto) for other in targets if other.name == name or name in needs[other.name])
        for name in graph
    }
    left = set(graph)
    for turn in found:
        ready = {name for name in left if not needs[name] & left}
        assert turn.name == min(ready, key=lambda name: (best[name], name))
        left.remove(turn.name)
