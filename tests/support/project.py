"""A project of somebody's own with a few small SQLite targets: run pytest over it as a person would, read the reports.

``tests/support/estate.py`` builds nights of backups to damage; this one is about how a run behaves.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from lxml import etree
from tests.support.evidence import validate
from tests.support.servers import without_credentials

import restore_drill
from restore_drill.cli import main
from restore_drill.evidence.record import read

_SOURCE = str(Path(restore_drill.__file__).parents[1])
_SCHEMA = Path(__file__).parents[2] / "docs" / "junit.xsd"
STANDARD = '"""The standard cases."""\n\nfrom restore_drill.standard_cases import *  # noqa: F403\n'
#: Seconds that a run may take before the test gives up on it; never waited for when all is well.
PATIENCE = 300.0
#: The cases of one copy of a target as :class:`Project` writes it, in order.
CASES = (
    "located", "rpo", "gap", "fetched", "checksum", "unpacks", "restores", "rto",
    "integrity", "structure", "rows/orders", "disposed",
)  # fmt: skip


@cache
def database(rows: int = 20) -> bytes:
    """A database with that many orders; with none at all, not even their table."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "db")
        with contextlib.closing(sqlite3.connect(path)) as connection:
            if rows:
                connection.execute("create table orders (id integer primary key, what text)")
                connection.executemany("insert into orders (what) values (?)", ((f"order {n}",) for n in range(rows)))
            else:
                connection.execute("pragma user_version = 1")  # a file of one page, not an empty one
            connection.commit()
        return path.read_bytes()


@dataclass(frozen=True)
class Outcome:
    """What one run of pytest left.

    Attributes:
        status: The exit status.
        screen: Both output streams.
        directory: The run's own directory below ``reports``; ``None`` when it wrote none.
        evidence: ``evidence.json``, ``{}`` when there is none.
        junit: The root of ``junit.xml``, ``None`` when there is none.
    """

    status: int
    screen: str
    directory: Path | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    junit: Any = None

    @property
    def cases(self) -> dict[str, Mapping[str, Any]]:
        """Evidence's cases by ``target/copy/case`` (``…/case/detail``); ``target//case`` of a target as a whole."""
        found = {}
        for part in (*self.evidence["drills"], *self.evidence["targets"]):
            for case in part["cases"]:
                key = "/".join([part["target"], part.get("copy", ""), case["case"]])
                found[f"{key}/{case['detail']}" if case.get("detail") else key] = case
        return found

    @property
    def verdicts(self) -> dict[str, str]:
        """Verdicts by the same keys."""
        return {key: case["verdict"] for key, case in self.cases.items()}

    @property
    def causes(self) -> dict[str, str]:
        """The cases that are not green on their own account, and their verdicts."""
        return {
            key: case["verdict"]
            for key, case in self.cases.items()
            if case["verdict"] != "passed" and not case.get("blocked_by")
        }

    @property
    def blocked(self) -> dict[str, str]:
        """The cases that could not be judged because of another one, and which."""
        return {key: case["blocked_by"] for key, case in self.cases.items() if case.get("blocked_by")}

    @property
    def drills(self) -> dict[str, Mapping[str, Any]]:
        """Evidence's drills by ``target/copy``."""
        return {f"{drill['target']}/{drill['copy']}": drill for drill in self.evidence["drills"]}

    @property
    def suite(self) -> Mapping[str, str]:
        """The attributes of JUnit's test suite."""
        return dict(self.junit.find("testsuite").attrib)

    @property
    def testcases(self) -> dict[str, Any]:
        """JUnit's elements by the case's name."""
        return {case.get("name"): case for case in self.junit.iter("testcase")}

    def properties(self, name: str) -> dict[str, str]:
        """The properties of one of JUnit's cases."""
        return {each.get("name"): each.get("value") for each in self.testcases[name].iter("property")}

    def told(self, name: str) -> str:
        """What JUnit says of a case that is not green."""
        parts = [
            f"{kind}: {each.get('message') or ''}\n{each.text or ''}"
            for kind in ("failure", "error", "skipped")
            for each in self.testcases[name].iter(kind)
        ]
        return "\n".join(parts)

    def stages(self, name: str) -> list[tuple[str, str]]:
        """Every time that a stage was run, from the facts of the drills: ``(target.copy, stage)``."""
        assert self.directory is not None
        return sorted(
            (".".join(drill), name)
            for drill, lines in read(self.directory).items()
            for line in lines
            if line.get("stage") == name and "facts" in line
        )

    def check_whole(self) -> None:
        """Reports are there and well-formed; JUnit, evidence and the exit status tell the same story."""
        assert self.junit is not None
        etree.XMLSchema(etree.parse(_SCHEMA)).assertValid(self.junit)
        assert len(self.testcases) == len(list(self.junit.iter("testcase"))), "a case is reported twice"
        told = {
            name: next((each.tag for each in case if each.tag in ("failure", "error", "skipped")), "passed")
            for name, case in self.testcases.items()
        }
        words = {"passed": "passed", "failure": "failed", "error": "error", "skipped": "excepted"}
        verdicts = [self.properties(name)["verdict"] for name in told if "verdict" in self.properties(name)]
        assert sorted(verdicts) == sorted(self.verdicts.values())
        assert all(words[told[name]] == self.properties(name)["verdict"] for name in told if self.properties(name))
        assert all(int(self.evidence["counts"][word]) == verdicts.count(word) for word in words.values())
        validate(self.evidence)


def until(found: Callable[[], Any], what: str) -> Any:
    """Wait for something to be seen, and return it."""
    give_up = time.monotonic() + PATIENCE
    while not (result := found()):
        assert time.monotonic() < give_up, f"{what}: not seen"
        select.select([], [], [], 0.01)
    return result


class Started:
    """A run under way.

    Args:
        process: The process of pytest's controller.
        before: The run that ``reports/latest`` pointed to when it began.
    """

    def __init__(self, project: Project, process: subprocess.Popen[bytes], before: Path) -> None:
        self._project = project
        self._before = before
        self.process = process

    def send(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send the controller a signal; or its whole process group, as a terminal does for Ctrl-C."""
        (os.killpg if group else os.kill)(self.process.pid, number)

    def until(self, found: Callable[[], Any], what: str) -> Any:
        """Wait for something to be seen while the run is under way, and return it."""

        def look() -> Any:
            result = found()
            if not result and self.process.poll() is not None and not (result := found()):
                raise AssertionError(f"the run ended before {what}:\n{self.end().screen}")
            return result

        return until(look, what)

    def until_said(self, text: str) -> None:
        """Wait until the run has written a text."""
        self.until(lambda: text in self._project.screen.read_text("utf-8", "replace"), f"{text!r} was written")

    def end(self) -> Outcome:
        """Wait for the end."""
        try:
            self.process.wait(PATIENCE)
        finally:
            self.kill()
        return self._project.read(self.process.returncode, self._before)

    def kill(self) -> None:
        """End the controller, if it has not ended, without a chance to do anything about it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Project:
    """A catalogue, the standard cases, a store on disk, a state.

    Args:
        root: Where; the directory is made.
        targets: The names of the targets, or how many ``db-0``, ``db-1``, … there are; each has one fresh backup in
            every store.
        stores: Names of the stores; the first is local, the others count as offsite.
    """

    def __init__(self, root: Path, targets: int | Sequence[str] = 1, stores: Sequence[str] = ("nas",)) -> None:
        self.root = root
        self.now = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
        self.environment: dict[str, str] = {}
        self.screen = root / "screen.txt"
        self.catalogue: dict[str, Any] = {
            "version": 1,
            "state": "file:../state",
            "stores": {
                name: {"url": f"file:../stores/{name}", "media": "disk", "offsite": bool(position)}
                for position, name in enumerate(stores)
            },
            "defaults": {"timezone": "UTC", "three_two_one": False},
            "targets": {},
        }
        (root / "drills").mkdir(parents=True)
        self.work.mkdir()
        (root / "drills" / "test_standard.py").write_text(STANDARD)
        for name in [f"db-{number}" for number in range(targets)] if isinstance(targets, int) else targets:
            self.add(name)
        self.write()
        with contextlib.redirect_stdout(io.StringIO()):
            assert main(["baseline", "init", "--catalogue", str(self.path)]) == 0

    # --- what is in it ------------------------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The catalogue."""
        return self.root / "drills" / "targets.yaml"

    @property
    def work(self) -> Path:
        """Where drills restore to."""
        return self.root / "work"

    @property
    def targets(self) -> dict[str, Any]:
        """The catalogue's targets."""
        found: dict[str, Any] = self.catalogue["targets"]
        return found

    def add(self, name: str, tier: str = "critical") -> None:
        """Declare a target with a copy in every store, and back it up."""
        self.targets[name] = {
            "tier": tier,
            "engine": "sqlite",
            "copies": {store: {"path": f"{name}/{{time:%Y%m%dT%H%M%SZ}}.db"} for store in self.catalogue["stores"]},
            "expect": {"rows": {"orders": 20}},
        }
        for store in self.catalogue["stores"]:
            self.put(name, store=store)

    def put(
        self,
        target: str,
        content: bytes | None = None,
        *,
        store: str = "nas",
        age: timedelta = timedelta(0),
        ending: str = ".db",
    ) -> Path:
        """One backup with its digest, made ``age`` before the project; returns the artifact."""
        taken = self.now - age
        path = self.root / "stores" / store / target / f"{taken:%Y%m%dT%H%M%SZ}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(database() if content is None else content)
        digest = path.with_name(f"{path.name}.sha256")
        digest.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
        for each in (path, digest):
            os.utime(each, (taken.timestamp() + 30,) * 2)
        return path

    def artifact(self, target: str, store: str = "nas") -> Path:
        """A target's newest backup."""
        return max((self.root / "stores" / store / target).glob("*.db"))

    def break_checksum(self, target: str, store: str = "nas") -> None:
        """Have the recorded digest be of other bytes."""
        path = self.artifact(target, store)
        path.with_name(f"{path.name}.sha256").write_text(f"{'0' * 64}  {path.name}\n")

    def break_restore(self, target: str, store: str = "nas") -> None:
        """Replace the backup by one of nothing, with a digest that is right."""
        self.put(target, database(0), store=store)

    def exception(self, target: str, case: str, **more: str) -> None:
        """Approve of a case's failure."""
        entry = {"id": "EX-7", "target": target, "case": case, "reason": "replaced in spring", "approver": "the ciso"}
        expires = (self.now + timedelta(days=30)).date().isoformat()
        self.catalogue.setdefault("exceptions", []).append({**entry, "expires": expires, **more})

    def file(self, name: str, text: str) -> Path:
        """Write a file of the project's own, such as cases in ``drills/test_own.py``."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def write(self) -> None:
        """Write the catalogue."""
        self.path.write_text(yaml.safe_dump(self.catalogue, sort_keys=False))

    # --- running ------------------------------------------------------------------------------------------------------

    def run(self, *arguments: str, **options: Any) -> Outcome:
        """Run pytest to its end; see :meth:`start`."""
        return self.start(*arguments, **options).end()

    def start(
        self,
        *arguments: str,
        where: str = "drills",
        cwd: Path | None = None,
        stdout: Any = None,
        file_size: int = 0,
    ) -> Started:
        """Begin to run pytest over the drills.

        Args:
            where: What is collected, ``""`` for nothing but what the arguments name.
            cwd: Where it is started (default: the project's root).
            stdout: A descriptor that takes the output's place.
            file_size: Bytes beyond which no file can be written (0: no limit).
        """

        before = self.latest
        argv = ["sh", "-c", f'ulimit -f {file_size // 512}; exec "$0" "$@"'] if file_size else []
        argv += [
            sys.executable, "-m", "pytest", "-p", "restore_drill.pytest_plugin", *([where] if where else []),
            f"--work-dir={self.work}", *arguments,
        ]  # fmt: skip
        environment = self._environment()
        if file_size:  # what coverage writes at the end would not fit, either
            environment = {name: text for name, text in environment.items() if not name.startswith("COVERAGE_")}
        with self.screen.open("wb") as screen:
            process = subprocess.Popen(
                argv, cwd=cwd or self.root, env=environment, stdin=subprocess.DEVNULL,
                stdout=screen if stdout is None else stdout, stderr=subprocess.STDOUT if stdout is None else stdout,
                start_new_session=True,
            )  # fmt: skip
        return Started(self, process, before)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``restore-drill``."""
        code = "import sys; from restore_drill.cli import main; sys.exit(main())"
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=self.root, env=self._environment(), capture_output=True,
            text=True, timeout=PATIENCE,
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        dropped = ("PYTEST_", "RESTORE_DRILL_", "CI", "GITHUB_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        path = os.pathsep.join(filter(None, [_SOURCE, kept.get("PYTHONPATH", "")]))
        return {**without_credentials(kept), "PYTHONPATH": path, "NO_COLOR": "1", "COLUMNS": "200", **self.environment}

    def programs(self) -> dict[str, str]:
        """The environment of a shell that finds ``pytest`` and ``restore-drill``, as they are in the checkout."""
        for name, module in (("pytest", "pytest -p restore_drill.pytest_plugin"), ("restore-drill", "restore_drill")):
            self.file(f"bin/{name}", f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n').chmod(0o755)
        environment = self._environment()
        return {**environment, "PATH": f"{self.root / 'bin'}{os.pathsep}{environment['PATH']}"}

    # --- afterwards ---------------------------------------------------------------------------------------------------

    @property
    def reports(self) -> Path:
        """Where runs are written."""
        return self.root / "reports"

    @property
    def latest(self) -> Path:
        """The directory of the last run that was published."""
        return (self.reports / "latest").resolve()

    @property
    def left(self) -> list[str]:
        """What drills left where they worked, but for this user's own empty directory."""
        return sorted(str(path.relative_to(self.work)) for path in self.work.glob("*/*"))

    def runs(self) -> Iterator[Path]:
        """The directories of all runs, the oldest first."""
        return iter(sorted(path for path in self.reports.glob("*Z-*") if path.is_dir()))

    def read(self, status: int, before: Path) -> Outcome:
        """What a run left that has ended."""
        screen = self.screen.read_text("utf-8", "replace")
        directory = self.latest
        if directory == before:
            return Outcome(status, screen)
        evidence, junit = directory / "evidence.json", directory / "junit.xml"
        return Outcome(
            status,
            screen,
            directory,
            json.loads(evidence.read_text("utf-8")) if evidence.exists() else {},
            etree.parse(junit).getroot() if junit.exists() else None,
        )
