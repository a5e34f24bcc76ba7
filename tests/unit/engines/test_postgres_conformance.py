"""The postgres engine against the rules for every engine, with the programs of this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from restore_drill.checks.base import Baseline
from restore_drill.engines.postgres.engine import PostgresEngine
from restore_drill.engines.postgres.samples import EXPECT, TAKEN
from restore_drill.sandboxes.base import Limits, Sandbox
from restore_drill.sandboxes.directory import DirectorySandbox
from restore_drill.testing.engine import EngineConformance


@pytest.fixture(autouse=True)
def programs(require_program: Callable[[str], str]) -> list[str]:
    return [require_program(name) for name in PostgresEngine.programs]


class TestPostgresEngine(EngineConformance):
    engine = PostgresEngine
    expect = EXPECT
    taken = TAKEN
    known: ClassVar[list[Baseline]] = []

    def new_sandbox(self, base: Path, name: str) -> Sandbox:
        (base / "sandboxes").mkdir(parents=True, exist_ok=True)
        return DirectorySandbox(base / "sandboxes", run="conformance", name=name, limits=Limits())

    def _baseline(self, directory: Path) -> Baseline:
        """The same for every sample: to restore the good one again and again would tell nothing new."""
        if not self.known:
            self.known.append(super()._baseline(directory))
        return self.known[0]
