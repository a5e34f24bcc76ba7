"""Random estates for the retention gate: recovery points with chains, drills as evidence, policies and holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from restore_drill.catalogue.keeping import Hold
from restore_drill.catalogue.models import RetentionRule
from restore_drill.policy.gate import CopyFacts, Point
from restore_drill.policy.proofs import Proofs

FIRST = datetime(2026, 9, 1, 2, tzinfo=UTC)
HOUR = 3600.0
DAY = 86400.0


def stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def identity(moment: float, kind: str) -> str:
    name = datetime.fromtimestamp(moment, UTC).strftime("%Y%m%dT%H%M%SZ")
    return name if kind == "full" else f"{name}-{kind}"


def chained(scheme: str, times: Sequence[float]) -> list[Point]:
    """Points newest first: full ones, or every seventh full and what is between builds on it."""
    points: list[Point] = []
    full = ""
    for number, moment in enumerate(sorted(times)):
        kind = "full" if number % 7 == 0 or scheme == "full" else scheme
        needs = "" if kind == "full" else full if kind == "differential" else points[-1].key
        point = Point(identity(moment, kind), f"db/{identity(moment, kind)}.gz", moment, kind, 1000 + number, needs)
        points.append(point)
        full = point.key if kind == "full" else full
    return points[::-1]


@dataclass(frozen=True)
class Drill:
    """A drill of a point: what failed in it, if anything, or that it was no whole one."""

    point: int
    case: str = ""
    verdict: str = "passed"
    scope: str = "whole"


@dataclass(frozen=True)
class Estate:
    """One copy and its past. Drills are told in their order, one a run, each a minute after the other."""

    points: tuple[Point, ...]
    drills: tuple[Drill, ...] = ()
    rule: RetentionRule | None = None
    holds: tuple[Hold, ...] = ()
    lost: frozenset[int] = frozenset()

    @property
    def now(self) -> float:
        return self.points[0].taken_at + 2 * HOUR

    @property
    def listed(self) -> tuple[Point, ...]:
        """What lies there still: somebody else removed the others."""
        return tuple(point for number, point in enumerate(self.points) if number not in self.lost)

    def links(self, point: Point) -> list[str]:
        """Ids of what a point builds on, oldest first, as it was when it was drilled."""
        by_key = {each.key: each for each in self.points}
        found: list[str] = []
        while point.needs:
            point = by_key[point.needs]
            found.append(point.id)
        return found[::-1]

    def documents(self) -> Iterator[dict[str, Any]]:
        for number, drill in enumerate(self.drills):
            yield self.document(drill, self.now + 60.0 * number, f"run-{number}")

    def document(self, drill: Drill, finished: float, run: str) -> dict[str, Any]:
        point = self.points[drill.point % len(self.points)]
        case = [{"case": drill.case, "verdict": drill.verdict}] if drill.case else []
        return {
            "run": {"id": run, "started": stamp(finished), "finished": stamp(finished), "estate": "user"},
            "drills": [
                {
                    "target": "orders-db", "copy": "nas", "finished": stamp(finished), "scope": drill.scope,
                    "verdict": drill.verdict, "reached": "query",
                    "cases": [{"case": "restores", "verdict": "passed"}, *case],
                    "snapshot": {
                        "id": point.id, "kind": point.kind, "taken_at": stamp(point.taken_at), "size": point.size,
                        "artifacts": [point.key], "parents": self.links(point), "sha256": {point.key: "0" * 64},
                    },
                }
            ],
        }  # fmt: skip

    def facts(self) -> CopyFacts:
        proofs = Proofs.of(self.documents())
        known = ("orders-db", "nas")
        return CopyFacts("nas", self.listed, proofs.of_copy(*known), proofs.attempts(*known), self.rule, HOUR / 4)

    def but(self, **changes: Any) -> Estate:
        return replace(self, **changes)

    def without(self, keys: Collection[str]) -> Estate:
        """The same once what has these keys was removed."""
        gone = {number for number, point in enumerate(self.points) if point.key in keys}
        return replace(self, lost=self.lost | gone)


_COUNT = st.integers(0, 9)
RULES = st.none() | st.builds(
    RetentionRule,
    hourly=_COUNT, daily=_COUNT, weekly=_COUNT, monthly=_COUNT, yearly=_COUNT, at_least=st.integers(1, 5),
)  # fmt: skip
DRILLS = st.builds(
    lambda point, kind: Drill(point, *kind),
    st.integers(0, 60),
    st.sampled_from(
        [
            ("", "passed", "whole"), ("", "passed", "whole"), ("", "passed", "whole"), ("", "passed", "partial"),
            ("checksum", "failed", "whole"), ("rows", "failed", "partial"), ("rpo", "failed", "whole"),
            ("restores", "error", "whole"), ("query", "excepted", "whole"), ("integrity", "excepted", "whole"),
        ]
    ),
)  # fmt: skip


@st.composite
def estates(draw: st.DrawFn) -> Estate:
    """Up to sixty points, an hour to three days apart, with whatever became of them."""
    steps = draw(st.lists(st.sampled_from([HOUR, 6 * HOUR, DAY, DAY, 1.1 * DAY, 3 * DAY]), max_size=40))
    times = [FIRST.timestamp()]
    for step in steps:
        times.append(times[-1] + step)
    points = chained(draw(st.sampled_from(["full", "incremental", "differential"])), times)
    days = st.dates(FIRST.date(), (FIRST + timedelta(days=60)).date())
    first, last = sorted((draw(days), draw(days)))
    holds = [
        Hold(id="LH-1", reason="litigation", by="legal", first=first, last=last),
        Hold(id="LH-2", reason="litigation", by="legal", first=first, last=last, released=first),
        Hold(id="LH-3", reason="audit", by="legal", copy="offsite"),
        Hold(id="LH-4", reason="audit", by="legal", snapshots=[draw(st.sampled_from(points)).id]),
    ]
    return Estate(
        tuple(points),
        tuple(draw(st.lists(DRILLS, max_size=12))),
        draw(RULES),
        tuple(draw(st.lists(st.sampled_from(holds), max_size=2, unique_by=lambda hold: hold.id))),
        draw(st.frozensets(st.integers(1, 40), max_size=6)),
    )
