"""The disaster-recovery plan: who is brought back when, from what, and when the clock says that it is done. Pure.

Two clocks are kept. *One after the other*: each target begins when the one before it is done, which is what one person
can do. *In parallel*: each begins when all that it waits for is done, however many that are at once; the targets of a
wave need not wait for each other. Times are those that drills measured, on the machines that drilled; a target of which
none is known makes every sum that it is part of a lower bound.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from restore_drill.recovery.order import Turn, Wanted, turns

if TYPE_CHECKING:
    from restore_drill.plan import Plan, PlannedCopy, PlannedSet, PlannedTarget
    from restore_drill.policy.proofs import Proof
    from restore_drill.recovery.known import Known


@dataclass(frozen=True, slots=True)
class Clock:
    """When something is done (seconds from the beginning), and whether that is a lower bound."""

    seconds: float = 0.0
    at_least: bool = False

    def after(self, seconds: float | None) -> Clock:
        """So much later; what is not known makes a lower bound of it."""
        return Clock(self.seconds + (seconds or 0.0), self.at_least or seconds is None)


@dataclass(frozen=True, slots=True)
class Recovery:
    """One target's place in the plan.

    Attributes:
        number: Its place when one target is brought back after the other, from 1.
        copy: The copy that it is restored from; the catalogue's first when none is proved, ``None`` when no store that
            is left holds one.
        proof: Of the newest proved snapshot, ``None`` when nothing is proved.
        why_not: Why nothing is proved.
        doubt: What the last drill of that copy found wrong, ``""`` when it was good.
        seconds: How long restoring took in that drill.
        stored_bytes, content_bytes: What is fetched, and what it becomes; ``None`` when not known.
        alone, in_parallel: When it is done by either clock.
        loses: How old the snapshot is (seconds): what was written since then would be lost.
    """

    number: int
    turn: Turn
    target: PlannedTarget
    copy: PlannedCopy | None
    proof: Proof | None
    why_not: str
    doubt: str
    seconds: float | None
    stored_bytes: int | None
    content_bytes: int | None
    alone: Clock
    in_parallel: Clock
    loses: float | None

    @property
    def late_alone(self) -> bool:
        """Whether the RTO is missed one after the other, as far as is known."""
        return self.alone.seconds > self.target.rto.total_seconds()

    @property
    def late_in_parallel(self) -> bool:
        """Whether the RTO is missed even in parallel."""
        return self.in_parallel.seconds > self.target.rto.total_seconds()

    @property
    def too_old(self) -> bool:
        """Whether more would be lost than the RPO and its grace allow."""
        model = self.target.model
        return (
            self.loses is not None and not model.frozen and self.loses > (self.target.rpo + model.grace).total_seconds()
        )


@dataclass(frozen=True, slots=True)
class SetRow:
    """Targets that must come back to one moment (a set of the catalogue).

    Attributes:
        apart: How far the moments of their newest proved snapshots lie apart (seconds), ``None`` when one has none;
            what is frozen goes with any moment.
        within: How far they may.
    """

    name: str
    members: tuple[str, ...]
    apart: float | None
    within: float

    @property
    def torn(self) -> bool:
        """Whether these snapshots must not be restored beside each other: older ones that fit must be chosen."""
        return self.apart is not None and self.apart > self.within


@dataclass(frozen=True, slots=True)
class DrPlan:
    """The whole plan.

    Attributes:
        sets: What must come back to one moment.
        without: Stores that are taken for lost.
        alone, in_parallel: When everything is back by either clock.
    """

    recoveries: tuple[Recovery, ...]
    without: tuple[str, ...]
    alone: Clock
    in_parallel: Clock
    sets: tuple[SetRow, ...] = ()

    @property
    def unproved(self) -> list[Recovery]:
        """What nobody has seen come back."""
        return [each for each in self.recoveries if each.proof is None]

    @property
    def late(self) -> list[Recovery]:
        """What misses its RTO even in parallel."""
        return [each for each in self.recoveries if each.late_in_parallel]

    @property
    def stored_bytes(self) -> int:
        """What is fetched in all, as far as is known."""
        return sum(each.stored_bytes or 0 for each in self.recoveries)

    @property
    def content_bytes(self) -> int:
        """What is restored in all, as far as is known."""
        return sum(each.content_bytes or 0 for each in self.recoveries)


@dataclass(frozen=True, slots=True)
class _Source:
    """What a target is restored from; ``moment``: when it was taken, as the drill that proved it judged that."""

    copy: PlannedCopy | None
    proof: Proof | None
    moment: float | None
    why_not: str
    doubt: str
    seconds: float | None
    stored: int | None
    content: int | None


def dr_plan(plan: Plan, known: Known, now: float, without: Collection[str] = ()) -> DrPlan:
    """Put the plan together.

    Args:
        plan: Of the catalogue.
        known: What is proved.
        now: Seconds since the epoch.
        without: Names of stores that are taken for lost.
    """
    ranks = {tier: number for number, tier in enumerate(plan.tiers)}
    order = turns(
        [
            Wanted(target.name, target.model.depends_on, ranks.get(target.tier, len(ranks)), target.rto.total_seconds())
            for target in plan.targets
        ]
    )
    sources = {target.name: _source(target, known, without) for target in plan.targets}
    parallel = _parallel(plan, order, sources)
    alone, recoveries = Clock(), list[Recovery]()
    for number, turn in enumerate(order, 1):
        of = sources[turn.name]
        alone = alone.after(of.seconds)
        loses = now - of.proof.taken_at if of.proof else None
        recoveries.append(
            Recovery(
                number, turn, plan.by_name[turn.name], of.copy, of.proof, of.why_not, of.doubt, of.seconds, of.stored,
                of.content, alone, parallel[turn.name], loses,
            )
        )  # fmt: skip
    ends = parallel.values()
    end = Clock(max((each.seconds for each in ends), default=0.0), any(each.at_least for each in ends))
    sets = tuple(_together(each, plan, sources) for target in plan.targets for each in target.sets)
    return DrPlan(tuple(recoveries), tuple(without), alone, end, sets)


def _together(found: PlannedSet, plan: Plan, known: Mapping[str, _Source]) -> SetRow:
    members = tuple(dict.fromkeys(target for target, _ in found.members))
    # As the set's drill has it: what no longer changes goes with any moment. Of what the plan lacks nothing is known.
    moving = [name for name in members if name not in plan.by_name or not plan.by_name[name].model.frozen]
    taken = [known[name].moment for name in moving if name in known]
    moments = [moment for moment in taken if moment is not None]
    whole = len(moments) == len(moving)
    apart = max(moments) - min(moments) if whole and moments else None
    return SetRow(found.name, members, apart, found.model.within.total_seconds())


def _parallel(plan: Plan, order: list[Turn], known: Mapping[str, _Source]) -> dict[str, Clock]:
    """When each is done if it begins as soon as all that it waits for is done."""
    done: dict[str, Clock] = {}
    for turn in order:
        before = [done[name] for name in plan.by_name[turn.name].model.depends_on if name in done]
        begin = Clock(max((each.seconds for each in before), default=0.0), any(each.at_least for each in before))
        done[turn.name] = begin.after(known[turn.name].seconds)
    return done


def _source(target: PlannedTarget, known: Known, lost: Collection[str]) -> _Source:
    """The copy with the newest proved snapshot, and what its drill measured."""
    copy = known.best_copy(target, lost)
    if copy is None:
        return _Source(None, None, None, "no copy is left: all its stores are lost", "", None, None, None)
    proof = known.newest(target.name, copy.name)
    if proof is None:
        copies = [each.name for each in target.copies if each.store_name not in lost]
        reasons = [f"{name}: {known.why_not(target.name, name)}" for name in copies]
        return _Source(copy, None, None, "; ".join(reasons), "", None, None, None)
    drill = known.drills.get((target.name, copy.name), {})
    took = drill.get("achieved", {}).get("rto_seconds")
    fetched = _facts(drill, "fetch")
    # A name that tells only the day was refined when it was drilled.
    moment = float(_facts(drill, "locate").get("taken", proof.taken_at))
    doubt, seconds = known.doubt(target.name, copy.name), None if took is None else float(took)
    return _Source(copy, proof, moment, "", doubt, seconds, fetched.get("stored_bytes"), fetched.get("content_bytes"))


def _facts(drill: Mapping[str, Any], stage: str) -> Mapping[str, Any]:
    """What a stage of a drill measured, as evidence tells it."""
    return next((line["facts"] or {} for line in drill.get("stages", ()) if line.get("stage") == stage), {})
