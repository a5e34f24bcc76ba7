"""Twenty servers' backups at once: each has its own verdict, none meets another, and nothing of them stays anywhere."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.databases import Backup, backups, custom_dumps, declare, expected
from tests.support.gates import Gates
from tests.support.leftovers import EngineView, Processes, watched
from tests.support.project import Outcome, Project, Started, until

from restore_drill.evidence.record import read

_PROGRAMS = (
    "initdb", "postgres", "psql", "pg_restore", "pg_dump", "pg_amcheck", "mariadbd", "mariadb", "redis-server",
)  # fmt: skip
_IN_DIRECTORIES = (
    "plain-good", "plain-orphans", "custom-good", "custom-cut", "mariadb-good", "mariadb-cut", "redis-good",
    "redis-staging",
)  # fmt: skip
#: Seconds that a run over all of them may take; never waited for when all is well.
_LONG = 300


@dataclass(frozen=True)
class Estate:
    """A project, and what its drills must say."""

    project: Project
    made: dict[str, Backup]
    temporary: Path

    def check_nothing_left(self, seen: Processes | None = None) -> None:
        """No file where drills work, none among temporary ones, no process that any of its processes started."""
        own = [path.name for path in self.temporary.iterdir() if not path.name.startswith("pytest-of-")]
        assert (self.project.left, own) == ([], [])
        if seen:
            until(lambda: not seen.alive(), f"the end of {len(seen.family)} processes")


@pytest.fixture(scope="module")
def custom(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> dict[str, bytes]:
    for program in _PROGRAMS:
        require_program(program)
    return custom_dumps(tmp_path_factory.mktemp("source"))


def _estate(root: Path, made: dict[str, Backup], sandbox: Callable[[Backup], Any]) -> Estate:
    project = Project(root / "project", list(made))
    root.chmod(0o711)
    project.work.chmod(0o711)
    temporary = root / "temporary"
    temporary.mkdir(mode=0o711)
    project.environment["TMPDIR"] = str(temporary)
    declare(project, made, sandbox)
    return Estate(project, made, temporary)


@pytest.fixture(scope="module")
def in_containers(
    tmp_path_factory: pytest.TempPathFactory, custom: dict[str, bytes], stand_in: Callable[[str], str]
) -> Estate:
    return _estate(
        tmp_path_factory.mktemp("many"), backups(custom),
        lambda each: {"kind": "container", "image": stand_in(each.image), "pull": "never"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def in_directories(tmp_path_factory: pytest.TempPathFactory, custom: dict[str, bytes]) -> Estate:
    made = {name: each for name, each in backups(custom).items() if name in _IN_DIRECTORIES}
    assert len(made) == len(_IN_DIRECTORIES)
    return _estate(tmp_path_factory.mktemp("some"), made, lambda each: "directory")


@pytest.fixture
def engine(in_containers: Estate, require_engine: Any) -> EngineView:
    return EngineView(require_engine, in_containers.project)


def _check(estate: Estate, outcome: Outcome) -> None:
    assert outcome.causes == expected(estate.made), outcome.screen
    assert outcome.status == 1
    assert {drill["target"] for drill in outcome.evidence["drills"]} == set(estate.made)
    outcome.check_whole()


def test_twenty_in_containers_have_their_own_verdicts_and_leave_nothing(
    in_containers: Estate, engine: EngineView
) -> None:
    run = in_containers.project.start("-n", "4")
    with watched(run.process.pid) as seen:
        run.process.wait(_LONG)
        outcome = run.end()
    _check(in_containers, outcome)
    assert outcome.directory is not None
    images = []
    for (target, _), lines in read(outcome.directory).items():
        stages = {line["stage"]: line["facts"] for line in lines if "stage" in line and "facts" in line}
        image = stages.get("restore", {}).get("sandbox", {}).get("image_id")
        if image:  # what is cut short may be told before a container is made for it
            assert " removed; asked again at " in stages["dispose"]["confirmed"], target
            images.append(image)
    assert len(images) >= sum(not name.endswith("-cut") for name in in_containers.made)
    assert len(set(images)) == 4
    engine.check_empty()
    in_containers.check_nothing_left(seen)


def test_several_in_directories_have_their_own_verdicts_and_leave_nothing(in_directories: Estate) -> None:
    run = in_directories.project.start("-n", "4")
    with watched(run.process.pid) as seen:
        run.process.wait(_LONG)
        outcome = run.end()
    _check(in_directories, outcome)
    in_directories.check_nothing_left(seen)


@contextlib.contextmanager
def _at_their_gates(project: Project, *targets: str) -> Iterator[Started]:
    """A run whose first drills have restored a system each, and wait with it."""
    gates = Gates(project, "restore")
    try:
        run = project.start("-n", "4", "-k", f"({' or '.join(targets)}) and not good-2 and not good-3")
        for target in targets:
            gates.reached(run, target)
        yield run
    finally:
        run.kill()
        (project.root / "drills" / "conftest.py").unlink()
        shutil.rmtree(project.root / "gates")


@pytest.mark.parametrize(
    ("number", "after"),
    [(signal.SIGTERM, ""), (signal.SIGKILL, "clean"), (signal.SIGKILL, "run")],
    ids=["TERM", "KILL-clean", "KILL-run"],
)
def test_a_run_in_containers_that_is_ended_half_way_leaves_nothing(
    in_containers: Estate, engine: EngineView, number: signal.Signals, after: str
) -> None:
    project = in_containers.project
    with _at_their_gates(project, "volume-good", "mariadb-good", "custom-good", "redis-good") as run:
        assert (len(engine.ours("container")), len(engine.ours("volume"))) == (4, 1)
        with watched(run.process.pid) as seen:
            run.send(number, group=True)
            run.process.wait(_LONG)
    if after == "clean":
        cleaned = project.command("clean", "--work-dir", str(project.work))
        assert cleaned.returncode == 0, cleaned.stderr
        assert "leftover" in cleaned.stdout
    elif after:
        assert project.run("-k", "redis-good").status == 0
    engine.check_empty()
    in_containers.check_nothing_left(seen)


def test_a_killed_run_in_directories_leaves_nothing_after_the_next(in_directories: Estate) -> None:
    project = in_directories.project
    first = ("plain-good", "custom-good", "mariadb-good", "redis-good")
    with _at_their_gates(project, *first) as run, watched(run.process.pid) as seen:
        run.send(signal.SIGKILL, group=True)
        run.process.wait(_LONG)
    assert {name for line in seen.lines for name in (b"mariadbd", b"redis-server", b"postgres") if name in line}
    assert project.left
    assert project.run("-k", "redis-good").status == 0
    in_directories.check_nothing_left(seen)
