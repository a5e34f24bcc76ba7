"""Objects that vanished, tables that were emptied, and what is only a remark."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.support.checking import Known, baseline, context

from restore_drill.checks.base import Baseline
from restore_drill.checks.structure import StructureCheck
from restore_drill.errors import CouldNotVerify
from restore_drill.model import Finding, Verdict

BEFORE = baseline(structure={"table": ["items", "orders"], "view": ["open"]}, counts={"items": 10, "orders": 100})


def judge(
    objects: Mapping[str, list[str]],
    counts: Mapping[str, int],
    expect: Mapping[str, Any] | None = None,
    before: Baseline = BEFORE,
) -> Finding:
    told, check = context(expect, baseline=before), StructureCheck()
    return check.judge(check.measure(Known(structure=objects, counts=counts), told), told)


WHOLE = {"table": ["items", "orders"], "view": ["open"]}


def test_everything_is_there_and_more() -> None:
    finding = judge({**WHOLE, "trigger": ["new"]}, {"items": 11, "orders": 100})
    assert (finding.verdict, finding.actual, finding.notes) == (Verdict.PASSED, "4 objects", ())
    assert finding.expected == "as in 20261122T020000Z-aaaaaa"


def test_what_vanished_is_named_by_its_kind() -> None:
    finding = judge({"table": ["orders"]}, {"orders": 100})
    assert finding.message == "the table items vanished; the view open vanished"
    assert (finding.verdict, finding.actual) == (Verdict.FAILED, "2 missing or empty")


def test_an_emptied_table_is_told_with_what_it_had() -> None:
    finding = judge(WHOLE, {"items": 0, "orders": 100})
    assert (finding.verdict, finding.message) == (Verdict.FAILED, "the table items was emptied (10 rows before)")
    assert judge(WHOLE, {"items": 1, "orders": 100}).passed


def test_many_are_counted() -> None:
    before = baseline(structure={"table": [f"t{n}" for n in range(8)]})
    finding = judge({}, {}, before=before)
    assert finding.message.endswith("the table t4 vanished; and 3 more")
    assert judge({"table": ["t0", "t1", "t2"]}, {}, before=before).message.endswith("the table t7 vanished")


@pytest.mark.parametrize("rule", [5, {"min": 1}, {"max_drop": "5%"}])
def test_an_emptied_table_with_a_lower_bound_is_left_to_its_own_rule(rule: Any) -> None:
    assert judge(WHOLE, {"items": 0, "orders": 100}, {"rows": {"items": rule}}).passed
    assert not judge(WHOLE, {"items": 0, "orders": 100}, {"rows": {"items": {"max": 5}}}).passed
    assert not judge(WHOLE, {"items": 5, "orders": 0}, {"rows": {"items": rule}}).passed


def test_what_is_ignored_may_vanish_and_empty() -> None:
    expect = {"rows": {"orders": {"min": 1}, "ignore": ["ite*"]}}
    assert judge({"table": ["orders"], "view": ["open"]}, {"orders": 100}, expect).passed
    assert judge(WHOLE, {"items": 0, "orders": 100}, expect).passed


def test_fewer_rows_of_an_unnamed_table_are_a_remark() -> None:
    assert judge(WHOLE, {"items": 4, "orders": 100}).notes == ("items: 10 rows before, 4 now",)
    assert judge(WHOLE, {"items": 4, "orders": 100}, {"rows": {"items": {"max": 50}}}).notes == ()
    assert judge(WHOLE, {"items": 4, "orders": 100}, {"rows": {"default": {"max_drop": "90%"}}}).notes == ()


def test_a_first_look_records_and_says_so() -> None:
    finding = judge(WHOLE, {"items": 0}, before=Baseline(initialised=True))
    assert (finding.verdict, finding.expected, finding.actual) == (Verdict.PASSED, "a first look", "3 objects")
    assert finding.notes == ("recorded as the baseline",)


def test_without_a_state_nothing_is_judged() -> None:
    with pytest.raises(CouldNotVerify, match="never initialised") as caught:
        judge(WHOLE, {}, before=Baseline())
    assert "restore-drill baseline init" in caught.value.remedy


def test_a_state_that_cannot_be_used_is_told_as_it_is() -> None:
    problem = CouldNotVerify("the state of earlier drills is damaged: it is not JSON", remedy="Restore it.")
    before = Baseline(problem=problem)
    with pytest.raises(CouldNotVerify, match="it is not JSON") as caught:
        judge(WHOLE, {}, before=pickle.loads(pickle.dumps(before)))
    assert (str(caught.value), caught.value.remedy) == (str(problem), "Restore it.")


def test_an_older_structure_is_told_with_its_own_run() -> None:
    before = replace(BEFORE, kept={"structure": "20261120T020000Z-bbbbbb"})
    assert judge(WHOLE, {"items": 10, "orders": 100}, before=before).expected == "as in 20261120T020000Z-bbbbbb"
    assert judge({}, {}, before=before).expected == "as in 20261120T020000Z-bbbbbb"


def test_an_accepted_purge_stands_in_the_evidence() -> None:
    before = baseline(structure={"view": ["open"]}, counts={}, accepted={"items": "moved away"})
    assert judge({"view": ["open"]}, {}, before=before).notes == ("items: change accepted (moved away)",)
    assert judge({}, {}, before=before).notes == ("items: change accepted (moved away)",)
