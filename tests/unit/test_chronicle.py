"""Which runs are in the ledger: one's own after those that crashed, each once, whoever finds them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.evidence import document, validate
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill.chronicle import Chronicle
from restore_drill.errors import CouldNotVerify
from restore_drill.evidence import open_runs
from restore_drill.run import Run

TARGET = planned_target(planned_copy())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run("this-run", tmp_path / "reports" / "this-run", plan_of(TARGET, state=tmp_path / "state"))
    run.history.initialise()
    return run


@pytest.fixture
def dead(run: Run) -> dict[str, Any]:
    """The marker of a run that was killed."""
    code = "from restore_drill.evidence.open_runs import this_process; import json; print(json.dumps(this_process()))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    marker = open_runs.describe(run, TARGET.cases(), ["drills"], 0.0)
    marker |= {"run": "killed", "process": json.loads(told.stdout)}
    open_runs.begin(run.history.state, marker)
    return marker


def ledger(run: Run) -> list[tuple[str, str]]:
    entries = list(Chronicle.of(run).ledger.entries())
    for entry in entries:
        validate(entry.evidence)
    return [(entry.run, entry.evidence["run"]["ended"]) for entry in entries]


def markers(run: Run) -> list[str]:
    return run.history.state.names("runs")


def test_a_run_is_on_record_when_its_marker_goes(run: Run) -> None:
    chronicle = Chronicle.of(run)
    chronicle.begin(run, TARGET.cases(), ["drills"], 0.0)
    assert markers(run) == ["runs/this-run.json"]
    chronicle.end(document(run="this-run"))
    assert (markers(run), ledger(run), chronicle.problems) == ([], [("this-run", "complete")], [])
    assert chronicle.described().startswith("ledger: entry 1, UNSIGNED")


def test_a_run_that_crashed_comes_before(run: Run, dead: dict[str, Any]) -> None:
    chronicle = Chronicle.of(run)
    chronicle.end(document(run="this-run"))
    assert ledger(run) == [("killed", "crashed"), ("this-run", "complete")] and markers(run) == []
    assert [each["run"]["id"] for each in chronicle.on_behalf] == ["killed"]
    assert chronicle.on_behalf[0]["run"]["recorded_by"] == "this-run"


def test_one_that_died_after_its_entry_is_not_told_of_again(run: Run, dead: dict[str, Any]) -> None:
    chronicle = Chronicle.of(run)
    chronicle.ledger.append("run", document(run="killed"))
    for number in range(40):
        chronicle.ledger.append("run", document(run=f"later-{number}", targets=["x"]))
    assert chronicle.settle("status") == [] and markers(run) == []
    assert [each for each in ledger(run) if each[0] == "killed"] == [("killed", "complete")]


def test_a_command_does_it_too_and_once(run: Run, dead: dict[str, Any]) -> None:
    by_command = Chronicle.of_plan(run.plan)
    assert [each["run"]["recorded_by"] for each in by_command.settle("status")] == ["status"]
    assert Chronicle.of_plan(run.plan).settle("status") == []
    assert ledger(run) == [("killed", "crashed")]


def test_one_of_ones_own_process_is_left_alone(run: Run) -> None:
    Chronicle.of(run).begin(run, TARGET.cases(), [], 0.0)
    assert Chronicle.of_plan(run.plan).settle("status") == [] and len(markers(run)) == 1


def test_what_cannot_be_recorded_is_noted_and_costs_nothing_else(run: Run, tmp_path: Path) -> None:
    (tmp_path / "state" / "ledger").write_text("in the way")
    chronicle = Chronicle.of(run)
    chronicle.begin(run, TARGET.cases(), [], 0.0)
    chronicle.end(document(run="this-run"))
    (problem,) = chronicle.problems
    assert "the ledger cannot be" in problem and chronicle.entry is None
    assert chronicle.described() == "ledger: NO ENTRY, this run is not on record"
    assert len(markers(run)) == 1, "it can still be told of"


@pytest.mark.parametrize("broken", ["{", "lacking", "nested"])
def test_a_damaged_marker_of_another_run_does_not_keep_this_one_off_the_record(
    run: Run, dead: dict[str, Any], broken: str
) -> None:
    lacking = {"version": 1, "run": "killed", "process": dead["process"], "started": dead["started"]}
    raw = {"{": "{", "lacking": json.dumps(lacking), "nested": json.dumps({**dead, "population": [1]})}[broken]
    run.history.state.update("runs/killed.json", lambda _: raw.encode())
    chronicle = Chronicle.of(run)
    chronicle.end(document(run="this-run"))
    assert ledger(run) == [("this-run", "complete")]
    assert len(chronicle.problems) == 1 and len(markers(run)) == 1, "told, and still there to be looked at"


def test_a_command_that_cannot_record_says_so_and_leaves_it(run: Run, dead: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "state" / "ledger").write_text("in the way")
    with pytest.raises(CouldNotVerify):
        Chronicle.of_plan(run.plan).settle("status")
    assert len(markers(run)) == 1


def test_a_state_that_was_never_set_up_holds_nothing(tmp_path: Path) -> None:
    run = Run("this-run", tmp_path / "reports", plan_of(TARGET, state=tmp_path / "state"))
    chronicle = Chronicle.of(run)
    chronicle.begin(run, TARGET.cases(), [], 0.0)
    chronicle.end(document(run="this-run"))
    assert (chronicle.problems, chronicle.settle("status"), (tmp_path / "state").exists()) == ([], [], False)
    assert "never initialised" in chronicle.described()
