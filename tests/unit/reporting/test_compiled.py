"""Compiled templates are kept where Python keeps its modules, and never make a page another one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.evidence import document

from restore_drill.errors import CouldNotVerify
from restore_drill.reporting import html, pdf


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    html._environment.cache_clear()
    yield tmp_path / "cache"
    html._environment.cache_clear()


def rendered() -> str:
    """By a process that has compiled nothing yet."""
    html._environment.cache_clear()
    return html.render(document())


def test_what_is_kept_is_used_and_what_is_torn_is_not(kept: Path) -> None:
    text = rendered()
    files = {path.name.partition(".")[0]: path for path in kept.rglob("*.html.*.pyc")}
    assert files.keys() == {"base", "run", "parts", "drill"}
    before = files["run"].stat().st_mtime_ns
    assert rendered() == text and files["run"].stat().st_mtime_ns == before
    for damage in (files["run"].read_bytes()[:40], b"", files["base"].read_bytes()):
        files["run"].write_bytes(damage)
        assert rendered() == text
        assert files["run"].read_bytes() != damage


def test_nothing_is_kept_where_it_may_not_be(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert rendered() and not kept.exists()
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    kept.write_text("a file, where a directory would be needed")
    assert rendered()


def test_without_its_extra_pdf_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(CouldNotVerify) as caught:
        pdf.render("<p>x</p>")
    assert "pytest-restore-drill[pdf]" in str(caught.value)
