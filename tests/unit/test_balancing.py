"""Ten thousand targets over 64 shards: all of them once, evenly, and hardly any moves when one target comes or goes."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_drill import balancing
from restore_drill.balancing import assign, loads, lower_bound

TARGETS, SHARDS = 10_000, 64
#: Milliseconds of one target: what estates look like. Of the last two no target is as much as a shard.
TAILS: Mapping[str, Callable[[random.Random], float]] = {
    "a tail without a mean to speak of": lambda dice: 500 * dice.paretovariate(1.1),
    "a heavy tail": lambda dice: 1000 * dice.lognormvariate(0, 2),
    "a tail that is cut off": lambda dice: min(1000 * dice.paretovariate(1.1), 400_000),
    "all alike": lambda dice: 1000.0,
}


def estate(tail: str, seed: int = 7) -> dict[str, int]:
    dice = random.Random(seed)
    return {f"target-{number:05}": max(1, round(TAILS[tail](dice))) for number in range(TARGETS)}


def unchanged(before: Mapping[str, int], after: Mapping[str, int]) -> float:
    both = before.keys() & after.keys()
    return sum(before[name] == after[name] for name in both) / len(both)


@pytest.mark.parametrize("tail", TAILS)
def test_ten_thousand_targets_over_64_shards(tail: str) -> None:
    weights = estate(tail)
    assigned = assign(weights, SHARDS)
    assert assigned.keys() == weights.keys(), "each has one shard: they are disjoint and complete"
    assert set(assigned.values()) == set(range(1, SHARDS + 1))
    assert max(loads(weights, assigned, SHARDS)) <= 1.05 * lower_bound(weights, SHARDS)
    by_weight = sorted(weights, key=weights.__getitem__)
    for place in (0, TARGETS // 2, TARGETS * 99 // 100, TARGETS - 1):  # the last one may have been the bound itself
        gone = by_weight[place]
        without = {name: weight for name, weight in weights.items() if name != gone}
        fewer = assign(without, SHARDS)
        assert max(loads(without, fewer, SHARDS)) <= 1.05 * lower_bound(without, SHARDS)
        assert unchanged(fewer, assigned) >= 0.95, f"{gone} was added, or removed"
    noisy = {name: max(1, round(weight * random.Random(name).uniform(0.9, 1.1))) for name, weight in weights.items()}
    assert unchanged(assigned, assign(noisy, SHARDS)) >= 0.9, "no night takes as long as the one before"
    assert unchanged(assigned, assign(weights, SHARDS + 1)) >= 0.9


def test_what_has_a_shard_for_itself_moves_an_eighth_at_most() -> None:
    """The worst that was seen: an extreme tail, and one of the few comes that are larger than a shard's share."""
    dice = random.Random(8)
    weights = {f"target-{number:05}": max(1, round(1000 * dice.lognormvariate(0, 3))) for number in range(TARGETS)}
    assigned = assign(weights, SHARDS)
    assert max(loads(weights, assigned, SHARDS)) <= 1.05 * lower_bound(weights, SHARDS)
    after = assign(weights | {"one more": max(weights.values())}, SHARDS)
    assert unchanged(assigned, after) >= 0.875
    assert unchanged(assigned, assign(weights | {"one more": 1000}, SHARDS)) >= 0.99


def test_longest_first_alone_would_move_nearly_everything() -> None:
    """What the way they are spread is for: the plain one is as even, and remembers nothing."""
    weights = estate("a heavy tail")
    heaviest = max(weights, key=weights.__getitem__)
    without = {name: weight for name, weight in weights.items() if name != heaviest}
    before, after = (balancing._longest_first(each, SHARDS) for each in (weights, without))
    assert max(loads(weights, before, SHARDS)) <= 1.05 * lower_bound(weights, SHARDS)
    assert unchanged(before, after) < 0.1


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.text(max_size=4), st.integers(1, 60) | st.integers(1, 100_000), max_size=30),
    st.integers(1, 9),
    st.randoms(use_true_random=False),
)
def test_however_few_there_are(weights: dict[str, int], total: int, dice: random.Random) -> None:
    assigned = assign(weights, total)
    assert assigned.keys() == weights.keys() and all(1 <= shard <= total for shard in assigned.values())
    plain = max(loads(weights, balancing._longest_first(weights, total), total))
    assert max(loads(weights, assigned, total)) <= max(1.05 * lower_bound(weights, total), plain)
    names = list(weights)
    dice.shuffle(names)
    assert assign({name: weights[name] for name in names}, total) == assigned, "no order decides"


def test_it_is_the_same_for_ever() -> None:
    """Machines with different releases must agree: a change here needs another name of the method."""
    assert balancing.METHOD == "levelled/1"
    weights = {"orders-db": 9000, "mail": 4000, "wiki": 3500, "crm": 1200, "datenbank-ä": 40, "logs": 30, "a": 1}
    assert assign(weights, 3) == {
        "orders-db": 3, "mail": 2, "wiki": 1, "crm": 1, "datenbank-ä": 2, "logs": 2, "a": 2
    }  # fmt: skip
    many = assign({f"t{number}": 1 + number % 7 for number in range(40)}, 20)
    assert list(many.values())[-12:] == [17, 3, 11, 16, 2, 8, 1, 17, 20, 15, 19, 5]
