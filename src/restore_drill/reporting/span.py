"""Periods as people name them: ``2026-10``, ``2026Q4``, ``30d``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from restore_drill.errors import UsageProblem
from restore_drill.quantities import parse_duration

_QUARTER = re.compile(r"(\d{4})-?Q([1-4])", re.IGNORECASE)
_WEEK = re.compile(r"(\d{4})-?W(\d{2})", re.IGNORECASE)
_MONTH = re.compile(r"(\d{4})-(\d{2})")
_YEAR = re.compile(r"\d{4}")
_REMEDY = "Write 2026, 2026Q4, 2026-10, 2026-W47, 2026-11-23, or a length until now: 30d."


@dataclass(frozen=True, slots=True)
class Span:
    """A period: from its beginning to before its end, in seconds since the epoch.

    Attributes:
        title: As a sentence names it.
        is_current: Whether it ends now.
    """

    title: str
    since: float
    until: float
    is_current: bool = False


def named(text: str, now: datetime) -> Span:
    """The period that a text names; one that is not over yet ends now.

    Raises:
        UsageProblem: It names none, or one that has not begun.
    """
    try:
        first, after = _days(text)
    except ValueError as problem:
        return _until_now(text, now, problem)
    return _span(text, _midnight(first), _midnight(after), now)


def between(first: str | None, last: str | None, now: datetime) -> Span:
    """From the first day to the last one, both included; from the beginning of all, and until now, when left out.

    Raises:
        UsageProblem: A day is not written as one, or the last comes before the first.
    """
    try:
        since = _midnight(date.fromisoformat(first)) if first else datetime.fromtimestamp(0, UTC)
        until = _midnight(date.fromisoformat(last) + timedelta(days=1)) if last else now
    except (ValueError, OverflowError) as problem:
        raise UsageProblem("a day cannot be read", looked_at=str(problem), remedy="Write 2026-11-23.") from problem
    if until <= since:
        raise UsageProblem("the period ends before it begins", remedy="Give --from a day that is not after --to.")
    title = f"{first or 'the time'} to {last}" if last else f"the time since {first}"
    return _span(title, since, until, now)


def _span(title: str, since: datetime, until: datetime, now: datetime) -> Span:
    if since > now:
        raise UsageProblem(f"{title} has not begun", remedy=_REMEDY)
    so_far = f"{title} so far" if until > now else title
    return Span(so_far, since.timestamp(), min(until, now).timestamp(), until >= now)


def _until_now(text: str, now: datetime, problem: ValueError) -> Span:
    try:
        length = parse_duration(text)
        return Span(f"the last {text}", (now - length).timestamp(), now.timestamp(), is_current=True)
    except (ValueError, OverflowError):
        raise UsageProblem(f"{text!r} is no period", remedy=_REMEDY) from problem


def _days(text: str) -> tuple[date, date]:
    """Its first day, and the day after its last."""
    if found := _QUARTER.fullmatch(text):
        first = date(int(found[1]), 3 * int(found[2]) - 2, 1)
        return first, _months_after(first, 3)
    if found := _WEEK.fullmatch(text):
        first = date.fromisocalendar(int(found[1]), int(found[2]), 1)
        return first, first + timedelta(days=7)
    if found := _MONTH.fullmatch(text):
        first = date(int(found[1]), int(found[2]), 1)
        return first, _months_after(first, 1)
    if _YEAR.fullmatch(text):
        return date(int(text), 1, 1), date(int(text) + 1, 1, 1)
    first = date.fromisoformat(text)
    return first, first + timedelta(days=1)


def _months_after(first: date, months: int) -> date:
    month = first.month - 1 + months
    return date(first.year + month // 12, month % 12 + 1, 1)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
