"""Is the last proved snapshot about to be removed by somebody else: a lifecycle rule, a prune job, a rotation.

A snapshot goes when the first thing goes that it is restored from. What is proved tonight takes the place of what was
proved before, so that this fails only where drills stopped passing, or where backups are kept too short for them.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from restore_drill.catalogue.keeping import ExpiryRule
from restore_drill.errors import Blocked, CouldNotVerify
from restore_drill.model import Finding, Verdict
from restore_drill.quantities import format_duration, format_instant

#: Seconds by which evidence may round a time, and by which an id, which has seconds only, may cut it off.
_ROUNDED, _CUT = 0.01, 1.0
#: Intervals that the pace of backups is taken from.
_RECENT = 20


@dataclass(frozen=True, slots=True)
class Proved:
    """A snapshot that a drill proved (times in seconds since the epoch).

    Attributes:
        oldest: The time of the oldest snapshot that it is restored from: its own where it is a full one.
    """

    snapshot: str
    taken_at: float
    oldest: float


@dataclass(frozen=True, slots=True)
class ExpiryFacts:
    """What is known of one copy (times in seconds since the epoch).

    Attributes:
        rule: How its backups are removed.
        warn: How long before that is told, in seconds.
        proved: Every snapshot that is proved, whether it still lies there or not.
        times: Every recovery point that lies there, ascending; ``None`` when that is not known.
        blocked_by: The case of this run because of which it was not proved tonight, ``""`` when it was.
        why_not: What that case said.
    """

    copy: str
    rule: ExpiryRule
    warn: float
    proved: Sequence[Proved]
    times: Sequence[float] | None
    blocked_by: str = ""
    why_not: str = ""


def expiry_spares(copies: Sequence[ExpiryFacts], now: float, *, only_bad: bool = False) -> Finding:
    """Nothing will remove a copy's last proved snapshot before another drill can prove a newer one.

    Args:
        copies: Those whose backups somebody removes.
        now: Seconds since the epoch.
        only_bad: Whether it is only asked if something is known to be wrong.

    Raises:
        Blocked: Nothing of a copy is proved, because its drill did not pass.
        CouldNotVerify: Nothing of a copy is proved.
    """
    found = [_judged(facts, now) for facts in copies]
    bad = [(facts, message) for facts, (message, _) in zip(copies, found, strict=True) if message]
    expected = "the last proved snapshot stays until another is proved"
    if bad:
        return Finding(
            Verdict.FAILED,
            "; ".join(f"{facts.copy}: {message}" for facts, message in bad),
            "Suspend what removes backups (or put them under a hold there) until a drill passes again; "
            "restore-drill retention tells what must stay. Or keep backups longer, or drill more often.",
            expected=expected,
            actual=f"{len(bad)} in danger",
        )
    for facts in () if only_bad else copies:
        if not facts.proved and facts.blocked_by:
            raise Blocked(facts.blocked_by, f"nothing of {facts.copy} is proved: {facts.why_not}")
        if not facts.proved:
            raise CouldNotVerify(
                f"nothing of the copy {facts.copy} is proved yet, so that nothing can be said of how long it stays",
                remedy="Run its whole drill.",
            )
    moments = [moment for _, moment in found if moment is not None and math.isfinite(moment)]
    actual = f"removed {format_instant(min(moments))} at the earliest" if moments else "not known when it is removed"
    return Finding(expected=expected, actual=actual)


def _judged(facts: ExpiryFacts, now: float) -> tuple[str, float | None]:
    """What is wrong with one copy (``""``: nothing), and when its last proved snapshot is removed."""
    if not facts.proved:
        return "", None
    there = [each for each in facts.proved if facts.times is None or _is_there(each, facts.times)]
    newest = max(facts.proved, key=lambda each: each.taken_at)
    if not there:
        return f"no proved snapshot is left: the last, {newest.snapshot}, is gone, and nothing newer is proved", None
    last = max(there, key=lambda each: each.taken_at)
    moment, how = _removal(facts, last)
    left = moment - now
    if left > facts.warn:
        return "", moment
    when = f"since {format_instant(moment)}" if left <= 0 else f"{format_instant(moment)}, in {format_duration(left)}"
    word = "may be gone" if left <= 0 else "is removed"
    chain = "" if last.oldest == last.taken_at else f" (what it builds on is of {format_instant(last.oldest)})"
    return f"the last proved snapshot {last.snapshot}{chain} {word} {when}: {how}, and nothing newer is proved", moment


def _is_there(proved: Proved, times: Sequence[float]) -> bool:
    return all(_holds(times, moment) for moment in (proved.taken_at, proved.oldest))


def _holds(times: Sequence[float], moment: float) -> bool:
    place = bisect.bisect_left(times, moment - _ROUNDED)
    return place < len(times) and times[place] <= moment + _CUT


def _removal(facts: ExpiryFacts, last: Proved) -> tuple[float, str]:
    """When a snapshot goes, by the rule that takes it first, and how."""
    rule, found = facts.rule, []
    by = rule.by or "the expiry"
    if rule.after is not None:
        found.append((last.oldest + rule.after.total_seconds(), f"{by} removes after {format_duration(rule.after)}"))
    if rule.keep_last is not None and facts.times:
        newer = len(facts.times) - bisect.bisect_right(facts.times, last.oldest + _CUT)
        recent = facts.times[-_RECENT:]
        # Of one backup nobody knows when the next will come.
        pace = statistics.median(right - left for left, right in pairwise(recent)) if len(recent) > 1 else math.inf
        to_come = max(0, rule.keep_last - newer)
        text = f"{by} keeps the newest {rule.keep_last}, and {to_come} more will push it out"
        found.append((facts.times[-1] + (to_come * pace if to_come else 0.0), text))
    return min(found) if found else (math.inf, "")
