"""A project of somebody's own, with backups in it: build it, damage it, drill it once, and read what the run said."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from tests.support.evidence import validate
from tests.support.servers import KEYS, without_credentials

import restore_drill

#: The bucket of the tests.
BUCKET = "estate"
_SOURCE = str(Path(restore_drill.__file__).parents[1])
_CASES = "from restore_drill.standard_cases import *  # noqa: F403\n"
#: Has a run begin at another time than now; backups of several nights can be drilled within seconds.
_CLOCK = """
import os
from restore_drill.run import Run

if os.environ.get("E2E_NOW"):
    begin = Run.__init__

    def at_that_time(self, *arguments, **options):
        begin(self, *arguments, **options)
        self.clock = lambda: float(os.environ["E2E_NOW"])

    Run.__init__ = at_that_time
"""
_COMMAND = """
import sys, time
if {at!r}:
    time.time = lambda: {at!r}
from restore_drill.cli import main
sys.exit(main(sys.argv[1:]))
"""


@dataclass(frozen=True)
class Case:
    """What a run said of one case.

    Attributes:
        message: The cause, as evidence has it.
        told: The whole text in JUnit: where, cause and remedy.
        record: The case in evidence.
    """

    verdict: str
    message: str = ""
    blocked_by: str = ""
    told: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def notes(self) -> str:
        return "; ".join(self.record.get("notes", ()))


@dataclass(frozen=True)
class Outcome:
    """One run of pytest.

    Attributes:
        cases: By ``target/copy/case`` (``…/case/detail`` of tables and queries); ``target//case`` of the whole target.
        drills: The drills of evidence by ``target/copy``.
    """

    status: int
    screen: str
    directory: Path
    evidence: Mapping[str, Any]
    cases: Mapping[str, Case]
    drills: Mapping[str, Mapping[str, Any]]

    def of(self, target: str) -> dict[str, Case]:
        """The cases of a target, by the rest of their key."""
        return {key.partition("/")[2]: case for key, case in self.cases.items() if key.startswith(f"{target}/")}

    def causes(self, target: str) -> dict[str, str]:
        """The cases of a target that are not green on their own account, with their verdicts."""
        return {
            key: case.verdict
            for key, case in self.of(target).items()
            if case.verdict != "passed" and not case.blocked_by
        }

    def snapshot(self, target: str, copy: str = "nas") -> str:
        """The id of the snapshot that was drilled."""
        return str((self.drills[f"{target}/{copy}"]["snapshot"] or {}).get("id", ""))

    def facts(self, drill: str, stage: str) -> Mapping[str, Any]:
        """What a stage of a drill (``target/copy``) measured."""
        stages = self.drills[drill]["stages"]
        found: Mapping[str, Any] = next((line["facts"] or {} for line in stages if line.get("stage") == stage), {})
        return found


class Project:
    """A catalogue, the standard cases, stores on disk and a state.

    Args:
        root: Where; the directory is made.
        now: The time that backups are made relative to.
    """

    def __init__(self, root: Path, now: datetime | None = None) -> None:
        self.root = root
        self.now = (now or datetime.now(UTC)).replace(microsecond=0)
        self.catalogue: dict[str, Any] = {
            "version": 1,
            "state": "file:../state",
            "stores": {},
            "defaults": {"timezone": "UTC"},
            "targets": {},
        }
        self.environment: dict[str, str] = {}
        (root / "drills").mkdir(parents=True)
        (root / "work").mkdir()
        (root / "drills" / "test_standard.py").write_text(_CASES)
        (root / "drills" / "conftest.py").write_text(_CLOCK)
        self.store("nas")

    @property
    def targets(self) -> dict[str, Any]:
        found: dict[str, Any] = self.catalogue["targets"]
        return found

    def store(self, name: str, **options: Any) -> Path:
        """Declare a store; one without a url of its own is a directory, which is returned."""
        place = self.root / "stores" / name
        place.mkdir(parents=True, exist_ok=True)
        self.catalogue["stores"][name] = {"url": f"file:../stores/{name}", "media": "disk", **options}
        return place

    def cloud(self, name: str, endpoint: str, *, bucket: str = "", **options: Any) -> None:
        """Declare a store in a bucket (which exists already), under a prefix of the store's own name."""
        keys = {"access_key_id": self.secret("s3-id", KEYS["admin"][0])}
        keys["secret_access_key"] = self.secret("s3-key", KEYS["admin"][1])
        self.catalogue["stores"][name] = {
            "url": f"s3://{bucket or BUCKET}/{name}", "media": "object-storage", "offsite": True, "endpoint": endpoint,
            "region": "us-east-1", "path_style": True, "credentials": keys, "retries": 1, **options,
        }  # fmt: skip

    def secret(self, name: str, value: str) -> str:
        """Put a secret into a file of its own and return the reference to it."""
        path = self.root / "keys" / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(f"{value}\n")
        path.chmod(0o600)
        return f"file:../keys/{name}"

    def conftest(self, text: str) -> None:
        """Add code to the project's own conftest."""
        with (self.root / "drills" / "conftest.py").open("a") as file:
            file.write(text)

    def write(self) -> None:
        """Write the catalogue, and set the state up the first time."""
        path = self.root / "drills" / "targets.yaml"
        path.write_text(yaml.safe_dump(self.catalogue, sort_keys=False, allow_unicode=True))
        if not (self.root / "state").exists():
            self.command("baseline", "init")

    def command(self, *arguments: str, at: datetime | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``restore-drill`` there, which must succeed."""
        done = self.command_status(*arguments, at=at)
        assert done.returncode == 0, done.stderr
        return done

    def command_status(self, *arguments: str, at: datetime | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``restore-drill`` there, whatever comes of it."""
        code = _COMMAND.format(at=at.timestamp() if at else 0.0)
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=self.root, env=self._environment(), capture_output=True,
            text=True,
        )  # fmt: skip

    def drill(self, *arguments: str, at: datetime | None = None) -> Outcome:
        """Run pytest once over the drills, as a person would.

        Args:
            at: The time that the run takes it to be.
        """
        self.write()
        clock = {"E2E_NOW": str(at.timestamp())} if at else {}
        before = self._latest()
        done = subprocess.run(
            self._pytest(*arguments), cwd=self.root, env={**self._environment(), **clock}, capture_output=True,
            text=True, errors="replace", timeout=600,
        )  # fmt: skip
        after = self._latest()
        if after == before:
            return Outcome(done.returncode, done.stdout + done.stderr, self.root, {}, {}, {})
        return _read(done.returncode, done.stdout + done.stderr, after)

    def _pytest(self, *arguments: str) -> list[str]:
        return [
            sys.executable, "-m", "pytest", "-p", "restore_drill.pytest_plugin", "-p", "no:cacheprovider", "drills",
            f"--work-dir={self.root / 'work'}", f"--rootdir={self.root}", *arguments,
        ]  # fmt: skip

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "RESTORE_DRILL_"))}
        paths = [_SOURCE, *filter(None, [kept.get("PYTHONPATH", "")])]
        kept |= {"PYTHONPATH": os.pathsep.join(paths), "NO_COLOR": "1", "COLUMNS": "200"}
        return {**without_credentials(kept), **self.environment}

    def _latest(self) -> Path:
        return (self.root / "reports" / "latest").resolve()


def _read(status: int, screen: str, directory: Path) -> Outcome:
    evidence = json.loads((directory / "evidence.json").read_text("utf-8"))
    validate(evidence)
    told = _told(directory / "junit.xml")
    cases: dict[str, Case] = {}
    drills = {f"{drill['target']}/{drill['copy']}": drill for drill in evidence["drills"]}
    for part in (*evidence["drills"], *evidence["targets"]):
        for record in part["cases"]:
            key = "/".join([part["target"], part.get("copy", ""), record["case"]])
            key += f"/{record['detail']}" if record.get("detail") else ""
            blocked_by, message = record.get("blocked_by", ""), record.get("message", "")
            cases[key] = Case(record["verdict"], message, blocked_by, told.get(_slug(key), ""), record)
    return Outcome(status, screen, directory, evidence, cases, drills)


def _told(path: Path) -> dict[str, str]:
    """The text of every failure, error and skip in JUnit, by the key of its case."""
    found: dict[str, str] = {}
    for case in ElementTree.parse(path).iter("testcase"):
        known = {each.get("name", ""): each.get("value", "") for each in case.iter("property")}
        key = "/".join([known.get("target", ""), known.get("copy", ""), known.get("case", "")])
        inside = (case.get("name") or "").partition("[")[2].rstrip("]").split("/")
        detail = "/".join(inside[3:])
        key += f"/{detail}" if detail else ""
        texts = [
            (each.get("message") or "") + "\n" + (each.text or "")
            for kind in ("failure", "error", "skipped")
            for each in case.iter(kind)
        ]
        found[_slug(key)] = "\n".join(texts)
    return found


def _slug(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9_./-]+", "-", key)
