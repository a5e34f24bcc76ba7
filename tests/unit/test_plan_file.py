"""``plan.json``: what it says of each target, and what is no plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from restore_drill import balancing, plan_file
from restore_drill.errors import UsageProblem
from restore_drill.plan_file import Expected, PlanFile, expectations, read

SECONDS = {"mail": 30.0, "wiki": 10.0}
SIZES = {"mail": 3000, "wiki": 1000, "crm": 4000, "tiny": 1}


def test_expectations_are_measured_or_guessed_from_what_was() -> None:
    found = expectations(["mail", "wiki", "crm", "tiny", "new"], SECONDS, SIZES)
    assert found == {
        "mail": Expected(30.0, "measured"), "wiki": Expected(10.0, "measured"),
        "crm": Expected(40.0, "size"),  # at 10 ms a byte
        "tiny": Expected(10.0, "size"),  # no drill took less
        "new": Expected(20.0, "mean"),
    }  # fmt: skip


def test_before_anything_was_measured_sizes_alone_decide() -> None:
    found = expectations(["a", "b", "c"], {}, {"a": 10**9, "b": 10**10})
    assert found["b"].seconds == 10 * found["a"].seconds and found["c"].basis == "even"


def written(directory: Path, of: int = 2, /, **changes: Any) -> Path:
    """A plan file; with changes, not quite."""
    plan = PlanFile("ab" * 32, expectations(["mail", "wiki", "new"], SECONDS, {}, of), of, "/x/targets.yaml")
    document = json.loads(plan.text())
    document.update(changes)
    path = directory / "plan.json"
    path.write_text(json.dumps(document) if changes else plan.text())
    return path


@pytest.mark.parametrize("shards", [0, 2])
def test_what_was_written_is_read(tmp_path: Path, shards: int) -> None:
    expected = expectations(["mail", "wiki", "new"], SECONDS, {}, shards)
    found = read(written(tmp_path, shards))
    assert found == PlanFile("ab" * 32, expected, shards, "/x/targets.yaml")
    assert len(found.digest) == 64 and found.digest != read(written(tmp_path, 3)).digest
    weights = {"mail": 30_000, "wiki": 10_000, "new": 20_000}
    assert read(written(tmp_path, shards)).assignment(2) == balancing.assign(weights, 2)


def test_of_a_certain_number_of_shards_it_is_the_plan_of_no_other(tmp_path: Path) -> None:
    assert set(read(written(tmp_path, 0)).assignment(3)) == {"mail", "wiki", "new"}
    with pytest.raises(UsageProblem, match="was made for 2 shards, and this is one of 3"):
        read(written(tmp_path, 2)).assignment(3)


def test_the_assignment_that_is_written_down_counts(tmp_path: Path) -> None:
    path = written(tmp_path, targets={"mail": {"seconds": 1, "shard": 2}, "wiki": {"seconds": 1, "shard": 2}})
    assert read(path).assignment(2) == {"mail": 2, "wiki": 2}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"form": "restore-drill/plan/2"}, "does not say that it is a restore-drill/plan/1"),
        ({"method": "longest-first/1"}, "by 'longest-first/1', which this release does not know"),
        ({"catalogue": {}}, "of which catalogue"),
        ({"catalogue": "ab"}, "of which catalogue"),
        ({"shards": -1}, "of how many shards"),
        ({"shards": True}, "of how many shards"),
        ({"shards": 10**7}, "of how many shards"),
        ({"targets": {}}, "no targets"),
        ({"targets": ["mail"]}, "no targets"),
        ({"targets": {"mail": {"shard": 1}}}, "'mail' has no seconds"),
        ({"targets": {"mail": {"seconds": -1, "shard": 1}}}, "'mail' has no seconds"),
        ({"targets": {"mail": {"seconds": 1e300, "shard": 1}}}, "'mail' has no seconds"),
        ({"targets": {"mail": {"seconds": 1, "shard": 3}}}, "'mail' is in no shard from 1 to 2"),
        ({"targets": {"mail": {"seconds": 1}}}, "'mail' is in no shard from 1 to 2"),
        ({"shards": 0, "targets": {"mail": {"seconds": 1, "shard": 1}}}, "'mail' is in no shard"),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageProblem, match=said):
        read(written(tmp_path, **changes))


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a": 1, "a": 2}', "[" * 100_000, '{"shards": NaN}', "\udcff", '{"form": 1e999}']
)
def test_what_is_no_json_of_ours_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageProblem, match=r"this is no plan: .* Make it again"):
        read(path)


def test_a_plan_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="the plan cannot be read: No such file"):
        read(tmp_path / "plan.json")
    assert plan_file.MOST_SHARDS == 999_999, "as many digits as --shard reads"
