"""Are the recovery points there that the policy promises.

The promise ramps up: nothing is missed from before the oldest recovery point ever seen, and a night without a backup
that the gap case reported is not reported again here for as long as the policy looks back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from restore_drill.catalogue.models import RetentionRule
from restore_drill.model import Finding, Verdict


@dataclass(frozen=True, slots=True)
class RetentionFacts:
    """What the listing of one copy says about its recovery points (times in seconds since the epoch).

    Attributes:
        oldest_seen: The oldest recovery point that any drill ever listed.
        known_gaps: Gaps that earlier drills reported.
        slack: How late a recovery point may reach this copy, in seconds.
    """

    copy: str
    times: Sequence[float]
    oldest_seen: float | None
    known_gaps: Sequence[tuple[float, float]] = ()
    slack: float = 0.0


_PERIODS: Mapping[str, str] = {"hourly": "%Y-%m-%dT%H", "daily": "%Y-%m-%d", "monthly": "%Y-%m", "yearly": "%Y"}


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
    for period in ("hourly", "daily", "weekly", "monthly", "yearly"):
        wanted = getattr(rule, period)
        if wanted:
            have = {_label(moment, period, zone) for moment in facts.times}
            for label, start, end in _buckets(period, wanted, now, zone):
                due = end <= now - facts.slack and begun < end and start >= begun
                if due and label not in have and not _known(start, end, facts.known_gaps):
                    yield f"no {period} recovery point for {label}"


def _buckets(period: str, wanted: int, now: float, zone: ZoneInfo) -> list[tuple[str, float, float]]:
    """The last ``wanted`` periods before the current one: label, start and end (seconds since the epoch)."""
    found = []
    start = _start(datetime.fromtimestamp(now, zone), period)
    for _ in range(wanted):
        end, start = start, _start(start - timedelta(seconds=1), period)
        found.append((_label(start.timestamp(), period, zone), start.timestamp(), end.timestamp()))
    return found


def _start(moment: datetime, period: str) -> datetime:
    """The beginning of the period that holds a moment, in the zone's wall time."""
    if period == "hourly":
        # In UTC, so that the double hour is two hours.
        hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        return hour.astimezone(moment.tzinfo)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if period == "weekly":
        return day - timedelta(days=day.weekday())
    if period == "monthly":
        return day.replace(day=1)
    return day.replace(month=1, day=1) if period == "yearly" else day


def _label(moment: float, period: str, zone: ZoneInfo) -> str:
    local = datetime.fromtimestamp(moment, zone)
    if period == "weekly":
        year, week, _ = local.isocalendar()
        return f"{year}-W{week:02d}"
    if period == "hourly":
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%HZ")
    return local.strftime(_PERIODS[period])


def _known(start: float, end: float, gaps: Sequence[tuple[float, float]]) -> bool:
    """Whether an earlier drill already reported that nothing was backed up then: one cause, one failure."""
    return any(first <= start and last >= end - 1 for first, last in gaps)
