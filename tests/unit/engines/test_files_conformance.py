"""The files engine against the rules for every engine."""

from __future__ import annotations

from restore_drill.engines.files import FilesEngine
from restore_drill.engines.files_samples import EXPECT, TAKEN
from restore_drill.testing.engine import EngineConformance


class TestFilesEngine(EngineConformance):
    engine = FilesEngine
    expect = EXPECT
    taken = TAKEN
