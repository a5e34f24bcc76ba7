"""The beginning and the end of a run: leftovers, what is remembered, what is published."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill import lifecycle
from restore_drill.errors import CouldNotVerify, UsageProblem
from restore_drill.evidence.account import DrillAccount
from restore_drill.model import Verdict
from restore_drill.plan import OTHER_TABLES, Plan, PlannedCase
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


def test_a_run_finds_out_what_sandboxes_there_are(run: Run) -> None:
    lifecycle.look_for_sandboxes(run)
    assert run.sandboxes == {"directory": ""}
    # A machine without any is told by the drills, and stops no run.
    run.sandboxes["directory"] = "it broke down"
    lifecycle.look_for_sandboxes(run)


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


@pytest.mark.parametrize(
    ("case", "kept"),
    [
        ("structure", {"structure"}),
        ("rows", {"rows:orders"}),
        ("files", {"rows:files", "rows:bytes"}),
        ("encrypted", set()),
    ],
)
def test_what_is_excepted_is_dated_and_no_baseline(run: Run, case: str, kept: set[str]) -> None:
    run.history.initialise()
    found = account()
    detail = "orders" if case == "rows" else ""
    found.results.append(CaseResult(PlannedCase("orders-db", "nas", case, detail), Verdict.EXCEPTED))
    assert found.excepted() == kept
    for _ in range(2):
        drilled = remember(run, nas=found)
    assert drilled is not None and drilled["passed"] is True
    passed = run.history.target("orders-db").copy("nas").last_passed
    assert passed is not None and bool(passed["kept"]) == (case in ("structure", "rows"))


def test_a_default_rule_that_is_excepted_covers_every_table_it_looked_at() -> None:
    lines = [*LINES, {"check": ["rows", OTHER_TABLES], "facts": {"counts": {"audit": 1, "items": 2}}}]
    found = account(lines=lines)
    found.results.append(CaseResult(PlannedCase("orders-db", "nas", "rows", OTHER_TABLES), Verdict.EXCEPTED))
    assert found.excepted() == {"rows:audit", "rows:items", f"rows:{OTHER_TABLES}"}
    found.results[-1].verdict = Verdict.PASSED
    assert found.excepted() == set()


def test_a_partial_drill_counts_for_nothing(run: Run) -> None:
    run.history.initialise()
    assert remember(run, nas=account(without="restores")) is None
    assert run.history.durations() == {}


def test_without_a_state_nothing_is_remembered(run: Run, tmp_path: Path) -> None:
    lifecycle.remember(run, {("orders-db", "nas"): account()}, {})
    assert not (tmp_path / "state").exists()


# --- what is published ------------------------------------------------------------------------------------------------


def test_the_last_run_is_published(run: Run) -> None:
    run.directory.mkdir(parents=True)
    (run.directory / "progress.gw0").write_bytes(b"slot")
    for junit in (b"<testsuites name='other'/>", b"<testsuites/>"):
        lifecycle.publish(run, junit)
    reports = run.directory.parent
    assert (reports / "junit.xml").read_bytes() == b"<testsuites/>"
    assert (reports / "latest").readlink() == Path("run")
    assert sorted(path.name for path in reports.iterdir()) == ["junit.xml", "latest", "run"]
    assert not list(run.directory.iterdir())


def test_a_run_without_junit_leaves_none_of_another_run(run: Run) -> None:
    run.directory.mkdir(parents=True)
    (run.directory.parent / "junit.xml").write_text("<testsuites name='other'/>")
    lifecycle.publish(run, None)
    assert sorted(path.name for path in run.directory.parent.iterdir()) == ["latest", "run"]


@pytest.mark.parametrize("room", [0, 1 << 20], ids=["full", "empty"])
def test_a_full_disk_leaves_no_torn_file_and_none_of_another_run(run: Run, room: int) -> None:
    run.directory.mkdir(parents=True)
    reports = run.directory.parent
    lifecycle.publish(run, b"<testsuites name='other'/>")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with contextlib.nullcontext() if room else pytest.raises(OSError, match="File too large"):
            lifecycle.publish(run, b"<testsuites/>")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in reports.iterdir()) == [*(["junit.xml"] if room else []), "latest", "run"]


# --- where drills work ------------------------------------------------------------------------------------------------


def _working_in(run: Run, work: Path, store: Path) -> Run:
    plan = plan_of(planned_target(planned_copy(root=store)))
    return replace(run, plan=plan, options=RunOptions(work_dir=str(work)))


@pytest.mark.parametrize("where", ["store", "store/db", "link/db"])
def test_nothing_is_restored_among_backups(run: Run, tmp_path: Path, where: str) -> None:
    (tmp_path / "store" / "db").mkdir(parents=True)
    (tmp_path / "link").symlink_to("store")
    for store in ("store", "link"):
        with pytest.raises(UsageProblem, match="drills would restore inside the store") as caught:
            lifecycle.check_work_dir(_working_in(run, tmp_path / where, tmp_path / store))
        assert "--work-dir" in caught.value.remedy
    assert not list((tmp_path / "store" / "db").iterdir())


@pytest.mark.parametrize("where", [".", "work", "store-2", "store/../work"])
def test_beside_and_above_the_backups_is_a_place_to_work(run: Run, tmp_path: Path, where: str) -> None:
    for name in ("store", "store-2", "work"):
        (tmp_path / name).mkdir(exist_ok=True)
    lifecycle.check_work_dir(_working_in(run, tmp_path / where, tmp_path / "store"))


# --- where it is written ----------------------------------------------------------------------------------------------


def test_a_run_that_did_not_begin_leaves_nothing(run: Run) -> None:
    lifecycle.open_run(run)
    assert (run.directory / "facts").is_dir()
    lifecycle.abandon(run)
    assert not run.directory.exists() and run.directory.parent.is_dir()


def test_reports_that_cannot_be_written_are_a_wrong_use(run: Run) -> None:
    run.directory.parent.parent.mkdir(parents=True, exist_ok=True)
    run.directory.parent.write_text("a file")
    with pytest.raises(UsageProblem, match="reports cannot be written") as caught:
        lifecycle.open_run(run)
    assert "--reports-dir" in caught.value.remedy
    run.directory.parent.unlink()
    lifecycle.open_run(run)


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


def test_what_a_machine_cannot_have_is_left_out_of_the_demo_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "demo_estate", raising=False)
    package = tmp_path / "fixtures" / "demo_estate"
    package.mkdir(parents=True)
    plan = replace(demo(tmp_path), targets=(planned_target(name="one"), planned_target(name="two")))
    name = "one"
    (package / "__init__.py").write_text(
        f"def left_out():\n    return {{{name!r}: 'no server'}}\n\n\n"
        "def passed_over():\n    return {'container': 'none'}\n"
    )
    fitted = lifecycle.fit_demo(plan)
    assert name not in fitted.by_name and fitted.left_out == ((name, "no server"),)
    assert fitted.passed_over == (("container", "none"),)
    assert lifecycle.fit_demo(replace(plan, demo=False)).by_name.keys() == plan.by_name.keys()
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
