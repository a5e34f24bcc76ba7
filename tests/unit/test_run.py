"""What the drills of a process share."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill.choosing import Choice
from restore_drill.errors import CouldNotVerify
from restore_drill.run import Run, RunOptions, Silent, new_run_id
from restore_drill.stores.local import LocalStore


def made(tmp_path: Path, **options: Any) -> Run:
    return Run("20261123T020000Z-aaaaaa", tmp_path, plan_of(state=tmp_path / "state"), RunOptions(**options))


def test_names_of_runs_sort_by_time_and_are_not_given_twice() -> None:
    first, second = new_run_id(1_795_400_000.0), new_run_id(1_795_400_000.0)
    assert re.fullmatch(r"20261123T021320Z-[0-9a-f]{6}", first) and first != second
    assert first < new_run_id(1_795_400_001.0)


def test_a_store_is_opened_once_and_let_go(tmp_path: Path) -> None:
    run = made(tmp_path)
    (tmp_path / "store").mkdir()
    copies = [planned_copy(root=tmp_path / "store"), planned_copy(path="x/{time:%Y%m%d}.db", root=tmp_path / "store")]
    stores = [run.store(copy) for copy in copies]
    assert stores[0] is stores[1] and isinstance(stores[0], LocalStore)
    run.close()
    assert run.store(copies[0]) is not stores[0]
    run.close()


def test_cores_are_shared_out_among_the_drills_that_run_at_once(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    assert made(tmp_path).threads == cores
    assert made(tmp_path, concurrency=2).threads == max(1, cores // 2)
    assert made(tmp_path, concurrency=1000).threads == 1
    assert f"{cores} cores" in made(tmp_path).machine


def test_where_it_works(tmp_path: Path) -> None:
    assert made(tmp_path, work_dir=str(tmp_path)).work_dir == tmp_path
    assert made(tmp_path).work_dir == Path(tempfile.gettempdir())


def test_where_a_target_is_restored_is_decided_once(tmp_path: Path) -> None:
    named = planned_target(planned_copy(), sandbox="directory")
    open_ = planned_target(planned_copy(), engine="ldif", sandbox={"memory": "1 GiB"})
    run = made(tmp_path)
    assert run.sandbox_of(named) == Choice("directory", "the catalogue names it")
    assert run.sandboxes == {}
    assert run.sandbox_of(open_) == Choice("directory", "the first that the engine runs in")
    assert run.sandboxes == {"directory": ""}
    # What the controller of the run found out holds in every worker.
    run.sandboxes["directory"] = "it broke down"
    with pytest.raises(CouldNotVerify, match="no directory: it broke down"):
        run.sandbox_of(open_)


def test_its_history_is_that_of_its_plan(tmp_path: Path) -> None:
    assert not made(tmp_path).history.initialised
    assert made(tmp_path).history.initialise()
    assert made(tmp_path).history.initialised


def test_nobody_needs_to_watch() -> None:
    silent = Silent()
    silent.begin("orders-db", "nas", "fetch", 10)
    silent.advance(5)
    silent.end()
    assert vars(silent) == {}


def test_a_plan_knows_its_targets_by_name() -> None:
    plan = plan_of(planned_target(name="a"), planned_target(name="b"))
    assert list(plan.by_name) == ["a", "b"] and len(list(plan.cases())) == 2 * len(plan.targets[0].cases())
