"""A set on its way back: which snapshots it takes, whatever its targets' own drills were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.backups import Objects
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill.catalogue.sets import SetModel
from restore_drill.errors import BackupFailed
from restore_drill.plan import PlannedCase, PlannedSet
from restore_drill.run import Run, RunOptions
from restore_drill.sets.set_drill import SetDrill

_NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)
_CASE = PlannedCase("left", "", "set", "both")
MakeSet = Callable[..., SetDrill]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeSet]:
    """The drill of a set of two databases: ``make(snapshot)``."""
    made: list[tuple[SetDrill, Run]] = []
    (tmp_path / "work").mkdir()

    def build(snapshot: str = "") -> SetDrill:
        query = {"name": "all", "ask": {"target": "left", "sql": "select 1"}}
        query["equals"] = {"target": "right", "sql": "select 1"}
        model = SetModel.model_validate({"targets": ["left", "right"], "within": "5m", "queries": [query]})
        planned = PlannedSet("both", model, (("left", "nas"), ("right", "nas")), timedelta(hours=3))
        targets = [
            planned_target(planned_copy("nas", f"{name}/{{time:%Y%m%d_%H%M%S}}.db", root=tmp_path / "nas"), name=name)
            for name in ("left", "right")
        ]
        targets[0] = replace(targets[0], sets=(planned,))
        run = Run(
            "run", tmp_path / "reports" / f"run-{len(made)}", plan_of(*targets, state=tmp_path / "state"),
            RunOptions(snapshot=snapshot, work_dir=str(tmp_path / "work")), clock=_NOW.timestamp,
        )  # fmt: skip
        drill = SetDrill(planned, targets[0], run, lambda target: {_CASE} if target == "left" else set())
        made.append((drill, run))
        return drill

    yield build
    for drill, run in made:
        drill.close()
        run.close()


def _put(root: Path, target: str, *minutes: int) -> None:
    job = Objects(root / "nas", f"{target}/{{time:%Y%m%d_%H%M%S}}.db")
    for each in minutes:
        job.put(_NOW - each * _MINUTE, delay=timedelta(seconds=1))


@pytest.mark.parametrize("snapshot", ["", "20261123T110000Z", "20261122T000000Z"], ids=["newest", "of one", "of none"])
def test_a_set_takes_snapshots_of_its_own_whatever_its_targets_were_asked_for(
    make: MakeSet, tmp_path: Path, snapshot: str
) -> None:
    _put(tmp_path, "left", 20, 60, 100)
    _put(tmp_path, "right", 62, 101)
    together = make(snapshot).together(_CASE)
    assert together.moments == {
        name: (_NOW - minutes * _MINUTE).timestamp() for name, minutes in (("left", 60), ("right", 62))
    }
    assert together.older == {"left": 1, "right": 0}


def test_a_set_without_a_common_moment_fails(make: MakeSet, tmp_path: Path) -> None:
    _put(tmp_path, "left", 20, 60)
    _put(tmp_path, "right", 40, 80)
    with pytest.raises(BackupFailed, match="have no common moment: their newest snapshots lie 20 min apart"):
        make().together(_CASE)
