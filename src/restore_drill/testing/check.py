"""What every check must do: subclass :class:`CheckConformance` in a test module, and pytest runs it.

::

    class TestMyCheck(CheckConformance):
        @pytest.fixture
        def check(self): return MyCheck()
        @pytest.fixture
        def context(self): ...                     # a CheckContext with a rule
        @pytest.fixture
        def good(self): ...                        # a Restored that satisfies the rule
        @pytest.fixture
        def bad(self): ...                         # one that does not
"""

# ruff: noqa: S101 - assertions are what this is for

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest

from restore_drill.checks.base import Check, CheckContext
from restore_drill.engines.base import Restored
from restore_drill.errors import CouldNotVerify
from restore_drill.model import Finding, Verdict


class _Mute(Restored):
    """A system that answers nothing: every question is one that cannot be measured."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.notes: list[str] = []


class CheckConformance:
    """The contract of :class:`restore_drill.checks.base.Check`."""

    def test_it_passes_what_is_good(self, check: Check, context: CheckContext, good: Restored) -> None:
        """With what was expected and what was found."""
        finding = check.judge(check.measure(good, context), context)
        assert finding.verdict is Verdict.PASSED
        assert finding.message == ""
        assert finding.expected is not None
        assert finding.actual is not None

    def test_it_fails_what_is_bad(self, check: Check, context: CheckContext, bad: Restored) -> None:
        """With a cause in one sentence and a remedy."""
        finding = check.judge(check.measure(bad, context), context)
        assert finding.verdict is Verdict.FAILED
        assert finding.message
        assert "\n" not in finding.message
        assert finding.remedy
        assert finding.expected is not None
        assert finding.actual is not None

    def test_facts_outlive_the_drill(self, check: Check, context: CheckContext, bad: Restored) -> None:
        """They survive JSON, and give the same finding afterwards."""
        facts = check.measure(bad, context)
        again = json.loads(json.dumps(facts))
        assert _said(check.judge(again, context)) == _said(check.judge(facts, context))

    def test_judging_changes_nothing(self, check: Check, context: CheckContext, bad: Restored) -> None:
        """The facts may be judged again by another rule."""
        facts = check.measure(bad, context)
        before = copy.deepcopy(facts)
        check.judge(facts, context)
        assert facts == before

    def test_details_stay_details(self, check: Check, context: CheckContext, bad: Restored) -> None:
        """What is kept out of evidence is not in the parts that are published."""
        facts = check.measure(bad, context)
        finding = check.judge(facts, context)
        published = json.dumps([*_said(finding), _public(facts)], default=str)
        for detail in facts.get("details", []):
            assert detail not in published

    def test_what_cannot_be_measured_is_never_a_pass(self, check: Check, context: CheckContext) -> None:
        """A system that cannot answer gives no finding at all."""
        with pytest.raises(CouldNotVerify):
            check.measure(_Mute(), context)


def _said(finding: Finding) -> list[Any]:
    return [finding.verdict, finding.message, finding.expected, finding.actual, finding.tolerance, list(finding.notes)]


def _public(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name != "details"}
