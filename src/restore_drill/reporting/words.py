"""How reports write times, spans, sizes and values: one wording for every format."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from restore_drill.quantities import format_duration, format_size

#: Verdicts and outcomes as a person says them.
WORDS = {
    "passed": "passed",
    "failed": "failed",
    "error": "could not verify",
    "excepted": "excepted",
    "missed": "missed",
}
#: What answers a failure of an older snapshot beside a drill: the store does not have it any more.
GONE = "gone"
#: Worst first: the order in which a reader needs them.
WORST_FIRST = ("failed", "error", "missed", "excepted", "passed")
_LONGEST = 400


def verdict(found: object) -> str:
    """A verdict of a document; what this release does not know is no pass, but could-not-verify."""
    return str(found) if found in WORDS else "error"


def moment(text: str | None) -> float | None:
    """A time of a document (ISO 8601 with ``Z``) as seconds since the epoch; ``None`` where there is none."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


def instant(value: str | float | None) -> str:
    """A time as ``2026-11-23 02:00 UTC``; ``not known`` where there is none."""
    seconds = moment(value) if isinstance(value, str) else value
    return "not known" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def day(value: str | float | None) -> str:
    """A time as ``2026-11-23``."""
    return instant(value)[:10] if instant(value) != "not known" else "not known"


def span(seconds: float | None) -> str:
    """Seconds as ``1 h 30 min``; ``not known`` where there are none."""
    return "not known" if seconds is None else format_duration(float(seconds))


def took(seconds: float | None) -> str:
    """How long something took, in milliseconds below a second: ``4 ms``, ``2.05 s``."""
    return f"{seconds * 1000:.0f} ms" if seconds is not None and seconds < 1 else span(seconds)


def roughly(seconds: float) -> str:
    """A long time without its small change: ``2 d``, ``5 h 10 min``."""
    unit = 86400 if seconds >= 2 * 86400 else 3600 if seconds >= 86400 else 60 if seconds >= 3600 else 1
    return format_duration(seconds // unit * unit)


def size(count: float | None) -> str:
    """Bytes as ``1.21 GB``."""
    return "not known" if count is None else format_size(int(count))


def number(count: float | None) -> str:
    """A count with its thousands apart."""
    return "not known" if count is None else f"{count:,.0f}"


def counted(count: int, one: str, many: str = "") -> str:
    """``1 backup``, ``3 backups``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def value(found: Any) -> str:
    """What a check expected or found, as text; what is very long is cut, and says so."""
    if found is None or found == "":
        return ""
    if isinstance(found, bool):
        return "yes" if found else "no"
    if isinstance(found, float):
        return f"{found:.10g}"
    text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters, whole in evidence.json)"


def listed(parts: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def sentence(text: str) -> str:
    """A text that begins with a capital, unless a name such as that of an object does, and ends with a stop."""
    first = text[:1].upper() if text.partition(" ")[0].rstrip(",:").isalpha() else text[:1]
    return f"{first}{text[1:]}{'' if text.endswith(('.', '!', '?', '…')) else '.'}"


def dash(found: Any, write: Callable[[Any], str]) -> str:
    """A value as ``write`` writes it; a dash where there is none."""
    return "–" if found is None else write(found)
