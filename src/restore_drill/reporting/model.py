"""What a report shows, as values: built from evidence documents, and from what the ledger knows of earlier drills.

Nothing here formats for a medium; numbers stay numbers until a template writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from restore_drill.cases import CASES
from restore_drill.reporting.past import NOTHING, Past, Point, pasts
from restore_drill.reporting.words import WORST_FIRST, moment
from restore_drill.reporting.words import verdict as known_verdict
from restore_drill.sampling import sampled_of

#: Beyond so many drills, those that passed are told in short.
LARGE = 120
if TYPE_CHECKING:
    from restore_drill.policy.population import Population

Document = Mapping[str, Any]
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One case as it stands in a table of checks."""

    case: str
    detail: str
    verdict: str
    expected: Any
    actual: Any
    tolerance: str
    message: str
    remedy: str
    notes: tuple[str, ...]
    exception: str
    blocked_by: str

    @property
    def title(self) -> str:
        """What it asserts."""
        return CASES[self.case].title if self.case in CASES else "A case of your own"

    @property
    def name(self) -> str:
        """Its short name with its detail: ``rows orders``."""
        return f"{self.case} {self.detail}".rstrip()

    @property
    def bad(self) -> bool:
        """Whether it failed, or could not be verified by a cause of its own."""
        return self.verdict in ("failed", "error") and not self.blocked_by


@dataclass(frozen=True, slots=True)
class Stage:
    """One bar of a waterfall: what, from which second on, and for how long."""

    name: str
    start: float
    seconds: float


@dataclass(frozen=True)
class Drill:
    """One drill of one copy: its part of the document, and what stands before it."""

    data: Document
    past: Past

    @property
    def target(self) -> str:
        """The target's name."""
        return str(self.data["target"])

    @property
    def copy(self) -> str:
        """The copy's name."""
        return str(self.data["copy"])

    @property
    def verdict(self) -> str:
        """The worst of its cases."""
        return known_verdict(self.data["verdict"])

    @property
    def of_older(self) -> bool:
        """Whether it is of an older snapshot, drilled beside the newest."""
        return sampled_of(self.data) is not None

    @cached_property
    def cases(self) -> tuple[CaseRow, ...]:
        """Its cases, in the document's order."""
        return tuple(case_row(case) for case in self.data.get("cases", ()))

    @property
    def shown(self) -> tuple[CaseRow, ...]:
        """The cases that are not merely blocked by another."""
        return tuple(case for case in self.cases if not case.blocked_by)

    @property
    def blocked(self) -> tuple[CaseRow, ...]:
        """The cases that could not run because another failed."""
        return tuple(case for case in self.cases if case.blocked_by)

    @property
    def snapshot(self) -> Document:
        """The snapshot, empty when none was found."""
        return self.data.get("snapshot") or {}

    @property
    def objectives(self) -> Document:
        """What was wanted of it."""
        return self.data.get("objectives") or {}

    @property
    def achieved(self) -> Document:
        """What it reached."""
        return self.data.get("achieved") or {}

    @property
    def total_seconds(self) -> float:
        """From its first stage to its last."""
        return max((stage.start + stage.seconds for stage in self.stages), default=0.0)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Its stages in order; the checks of what was restored are one."""
        return tuple(_stages(self.data.get("stages", ())))

    @property
    def points(self) -> tuple[Point, ...]:
        """Earlier drills and this one, oldest first."""
        return self.past.points

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The verdicts of the last drills, oldest first."""
        return tuple(point.verdict for point in self.past.points)

    def judged(self, case: str) -> str:
        """The verdict of one of its cases; ``""`` where it did not run or was blocked."""
        return next((row.verdict for row in self.cases if row.case == case and not row.blocked_by), "")


@dataclass(frozen=True)
class Target:
    """One target: the drills of its copies, and the cases about all of them together."""

    name: str
    listing: Document
    drills: tuple[Drill, ...]
    across: tuple[CaseRow, ...]

    @property
    def about(self) -> Document:
        """Tier, owner, engine and objectives, from wherever they stand."""
        return self.listing or (self.drills[0].data if self.drills else {})

    @property
    def verdict(self) -> str:
        """The worst of its drills and of its own cases."""
        return worst([*(drill.verdict for drill in self.drills), *(case.verdict for case in self.across)])

    @property
    def needs_attention(self) -> bool:
        """Whether anything of it failed or could not be verified."""
        return self.verdict in ("failed", "error")

    @property
    def not_drilled(self) -> tuple[str, ...]:
        """Copies of the catalogue that this run did not drill."""
        drilled = {drill.copy for drill in self.drills}
        return tuple(each["copy"] for each in self.listing.get("copies", ()) if each["copy"] not in drilled)


@dataclass(frozen=True)
class Objective:
    """RPO or RTO of a tier: what was wanted, and the worst that was reached, by whom.

    Attributes:
        state: ``met``, ``not met`` (under an exception, too), ``partly known`` where some drills did not come so far,
            ``not known`` where none did, ``not judged`` where nobody asks (the age of archives that do not change).
        unknown: Drills of which nothing is known.
    """

    wanted: float | None
    reached: float | None
    of: str
    state: str
    unknown: int


@dataclass(frozen=True)
class Tier:
    """One tier: how many of its backups were drilled, and its objectives."""

    name: str
    drilled: int
    known: int
    rpo: Objective
    rto: Objective


def case_row(case: Document) -> CaseRow:
    """A case of a document as a row."""
    return CaseRow(
        case=str(case["case"]),
        detail=str(case.get("detail", "")),
        verdict=known_verdict(case["verdict"]),
        expected=case.get("expected"),
        actual=case.get("actual"),
        tolerance=str(case.get("tolerance", "")),
        message=str(case.get("message", "")),
        remedy=str(case.get("remedy", "")),
        notes=tuple(map(str, case.get("notes", ()))),
        exception=str(case.get("exception", "")),
        blocked_by=str(case.get("blocked_by", "")),
    )


def worst(verdicts: Iterable[str]) -> str:
    """The worst of several; of none, ``error``: nothing is known."""
    found = set(verdicts)
    return next((verdict for verdict in WORST_FIRST if verdict in found), "error")


def targets(document: Document, population: Population | None = None) -> tuple[Target, ...]:
    """The targets that a document speaks of, the worst first, then in the catalogue's order."""
    known = pasts(population)
    listings = {each["target"]: each for each in document.get("population", ())}
    across = {each["target"]: each["cases"] for each in document.get("targets", ())}
    drills: dict[str, list[Drill]] = {name: [] for name in across}
    for data in document.get("drills", ()):
        drills.setdefault(data["target"], []).append(Drill(data, known.get((data["target"], data["copy"]), NOTHING)))
    order = {name: place for place, name in enumerate([*listings, *drills])}
    found = [
        Target(name, listings.get(name, {}), tuple(mine), tuple(map(case_row, across.get(name, ()))))
        for name, mine in drills.items()
    ]
    return tuple(sorted(found, key=lambda target: (WORST_FIRST.index(target.verdict), order[target.name])))


def tiers(document: Document, found: Iterable[Target]) -> tuple[Tier, ...]:
    """The tiers that were drilled, the strictest first; older snapshots are no measure of objectives."""
    drills: dict[str, list[Drill]] = {}
    for target in found:
        for drill in target.drills:
            if not drill.of_older:
                drills.setdefault(str(drill.data.get("tier", "")), []).append(drill)
    known: dict[str, int] = {}
    for listing in document.get("population", ()):
        known[listing["tier"]] = known.get(listing["tier"], 0) + len(listing["copies"])
    rows = [
        Tier(name, len(mine), known.get(name, len(mine)), _objective(mine, "rpo"), _objective(mine, "rto"))
        for name, mine in drills.items()
    ]
    return tuple(sorted(rows, key=lambda tier: (tier.rpo.wanted or 0.0, tier.name)))


def _objective(drills: list[Drill], which: str) -> Objective:
    """The worst of several drills, measured against what each was allowed."""
    name = f"{which}_seconds"
    asked = [
        drill for drill in drills if drill.data.get("scope") != "whole" or any(c.case == which for c in drill.cases)
    ]
    wanted = max((float(drill.objectives.get(name) or 0) for drill in asked), default=0.0) or None
    failed = [drill for drill in asked if drill.judged(which) in ("failed", "excepted")]
    reached = [drill for drill in asked if drill.judged(which) == "passed" and drill.achieved.get(name) is not None]
    worst_of = max(failed or reached, key=lambda drill: _share(drill, name), default=None)
    unknown = len(asked) - len(failed) - len(reached)
    return Objective(
        wanted=worst_of.objectives.get(name) if worst_of else wanted,
        reached=worst_of.achieved.get(name) if worst_of else None,
        of=f"{worst_of.target} / {worst_of.copy}" if worst_of else "",
        state=attained(bool(asked), bool(failed), bool(reached), bool(unknown)),
        unknown=unknown,
    )


def attained(asked: bool, failed: bool, reached: bool, unknown: bool) -> str:
    """The state of an :class:`Objective`: what nobody knows is never met."""
    if failed or not asked:
        return "not met" if failed else "not judged"
    if not reached:
        return "not known"
    return "partly known" if unknown else "met"


def _share(drill: Drill, name: str) -> float:
    wanted = float(drill.objectives.get(name) or 0)
    return float(drill.achieved.get(name) or 0) / wanted if wanted else 0.0


def _stages(lines: Iterable[Document]) -> Iterable[Stage]:
    begun = [(line, moment(line.get("started"))) for line in lines]
    first = min((start for _, start in begun if start is not None), default=0.0)
    checks: list[tuple[float, float]] = []
    late: list[Stage] = []
    for line, start in begun:
        at, seconds = (start or first) - first, float(line.get("seconds") or 0.0)
        if "check" in line:
            checks.append((at, seconds))
        elif line.get("stage") == "dispose":
            late.append(Stage("dispose", at, seconds))
        else:
            yield Stage(str(line.get("stage", "")), at, seconds)
    if checks:
        yield Stage("checks", checks[0][0], sum(seconds for _, seconds in checks))
    yield from late
