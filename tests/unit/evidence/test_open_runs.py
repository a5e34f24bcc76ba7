"""Markers of runs under way: whose process is gone is told from whose is not, and is claimed once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from tests.support.evidence import document, stamp, validate
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill.errors import CouldNotVerify
from restore_drill.evidence import crashed, open_runs
from restore_drill.run import Run
from restore_drill.state import DirectoryState

TARGET = planned_target(
    planned_copy(), planned_copy("offsite"), expect={"rows": {"orders": 100}}, owner="payments team"
)
NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


@pytest.fixture
def state(tmp_path: Path) -> DirectoryState:
    return DirectoryState(tmp_path / "state")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    directory = tmp_path / "20261123T020000Z-aaaaaa"
    (directory / "facts").mkdir(parents=True)
    return Run(directory.name, directory, plan_of(TARGET))


def marker_of(run: Run, **process: Any) -> dict[str, Any]:
    found = open_runs.describe(run, TARGET.cases(), ["drills", "-k", "critical"], NOW.timestamp())
    return {**found, "process": {**found["process"], **process}}


@pytest.fixture
def ended() -> Iterator[dict[str, Any]]:
    """A process that was there and is not any more."""
    code = "from restore_drill.evidence.open_runs import this_process; import json; print(json.dumps(this_process()))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(told.stdout)  # type: ignore[no-any-return]


def claimed(state: DirectoryState, after: timedelta = timedelta(minutes=1), **more: str) -> list[str]:
    return [marker["run"] for marker in open_runs.claim_dead(state, (NOW + after).timestamp(), **more)]


def test_a_run_under_way_is_nobodys_to_settle(state: DirectoryState, run: Run) -> None:
    open_runs.begin(state, marker_of(run))
    assert claimed(state) == claimed(state, timedelta(days=30)) == []
    open_runs.end(state, run.id)
    open_runs.end(state, run.id)  # again, harmlessly
    assert state.names("runs") == []


def test_a_run_whose_process_is_gone_is_claimed_once(state: DirectoryState, run: Run, ended: dict[str, Any]) -> None:
    open_runs.begin(state, marker_of(run, **ended))
    assert claimed(state, but=run.id) == []
    assert claimed(state) == [run.id]
    assert claimed(state) == []  # its claimant lives


def test_a_process_of_the_same_number_is_another_one(state: DirectoryState, run: Run) -> None:
    open_runs.begin(state, marker_of(run, began="1"))
    assert claimed(state) == [run.id]


@pytest.mark.parametrize("other", [{"host": "another"}, {"boot": "another"}, {"namespace": "pid:[1]"}])
def test_of_another_machine_only_time_tells(state: DirectoryState, run: Run, other: dict[str, str]) -> None:
    open_runs.begin(state, marker_of(run, began="1", **other))
    assert claimed(state, timedelta(hours=23)) == []
    assert claimed(state, timedelta(hours=25)) == [run.id]


def test_a_longer_deadline_than_a_day_is_waited_for(state: DirectoryState, tmp_path: Path) -> None:
    slow = planned_target(planned_copy(), deadlines={"restore": "3d"})
    run = Run("slow", tmp_path, plan_of(slow))
    open_runs.begin(state, marker_of(run, host="another"))
    assert claimed(state, timedelta(days=3)) == []
    assert claimed(state, timedelta(days=4)) == ["slow"]


def test_a_claimant_that_died_as_well_leaves_it_to_the_next(
    state: DirectoryState, run: Run, ended: dict[str, Any]
) -> None:
    claim = {"at": stamp(NOW), "process": ended}
    open_runs.begin(state, {**marker_of(run, **ended), "claimed": claim})
    assert claimed(state) == [run.id]


def _race(root: str, gate: Any, found: Any) -> None:
    gate.wait()
    found.put(claimed(DirectoryState(Path(root))))
    gate.wait()  # who ends has left what it claimed to the others


def test_several_at_once_never_claim_the_same(tmp_path: Path, run: Run, ended: dict[str, Any]) -> None:
    state = DirectoryState(tmp_path)
    runs = [f"run-{number}" for number in range(8)]
    for name in runs:
        open_runs.begin(state, {**marker_of(run, **ended), "run": name})
    context = get_context("fork")
    gate, found = context.Barrier(3), context.Queue()
    racing = [context.Process(target=_race, args=(str(tmp_path), gate, found)) for _ in range(3)]
    for each in racing:
        each.start()
    got = [name for _ in racing for name in found.get(timeout=60)]
    for each in racing:
        each.join()
    assert sorted(got) == runs


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"version": 2, "run": "x", "process": {"a": 1}, "started": "x"}',
        b'{"version": 1, "run": "x", "process": {"a": 1}, "started": "2026-11-23T02:00:00Z"}',
    ],
)
def test_a_damaged_marker_is_told_with_its_place(state: DirectoryState, raw: bytes) -> None:
    state.update("runs/x.json", lambda _: raw)
    with pytest.raises(CouldNotVerify) as caught:
        claimed(state)
    assert caught.value.looked_at.endswith("state/runs/x.json")


# --- what is told on its behalf ---------------------------------------------------------------------------------------

LINES = [
    {"started": "2026-11-23T02:00:01.000Z", "stage": "locate"},
    {
        "stage": "locate", "started": "2026-11-23T02:00:01.000Z", "seconds": 0.5,
        "facts": {
            "now": 1795399201.0, "taken": 1795398601.0, "points": 4,
            "snapshot": {"id": "x", "kind": "full", "taken_at": "2026-11-23T01:50:01.000Z", "artifacts": ["k"]},
        },
    },
    {"check": ["rows", "orders"], "started": "2026-11-23T02:00:09.000Z", "seconds": 1.0, "facts": {"counts": {"o": 1}}},
]  # fmt: skip


def told(run: Run, *lines: Any) -> dict[str, Any]:
    text = "\n".join(
        each if isinstance(each, str) else json.dumps({"drill": ["orders-db", "nas"], **each}) for each in lines
    )
    (run.directory / "facts" / "17.jsonl").write_text(text)
    made = crashed.document(marker_of(run), "the-next-run")
    validate(made)
    return made


def test_nothing_of_a_crashed_run_is_verified(run: Run) -> None:
    made = told(run, *LINES)
    assert (made["verdict"], made["run"]["ended"], made["run"]["recorded_by"]) == ("error", "crashed", "the-next-run")
    assert made["run"]["arguments"] == ["drills", "-k", "critical"] and made["run"]["started"] == stamp(NOW)
    cases = [case for part in (*made["drills"], *made["targets"]) for case in part["cases"]]
    assert len(cases) == len(TARGET.cases()) == made["counts"]["error"] == made["run"]["selection"]["cases"]
    assert {(case["verdict"], case["blocked_by"], case["message"]) for case in cases} == {
        ("error", "crash", "the run ended without a word")
    }
    assert [member["target"] for member in made["population"]] == ["orders-db"]


def test_what_its_drills_had_recorded_is_taken_in(run: Run) -> None:
    nas, offsite = told(run, *LINES)["drills"]
    assert (nas["scope"], nas["reached"], nas["snapshot"]["id"]) == ("partial", "metadata", "x")
    assert (nas["achieved"]["rpo_seconds"], nas["why"]["population"], len(nas["stages"])) == (600.0, 4, 2)
    assert (nas["started"], nas["finished"]) == ("2026-11-23T02:00:01.000Z", "2026-11-23T02:00:10.000Z")
    assert (offsite["reached"], offsite["stages"]) == ("nothing", []) and "started" not in offsite
    assert nas["owner"] == "payments team" and offsite["store"] == "offsite"


@pytest.mark.parametrize(
    "junk",
    ['{"stage": "fe', "[1]", '{"drill": 7}', '{"drill": ["orders-db", "nas"], "stage": "locate", "facts": 3}',
     '{"drill": ["orders-db", "nas"], "stage": "party", "started": "x", "seconds": 1, "facts": {}}'],
)  # fmt: skip
def test_a_record_that_somebody_spoilt_is_left_out(run: Run, junk: str) -> None:
    made = told(run, junk)
    assert [drill["stages"] for drill in made["drills"]] == [[], []]


def test_reports_that_are_gone_leave_the_marker(run: Run) -> None:
    marker = {**marker_of(run), "reports": "/nowhere"}
    made = crashed.document(marker, "status")
    validate(made)
    assert [drill["reached"] for drill in made["drills"]] == ["nothing", "nothing"]
    assert made["run"]["finished"] == stamp(NOW)


def test_a_marker_holds_no_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from restore_drill.secrets import SecretReference

    monkeypatch.setenv("SOME_KEY", "correct-horse-battery")
    SecretReference("env", "SOME_KEY").resolve()
    marker = open_runs.describe(run, TARGET.cases(), ["--token=correct-horse-battery"], NOW.timestamp())
    assert "correct-horse" not in json.dumps(marker) and document()["form"]
