"""The sqlite engine against the rules for every engine."""

from __future__ import annotations

from restore_drill.engines.sqlite import SqliteEngine
from restore_drill.engines.sqlite_samples import EXPECT, TAKEN
from restore_drill.testing.engine import EngineConformance


class TestSqliteEngine(EngineConformance):
    engine = SqliteEngine
    expect = EXPECT
    taken = TAKEN
