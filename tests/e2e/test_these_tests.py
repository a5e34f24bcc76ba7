"""The project's own tests: those that one process finds are those that every other finds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]


def test_what_is_collected_depends_on_neither_time_nor_chance(
    request: pytest.FixtureRequest, require_program: Callable[[str], str]
) -> None:
    """pytest-xdist runs nothing where two workers collect differently: a time in a test's id is enough for that."""
    command = [sys.executable, "-m", "pytest", "tests", "--collect-only", "-q", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONHASHSEED": "40"}
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [require_program("faketime"), "-f", "+40d", *command],
        cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    elsewhere = {line for line in done.stdout.splitlines() if "::" in line}
    here = {item.nodeid for item in request.session.items}
    assert here and here - elsewhere == set()
