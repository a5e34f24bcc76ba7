"""The engine's own consistency checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_drill.checks.base import Check, CheckContext
from restore_drill.engines.base import Restored
from restore_drill.model import Finding, Verdict


class IntegrityCheck(Check):
    """No problem is reported by any of the engine's checks."""

    short = "integrity"
    title = "The engine's own checks are clean"

    def measure(self, restored: Restored, context: CheckContext) -> dict[str, Any]:
        """Ask the engine, as deep as the catalogue says."""
        return restored.integrity(context.rule.integrity)

    def judge(self, facts: Mapping[str, Any], context: CheckContext) -> Finding:
        """Every problem fails, but foreign keys where the catalogue makes them a note."""
        tolerated = {"foreign_key"} if context.rule.foreign_keys == "note" else set()
        problems = [problem for problem in facts["problems"] if problem["rule"] not in tolerated]
        notes = tuple(_sentence(problem) for problem in facts["problems"] if problem["rule"] in tolerated)
        depth = context.rule.integrity
        if depth != "full":
            notes = (f"the check was {depth.upper()}, not full", *notes)
        if not problems:
            return Finding(expected="no problem", actual="no problem", notes=notes)
        total = sum(problem["count"] for problem in problems)
        return Finding(
            Verdict.FAILED,
            f"{_sentence(problems[0])}{f', and {len(problems) - 1} more kinds of problems' if problems[1:] else ''}",
            "Use another copy or an earlier snapshot, and check the live system for the same damage.",
            expected="no problem",
            actual=f"{total} problem{'s' if total > 1 else ''}",
            notes=notes,
            details=tuple(facts.get("details", ())),
        )


def _sentence(problem: Mapping[str, Any]) -> str:
    count = f" ({problem['count']})" if problem["count"] > 1 else ""
    return f"{problem['rule']}: {problem['message']}{count}"
