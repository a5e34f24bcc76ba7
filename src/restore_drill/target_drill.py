"""The drills of one target's copies, and what only all of them together can say."""

from __future__ import annotations

import bisect
import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

from restore_drill.cases import CASES, POSITION
from restore_drill.catalogue.models import RetentionRule
from restore_drill.drill import Drill, StageBroken
from restore_drill.errors import CouldNotVerify, RestoreDrillError
from restore_drill.facts import Located
from restore_drill.handover import DrillResults, adopt, complete, seconds_elsewhere
from restore_drill.model import PayloadForm, Stage, Verdict
from restore_drill.plan import PlannedCase, PlannedCopy, PlannedTarget, sort_key
from restore_drill.policy.copies import Agreement, CopyContent, CopyStanding
from restore_drill.policy.expiry import ExpiryFacts, expiry_spares
from restore_drill.policy.retention import RetentionFacts
from restore_drill.policy.snapshot import broken_bounds
from restore_drill.quantities import format_duration, format_instant
from restore_drill.repositories.base import Transfer
from restore_drill.run import Run
from restore_drill.sampling import split
from restore_drill.sandboxes.base import Disposal

if TYPE_CHECKING:
    from restore_drill.sets.set_drill import SetDrill

_Described = TypeVar("_Described")
#: How far the drill of every copy must have come for a case across copies.
_ACROSS = {"agree": Stage.CHAIN, "retention": Stage.LOCATE, "expiry": Stage.LOCATE}


@dataclass(slots=True)
class Outcome:
    """How the cases of one drill ended.

    Attributes:
        planned: Every case that the catalogue asks for; a drill in which one did not run is partial.
        depth: How deep the drill goes, when not everything is restored; such a drill is partial, too.
        cause: The first failure, or the first error when nothing failed.
    """

    planned: frozenset[PlannedCase]
    verdicts: dict[PlannedCase, Verdict] = field(default_factory=dict)
    cause: str = ""
    depth: str = ""
    _borne: Verdict = Verdict.PASSED

    @property
    def whole(self) -> bool:
        """Whether all was restored and every planned case reported."""
        return not self.depth and self.planned <= self.verdicts.keys()

    @property
    def passed(self) -> bool:
        """Whether nothing failed but what an exception covers, and nothing was left unverified."""
        return all(verdict in (Verdict.PASSED, Verdict.EXCEPTED) for verdict in self.verdicts.values())

    def add(self, case: PlannedCase, verdict: Verdict, message: str = "") -> None:
        """One case ended."""
        self.verdicts[case] = verdict
        worse = verdict is Verdict.FAILED and self._borne is not Verdict.FAILED
        if worse or (verdict is Verdict.ERROR and not self.cause):
            self.cause, self._borne = f"{case.case}: {message}", verdict


class TargetDrill:
    """One target being drilled: its copies in turn, then the cases across them.

    Args:
        target: What is drilled.
        run: Shared by all drills of this process.
        selected: The cases of this target that will be judged.

    Attributes:
        outcomes: How the drill of every copy ended, and that of every slot for an older snapshot that this run has.
    """

    def __init__(self, target: PlannedTarget, run: Run, selected: Iterable[PlannedCase]) -> None:
        self.target = target
        self.run = run
        self._selected = frozenset(selected)
        self._drills: dict[str, Drill] = {}
        self._described: dict[str, tuple[int, Any]] = {}
        self._sets: dict[str, SetDrill] = {}
        #: The cases of any target that may bear a cause, for whoever knows; those selected of this one otherwise.
        self.selected_of: Callable[[str], Collection[PlannedCase]] | None = None
        planned = target.cases()
        self.outcomes = {
            copy.name: Outcome(frozenset(case for case in planned if case.copy == copy.name), depth=target.depth)
            for copy in target.copies
        }
        slots = [case for case in self._selected if split(case.copy)[1]]
        for case in sorted(slots, key=lambda case: sort_key(case, target)):
            if case.copy not in self.outcomes:
                self.outcomes[case.copy] = Outcome(frozenset(target.cases_of(case.copy)), depth=target.depth)

    def drill(self, copy: str) -> Drill:
        """The drill of a copy."""
        if copy not in self._drills:
            planned = self.target.planned_copy(copy)
            selected = frozenset(case for case in self._selected if case.copy == copy)
            self._drills[copy] = Drill(self.target.drilled_as(copy), planned, self.run, selected)
        return self._drills[copy]

    def scope(self, copy: str) -> str:
        """``whole`` when every planned case of a copy's drill (or of the target as a whole) was selected.

        Never when not everything is restored.
        """
        if not self.target.is_full:
            return "partial"
        planned = self.outcomes[copy].planned if copy else {case for case in self.target.cases() if not case.copy}
        return "whole" if planned <= self._selected else "partial"

    def look(self, store: str) -> None:
        """Locate the first copy's snapshot if it is in a store and a case needs it; what goes wrong is met again."""
        first = next((copy for copy in self.target.copies if self._needs(copy.name)), None)
        if first is not None and first.store_name == store:
            with contextlib.suppress(StageBroken, RestoreDrillError):
                self.drill(first.name).located()

    def complete(self, meanwhile: Callable[[str], None]) -> Iterator[tuple[str, DrillResults]]:
        """Run the drills of all copies at once, one after the other; for a process that does not judge.

        Args:
            meanwhile: Called with a store's name when something is being measured, in another process.
        """
        for copy in self.outcomes:
            needs = self._needs(copy)
            if needs:
                content = [
                    case for case in self._selected
                    if case.copy == copy and CASES[case.case].needs is Stage.CONTENT
                ]  # fmt: skip
                content.sort(key=lambda case: sort_key(case, self.target))
                upto = max(needs, key=POSITION.__getitem__)
                yield copy, complete(self.drill(copy), content, upto, meanwhile)

    def _needs(self, copy: str) -> frozenset[Stage]:
        """The stages that the selected cases ask for, of a copy and across all of them (not of an older snapshot)."""
        across = {_ACROSS[case.case] for case in self._selected if case.case in _ACROSS and not split(copy)[1]}
        return (self.drill(copy).asked_for | across) - {Stage.DISPOSE}

    def adopt(self, copy: str, results: DrillResults) -> None:
        """Take over what another process measured of a copy."""
        adopt(self.drill(copy), results)

    def seconds_elsewhere(self, case: PlannedCase) -> float:
        """Seconds that another process spent on what a case of a copy stands for, told once."""
        return seconds_elsewhere(self.drill(case.copy), case)

    def described(self, copy: str, describe: Callable[[TargetDrill, str], _Described]) -> _Described:
        """What a function says of a copy's drill; asked again when the drill has come further."""
        progress = self.drill(copy).progress if copy else 0
        known = self._described.get(copy)
        if known is None or known[0] != progress:
            self._described[copy] = known = (progress, describe(self, copy))
        return known[1]

    def leave(self, copy: str) -> None:
        """Dispose of a copy's drill; what it measured stays known."""
        if copy in self._drills:
            self._drills[copy].close()

    def set_drill(self, name: str) -> SetDrill:
        """The drill of a set; only one of them is there at a time."""
        if name not in self._sets:
            from restore_drill.sets.set_drill import SetDrill

            for other in self._sets.values():
                other.close()
            planned = next(each for each in self.target.sets if each.name == name)
            self._sets[name] = SetDrill(planned, self.target, self.run, self.selected_of or self._selected_of)
        return self._sets[name]

    def left_of_sets(self) -> Disposal:
        """What could not be removed of its sets."""
        disposals = [each.dispose() for each in self._sets.values()]
        left = tuple(each for disposal in disposals for each in disposal.left)
        return Disposal(left, next((disposal.reason for disposal in disposals if disposal.left), ""))

    def _selected_of(self, target: str) -> frozenset[PlannedCase]:
        return self._selected if target == self.target.name else frozenset()

    def close(self) -> None:
        """Dispose of everything."""
        for each in self._sets.values():
            each.close()
        for drill in self._drills.values():
            drill.close()

    # --- 3-2-1 ------------------------------------------------------------------------------------------------------

    def standings(self) -> list[CopyStanding]:
        """What each copy counts for in 3-2-1."""
        return [self._standing(copy) for copy in self.target.copies]

    def _standing(self, copy: PlannedCopy) -> CopyStanding:
        why_not = self._why_not_proved(copy)
        store = copy.store
        domains = {store.failure_domain, self.run.store(copy).failure_domain()} - {None}
        return CopyStanding(
            name=copy.name,
            media=store.media,
            offsite=store.offsite,
            domains=frozenset(str(domain) for domain in domains),
            proved=not why_not,
            why_not=why_not,
            blocked_by="" if self.outcomes[copy.name].passed else self.outcomes[copy.name].cause.partition(":")[0],
        )

    def _why_not_proved(self, copy: PlannedCopy) -> str:
        outcome = self.outcomes[copy.name]
        if outcome.whole and outcome.passed:
            return ""
        if not outcome.passed:
            return f"its drill did not pass: {outcome.cause}"
        history = self.run.history.target(self.target.name).copy(copy.name)
        drilled, passed = history.last_drilled, history.last_passed
        every = self.target.drill_every
        if drilled and not drilled["passed"]:
            return f"its last whole drill, {format_instant(drilled['finished_at'])}, did not pass"
        if not passed:
            return "no whole drill of it has passed yet"
        age = self.run.clock() - passed["finished_at"]
        if age > every.total_seconds():
            return f"its last whole drill is {format_duration(age)} old, due every {format_duration(every)}"
        return ""

    # --- agreement --------------------------------------------------------------------------------------------------

    def agreement(self) -> Agreement:
        """The newest snapshot that all copies have, and its content in each.

        Raises:
            StageBroken: A copy could not be located or fetched.
        """
        located = {copy.name: self.drill(copy.name).located() for copy in self.target.copies}
        newest = {name: facts.snapshot.taken_at.timestamp() for name, facts in located.items()}
        common = _newest_common(list(located.values()))
        if common is None:
            return Agreement(newest, None)
        contents = [self._content(name, facts, common) for name, facts in located.items()]
        return Agreement(newest, common, contents)

    def _content(self, name: str, facts: Located, common: float) -> CopyContent:
        drill = self.drill(name)
        stamp = _match(facts, common)
        assert stamp is not None  # noqa: S101 - it is common to all
        if stamp == facts.snapshot.taken_at.timestamp():
            drill.reach(Stage.CHAIN)
            transfer = drill.transfer()
        else:
            transfer = self._compare(name, stamp)
        return CopyContent(name, facts.snapshot.id, _kind(transfer), _digest(transfer))

    def _compare(self, name: str, stamp: float) -> Transfer:
        """Read another snapshot of a copy, in a sandbox of its own that is gone at once."""
        comparison = Drill(self.target, self.target.copies_by_name[name], self.run, frozenset(), purpose="compared")
        try:
            transfer = comparison.transferring.compare(datetime.fromtimestamp(stamp, UTC))
        finally:
            comparison.close()
        for stage, problem in sorted(transfer.broken.items()):
            raise StageBroken(stage, problem)
        return transfer

    # --- retention --------------------------------------------------------------------------------------------------

    def retention(self) -> list[tuple[RetentionFacts, RetentionRule]]:
        """The recovery points of every copy that has a policy, beside what earlier drills saw; and the policy.

        A gap that this very run reports is known, too: one cause, one failure.
        """
        history = self.run.history.target(self.target.name)
        found = []
        for copy in self.target.copies:
            if copy.retention is None:
                continue
            known = history.copy(copy.name)
            slack = (self.target.model.grace + copy.lag).total_seconds()
            located = self.drill(copy.name).located()
            gaps = [*known.known_gaps, *broken_bounds(located.intervals, self.target, copy)]
            drift = self.target.model.grace.total_seconds()
            facts = RetentionFacts(copy.name, located.times, known.oldest_seen, gaps, slack, drift)
            found.append((facts, copy.retention))
        return found

    def expiry(self) -> list[ExpiryFacts]:
        """What is proved of every copy whose backups somebody removes, and what lies there.

        Where a store does not say what it holds, what is known without that may still be a warning.

        Raises:
            StageBroken: A copy could not be located, and nothing is known to be wrong without it.
        """
        from restore_drill.retaining import Tonight, expiry_facts

        found, broken = [], None
        for copy in self.target.copies:
            if copy.expiry is None:
                continue
            located = None
            try:
                located = self.drill(copy.name).located()
            except StageBroken as problem:
                broken = broken or problem
            outcome, named = self.outcomes[copy.name], bool(self.run.options.snapshot)
            tonight = Tonight(located, outcome.verdicts, outcome.cause, whole=outcome.whole, newest=not named)
            found.append(expiry_facts(self.target, copy, tonight, lambda: self.run.proofs))
        if broken is not None and expiry_spares(found, self.run.clock(), only_bad=True).passed:
            raise broken
        return found

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which days begin."""
        return self.target.model.timezone or ZoneInfo("UTC")


def _newest_common(located: list[Located]) -> float | None:
    """The newest time at which every copy has a recovery point not newer than the one that was drilled."""
    first = min(located, key=lambda facts: facts.snapshot.taken_at)
    ceiling = first.snapshot.taken_at.timestamp()
    for stamp in reversed(first.times):
        if stamp <= ceiling and all(_match(other, stamp) is not None for other in located):
            return stamp
    return None


def _match(facts: Located, stamp: float) -> float | None:
    """The recovery point of a copy whose name means the same instant, as exactly as names tell."""
    width = max(facts.snapshot.resolution.total_seconds(), 1.0)
    position = bisect.bisect_left(facts.times, stamp - width + 1e-6)
    for candidate in facts.times[position:]:
        if candidate >= stamp + width:
            return None
        return candidate
    return None


def _kind(transfer: Transfer) -> str:
    if not transfer.payloads:
        raise CouldNotVerify("a copy gave nothing that could be compared")
    first = transfer.payloads[0]
    return "file trees" if first.form is PayloadForm.TREE else f"files ({first.format})"


def _digest(transfer: Transfer) -> str:
    digests = [payload.digest for payload in transfer.payloads]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
