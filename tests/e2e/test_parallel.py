"""Drills on workers: each copy restored once, the same verdicts, and a worker that dies costs its own drill."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.support.project import CASES, Outcome, Project, Started

_STORES = ("nas", "offsite")
_GATE = '''
import os, time
from pathlib import Path

import pytest


@pytest.mark.target({targets})
def test_gate(restored, drill):
    """Says which process it runs in, and waits until somebody opens."""
    assert restored.row_counts() == {{"orders": 20}}
    here = Path("gate") / drill.target.name
    here.mkdir(parents=True)
    (here / ".pid").write_text(str(os.getpid()))
    (here / ".pid").rename(here / "pid")
    while not (here / "open").exists():
        time.sleep(0.01)
'''


def _estate(root: Path) -> Project:
    """Three targets of two copies, one of them bad in its second copy, and cases across the copies."""
    project = Project(root, targets=3, stores=_STORES)
    for name, target in project.targets.items():
        target["three_two_one"] = name != "db-0"
    project.break_restore("db-1", store="offsite")
    project.write()
    return project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return _estate(tmp_path_factory.mktemp("parallel") / "p")


@pytest.fixture(scope="module")
def alone(project: Project) -> Outcome:
    """The run without workers."""
    outcome = project.run()
    assert outcome.status == 1
    assert outcome.causes["db-1/offsite/restores"] == "failed"
    assert outcome.verdicts["db-0//agree"] == "passed"
    return outcome


@pytest.mark.parametrize(
    "distribution",
    [
        ("-n", "4"),
        ("-n", "2", "--dist", "load"),
        ("-n", "2", "--dist", "loadscope"),
        ("-n", "2", "--dist", "loadfile"),
        ("-n", "2", "--dist", "loadgroup"),
        ("-n", "2", "--dist", "worksteal"),
        ("-n", "2", "--dist", "each"),
    ],
    ids=lambda each: "-".join(each).replace("--", ""),
)
def test_workers_restore_each_copy_once_and_conclude_the_same(
    project: Project, alone: Outcome, distribution: tuple[str, ...]
) -> None:
    outcome = project.run(*distribution)
    assert outcome.status == alone.status
    assert outcome.verdicts == alone.verdicts
    assert outcome.blocked == alone.blocked
    assert set(outcome.testcases) == set(alone.testcases)
    assert outcome.stages("restore") == alone.stages("restore")
    assert len(outcome.stages("locate")) == len(set(outcome.stages("locate"))) == 6
    assert outcome.evidence["run"]["concurrency"] == int(distribution[1])
    assert not project.left
    outcome.check_whole()


def test_the_drills_of_parallel_runs_are_as_whole(project: Project, alone: Outcome) -> None:
    parallel = project.run("-n", "2", "-k", "db-2")
    assert parallel.drills.keys() == {"db-2/nas", "db-2/offsite"}
    for key, drill in parallel.drills.items():
        assert drill["scope"] == alone.drills[key]["scope"] == "whole"
        assert [line["stage"] for line in drill["stages"] if "stage" in line] == [
            line["stage"] for line in alone.drills[key]["stages"] if "stage" in line
        ]


# --- workers that die -------------------------------------------------------------------------------------------------


class Gates:
    """Cases of the user's own that wait in their drill, so that a test knows where a worker is."""

    def __init__(self, project: Project, *targets: str) -> None:
        self._project = project
        project.file("drills/test_gate.py", _GATE.format(targets=", ".join(map(repr, targets))))

    def reached(self, run: Started, target: str) -> int:
        """Wait until a drill is at its gate; the number of the process that runs it."""
        path = self._project.root / "gate" / target / "pid"
        run.until(path.exists, f"{target} was at its gate")
        return int(path.read_text())

    def open(self, target: str) -> None:
        """Let a drill go on."""
        (self._project.root / "gate" / target / "open").touch()


def _lost(target: str, died_in: str) -> Mapping[str, str]:
    """What a drill whose worker died says of the cases that were to come."""
    return {f"{target}/nas/{case}": "worker" for case in CASES[CASES.index(died_in) :]}


@pytest.fixture
def gated(tmp_path: Path) -> tuple[Project, Gates]:
    project = Project(tmp_path / "p", targets=3)
    return project, Gates(project, "db-0", "db-1")


def test_a_killed_worker_costs_its_own_drill(gated: tuple[Project, Gates]) -> None:
    project, gates = gated
    run = project.start("-n", "2")
    pids = {target: gates.reached(run, target) for target in ("db-0", "db-1")}
    assert len(set(pids.values())) == 2
    os.kill(pids["db-0"], signal.SIGKILL)
    gates.open("db-1")
    outcome = run.end()
    assert outcome.status == 75
    assert outcome.causes == {"db-0/nas/own/test_gate": "error"}
    assert "the worker died here" in outcome.told("test_gate[critical/db-0/nas]")
    assert outcome.blocked == _lost("db-0", "disposed")
    assert set(outcome.verdicts) == {
        *(f"db-{number}/nas/{case}" for number in range(3) for case in CASES),
        "db-0/nas/own/test_gate",
        "db-1/nas/own/test_gate",
    }
    assert outcome.drills["db-0/nas"]["scope"] == "partial"
    assert outcome.drills["db-1/nas"]["verdict"] == outcome.drills["db-2/nas"]["verdict"] == "passed"
    assert len(outcome.stages("locate")) == 3, "nothing is tried again"
    assert not project.left
    outcome.check_whole()


def test_two_workers_killed_at_once_cost_two_drills(gated: tuple[Project, Gates]) -> None:
    project, gates = gated
    run = project.start("-n", "2")
    for pid in {gates.reached(run, target) for target in ("db-0", "db-1")}:
        os.kill(pid, signal.SIGKILL)
    outcome = run.end()
    assert outcome.status == 75
    assert outcome.causes == {f"db-{number}/nas/own/test_gate": "error" for number in (0, 1)}
    assert outcome.drills["db-2/nas"]["verdict"] == "passed"
    assert not project.left
    outcome.check_whole()


def test_without_replacements_what_cannot_run_is_listed(gated: tuple[Project, Gates]) -> None:
    project, gates = gated
    run = project.start("-n", "1", "--max-worker-restart=0")
    os.kill(gates.reached(run, "db-0"), signal.SIGKILL)
    outcome = run.end()
    assert outcome.status == 75
    assert outcome.causes == {"db-0/nas/own/test_gate": "error"}
    later = {f"db-{number}/nas/{case}": "interruption" for number in (1, 2) for case in CASES}
    assert outcome.blocked == {**_lost("db-0", "disposed"), **later, "db-1/nas/own/test_gate": "interruption"}
    assert len(outcome.evidence["not_run"]) == 2 * len(CASES) + 1
    assert not project.left
    outcome.check_whole()


def test_a_worker_that_dies_by_a_case_is_replaced_and_the_rest_drilled(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", targets=2)
    crash = project.file(
        "drills/test_crash.py",
        "import os\n\nimport pytest\n\n\n@pytest.mark.target('db-0')\ndef test_crash(restored):\n    os._exit(7)\n",
    )
    outcome = project.run("-n", "1")
    assert (outcome.status, outcome.causes) == (75, {"db-0/nas/own/test_crash": "error"})
    assert outcome.drills["db-1/nas"]["verdict"] == "passed"
    assert not project.left
    outcome.check_whole()
    crash.write_text(crash.read_text().replace("os._exit(7)", "assert restored.row_counts()"))
    assert project.run("-n", "1").status == 0
