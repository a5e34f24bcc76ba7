"""One plan made for all machines: each drills what the plan gives it, and what is lost is named by the plan."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.documents import follow
from tests.support.project import Outcome, Project

from restore_drill import plan_file
from restore_drill.cli import main

TARGETS = ("orders-db", "mail", "wiki", "crm")


@dataclass
class Planned:
    """A project of four critical targets and one of another tier, its plan for two shards, and what those did."""

    project: Project
    path: Path
    shards: dict[int, Outcome]

    @property
    def plan(self) -> plan_file.PlanFile:
        return plan_file.read(self.path)

    def merge(self, *arguments: str, without: int = 0) -> int:
        places = [str(each.directory) for index, each in self.shards.items() if index != without]
        return main(["merge", *places, "--out", str(self.project.root / "joined"), *arguments])


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planned]:
    project = Project(tmp_path_factory.mktemp("planned") / "project", TARGETS)
    project.add("attic", tier="archival")
    project.write()
    state = project.root / "state" / "durations.json"
    state.write_text(json.dumps({"orders-db": 60.0, "mail": 15.0, "wiki": 15.0, "attic": 5000.0}))
    path = project.root / "plan.json"
    assert main(
        ["plan", "--catalogue", str(project.path), "--out", str(path), "--shards", "2", "--tier", "critical"]
    ) == 0  # fmt: skip
    shards = {index: project.run(f"--plan={path}", f"--shard={index}/2") for index in (1, 2)}
    return Planned(project, path, shards)


def test_each_shard_drills_what_the_plan_says_and_no_other_target(planned: Planned) -> None:
    assigned = planned.plan.assignment(2)
    assert set(assigned) == set(TARGETS) and set(assigned.values()) == {1, 2}
    alone = [name for name in TARGETS if assigned[name] == assigned["orders-db"]]
    assert alone == ["orders-db"], (
        "60 s, as much as the others together; the one that was never drilled counts as their mean"
    )
    for index, outcome in planned.shards.items():
        assert outcome.status == 0 and outcome.evidence["verdict"] == "passed"
        assert {each["target"] for each in outcome.evidence["drills"]} == {
            name for name, shard in assigned.items() if shard == index
        }
        assert outcome.evidence["run"]["shard"]["plan_file"] == planned.plan.digest
        outcome.check_whole()
        assert "not in the plan file, and drilled by no shard: attic (1)" in outcome.screen
    plans = {outcome.evidence["run"]["shard"]["plan"] for outcome in planned.shards.values()}
    assert len(plans) == 1


def test_joined_they_are_whole(planned: Planned, capsys: pytest.CaptureFixture[str]) -> None:
    assert planned.merge("--plan", str(planned.path)) == 0
    assert "passed: 2 of 2 shards" in capsys.readouterr().out


@pytest.mark.parametrize("lost", [1, 2])
def test_the_plan_names_what_a_lost_shard_had(planned: Planned, lost: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert planned.merge("--plan", str(planned.path), without=lost) == 75
    its = ", ".join(name for name in TARGETS if planned.plan.assignment(2)[name] == lost)
    assert f"shard {lost} of 2 is missing: nothing is known of its targets (as far as they were selected: {its})" in (
        capsys.readouterr().out
    )
    assert planned.merge(without=lost) == 75, "without the plan, too"
    said = capsys.readouterr().out
    assert f"shard {lost} of 2 is missing: --plan FILE names its targets" in said and its.split(", ")[0] in said


def test_another_plan_file_is_refused(planned: Planned, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "plan.json"
    other.write_text(planned.path.read_text().replace("60.0", "61.0"))
    assert planned.merge("--plan", str(other)) == 2
    assert "shard 1 of 2 followed another plan file, or none" in capsys.readouterr().err


def test_in_an_indexed_job_a_worker_takes_its_part_too(planned: Planned) -> None:
    """A pod counts from 0; the plan says of how many; the controller hands the plan to its workers."""
    project = planned.project
    project.environment["JOB_COMPLETION_INDEX"] = "1"
    outcome = project.run(f"--plan={planned.path}", "--shard=auto", "-n", "1")
    del project.environment["JOB_COMPLETION_INDEX"]
    assert outcome.status == 0
    assert outcome.evidence["run"]["shard"] == planned.shards[2].evidence["run"]["shard"] | {
        "plan": outcome.evidence["run"]["shard"]["plan"]
    }
    assert [each["target"] for each in outcome.evidence["drills"]] == [
        each["target"] for each in planned.shards[2].evidence["drills"]
    ]


def test_a_shard_without_targets_is_no_failure_whether_the_plan_leaves_it_empty_or_what_is_selected(
    planned: Planned,
) -> None:
    other = next(index for index in (1, 2) if index != planned.plan.assignment(2)["orders-db"])
    left = planned.project.run(f"--plan={planned.path}", f"--shard={other}/2", "-k", "orders-db")
    assert left.status == 0 and left.evidence["verdict"] == "passed"
    assert f"shard {other} of 2: 0 of the plan's 1 targets: nothing to drill here" in left.screen
    five = planned.project.file("five.json", planned.path.read_text().replace('"shards": 2', '"shards": 5'))
    left = planned.project.run(f"--plan={five}", "--shard=5/5")
    assert left.status == 0 and left.evidence["verdict"] == "passed" and left.evidence["drills"] == []
    assert "shard 5 of 5: 0 of the plan's 4 targets: nothing to drill here" in left.screen


def test_where_there_are_no_cases_at_all_no_shard_is_empty(planned: Planned) -> None:
    planned.project.file("elsewhere/README", "the standard cases are not here")
    named = (f"--catalogue={planned.project.path}", f"--plan={planned.path}", "--shard=1/2")
    nothing = planned.project.run(*named, where="elsewhere")
    assert nothing.status == 5 and nothing.evidence["verdict"] == "error"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--plan=plan.json"], "--plan: write which part"),
        (["--plan=plan.json", "--shard=1/3"], "made for 2 shards, and this is one of 3"),
        (["--plan=other.json", "--shard=1/2"], "the plan was made of another catalogue"),
    ],
)
def test_what_does_not_fit_is_refused(planned: Planned, arguments: list[str], said: str) -> None:
    text = planned.path.read_text().replace(planned.plan.catalogue, "0" * 64)
    (planned.project.root / "other.json").write_text(text.replace('"made": "', '"made": "\\u001b[31m'))
    refused = planned.project.run(*arguments, "--collect-only")
    assert refused.status == 4 and said in refused.screen
    assert "\x1b[31m" not in refused.screen, "a file of somebody else's does not write on the terminal"


# --- the document -----------------------------------------------------------------------------------------------------

DOCUMENT = Path(__file__).parents[2] / "docs" / "scale.md"


def test_the_page_on_scale_is_followed(planned: Planned) -> None:
    """Its figures are recomputed by tests/unit/test_scale.py."""
    followed = follow(DOCUMENT, planned.project.root, planned.project.programs())
    assert [command.split()[0] for command in followed] == ["restore-drill", "pytest"]
