"""Which time zone names without an offset are in, told by when their objects were written.

A backup is written at the time in its name or soon after. A zone in which that holds for nearly all objects of a series
explains them; UTC is preferred, then this machine's own, then some of the zones that many people live in.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

#: One zone for each set of rules that many people live by, east of Greenwich first.
_COMMON = (
    "Europe/London", "Europe/Berlin", "Europe/Helsinki", "Europe/Istanbul", "Asia/Dubai", "Asia/Karachi",
    "Asia/Kolkata", "Asia/Dhaka", "Asia/Bangkok", "Asia/Shanghai", "Asia/Tokyo", "Australia/Sydney",
    "Pacific/Auckland", "America/Sao_Paulo", "America/New_York", "America/Chicago", "America/Denver",
    "America/Phoenix", "America/Los_Angeles", "Pacific/Honolulu",
)  # fmt: skip
#: How long a job may take until its object is written (seconds), and how far clocks may disagree.
_TAKES, _SKEW = 45 * 60.0, 240.0
_MOST = 0.8
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone, and why it is that one.

    Attributes:
        told: Whether anything speaks for it.
    """

    name: str
    why: str
    told: bool = True


def guess_zone(pairs: Sequence[tuple[float, float]], resolution: timedelta) -> Zone:
    """The zone of times in names.

    Args:
        pairs: Of each object the time in its name, read as UTC, and when it was written.
        resolution: The length of time that one name stands for.
    """
    width = _TAKES + (resolution.total_seconds() if resolution > timedelta(minutes=5) else 0.0)
    for name in ("UTC", *_own(), *_COMMON):
        lags = [written - _instant(stamp, name) for stamp, written in pairs]
        if sum(-_SKEW <= lag <= width for lag in lags) < _MOST * len(lags):
            continue
        if name == "UTC" or min(lags) >= -_SKEW:
            return Zone(name, _why(name, pairs, len(lags)))
    ahead = -min(written - stamp for stamp, written in pairs)
    if ahead > _SKEW:
        hours = int(-(-(ahead - _SKEW) // _HOUR))
        if hours <= 14:
            why = f"a name claims {hours} h more than when it was written: no zone to the west of this one can be right"
            return Zone(f"Etc/GMT-{hours}", why)
    return Zone("UTC", "assumed: when objects were written does not tell", told=False)


def _why(name: str, pairs: Sequence[tuple[float, float]], count: int) -> str:
    own = ", this machine's own" if name in _own() and name != "UTC" else ""
    latest = max(pairs)[0]
    apart = (latest - _instant(latest, name)) / _HOUR
    where = "" if not apart else f", {abs(apart):g} h {'ahead of' if apart > 0 else 'behind'} UTC now"
    return f"by the times at which {count} of them were written{where}{own}"


def _instant(stamp: float, name: str) -> float:
    naive = datetime.fromtimestamp(stamp, UTC).replace(tzinfo=None)
    return naive.replace(tzinfo=_zone(name)).timestamp()


def instant(stamp: float, name: str) -> float:
    """The moment that a name means whose time, read as UTC, is ``stamp``."""
    return _instant(stamp, name)


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@cache
def _own() -> tuple[str, ...]:
    """This machine's zone, by its name of the IANA database, where that can be told."""
    named = os.environ.get("TZ", "").removeprefix(":")
    found = named or _linked()
    try:
        return (found,) if found and found not in ("UTC", "Etc/UTC") and ZoneInfo(found) else ()
    except (KeyError, ValueError, OSError):
        return ()


def _linked() -> str:
    try:
        return str(Path("/etc/localtime").resolve()).partition("/zoneinfo/")[2]
    except OSError:
        return ""
