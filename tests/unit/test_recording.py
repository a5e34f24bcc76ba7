"""The end of a run without pytest: what one step cannot do costs neither a verdict nor another step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.evidence import validate
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill.errors import UsageProblem
from restore_drill.model import Verdict
from restore_drill.recording import Recording
from restore_drill.reporting import ctrf, html
from restore_drill.results import CaseResult
from restore_drill.run import Run

TARGET = planned_target(planned_copy())
FILES = {"evidence.json", "report.html", "summary.md", "metrics.prom", "ctrf.json"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    directory = tmp_path / "reports" / "20261123T020000Z-aaaaaa"
    (directory / "facts").mkdir(parents=True)
    run = Run(directory.name, directory, plan_of(TARGET, state=tmp_path / "state"))
    run.history.initialise()
    return run


def recorded(run: Run, **verdicts: Verdict) -> Recording:
    """A run of one target, put on record."""
    recording = Recording(run, ["drills"], 0.0)
    results = {case: CaseResult(case, verdicts.get(case.case, Verdict.PASSED)) for case in TARGET.cases()}
    recording.begin(results)
    recording.conclude(
        results, {}, planned=list(results), not_run=[], incomplete=[], ended="complete", nothing_to_do=False
    )
    recording.finish(junit_could_be_written=True)
    return recording


def written(run: Run) -> set[str]:
    return {path.name for path in run.directory.iterdir() if path.is_file()}


def test_all_is_written_and_the_ledger_holds_what_the_file_says(run: Run) -> None:
    recording = recorded(run, rpo=Verdict.FAILED)
    evidence = json.loads((run.directory / "evidence.json").read_bytes())
    validate(evidence)
    (entry,) = recording.chronicle.ledger.entries()
    assert entry.evidence == evidence == recording.evidence and evidence["verdict"] == "failed"
    assert (written(run), recording.problems, len(recording.told)) == (FILES, [], 1)
    last = run.history.target("orders-db").copy("nas").last_failed
    assert last is not None and (last["run"], last["verdict"]) == (run.id, "failed")


def test_a_report_that_cannot_be_made_costs_no_other(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> str:
        raise KeyError("a defect")

    def refuses(*_: Any, **__: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(html, "render", broken)
    monkeypatch.setattr(ctrf, "render", refuses)
    recording = recorded(run)
    assert written(run) == FILES - {"report.html", "ctrf.json"}
    defect, full = recording.problems
    assert "report.html could not be written: restore-drill itself failed with KeyError" in defect
    assert "ctrf.json: No space left on device. Make room there" in full
    assert recording.chronicle.entry is not None and recording.evidence["verdict"] == "passed"


def test_a_run_that_is_refused_is_told_with_its_entry(run: Run) -> None:
    recording = Recording(run, ["drills"], 0.0)
    told = recording.refuse(UsageProblem("it cannot begin", looked_at="here", remedy="Do this."))
    assert told.startswith("it cannot begin (here). Do this. (ledger: entry 1, UNSIGNED")
    (entry,) = recording.chronicle.ledger.entries()
    validate(entry.evidence)
    assert (entry.evidence["run"]["ended"], entry.evidence["drills"]) == ("refused", [])
