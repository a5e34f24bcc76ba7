"""Three nights in three fresh checkouts, as pipelines have them: only the state is carried on, and history is one.

The second night's backup is damaged, and the third night's is good again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.contents import shop
from tests.support.estate import BUCKET, Outcome, Project
from tests.support.servers import KEYS, S3Server

#: The first test of a worker waits for all runs of its fixture.
pytestmark = pytest.mark.timeout(1200)
FIRST = datetime(2026, 3, 2, 2, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
#: Everything that a run does is done at another time.
_CLOCK = """
import time_machine

time_machine.travel(float(os.environ["NIGHT"]), tick=True).start()
"""
_COMMAND = """
import os, sys, time_machine

time_machine.travel(float(os.environ["NIGHT"]), tick=True).start()
from restore_drill.cli import main

sys.exit(main(sys.argv[1:]))
"""


@dataclass
class Nights:
    """One estate that is drilled from another checkout every night.

    Attributes:
        carry: Hands the state of the night before over to a project, as the pipeline does it.
    """

    root: Path
    carry: Callable[[Project], None]
    projects: list[Project] = field(default_factory=list)
    runs: list[Outcome] = field(default_factory=list)

    def back_up(self, night: int, *, damaged: bool = False) -> None:
        when = FIRST + night * DAY
        path = self.root / "nas" / "orders" / f"{when:%Y%m%d_%H%M%S}.db"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(shop(when, orders=300 + night))
        digest = hashlib.sha256(b"" if damaged else path.read_bytes()).hexdigest()
        path.with_name(f"{path.name}.sha256").write_text(f"{digest}  {path.name}\n")
        for each in (path, path.with_name(f"{path.name}.sha256")):
            os.utime(each, (when.timestamp() + 5,) * 2)

    def drill(self, night: int) -> Outcome:
        project = self._checkout(night)
        self.runs.append(project.drill())
        return self.runs[-1]

    def _checkout(self, night: int) -> Project:
        """A project in a directory, and with a home, that never were before."""
        project = Project(self.root / f"checkout-{night}", FIRST)
        project.conftest(_CLOCK)
        home = self.root / f"home-{night}"
        home.mkdir()
        project.environment = {"HOME": str(home)}
        project.catalogue["stores"]["nas"]["url"] = f"file://{self.root}/nas"
        project.catalogue["tiers"] = {"nightly": {"rpo": "1d", "rto": "15m", "drill_every": "1d"}}
        project.targets["orders-db"] = {
            "tier": "nightly", "engine": "sqlite", "three_two_one": False,
            "copies": {"nas": {"path": "orders/{time:%Y%m%d_%H%M%S}.db"}},
            "expect": {"rows": {"orders": {"max_drop": "5%"}}},
        }  # fmt: skip
        self.set_clock(project, FIRST + night * DAY + HOUR)
        self.carry(project)
        self.projects.append(project)
        project.write()
        if night == 0:
            assert self.command("baseline", "init").returncode == 0
        return project

    @staticmethod
    def set_clock(project: Project, at: datetime) -> None:
        project.environment["NIGHT"] = str(at.timestamp())

    def command(self, *arguments: str, at: datetime | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``restore-drill`` in the last checkout."""
        project = self.projects[-1]
        if at:
            self.set_clock(project, at)
        return subprocess.run(
            [sys.executable, "-c", _COMMAND, *arguments], cwd=project.root, env=project._environment(),
            capture_output=True, text=True,
        )  # fmt: skip

    def status(self, at: datetime) -> tuple[int, dict[str, Any]]:
        done = self.command("status", "--json", at=at)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


def in_a_directory(root: Path) -> Callable[[Project], None]:
    """The state is a directory that a cache of the pipeline brings back."""

    def carry(project: Project) -> None:
        before = sorted(root.glob("checkout-*/state"))
        if before:
            shutil.copytree(before[-1], project.root / "state")
        else:
            (project.root / "state").mkdir()

    return carry


def in_a_bucket(server: S3Server) -> Callable[[Project], None]:
    """The state is a prefix of a bucket that every night can reach."""

    def carry(project: Project) -> None:
        keys = {"access_key_id": project.secret("s3-id", KEYS["admin"][0])}
        keys["secret_access_key"] = project.secret("s3-key", KEYS["admin"][1])
        project.catalogue["state"] = {
            "url": f"s3://{BUCKET}/three-nights", "endpoint": server.endpoint, "region": "us-east-1",
            "path_style": True, "credentials": keys,
        }  # fmt: skip
        (project.root / "state").mkdir()  # never used: it is set up already, as far as the project can tell

    return carry


@pytest.fixture(scope="module", params=["directory", "bucket"])
def nights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    root = tmp_path_factory.mktemp(request.param)
    carry = in_a_directory(root) if request.param == "directory" else in_a_bucket(request.getfixturevalue("cloud"))
    found = Nights(root, carry)
    for night in range(3):
        found.back_up(night, damaged=night == 1)
        found.drill(night)
    return found


def test_three_fresh_checkouts_have_one_history(nights: Nights) -> None:
    assert [run.status for run in nights.runs] == [0, 1, 0], nights.runs[-1].screen
    first, second, third = (run.evidence["run"]["id"] for run in nights.runs)
    drill = nights.runs[2].drills["orders-db/nas"]
    assert drill["retest_of"]["run"] == second
    assert "retest_of" not in nights.runs[1].drills["orders-db/nas"]
    structure = nights.runs[2].cases["orders-db/nas/structure"].record
    assert structure["expected"] == f"as in {first}"  # the night before was no baseline
    verified = nights.command("ledger", "verify", at=FIRST + 2 * DAY + 2 * HOUR)
    assert "3 entries, 1 to 3: 3 runs" in verified.stdout
    assert verified.returncode == 0, verified.stdout

    status, found = nights.status(FIRST + 2 * DAY + 2 * HOUR)
    (copy,) = found["copies"]
    assert (status, copy["state"], copy["overdue"]) == (0, "good", False)
    assert [(each["run"], each["verdict"]) for each in copy["recent"]] == [
        (first, "passed"), (second, "failed"), (third, "passed")
    ]  # fmt: skip
    assert [each["rows"] for each in copy["recent"]][::2] != [None, None]
    assert all(each["rto_seconds"] > 0 for each in copy["recent"][::2])
    period = found["period"]
    assert (period["due"], period["ran"], period["failed"], period["missed"]) == (2, 1, 1, 0)
    assert period["not_passed"][0]["run"] == second
    assert copy["last_good"]["run"] == third


@pytest.mark.parametrize("nights", ["directory"], indirect=True)
def test_a_night_that_did_not_take_place_is_missed(nights: Nights) -> None:
    status, found = nights.status(FIRST + 4 * DAY + 2 * HOUR)
    (copy,) = found["copies"]
    assert (status, copy["overdue"]) == (1, True)
    assert found["verdict"] == "1 of 1 copies is overdue (orders-db/nas)."
    assert found["period"]["due"] == 3
