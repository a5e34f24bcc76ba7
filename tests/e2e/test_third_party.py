"""Plugs from outside the package, made by following the documents that explain how."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.documents import blocks, follow
from tests.support.installed import ROOT, Environment, wheel


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """One of its own: what is installed into it stays there."""
    made = Environment(tmp_path / "venv")
    made.install(wheel())
    return made


@pytest.mark.parametrize("document", ["how-to-add-an-engine.md", "how-to-add-a-plug.md"])
def test_the_document_can_be_followed(document: str, environment: Environment, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    commands = follow(ROOT / "docs" / document, project, environment.variables)
    assert any(command.startswith("pip install ") for command in commands)
    assert commands.count("pytest drills/") >= 2
    assert "echo $?" in commands


def test_the_suite_notices_an_engine_that_overlooks_something(environment: Environment, tmp_path: Path) -> None:
    package = tmp_path / "drill-vcard"
    for block in blocks(ROOT / "docs/how-to-add-an-engine.md"):
        if block.path.startswith("drill-vcard/"):
            path = tmp_path / block.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
    sources = {"PYTHONPATH": str(package / "src")}
    environment.run("pytest", "drill-vcard/tests", cwd=tmp_path, **sources)
    engine = package / "src/drill_vcard/engine.py"
    right = engine.read_text()
    engine.write_text(right.replace('self.facts["strays"]', "0"))
    done = environment.run("pytest", "drill-vcard/tests", cwd=tmp_path, status=1, **sources)
    assert "1 failed" in done.stdout
    assert "test_a_damaged_sample_is_caught[cut off in a card]" in done.stdout
