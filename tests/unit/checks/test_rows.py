"""Row counts: every kind of bound, what is borne by another case, what cannot be judged without history."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.checking import Known, baseline, context

from restore_drill.checks.base import Baseline, CheckContext, is_ignored, least
from restore_drill.checks.rows import RowCountCheck
from restore_drill.errors import Blocked, CouldNotVerify
from restore_drill.model import Finding, Verdict
from restore_drill.plan import OTHER_TABLES


def judge(count: int | None, told: CheckContext) -> Finding:
    counts = {"unnamed": 5} if count is None else {"orders": count, "unnamed": 5}
    check = RowCountCheck()
    return check.judge(check.measure(Known(counts=counts), told), told)


def rule(orders: Any, **more: Any) -> dict[str, Any]:
    return {"rows": {"orders": orders, **more}}


@pytest.mark.parametrize(
    ("written", "good", "bad", "expected"),
    [
        (100, 100, 99, "exactly 100"),
        (100, 100, 101, "exactly 100"),
        ({"exact": 0}, 0, 1, "exactly 0"),
        ({"min": 100}, 100, 99, "at least 100"),
        ({"max": 100}, 100, 101, "at most 100"),
        ({"min": 1, "max": 3}, 2, 4, "at most 3"),
        ({"min": 1, "max": 3}, 1, 0, "at least 1"),
    ],
)
def test_bounds_of_the_catalogue(written: Any, good: int, bad: int, expected: str) -> None:
    told = context(rule(written), detail="orders")
    passed, failed = judge(good, told), judge(bad, told)
    assert (passed.verdict, passed.actual, passed.tolerance) == (Verdict.PASSED, good, "none (catalogue)")
    assert (failed.verdict, failed.actual, failed.expected) == (Verdict.FAILED, bad, expected)
    assert failed.message == f"orders has {bad} rows, expected {expected}"
    assert "change the rule in the catalogue" in failed.remedy
    assert "baseline accept" not in failed.remedy, "it would change nothing"


def test_what_is_expected_is_told_whole_when_it_holds() -> None:
    told = context(rule({"min": 1, "max": 9, "max_drop": "5%"}), detail="orders", baseline=baseline())
    assert judge(5, told).expected == "at least 1, at most 9, at most 5 % fewer than before"
    assert judge(5, told).tolerance == "5 % less (catalogue)"


@pytest.mark.parametrize(("count", "passed"), [(95, True), (94, False), (1000, True)])
def test_a_drop_against_the_last_passed_drill(count: int, passed: bool) -> None:
    told = context(rule({"max_drop": "5%"}), detail="orders", baseline=baseline(counts={"orders": 100}))
    finding = judge(count, told)
    assert finding.passed or "baseline accept TARGET --table orders" in finding.remedy
    assert finding.passed is passed
    assert passed or finding.expected == "at least 95 (100 in 20261122T020000Z-aaaaaa)"


def test_a_little_less_every_night_does_not_slip_through() -> None:
    told = context(
        rule({"max_drop": "5%"}),
        detail="orders",
        baseline=baseline(counts={"orders": 91}, highest={"orders": (100, "2026-11-10")}),
    )
    finding = judge(90, told)
    assert (finding.verdict, finding.expected) == (Verdict.FAILED, "at least 95 (100 on 2026-11-10)")
    assert judge(95, told).passed


def test_a_first_drill_judges_the_other_bounds_and_says_so() -> None:
    told = context(rule({"min": 10, "max_drop": "5%"}), detail="orders")
    assert judge(10, told).notes == ("first drill: recorded as the baseline, nothing to compare with yet",)
    assert judge(9, told).verdict is Verdict.FAILED
    assert judge(9, told).notes == judge(10, told).notes


def test_without_a_state_a_drop_cannot_be_judged() -> None:
    with pytest.raises(CouldNotVerify, match="never initialised"):
        judge(100, context(rule({"max_drop": "5%"}), detail="orders", baseline=Baseline()))
    assert judge(100, context(rule(100), detail="orders", baseline=Baseline())).passed


def test_an_accepted_change_stands_in_the_evidence() -> None:
    known = baseline(accepted={"orders": "archived"})
    assert judge(3, context(rule({"max_drop": "5%"}), detail="orders", baseline=known)).notes == (
        "change accepted: archived",
    )
    assert judge(3, context(rule(4), detail="orders", baseline=known)).notes == ("change accepted: archived",)


def test_counts_recorded_beside_the_snapshot() -> None:
    written = rule({"recorded": True}, recorded="{stem}.json")
    assert judge(7, context(written, detail="orders", recorded={"orders": 7})).expected == "as recorded"
    failed = judge(6, context(written, detail="orders", recorded={"orders": 7}))
    assert (failed.expected, failed.tolerance) == ("7 as recorded beside the snapshot", "none (recorded counts)")
    for nothing in (None, {}, {"items": 7}):
        with pytest.raises(CouldNotVerify, match="no count of orders is recorded") as caught:
            judge(7, context(written, detail="orders", recorded=nothing))
        assert "recorded: true" in caught.value.remedy


def test_a_table_that_never_was() -> None:
    finding = judge(None, context(rule(1), detail="orders"))
    assert (finding.verdict, finding.message) == (Verdict.FAILED, "the table orders does not exist")
    assert (finding.expected, finding.actual) == ("a table", "none")


def test_a_table_that_vanished_is_borne_by_the_structure_case_where_that_runs() -> None:
    known = baseline(structure={"table": ["orders"], "index": ["i"]}, counts={"orders": 9})
    with pytest.raises(Blocked) as caught:
        judge(None, context(rule(1), detail="orders", baseline=known, selected=frozenset({"structure", "rows"})))
    assert caught.value.by == "structure"
    alone = judge(None, context(rule(1), detail="orders", baseline=known, selected=frozenset({"rows"})))
    assert alone.verdict is Verdict.FAILED
    ignored = context(
        rule(1, ignore=["ord*"]), detail="orders", baseline=known, selected=frozenset({"structure", "rows"})
    )
    assert judge(None, ignored).verdict is Verdict.FAILED


# --- tables without a rule of their own -------------------------------------------------------------------------------


def others(counts: dict[str, int], **more: Any) -> Finding:
    written = {"rows": {"orders": 1, "ignore": ["tmp_*"], "default": {"max_drop": "50%", "min": 1}}}
    told = context(written, detail=OTHER_TABLES, **more)
    check = RowCountCheck()
    return check.judge(check.measure(Known(counts=counts), told), told)


def test_the_default_rule_is_for_what_is_neither_named_nor_ignored() -> None:
    assert others({"orders": 0, "tmp_1": 0, "items": 1}).actual == "1 tables within it"
    failed = others({"items": 5, "notes": 0})
    assert (failed.verdict, failed.message) == (Verdict.FAILED, "notes has 0 rows, expected at least 1")


def test_an_emptied_table_is_borne_by_the_structure_case_where_that_runs() -> None:
    known = baseline(counts={"items": 5})
    assert others({"items": 0}, baseline=known, selected=frozenset({"structure", "rows"})).passed
    assert not others({"items": 0}, baseline=known, selected=frozenset({"rows"})).passed
    assert not others({"items": 2}, baseline=known, selected=frozenset({"structure", "rows"})).passed


# --- what both kinds of rules rest on ---------------------------------------------------------------------------------


@given(before=st.integers(1, 10**12), percent=st.integers(0, 100))
def test_the_least_that_must_be_left_is_exact(before: int, percent: int) -> None:
    exact = -(-before * (100 - percent) // 100)
    assert abs(least(before, percent / 100) - exact) <= math.ceil(before * 1e-9)
    if before < 10**8:
        assert least(before, percent / 100) == exact


@pytest.mark.parametrize(("before", "drop", "left"), [(20, 0.45, 11), (100, 0.05, 95), (3, 0.5, 2), (1, 1.0, 0)])
def test_the_least_that_must_be_left(before: int, drop: float, left: int) -> None:
    assert least(before, drop) == left


def test_ignored_tables_are_told_by_globs_with_their_case() -> None:
    told = context({"rows": {"orders": 1, "ignore": ["tmp_*", "Sessions"]}})
    assert [is_ignored(table, told) for table in ("tmp_1", "tmp", "Sessions", "sessions")] == [True, False, True, False]
    assert not is_ignored("tmp_1", context())
