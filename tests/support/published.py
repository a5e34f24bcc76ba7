"""Schemas that others publish, taken from the package index when a test asks for them; nothing of them is kept here."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lxml import etree
from tests.support.foreign import cache


def jenkins_junit() -> etree.XMLSchema:
    """The schema of JUnit of Jenkins' xunit plug-in, as pytest's source distribution brings it (MIT licence)."""
    name = f"pytest-{version('pytest')}"
    file = _fetched(name, lambda: [
        sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", ".",
        f"pytest=={version('pytest')}",
    ])  # fmt: skip
    return etree.XMLSchema(etree.fromstring(_member(file, f"{name}/testing/example_scripts/junit-10.xsd")))


def ctrf(find: Callable[[str], str]) -> dict[str, Any]:
    """The schema of CTRF 0.0, as its reference implementation brings it (MIT licence).

    Args:
        find: Where a program is installed (the fixture ``require_program``).
    """
    npm = find("npm")
    file = _fetched("ctrf-0.3.0", lambda: [npm, "pack", "--silent", "ctrf@0.3.0"])
    found: dict[str, Any] = json.loads(_member(file, "package/dist/ctrf-schema-0.0.json"))
    return found


def _fetched(name: str, command: Callable[[], list[str]]) -> Path:
    """An archive, fetched once, by whoever asks first."""
    place = cache() / name
    with place.with_name(f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
                done = subprocess.run(command(), cwd=scratch, capture_output=True, text=True, timeout=300, check=False)
                assert done.returncode == 0, done.stdout + done.stderr
                (file,) = Path(scratch).iterdir()
                file.rename(place)
    return place


def _member(archive: Path, name: str) -> bytes:
    with tarfile.open(archive) as file:
        found = file.extractfile(name)
        assert found is not None
        return found.read()
