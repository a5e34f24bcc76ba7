"""The page on recovery, followed word by word: the plan for a disaster, and a runbook that is typed and drilled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.documents import follow
from tests.support.installed import ROOT, environment


def test_recovery(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    for program in ("sqlite3", "gzip", "sha256sum", "awk"):
        require_program(program)
    commands = follow(ROOT / "docs/recovery.md", tmp_path, environment().variables)
    assert commands.count("restore-drill plan dr") == 2
    assert "bash -e recover.sh" in commands
    assert "pytest drills/ -k runbook" in commands
