"""Row counts: exact, bounded, compared with earlier drills, or with what was recorded beside the snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from restore_drill.catalogue.expect import RowRule
from restore_drill.checks.base import Check, CheckContext, is_ignored, least, uncounted
from restore_drill.engines.base import Restored
from restore_drill.errors import Blocked, CouldNotVerify
from restore_drill.model import Finding, Verdict
from restore_drill.plan import OTHER_TABLES
from restore_drill.quantities import format_percentage


class RowCountCheck(Check):
    """A table has the rows that its rule, earlier drills or the recorded counts ask for."""

    short = "rows"
    title = "The table has the rows it should have"

    def measure(self, restored: Restored, context: CheckContext) -> dict[str, Any]:
        """The counts this case is about: one table's, or those of every table without a rule."""
        counts, estimates = restored.row_counts(), restored.estimates()
        if context.detail == OTHER_TABLES:
            wanted = {table for table in (*counts, *estimates) if _is_other(table, context)}
        else:
            wanted = {context.detail}
        found = {"counts": {table: count for table, count in counts.items() if table in wanted}}
        guessed = {table: count for table, count in estimates.items() if table in wanted - counts.keys()}
        return {**found, "estimates": guessed} if guessed else found

    def judge(self, facts: Mapping[str, Any], context: CheckContext) -> Finding:
        """Every bound of the rule; the first broken one is the message.

        Raises:
            CouldNotVerify: A table could not be counted in time; what is assumed of it is judged by no rule.
        """
        counts: Mapping[str, int] = facts["counts"]
        estimates: Mapping[str, int] = facts.get("estimates", {})
        if context.detail != OTHER_TABLES:
            if context.detail in estimates:
                raise uncounted([context.detail])
            return _judge_table(context.detail, counts.get(context.detail), context, _rule(context))
        for table, count in sorted(counts.items()):
            if _is_borne_by_structure(table, count, context):
                continue
            finding = _judge_table(table, count, context, context.rule.rows.default)
            if not finding.passed:
                return finding
        if estimates:
            raise uncounted(estimates)
        if counts and not any(counts.values()) and not context.rule.rows.tables and not context.rule.allow_empty:
            return _all_empty(counts, context)
        return Finding(expected="the default rule", actual=f"{len(counts)} tables within it")


def _all_empty(counts: Mapping[str, int], context: CheckContext) -> Finding:
    """No row at all, where no rule names a table that could say so: a first drill has nothing to compare with.

    Raises:
        Blocked: The structure case says so.
    """
    if all(_is_borne_by_structure(table, count, context) for table, count in counts.items()):
        raise Blocked("structure", "every table was emptied")
    return Finding(
        Verdict.FAILED,
        f"not one of the {len(counts)} tables has a row",
        "Find out why; set expect.allow_empty if an empty system is right.",
        expected="a row in any table",
        actual=0,
    )


def _rule(context: CheckContext) -> RowRule:
    rule: RowRule = context.rule.rows.tables[context.detail]
    return rule


def _is_other(table: str, context: CheckContext) -> bool:
    named = table in context.rule.rows.tables or is_ignored(table, context)
    return not named and context.restored_rows(table)


def _is_borne_by_structure(table: str, count: int, context: CheckContext) -> bool:
    """Whether the structure case says that the table was emptied: one cause, one failure."""
    return "structure" in context.selected and count == 0 and context.baseline.counts.get(table, 0) > 0


def _judge_table(table: str, count: int | None, context: CheckContext, rule: RowRule) -> Finding:
    if count is None:
        return _missing(table, context)
    notes = (f"change accepted: {context.baseline.accepted[table]}",) if table in context.baseline.accepted else ()
    if rule.max_drop is not None:
        context.baseline.require()
        if not context.baseline.run:
            notes = (*notes, "first drill: recorded as the baseline, nothing to compare with yet")
    for expected, broken, tolerance, way_out in _bounds(table, count, context, rule):
        if broken:
            return Finding(
                Verdict.FAILED,
                f"{table} has {count} rows, expected {expected}",
                f"Find out why its rows are not what they should be. {way_out}",
                expected=expected,
                actual=count,
                tolerance=tolerance,
                notes=notes,
            )
    return Finding(expected=_describe(rule), actual=count, tolerance=_origin(rule), notes=notes)


#: What was bounded, whether it is broken, the tolerance, and the way out when it is right as it is.
_Bound = tuple[str, bool, str, str]
_CHANGE: Final = "If they are right, change the rule in the catalogue."
_RECORD: Final = "The job that records the counts and the backup must look at the same moment."


def _bounds(table: str, count: int, context: CheckContext, rule: RowRule) -> Iterator[_Bound]:
    if rule.exact is not None:
        yield f"exactly {rule.exact}", count != rule.exact, "none (catalogue)", _CHANGE
    if rule.min is not None:
        yield f"at least {rule.min}", count < rule.min, "none (catalogue)", _CHANGE
    if rule.max is not None:
        yield f"at most {rule.max}", count > rule.max, "none (catalogue)", _CHANGE
    if rule.recorded:
        recorded = _recorded(table, context)
        yield f"{recorded} as recorded beside the snapshot", count != recorded, "none (recorded counts)", _RECORD
    if rule.max_drop is not None:
        yield from _drops(table, count, context, rule.max_drop)


def _drops(table: str, count: int, context: CheckContext, max_drop: float) -> Iterator[_Bound]:
    """Against the last passed drill, and against 30 days, so that a little less every night does not slip through."""
    tolerance = f"{format_percentage(max_drop)} less (catalogue)"
    way_out = f"If they were purged on purpose: restore-drill baseline accept TARGET --table {table} --reason ..."
    last = context.baseline.counts.get(table)
    if last:
        floor = least(last, max_drop)
        run = context.baseline.run_of(f"rows:{table}")
        yield f"at least {floor} ({last} in {run})", count < floor, tolerance, way_out
    if table in context.baseline.highest:
        highest, day = context.baseline.highest[table]
        floor = least(highest, max_drop)
        yield f"at least {floor} ({highest} on {day})", count < floor, tolerance, way_out


def _recorded(table: str, context: CheckContext) -> int:
    if context.recorded is None or table not in context.recorded:
        raise CouldNotVerify(
            f"no count of {table} is recorded beside the snapshot",
            remedy="Have the backup job write it, or remove recorded: true from the rule.",
        )
    return context.recorded[table]


def _missing(table: str, context: CheckContext) -> Finding:
    known = any(table in names for names in context.baseline.structure.values())
    if known and "structure" in context.selected and not is_ignored(table, context):
        raise Blocked("structure", f"the table {table} vanished")
    return Finding(
        Verdict.FAILED,
        f"the table {table} does not exist",
        "Check what the backup contains; correct the name in expect.rows if the table was renamed.",
        expected="a table",
        actual="none",
    )


def _describe(rule: RowRule) -> str:
    parts = [f"exactly {rule.exact}"] if rule.exact is not None else []
    parts += [f"at least {rule.min}"] if rule.min is not None else []
    parts += [f"at most {rule.max}"] if rule.max is not None else []
    parts += [f"at most {format_percentage(rule.max_drop)} fewer than before"] if rule.max_drop is not None else []
    parts += ["as recorded"] if rule.recorded else []
    return ", ".join(parts)


def _origin(rule: RowRule) -> str:
    return f"{format_percentage(rule.max_drop)} less (catalogue)" if rule.max_drop is not None else "none (catalogue)"
