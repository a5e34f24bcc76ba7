"""Servers' backups that try to get out, drilled beside good ones: they get nowhere, end in time, harm no neighbour."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.databases import Backup, declare
from tests.support.hostile import PERSON, Bait, backups, laid_out, volumes
from tests.support.leftovers import EngineView, Processes, watched
from tests.support.project import Outcome, Project, until

#: The first test of a worker waits for all runs of its fixture.
pytestmark = pytest.mark.timeout(1200)
_PROGRAMS = ("initdb", "postgres", "psql", "pg_amcheck", "mariadbd", "mariadb", "redis-server")
_TOKEN = "token-of-the-canary"
#: Seconds that a run may take; never waited for when all is well.
_LONG = 300
#: A user's own case, which brings out what a hostile dump found.
_OWN = """
import json
from pathlib import Path
import pytest

@pytest.mark.target("pg-runs", "pg-reaches", "maria-runs")
def test_loot(restored, drill):
    rows = [row[0] for row in restored.query("select what from loot")]
    Path(f"loot-{drill.target.name}.json").write_text(json.dumps(rows))
"""


@dataclass
class Drilled:
    """A run over hostile backups in one kind of sandbox."""

    kind: str
    project: Project
    made: dict[str, Backup]
    bait: Bait
    outcome: Outcome
    seen: Processes
    markers: list[str] = field(default_factory=list)

    def loot(self, target: str) -> list[str]:
        found: list[str] = json.loads((self.project.root / f"loot-{target}.json").read_text())
        return found

    def published(self) -> Iterator[Path]:
        """Everything that a run writes for others to read."""
        for top in ("reports", "state"):
            for path in (self.project.root / top).rglob("*"):
                if path.is_file() and path.name != "details.jsonl":
                    yield path


@pytest.fixture(scope="module", params=["directory", "container"])
def drilled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]
) -> Iterator[Drilled]:
    for program in _PROGRAMS:
        require_program(program)
    kind = request.param
    stand_in = request.getfixturevalue("stand_in") if kind == "container" else str
    root = tmp_path_factory.mktemp(f"hostile-{kind}")
    root.chmod(0o711)
    with laid_out() as bait:
        made = {**backups(bait, counted=kind == "container"), **(volumes() if kind == "container" else {})}
        project = Project(root / "project", list(made))
        project.work.chmod(0o711)
        project.environment["UNRELATED_TOKEN"] = _TOKEN
        project.environment["TMPDIR"] = str(root)
        project.file("drills/test_own.py", _OWN)
        bounds = {"kind": kind, "memory": "512MiB", "processes": 200, "disk": "2GiB"}
        declare(
            project,
            made,
            lambda each: bounds | ({"image": stand_in(each.image), "pull": "never"} if kind == "container" else {}),
        )
        run = project.start("-n", "3")
        with watched(run.process.pid) as seen:
            run.process.wait(_LONG)
            outcome = run.end()
        yield Drilled(kind, project, made, bait, outcome, seen, bait.markers)


def test_each_has_its_verdict_and_its_twin_is_green(drilled: Drilled) -> None:
    outcome, made = drilled.outcome, drilled.made
    causes = {key.partition("/nas/")[0]: key.partition("/nas/")[2] for key in outcome.causes}
    assert causes == {name: each.cause for name, each in made.items() if each.cause}, outcome.screen
    verdicts = {name: outcome.drills[f"{name}/nas"]["verdict"] for name in made}
    # An engine counts the length of a file, and a directory what it takes on the disk: there, time ends it.
    assert verdicts["pg-sparse"] == ("error" if drilled.kind == "container" else "failed"), outcome.screen
    assert {name for name, verdict in verdicts.items() if verdict == "error"} <= {"pg-sparse"}, outcome.screen
    outcome.check_whole()


def test_what_runs_gets_nowhere(drilled: Drilled) -> None:
    """Only the sandbox holds what a dump does as a superuser in a block, in an event trigger or in an index."""
    loot = {target: drilled.loot(target) for target in ("pg-runs", "pg-reaches", "maria-runs")}
    assert "ran" in loot["pg-runs"]
    # Every statement was refused or answered nothing, the event never came.
    assert loot["maria-runs"] == ["tried 0", None, "tried 1", "tried 2", "tried 3"]
    # Foreign servers and subscriptions can be declared, as any dump does, and lead nowhere.
    assert {"did 0", "not 3", "not 4", "did 8", "did 9"} <= set(loot["pg-reaches"])
    assert (drilled.markers, drilled.bait.calls) == ([], [])
    found = "\n".join(line or "" for lines in loot.values() for line in lines)
    assert [word for word in ("wrote", "engine", "connected", _TOKEN) if word in found] == []
    # In a directory programs may read what every account of the machine may read, and can take it nowhere.
    assert drilled.kind == "directory" or drilled.bait.word not in found


def test_nothing_that_is_published_quotes_a_row_or_a_secret(drilled: Drilled) -> None:
    words = [word.encode() for word in (PERSON, _TOKEN, drilled.bait.word)]
    paths = list(drilled.published())
    assert {path.name for path in paths} >= {"junit.xml", "evidence.json"}
    assert [path.name for path in paths if any(word in path.read_bytes() for word in words)] == []
    assert drilled.outcome.directory is not None
    assert words[0] in (drilled.outcome.directory / "details.jsonl").read_bytes(), "there was something to quote"
    assert _TOKEN not in drilled.outcome.screen


def test_no_process_was_called_with_a_row_or_a_secret(drilled: Drilled) -> None:
    programs = (b"postgres", b"psql", b"mariadbd", b"redis-server")
    assert [name for name in programs if not any(name in line for line in drilled.seen.lines)] == []
    words = [word.encode() for word in (PERSON, _TOKEN, drilled.bait.word)]
    assert [line for line in drilled.seen.lines if any(word in line for word in words)] == []


def test_nothing_of_them_is_left(drilled: Drilled, request: pytest.FixtureRequest) -> None:
    assert drilled.project.left == []
    until(lambda: not drilled.seen.alive(), "the end of every process")
    if drilled.kind == "container":
        EngineView(request.getfixturevalue("require_engine"), drilled.project).check_empty()
