"""A system without a single row, judged by nothing but the default rule: a first drill must not call that good."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.checking import Known, baseline, context

from restore_drill.checks.rows import RowCountCheck
from restore_drill.errors import Blocked
from restore_drill.model import Finding, Verdict
from restore_drill.plan import OTHER_TABLES

DEFAULT: dict[str, Any] = {"default": {"max_drop": "50%"}}


def judged(counts: dict[str, int], expect: dict[str, Any], **more: Any) -> Finding:
    given = context(expect, detail=OTHER_TABLES, **more)
    return RowCountCheck().judge(RowCountCheck().measure(Known(counts=counts), given), given)


def test_no_row_at_all_is_not_within_the_default_rule() -> None:
    finding = judged({"db0": 0, "db1": 0}, {"rows": DEFAULT})
    assert (finding.verdict, finding.actual) == (Verdict.FAILED, 0)
    assert "not one of the 2 tables" in finding.message


@pytest.mark.parametrize(
    ("counts", "expect"),
    [
        ({"db0": 0, "db1": 1}, {"rows": DEFAULT}),
        ({"db0": 0}, {"rows": DEFAULT, "allow_empty": True}),
        ({"db0": 0, "orders": 5}, {"rows": {**DEFAULT, "orders": 5}}),
    ],
)
def test_what_may_be_empty_is(counts: dict[str, int], expect: dict[str, Any]) -> None:
    assert judged(counts, expect).passed


def test_what_structure_says_is_said_once() -> None:
    before = baseline(counts={"db0": 9})
    with pytest.raises(Blocked):
        judged({"db0": 0}, {"rows": DEFAULT}, baseline=before, selected=frozenset({"structure"}))
