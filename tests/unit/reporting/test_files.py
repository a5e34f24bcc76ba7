"""All files of a run: each by its own module, and quick enough for 500 targets."""

from __future__ import annotations

import inspect
from importlib import import_module

from tests.support.evidence import document

from restore_drill.reporting import files


def test_each_file_is_rendered_by_the_module_that_takes_what_it_is_told() -> None:
    for module, told in files.FILES.values():
        parameters = inspect.signature(import_module(f"restore_drill.reporting.{module}").render).parameters
        assert next(iter(parameters)) == "document" and set(told) == set(parameters) - {"document"}, module


def test_five_hundred_targets_are_written_whole() -> None:
    found = document(targets=500, verdicts={"db-123/nas/unpacks": "failed"})
    written = {name: render() for name, render in files.renderers(found).items()}
    assert list(written) == ["report.html", "summary.md", "metrics.prom", "ctrf.json"]
    assert all(b"db-123" in content for content in written.values())
    assert len(written["summary.md"]) < 16_000
    assert written["metrics.prom"].count(b"restore_drill_verdict{") == 500 * 2 * 4
    assert written["ctrf.json"].count(b'"rawStatus":"passed"') == found["counts"]["passed"]
