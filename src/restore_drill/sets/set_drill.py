"""One set: its targets brought back to a common moment, kept alive together, asked, and run over; then all is gone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from restore_drill.cases import OWNER
from restore_drill.catalogue.sets import SetQuery
from restore_drill.drill import StageBroken
from restore_drill.errors import Blocked, CouldNotVerify, RestoreDrillError, unexpected
from restore_drill.evidence.record import DrillRecord
from restore_drill.model import Stage
from restore_drill.plan import PlannedCase, PlannedSet, PlannedTarget
from restore_drill.policy.sets import SetFacts
from restore_drill.quantities import format_duration
from restore_drill.run import Run
from restore_drill.sandboxes.base import Disposal
from restore_drill.sets import answers, moment
from restore_drill.sets.application import Booted
from restore_drill.sets.member import Member

#: The cases of a target that were selected and have not passed, by its name.
Selected = Callable[[str], Collection[PlannedCase]]


class SetDrill:
    """A set being drilled; each of its steps is taken once, when the first case asks for it.

    Args:
        planned: The set.
        anchor: The target whose cases the set's are.
        run: Shared by all drills of this process.
        selected: What else was selected: a cause that another case bears is not borne twice.
    """

    def __init__(self, planned: PlannedSet, anchor: PlannedTarget, run: Run, selected: Selected) -> None:
        self.planned = planned
        self._anchor = anchor
        self._run = run
        self._selected = selected
        self._record = DrillRecord(run.facts, anchor.name, f"set:{planned.name}")
        self._members: dict[str, Member] = {}
        self._older: dict[str, int] = {}
        self._notes: list[str] = []
        self._together: SetFacts | None = None
        self._broken: RestoreDrillError | None = None
        self._bearer: PlannedCase | None = None
        self._booted: Booted | None = None
        self._disposal: Disposal | None = None

    @property
    def is_broken(self) -> bool:
        """Whether it did not come back: what any case but ``set`` bears then is not its own cause."""
        return self._broken is not None

    def together(self, case: PlannedCase) -> SetFacts:
        """How it came back.

        Raises:
            RestoreDrillError: It did not; for all cases but one, which bears the cause, ``Blocked``.
        """
        if self._together is None and self._broken is None:
            self._begin()
        if self._broken is not None:
            raise self._cause(case, self._broken)
        assert self._together is not None  # noqa: S101 - it began, and did not break
        return self._together

    def answered(self, case: PlannedCase) -> tuple[dict[str, Any], SetQuery]:
        """What one answer has and the other has not, and the rule.

        Raises:
            RestoreDrillError: The set did not come back, or cannot be asked.
        """
        self.together(case)
        rule = next(each for each in self.planned.model.queries if f"{self.planned.name}/{each.name}" == case.detail)
        restored = {name: member.restored() for name, member in self._members.items()}
        return self._checked(case, lambda: answers.compare(rule, restored, self._anchor.deadline("check"))), rule

    def boot(self, case: PlannedCase) -> dict[str, Any]:
        """How the application answered.

        Raises:
            RestoreDrillError: The set did not come back, or the application cannot be started here.
        """
        self.together(case)
        rule = self.planned.model.application
        assert rule is not None  # noqa: S101 - the case is planned for sets that have one
        members = {name: (member.target, member.restored()) for name, member in self._members.items()}
        self._booted = booted = Booted(self.planned.name, rule, members, self._run)
        return self._checked(case, booted.boot)

    def disposed(self, case: PlannedCase) -> Disposal:
        """What is left of it; where nobody asked for anything else, it is brought back first.

        Raises:
            RestoreDrillError: It did not come back, and no other case says why.
        """
        if self._disposal is None and self._together is None and self._broken is None:
            with contextlib.suppress(Blocked):
                self.together(case)
        return self.dispose()

    def dispose(self) -> Disposal:
        """End and remove everything; may be called again."""
        if self._disposal is None:
            started, clock = datetime.now(UTC), time.monotonic()
            disposals: list[Disposal] = []
            with contextlib.ExitStack() as closing:  # what breaks for one of them does not keep the others
                for member in self._members.values():
                    closing.callback(member.close)
                if self._booted is not None:
                    disposals.append(self._booted.dispose())
            disposals += [member.dispose() for member in self._members.values()]
            left = tuple(each for disposal in disposals for each in disposal.left)
            reason = next((disposal.reason for disposal in disposals if disposal.left), "")
            confirmed = "; ".join(disposal.confirmed for disposal in disposals if disposal.confirmed)
            self._disposal = Disposal(left, reason, confirmed=confirmed)
            if disposals:
                self._record.disposed(started, time.monotonic() - clock, self._disposal)
        return self._disposal

    def close(self) -> None:
        """Dispose, and close the record."""
        try:
            self.dispose()
        finally:
            self._record.close()

    # --- bringing it back -------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        try:
            self._step(Stage.LOCATE, self._choose)
            self._step(Stage.RESTORE, self._restore)
        except RestoreDrillError as problem:
            self._broken = problem
        except Exception as problem:
            self._broken = unexpected(problem)

    def _step(self, stage: Stage, work: Callable[[], None]) -> None:
        started, clock = datetime.now(UTC), time.monotonic()
        self._record.begin(stage, started)
        try:
            work()
        finally:
            self._record.end(stage, started, time.monotonic() - clock, self._facts(stage))

    def _choose(self) -> None:
        """Take the newest snapshot of each target; where they do not fit, go back to the newest ones that do."""
        for name, copy in self.planned.members:
            target = self._run.plan.by_name.get(name)
            if target is None:
                raise CouldNotVerify(f"{name} of the set cannot be drilled here", remedy="See what the run left out.")
            self._members[name] = Member(
                target, target.copies_by_name[copy], self._run, purpose=f"set:{self.planned.name}"
            )
        for member in self._members.values():
            self._reach(member, member.look)
        if self._apart() <= self.planned.model.within.total_seconds():
            return
        candidates = {name: self._reach(member, member.candidates) for name, member in self._members.items()}
        chosen, self._notes = moment.choose(candidates, self.planned.model.within)
        self._older = {name: candidates[name].newest.index(snapshot) for name, snapshot in chosen.items()}
        for name, snapshot in chosen.items():
            member = self._members[name]
            self._reach(member, partial(member.take, snapshot))

    def _apart(self) -> float:
        moments = self._moments().values()
        return max(moments) - min(moments) if moments else 0.0

    def _moments(self) -> dict[str, float]:
        """When the chosen snapshots of the targets that change were taken."""
        return {
            name: member.chosen.moment
            for name, member in self._members.items()
            if member.chosen is not None and not member.target.model.frozen
        }

    def _restore(self) -> None:
        for member in self._members.values():
            self._reach(member, partial(member.reach, Stage.RESTORE))
        grace = max(member.target.model.grace for member in self._members.values())
        seconds = sum(member.restore_facts().rto_seconds for member in self._members.values())
        notes = (*self._notes, *self._vague())
        self._together = SetFacts(self._moments(), self._older, self._run.clock(), grace, seconds, notes)

    def _vague(self) -> list[str]:
        """Whose moment rests on when the store says it was written, since its name leaves more open than may be."""
        within = self.planned.model.within
        return [
            f"{name}: its name does not tell its time to within {format_duration(within)}: how near the others are "
            "rests on when the store says that it was written"
            for name, member in self._members.items()
            if (chosen := member.chosen) is not None
            and not member.target.model.frozen
            and (chosen.resolution > within or chosen.rotation is not None)
        ]

    def _reach(self, member: Member, work: Callable[[], Any]) -> Any:
        """Go a step with one target; what breaks is told with its name."""
        try:
            return work()
        except StageBroken as broken:
            raise self._of(member, broken.stage, broken.error) from broken
        except RestoreDrillError as problem:
            raise self._of(member, problem.stage or Stage.LOCATE, problem) from problem

    def _of(self, member: Member, stage: Stage, problem: RestoreDrillError) -> RestoreDrillError:
        """The cause for the set; where a case of that target's own drill bears it, only that it is so."""
        owner, where = OWNER[stage], f"{member.target.name}/{member.copy.name}"
        own = PlannedCase(member.target.name, member.copy.name, owner)
        if own in self._selected(member.target.name) and (member.is_newest or not member.newest):
            return Blocked(f"{where} {owner}", problem.cause)
        kind = type(problem) if type(problem).__init__ is RestoreDrillError.__init__ else CouldNotVerify
        return kind(
            f"{where}: {owner}: {problem.cause}", looked_at=problem.looked_at, remedy=problem.remedy, stage=stage,
            details=problem.details,
        )  # fmt: skip

    def _cause(self, case: PlannedCase, problem: RestoreDrillError) -> RestoreDrillError:
        """The cause for the case that bears it: the first of the set, or the first that asks if that is deselected."""
        first = PlannedCase(self._anchor.name, "", "set", self.planned.name)
        bearer = first if first in self._selected(self._anchor.name) else (self._bearer or case)
        self._bearer = bearer
        return problem if case == bearer or isinstance(problem, Blocked) else Blocked("set", problem.cause)

    # --- the record ---------------------------------------------------------------------------------------------------

    def _checked(self, case: PlannedCase, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        started, clock = datetime.now(UTC), time.monotonic()
        facts: dict[str, Any] = {}
        self._run.progress.begin(self._anchor.name, self.planned.name, case.case, -1)
        try:
            facts = measure()
        except RestoreDrillError:
            raise
        except Exception as problem:
            raise unexpected(problem) from problem
        else:
            return facts
        finally:
            self._run.progress.end()
            self._record.check(case, started, time.monotonic() - clock, facts)

    def _facts(self, stage: Stage) -> Mapping[str, Any] | None:
        """What is recorded of a step, however far it came."""
        if stage is Stage.LOCATE:
            moments = self._moments()
            return {
                "members": [
                    {"target": name, "copy": member.copy.name, "snapshot": chosen.id, "taken_at": chosen.taken_at,
                     "older": self._older.get(name, 0)}
                    for name, member in self._members.items() if (chosen := member.chosen) is not None
                ],
                "spread_seconds": self._apart(),
                "age_seconds": self._run.clock() - min(moments.values()) if moments else None,
            }  # fmt: skip
        return {"seconds": self._together.seconds} if self._together else None
