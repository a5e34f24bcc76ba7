"""Drills done ahead, in a process of their own: as good as those done here, and no verdict is lost when it dies."""

from __future__ import annotations

import os
import signal
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from tests.support.gates import Gates, wait_for_end
from tests.support.project import CASES, Outcome, Project

from restore_drill.evidence.record import read

_OWN = """
import pytest


@pytest.mark.target("db-1")
def test_own(restored):
    assert restored.row_counts()
"""


def _span(outcome: Outcome, target: str) -> tuple[datetime, datetime]:
    """When a drill began to restore something, and when that was gone."""
    assert outcome.directory is not None
    lines = read(outcome.directory)[target, "nas"]
    stages = {line["stage"]: line for line in lines if "facts" in line and "stage" in line}
    begun, ended = (datetime.fromisoformat(stages[name]["started"]) for name in ("fetch", "dispose"))
    return begun, ended


def _told(outcome: Outcome) -> dict[str, str]:
    return dict(outcome.verdicts)


def test_it_is_another_process_that_restores(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", targets=2)
    gates = Gates(project, "restore")
    run = project.start()
    elsewhere = gates.reached(run)
    assert elsewhere != run.process.pid
    # A run that may end at any failure drills nothing before it is asked for, and says the same.
    plain = Project(tmp_path / "q", targets=2)
    here = plain.run("--maxfail=1")
    gates.open()
    ahead = run.end()
    assert ahead.status == 0 and set(ahead.verdicts.values()) == {"passed"}
    ahead.check_whole()
    wait_for_end(elsewhere)
    assert _told(here) == _told(ahead)
    # The first case waited as long as that other run took; the one that was held at the gate tells it, and no other.
    told = {name: float(case.get("time")) for name, case in ahead.testcases.items() if "/db-0/" in name}
    held = told.pop("test_snapshot_restores[critical/db-0/nas]")
    assert sum(told.values()) < held
    assert not project.left


def test_what_needs_the_live_system_is_drilled_here_and_alone(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", targets=4)
    project.file("drills/test_own.py", _OWN)
    outcome = project.run()
    assert outcome.status == 0
    assert outcome.verdicts["db-1/nas/own/test_own"] == "passed"
    spans = [_span(outcome, f"db-{number}") for number in range(4)]
    assert all(ended <= begun for (_, ended), (begun, _) in pairwise(spans)), "one drill at a time"


@pytest.mark.parametrize("stage", ["fetch", "content"])
def test_its_end_costs_its_own_drill(tmp_path: Path, stage: str) -> None:
    project = Project(tmp_path / "p", targets=3)
    gates = Gates(project, stage)
    run = project.start()
    first = gates.reached(run)
    os.kill(first, signal.SIGKILL)
    second = gates.reached(run, "db-1")
    assert second not in (first, run.process.pid)
    gates.open()
    outcome = run.end()
    assert outcome.status == 75
    assert outcome.causes == {"db-0/nas/located": "error"}
    assert "the process that drilled it was ended by SIGKILL" in outcome.told(
        "test_snapshot_is_located[critical/db-0/nas]"
    )
    assert {case: outcome.verdicts[f"db-1/nas/{case}"] for case in CASES} == dict.fromkeys(CASES, "passed")
    assert outcome.drills["db-2/nas"]["verdict"] == "passed"
    looked = [line for line in outcome.drills["db-1/nas"]["stages"] if line.get("stage") == "locate"]
    assert len(looked) == 1, "what the one that died had looked up does not count"
    assert not project.left
    outcome.check_whole()


def test_it_ends_with_a_run_that_is_killed(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", targets=2)
    gates = Gates(project, "fetch")
    run = project.start()
    elsewhere = gates.reached(run)
    run.process.kill()
    run.process.wait()
    wait_for_end(elsewhere)
    gates.open()
    assert project.run().status == 0
    assert not project.left
