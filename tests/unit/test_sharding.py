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


def test_a_pod_counts_from_0_and_is_told_of_how_many() -> None:
    pod = {"JOB_COMPLETION_INDEX": "0"}
    assert parse("auto/8", pod) == parse("auto", pod, 8) == Shard(1, 8)
    assert parse("auto/8", {"JOB_COMPLETION_INDEX": "7"}) == Shard(8, 8)
    assert parse("auto/4", {"CI_NODE_INDEX": "4", "CI_NODE_TOTAL": "4"}) == Shard(4, 4)
    assert parse("auto", {"CI_NODE_INDEX": "4", "CI_NODE_TOTAL": "4"}, 4) == Shard(4, 4)


@pytest.mark.parametrize(
    ("text", "environment", "said"),
    [
        ("auto", {"JOB_COMPLETION_INDEX": "0"}, "does not say of how many: write auto/8"),
        ("auto/8", {"JOB_COMPLETION_INDEX": "8"}, "JOB_COMPLETION_INDEX=8 is none of 8"),
        ("auto/8", {"JOB_COMPLETION_INDEX": "-1"}, "JOB_COMPLETION_INDEX=-1 is none of 8"),
        ("auto/8", {"JOB_COMPLETION_INDEX": "1", "CI_NODE_INDEX": "1"}, "both JOB_COMPLETION_INDEX and CI_NODE_INDEX"),
        ("auto/8", {"CI_NODE_INDEX": "1", "CI_NODE_TOTAL": "4"}, "CI_NODE_TOTAL=4, and there are 8 shards"),
        ("auto/0", {"JOB_COMPLETION_INDEX": "0"}, "does not say of how many"),
    ],
)
def test_a_pipeline_that_is_ambiguous_is_refused(text: str, environment: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(text, environment)


def test_with_a_plan_file_it_decides_and_not_the_name() -> None:
    shard = Shard(2, 3, "ab" * 32, {"mail": 2, "wiki": 1}, "cd" * 32)
    assert shard_of("mail", 3) == 3 and shard.drills("mail")
    assert not shard.drills("wiki") and not shard.drills("crm"), "what it does not name is in no shard"
    assert shard.as_evidence() == {"index": 2, "total": 3, "plan": "ab" * 32, "plan_file": "cd" * 32}
    assert "plan_file" not in Shard(2, 3, "ab" * 32).as_evidence()


@pytest.mark.parametrize(
    "text", ["", "0/5", "6/5", "2", "2/5/6", "-1/5", "a/b", "2/0", " 2/5", "AUTO", "auto/", "auto/x"]
)
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
    assert plan_digest("ab" * 32, selection, "levelled/1") != one
