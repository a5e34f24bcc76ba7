"""The engines of tables against the rules for every engine."""

from __future__ import annotations

from restore_drill.engines.csv import CsvEngine
from restore_drill.engines.ndjson import NdjsonEngine
from restore_drill.engines.parquet import ParquetEngine
from restore_drill.engines.tables_samples import EXPECT, TAKEN
from restore_drill.testing.engine import EngineConformance


class TestCsvEngine(EngineConformance):
    engine = CsvEngine
    expect = EXPECT
    taken = TAKEN


class TestNdjsonEngine(EngineConformance):
    engine = NdjsonEngine
    expect = EXPECT
    taken = TAKEN


class TestParquetEngine(EngineConformance):
    engine = ParquetEngine
    expect = EXPECT
    taken = TAKEN
