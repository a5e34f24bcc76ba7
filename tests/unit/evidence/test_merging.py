"""Shards' evidence joined: nothing counted twice, nothing lost without being named."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import jsonschema
import pytest
from tests.support.evidence import WHEN, document

from restore_drill.errors import UsageProblem
from restore_drill.evidence.merging import Part, merge
from restore_drill.evidence.reading import schema
from restore_drill.sharding import shard_of

NAMES = [f"db-{number:03}" for number in range(9)]
TOTAL = 3
BAD = {"db-002/nas/unpacks": "failed", "db-004/nas/located": "error", "db-007/offsite/rows/orders": "excepted"}
EXCEPTIONS = [
    {"id": "EX-1", "target": "db-007", "case": "rows", "state": "not exercised"},
    {"id": "EX-2", "target": "db-003", "case": "rpo", "state": "not exercised"},
]


def shard(index: int, **options: Any) -> dict[str, Any]:
    """What one of three machines finds of nine targets."""
    mine = [name for name in NAMES if shard_of(name, TOTAL) == index]
    whole = document(targets=9, verdicts=BAD, exceptions=EXCEPTIONS)
    states = {"db-007": "in force", "db-003": "stale"}
    exceptions = [each | ({"state": states[each["target"]]} if each["target"] in mine else {}) for each in EXCEPTIONS]
    found = document(
        WHEN + timedelta(seconds=index),
        targets=9, verdicts=BAD, exceptions=exceptions, shard=(index, TOTAL),
        selected=[f"{name}/{copy}" for name in mine for copy in ("nas", "offsite")], **options,
    )  # fmt: skip
    found["targets"] = [each for each in whole["targets"] if each["target"] in mine]
    cases = [case["verdict"] for part in (*found["drills"], *found["targets"]) for case in part["cases"]]
    found["counts"] = {word: cases.count(word) for word in found["counts"]}
    found["run"]["selection"]["cases"] = len(cases)
    return found


def parts(*indexes: int) -> list[Part]:
    return [Part(f"shards/{index}", shard(index)) for index in indexes]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_all_shards_together_say_what_one_run_says(order: tuple[int, ...]) -> None:
    whole = document(targets=9, verdicts=BAD, exceptions=EXCEPTIONS)
    joined = merge(parts(*order), run="joined", expect=3)
    jsonschema.validate(joined, schema())
    for part in ("verdict", "counts", "population", "problems", "not_run"):
        assert joined[part] == whole[part], part
    for part in ("drills", "targets"):
        assert [each["target"] for each in joined[part]] == [each["target"] for each in whole[part]]
        assert [each["cases"] for each in joined[part]] == [each["cases"] for each in whole[part]]
    run = joined["run"]
    assert run["merged_from"] == [shard(index)["run"]["id"] for index in (1, 2, 3)]
    assert run["shards"]["missing"] == [] and "shard" not in run
    assert run["selection"] == whole["run"]["selection"] and run["ended"] == "complete"
    assert run["started"] == shard(1)["run"]["started"]
    assert run["finished"] == max(shard(index)["run"]["finished"] for index in (1, 2, 3))


def test_how_shards_were_stripped_is_joined() -> None:
    found = parts(1, 2, 3)
    for number, part in enumerate(found):
        part.document["run"]["break_glass"] = {
            "environment": ["A", f"B{number}"], "removed": number, "escrow": {f"db-{number}/nas": ["age: file:/k"]},
            "opened": {"key": [f"db-{number}/nas"]},
        }  # fmt: skip
    joined = merge(found, run="joined")
    jsonschema.validate(joined, schema())
    assert joined["run"]["break_glass"] == {
        "environment": ["A", "B0", "B1", "B2"], "removed": 2, "opened": {"key": ["db-0/nas", "db-1/nas", "db-2/nas"]},
        "escrow": {f"db-{number}/nas": ["age: file:/k"] for number in range(3)},
    }  # fmt: skip
    assert "break_glass" not in merge(parts(1, 2, 3), run="joined")["run"]


def test_what_one_shard_did_with_the_keys_in_escrow_alone_is_not_said_of_all() -> None:
    stripped = changed(3, break_glass={"environment": [], "removed": 0, "escrow": {}, "opened": {}})
    with pytest.raises(UsageProblem, match="of shard 3 of 3 and shard 1 of 3 one had the keys in escrow alone"):
        merge([*parts(1, 2), stripped], run="joined")


def test_an_exception_is_as_the_shard_saw_it_that_drilled_its_target() -> None:
    joined = merge(parts(1, 2, 3), run="joined")
    assert {each["id"]: each["state"] for each in joined["exceptions"]} == {"EX-1": "in force", "EX-2": "stale"}


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_shard_that_is_missing_is_named_and_no_pass(lost: int) -> None:
    there = [index for index in (1, 2, 3) if index != lost]
    joined = merge([Part("x", shard(index) | {"verdict": "passed"}) for index in there], run="joined")
    jsonschema.validate(joined, schema())
    assert joined["verdict"] == "error" and joined["run"]["ended"] == "interrupted"
    assert joined["run"]["shards"]["missing"] == [lost]
    (problem,) = joined["problems"]
    assert problem.startswith(f"shard {lost} of 3 is missing: ")
    assert all((name in problem) is (shard_of(name, 3) == lost) for name in NAMES)


def test_a_bad_backup_stays_bad_when_a_shard_is_missing() -> None:
    assert merge(parts(shard_of("db-002", 3)), run="joined")["verdict"] == "failed"


def test_what_went_wrong_with_a_shard_is_told_with_its_name() -> None:
    broken = Part("x", shard(2, ended="crashed", problems=["it died"]))
    joined = merge([*parts(1, 3), broken], run="joined")
    assert joined["problems"] == ["shard 2 of 3: it died"] and joined["run"]["ended"] == "crashed"


@pytest.mark.parametrize(("hours", "verdict"), [(11, "passed"), (23, "error")])
def test_a_shard_of_an_earlier_night_is_no_part_of_this_one(hours: int, verdict: str) -> None:
    found = [Part(each.where, each.document | {"verdict": "passed"}) for each in parts(1, 2, 3)]
    run = found[1].document["run"]
    for each in ("started", "finished"):
        run[each] = (datetime.fromisoformat(run[each]) - timedelta(hours=hours)).isoformat()
    joined = merge(found, run="joined")
    assert joined["verdict"] == verdict
    assert [problem.partition(" ended ")[0] for problem in joined["problems"]] == ["shard 2 of 3"] * (hours > 12)


def test_a_time_that_does_not_exist_is_a_problem() -> None:
    joined = merge([*parts(1, 3), changed(2, finished="2026-13-45T00:00:00.000Z")], run="joined")
    assert joined["problems"] == ["shard 2 of 3 or shard 3 of 3 has a time that does not exist"]


def changed(index: int, **run: Any) -> Part:
    found = shard(index)
    found["run"] |= run
    return Part(f"shards/{index}", {**found, "run": {name: value for name, value in found["run"].items() if value}})


OTHER = {"index": 3, "total": 3, "plan": "0" * 64}


@pytest.mark.parametrize(
    ("found", "expect", "said"),
    [
        ([*parts(1, 2), changed(3, shard=OTHER)], 0, "shard 3 of 3 is of another plan"),
        ([*parts(1, 2), changed(3, shard=OTHER | {"total": 4})], 0, "shard 3 of 4 is of another plan"),
        ([*parts(1, 2), changed(3, shard=None)], 0, "this run is no shard"),
        ([*parts(1, 2), changed(3, merged_from=["a"])], 0, "was joined already"),
        ([*parts(1, 2), *parts(1)], 0, "shard 1 of 3 is there twice"),
        (parts(1, 2, 3), 4, "4 were expected"),
    ],
)  # fmt: skip
def test_what_is_no_part_of_one_plan_is_refused(found: list[Part], expect: int, said: str) -> None:
    with pytest.raises(UsageProblem, match=said):
        merge(found, run="joined", expect=expect)


def test_a_copy_that_two_shards_drilled_is_refused() -> None:
    one, two, three = parts(1, 2, 3)
    two.document["drills"].append(one.document["drills"][0])
    with pytest.raises(UsageProblem, match=r"was drilled by shard 1 of 3 and by shard 2 of 3"):
        merge([one, two, three], run="joined")


@pytest.mark.parametrize(
    "arguments", [["drills/", "--shard", "2/3", "-k", "critical"], ["drills/", "--shard=2/3", "-k", "critical"]]
)
def test_arguments_are_those_of_the_whole(arguments: list[str]) -> None:
    joined = merge([changed(1, arguments=arguments), *parts(2, 3)], run="joined")
    assert joined["run"]["arguments"] == ["drills/", "-k", "critical"]


def test_sets_of_every_shard_are_there() -> None:
    found = parts(1, 2, 3)
    assert "sets" not in merge(found, run="joined")
    for part in found[1:]:
        name = f"shop-{part.shard['index']}"
        told = {"set": name, "target": "db-002", "scope": "whole", "verdict": "passed", "within_seconds": 300.0}
        part.document["sets"] = [{**told, "members": [{"target": "db-002", "copy": "nas"}]}]
    joined = merge(found, run="joined")
    jsonschema.validate(joined, schema())
    assert [each["set"] for each in joined["sets"]] == ["shop-2", "shop-3"]
