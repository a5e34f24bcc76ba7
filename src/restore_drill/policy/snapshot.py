"""Is there a snapshot, how old is it, and what lies between it and its predecessors."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import timedelta

from restore_drill.facts import Located
from restore_drill.model import Finding, Verdict
from restore_drill.plan import PlannedCopy, PlannedTarget
from restore_drill.quantities import format_duration, format_instant


def located(facts: Located) -> Finding:
    """A snapshot was found; what was stepped over on the way is remarked."""
    stepped = tuple(f"stepped over {name}: {why}" for name, why in facts.stepped_over)
    newer = len(facts.times) - bisect_right(facts.times, facts.snapshot.taken_at.timestamp())
    place = (
        f"{newer} of {facts.points} {'is' if newer == 1 else 'are'} newer" if newer else f"the newest of {facts.points}"
    )
    return Finding(
        expected="a complete snapshot",
        actual=f"{facts.snapshot.id}, {place}",
        notes=(*stepped, *facts.notes),
    )


def rpo_bound(target: PlannedTarget, copy: PlannedCopy) -> tuple[timedelta, str]:
    """The age a copy's newest snapshot may have, and where the margin comes from."""
    bound = target.rpo + target.model.grace + copy.lag
    lag = f", {format_duration(copy.lag)} replication" if copy.lag else ""
    return bound, f"{format_duration(target.model.grace)} grace{lag}"


def within_rpo(facts: Located, target: PlannedTarget, copy: PlannedCopy) -> Finding:
    """The newest snapshot, by its own recorded time, is not older than the RPO and the margin."""
    bound, tolerance = rpo_bound(target, copy)
    age = timedelta(seconds=facts.age_seconds)
    expected, actual = f"at most {format_duration(bound)} old", f"{format_duration(age)} old"
    if age <= bound:
        return Finding(expected=expected, actual=actual, tolerance=tolerance)
    return Finding(
        Verdict.FAILED,
        f"no snapshot under {facts.where} newer than {format_duration(bound)} (latest {format_instant(facts.taken)}, "
        f"{format_duration(age)} old)",
        "Check the backup job, or raise the tier's rpo.",
        expected=expected,
        actual=actual,
        tolerance=tolerance,
    )


def broken_bounds(
    intervals: Iterable[Sequence[float]], target: PlannedTarget, copy: PlannedCopy
) -> list[tuple[float, float]]:
    """Those intervals (from, to, seconds of doubt) that exceed the RPO and the margin; none of a frozen target."""
    bound = rpo_bound(target, copy)[0].total_seconds()
    if target.model.frozen:
        return []
    return [(left, right) for left, right, doubt in intervals if right - left > bound + doubt]


def no_gap(facts: Located, target: PlannedTarget, copy: PlannedCopy) -> Finding:
    """Between consecutive recovery points since the last drill there was never more than the RPO and the margin."""
    bound, tolerance = rpo_bound(target, copy)
    gaps = broken_bounds(facts.intervals, target, copy)
    since = format_instant(facts.window_start)
    expected = f"at most {format_duration(bound)} between recovery points since {since}"
    largest = max((gap[1] - gap[0] for gap in facts.intervals), default=0.0)
    actual = f"{format_duration(largest)} at most" if facts.intervals else "one recovery point"
    if not gaps:
        return Finding(expected=expected, actual=actual, tolerance=tolerance)
    worst = max(gaps, key=lambda gap: gap[1] - gap[0])
    return Finding(
        Verdict.FAILED,
        f"{len(gaps)} gap{'s' if len(gaps) > 1 else ''} since {since}: no recovery point for "
        f"{format_duration(worst[1] - worst[0])}, from {format_instant(worst[0])} to {format_instant(worst[1])}, "
        f"allowed are {format_duration(bound)}",
        "Find out why the job did not run then; nothing can bring those hours back, so this is reported once.",
        expected=expected,
        actual=actual,
        tolerance=tolerance,
        notes=("recovery points in between were not restored: they are judged by the listing",),
    )
