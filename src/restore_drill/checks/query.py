"""Questions with known answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_drill.catalogue.expect import QueryRule
from restore_drill.checks.base import Check, CheckContext
from restore_drill.engines.base import Restored
from restore_drill.model import Finding, Verdict

#: How much of a text is shown among the details.
_SHOWN = 200


class QueryCheck(Check):
    """The first value of the first row is the one that the catalogue knows."""

    short = "query"
    title = "The question has the right answer"

    def measure(self, restored: Restored, context: CheckContext) -> dict[str, Any]:
        """Ask; a number may be published, a text is compared here and stays in the details."""
        rule = _rule(context)
        deadline = rule.within.total_seconds() if rule.within else context.deadline
        answer = restored.scalar(rule.sql, deadline)
        if answer is None or (isinstance(answer, int | float) and not isinstance(answer, bool)):
            return {"answer": answer, "kind": "number" if answer is not None else "nothing"}
        told = str(answer).lower() if isinstance(answer, bool) else str(answer)
        return {
            "kind": "text",
            "length": len(told),
            "matches": rule.equals is not None and told == str(rule.equals),
            "details": [f"{rule.name} answered {told[:_SHOWN]!r}"],
        }

    def judge(self, facts: Mapping[str, Any], context: CheckContext) -> Finding:
        """Compare with equals, or with min and max."""
        rule = _rule(context)
        expected = _expected(rule)
        if facts["kind"] == "text":
            actual: Any = f"a text of {facts['length']} characters"
            right = bool(facts["matches"])
        else:
            actual = "nothing (no row, or NULL)" if facts["kind"] == "nothing" else facts["answer"]
            right = facts["kind"] == "number" and _within(facts["answer"], rule)
        if right:
            return Finding(expected=expected, actual=actual)
        return Finding(
            Verdict.FAILED,
            f"{rule.name} answered {actual}, expected {expected}",
            "Ask the live system the same; if it answers as the backup does, the data is wrong there too.",
            expected=expected,
            actual=actual,
            details=tuple(facts.get("details", ())),
        )


def _rule(context: CheckContext) -> QueryRule:
    rule: QueryRule = next(query for query in context.rule.queries if query.name == context.detail)
    return rule


def _within(answer: float, rule: QueryRule) -> bool:
    if rule.equals is not None:
        return isinstance(rule.equals, int | float) and answer == rule.equals
    return (rule.min is None or answer >= rule.min) and (rule.max is None or answer <= rule.max)


def _expected(rule: QueryRule) -> str | int | float:
    if isinstance(rule.equals, str):
        return f"a certain text of {len(rule.equals)} characters"
    if rule.equals is not None:
        return rule.equals
    parts = [f"at least {rule.min}"] if rule.min is not None else []
    return " and ".join(parts + ([f"at most {rule.max}"] if rule.max is not None else []))
