"""``restore-drill init`` leaves a project that works, and touches nothing that was there."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.conftest import Command

from restore_drill.catalogue.load import load


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_it_leaves_is_valid(command: Command, here: Path) -> None:
    said = command("init")
    assert said.status == 0
    assert "wrote   drills/targets.yaml" in said.out and "initialised file://" in said.out
    assert sorted(path.name for path in (here / "drills").iterdir()) == ["targets.yaml", "test_standard.py"]
    assert "import *" in (here / "drills" / "test_standard.py").read_text()
    checked = command("validate")
    assert (checked.status, checked.err) == (0, "")
    assert "drills/targets.yaml: good: 1 targets, 1 copies, 12 cases" in checked.out
    assert command("plan").status == 0
    assert command("baseline", "show", "orders-db").out == "orders-db/nas: no whole drill has passed yet\n"


@pytest.mark.parametrize(
    ("url", "media"),
    [
        ("file:///srv/back ups", "disk"),
        ("file:../b", "disk"),
        ("s3://bucket/prefix", "object-storage"),
        ("file:///with'both\"quotes", "disk"),
        ("file:///ünïcode", "disk"),
    ],
)
def test_any_store_may_be_named(command: Command, here: Path, url: str, media: str) -> None:
    assert command("init", "new", "--store", url).status == 0
    assert command("validate", "--catalogue", here / "new" / "drills" / "targets.yaml").status == 0
    store = load(here / "new" / "drills" / "targets.yaml").targets[0].copies[0].store
    assert store.media == media


@pytest.mark.parametrize("url", ["relative", "s3://", "s3://key:secret@bucket", "gopher://hole"])
def test_a_store_that_cannot_be_leaves_no_catalogue_behind(command: Command, here: Path, url: str) -> None:
    said = command("init", "--store", url)
    assert (said.status, said.out) == (1, "") and "hint: " in said.err
    assert list((here / "drills").iterdir()) == []
    assert command("init").status == 0


def test_what_exists_is_kept(command: Command, here: Path) -> None:
    command("init")
    for name in ("targets.yaml", "test_standard.py"):
        path = here / "drills" / name
        path.write_text(path.read_text() + "# mine\n")
    said = command("init")
    assert said.status == 0 and said.out.count("kept ") == 2 and "initialised" not in said.out
    assert all(
        (here / "drills" / name).read_text().endswith("# mine\n") for name in ("targets.yaml", "test_standard.py")
    )


def test_a_catalogue_of_somebodys_own_is_kept_with_its_mistakes(command: Command, here: Path) -> None:
    (here / "drills").mkdir()
    (here / "drills" / "targets.yaml").write_text("version: 2\n")
    said = command("init")
    assert said.status == 1 and "targets.yaml:1:" in said.err
    assert (here / "drills" / "targets.yaml").read_text() == "version: 2\n"


def test_where_nothing_can_be_written(command: Command, here: Path) -> None:
    (here / "file").write_text("")
    said = command("init", "file")
    assert said.status == 1
    assert said.err.startswith("restore-drill init: Not a directory (file/drills). Check ")
