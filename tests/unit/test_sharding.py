"""Which shard has which target: all of them together have everything once, and little moves when something changes."""

from __future__ import annotations

from collections import Counter

import pytest

from restore_drill.sharding import Shard, parse, plan_digest, shard_of

NAMES = [f"target-{number}" for number in range(1000)]


@pytest.mark.parametrize("total", [1, 2, 5, 16])
def test_every_target_is_in_exactly_one_shard(total: int) -> None:
    shards = [Shard(index, total) for index in range(1, total + 1)]
    assert all(sum(shard.has(name) for shard in shards) == 1 for name in NAMES)
    sizes = Counter(shard_of(name, total) for name in NAMES)
    assert set(sizes) == set(range(1, total + 1)) and max(sizes.values()) < 1.5 * 1000 / total


def test_a_shard_more_takes_its_share_and_moves_nothing_else() -> None:
    moved = [name for name in NAMES if shard_of(name, 4) != shard_of(name, 5)]
    assert {shard_of(name, 5) for name in moved} == {5}
    assert 150 < len(moved) < 250


def test_it_is_the_same_for_ever() -> None:
    """Machines with different releases must agree: a change here needs another name of the method."""
    assert [shard_of(name, 3) for name in ("orders-db", "mail", "wiki", "datenbank-ä")] == [1, 3, 3, 1]


def test_a_shard_is_read() -> None:
    assert parse("2/5", {}) == Shard(2, 5)
    assert parse("auto", {"CI_NODE_INDEX": "3", "CI_NODE_TOTAL": "4"}) == Shard(3, 4)
    assert parse("auto", {"CI_NODE_TOTAL": "1"}) == Shard(1, 1)


@pytest.mark.parametrize("text", ["", "0/5", "6/5", "2", "2/5/6", "-1/5", "a/b", "2/0", " 2/5", "AUTO"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write 2/5"):
        parse(text, {"CI_NODE_INDEX": "3", "CI_NODE_TOTAL": "4"})


@pytest.mark.parametrize("environment", [{}, {"CI_NODE_INDEX": "3"}, {"CI_NODE_TOTAL": "4"}])
def test_a_pipeline_that_does_not_say_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="CI_NODE_INDEX"):
        parse("auto", environment)


def test_a_plan_is_known_by_its_catalogue_and_its_selection() -> None:
    selection = [("argument", "drills"), ("keyword", "'critical'")]
    one = plan_digest("ab" * 32, selection)
    assert one == plan_digest("ab" * 32, selection[::-1])
    assert len({one, plan_digest("cd" * 32, selection), plan_digest("ab" * 32, selection[:1])}) == 3
