"""Are the recovery points there that the policy promises.

The promise ramps up: nothing is missed from before the oldest recovery point ever seen, and a night without a backup
that the gap case reported is not reported again here for as long as the policy looks back.

Of the last seven days today is one, as it is for the tools that prune (restic's ``--keep-daily``, "keep seven files"):
it is not over and cannot be judged, and of the seventh day before it nothing is promised any more. A day may be without
a recovery point when the ones around it are hardly more than a day apart: a job that drifts skips one now and then.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from restore_drill.catalogue.models import RetentionRule
from restore_drill.model import Finding, Verdict


@dataclass(frozen=True, slots=True)
class RetentionFacts:
    """What the listing of one copy says about its recovery points (times in seconds since the epoch).

    Attributes:
        oldest_seen: The oldest recovery point that any drill ever listed.
        known_gaps: Gaps that this drill and earlier ones reported.
        slack: How late a recovery point may reach this copy, in seconds.
        drift: How much later than the period asks a recovery point may follow another, in seconds.
    """

    copy: str
    times: Sequence[float]
    oldest_seen: float | None
    known_gaps: Sequence[tuple[float, float]] = ()
    slack: float = 0.0
    drift: float = 0.0


class Bucket(NamedTuple):
    """One hour, day, week, month or year: its name, and its start and end (seconds since the epoch)."""

    label: str
    start: float
    end: float


#: What a policy counts in, in the order of its length.
PERIODS = ("hourly", "daily", "weekly", "monthly", "yearly")
_FORMATS: Mapping[str, str] = {"hourly": "%Y-%m-%dT%H", "daily": "%Y-%m-%d", "monthly": "%Y-%m", "yearly": "%Y"}


def retention_kept(copies: Sequence[tuple[RetentionFacts, RetentionRule]], now: float, zone: ZoneInfo) -> Finding:
    """The recovery points that the policy promises exist, as far back as the target has been backed up at all."""
    missing = [f"{facts.copy}: {problem}" for facts, rule in copies for problem in _holes(facts, rule, now, zone)]
    points = sum(len(facts.times) for facts, _ in copies)
    if not missing:
        return Finding(expected="what the policy promises", actual=f"{points} recovery points, none missing")
    return Finding(
        Verdict.FAILED,
        "; ".join(missing[:4]) + (f"; and {len(missing) - 4} more" if missing[4:] else ""),
        "Check the prune job: it removes more than the policy allows, or backups of that time never existed.",
        expected="what the policy promises",
        actual=f"{len(missing)} missing",
    )


def _holes(facts: RetentionFacts, rule: RetentionRule, now: float, zone: ZoneInfo) -> Iterable[str]:
    if rule.at_least and len(facts.times) < rule.at_least:
        known = facts.oldest_seen is not None and facts.times and facts.oldest_seen < min(facts.times)
        if known or not facts.times:
            yield f"{len(facts.times)} recovery points, at least {rule.at_least} promised"
    begun = facts.oldest_seen if facts.oldest_seen is not None else min(facts.times, default=now)
    begun = min(begun, min(facts.times, default=begun))
    times = sorted(facts.times)
    for period in PERIODS:
        # The current one is not over, and cannot be judged.
        for label, start, end in buckets(period, getattr(rule, period), now, zone)[1:]:
            due = end <= now - facts.slack and start >= begun
            if due and not _is_kept(times, start, end, facts.drift) and not _known(start, end, facts.known_gaps):
                yield f"no {period} recovery point for {label}"


def _is_kept(times: Sequence[float], start: float, end: float, drift: float) -> bool:
    """Whether a recovery point lies in a period, or the ones around it are as close together as the period asks."""
    before, after = bisect.bisect_left(times, start), bisect.bisect_left(times, end)
    if before < after:
        return True
    return 0 < before < len(times) and times[before] - times[before - 1] <= end - start + drift


def buckets(period: str, wanted: int, now: float, zone: ZoneInfo) -> list[Bucket]:
    """The last ``wanted`` periods, the current one first; it ends now."""
    if not wanted:
        return []
    start = _start(now, period, zone)
    found = [Bucket(_label(start, period, zone), start, math.nextafter(now, math.inf))]
    for _ in range(wanted - 1):
        # By instants: a second less on a clock that was changed may be the same moment, or an hour less.
        end, start = start, _start(start - 1, period, zone)
        found.append(Bucket(_label(start, period, zone), start, end))
    return found


def _start(moment: float, period: str, zone: ZoneInfo) -> float:
    """The beginning of the period that holds a moment; hours are UTC's, so that the double hour is two."""
    if period == "hourly":
        return moment // 3600 * 3600
    day = datetime.fromtimestamp(moment, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if period == "weekly":
        day -= timedelta(days=day.weekday())
    elif period == "monthly":
        day = day.replace(day=1)
    elif period == "yearly":
        day = day.replace(month=1, day=1)
    return day.timestamp()


def _label(moment: float, period: str, zone: ZoneInfo) -> str:
    local = datetime.fromtimestamp(moment, zone)
    if period == "weekly":
        year, week, _ = local.isocalendar()
        return f"{year}-W{week:02d}"
    if period == "hourly":
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%HZ")
    return local.strftime(_FORMATS[period])


def _known(start: float, end: float, gaps: Sequence[tuple[float, float]]) -> bool:
    """Whether an earlier drill already reported that nothing was backed up then: one cause, one failure."""
    return any(first <= start and last >= end - 1 for first, last in gaps)
