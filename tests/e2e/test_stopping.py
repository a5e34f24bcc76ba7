"""Runs that are stopped or lose what they stand on: no restored data stays, reports are whole, nothing new begins."""

from __future__ import annotations

import contextlib
import gzip
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gates import STAGES, Gates, wait_for_end
from tests.support.project import CASES, Outcome, Project

_INTERRUPTED = pytest.ExitCode.INTERRUPTED
_PARALLEL = ("-n", "2")


def _check_stopped(outcome: Outcome, project: Project, begun: set[str]) -> None:
    """The run ended in order: nothing is left, the reports are whole, and nothing began after the signal."""
    assert outcome.status == _INTERRUPTED
    outcome.check_whole()
    assert outcome.evidence["verdict"] == "error"
    # Where the next one's backups lie may have been looked up before.
    assert {target.partition(".")[0] for target, _ in outcome.stages("fetch")} <= begun
    never = [target for target in project.targets if target not in begun]
    assert never
    for target in never:
        assert {outcome.blocked[f"{target}/nas/{case}"] for case in CASES} == {"interruption"}
    listed = outcome.evidence["not_run"]
    assert len(listed) == list(outcome.blocked.values()).count("interruption")
    assert f"{len(listed)} planned cases did not run" in outcome.screen
    assert not project.left


@pytest.mark.parametrize("stage", STAGES)
def test_an_interruption_in_any_stage_leaves_no_restored_data_and_whole_reports(tmp_path: Path, stage: str) -> None:
    project = Project(tmp_path / "p", targets=2, stores=("nas", "offsite") if stage == "across" else ("nas",))
    gates = Gates(project, stage)
    # Without workers the next target may have been begun ahead, while this one is judged.
    run = project.start(*(("-n", "1") if stage == "across" else ()))
    gates.reached(run)
    if stage in ("fetch", "restore", "content", "dispose"):
        assert project.left, "there is something that could be left behind"
    run.send(signal.SIGINT)
    outcome = run.end()
    _check_stopped(outcome, project, {"db-0"})
    assert outcome.drills["db-0/nas"]["scope"] == ("whole" if stage == "across" else "partial")
    if stage == "restore":
        gates.open()
        assert project.run().status == 0, "undisturbed, the same drills are green"


@pytest.mark.parametrize("stage", ["fetch", "content"])
def test_a_request_to_terminate_is_as_orderly(tmp_path: Path, stage: str) -> None:
    project = Project(tmp_path / "p", targets=2)
    gates = Gates(project, stage)
    run = project.start()
    gates.reached(run)
    run.send(signal.SIGTERM)
    _check_stopped(run.end(), project, {"db-0"})


@pytest.mark.parametrize(
    ("number", "group", "stage"),
    [
        (signal.SIGINT, False, "content"),
        (signal.SIGINT, True, "fetch"),
        (signal.SIGTERM, False, "restore"),
        (signal.SIGTERM, True, "locate"),
    ],
    ids=["INT", "INT-group", "TERM", "TERM-group"],
)
def test_workers_end_in_order_too(tmp_path: Path, number: signal.Signals, group: bool, stage: str) -> None:
    project = Project(tmp_path / "p", targets=3)
    gates = Gates(project, stage)
    run = project.start(*_PARALLEL)
    pids = {gates.reached(run, target) for target in ("db-0", "db-1")}
    run.send(number, group=group)
    outcome = run.end()
    _check_stopped(outcome, project, {"db-0", "db-1"})
    for pid in pids:
        wait_for_end(pid)


def test_an_interruption_while_collecting_restores_nothing(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    project.file(
        "drills/test_slow.py",
        "import time\nfrom pathlib import Path\n\nPath('here').touch()\nwhile Path('here').exists():\n"
        "    time.sleep(0.01)\n",
    )
    run = project.start()
    run.until((project.root / "here").exists, "it was collecting")
    run.send(signal.SIGTERM)
    outcome = run.end()
    assert outcome.status == _INTERRUPTED
    assert outcome.evidence["verdict"] == "error" and not outcome.evidence["drills"]
    assert outcome.evidence["problems"] == ["no drill was selected, and none was run"]
    assert not [path for each in project.runs() for path in (each / "facts").iterdir()]
    assert not project.left


# --- killed without a chance ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [(), _PARALLEL], ids=["alone", "parallel"])
def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path, workers: tuple[str, ...]) -> None:
    project = Project(tmp_path / "p", targets=2)
    gates = Gates(project, "restore")
    run = project.start(*workers)
    pids = {gates.reached(run, f"db-{number}") for number in range(2 if workers else 1)}
    run.kill()
    left = project.left
    assert left
    for pid in pids:
        wait_for_end(pid)
    gates.open()
    outcome = project.run()
    assert outcome.status == 0
    assert not project.left
    assert outcome.directory == project.latest


def test_the_restored_data_of_a_living_run_is_left_alone(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", targets=2)
    gates = Gates(project, "restore")
    run = project.start("-k", "db-0")
    gates.reached(run)
    held = project.left
    assert held
    (project.root / "drills" / "conftest.py").unlink()
    assert project.command("clean", "--work-dir", str(project.work)).stdout == "0 leftovers removed\n"
    assert project.left == held
    gates.open()
    assert run.end().status == 0
    assert not project.left


# --- what a run stands on goes away -----------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A directory that holds 4 MiB, and how much a file may hold where no such directory could be had."""
    place = tmp_path / "disk"
    place.mkdir()
    size = 4 << 20
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        yield place, size
        return
    try:
        yield place, 0
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _padded(size: int) -> bytes:
    """A database with that many bytes in it that compress to nothing."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table orders (id integer primary key, what blob)")
        connection.executemany("insert into orders (what) values (zeroblob(?))", [(size // 20,)] * 20)
        connection.commit()
        return connection.serialize()


def test_a_disk_that_fills_up_is_no_pass_and_costs_its_own_drill(tmp_path: Path, small_disk: tuple[Path, int]) -> None:
    place, file_size = small_disk
    project = Project(tmp_path / "p", targets=2)
    project.targets["db-0"]["limits"] = {"ratio": 100_000}
    project.targets["db-0"]["copies"]["nas"]["path"] += ".gz"
    project.put("db-0", gzip.compress(_padded(8 << 20), mtime=0), ending=".db.gz")
    project.write()
    outcome = project.run(f"--work-dir={place}", file_size=file_size)
    assert outcome.status == 75
    assert outcome.causes == {"db-0/nas/fetched": "error"}
    told = outcome.told("test_snapshot_is_fetched[critical/db-0/nas]")
    assert "the disk is too small for this drill: no space is left" in told
    assert outcome.drills["db-1/nas"]["verdict"] == "passed"
    assert not list(place.glob("*/*"))
    outcome.check_whole()
    twin = project.run()
    assert twin.status == 0


def test_a_disk_without_room_is_noticed_before_it_is_used(tmp_path: Path, small_disk: tuple[Path, int]) -> None:
    place, file_size = small_disk
    project = Project(tmp_path / "p", targets=2)
    project.put("db-0", _padded(6 << 20))
    outcome = project.run(f"--work-dir={place}", file_size=file_size)
    assert outcome.status == 75
    assert outcome.causes == {"db-0/nas/fetched": "error"}
    told = outcome.told("test_snapshot_is_fetched[critical/db-0/nas]")
    assert "the disk is too small for this drill" in told
    assert file_size or "what it unpacks to needs about" in told
    assert outcome.drills["db-1/nas"]["verdict"] == "passed"
    assert project.run().status == 0


@pytest.mark.parametrize(
    ("stage", "cause"), [("locate", "located"), ("content", "")], ids=["before-it-is-read", "after-it-was-read"]
)
def test_a_store_that_vanishes_costs_what_it_was_needed_for(tmp_path: Path, stage: str, cause: str) -> None:
    project = Project(tmp_path / "p", targets=2)
    gates = Gates(project, stage)
    run = project.start()
    gates.reached(run)
    (project.root / "stores").rename(project.root / "elsewhere")
    gates.open()
    outcome = run.end()
    assert outcome.status == 75
    # The next one's backup may have been found while this one was measured: on a machine with time and a core to spare.
    bearer = "fetched" if not cause and "db-1/nas/fetched" in outcome.causes else "located"
    gone = {f"db-1/nas/{bearer}": "error"}
    assert outcome.causes == ({f"db-0/nas/{cause}": "error", **gone} if cause else gone)
    assert not project.left
    outcome.check_whole()
