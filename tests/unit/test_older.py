"""What a snapshot that is not the newest is judged by: itself, and not what is right of today's."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from tests.support.plans import planned_copy, planned_target

from restore_drill.catalogue.expect import ApprovedException, Expect
from restore_drill.evidence import limits
from restore_drill.older import CASES, LIMIT
from restore_drill.plan import PlannedCase, PlannedTarget, sort_key

_QUERY = {"name": "no orphans", "sql": "select 0", "equals": 0}


def _cases(target: PlannedTarget, slot: str = "nas~2") -> list[str]:
    return [f"{each.case}[{each.detail}]" if each.detail else each.case for each in target.cases_of(slot)]


def _of_older(**expect: Any) -> Expect:
    return planned_target(expect=expect).of_older.model.expect


def test_its_age_and_what_lies_around_it_are_not_judged() -> None:
    target = planned_target(sensitive=True, retention={"daily": 3}, expect={"queries": [_QUERY]})
    assert _cases(target) == [
        "located", "fetched", "checksum", "encrypted", "unpacks", "restores", "rto", "integrity", "query[no-orphans]",
        "disposed",
    ]  # fmt: skip
    assert {each.case for each in target.cases_of("nas~2")} <= CASES
    assert all(each.copy == "nas~2" for each in target.cases_of("nas~2"))


def test_the_newest_is_judged_as_ever() -> None:
    target = planned_target(planned_copy(), planned_copy("offsite"), expect={"queries": [_QUERY]})
    assert target.cases_of("nas") == [each for each in target.cases() if each.copy == "nas"]
    assert not [each for each in target.cases() if "~" in each.copy]
    assert target.planned_copy("nas") is target.copies[0]
    assert (target.planned_copy("nas~3").name, target.planned_copy("nas~3").store_name) == ("nas~3", "nas")
    assert target.drilled_as("nas") is target


def test_a_chain_is_a_chain() -> None:
    path = "db/{time:%Y%m%d_%H%M%S}_{kind:full=full|incremental=inc}.tar"
    target = planned_target(planned_copy(path=path), engine="files")
    assert "chain" in _cases(target)


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        (59, {"min": 1}),
        ({"min": 1000, "max": 5000, "max_drop": "5%"}, {"min": 1}),
        ({"recorded": True, "max_drop": "5%"}, {"recorded": True}),
        ({"recorded": True, "min": 10}, {"recorded": True, "min": 1}),
        ({"max_drop": "5%"}, None),
        ({"max": 5000}, None),
        (0, None),
        ({"min": 0, "max": 7}, None),
    ],
)
def test_of_rules_with_numbers_it_stays_that_something_is_there(rule: Any, left: dict[str, Any] | None) -> None:
    rows = _of_older(rows={"recorded": "{stem}.json", "orders": rule, "default": rule}).rows
    if left is None:
        assert rows is None
    else:
        assert rows is not None
        assert rows.tables["orders"].model_dump(exclude_none=True, exclude_defaults=True) == left
        assert rows.default == rows.tables["orders"]


def test_of_a_tree_too() -> None:
    rule = {
        "min": 100,
        "max": 900,
        "min_bytes": "1 MB",
        "max_drop": "5%",
        "must_exist": ["a/*"],
        "manifest": "SHA256SUMS",
    }
    files = _of_older(files=rule).files
    assert files is not None
    assert files.model_dump(exclude_none=True, exclude_defaults=True) == {
        "min": 1, "min_bytes": 1, "must_exist": ("a/*",), "manifest": "SHA256SUMS"
    }  # fmt: skip


def test_what_an_older_schema_cannot_answer_may_be_left_out() -> None:
    asked = {"queries": [_QUERY], "rows": {"orders": 5}}
    assert {"query[no-orphans]", "rows[orders]"} <= set(_cases(planned_target(expect=asked)))
    spared = planned_target(expect={**asked, "newest_only": ["query"]})
    assert "query[no-orphans]" not in _cases(spared)
    assert "rows[orders]" in _cases(spared)
    assert "query[no-orphans]" in [f"{each.case}[{each.detail}]" for each in spared.cases()]
    assert "expect.newest_only: query" in limits.of(spared, "nas~1")


def test_what_is_not_judged_is_said() -> None:
    target = planned_target()
    assert LIMIT in limits.of(target, "nas~1")
    assert LIMIT not in limits.of(target, "nas")


def test_an_exception_of_a_copy_covers_its_older_snapshots() -> None:
    exception = ApprovedException.model_validate(
        {"id": "EX-1", "target": "orders-db", "copy": "nas", "case": "checksum", "reason": "old appliance",
         "approver": "ciso", "expires": "2026-12-31"}
    )  # fmt: skip
    target = planned_target(planned_copy(), planned_copy("offsite"), exceptions=(exception,))
    today = date(2026, 11, 23)
    assert target.exception_for(PlannedCase("orders-db", "nas~1", "checksum"), today) is exception
    assert target.exception_for(PlannedCase("orders-db", "offsite~1", "checksum"), today) is None
    assert target.exception_for(PlannedCase("orders-db", "nas~1", "restores"), today) is None


def test_older_snapshots_come_when_the_newest_of_every_copy_is_through() -> None:
    target = planned_target(planned_copy(), planned_copy("offsite"))
    copies = ["offsite~1", "", "nas~10", "offsite", "nas~2", "nas"]
    cases = [PlannedCase("orders-db", copy, "agree" if not copy else "located") for copy in copies]
    found = [case.copy for case in sorted(cases, key=lambda case: sort_key(case, target))]
    assert found == ["nas", "offsite", "nas~2", "nas~10", "offsite~1", ""]
