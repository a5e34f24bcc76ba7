"""The built-in checks keep the contract of every check."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.checking import Known, baseline, context

from restore_drill.checks.base import Check, CheckContext
from restore_drill.checks.files import FilesCheck
from restore_drill.checks.integrity import IntegrityCheck
from restore_drill.checks.newest import NewestRecordCheck
from restore_drill.checks.query import QueryCheck
from restore_drill.checks.rows import RowCountCheck
from restore_drill.checks.smoke import SmokeCheck
from restore_drill.checks.structure import StructureCheck
from restore_drill.engines.base import Restored
from restore_drill.plan import OTHER_TABLES
from restore_drill.testing.check import CheckConformance

TREE: dict[str, Any] = {
    "files": 3, "directories": 1, "links": 0, "others": 0, "bytes": 3000, "newest": 1795312800.0,
    "must_exist": {"etc/app.toml": 1}, "must_not_exist": {"**/*.lock": 0}, "notes": [], "details": [],
    "manifest": {"listed": 3, "verified": 3, "mismatched": 0, "missing": 0, "extra": 0},
}  # fmt: skip


class TestRows(CheckConformance):
    """A table with a rule of its own."""

    @pytest.fixture
    def check(self) -> Check:
        return RowCountCheck()

    @pytest.fixture
    def context(self) -> CheckContext:
        return context({"rows": {"orders": {"min": 10, "max_drop": "5%"}}}, detail="orders")

    @pytest.fixture
    def good(self) -> Restored:
        return Known(counts={"orders": 10, "items": 0})

    @pytest.fixture
    def bad(self) -> Restored:
        return Known(counts={"orders": 9, "items": 0})


class TestOtherRows(TestRows):
    """The tables that have none."""

    @pytest.fixture
    def context(self) -> CheckContext:
        return context({"rows": {"items": 0, "default": {"min": 10}}}, detail=OTHER_TABLES)


class TestStructure(CheckConformance):
    """A table that vanished."""

    @pytest.fixture
    def check(self) -> Check:
        return StructureCheck()

    @pytest.fixture
    def context(self) -> CheckContext:
        return context(baseline=baseline(structure={"table": ["orders"]}, counts={"orders": 5}))

    @pytest.fixture
    def good(self) -> Restored:
        return Known(structure={"table": ["orders"], "index": ["more"]}, counts={"orders": 5})

    @pytest.fixture
    def bad(self) -> Restored:
        return Known(structure={"index": ["more"]}, counts={})


class TestIntegrity(CheckConformance):
    """A database that its own checks call damaged."""

    @pytest.fixture
    def check(self) -> Check:
        return IntegrityCheck()

    @pytest.fixture
    def context(self) -> CheckContext:
        return context()

    @pytest.fixture
    def good(self) -> Restored:
        return Known(integrity=[])

    @pytest.fixture
    def bad(self) -> Restored:
        return Known(integrity=[{"rule": "integrity_check", "message": "a page is missing", "count": 2}])


class TestQuery(CheckConformance):
    """A number that is wrong."""

    @pytest.fixture
    def check(self) -> Check:
        return QueryCheck()

    @pytest.fixture
    def context(self) -> CheckContext:
        rule = {"name": "orphans", "sql": "select count(*) from o", "equals": 0}
        return context({"queries": [rule]}, detail="orphans")

    @pytest.fixture
    def good(self) -> Restored:
        return Known(answers={"select count(*) from o": 0})

    @pytest.fixture
    def bad(self) -> Restored:
        return Known(answers={"select count(*) from o": 2})


class TestQueryOfText(TestQuery):
    """A text that is wrong, and stays on the terminal."""

    @pytest.fixture
    def context(self) -> CheckContext:
        rule = {"name": "who", "sql": "select name from o", "equals": "production"}
        return context({"queries": [rule]}, detail="who")

    @pytest.fixture
    def good(self) -> Restored:
        return Known(answers={"select name from o": "production"})

    @pytest.fixture
    def bad(self) -> Restored:
        return Known(answers={"select name from o": "Erika Mustermann"})


class TestFiles(CheckConformance):
    """A tree that lacks a file."""

    @pytest.fixture
    def check(self) -> Check:
        return FilesCheck()

    @pytest.fixture
    def context(self) -> CheckContext:
        rule = {"must_exist": ["etc/app.toml"], "must_not_exist": ["**/*.lock"], "manifest": "SHA256SUMS"}
        return context({"files": rule})

    @pytest.fixture
    def good(self) -> Restored:
        return Known(tree=TREE)

    @pytest.fixture
    def bad(self) -> Restored:
        missing = {"listed": 3, "verified": 2, "mismatched": 0, "missing": 1, "extra": 0}
        return Known(tree={**TREE, "manifest": missing, "details": ["missing: letters/to-erika.txt"]})


class TestNewestRecord(CheckConformance):
    """Data older than the snapshot that holds it."""

    @pytest.fixture
    def check(self) -> Check:
        return NewestRecordCheck()

    @pytest.fixture
    def context(self) -> CheckContext:
        return context({"newest_record": {"sql": "select max(at) from o", "within": "1h"}})

    @pytest.fixture
    def good(self) -> Restored:
        return Known(answers={"select max(at) from o": "2026-11-23T01:30:00Z"})

    @pytest.fixture
    def bad(self) -> Restored:
        return Known(answers={"select max(at) from o": "2026-11-20T01:30:00Z"})


class TestNewestFile(TestNewestRecord):
    """Files older than the snapshot that holds them."""

    @pytest.fixture
    def context(self) -> CheckContext:
        return context({"newest_file": {"within": "1h"}})

    @pytest.fixture
    def good(self, context: CheckContext) -> Restored:
        return Known(tree={**TREE, "newest": context.snapshot.taken_at.timestamp() - 60})

    @pytest.fixture
    def bad(self, context: CheckContext) -> Restored:
        return Known(tree={**TREE, "newest": context.snapshot.taken_at.timestamp() - 7200})


TRIED: dict[str, Any] = {
    "outcome": "ended", "status": 0, "contains": True, "application": "up", "details": ["dear Erika"],
}  # fmt: skip


class TestSmoke(CheckConformance):
    """A command that ends in an error."""

    @pytest.fixture
    def check(self) -> Check:
        return SmokeCheck()

    @pytest.fixture
    def context(self) -> CheckContext:
        return context({"smoke": [{"name": "up", "run": ["app", "check"]}]}, detail="up")

    @pytest.fixture
    def good(self) -> Restored:
        return Known(tried=TRIED)

    @pytest.fixture
    def bad(self) -> Restored:
        return Known(tried={**TRIED, "status": 1})


class TestSmokeOverHttp(TestSmoke):
    """An endpoint that is not healthy."""

    @pytest.fixture
    def context(self) -> CheckContext:
        return context({"smoke": [{"name": "up", "http": {"port": 8080, "contains": "ok"}}]}, detail="up")

    @pytest.fixture
    def good(self) -> Restored:
        return Known(tried={**TRIED, "outcome": "answered", "status": 200})

    @pytest.fixture
    def bad(self) -> Restored:
        return Known(tried={**TRIED, "outcome": "answered", "status": 503, "contains": False})


class Judging(RowCountCheck):
    """Wrong: measures and judges at once, in words that name what must not be named."""

    def measure(self, restored: Restored, context: CheckContext) -> dict[str, Any]:
        return {"counts": {}, "details": ["the table"], "at": object()}


class Guessing(RowCountCheck):
    """Wrong: what cannot be measured passes."""

    def measure(self, restored: Restored, context: CheckContext) -> dict[str, Any]:
        try:
            return super().measure(restored, context)
        except Exception:
            return {"counts": {"orders": 10}}


@pytest.mark.parametrize(
    ("check", "rule"),
    [
        (Judging(), "test_it_passes_what_is_good"),
        (Judging(), "test_facts_outlive_the_drill"),
        (Guessing(), "test_what_cannot_be_measured_is_never_a_pass"),
    ],
)
def test_the_suite_notices_a_check_that_is_wrong(check: Check, rule: str) -> None:
    told = context({"rows": {"orders": 10}}, detail="orders")
    systems = {"good": Known(counts={"orders": 10}), "bad": Known(counts={"orders": 9})}
    needed = {
        "test_it_passes_what_is_good": ("good",),
        "test_facts_outlive_the_drill": ("bad",),
        "test_what_cannot_be_measured_is_never_a_pass": (),
    }[rule]
    arguments = {name: systems[name] for name in needed}
    getattr(CheckConformance(), rule)(RowCountCheck(), told, **arguments)
    with pytest.raises((AssertionError, TypeError, pytest.fail.Exception)):
        getattr(CheckConformance(), rule)(check, told, **arguments)
