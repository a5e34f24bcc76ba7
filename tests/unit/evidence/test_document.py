"""The evidence of a run: facts and verdicts joined, the worst verdict, what is whole, nothing half-written."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill import __version__
from restore_drill.evidence import surroundings
from restore_drill.evidence.account import DrillAccount, drills, worst
from restore_drill.evidence.document import Course, build, write
from restore_drill.evidence.reading import FORM
from restore_drill.model import Verdict
from restore_drill.plan import PlannedCase, PlannedTarget
from restore_drill.results import CaseResult
from restore_drill.run import Run, RunOptions
from restore_drill.secrets import SecretReference

TARGET = planned_target(planned_copy(), expect={"rows": {"orders": 100}}, owner="payments team", rpo="1h")
FACTS = [
    {"started": "2026-11-23T02:00:00.000Z", "stage": "locate"},
    {
        "stage": "locate",
        "seconds": 0.1,
        "facts": {"snapshot": {"id": "20261123T020000Z"}, "intervals": [[0.0, 3600.0, 0.0], [3600.0, 20_000.0, 0.0]]},
    },
    {"check": ["rows", "orders"], "seconds": 0.1, "facts": {"counts": {"orders": 100}}},
    {"check": ["structure", ""], "seconds": 0.1, "facts": {"objects": {"table": ["orders"]}, "counts": {"items": 4}}},
]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    directory = tmp_path / "20261123T030000Z-aaaaaa"
    (directory / "facts").mkdir(parents=True)
    return Run(directory.name, directory, plan_of(TARGET), RunOptions(concurrency=2))


def record(run: Run, *lines: Any, end: str = "\n") -> None:
    drill = {"drill": ["orders-db", "nas"]}
    text = "\n".join(line if isinstance(line, str) else json.dumps({**drill, **line}) for line in lines)
    (run.directory / "facts" / "17.jsonl").write_text(text + end)


def results(target: PlannedTarget = TARGET, **verdicts: Verdict) -> dict[PlannedCase, CaseResult]:
    return {
        case: CaseResult(case, verdicts.get(case.case, Verdict.PASSED), message="why" if case.case in verdicts else "")
        for case in target.cases()
    }


def built(run: Run, found: dict[PlannedCase, CaseResult], **more: Any) -> dict[str, Any]:
    course = Course(0.0, 61.5, **{"planned": list(found), "arguments": ["drills"], **more})
    return build(run, drills(run, found), found, course)


def test_the_document_has_these_parts_in_this_order(run: Run) -> None:
    record(run, *FACTS)
    evidence = built(run, results())
    assert list(evidence) == [
        "form", "run", "catalogue", "verdict", "problems", "counts", "not_run", "population", "exceptions", "drills",
        "targets",
    ]  # fmt: skip
    assert evidence["form"] == FORM
    assert evidence["run"]["id"] == run.id
    assert (evidence["run"]["started"], evidence["run"]["finished"]) == (
        "1970-01-01T00:00:00.000Z", "1970-01-01T00:01:01.500Z",
    )  # fmt: skip
    assert evidence["run"]["estate"] == "user" and evidence["run"]["concurrency"] == 2
    assert evidence["run"]["tools"]["restore-drill"] == __version__
    assert evidence["catalogue"] == {"path": "targets.yaml", "sha256": "0" * 64}
    assert evidence["counts"] == {"passed": 13, "failed": 0, "error": 0, "excepted": 0}


def test_a_drill_is_told_with_its_facts_cases_and_limits(run: Run) -> None:
    record(run, *FACTS)
    (drill,) = built(run, results(rows=Verdict.FAILED))["drills"]
    assert (drill["target"], drill["copy"], drill["store"], drill["owner"]) == (
        "orders-db", "nas", "nas", "payments team",
    )  # fmt: skip
    assert drill["objectives"] == {"rpo_seconds": 3600.0, "rto_seconds": 900.0, "drill_every_seconds": 86400.0}
    assert (drill["scope"], drill["verdict"]) == ("whole", Verdict.FAILED)
    assert drill["snapshot"] == {"id": "20261123T020000Z"}
    assert len(drill["stages"]) == 3  # the announcement is none
    (rows,) = [case for case in drill["cases"] if case["case"] == "rows"]
    assert rows == {"case": "rows", "detail": "orders", "verdict": Verdict.FAILED, "message": "why"}
    assert "no retention policy is declared for this copy" in drill["limits"]


def test_cases_across_copies_stand_with_the_target(run: Run) -> None:
    (target,) = built(run, results())["targets"]
    assert (target["target"], [case["case"] for case in target["cases"]]) == ("orders-db", ["3-2-1"])


def test_problems_of_a_run_are_never_a_pass(run: Run) -> None:
    found = results()
    assert built(run, found)["verdict"] is Verdict.PASSED
    assert built(run, found, problems=["a worker died"])["verdict"] is Verdict.ERROR
    assert built(run, results(rows=Verdict.FAILED), problems=["x"])["verdict"] is Verdict.FAILED
    assert built(run, {})["verdict"] is Verdict.ERROR


def test_no_argument_or_message_shows_a_secret(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ORDERS_PASSPHRASE", "correct-horse-battery")
    SecretReference("env", "ORDERS_PASSPHRASE").resolve()
    found = results(rows=Verdict.FAILED)
    for result in found.values():
        result.message = result.message and "it read correct-horse-battery"
        result.notes = ["correct-horse-battery"]
    write(tmp_path / "evidence.json", built(run, found, arguments=["-k", "correct-horse-battery"]))
    text = (tmp_path / "evidence.json").read_text()
    assert "horse" not in text and json.loads(text)["run"]["arguments"][0] == "-k"


# --- accounts ---------------------------------------------------------------------------------------------------------


def account(run: Run, found: dict[PlannedCase, CaseResult]) -> DrillAccount:
    return drills(run, found)["orders-db", "nas"]


def test_what_a_drill_measured_is_found_again(run: Run) -> None:
    record(run, *FACTS)
    known = account(run, results())
    assert known.facts("locate")["snapshot"] == {"id": "20261123T020000Z"}
    assert known.facts("restore") == {}
    assert known.counts() == {"orders": 100, "items": 4}
    assert known.structure() == {"table": ["orders"]}
    assert known.gaps() == [(3600.0, 20_000.0)]


def test_a_tree_counts_files_and_bytes(run: Run) -> None:
    record(run, {"check": ["files", ""], "facts": {"files": 3, "bytes": 10, "links": 1}})
    assert account(run, results()).counts() == {"files": 3, "bytes": 10}
    assert account(run, results()).structure() == {}


def test_a_drill_without_a_record_has_no_facts(run: Run) -> None:
    known = account(run, results())
    assert (known.lines, known.counts(), known.structure(), known.gaps()) == ([], {}, {}, [])


@pytest.mark.parametrize("cut", ['{"stage": "fe', "\x00\x00", '{"a": 1}}'])
def test_a_line_that_a_crash_cut_short_is_none(run: Run, cut: str) -> None:
    record(run, *FACTS, cut, end="")
    assert account(run, results()).lines == FACTS


def test_a_drill_is_whole_when_every_planned_case_reported(run: Run) -> None:
    found = results()
    assert account(run, found).whole
    some = {case: result for case, result in found.items() if case.case != "rows"}
    assert not account(run, some).whole
    assert account(run, some).passed
    for why, whole in (("interruption", False), ("worker", False), ("restores", True)):
        blocked = results(rows=Verdict.ERROR)
        for result in blocked.values():
            result.blocked_by = why if result.case.case == "rows" else ""
        assert account(run, blocked).whole is whole


@pytest.mark.parametrize(
    ("verdict", "passed"),
    [(Verdict.PASSED, True), (Verdict.EXCEPTED, True), (Verdict.FAILED, False), (Verdict.ERROR, False)],
)
def test_a_drill_passed_when_nothing_failed_or_was_left_unverified(run: Run, verdict: Verdict, passed: bool) -> None:
    assert account(run, results(rows=verdict)).passed is passed
    assert account(run, results(rows=verdict)).verdict is verdict


def test_the_worst_of_verdicts() -> None:
    order = [Verdict.FAILED, Verdict.ERROR, Verdict.EXCEPTED, Verdict.PASSED]
    for position, verdict in enumerate(order):
        assert worst(order[position:]) is verdict
        assert worst(iter(reversed(order[position:]))) is verdict
    assert worst([]) is Verdict.ERROR


# --- writing ----------------------------------------------------------------------------------------------------------


def test_a_reader_sees_the_whole_document_or_the_one_before(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    write(path, {"form": "old"})
    with pytest.raises(TypeError):
        write(path, {"form": "new", "it": object()})
    assert json.loads(path.read_text()) == {"form": "old"}
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["evidence.json"]


def test_one_line_a_drill_and_strict_json(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    evidence = {"form": "f", "drills": [{"a": math.inf}, {"name\udcff": "\u2028ü"}], "targets": [], "not_run": ["x"]}
    write(path, evidence)
    raw = path.read_bytes()
    assert raw.isascii() and raw.count(b"\n") == 9
    assert json.loads(raw, parse_constant=pytest.fail) == {
        **evidence, "drills": [{"a": "Infinity"}, {r"name\xff": r"\u2028ü"}],
    }  # fmt: skip


# --- where it ran -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, {}),
        ({"CI_JOB_URL": "https://git/1", "CI_COMMIT_SHA": "abc"}, {"url": "https://git/1", "commit": "abc"}),
        ({"BUILD_URL": "https://jenkins/1", "GIT_COMMIT": "abc"}, {"url": "https://jenkins/1", "commit": "abc"}),
        (
            {"GITHUB_RUN_ID": "7", "GITHUB_SERVER_URL": "https://gh", "GITHUB_REPOSITORY": "a/b", "GITHUB_SHA": "d"},
            {"url": "https://gh/a/b/actions/runs/7", "commit": "d"},
        ),
    ],
)
def test_the_pipeline_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], told: dict[str, str]
) -> None:
    for name in list(os.environ):
        if name.startswith(("CI_", "GITHUB_", "BUILD_", "GIT_")):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert built(run, results())["run"]["ci"] == told


def test_a_user_without_a_name_is_told_by_number(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise OSError("no such user")

    monkeypatch.setattr(surroundings.getpass, "getuser", nobody)
    assert built(run, results())["run"]["operator"]["user"] == str(os.getuid())


def test_a_library_that_is_missing_is_not_listed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package == "isal":
            raise surroundings.PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(surroundings, "version", version)
    tools = built(run, results())["run"]["tools"]
    assert "isal" not in tools and tools["pytest"] == "1.0"
