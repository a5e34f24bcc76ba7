"""Documents for people who drill, followed word by word: their own backups on an installed package, and the demo."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.documents import blocks, commands, follow
from tests.support.installed import ROOT, environment


def test_drilling_your_own_backups_and_reading_the_run(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    for program in ("sqlite3", "gzip", "sha256sum", "jq"):
        require_program(program)
    commands = follow(ROOT / "docs/how-to-drill-your-own-backups.md", tmp_path, environment().variables)
    assert sum(command.startswith("pytest drills/") for command in commands) == 5
    assert "pytest drills/ -m critical" in commands
    questions = follow(ROOT / "reports/README.md", tmp_path, environment().variables)
    assert all(question.startswith("jq ") for question in questions)
    assert len(questions) == 7


def test_writing_your_own_case(tmp_path: Path) -> None:
    commands = follow(ROOT / "docs/how-to-write-your-own-case.md", tmp_path, environment().variables)
    assert [command for command in commands if command.startswith("pytest")] == [
        "pytest drills/test_shop.py -v",
        "pytest drills/",
    ]


class Demo:
    """A checkout of its own, with a demo estate of its own."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        for name in ("src", "drills", "fixtures"):
            shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "estate"))
        for name in ("conftest.py", "pyproject.toml"):
            shutil.copy(ROOT / name, checkout / name)

    def run(self, command: str, status: int) -> list[str]:
        """Type a command that ends with a status; the first two words of each line it printed."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        variables = {**os.environ, "PATH": path, "PYTHONPATH": str(self.checkout / "src")}
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.checkout, env=variables, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == status, f"$ {command}\n{done.stdout}{done.stderr}"
        return [" ".join(line.split()[:2]) for line in done.stdout.splitlines()]


def _seen_to_fail(directory: Path) -> list[str] | None:
    """What the last drill printed; ``None`` when the demo's jobs became due meanwhile, and covered the damage."""
    (block,) = [each for each in blocks(ROOT / "fixtures/README.md") if "truncate" in each.text]
    *damages, drill = [command.text.replace(" /tmp/", f" {directory}/") for command in commands(block)]
    demo = Demo(directory / "checkout")
    due = time.time() // 1800
    for command in (drill, *damages):
        demo.run(command, 0)
    printed = demo.run(drill, 1)
    return printed if time.time() // 1800 == due else None


def test_the_demo_can_be_seen_to_fail(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    require_program("rsync")
    printed = _seen_to_fail(tmp_path / "once") or _seen_to_fail(tmp_path / "again")
    assert printed is not None
    for where in ("orders-db/nas", "metrics-db/nas", "uploads-volume"):
        assert f"FAILED critical/{where}" in printed
    assert "ERROR critical/orders-db/offsite" in printed  # the key is lost: nothing is known of it
    assert "passed critical/metrics-db/offsite" in printed


def test_from_nothing_to_a_drill(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    for program in ("sqlite3", "gzip", "sha256sum"):
        require_program(program)
    followed = follow(ROOT / "docs/tutorial.md", tmp_path, environment().variables)
    assert followed.count("pytest drills/") == 3
    assert 'restore-drill init --discover "$PWD/backups" --baseline' in followed


def test_pruning_behind_the_retention_gate(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    for program in ("sqlite3", "sha256sum"):
        require_program(program)
    followed = follow(ROOT / "docs/retention.md", tmp_path, environment().variables)
    assert "bash prune.sh" in followed and "pytest drills/" in followed
