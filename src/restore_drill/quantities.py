"""Durations, sizes and percentages as people write them in a catalogue, and back again.

A bare number is refused everywhere: ``15`` says neither minutes nor seconds, and YAML turns ``1:30`` into 90.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction

_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("w", "wk", "week", "weeks"), 7 * 86400),
}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")
_ISO = re.compile(
    r"P(?:(?P<w>\d+)W)?(?:(?P<d>\d+)D)?(?:T(?=\d)(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?",
    re.IGNORECASE,
)
_BYTES = {
    "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "pb": 10**15,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40, "pib": 2**50,
}  # fmt: skip


def parse_duration(text: str) -> timedelta:
    """Read ``15m``, ``15 min``, ``1h30m``, ``<1 hour``, ``1 week`` or ISO 8601 ``PT15M``.

    A leading ``<``, ``<=`` or ``≤`` is accepted because objectives are written that way.

    Raises:
        ValueError: The text is not a duration, has no unit, is zero, or is longer than ``timedelta`` can hold.
    """
    body = re.sub(r"^\s*(<=|<|≤)\s*", "", text).strip()
    iso = _ISO.fullmatch(body)
    if iso and any(iso.groups()):
        seconds = sum(float(number) * _SECONDS[unit] for unit, number in iso.groupdict().items() if number)
    else:
        seconds = _sum_parts(body, text)
    try:
        length = timedelta(seconds=seconds)
    except OverflowError as problem:
        raise ValueError(f"{text!r} is longer than can be reckoned with") from problem
    if not length:
        raise ValueError(f"{text!r} is not longer than zero")
    return length


def _sum_parts(body: str, text: str) -> float:
    position, seconds = 0, 0.0
    while position < len(body):
        part = _PART.match(body, position)
        if part is None or part[2].lower() not in _SECONDS:
            raise ValueError(f"{text!r} is not a duration; write a number with a unit: 15m, 1h30m, 1 week or PT15M")
        seconds += float(part[1]) * _SECONDS[part[2].lower()]
        position = part.end()
    return seconds


def format_duration(value: timedelta | float) -> str:
    """Write a duration in its two largest units: ``1 h 30 min``, ``45 s``, ``0.21 s``."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.2f} s"
    whole, parts = round(seconds), []
    for name, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"


def parse_size(text: str) -> int:
    """Read ``10 GiB`` or ``500 MB`` as bytes (``kB`` is 1000, ``KiB`` is 1024).

    Raises:
        ValueError: The text is not a size, or its unit could mean either (``10G``).
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    if match and match[2].lower() in _BYTES:
        return int(Fraction(match[1]) * _BYTES[match[2].lower()])
    if match and match[2].lower() in ("k", "m", "g", "t", "p"):
        unit = match[2].upper()
        raise ValueError(f"{text!r} could be {unit}B (powers of 1000) or {unit}iB (powers of 1024); write one of them")
    raise ValueError(f"{text!r} is not a size; write a number with a unit: 500 MB, 10 GiB")


def format_size(count: int) -> str:
    """Write bytes with three significant digits in decimal units: ``40.0 kB``, ``1.21 GB``."""
    if abs(count) < 1000:
        return f"{count} B"
    value = count / 1000
    for unit in ("kB", "MB", "GB", "TB"):
        if abs(value) < 999.5:  # what would be rounded to 1000 is written in the next unit
            return f"{_three_digits(value)} {unit}"
        value /= 1000
    return f"{_three_digits(value)} PB"


def _three_digits(value: float) -> str:
    return f"{value:.{2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0}f}"


def parse_percentage(text: str) -> float:
    """Read ``5%`` as 0.05.

    Raises:
        ValueError: The text has no percent sign or lies outside 0 to 100.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text)
    if match is None or float(match[1]) > 100:
        raise ValueError(f"{text!r} is not a percentage; write 5% (between 0% and 100%)")
    return float(match[1]) / 100


def format_percentage(share: float) -> str:
    """Write 0.05 as ``5 %``."""
    return f"{share * 100:.3g} %"


def format_instant(moment: float) -> str:
    """Write seconds since the epoch as ``2026-11-23 02:00Z``."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%MZ")


def as_instant(moment: float) -> str:
    """Write seconds since the epoch as JSON has them: ``2026-11-23T02:00:00Z``."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
