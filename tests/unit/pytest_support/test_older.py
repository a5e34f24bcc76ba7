"""The cases of older snapshots: asked for on the command line, made before a store is listed, found by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill.plan import PlannedCase
from restore_drill.pytest_support.naming import CaseDirectory, case_id
from restore_drill.pytest_support.older import OlderSnapshots, sampling_of
from restore_drill.run import Run, RunOptions
from restore_drill.sampling import Sampling


class Asked:
    """What somebody typed."""

    def __init__(self, **options: Any) -> None:
        self._options = {"snapshots": "", "snapshot": "", "sample_seed": None, **options}

    def getoption(self, name: str) -> Any:
        return self._options[name.removeprefix("--").replace("-", "_")]


def _sampling(**options: Any) -> Sampling | None:
    return sampling_of(Asked(**options))  # type: ignore[arg-type]


def _older(sampling: Sampling, directory: CaseDirectory, **options: Any) -> OlderSnapshots:
    run = Run("r", Path("/nowhere"), plan_of(TARGET), RunOptions(sampling=sampling, **options))
    return OlderSnapshots(run, directory, only_collected=True)


TARGET = planned_target(planned_copy(), planned_copy("offsite"), expect={"rows": {"orders": 5}})


def test_nothing_is_drawn_unless_it_is_asked_for() -> None:
    assert _sampling() is _sampling(snapshots="latest") is None


def test_a_seed_is_drawn_where_none_is_given() -> None:
    first, second = _sampling(snapshots="sample:3"), _sampling(snapshots="sample:3")
    assert first is not None
    assert second is not None
    assert first.size == second.size == 3
    assert first.seed != second.seed
    assert 0 <= first.seed < 2**53, "JSON readers must not round it"
    assert _sampling(snapshots="sample:3", sample_seed=9) == Sampling(3, 9)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"snapshots": "some"}, "--snapshots: 'some' is none of"),
        ({"snapshots": "all", "snapshot": "20261101T020000Z"}, "--snapshots and --snapshot"),
        ({"sample_seed": 1}, "--sample-seed decides"),
        ({"snapshots": "all", "sample_seed": 1}, "--sample-seed decides"),
    ],
)
def test_what_contradicts_itself_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(pytest.UsageError) as caught:
        _sampling(**options)
    assert str(caught.value).startswith(told)


def test_every_copy_has_its_slots_and_each_is_found_by_its_name() -> None:
    directory = CaseDirectory(plan_of(TARGET))
    found = _older(Sampling(2, 1), directory).by_case
    assert {case.copy for case, _ in found["located"]} == {"nas~1", "nas~2", "offsite~1", "offsite~2"}
    assert not {"rpo", "gap", "structure", "agree"} & found.keys()
    for case in (case for cases in found.values() for case, _ in cases):
        function = {"located": "test_snapshot_is_located", "rows": "test_row_count"}.get(case.case)
        if function:
            assert directory.find(f"drills/test_x.py::{function}[{case_id(case, 'critical')}]") == case


def test_names_that_are_nearly_a_slot_are_none() -> None:
    directory = CaseDirectory(plan_of(TARGET))
    for name in ("nas~0", "nas~", "nas~x", "none~1", "nas~1~1"):
        assert directory.find(f"x.py::test_snapshot_is_located[critical/orders-db/{name}]") is None
    found = directory.find("x.py::test_snapshot_is_located[critical/orders-db/nas~12]")
    assert found == PlannedCase("orders-db", "nas~12", "located")


def test_a_copy_that_is_kept_is_not_disposed_of() -> None:
    directory = CaseDirectory(plan_of(TARGET))
    assert "disposed" in _older(Sampling(1, 1), directory).by_case
    assert "disposed" not in _older(Sampling(1, 1), directory, keep_restored=True).by_case
