"""The ldif engine against the rules for every engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from restore_drill.engines.ldif import LdifEngine
from restore_drill.engines.ldif_samples import EXPECT, TAKEN
from restore_drill.testing.engine import EngineConformance


@pytest.fixture(autouse=True)
def slapadd(require_program: Callable[[str], str]) -> str:
    return require_program("slapadd")


class TestLdifEngine(EngineConformance):
    engine = LdifEngine
    expect = EXPECT
    taken = TAKEN
