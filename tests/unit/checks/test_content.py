"""Integrity, queries, trees, and how fresh the data inside is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.checking import TAKEN, Known, baseline, context

from restore_drill.checks.base import Baseline
from restore_drill.checks.files import FilesCheck
from restore_drill.checks.integrity import IntegrityCheck
from restore_drill.checks.newest import NewestRecordCheck, read_time
from restore_drill.checks.query import QueryCheck
from restore_drill.errors import Blocked, CouldNotVerify
from restore_drill.model import Finding, Verdict

# --- integrity --------------------------------------------------------------------------------------------------------

ORPHANS = {"rule": "foreign_key", "message": "items refers to orders", "count": 3}
PAGE = {"rule": "integrity_check", "message": "a page is missing", "count": 1}


def integrity(problems: list[dict[str, Any]], **expect: Any) -> Finding:
    told, check, known = context(expect), IntegrityCheck(), Known(integrity=problems)
    finding = check.judge(check.measure(known, told), told)
    assert known.asked == [expect.get("integrity", "full")]
    return finding


def test_integrity_counts_what_it_found() -> None:
    assert integrity([]).passed
    finding = integrity([ORPHANS, PAGE])
    assert finding.message == "foreign_key: items refers to orders (3), and 1 more kinds of problems"
    assert finding.actual == "4 problems"
    assert integrity([PAGE]).actual == "1 problem"
    assert finding.details == ("the row of a customer",)


def test_foreign_keys_may_be_a_remark() -> None:
    finding = integrity([ORPHANS], foreign_keys="note")
    assert (finding.verdict, finding.notes) == (Verdict.PASSED, ("foreign_key: items refers to orders (3)",))
    assert not integrity([ORPHANS, PAGE], foreign_keys="note").passed


def test_a_check_that_was_not_full_says_so() -> None:
    assert integrity([], integrity="quick").notes == ("the check was QUICK, not full",)


# --- queries ----------------------------------------------------------------------------------------------------------


def query(answers: Mapping[str, Any], **rule: Any) -> Finding:
    told = context({"queries": [{"name": "how many", "sql": "select", **rule}]}, detail="how-many")
    check = QueryCheck()
    facts = json.loads(json.dumps(check.measure(Known(answers=answers), told)))
    return check.judge(facts, told)


@pytest.mark.parametrize(
    ("rule", "good", "bad", "expected"),
    [
        ({"equals": 5}, 5, 6, 5),
        ({"equals": 0}, 0, 1, 0),
        ({"equals": 0.5}, 0.5, 0.25, 0.5),
        ({"min": 2}, 2, 1.9, "at least 2"),
        ({"max": 2}, 2, 3, "at most 2"),
        ({"min": 1, "max": 2}, 1, 0, "at least 1 and at most 2"),
        ({"equals": "yes"}, "yes", "no", "a certain text of 3 characters"),
    ],
)
def test_an_answer_is_compared(rule: dict[str, Any], good: Any, bad: Any, expected: Any) -> None:
    assert query({"select": good}, **rule).passed
    failed = query({"select": bad}, **rule)
    assert (failed.verdict, failed.expected) == (Verdict.FAILED, expected)


@pytest.mark.parametrize("rule", [{"equals": 0}, {"equals": ""}, {"equals": "None"}, {"max": 5}, {"min": 0}])
def test_no_answer_is_never_right(rule: dict[str, Any]) -> None:
    for nothing in ({}, {"select": None}):
        failed = query(nothing, **rule)
        assert (failed.verdict, failed.actual) == (Verdict.FAILED, "nothing (no row, or NULL)")


def test_a_text_stays_on_the_terminal() -> None:
    failed = query({"select": "Erika Mustermann" * 100}, equals="production")
    assert failed.actual == "a text of 1600 characters"
    assert "Erika" not in f"{failed.message}{failed.expected}{failed.remedy}"
    (detail,) = failed.details
    assert detail.startswith("how-many answered 'Erika Mustermann") and len(detail) < 250
    assert query({"select": "12"}, min=1).verdict is Verdict.FAILED
    assert query({"select": "12"}, equals="12").details == ()


def test_a_query_has_its_own_deadline_or_that_of_all_checks() -> None:
    for rule, deadline in (({"within": "30s"}, 30.0), ({}, 77.0)):
        written = {"queries": [{"name": "q", "sql": "select", "equals": 1, **rule}]}
        told, known = context(written, detail="q", deadline=77.0), Known(answers={"select": 1})
        QueryCheck().measure(known, told)
        assert known.asked == [("select", deadline)]


# --- trees ------------------------------------------------------------------------------------------------------------

TREE = {"files": 10, "bytes": 5000, "must_exist": {}, "must_not_exist": {}, "notes": ["a note"], "details": []}
MANIFEST = {"listed": 10, "verified": 10, "mismatched": 0, "missing": 0, "extra": 0}


def files(tree: Mapping[str, Any], rule: Mapping[str, Any] | None = None, **more: Any) -> Finding:
    told, check = context({"files": rule} if rule else {}, **more), FilesCheck()
    return check.judge(check.measure(Known(tree={**TREE, **tree}), told), told)


@pytest.mark.parametrize(
    ("rule", "good", "bad", "message"),
    [
        ({"min": 10}, {}, {"files": 9}, "9 files, expected at least 10"),
        ({"max": 10}, {}, {"files": 11}, "11 files, expected at most 10"),
        ({"min_bytes": "5 kB"}, {}, {"bytes": 4999}, "5.00 kB in files, expected at least 5.00 kB"),
        ({"max_bytes": "5 kB"}, {}, {"bytes": 6000}, "6.00 kB in files, expected at most 5.00 kB"),
        ({"must_exist": ["a"]}, {"must_exist": {"a": 1}}, {"must_exist": {"a": 0}}, "nothing matches a"),
        (
            {"must_not_exist": ["*.tmp"]},
            {"must_not_exist": {"*.tmp": 0}},
            {"must_not_exist": {"*.tmp": 1}},
            "1 path matches *.tmp",
        ),
        ({"must_not_exist": ["b"]}, {}, {"must_not_exist": {"b": 2}}, "2 paths match b"),
        ({"manifest": "M"}, {"manifest": MANIFEST}, {"manifest": {**MANIFEST, "extra": 2}}, "2 files are not in"),
        ({"manifest": "M"}, {"manifest": MANIFEST}, {"manifest": {**MANIFEST, "missing": 1}}, "1 files of the"),
        ({"manifest": "M"}, {"manifest": MANIFEST}, {"manifest": {**MANIFEST, "mismatched": 1}}, "1 files differ"),
        ({"manifest": "M"}, {"manifest": MANIFEST}, {"manifest": {"problem": "it is empty"}}, "it is empty"),
    ],
)
def test_a_rule_for_a_tree(rule: dict[str, Any], good: dict[str, Any], bad: dict[str, Any], message: str) -> None:
    assert files(good, rule).passed
    failed = files({**good, **bad, "details": ["the name"]}, rule)
    assert failed.verdict is Verdict.FAILED and message in failed.message
    assert failed.details == ("the name",) and "the name" not in failed.message


COUNTED = {"directories": 3, "links": 0, "below": [4, 2]}
RECORDED = {"files": 10, "bytes": 5000, "directories": 3, "links": 0, "etc/": 4, "srv/data/": 2}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"files": 9}, "9 files, 10 are recorded beside the snapshot"),
        ({"bytes": 5001}, "5001 bytes, 5000 are recorded"),
        ({"directories": 4}, "4 directories, 3 are recorded"),
        ({"links": 1}, "1 links, 0 are recorded"),
        ({"below": [4, 1]}, "1 of 2 directories have another number of files than recorded"),
    ],
)
def test_what_is_recorded_of_a_tree(tree: dict[str, Any], message: str) -> None:
    rule, more = {"recorded": "counts.json"}, {"recorded": RECORDED}
    assert files(COUNTED, rule, **more).passed
    failed = files({**COUNTED, **tree}, rule, **more)
    assert failed.verdict is Verdict.FAILED and message in failed.message and "srv/data" not in failed.message
    assert ("srv/data/ has 1 files, 2 are recorded" in failed.details) is ("below" in tree)


@pytest.mark.parametrize("recorded", [None, {}, {"customers": 59}, {"files": 10, "etc": 4}])
def test_counts_that_are_not_of_a_tree_judge_nothing(recorded: dict[str, int] | None) -> None:
    with pytest.raises(CouldNotVerify, match="not those of a tree"):
        files(COUNTED, {"recorded": "counts.json"}, recorded=recorded)


def test_without_a_rule_a_tree_only_has_to_have_come_back() -> None:
    finding = files({})
    assert (finding.verdict, finding.expected, finding.notes) == (Verdict.PASSED, "at least one file", ("a note",))
    assert finding.actual == "10 files, 5.00 kB"


def test_several_problems_are_one_message() -> None:
    failed = files({"files": 1, "bytes": 2}, {"min": 10, "min_bytes": "1 kB"})
    assert failed.message == "1 files, expected at least 10; 2 B in files, expected at least 1.00 kB"


def test_what_a_tree_is_expected_to_hold_is_told() -> None:
    rule = {"min": 1, "max": 20, "must_exist": ["a"], "must_not_exist": ["b"], "manifest": "M"}
    assert files({"manifest": MANIFEST}, rule).expected == (
        "at least 1 files, at most 20 files, the 10 files of its manifest, 1 patterns present, 1 patterns absent"
    )


@pytest.mark.parametrize(("tree", "passed"), [({}, True), ({"files": 8}, False), ({"bytes": 4000}, False)])
def test_a_drop_of_files_or_bytes(tree: dict[str, Any], passed: bool) -> None:
    before = baseline(counts={"files": 10, "bytes": 5000})
    assert files(tree, {"max_drop": "10%"}, baseline=before).passed is passed


def test_a_drop_needs_history() -> None:
    first = files({"files": 1}, {"max_drop": "10%"})
    assert first.passed and first.notes[-1].startswith("first drill: recorded")
    with pytest.raises(CouldNotVerify, match="never initialised"):
        files({}, {"max_drop": "10%"}, baseline=Baseline())


def test_a_manifest_that_the_checksum_case_cannot_use_is_borne_there() -> None:
    tree = {"manifest": {"problem": "it is empty"}}
    with pytest.raises(Blocked) as caught:
        files(tree, manifest="SHA256SUMS", selected=frozenset({"checksum", "files"}))
    assert caught.value.by == "checksum"
    assert "it is empty" in files(tree, manifest="SHA256SUMS", selected=frozenset({"files"})).message


# --- freshness --------------------------------------------------------------------------------------------------------


def newest(answer: Any, within: str = "1h", **more: Any) -> Finding:
    told = context({"newest_record": {"sql": "select", "within": within}}, **more)
    check = NewestRecordCheck()
    return check.judge(check.measure(Known(answers={"select": answer}), told), told)


@pytest.mark.parametrize(
    ("answer", "passed", "actual"),
    [
        ("2026-11-23T01:00:00Z", True, "1 h before"),
        ("2026-11-23T00:59:59Z", False, "1 h 1 s before"),
        ("2026-11-23T02:10:00+00:00", True, "as fresh as the snapshot"),
        ("2026-11-23 01:30:00", True, "30 min before"),
        (None, False, "none"),
    ],
)
def test_how_far_the_newest_record_lies_before_the_snapshot(answer: Any, passed: bool, actual: str) -> None:
    finding = newest(answer)
    assert (finding.passed, finding.actual) == (passed, actual)
    assert passed or "stale replica" in finding.remedy


def test_a_time_without_an_offset_is_of_the_targets_zone() -> None:
    assert newest("2026-11-23 02:30:00", zone=ZoneInfo("Europe/Berlin")).actual == "30 min before"


def test_a_record_dated_ahead_says_nothing() -> None:
    assert newest("2026-11-23T03:00:01Z").passed
    with pytest.raises(CouldNotVerify, match="newer than the snapshot") as caught:
        newest("2026-11-23T03:00:02Z")
    assert "dated ahead" in caught.value.remedy


def test_the_newest_file_is_judged_alike() -> None:
    told, check = context({"newest_file": {"within": "1h"}}), NewestRecordCheck()
    for stamp, passed in ((TAKEN.timestamp() - 60, True), (TAKEN.timestamp() - 7200, False), (None, False)):
        facts = check.measure(Known(tree={"newest": stamp}), told)
        assert check.judge(facts, told).passed is passed


@pytest.mark.parametrize("answer", ["yesterday", "", True, "20261399", 1e300, float("nan"), float("inf"), b"\xff"])
def test_what_is_no_time(answer: Any) -> None:
    with pytest.raises(CouldNotVerify, match="is not a time") as caught:
        read_time(answer, ZoneInfo("UTC"))
    assert str(answer) not in caught.value.cause + caught.value.remedy or answer == ""
    assert caught.value.details


@given(st.datetimes(datetime(1980, 1, 1), datetime(2200, 1, 1)))
def test_a_time_is_read_in_every_form_that_databases_write(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC)
    zone = ZoneInfo("UTC")
    assert read_time(moment.isoformat(), zone) == moment
    assert read_time(f" {moment.replace(tzinfo=None).isoformat(' ')} ", zone) == moment
    seconds = moment.timestamp()
    for scale in (1, 1000, 1_000_000):
        assert abs(read_time(seconds * scale, zone) - moment) < timedelta(milliseconds=1)
    assert read_time(int(seconds), zone) == datetime.fromtimestamp(int(seconds), UTC)
