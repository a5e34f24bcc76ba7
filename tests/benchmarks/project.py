"""A project with a catalogue, as ``restore-drill init`` begins one, and the ways to drill it."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from tests.benchmarks.measure import Way
from tests.support.servers import without_credentials

import restore_drill

_SOURCE = str(Path(restore_drill.__file__).parents[1])
#: Named, for the sake of a checkout that is not installed.
_PLUGINS = ("-p", "restore_drill.pytest_plugin", "-p", "xdist.plugin")
#: As in the environment of a user: without the plug-ins that are there for our own tests, and whatever a container that
#: builds software sets (compiled modules are kept, output is buffered).
_AS_A_USER = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
_NOT_AS_A_USER = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
_COMMAND = "import sys; from restore_drill.cli import main; sys.exit(main(sys.argv[1:]))"
#: How long ago the backups were taken.
_AGE = 300.0


def environment() -> dict[str, str]:
    """The environment of a user who installed the package."""
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_AS_A_USER}
    return {**without_credentials(inherited), **_AS_A_USER, "PYTHONPATH": _SOURCE}


class Project:
    """The catalogue, the standard cases, and stores.

    Args:
        root: Where; it is made.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.taken = time.time() - _AGE
        self.stores = root / "backups"
        self.work = root / "work"
        self.environment = environment()
        self.catalogue: dict[str, Any] = {
            "version": 1,
            "stores": {"nas": {"url": "file:../backups", "media": "disk"}},
            "defaults": {"timezone": "UTC", "three_two_one": False},
            "targets": {},
        }
        for directory in (self.stores, self.work):
            directory.mkdir(parents=True)
        self._command("init", str(root))
        (root / "pyproject.toml").write_text("[tool.pytest]\n")

    @property
    def stamp(self) -> str:
        """The time at which the backups were taken, as their names carry it."""
        return f"{datetime.fromtimestamp(self.taken, UTC):%Y%m%d_%H%M%S}"

    def add(self, name: str, path: str, *, engine: str = "sqlite", store: str = "nas", **more: Any) -> None:
        """Add a target with one copy; ``more`` goes to the target, ``copy`` among it to the copy."""
        copy = {"path": path, **more.pop("copy", {})}
        self.catalogue["targets"][name] = {"tier": "important", "engine": engine, "copies": {store: copy}, **more}

    def write(self) -> None:
        """Write the catalogue and set the state up."""
        self.catalogue["state"] = "file:../state"
        text = yaml.safe_dump(self.catalogue, sort_keys=False)
        (self.root / "drills" / "targets.yaml").write_text(text)
        self._command("baseline", "init")

    def date(self, path: Path) -> None:
        """Give a stored file the time at which it was taken."""
        os.utime(path, (self.taken, self.taken))

    def way(self, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Way:
        """Drill all of it with pytest."""
        program = [sys.executable, "-m", "pytest", *_PLUGINS]
        return Way(
            name,
            [*program, "drills", f"--work-dir={self.work}", *arguments],
            self.root,
            {**self.environment, **(environment or {})},
            shown=shlex.join(["pytest", "drills", *arguments]),
            count=_cases,
        )

    def _command(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-c", _COMMAND, *arguments],
            cwd=self.root, env=self.environment, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip


def record_digest(path: Path) -> None:
    """Write the sidecar that ``sha256sum FILE > FILE.sha256`` leaves."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    path.with_name(f"{path.name}.sha256").write_text(f"{digest}  {path.name}\n")


def _cases(screen: str) -> Mapping[str, int]:
    """How many cases passed, of a run in which nothing else happened."""
    return {"case": int(re.findall(r"(\d+) passed", screen)[-1])}
