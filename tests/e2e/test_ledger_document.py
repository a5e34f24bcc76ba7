"""The page about the ledger, followed word by word: keys, a run, its verification, a review, an export, a forgery."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.documents import follow

ROOT = Path(__file__).parents[2]
_PROGRAM = '#!/bin/sh\nexec "{python}" -m {module} "$@"\n'


def test_signing_verifying_reviewing_and_exporting(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    for program in ("jq", "openssl", "sqlite3"):
        require_program(program)
    programs = tmp_path / "programs"
    programs.mkdir()
    modules = {"restore-drill": "restore_drill", "pytest": "pytest -p restore_drill.pytest_plugin -p no:cacheprovider"}
    for name, module in modules.items():
        (programs / name).write_text(_PROGRAM.format(python=sys.executable, module=module))
        (programs / name).chmod(0o755)
    project = tmp_path / "project"
    project.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "RESTORE_DRILL_"))}
    path = {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    commands = follow(ROOT / "docs/ledger.md", project, {**kept, **path})
    assert sum(command.startswith("restore-drill ledger verify") for command in commands) == 4
    assert [command.partition("check.sh")[0] for command in commands].count("env -i PATH=/usr/bin:/bin sh ") == 2
