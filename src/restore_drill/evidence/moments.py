"""Moments as evidence writes them: UTC, ISO 8601 with Z, to the millisecond."""

from __future__ import annotations

from datetime import UTC, datetime


def stamp(moment: float | datetime) -> str:
    """A moment, given in seconds since the epoch or with its zone."""
    found = moment if isinstance(moment, datetime) else datetime.fromtimestamp(moment, UTC)
    return found.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
