"""Objects that vanished, and tables that were emptied, since the last drill that passed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_drill.catalogue.expect import RowRule
from restore_drill.checks.base import Check, CheckContext, is_ignored
from restore_drill.engines.base import Restored
from restore_drill.model import Finding, Verdict


class StructureCheck(Check):
    """Everything that the last passed drill saw is still there, and no table lost all its rows."""

    short = "structure"
    title = "No object vanished and no table was emptied"

    def measure(self, restored: Restored, context: CheckContext) -> dict[str, Any]:  # noqa: ARG002 - needs no rule
        """Names by type, and rows of every table."""
        return {"objects": restored.structure(), "counts": restored.row_counts()}

    def judge(self, facts: Mapping[str, Any], context: CheckContext) -> Finding:
        """Compare with the baseline; additions are nobody's failure."""
        baseline = context.baseline
        baseline.require()
        objects: Mapping[str, list[str]] = facts["objects"]
        total = sum(len(names) for names in objects.values())
        notes = tuple(f"{table}: change accepted ({reason})" for table, reason in sorted(baseline.accepted.items()))
        if not baseline.run:
            return Finding(
                expected="a first look", actual=f"{total} objects", notes=("recorded as the baseline", *notes)
            )
        problems = [*_vanished(objects, context), *_emptied(facts["counts"], context)]
        if not problems:
            notes += tuple(_shrunk(facts["counts"], context))
            return Finding(expected=f"as in {baseline.run_of('structure')}", actual=f"{total} objects", notes=notes)
        return Finding(
            Verdict.FAILED,
            "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if problems[5:] else ""),
            "Check the migration or purge behind it. If it is right: restore-drill baseline accept TARGET "
            "--table TABLE --reason ...",
            expected=f"as in {baseline.run_of('structure')}",
            actual=f"{len(problems)} missing or empty",
            notes=notes,
        )


def _vanished(objects: Mapping[str, list[str]], context: CheckContext) -> list[str]:
    return [
        f"the {kind} {name} vanished"
        for kind, names in context.baseline.structure.items()
        for name in sorted(set(names) - set(objects.get(kind, ())))
        if not is_ignored(name, context)
    ]


def _emptied(counts: Mapping[str, int], context: CheckContext) -> list[str]:
    """Tables with rows before and none now; a named one is judged by its own rule where that has a lower bound."""
    rows = context.rule.rows
    bounded = {table for table, rule in rows.tables.items() if _has_lower_bound(rule)} if rows else set()
    return [
        f"the table {table} was emptied ({before} rows before)"
        for table, before in sorted(context.baseline.counts.items())
        if before > 0 and counts.get(table) == 0 and table not in bounded and not is_ignored(table, context)
    ]


def _has_lower_bound(rule: RowRule) -> bool:
    return rule.recorded or not (rule.exact is rule.min is rule.max_drop is None)


def _shrunk(counts: Mapping[str, int], context: CheckContext) -> list[str]:
    """Drops of tables that nobody named: remarked, because they may be a purge as well as a loss."""
    rows = context.rule.rows
    if rows is not None and rows.default is not None:
        return []
    named = set(rows.tables) if rows else set()
    return [
        f"{table}: {before} rows before, {counts[table]} now"
        for table, before in sorted(context.baseline.counts.items())
        if table not in named and not is_ignored(table, context) and counts.get(table, before) < before
    ][:10]
