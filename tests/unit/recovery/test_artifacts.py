"""What a runbook finds in place of the store: every layout as it lies there, and only what was verified."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.backups import Objects, database, sha256
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill.checksums import MANIFEST_NAMES
from restore_drill.drill import Drill
from restore_drill.errors import CouldNotVerify
from restore_drill.recovery.artifacts import lay_out
from restore_drill.run import Run, RunOptions
from restore_drill.stores.local import LocalStore

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MakeDrill = Callable[..., Drill]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeDrill]:
    """A drill that has come as far as its restore: ``make(path, **target)``."""
    made: list[Drill] = []
    (tmp_path / "work").mkdir()

    def build(path: str, copy: dict[str, Any] | None = None, **target: Any) -> Drill:
        planned = planned_target(planned_copy("nas", path, root=tmp_path / "nas", **(copy or {})), **target)
        run = Run(
            "run", tmp_path / "reports" / "run", plan_of(planned, state=tmp_path / "state"),
            RunOptions(work_dir=str(tmp_path / "work")), clock=NOW.timestamp,
        )  # fmt: skip
        run.history.initialise()
        drill = Drill(planned, planned.copies[0], run, frozenset(planned.cases()))
        made.append(drill)
        drill.restore_facts()
        return drill

    yield build
    for drill in made:
        drill.close()
        drill.run.close()


def laid_out(drill: Drill) -> tuple[str, dict[str, bytes]]:
    with drill.sandboxes.beside("laid-out", "directory") as sandbox:
        root = sandbox.work / "stored"
        main = lay_out(drill, sandbox, root)
        files = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        return main, files


def test_an_object_its_neighbours_and_no_other_snapshot(make: MakeDrill, tmp_path: Path) -> None:
    name = "db/{time:%Y%m%d_%H%M%S}.db"
    job = Objects(tmp_path / "nas", name)
    for age in (HOUR, 2 * HOUR):
        path = job.put(NOW - age)
        path.with_name(f"{path.name}.counts.json").write_text("{}")
    (path.parent / "SHA256SUMS").write_text("x")
    main, files = laid_out(make(name))
    assert main == "db/20261123_110000.db"
    assert sorted(files) == [
        "db/20261123_110000.db", "db/20261123_110000.db.counts.json", "db/20261123_110000.db.sha256", "db/SHA256SUMS",
    ]  # fmt: skip
    assert files[main] == database()


def test_a_set_that_was_split(make: MakeDrill, tmp_path: Path) -> None:
    whole, place = database(), tmp_path / "nas" / "db"
    place.mkdir(parents=True)
    for number, start in enumerate(range(0, len(whole), 4096)):
        (place / f"20261123_110000.db.{number:03}").write_bytes(whole[start : start + 4096])
    (place / "20261123_110000.db.sha256").write_text(f"{sha256(whole)}  20261123_110000.db\n")
    main, files = laid_out(make("db/{time:%Y%m%d_%H%M%S}.db.{part}"))
    assert main == "db/20261123_110000.db"
    parts = [name for name in sorted(files) if name.rpartition(".")[2].isdecimal()]
    assert len(parts) > 1 and b"".join(files[name] for name in parts) == whole
    assert "db/20261123_110000.db.sha256" in files


def test_a_directory_with_its_manifest_and_the_link_to_the_newest(make: MakeDrill, tmp_path: Path) -> None:
    place = tmp_path / "nas" / "etc" / "20261123_110000"
    (place / "app").mkdir(parents=True)
    (place / "app" / "app.toml").write_text("a = 1\n")
    (place / "SHA256SUMS").write_text(f"{hashlib.sha256(b'a = 1' + bytes([10])).hexdigest()}  app/app.toml\n")
    (tmp_path / "nas" / "etc" / "latest").symlink_to("20261123_110000")
    drill = make("etc/{time:%Y%m%d_%H%M%S}/", {"latest": "etc/latest"}, engine="files")
    main, files = laid_out(drill)
    assert main == "etc/20261123_110000"
    assert files["etc/20261123_110000/app/app.toml"] == b"a = 1\n"
    with drill.sandboxes.beside("linked", "directory") as sandbox:
        lay_out(drill, sandbox, sandbox.work / "stored")
        assert (sandbox.work / "stored" / "etc" / "latest" / "SHA256SUMS").is_file()


def test_neighbours_are_not_asked_for_one_by_one(
    make: MakeDrill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "db/{time:%Y%m%d_%H%M%S}.db"
    path = Objects(tmp_path / "nas", name).put(NOW - HOUR)
    for number in range(20):
        path.with_name(f"{path.name}.{number}.json").write_text("{}")
    (path.parent / "SHA256SUMS").write_text("x")
    drill, asked, stat = make(name), list[str](), LocalStore.stat
    monkeypatch.setattr(LocalStore, "stat", lambda self, key: asked.append(key) or stat(self, key))
    assert len(laid_out(drill)[1]) == 23
    assert sorted(asked) == sorted(["db/20261123_110000.db", *(f"db/{each}" for each in MANIFEST_NAMES)])


def test_what_changed_since_it_was_verified_is_not_executed_on(make: MakeDrill, tmp_path: Path) -> None:
    name = "db/{time:%Y%m%d_%H%M%S}.db"
    job = Objects(tmp_path / "nas", name)
    path = job.put(NOW - HOUR)
    drill = make(name)
    assert laid_out(drill)[1]
    path.write_bytes(database(99))
    with pytest.raises(CouldNotVerify, match="read again for the runbook: it changed since it was verified"):
        laid_out(drill)
    path.unlink()
    with pytest.raises(CouldNotVerify, match="read again for the runbook: it is not there any more"):
        laid_out(drill)


@pytest.mark.parametrize(
    ("copy", "runbook"), [({"checksum": "pinned"}, False), ({}, True)], ids=["pinned", "without a list of digests"]
)
def test_a_directory_that_changed_since_it_was_verified_is_not_executed_on(
    make: MakeDrill, tmp_path: Path, copy: dict[str, Any], runbook: bool
) -> None:
    (tmp_path / "runbook.md").write_text("```console\n$ true\n```\n")
    rule = {"runbook": {"document": "runbook.md"}} if runbook else {}
    place = tmp_path / "nas" / "etc" / "20261123_110000"
    place.mkdir(parents=True)
    (place / "app.toml").write_text("a = 1\n")
    drill = make("etc/{time:%Y%m%d_%H%M%S}/", copy, engine="files", **rule)
    assert laid_out(drill)[1] == {"etc/20261123_110000/app.toml": b"a = 1\n"}
    (place / "app.toml").write_text("a = 2\n")
    with pytest.raises(CouldNotVerify, match="read again for the runbook: it changed since it was verified"):
        laid_out(drill)
    (place / "app.toml").write_text("a = 1\n")
    (place / "more.toml").write_text("b = 1\n")
    with pytest.raises(CouldNotVerify, match="read again for the runbook: it changed since it was verified"):
        laid_out(drill)
