"""The engine's own consistency checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from restore_drill.checks.base import Check, CheckContext
from restore_drill.engines.base import Restored
from restore_drill.errors import CouldNotVerify
from restore_drill.model import Finding, Verdict


class IntegrityCheck(Check):
    """No problem is reported by any of the engine's checks."""

    short = "integrity"
    title = "The engine's own checks are clean"

    def measure(self, restored: Restored, context: CheckContext) -> dict[str, Any]:
        """Ask the engine, as deep as the catalogue says."""
        return restored.integrity(context.rule.integrity)

    def judge(self, facts: Mapping[str, Any], context: CheckContext) -> Finding:
        """Every problem fails, but foreign keys where the catalogue makes them a note.

        What the engine merely remarked on (``remarks``) fails where ``strict`` of the catalogue lists its rule.

        Raises:
            CouldNotVerify: Nothing was found, but not all was looked at (``undone``).
        """
        tolerated = {"foreign_key"} if context.rule.foreign_keys == "note" else set()
        remarks = facts.get("remarks", ())
        problems = [problem for problem in facts["problems"] if problem["rule"] not in tolerated]
        problems += [remark for remark in remarks if remark["rule"] in context.rule.strict]
        notes = tuple(_sentence(problem) for problem in facts["problems"] if problem["rule"] in tolerated)
        notes += tuple(_sentence(remark) for remark in remarks if remark["rule"] not in context.rule.strict)
        depth = context.rule.integrity
        if depth != "full":
            notes = (f"the check was {depth.upper()}, not full", *notes)
        if not problems and facts.get("undone"):
            raise _unfinished(facts["undone"])
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


def _unfinished(undone: Sequence[str]) -> CouldNotVerify:
    return CouldNotVerify(
        f"not everything could be looked at: {'; '.join(undone[:3])}"
        + (f"; and {len(undone) - 3} more" if undone[3:] else ""),
        remedy="Give the target's deadlines: check: more time, or expect.integrity: quick.",
    )


def _sentence(problem: Mapping[str, Any]) -> str:
    count = f" ({problem['count']})" if problem["count"] > 1 else ""
    return f"{problem['rule']}: {problem['message']}{count}"
