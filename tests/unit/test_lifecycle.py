"""The beginning and the end of a run: leftovers, what is remembered, what is published."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill import lifecycle
from restore_drill.errors import CouldNotVerify
from restore_drill.evidence.document import DrillAccount
from restore_drill.model import Verdict
from restore_drill.plan import Plan
from restore_drill.results import CaseResult
from restore_drill.run import Run, RunOptions

NOW = 1_795_400_000.0
TARGET = planned_target(planned_copy(), three_two_one=False)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    plan = plan_of(TARGET, state=tmp_path / "state")
    options = RunOptions(work_dir=str(tmp_path / "work"))
    (tmp_path / "work").mkdir()
    return Run("20261123T020000Z-aaaaaa", tmp_path / "reports" / "run", plan, options, clock=lambda: NOW)


# --- leftovers --------------------------------------------------------------------------------------------------------


def test_a_run_begins_with_its_directory_and_without_what_dead_ones_left(run: Run, tmp_path: Path) -> None:
    lifecycle.open_run(run)
    assert (run.directory / "facts").is_dir()
    (root,) = (tmp_path / "work").iterdir()
    (root / "20261122T020000Z-bbbbbb").mkdir()
    assert lifecycle.reap(run) == [str(root / "20261122T020000Z-bbbbbb")]
    assert lifecycle.reap(run) == []


# --- what is remembered -----------------------------------------------------------------------------------------------

LINES: list[dict[str, Any]] = [
    {"stage": "locate", "facts": {"taken": NOW - 900, "oldest": NOW - 9000, "snapshot": {"id": "20261123T015820Z"}}},
    {
        "stage": "fetch",
        "facts": {
            "artifacts": [{"key": "db/x.db", "sha256": "aa"}, {"key": "db/x.db-wal", "sha256": "bb"}],
            "stored_bytes": 10, "content_bytes": 40, "payloads": [{"sha256": "cc"}],
        },
    },
    {"stage": "restore", "facts": {"rto_seconds": 1.23456}},
    {"check": ["structure", ""], "facts": {"objects": {"table": ["orders"]}, "counts": {"orders": 100}}},
]  # fmt: skip


def account(verdict: Verdict = Verdict.PASSED, *, without: str = "", lines: Any = LINES) -> DrillAccount:
    planned = frozenset(TARGET.cases())
    results = [CaseResult(case, verdict) for case in planned if case.case != without]
    return DrillAccount(TARGET, "nas", planned, list(lines), results)


def remember(run: Run, **accounts: DrillAccount) -> Mapping[str, Any] | None:
    found = {("orders-db", copy): each for copy, each in accounts.items()}
    lifecycle.remember(run, found, {"orders-db": 4.5678})
    return run.history.target("orders-db").copy("nas").last_drilled


def test_a_whole_drill_is_remembered(run: Run) -> None:
    run.history.initialise()
    assert remember(run, nas=account()) is not None
    copy = run.history.target("orders-db").copy("nas")
    passed = copy.last_passed
    assert passed is not None
    assert (passed["snapshot"], passed["key"], passed["seconds"]) == ("20261123T015820Z", "db/x.db", 1.235)
    assert (passed["taken_at"], passed["finished_at"]) == (NOW - 900, NOW)
    assert (passed["stored_bytes"], passed["content_bytes"], passed["digest"]) == (10, 40, "cc")
    assert (copy.pin("db/x.db"), copy.pin("db/x.db-wal")) == ("aa", "bb")
    baseline = copy.baseline(NOW)
    assert (baseline.counts, baseline.structure) == ({"orders": 100}, {"table": ["orders"]})
    assert copy.oldest_seen == NOW - 9000
    assert run.history.durations() == {"orders-db": 4.568}


def test_a_drill_that_failed_is_dated_and_no_baseline(run: Run) -> None:
    run.history.initialise()
    drilled = remember(run, nas=account(Verdict.FAILED, lines=()))
    assert drilled is not None and (drilled["passed"], drilled["taken_at"]) == (False, 0.0)
    assert run.history.target("orders-db").copy("nas").last_passed is None


def test_a_partial_drill_counts_for_nothing(run: Run) -> None:
    run.history.initialise()
    assert remember(run, nas=account(without="restores")) is None
    assert run.history.durations() == {}


def test_without_a_state_nothing_is_remembered(run: Run, tmp_path: Path) -> None:
    lifecycle.remember(run, {("orders-db", "nas"): account()}, {})
    assert not (tmp_path / "state").exists()


# --- what is published ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [True, False])
def test_the_last_run_is_published(run: Run, tmp_path: Path, inside: bool) -> None:
    run.directory.mkdir(parents=True)
    junit = (run.directory if inside else tmp_path) / ("junit.xml" if inside else "elsewhere.xml")
    junit.write_text("<testsuites/>")
    (run.directory / "progress.gw0").write_bytes(b"slot")
    for _ in range(2):
        lifecycle.publish(run, junit)
    reports = run.directory.parent
    assert (reports / "junit.xml").read_text() == (run.directory / "junit.xml").read_text() == "<testsuites/>"
    assert (reports / "latest").readlink() == Path("run")
    assert sorted(path.name for path in reports.iterdir()) == ["junit.xml", "latest", "run"]
    assert [path.name for path in run.directory.iterdir()] == ["junit.xml"]


def test_a_run_without_junit_is_published_all_the_same(run: Run) -> None:
    run.directory.mkdir(parents=True)
    lifecycle.publish(run, run.directory / "junit.xml")
    assert sorted(path.name for path in run.directory.parent.iterdir()) == ["latest", "run"]


# --- the demo ---------------------------------------------------------------------------------------------------------


def demo(tmp_path: Path) -> Plan:
    return replace(plan_of(), catalogue=str(tmp_path / "drills" / "targets.yaml"), demo=True)


def test_only_the_demos_plan_starts_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "demo_estate", raising=False)
    package = tmp_path / "fixtures" / "demo_estate"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("def start(root):\n    return ('started', root)\n")
    plan = demo(tmp_path)
    assert lifecycle.start_demo(replace(plan, demo=False)) is None
    assert str(tmp_path / "fixtures") not in sys.path
    for _ in range(2):
        assert lifecycle.start_demo(plan) == ("started", tmp_path.resolve())
    assert sys.path.count(str(tmp_path / "fixtures")) == 1
    monkeypatch.delitem(sys.modules, "demo_estate")


def test_a_demo_without_its_libraries_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "demo_estate", raising=False)
    package = tmp_path / "fixtures" / "demo_estate"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import a_library_nobody_has\n")
    with pytest.raises(CouldNotVerify, match="the demo estate needs a_library_nobody_has") as caught:
        lifecycle.start_demo(demo(tmp_path))
    assert "pytest-restore-drill[demo]" in caught.value.remedy
