"""What could not be counted, was not restored, or was merely remarked on: neither passed nor failed by accident."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from tests.support.checking import Known, baseline, context

from restore_drill.checks.base import Check, CheckContext
from restore_drill.checks.integrity import IntegrityCheck
from restore_drill.checks.query import QueryCheck
from restore_drill.checks.rows import RowCountCheck
from restore_drill.checks.structure import StructureCheck
from restore_drill.engines.base import Restored
from restore_drill.errors import Blocked, CouldNotVerify
from restore_drill.model import Finding, Verdict
from restore_drill.outline import Reference, escaped, lines_of
from restore_drill.plan import OTHER_TABLES


def judge(check: Check, restored: Restored, told: CheckContext) -> Finding:
    return check.judge(json.loads(json.dumps(check.measure(restored, told))), told)


# --- estimates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "detail"), [(5, "big"), ({"min": 1}, "big"), ({"max": 9}, "big")])
def test_an_estimate_is_judged_by_no_rule(rule: Any, detail: str) -> None:
    told = context({"rows": {"big": rule}}, detail=detail)
    with pytest.raises(CouldNotVerify, match="the rows of big could not be counted in time") as caught:
        judge(RowCountCheck(), Known(counts={"small": 1}, estimates={"big": 5}), told)
    assert not isinstance(caught.value, Blocked)
    assert judge(RowCountCheck(), Known(counts={"small": 1, "big": 5}), told).passed
    gone = judge(RowCountCheck(), Known(counts={"small": 1}), told)
    assert (gone.verdict, gone.message) == (Verdict.FAILED, "the table big does not exist")


def test_the_default_rule_fails_what_it_knows_before_it_names_what_it_does_not() -> None:
    told = context({"rows": {"default": {"min": 1}, "ignore": ["tmp"]}}, detail=OTHER_TABLES)
    with pytest.raises(CouldNotVerify, match="the rows of a, b, c and 1 more"):
        judge(RowCountCheck(), Known(counts={"x": 5}, estimates=dict.fromkeys("abcd", 9)), told)
    assert judge(RowCountCheck(), Known(counts={"x": 0}, estimates={"a": 9}), told).verdict is Verdict.FAILED
    assert judge(RowCountCheck(), Known(counts={"x": 5}, estimates={"tmp": 9}), told).passed


def test_an_estimate_stands_in_the_record_under_its_own_name() -> None:
    told = context({"rows": {"big": 5}}, detail="big")
    facts = RowCountCheck().measure(Known(counts={}, estimates={"big": 5, "other": 6}), told)
    assert facts == {"counts": {}, "estimates": {"big": 5}}
    structure = StructureCheck().measure(Known(counts={"a": 1}, estimates={"big": 5}, structure={}), context())
    assert (structure["counts"], structure["estimates"]) == ({"a": 1}, {"big": 5})


@pytest.mark.parametrize("estimate", [0, 100])
def test_a_table_that_had_rows_and_was_not_counted_is_no_pass_of_structure(estimate: int) -> None:
    told = context(baseline=baseline(structure={"table": ["big"]}, counts={"big": 100}))
    uncounted = Known(counts={}, estimates={"big": estimate}, structure={"table": ["big"]})
    with pytest.raises(CouldNotVerify, match="the rows of big could not be counted in time"):
        judge(StructureCheck(), uncounted, told)
    assert judge(StructureCheck(), Known(counts={"big": 1}, structure={"table": ["big"]}), told).passed
    assert not judge(StructureCheck(), Known(counts={"big": 0}, structure={"table": ["big"]}), told).passed
    empty_before = context(baseline=baseline(structure={"table": ["big"]}, counts={"big": 0}))
    assert judge(StructureCheck(), uncounted, empty_before).passed


# --- depth ------------------------------------------------------------------------------------------------------------


def test_a_sample_is_judged_over_its_own_tables() -> None:
    told = context({"rows": {"default": {"min": 1}}}, detail=OTHER_TABLES, depth="sample", sample=("a",))
    counted = Known(counts={"a": 1, "b": 0}, structure={})
    assert RowCountCheck().measure(counted, told) == {"counts": {"a": 1}}
    assert StructureCheck().measure(counted, told)["counts"] == {"a": 1}
    whole = context({"rows": {"default": {"min": 1}}}, detail=OTHER_TABLES)
    assert judge(RowCountCheck(), counted, told).passed
    assert not judge(RowCountCheck(), counted, whole).passed


def test_a_schema_is_compared_with_its_reference_only_and_nothing_is_counted() -> None:
    """What is not restored in full has no baseline, and asks for no count of rows that were not restored."""
    uncountable = Known(structure={"table": ["a"]})
    told = context(depth="schema", reference=_reference("table: a"), baseline=baseline(structure={"table": ["gone"]}))
    finding = judge(StructureCheck(), uncountable, told)
    assert (finding.verdict, finding.expected, finding.notes) == (Verdict.PASSED, "as listed in r.txt", ())
    with pytest.raises(CouldNotVerify):
        judge(StructureCheck(), uncountable, context(reference=_reference("table: a")))


# --- a reference ------------------------------------------------------------------------------------------------------


def _reference(*lines: str) -> Reference:
    return Reference("r.txt", hashlib.sha256(b"").hexdigest(), lines)


def test_what_a_reference_lists_must_be_there_and_what_it_does_not_list_is_a_note() -> None:
    there = Known(counts={}, structure={"table": ["a", "b"], "view": ["v"]})
    more = judge(StructureCheck(), there, context(reference=_reference("table: a", "view: v")))
    assert (more.verdict, more.notes) == (
        Verdict.PASSED,
        ("recorded as the baseline", "not in the reference: table: b"),
    )
    less = judge(StructureCheck(), there, context(reference=_reference("table: a", "table: c", "index: v")))
    assert less.message == "the reference lists what was not restored: index: v; table: c"
    assert (less.actual, "baseline reference TARGET" in less.remedy) == ("2 missing", True)


def test_a_reference_and_the_baseline_are_both_compared() -> None:
    before = baseline(structure={"table": ["a", "b"]})
    told = context(baseline=before, reference=_reference("table: a"))
    assert judge(StructureCheck(), Known(counts={}, structure={"table": ["a", "b"]}), told).passed
    gone = judge(StructureCheck(), Known(counts={}, structure={"table": ["a"]}), told)
    assert gone.message == "the table b vanished"


def test_many_differences_are_counted_and_not_all_listed() -> None:
    found = Known(counts={}, structure={"table": [f"t{n}" for n in range(700)]})
    facts = StructureCheck().measure(found, context(reference=_reference(*(f"view: v{n}" for n in range(600)))))
    assert (len(facts["reference"]["missing"]), facts["reference"]["missing_count"]) == (500, 600)
    assert (len(facts["reference"]["added"]), facts["reference"]["added_count"]) == (500, 700)
    finding = judge(StructureCheck(), found, context(reference=_reference(*(f"view: v{n}" for n in range(600)))))
    assert finding.message.endswith("; and 595 more")
    assert finding.notes[-1] == "not in the reference: 690 more"


@pytest.mark.parametrize(
    ("name", "line"),
    [("a", "a"), ("two words", "two words"), ("a\nb", r"a\nb"), ("a\\", r"a\\"), ("end  ", r"end\x20\x20")],
)
def test_a_name_stays_on_its_line(name: str, line: str) -> None:
    assert escaped(name) == line
    assert lines_of({"table": [name, name]}) == [f"table: {escaped(name)}"]


# --- integrity --------------------------------------------------------------------------------------------------------

_LOW = {"rule": "sequences", "message": "the next value is taken: s", "count": 2}


def test_a_remark_is_a_note_unless_the_catalogue_is_strict_about_it() -> None:
    restored = Known(integrity=[], remarks=[_LOW])
    easy = judge(IntegrityCheck(), restored, context())
    assert (easy.verdict, easy.notes) == (Verdict.PASSED, ("sequences: the next value is taken: s (2)",))
    other = judge(IntegrityCheck(), restored, context({"strict": ["not_valid"]}))
    assert other.verdict is Verdict.PASSED
    strict = judge(IntegrityCheck(), restored, context({"strict": ["sequences"]}))
    assert (strict.verdict, strict.message) == (Verdict.FAILED, "sequences: the next value is taken: s (2)")


def test_what_was_not_looked_at_is_no_pass_and_no_excuse() -> None:
    with pytest.raises(CouldNotVerify, match="not everything could be looked at: half of it") as caught:
        judge(IntegrityCheck(), Known(integrity=[], undone=["half of it"]), context())
    assert "deadlines" in caught.value.remedy
    broken = Known(integrity=[{"rule": "heap", "message": "m", "count": 1}], undone=["half of it"])
    assert judge(IntegrityCheck(), broken, context()).verdict is Verdict.FAILED
    assert judge(IntegrityCheck(), Known(integrity=[]), context()).passed


def test_a_truth_value_is_answered_as_sql_writes_it() -> None:
    rule = {"queries": [{"name": "q", "sql": "ask", "equals": "true"}]}
    told = context(rule, detail="q")
    assert judge(QueryCheck(), Known(answers={"ask": True}), told).passed
    assert not judge(QueryCheck(), Known(answers={"ask": False}), told).passed
