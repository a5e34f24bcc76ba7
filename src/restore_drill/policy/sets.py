"""Several targets brought back together: whether their moments fit, their answers agree, the application runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from restore_drill.catalogue.sets import SetApplication, SetQuery
from restore_drill.model import Finding, Verdict
from restore_drill.plan import PlannedSet
from restore_drill.quantities import format_duration, format_instant


@dataclass(frozen=True, slots=True)
class SetFacts:
    """A set that came back.

    Attributes:
        moments: When the snapshot of each target was taken, in seconds since the epoch; frozen ones have none.
        older: How many newer snapshots of each were passed over, because no other target has one of their moment.
        now: When they were looked for.
        grace: How late a backup may be.
        seconds: How long it took until all of it was back.
        notes: Remarks that change no verdict.
    """

    moments: Mapping[str, float]
    older: Mapping[str, int]
    now: float
    grace: timedelta
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def spread(self) -> float:
        """How far apart the moments lie, in seconds."""
        return max(self.moments.values()) - min(self.moments.values()) if self.moments else 0.0

    @property
    def age(self) -> float:
        """How old the common moment is, in seconds: who goes back to it loses what came after the earliest of them."""
        return self.now - min(self.moments.values()) if self.moments else 0.0


def set_restored(together: SetFacts, planned: PlannedSet) -> Finding:
    """All of it came back, in time, and to a moment that is not older than may be lost."""
    expected = f"moments within {format_duration(planned.model.within)} of each other"
    actual = f"{format_duration(together.spread)} apart" if together.moments else "nothing of it changes any more"
    bound = planned.rpo + together.grace
    if together.moments:
        expected += f", not older than {format_duration(bound)}"
        actual += f", {format_duration(together.age)} old"
    rto = planned.model.rto
    if rto is not None:
        expected += f", back within {format_duration(rto)}"
        actual += f", back after {format_duration(together.seconds)}"
    if together.moments and together.age > bound.total_seconds():
        return _too_old(together, bound, expected, actual)
    if rto is not None and together.seconds > rto.total_seconds():
        return Finding(
            Verdict.FAILED,
            f"all of it was back after {format_duration(together.seconds)}, allowed are {format_duration(rto)}",
            "See in the evidence what took long, or raise the set's rto for drill hardware.",
            expected=expected,
            actual=actual,
            notes=together.notes,
        )
    return Finding(expected=expected, actual=actual, notes=together.notes)


def _too_old(together: SetFacts, bound: timedelta, expected: str, actual: str) -> Finding:
    passed = ", ".join(f"{count} of {name}" for name, count in together.older.items() if count)
    newest = f" Newer snapshots without a counterpart: {passed}." if passed else ""
    return Finding(
        Verdict.FAILED,
        f"the newest common moment of {', '.join(together.moments)} is {format_duration(together.age)} old "
        f"({format_instant(min(together.moments.values()))}), allowed are {format_duration(bound)}",
        f"Take their backups together, or raise within or rpo of the set.{newest}",
        expected=expected,
        actual=actual,
        notes=together.notes,
    )


def set_query(facts: Mapping[str, Any], rule: SetQuery) -> Finding:
    """The rows of one answer are in the other, or both have the same."""
    ask, other = rule.ask.target, rule.other.target
    asked, held, missing, extra = (int(facts[name]) for name in ("asked", "held", "missing", "extra"))
    relation = "in" if rule.is_in is not None else "the same as"
    expected = f"every row of {ask} {relation} those of {other}" if relation == "in" else f"the same rows as {other}"
    tolerance = f"{rule.tolerate} rows" if rule.tolerate else ""
    actual = f"{asked} rows of {ask}, {held} of {other}, {missing} not there" + (f", {extra} too many" if extra else "")
    empty = ask if not asked else other if not held else ""
    if empty and not rule.allow_empty:
        return Finding(
            Verdict.FAILED,
            f"{rule.name}: {empty} answers without a single row",
            "Look at the statement and the backup; set allow_empty if none is right.",
            expected=expected,
            actual=actual,
            tolerance=tolerance,
        )
    if missing + extra <= rule.tolerate:
        return Finding(expected=expected, actual=actual, tolerance=tolerance)
    lack = [f"{missing} of {asked} rows of {ask} are not in {other}"] if missing else []
    lack += [f"{extra} of {held} rows of {other} are not in {ask}"] if extra else []
    return Finding(
        Verdict.FAILED,
        f"{rule.name}: {'; '.join(lack)}",
        "Which ones is in the details on the terminal. Take the backups of what belongs together in the right order "
        "(what refers before what is referred to), or allow for what is deleted meanwhile with tolerate.",
        expected=expected,
        actual=actual,
        tolerance=tolerance,
        details=tuple(facts.get("details", ())),
    )


def set_boots(facts: Mapping[str, Any], rule: SetApplication) -> Finding:
    """The application over what came back answers as it should."""
    health, state = rule.health, str(facts["application"])
    text = " and a certain text" if health.contains else ""
    expected = f"{health.status}{text} from port {health.port} within {format_duration(rule.within)}"
    if facts["outcome"] == "answered":
        without = "" if facts["contains"] or facts["status"] != health.status else " without the text"
        actual, said = f"status {facts['status']}{without}", f"answers with status {facts['status']}{without}"
        if facts["status"] == health.status and facts["contains"]:
            return Finding(expected=expected, actual=actual, notes=tuple(facts.get("notes", ())))
    else:
        actual = "no answer" if state not in ("up", "none") else f"no answer within {format_duration(rule.within)}"
        said = f"gives {actual}"
    if state not in ("up", "none"):
        said += f" and {state}"
    return Finding(
        Verdict.FAILED,
        f"the application {said}, expected {expected}",
        "What it wrote is in the details on the terminal. Try the same request on the live application; if it fails "
        "there too, it needs something that is not in the set.",
        expected=expected,
        actual=actual,
        notes=tuple(facts.get("notes", ())),
        details=tuple(facts.get("details", ())),
    )
