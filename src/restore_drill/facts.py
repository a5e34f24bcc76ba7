"""What the stages of a drill measured, as values that outlive the drill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from restore_drill.model import Snapshot


@dataclass(frozen=True, slots=True)
class Located:
    """The snapshot that is drilled, and the recovery points around it.

    Times are seconds since the epoch.

    Attributes:
        taken: The snapshot's time as far as its name tells, refined by the store's within the name's resolution.
        points: How many recovery points the listing holds.
        intervals: Consecutive recovery points since ``window_start``: from, to, and seconds of doubt (a clock change).
        where: The address that was listed.
        times: Every recovery point, ascending; not part of the record.
    """

    snapshot: Snapshot
    where: str
    now: float
    taken: float
    points: int
    listed: int
    oldest: float
    stepped_over: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    window_start: float = 0.0
    intervals: tuple[tuple[float, float, float], ...] = ()
    lag_seconds: float = 0.0
    typical_size: int = 0
    times: Sequence[float] = ()

    @property
    def age_seconds(self) -> float:
        """How old the snapshot was when it was located."""
        return self.now - self.taken


@dataclass(frozen=True, slots=True)
class RestoreFacts:
    """How a snapshot was brought back.

    Attributes:
        summary: What came back, in a few words without names.
        rto_seconds: First byte fetched to first query answered or last file written.
        machine: What it was brought back on.
        concurrency: How many drills the run allowed at once.
        sandbox: What the sandbox says of itself.
    """

    summary: str
    seconds: float
    rto_seconds: float
    machine: str
    concurrency: int
    sandbox: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
