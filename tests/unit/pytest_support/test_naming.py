"""Node ids: ASCII, readable, and each leads back to its case."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill.cases import CASES, in_ids
from restore_drill.plan import Plan, PlannedCase
from restore_drill.pytest_support.naming import OWN, CaseDirectory, case_id


def _plan() -> Plan:
    """Targets and copies whose names begin alike."""
    expect = {"rows": {"orders": 20, "Ärger & Co.": 3}, "queries": [{"name": "is right", "sql": "s", "equals": 0}]}
    copies = (planned_copy("nas"), planned_copy("nas-2"))
    targets = tuple(planned_target(*copies, name=name, expect=expect) for name in ("db", "db-2", "other"))
    return plan_of(*targets)


_PLAN = _plan()
_DIRECTORY = CaseDirectory(_PLAN)


def test_every_planned_case_is_found_by_its_id() -> None:
    found = {}
    for case in _PLAN.cases():
        name = case_id(case, _PLAN.by_name[case.target].tier)
        nodeid = f"drills/test_standard.py::{CASES[case.case].function}[{name}]"
        assert nodeid.isascii()
        found[nodeid] = _DIRECTORY.find(nodeid)
    assert list(found.values()) == list(_PLAN.cases())
    assert len(found) > 3 * 2 * 12


def test_an_id_names_tier_target_copy_and_detail() -> None:
    assert case_id(PlannedCase("db", "nas", "rows", "Ärger & Co."), "critical") == "critical/db/nas/-rger-Co."
    assert case_id(PlannedCase("db", "", "agree"), "critical") == "critical/db"
    assert case_id(PlannedCase("db", "nas", OWN, "test_mine"), "critical") == "critical/db/nas"


@pytest.mark.parametrize(
    "nodeid",
    [
        "tests/test_other.py::test_other",
        "tests/test_other.py::test_other[critical]",
        "drills/test_standard.py::test_integrity",
        "drills/test_standard.py::test_integrity[critical/none/nas]",
        "drills/test_standard.py",
        "",
    ],
)
def test_what_is_no_drill_is_not_found(nodeid: str) -> None:
    assert _DIRECTORY.find(nodeid) is None


@pytest.mark.parametrize(
    ("nodeid", "copy", "detail"),
    [
        ("drills/test_own.py::test_mine[critical/db/nas]", ("db", "nas"), "test_mine"),
        ("drills/test_own.py::test_mine[critical/db-2/nas-2]", ("db-2", "nas-2"), "test_mine"),
        ("drills/test_own.py::test_mine[critical/db-2/nas-7]", ("db-2", "nas"), "test_mine[7]"),
        ("drills/test_own.py::test_mine[7-critical/db/nas]", ("db", "nas"), "test_mine[7]"),
        ("drills/test_own.py::TestMine::test_it[critical/other/nas]", ("other", "nas"), "test_it"),
        ("drills/test_own.py::test_mine[critical/db/nas-a\nb]", ("db", "nas"), "test_mine[a\nb]"),
    ],
)
def test_a_users_own_case_is_found_with_its_other_parameters(nodeid: str, copy: tuple[str, str], detail: str) -> None:
    assert _DIRECTORY.find(nodeid) == PlannedCase(*copy, OWN, detail)


def test_the_directory_knows_tiers() -> None:
    assert _DIRECTORY.tier(PlannedCase("db", "nas", "rows", "orders")) == "critical"


@settings(derandomize=True)
@given(st.text())
def test_a_slug_is_short_of_everything_that_pytest_would_escape(text: str) -> None:
    made = in_ids(text)
    assert made and made.isascii() and not set(made) & set("[]/ \\\n\0")
    assert in_ids(made) == made
