"""The locate stage: survey a copy, choose the snapshot, measure what lies around it."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from restore_drill.errors import CouldNotVerify
from restore_drill.facts import Located
from restore_drill.history import CopyHistory
from restore_drill.model import Stage
from restore_drill.plan import PlannedTarget
from restore_drill.policy.snapshot import rpo_bound
from restore_drill.repositories.base import Repository, Survey
from restore_drill.repositories.selection import choose, choose_older
from restore_drill.run import Run

#: Intervals kept as facts: the longest ones, and more of them only as long as they are longer than the RPO.
_KEPT_INTERVALS = 5
_KEPT_GAPS = 100
_PERIODS = (
    ("hourly", timedelta(hours=1)),
    ("daily", timedelta(days=1)),
    ("weekly", timedelta(weeks=1)),
    ("monthly", timedelta(days=28)),
    ("yearly", timedelta(days=365)),
)


def locate(
    repository: Repository,
    target: PlannedTarget,
    run: Run,
    history: CopyHistory | None,
    older: Sequence[str] = (),
    wanted: str | None = None,
) -> Located:
    """Find the snapshot to drill.

    Args:
        repository: Where it lies.
        target: What is drilled.
        run: Which snapshot was asked for, if one was, and the clock.
        history: What earlier drills of the copy found.
        older: The older snapshot that was drawn, and what is drilled in its place when it was pruned since.
        wanted: Id of the snapshot to take, ``""`` for the newest, instead of what the run was asked for.

    Raises:
        BackupFailed: There is none, or the newest is bad as it lies (stage ``locate``).
        CouldNotVerify: The store cannot be read.
    """
    now = run.clock()
    asked = run.options.snapshot if wanted is None else wanted
    if older:
        survey = _find(repository, older)
        selection = choose_older(survey, repository, now)
    else:
        survey = repository.survey(asked)
        selection = choose(survey, repository, now, wanted=asked, sizes_from=history.sizes_from() if history else 0.0)
    if selection.failure is not None:
        raise selection.failure
    assert selection.snapshot  # noqa: S101 - there is one when nothing failed
    start, notes = _window_start(repository, target, now, history)
    return Located(
        snapshot=selection.snapshot,
        where=repository.store.where(repository.copy.pattern.prefix),
        now=now,
        taken=selection.snapshot.moment,
        points=len(survey.times),
        listed=survey.listed,
        oldest=survey.times[0] if survey.times else now,
        stepped_over=tuple(selection.stepped_over),
        notes=(*selection.notes, *notes),
        window_start=start,
        intervals=_intervals(survey.times, start, _zone(repository), target.rpo.total_seconds()),
        lag_seconds=selection.lag_seconds,
        typical_size=selection.typical_size,
        times=survey.times,
    )


def _find(repository: Repository, older: Sequence[str]) -> Survey:
    """A survey with the first that is still there.

    Raises:
        CouldNotVerify: None of them is.
    """
    for identity in older:
        survey = repository.survey(identity)
        if survey.wanted is not None:
            return survey
    raise CouldNotVerify(
        f"the older snapshot that was drawn, {older[0]}, was there when the run began and is not any more",
        looked_at=repository.store.where(repository.copy.pattern.prefix),
        remedy="If the retention policy removed it meanwhile, run it again.",
        stage=Stage.LOCATE,
    )


def _zone(repository: Repository) -> ZoneInfo | None:
    """The zone of names that carry no offset."""
    pattern = repository.copy.pattern
    return pattern.zone if isinstance(pattern.zone, ZoneInfo) and not pattern.has_offset else None


def _window_start(
    repository: Repository, target: PlannedTarget, now: float, history: CopyHistory | None
) -> tuple[float, tuple[str, ...]]:
    """Since when gaps are judged, and a remark where they are not: since the last drill, or the first drill's interval.

    Never further back than the retention policy keeps points as close together as the RPO asks: what was thinned out
    since then is no gap.
    """
    judged = history.judged_until if history else None
    start = now - target.drill_every.total_seconds() if judged is None else judged
    rule = repository.copy.retention
    periods = [(getattr(rule, name) * length, length) for name, length in _PERIODS if rule and getattr(rule, name)]
    if not periods:
        return start, ()
    bound = rpo_bound(target, repository.copy)[0]
    dense = max((span for span, length in periods if length <= bound), default=timedelta(0))
    notes = (
        ()
        if dense or target.model.frozen
        else ("gaps are not judged: retention promises no recovery points as close as the rpo",)
    )
    return max(start, now - dense.total_seconds()), notes


def _intervals(
    times: Sequence[float], start: float, zone: ZoneInfo | None, rpo: float
) -> tuple[tuple[float, float, float], ...]:
    first = bisect.bisect_right(times, start)
    points = [max(times[first - 1], start)] if first else []
    points += times[first:]
    found = [(left, right, _doubt(left, right, zone)) for left, right in pairwise(points)]
    longest = sorted(found, key=lambda interval: interval[0] - interval[1])
    gaps = [interval for interval in longest[_KEPT_INTERVALS:_KEPT_GAPS] if interval[1] - interval[0] > rpo]
    return (*longest[:_KEPT_INTERVALS], *gaps)


def _doubt(left: float, right: float, zone: ZoneInfo | None) -> float:
    """Seconds by which local names may mislead: the clock went back between the two, and names were written twice."""
    if zone is None:
        return 0.0
    before, after = (datetime.fromtimestamp(moment, zone).utcoffset() or timedelta(0) for moment in (left, right))
    return max(0.0, (before - after).total_seconds())
