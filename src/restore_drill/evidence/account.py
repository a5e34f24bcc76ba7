"""One drill as evidence sees it: what its stages recorded, joined with what its cases concluded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from restore_drill.evidence import record
from restore_drill.model import Verdict
from restore_drill.plan import PlannedCase, PlannedTarget
from restore_drill.policy.snapshot import broken_bounds
from restore_drill.sampling import identity_of, split

if TYPE_CHECKING:
    from restore_drill.results import CaseResult
    from restore_drill.run import Run

#: What blocks a case that did not run at all: its drill is partial.
BROKEN_OFF = ("interruption", "worker", "crash")


class Recorded:
    """What the stages of one drill recorded, however it ended.

    Attributes:
        lines: The record's lines, in order.
    """

    __slots__ = ()
    lines: list[dict[str, Any]]

    @property
    def measured(self) -> list[dict[str, Any]]:
        """The lines of stages and checks that ended; the announcement of the first one is none."""
        return [line for line in self.lines if "facts" in line]

    def facts(self, stage: str) -> dict[str, Any]:
        """What a stage measured, ``{}`` when it did not."""
        return next((line["facts"] or {} for line in self.lines if line.get("stage") == stage and "facts" in line), {})

    def checked(self, *cases: str) -> Iterator[dict[str, Any]]:
        """What content cases measured."""
        for line in self.lines:
            if line.get("check", [""])[0] in cases and line.get("facts"):
                yield line["facts"]


@dataclass(slots=True)
class DrillAccount(Recorded):
    """One drill of one copy: its record and the results of its cases.

    Attributes:
        planned: How many cases the catalogue asks for.
        lines: The record's lines, in order.
        results: The results of its cases.
    """

    target: PlannedTarget
    copy: str
    planned: frozenset[PlannedCase]
    lines: list[dict[str, Any]] = field(default_factory=list)
    results: list[CaseResult] = field(default_factory=list)

    @property
    def of(self) -> str:
        """The copy that it is about: of a slot for an older snapshot the one that it lies in."""
        return split(self.copy)[0]

    @property
    def slot(self) -> int:
        """The number of the slot, 0 for the drill of the newest (or of a named) snapshot."""
        return split(self.copy)[1]

    @property
    def identity(self) -> str:
        """By what its snapshot is known from run to run; ``""`` when it was not located."""
        found = self.facts("locate").get("snapshot") or {}
        keys = found.get("artifacts")
        return identity_of(self.target.planned_copy(self.copy), keys[0], found["id"]) if keys else ""

    def drawn(self, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        """What was drawn for its slot, of all that was drawn of the copy; ``{}`` where nothing was."""
        found: list[Mapping[str, Any]] = entry.get("drawn", [])
        return found[self.slot - 1] if 0 < self.slot <= len(found) else {}

    @property
    def whole(self) -> bool:
        """Whether all was restored, every planned case reported, and none of them because the run broke off."""
        if not self.target.is_full:
            return False
        return self.planned <= {result.case for result in self.results if result.blocked_by not in BROKEN_OFF}

    @property
    def passed(self) -> bool:
        """Whether nothing failed but what an exception covers, and nothing was left unverified."""
        return all(result.verdict in (Verdict.PASSED, Verdict.EXCEPTED) for result in self.results)

    @property
    def verdict(self) -> Verdict:
        """The worst of its cases."""
        return worst(result.verdict for result in self.results)

    @property
    def found_wanting(self) -> bool:
        """Whether a case that did run failed or could not be verified: what a later drill of the copy answers."""
        bad = (Verdict.FAILED, Verdict.ERROR)
        return any(result.verdict in bad and result.blocked_by not in BROKEN_OFF for result in self.results)

    def counts(self) -> dict[str, int]:
        """Rows by table, of every table that a case looked at; files and bytes of a tree."""
        counts: dict[str, int] = {}
        for line in self.lines:
            found: dict[str, Any] = line.get("facts") or {}
            if line.get("check", [""])[0] in ("structure", "rows"):
                counts |= found.get("counts", {})
            if line.get("check", [""])[0] == "files" and "files" in found:
                counts |= {"files": found["files"], "bytes": found["bytes"]}
        return counts

    def structure(self) -> dict[str, list[str]]:
        """Names of objects by type."""
        return next((dict(found.get("objects", {})) for found in self.checked("structure")), {})

    def excepted(self) -> frozenset[str]:
        """What failed under an exception and is no baseline: ``structure``, and ``rows:TABLE`` for each count."""
        found: set[str] = set()
        for case in (result.case for result in self.results if result.verdict is Verdict.EXCEPTED):
            if case.case == "structure":
                found.add("structure")
            elif case.case == "files":
                found |= {"rows:files", "rows:bytes"}
            elif case.case == "rows":
                found |= {f"rows:{table}" for table in (case.detail, *self._counted(case))}
        return frozenset(found)

    def _counted(self, case: PlannedCase) -> Iterator[str]:
        """The tables that a rows case looked at."""
        for line in self.lines:
            if line.get("check") == [case.case, case.detail]:
                yield from (line.get("facts") or {}).get("counts", {})

    def gaps(self) -> list[tuple[float, float]]:
        """Gaps between recovery points that broke the bound."""
        copy = self.target.planned_copy(self.copy)
        return broken_bounds(self.facts("locate").get("intervals", ()), self.target, copy)


def drills(run: Run, results: Mapping[PlannedCase, CaseResult]) -> dict[tuple[str, str], DrillAccount]:
    """Join the records that the stages wrote with the results of the cases, by (target, copy)."""
    accounts: dict[tuple[str, str], DrillAccount] = {}
    recorded = record.read(run.directory)
    for case, result in results.items():
        if not case.copy:
            continue
        key = (case.target, case.copy)
        if key not in accounts:
            target = run.plan.by_name[case.target]
            planned = frozenset(target.cases_of(case.copy))
            accounts[key] = DrillAccount(target, case.copy, planned, recorded.get(key, []))
        accounts[key].results.append(result)
    return accounts


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of several: failed before error before excepted before passed; of none, error."""
    found = set(verdicts)
    for verdict in (Verdict.FAILED, Verdict.ERROR, Verdict.EXCEPTED, Verdict.PASSED):
        if verdict in found:
            return verdict
    return Verdict.ERROR
