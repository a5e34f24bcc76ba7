"""How often a series is made, and the objectives that follow: guessed from the newest intervals, not from gaps.

A tier is chosen whose RPO the rhythm keeps. Where no tier does, the target gets an RPO of its own; an interval that is
much longer than the others is a gap, which a drill is to report, and never the measure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from restore_drill.catalogue.places import DEFAULT_TIERS
from restore_drill.quantities import format_duration

#: Intervals that are looked at, the newest.
_RECENT = 30
#: An interval of more than so many usual ones is a gap.
_GAP = 1.8
#: What a job may be late without missing its RPO: the catalogue's default grace.
_GRACE = timedelta(minutes=15)
_HOUR, _DAY = 3600.0, 86400.0
#: Stored bytes that are fetched, decoded and loaded in a second, carefully guessed.
_SPEED = 10e6
#: Beyond this many seconds between snapshots they are archives, each for itself.
_ARCHIVES = 60 * _DAY
#: Unless so many intervals are alike.
_REGULAR = 3


@dataclass(frozen=True, slots=True)
class Rhythm:
    """What the times of a series say.

    Attributes:
        tier: The tier that it keeps.
        why: The reason, in words.
        rpo: Its own RPO, where its rhythm is slower than the tier's.
        frozen: It is no longer made: its age is not judged.
        warnings: What a drill will say, or a person should know.
    """

    tier: str
    why: str
    rpo: str = ""
    frozen: bool = False
    warnings: tuple[str, ...] = ()


def rhythm(stamps: Sequence[float], now: float) -> Rhythm:
    """Guess from the times of the newest snapshots (seconds since the epoch, in any order)."""
    times = sorted(set(stamps))
    age = now - times[-1]
    if len(times) == 1:
        return _single(age)
    intervals = [later - earlier for earlier, later in pairwise(times)][-_RECENT:]
    usual = statistics.median(intervals)
    if usual > _ARCHIVES and age > _GAP * usual / 2 and not _is_regular(intervals, usual):
        why = f"{len(times)} snapshots, {_said(usual)} apart, the newest {_said(age)} old: taken for archives"
        return Rhythm("archival", why, frozen=True)
    longest, rule = _longest(intervals, usual, times)
    tier = _tier(usual)
    bound = DEFAULT_TIERS[tier].rpo + _GRACE
    why = f"made every {_said(usual)}{rule}"
    rpo = ""
    if longest > (bound - timedelta(minutes=5)).total_seconds():
        rpo = _rounded(longest)
        bound = timedelta(seconds=_seconds(rpo)) + _GRACE
    warnings = []
    gaps = [interval for interval in intervals if interval > bound.total_seconds()]
    if gaps:
        warnings.append(f"{len(gaps)} of the last {len(intervals)} intervals are longer, up to {_said(max(gaps))}")
    if age > bound.total_seconds():
        warnings.append(f"the newest is {_said(age)} old: the drill will fail over it; frozen: true if it is retired")
    return Rhythm(tier, why, rpo, warnings=tuple(warnings))


def _single(age: float) -> Rhythm:
    if age > 7 * _DAY:
        why = f"one snapshot, {_said(age)} old: taken for an archive; remove frozen if a job makes it"
        return Rhythm("archival", why, frozen=True)
    return Rhythm("archival", "one snapshot: how often it is made cannot be told")


def _is_regular(intervals: Sequence[float], usual: float) -> bool:
    """Whether a job makes them: then one that is missing is missing."""
    return len(intervals) >= _REGULAR and max(abs(interval - usual) for interval in intervals) < usual / 4


def _tier(usual: float) -> str:
    if usual <= 1.25 * _HOUR:
        return "critical"
    return "important" if usual <= 1.25 * _DAY else "archival"


def _longest(intervals: Sequence[float], usual: float, times: Sequence[float]) -> tuple[float, str]:
    """The longest interval that belongs to the rhythm, and what that is in words."""
    regular = max(interval for interval in intervals if interval <= _GAP * usual)
    if not 0.8 * _DAY <= usual <= 1.25 * _DAY:
        return regular, ""
    recent = times[-len(intervals) - 1 :]
    over = [pair for pair in pairwise(recent) if pair[1] - pair[0] > _GAP * usual]
    if len(over) >= 2 and all(_is_weekend(*pair) for pair in over):
        return max(later - earlier for earlier, later in over), ", not on weekends"
    return regular, ""


def _is_weekend(earlier: float, later: float) -> bool:
    if later - earlier > 3.3 * _DAY:
        return False
    days = {
        datetime.fromtimestamp(earlier + number * _DAY, UTC).weekday()
        for number in range(1, round((later - earlier) / _DAY))
    }
    return bool(days) and days <= {4, 5, 6, 0} and bool(days & {5, 6})


def _rounded(seconds: float) -> str:
    """A tenth more, in whole hours or days."""
    if seconds < 2 * _DAY:
        return f"{math.ceil(seconds * 1.05 / _HOUR)}h"
    if seconds < 4 * _DAY:
        return f"{math.ceil(seconds / _HOUR) + 1}h"
    return f"{math.ceil(seconds * 1.1 / _DAY)}d"


def _seconds(text: str) -> float:
    return int(text[:-1]) * (_HOUR if text.endswith("h") else _DAY)


def _said(seconds: float) -> str:
    for unit in (60.0, _HOUR, _DAY):
        if seconds >= 20 * unit:
            continue
        return format_duration(timedelta(seconds=round(seconds / (unit / 4)) * unit / 4))
    return format_duration(timedelta(days=round(seconds / _DAY)))


def size_drop(sizes: Sequence[int]) -> tuple[int, bool]:
    """How many percent below the median of its predecessors a healthy snapshot of this series may lie.

    Args:
        sizes: Of the newest snapshots, newest first.

    Returns:
        The percentage, 0 where the default will do, and whether the newest one lies below it by itself.
    """
    positive = [size for size in sizes if size > 0]
    if len(positive) < 5:
        return 0, False
    ratios = [positive[at] / statistics.median(positive[at + 1 : at + 11]) for at in range(len(positive) - 3)]
    low = sorted(ratios[1:])
    collapsed = sum(ratio < 0.5 for ratio in low)
    if collapsed < 2:
        return 0, ratios[0] < 0.5
    drop = min(99, math.ceil((1 - low[0]) * 100) + 3)
    return drop, ratios[0] < 1 - drop / 100


def rto_for(size: int, objective: timedelta) -> str:
    """An RTO of its own for what cannot be back within the tier's; ``""`` where it can.

    Args:
        size: Stored bytes.
        objective: The tier's RTO.
    """
    return longer_rto(size / _SPEED, objective)


def longer_rto(seconds: float, objective: timedelta) -> str:
    """The same of a restore that took so long."""
    if seconds <= 0.8 * objective.total_seconds():
        return ""
    return f"{math.ceil(1.5 * seconds / _HOUR)}h"
