"""A project of somebody's own, and its command line called in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.backups import Objects

import restore_drill.run  # noqa: F401 - takes the clock as it is now, before a test moves it
from restore_drill.cli import main

CATALOGUE = """\
version: 1
state: file:../state
stores:
  nas: {url: "file:../backups", media: disk}
defaults: {timezone: UTC}
targets:
  orders-db:
    tier: critical
    engine: sqlite
    description: what was sold
    three_two_one: false
    copies:
      nas: {path: "db/{time:%Y%m%d_%H%M%S}.db"}
    expect:
      rows: {orders: 100}
"""


@dataclass(frozen=True)
class Said:
    """What a command left on the terminal."""

    status: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """``restore-drill`` with these arguments."""
    monkeypatch.delenv("RESTORE_DRILL_CATALOGUE", raising=False)

    def run(*arguments: str | Path) -> Said:
        status = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Said(status, said.out, said.err)

    return run


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One target with one fresh backup; the current directory."""
    root = tmp_path / "project"
    (root / "drills").mkdir(parents=True)
    (root / "drills" / "targets.yaml").write_text(CATALOGUE)
    taken = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
    Objects(root / "backups", "db/{time:%Y%m%d_%H%M%S}.db").put(taken)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def catalogue(project: Path) -> Path:
    """Its catalogue, to be changed."""
    return project / "drills" / "targets.yaml"


def change(path: Path, before: str, after: str) -> None:
    """Replace a part of a catalogue."""
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), "utf-8")
