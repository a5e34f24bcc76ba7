"""What is known of a copy from earlier drills, as reports show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from restore_drill.reporting.words import verdict as known_verdict

if TYPE_CHECKING:
    from restore_drill.policy.population import Population, Standing


@dataclass(frozen=True, slots=True)
class Point:
    """One earlier drill of a copy.

    Attributes:
        finished: Seconds since the epoch.
        seconds: How long the restore took, by the RTO's clock.
        size: Stored bytes.
        rows: Rows, or files of a tree, that were counted.
        age: How old the snapshot was, in seconds.
    """

    run: str
    verdict: str
    finished: float
    seconds: float | None = None
    size: float | None = None
    rows: float | None = None
    age: float | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """What earlier drills of a copy say; empty when nothing is known.

    Attributes:
        known: Whether anything was asked at all: without a ledger, nothing can be said of earlier drills.
        failing_since: End of the first of the drills that failed, or could not be verified, since one passed.
        good_finished: When the last drill that passed ended; its snapshot's time and id follow.
        overdue: Whether a drill was due by ``due_by`` and did not happen.
        points: The last 30 drills, oldest first.
    """

    known: bool = False
    failing_since: float | None = None
    good_finished: float | None = None
    good_taken: float | None = None
    good_snapshot: str = ""
    first_seen: float | None = None
    due_by: float | None = None
    overdue: bool = False
    points: tuple[Point, ...] = ()


NOTHING = Past()


def pasts(population: Population | None) -> Mapping[tuple[str, str], Past]:
    """The past of every copy that a population knows (see ``policy.population``)."""
    if population is None:
        return {}
    return {key: _past(standing) for key, standing in population.standings.items() if standing.retired is None}


def _past(standing: Standing) -> Past:
    good, since = standing.last_good, standing.failing_since
    return Past(
        known=True,
        failing_since=standing.unverified_since if since is None else since,
        good_finished=good.finished if good else None,
        good_taken=good.taken_at if good else None,
        good_snapshot=good.snapshot if good else "",
        first_seen=standing.first_seen,
        due_by=standing.due_by,
        overdue=standing.overdue,
        points=tuple(
            Point(
                each.run,
                known_verdict(each.verdict),
                each.finished,
                each.rto_seconds,
                each.stored_bytes,
                each.rows,
                each.age_seconds,
            )
            for each in standing.recent
        ),
    )
