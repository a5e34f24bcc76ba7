"""The mysql and mariadb engines against the rules for every engine, with the programs of this machine.

No MySQL server is run here: the dumps of MySQL are loaded into MariaDB, as the catalogue may ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from restore_drill.engines.mysql.engine import MariadbEngine, MysqlEngine
from restore_drill.engines.mysql.samples import EXPECT, TAKEN
from restore_drill.sandboxes.base import Limits, Sandbox
from restore_drill.sandboxes.directory import DirectorySandbox
from restore_drill.testing.engine import EngineConformance


@pytest.fixture(autouse=True)
def programs(require_program: Callable[[str], str]) -> list[str]:
    return [require_program(name) for name in MariadbEngine.programs]


class TestMariadbEngine(EngineConformance):
    engine = MariadbEngine
    expect = EXPECT
    taken = TAKEN

    def new_sandbox(self, base: Path, name: str) -> Sandbox:
        (base / "sandboxes").mkdir(parents=True, exist_ok=True)
        return DirectorySandbox(base / "sandboxes", run="conformance", name=name, limits=Limits())


class TestMysqlEngine(EngineConformance):
    engine = MysqlEngine
    expect = EXPECT
    taken = TAKEN
    settings: ClassVar[Mapping[str, Any]] = {"server": "mariadb"}

    def new_sandbox(self, base: Path, name: str) -> Sandbox:
        (base / "sandboxes").mkdir(parents=True, exist_ok=True)
        return DirectorySandbox(base / "sandboxes", run="conformance", name=name, limits=Limits())
