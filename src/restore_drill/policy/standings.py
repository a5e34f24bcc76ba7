"""How copies stand, and what became of what was due: the values that a population is made of."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

#: What the verdict of the drill that decides makes of a window, in the words of :class:`Totals`.
_WORDS = {"passed": "ran", "failed": "failed", "error": "could_not_verify", "excepted": "excepted", "missed": "missed"}
#: Drills remembered of a copy.
_RECENT = 30


@dataclass(frozen=True, slots=True)
class Occasion:
    """A window that ended, and what became of it.

    Attributes:
        start, by: Its beginning and end (seconds since the epoch); the contract's *from* and *by*.
        outcome: ``passed``, ``failed``, ``error``, ``excepted`` or ``missed``.
        run: The run whose drill decides, ``""`` when it was missed.
        finished: When that drill ended.
        superseded: Runs of earlier drills in the same window.
    """

    target: str
    copy: str
    tier: str
    start: float
    by: float
    outcome: str
    run: str = ""
    finished: float | None = None
    superseded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LastDrill:
    """The last drill of a copy, whole or not."""

    run: str
    finished: float
    verdict: str
    scope: str


@dataclass(frozen=True, slots=True)
class LastGood:
    """The last whole drill in which nothing failed but what an exception covers.

    Attributes:
        taken_at: The time of its snapshot (seconds since the epoch), ``None`` when not known.
    """

    run: str
    finished: float
    snapshot: str
    taken_at: float | None


@dataclass(frozen=True, slots=True)
class Recent:
    """One of the last drills of a copy; what is ``None`` is not known."""

    run: str
    verdict: str
    finished: float
    rto_seconds: float | None
    stored_bytes: int | None
    rows: int | None
    age_seconds: float | None
    scope: str = "whole"
    content_bytes: int | None = None
    restore_seconds: float | None = None


@dataclass(slots=True)
class Standing:
    """How one copy stands now.

    Attributes:
        first_seen: When its calendar began; ``None`` when no run has listed it yet.
        last: The last drill, whole or not.
        last_whole: When the last drill that counts ended.
        failing_since: The end of the first failed drill since the last good one; ``None`` when there is none.
        failing_case: The case that failed last (``rows/orders``), and ``message`` what it said.
        failing_of: How many cases the drill had in which it did.
        unverified_since: The same of drills that could not be verified, while none failed.
        due_by: When the next drill is due.
        overdue: Whether it is overdue, tolerance included.
        retired: When a run of its catalogue did not list it any more; it is due and overdue no longer.
        recent: The last drills, oldest first.
    """

    target: str
    copy: str
    tier: str = ""
    owner: str | None = None
    engine: str = ""
    store: str = ""
    rpo_seconds: float | None = None
    rto_seconds: float | None = None
    drill_every_seconds: float = 0.0
    first_seen: float | None = None
    last: LastDrill | None = None
    last_whole: float | None = None
    last_good: LastGood | None = None
    failing_since: float | None = None
    failing_case: str = ""
    message: str = ""
    failing_of: int = 0
    unverified_since: float | None = None
    due_by: float | None = None
    overdue: bool = False
    retired: float | None = None
    recent: deque[Recent] = field(default_factory=lambda: deque(maxlen=_RECENT))

    @property
    def state(self) -> str:
        """In one word: ``retired``, ``failing``, ``unverified``, ``never drilled``, ``excepted`` or ``good``."""
        if self.retired is not None:
            return "retired"
        if self.failing_since is not None:
            return "failing"
        if self.unverified_since is not None:
            return "unverified"
        if self.last_whole is None:
            return "never drilled"
        return "excepted" if self.last and self.last.verdict == "excepted" else "good"


@dataclass(slots=True)
class Totals:
    """What became of what was due: ``due`` is the sum of the others, always."""

    due: int = 0
    ran: int = 0
    failed: int = 0
    could_not_verify: int = 0
    missed: int = 0
    excepted: int = 0

    def count(self, outcome: str) -> None:
        """One more that was due."""
        word = _WORDS[outcome]
        self.due += 1
        setattr(self, word, getattr(self, word) + 1)


@dataclass(slots=True)
class Across:
    """A case about all copies of a target together that was not passed when it last ran."""

    target: str
    case: str
    verdict: str
    message: str
    since: float
    run: str


def seconds(moment: str | float | datetime) -> float:
    """A moment as evidence writes it, or as one is given, in seconds since the epoch."""
    if isinstance(moment, str):
        return datetime.fromisoformat(moment).timestamp()
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)


def judge(standing: Standing, drill: Mapping[str, Any], finished: float, *, counts: bool) -> None:
    """Since when it fails or could not be verified. Any drill can find a fault; only one that counts clears it."""
    verdict = drill["verdict"]
    if verdict == "failed":
        if standing.failing_since is None:
            standing.failing_since = finished
        standing.unverified_since = None
        standing.failing_of = len(drill["cases"])
        _name_cause(standing, drill)
    elif not counts and drill.get("depth") and verdict in ("passed", "excepted"):
        # Nothing ever restores all of it, so no drill is whole: one of as many cases answers what the other found.
        if len(drill["cases"]) >= standing.failing_of:
            standing.failing_since = None
            standing.failing_case = standing.message = ""
    elif counts and verdict == "error":
        if standing.failing_since is None:
            _name_cause(standing, drill)
            if standing.unverified_since is None:
                standing.unverified_since = finished
    elif counts:
        standing.failing_since = standing.unverified_since = None
        standing.failing_case = standing.message = ""
        snapshot = drill.get("snapshot") or {}
        taken = snapshot.get("taken_at")
        standing.last_good = LastGood(
            standing.last.run if standing.last else "",
            finished,
            str(snapshot.get("id", "")),
            seconds(taken) if taken else None,
        )


def _name_cause(standing: Standing, drill: Mapping[str, Any]) -> None:
    """The first case that has the drill's own verdict and is not blocked by another."""
    bad: list[Mapping[str, Any]] = [case for case in drill["cases"] if case["verdict"] == drill["verdict"]]
    case = next((each for each in bad if not each.get("blocked_by")), bad[0] if bad else {})
    standing.failing_case, standing.message = name_of(case), str(case.get("message", ""))


def name_of(case: Mapping[str, Any]) -> str:
    """A case with its detail: ``rows/orders``."""
    detail = case.get("detail")
    return f"{case.get('case', '')}/{detail}" if detail else str(case.get("case", ""))


def recent(run: str, drill: Mapping[str, Any], finished: float) -> Recent:
    """What trends are made of."""
    achieved = drill.get("achieved", {})
    fetched: Mapping[str, Any] = {}
    restored: Mapping[str, Any] = {}
    counts: dict[str, int] = {}
    for line in drill.get("stages", ()):
        facts = line.get("facts") or {}
        if line.get("stage") == "fetch":
            fetched = facts
        elif line.get("stage") == "restore":
            restored = {"seconds": line.get("seconds"), **facts}
        elif line.get("check", ("",))[0] in ("structure", "rows"):
            counts |= facts.get("counts", {})
    return Recent(
        run,
        str(drill["verdict"]),
        finished,
        achieved.get("rto_seconds"),
        fetched.get("stored_bytes"),
        sum(counts.values()) if counts else None,
        achieved.get("rpo_seconds"),
        str(drill.get("scope", "")),
        fetched.get("content_bytes"),
        restored.get("seconds"),
    )
