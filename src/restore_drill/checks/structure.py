"""Objects that vanished, and tables that were emptied, since the last drill that passed; and what a person reviewed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from restore_drill.catalogue.expect import RowRule
from restore_drill.checks.base import Check, CheckContext, is_ignored, uncounted
from restore_drill.depth import FULL
from restore_drill.engines.base import Restored
from restore_drill.model import Finding, Verdict

#: How many differences from a reference the record keeps; the numbers are of all.
_KEPT: Final = 500
_REVIEW: Final = (
    "Check what the backup leaves out. If it is right: restore-drill baseline reference TARGET prints what came back; "
    "review the difference and commit it."
)
_ACCEPT: Final = (
    "Check the migration or purge behind it. If it is right: restore-drill baseline accept TARGET --table TABLE "
    "--reason ..."
)


class StructureCheck(Check):
    """Everything that the last passed drill saw and the reference lists is there, and no table lost all its rows."""

    short = "structure"
    title = "No object vanished and no table was emptied"

    def measure(self, restored: Restored, context: CheckContext) -> dict[str, Any]:
        """Names by type, rows of every table that was restored with its rows, and the difference from the reference."""
        facts: dict[str, Any] = {"objects": restored.structure(), "counts": {}}
        if context.depth == FULL or context.sample:
            counted = restored.row_counts()
            facts["counts"] = {table: count for table, count in counted.items() if context.restored_rows(table)}
            estimates = {table: count for table, count in restored.estimates().items() if table not in counted}
            facts |= {"estimates": estimates} if estimates else {}
        if context.reference is not None:
            facts["reference"] = _compared(restored.outline(), context)
        return facts

    def judge(self, facts: Mapping[str, Any], context: CheckContext) -> Finding:
        """Compare with the reference and the baseline; additions are nobody's failure.

        Raises:
            CouldNotVerify: There is no state to compare with, or a table that had rows could not be counted in time.
        """
        against = facts.get("reference")
        total = sum(len(names) for names in facts["objects"].values())
        listed = tuple(f"not in the reference: {line}" for line in against["added"][:10]) if against else ()
        if against and against["added_count"] > len(listed):
            listed += (f"not in the reference: {against['added_count'] - len(listed)} more",)
        if against and against["missing"]:
            return _lacking(against, listed)
        if context.depth != FULL:  # only whole drills become baselines
            return Finding(expected=_as_listed(context), actual=f"{total} objects", notes=listed)
        return self._against_baseline(facts, context, total, listed)

    def _against_baseline(
        self, facts: Mapping[str, Any], context: CheckContext, total: int, listed: tuple[str, ...]
    ) -> Finding:
        baseline = context.baseline
        baseline.require()
        accepted = sorted(baseline.accepted.items())
        notes = (*listed, *(f"{table}: change accepted ({reason})" for table, reason in accepted))
        if not baseline.run:
            expected = "a first look" if context.reference is None else _as_listed(context)
            return Finding(expected=expected, actual=f"{total} objects", notes=("recorded as the baseline", *notes))
        expected = f"as in {baseline.run_of('structure')}"
        problems = [*_vanished(facts["objects"], context), *_emptied(facts["counts"], context)]
        if not problems:
            if unknown := _uncounted(facts, context):
                raise uncounted(unknown)
            return Finding(
                expected=expected, actual=f"{total} objects", notes=(*notes, *_shrunk(facts["counts"], context))
            )
        return Finding(
            Verdict.FAILED,
            "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if problems[5:] else ""),
            _ACCEPT,
            expected=expected,
            actual=f"{len(problems)} missing or empty",
            notes=notes,
        )


def _compared(found: list[str], context: CheckContext) -> dict[str, Any]:
    """What the reference lists and is not there, and the other way round."""
    reference = context.reference
    assert reference is not None  # noqa: S101 - the caller looked
    missing, added = sorted(set(reference.lines) - set(found)), sorted(set(found) - set(reference.lines))
    return {
        "file": reference.path,
        "sha256": reference.sha256,
        "lines": len(reference.lines),
        "missing": missing[:_KEPT],
        "missing_count": len(missing),
        "added": added[:_KEPT],
        "added_count": len(added),
    }


def _lacking(against: Mapping[str, Any], notes: tuple[str, ...]) -> Finding:
    shown, count = against["missing"][:5], against["missing_count"]
    more = f"; and {count - len(shown)} more" if count > len(shown) else ""
    return Finding(
        Verdict.FAILED,
        f"the reference lists what was not restored: {'; '.join(shown)}{more}",
        _REVIEW,
        expected=f"the {against['lines']} objects of {against['file']}",
        actual=f"{count} missing",
        notes=notes,
    )


def _as_listed(context: CheckContext) -> str:
    return f"as listed in {context.reference.path}" if context.reference else "nothing to compare with"


def _vanished(objects: Mapping[str, list[str]], context: CheckContext) -> list[str]:
    return [
        f"the {kind} {name} vanished"
        for kind, names in context.baseline.structure.items()
        for name in sorted(set(names) - set(objects.get(kind, ())))
        if not is_ignored(name, context)
    ]


def _emptied(counts: Mapping[str, int], context: CheckContext) -> list[str]:
    """Tables with rows before and none now; a named one is judged by its own rule where that has a lower bound."""
    return [
        f"the table {table} was emptied ({before} rows before)"
        for table, before in _had_rows(context)
        if counts.get(table) == 0
    ]


def _had_rows(context: CheckContext) -> list[tuple[str, int]]:
    """The tables that may not be empty now, and what they had."""
    rows = context.rule.rows
    bounded = {table for table, rule in rows.tables.items() if _has_lower_bound(rule)} if rows else set()
    return [
        (table, before)
        for table, before in sorted(context.baseline.counts.items())
        if before > 0 and table not in bounded and not is_ignored(table, context)
    ]


def _uncounted(facts: Mapping[str, Any], context: CheckContext) -> list[str]:
    """Tables with rows before of which nobody knows whether they have any now."""
    estimates: Mapping[str, int] = facts.get("estimates", {})
    return [table for table, _ in _had_rows(context) if table in estimates]


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
