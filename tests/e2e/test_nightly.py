"""ci/nightly: what it drills, what its status says, how it ends. Python is a stand-in that tells what it was asked."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.project import until

NIGHTLY = Path(__file__).parents[2] / "ci" / "nightly"
PYTHON = r"""#!/bin/bash
case "$1 $2" in
  "-c "*) exec "$REAL" "$@" ;;
  "-m restore_drill")
    echo "$2 $3 $4" >>"$LOG"
    [ -z "$4" ] || { cat "$LEDGER"; exit "${STANDING:-0}"; }
    echo 'How all copies stand.'
    exit "${STANDING:-0}" ;;
  "-m pytest")
    trap 'echo ended in order; exit 2' TERM
    shift 2
    [ -z "$KILLED" ] || kill -KILL $$
    printf 'pytest' >>"$LOG"
    printf ' <%s>' "$@" >>"$LOG"
    echo >>"$LOG"
    [ -z "$HOLD" ] || { : >"$HOLD"; while :; do sleep 0.02; done; }
    echo 'What was drilled.'
    exit "${DRILLED:-0}" ;;
esac
"""


class Machine:
    """A project, and a Python that says what it is told to."""

    def __init__(self, directory: Path) -> None:
        self.log, self.ledger, self.project = directory / "log", directory / "ledger.json", directory / "a project"
        self.project.mkdir()
        self.log.touch()
        python = directory / "python"
        python.write_text(PYTHON)
        python.chmod(0o755)
        self.variables = {
            "PATH": os.environ["PATH"], "REAL": sys.executable, "LOG": str(self.log), "LEDGER": str(self.ledger),
            "RESTORE_DRILL_PROJECT": str(self.project), "RESTORE_DRILL_PYTHON": str(python),
        }  # fmt: skip
        self.copies()

    def copies(self, *copies: tuple[str, str, float], problems: Sequence[str] = ()) -> None:
        """What the ledger knows: tier, state, and in how many hours a copy is due."""
        now = datetime.now(UTC)
        found = [
            {"tier": tier, "state": state, "due_by": (now + timedelta(hours=hours)).isoformat()}
            for tier, state, hours in copies
        ]
        self.ledger.write_text(json.dumps({"now": now.isoformat(), "copies": found, "problems": [*problems]}))

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.variables, **variables}
        return subprocess.run([NIGHTLY, *arguments], env=environment, capture_output=True, text=True, timeout=300)

    @property
    def drilled(self) -> list[str]:
        """What pytest was given, run by run."""
        return [line[7:] for line in self.log.read_text().splitlines() if line.startswith("pytest")]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("copies", "drilled"),
    [
        ([("critical", "good", 0.2), ("important", "good", 100)], "critical"),
        ([("critical", "good", -30), ("important", "excepted", 19)], "critical or important"),
        ([("critical", "good", 23), ("archival", "never drilled", 700)], "archival"),
        ([("critical", "good", 23), ("important", "failing", 100), ("important", "good", 100)], "important"),
        ([("critical", "unverified", 23)], "critical"),
    ],
)
def test_what_is_due_is_drilled(machine: Machine, copies: list[tuple[str, str, float]], drilled: str) -> None:
    machine.copies(*copies)
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert machine.drilled == [f"<drills/> <-m> <{drilled}>"]
    assert machine.log.read_text().splitlines()[-1] == "restore_drill status "


def test_nothing_is_due_and_the_standing_decides(machine: Machine) -> None:
    machine.copies(("critical", "good", 23))
    assert machine.run().returncode == 0
    assert machine.run(STANDING="75").returncode == 75
    assert machine.drilled == []
    assert "nothing is due" in machine.run().stderr
    machine.copies(("critical", "good", 23))
    machine.run(RESTORE_DRILL_LEAD="24")
    assert machine.drilled == ["<drills/> <-m> <critical>"]


@pytest.mark.parametrize("ledger", ["", "{}", "problems"])
def test_everything_is_drilled_where_the_ledger_does_not_say(machine: Machine, ledger: str) -> None:
    machine.ledger.write_text(ledger)
    if ledger == "problems":
        machine.copies(("critical", "good", 23), problems=["an entry does not follow the one before it"])
    assert machine.run().returncode == 0
    assert machine.drilled == ["<drills/>"]


def test_what_is_asked_for_is_drilled(machine: Machine) -> None:
    assert machine.run("critical", "important", "--", "-n", "4", "--shard", "1/2").returncode == 0
    assert machine.drilled == ["<drills/> <-m> <critical or important> <-n> <4> <--shard> <1/2>"]
    assert machine.run("--frobnicate").returncode == 64
    assert len(machine.drilled) == 1


@pytest.mark.parametrize(
    ("drilled", "standing", "status"),
    [(0, 0, 0), (1, 0, 1), (0, 1, 1), (75, 0, 75), (0, 75, 75), (75, 1, 1), (1, 75, 1), (5, 0, 5), (4, 75, 4)],
)
def test_the_status_is_the_worse_one(machine: Machine, drilled: int, standing: int, status: int) -> None:
    done = machine.run("critical", DRILLED=str(drilled), STANDING=str(standing))
    assert done.returncode == status
    assert "How all copies stand." in done.stdout


def test_a_quiet_night_is_quiet_and_a_bad_one_is_not(machine: Machine) -> None:
    good = machine.run("-q", "critical")
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
    bad = machine.run("-q", "critical", DRILLED="75")
    assert bad.returncode == 75
    assert bad.stdout == "What was drilled.\nHow all copies stand.\n"


def test_a_machine_on_which_nothing_can_begin_is_no_failed_backup(machine: Machine, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    for variables in ({"RESTORE_DRILL_PROJECT": nowhere}, {"TMPDIR": nowhere}):
        done = machine.run("-q", "critical", **variables)
        assert (done.returncode, machine.drilled) == (75, [])
        assert done.stderr.splitlines()[-1].startswith("nightly: ")
    assert machine.run("-q", "critical", TMPDIR=str(tmp_path)).returncode == 0


def test_a_deadline_is_no_pass(machine: Machine, tmp_path: Path) -> None:
    done = machine.run("critical", RESTORE_DRILL_DEADLINE="1", HOLD=str(tmp_path / "hold"))
    assert done.returncode == 75
    assert "ended at its deadline, 1\n" in done.stderr
    assert "ended in order" in done.stdout


def test_what_was_killed_is_no_pass_and_was_not_slow(machine: Machine) -> None:
    done = machine.run("critical", KILLED="1")
    assert done.returncode == 75
    assert "killed: memory ran out" in done.stderr
    assert "ended at its deadline" not in done.stderr


def test_a_second_one_does_not_begin(machine: Machine, require_program: Callable[[str], str]) -> None:
    require_program("flock")
    held = os.open(machine.project, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    done = machine.run("critical")
    os.close(held)
    assert (done.returncode, machine.drilled) == (75, [])
    assert machine.run("critical").returncode == 0


def test_a_signal_is_passed_on_and_waited_for(machine: Machine, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    process: subprocess.Popen[Any] = subprocess.Popen(
        [NIGHTLY, "critical"],
        env={**machine.variables, "HOLD": str(hold)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    until(hold.exists, "the drill began")
    process.terminate()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said.index("ended in order") < said.index("nightly: stopped")
    assert "How all copies stand." not in said
