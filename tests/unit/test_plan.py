"""Which cases a target has, in which order, and what an exception covers."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill.cases import BY_FUNCTION, CASES, ORDER, OWNER
from restore_drill.catalogue.keeping import ExpiryRule
from restore_drill.model import Stage
from restore_drill.plan import OTHER_TABLES, PlannedCase, PlannedTarget, sort_key
from restore_drill.results import CaseResult, Verdict, text

ALWAYS = ["located", "rpo", "gap", "fetched", "checksum", "unpacks", "restores", "rto"]
EXCEPTION = {
    "id": "EX-1", "target": "orders-db", "case": "rows",
    "reason": "purged", "approver": "ciso", "expires": "2026-11-23",
}  # fmt: skip


def shorts(target: PlannedTarget, copy: str = "nas") -> list[str]:
    return [f"{case.case}[{case.detail}]" if case.detail else case.case for case in target.cases() if case.copy == copy]


def test_a_plain_database_has_the_cases_that_need_no_rule() -> None:
    assert shorts(planned_target()) == [*ALWAYS, "integrity", "structure", "disposed"]
    assert shorts(planned_target(), "") == ["3-2-1"]


@pytest.mark.parametrize(
    ("options", "added"),
    [
        ({"sensitive": True}, ["encrypted"]),
        ({"expect": {"rows": {"a": 1, "b": {"min": 2}}}}, ["rows[a]", "rows[b]"]),
        ({"expect": {"rows": {"default": {"max_drop": "5%"}}}}, [f"rows[{OTHER_TABLES}]"]),
        ({"expect": {"queries": [{"name": "no orphans", "sql": "select 0", "equals": 0}]}}, ["query[no-orphans]"]),
        ({"expect": {"newest_record": {"sql": "select 1", "within": "1h"}}}, ["newest"]),
    ],
)
def test_a_rule_adds_its_case(options: dict[str, Any], added: list[str]) -> None:
    plain, ruled = shorts(planned_target()), shorts(planned_target(**options))
    assert sorted(ruled) == sorted([*plain, *added])


@pytest.mark.parametrize(
    ("options", "removed"),
    [
        ({"frozen": True}, ["gap", "rpo"]),
        ({"expect": {"integrity": "off"}}, ["integrity"]),
        ({"expect": {"structure": "off"}}, ["structure"]),
    ],
)
def test_what_is_not_wanted_is_not_generated(options: dict[str, Any], removed: list[str]) -> None:
    plain, ruled = shorts(planned_target()), shorts(planned_target(**options))
    assert sorted([*ruled, *removed]) == sorted(plain)


def test_a_tree_is_asked_for_files_and_never_for_rows() -> None:
    assert shorts(planned_target(engine="files")) == [*ALWAYS, "files", "disposed"]


def test_only_a_copy_with_chains_has_a_chain_case() -> None:
    plain = planned_copy("plain")
    chained = planned_copy("chained", "{time:%Y%m%d}-{kind:full=F|incremental=I}.tar")
    full_only = planned_copy("full", "{time:%Y%m%d}-{kind:full=F}.tar")
    target = planned_target(plain, chained, full_only, engine="files")
    assert [copy for copy in ("plain", "chained", "full") if "chain" in shorts(target, copy)] == ["chained"]


def test_cases_across_copies_exist_when_there_is_something_to_ask() -> None:
    two = planned_copy("nas", retention={"daily": 7}), planned_copy("offsite")
    removed = (replace(two[0], expiry=ExpiryRule(keep_last=3)), two[1])
    assert shorts(planned_target(*removed), "") == ["3-2-1", "agree", "retention", "expiry"]
    exceptions = (EXCEPTION,)
    assert shorts(planned_target(*two, exceptions=exceptions), "") == ["3-2-1", "agree", "retention", "exceptions"]
    assert shorts(planned_target(three_two_one=False), "") == []


def test_cases_are_sorted_copy_by_copy_and_the_target_last() -> None:
    target = planned_target(planned_copy("nas"), planned_copy("offsite"), expect={"rows": {"a": 1}})
    cases = target.cases()
    assert sorted([*cases[3:], *cases[:3]], key=lambda case: sort_key(case, target)) == cases
    own = PlannedCase(target.name, "nas", "own")
    assert sort_key(own, target) > sort_key(cases[0], target)
    assert sort_key(own, target) < sort_key(PlannedCase(target.name, "offsite", "located"), target)


@pytest.mark.parametrize(
    ("fields", "case", "covered"),
    [
        ({}, ("nas", "rows", "orders"), True),
        ({}, ("offsite", "rows", "items"), True),
        ({"copy": "nas"}, ("offsite", "rows", "orders"), False),
        ({"copy": "nas", "detail": "orders"}, ("nas", "rows", "orders"), True),
        ({"detail": "orders"}, ("nas", "rows", "items"), False),
        ({}, ("nas", "query", "orders"), False),
        ({"case": "3-2-1"}, ("", "3-2-1", ""), True),
        ({"case": "3-2-1", "copy": "nas"}, ("", "3-2-1", ""), False),
    ],
)
def test_an_exception_covers_what_it_names_and_nothing_else(
    fields: dict[str, str], case: tuple[str, str, str], covered: bool
) -> None:
    target = planned_target(exceptions=({**EXCEPTION, **fields},))
    found = target.exception_for(PlannedCase("orders-db", *case), date(2026, 11, 23))
    assert (found is not None) is covered


def test_an_exception_ends_with_its_last_day() -> None:
    target = planned_target(exceptions=(EXCEPTION,))
    case = PlannedCase("orders-db", "nas", "rows", "orders")
    assert target.exception_for(case, date(2026, 11, 23)) is not None
    assert target.exception_for(case, date(2026, 11, 24)) is None
    assert target.exception_for(PlannedCase("wiki", "nas", "rows", "orders"), date(2026, 11, 23)) is None


def test_a_stage_is_given_up_after_twice_the_rto_at_least_ten_minutes() -> None:
    assert planned_target(rto="15m").deadline("fetch") == 1800
    assert planned_target(rto="1m").deadline("restore") == 600
    assert planned_target(rto="1m", deadlines={"check": "30s"}).deadline("check") == 30


def test_the_layout_follows_from_the_path() -> None:
    assert planned_copy().layout == "objects"
    assert planned_copy(path="{time:%Y%m%d}/").layout == "generations"


def test_a_plan_knows_all_cases_of_all_targets() -> None:
    plan = plan_of(planned_target(name="a"), planned_target(name="b", engine="files"))
    assert set(plan.by_name) == {"a", "b"}
    assert list(plan.cases()) == plan.by_name["a"].cases() + plan.by_name["b"].cases()


def test_every_case_and_every_stage_that_can_break_has_one_name() -> None:
    assert list(CASES) == sorted(CASES, key=ORDER.__getitem__)
    assert len(BY_FUNCTION) == len(CASES)
    assert set(OWNER) == set(Stage) - {Stage.CONTENT, Stage.TARGET}
    stages = list(Stage)
    needed = [stages.index(case.needs) for case in CASES.values()]
    assert needed == sorted(needed)


def test_a_result_survives_the_way_from_worker_to_controller() -> None:
    case = PlannedCase("orders-db", "nas", "rows", "orders")
    result = CaseResult(
        case, Verdict.EXCEPTED, "too few.", "Look.", 5, 3, "none", ["a note"], ["a name"], "EX-1", "restores"
    )
    wire = result.to_wire()
    assert CaseResult.from_wire(wire) == result
    assert all(type(value) in (str, int, list, tuple) for value in wire.values())
    assert text(result) == "orders-db/nas: rows orders: too few. Look."
    across = CaseResult(PlannedCase("orders-db", "", "3-2-1"), Verdict.FAILED, "not kept")
    assert text(across) == "orders-db: 3-2-1: not kept."


def test_what_is_restored_in_part_is_asked_only_what_it_can_answer() -> None:
    expect = {
        "rows": {"orders": 1, "items": 1, "default": {"min": 0}},
        "queries": [{"name": "q", "sql": "select 1", "equals": 1}],
        "newest_record": {"sql": "select 1", "within": "1h"},
    }
    given = {"name": "db", "expect": expect}
    whole = planned_target(**given)
    schema = planned_target(**given, depth="schema")
    sample = planned_target(**given, depth="sample", sample=["orders"])
    names = lambda cases: {(case.case, case.detail) for case in cases}  # noqa: E731 - said once
    needs_rows = {("rows", "orders"), ("rows", "items"), ("rows", "other-tables"), ("query", "q"), ("newest", "")}
    off = {("structure", ""), ("3-2-1", "")}
    assert names(whole.not_run("nas")) == set()
    assert names(schema.not_run("nas")) == needs_rows | off | {("integrity", "")}
    assert names(sample.not_run("nas")) == off | {("rows", "items"), ("query", "q"), ("newest", "")}
    for part in (schema, sample):
        assert names(part.cases()) == names(whole.cases()) - names(part.not_run("nas"))
        assert not part.is_full
    assert (whole.depth, schema.depth, sample.depth) == ("", "SCHEMA", "SAMPLE (1 table)")
    referred = planned_target(name="db", depth="schema", expect={"structure": {"reference": "r.txt"}})
    assert ("structure", "") in names(referred.cases())
