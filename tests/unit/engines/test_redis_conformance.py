"""The redis engine against the rules for every engine, with the programs of this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from restore_drill.engines.redis import RedisEngine
from restore_drill.engines.redis_samples import EXPECT, TAKEN
from restore_drill.sandboxes.base import Limits, Sandbox
from restore_drill.sandboxes.directory import DirectorySandbox
from restore_drill.testing.engine import EngineConformance


@pytest.fixture(autouse=True)
def programs(require_program: Callable[[str], str]) -> list[str]:
    return [require_program(name) for name in RedisEngine.programs]


class TestRedisEngine(EngineConformance):
    engine = RedisEngine
    expect = EXPECT
    taken = TAKEN

    def new_sandbox(self, base: Path, name: str) -> Sandbox:
        (base / "sandboxes").mkdir(parents=True, exist_ok=True)
        return DirectorySandbox(base / "sandboxes", run="conformance", name=name, limits=Limits())
