"""The retention gate: which snapshots may go, and which must stay. A pure decision; nothing here removes anything.

"Never delete the old before the new is proved." Of every copy there stay, each with what it is restored from:

* the newest snapshot that a drill proved, and everything newer: none of it is proved yet;
* everything, as long as no snapshot of the copy is proved at all;
* what the retention policy promises: of each of its hours, days, weeks, months and years one snapshot (a proved one
  where there is one), and never fewer than ``at_least``;
* what a set, targets that are restored together, came back whole from the last time;
* what a hold covers.

All else may go: it is older than a proved snapshot that stays, and nobody asked for it. A proof counts while the stored
object is the one that was drilled, as far as a listing tells (name, size, time), and its chain is there as it was.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from restore_drill.catalogue.keeping import Hold
from restore_drill.catalogue.models import RetentionRule
from restore_drill.policy.proofs import Attempt, Proof, SetProof
from restore_drill.policy.retention import PERIODS, Bucket, buckets
from restore_drill.quantities import format_instant


@dataclass(frozen=True, slots=True)
class Point:
    """One recovery point as it was listed.

    Attributes:
        key: Its name in the store; no two of a copy have the same.
        taken_at: Seconds since the epoch.
        size: Stored bytes, ``-1`` where the listing does not say.
        needs: The key of the point that it directly builds on, ``""`` when there is none.
        renamed: Its name is another one after every backup: a proof of it goes by its id alone.
        modified: When the store last saw it written (seconds since the epoch), 0 where that tells nothing.
    """

    id: str
    key: str
    taken_at: float
    kind: str = "full"
    size: int = -1
    needs: str = ""
    renamed: bool = False
    modified: float = 0.0


@dataclass(frozen=True, slots=True)
class CopyFacts:
    """What is known of one copy.

    Attributes:
        points: Every recovery point, newest first.
        proofs, attempts: What the ledger holds, by snapshot id.
        rule: What the policy promises, ``None`` when it promises nothing.
        drift: How much later than the period asks a recovery point may follow another (seconds).
        skew: How far the clocks of the store and of drills may disagree (seconds).
        store: The store that it lies in, by the catalogue's name; ``""`` where that is not known.
        together: Ids of the snapshots that sets came back whole from, with the sets.
    """

    name: str
    points: Sequence[Point]
    proofs: Mapping[str, Proof] = field(default_factory=dict)
    attempts: Mapping[str, Attempt] = field(default_factory=dict)
    rule: RetentionRule | None = None
    drift: float = 0.0
    skew: float = 300.0
    store: str = ""
    together: Sequence[tuple[str, SetProof]] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a snapshot must stay, or may go.

    Attributes:
        rule: ``newest-proved``, ``not-proved-yet``, ``nothing-proved``, ``retention``, ``set``, ``hold``, ``chain``; of
            what may go ``superseded``.
        text: In words.
    """

    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one snapshot.

    Attributes:
        proof: The drill that proves it, ``None`` when none does.
        unproved: Why no proof counts, where something is to be said.
    """

    point: Point
    stays: bool
    reasons: tuple[Reason, ...]
    proof: Proof | None = None
    unproved: str = ""


@dataclass(frozen=True, slots=True)
class CopyDecision:
    """What becomes of one copy's snapshots, newest first.

    Attributes:
        proved: The newest proved one, ``None`` when none is.
        notes: What is to be known beside it.
    """

    copy: str
    decisions: tuple[Decision, ...]
    proved: Decision | None
    notes: tuple[str, ...] = ()

    @property
    def stay(self) -> list[Decision]:
        """What must stay."""
        return [each for each in self.decisions if each.stays]

    @property
    def go(self) -> list[Decision]:
        """What may go."""
        return [each for each in self.decisions if not each.stays]


def decide(facts: CopyFacts, holds: Iterable[Hold], now: float, zone: ZoneInfo) -> CopyDecision:
    """Decide about every snapshot of a copy.

    Args:
        facts: What is known of it.
        holds: Of its target.
        now: Seconds since the epoch.
        zone: In which days begin.
    """
    return _Gate(facts, now, zone).decide(holds)


def needed_by(
    ours: CopyDecision, theirs: CopyDecision, name: str, at: str = "", theirs_at: str = ""
) -> CopyDecision:  # fmt: skip
    """The same decision, with what another target needs of the same objects, of what lies in them or around them.

    Args:
        ours: What was decided for one target.
        theirs: What was decided for the other.
        name: Of the other.
        at: What stands before the keys of the one.
        theirs_at: What stands before those of the other.
    """
    needed: dict[str, Decision] = {}
    around: dict[str, Decision] = {}
    for each in theirs.decisions:
        if each.stays:
            place = f"{theirs_at}{each.point.key}".rstrip("/")
            needed[place] = each
            around |= dict.fromkeys(_around(place), each)

    def wanted(ours: Decision) -> Decision | None:
        place = f"{at}{ours.point.key}".rstrip("/")
        found = needed.get(place) or around.get(place)
        return found or next((needed[each] for each in _around(place) if each in needed), None)

    decisions = tuple(
        _also_needed(each, other, name) if (other := wanted(each)) is not None else each for each in ours.decisions
    )
    return replace(ours, decisions=decisions)


def _around(place: str) -> Iterator[str]:
    """The directories that something lies in."""
    while place := place.rpartition("/")[0]:
        yield place


def _also_needed(ours: Decision, theirs: Decision, name: str) -> Decision:
    reasons = tuple(replace(reason, text=f"for {name}: {reason.text}") for reason in theirs.reasons)
    return replace(ours, stays=True, reasons=(*ours.reasons, *reasons) if ours.stays else reasons)


def chain_of(point: Point, by_key: Mapping[str, Point]) -> Iterator[Point]:
    """A point and everything that it builds on, from the newest to the oldest, as far as it is there."""
    link: Point | None = point
    while link is not None:
        yield link
        link = by_key.get(link.needs)


def standing(facts: CopyFacts) -> tuple[dict[str, Proof], dict[str, str]]:
    """The proofs that count for what lies there now, and why others do not; both by key."""
    by_key = {point.key: point for point in facts.points}
    found: dict[str, Proof] = {}
    why: dict[str, str] = {}
    for point in facts.points:
        proof = facts.proofs.get(point.id)
        problem = _unproved(point, proof, by_key, facts)
        if problem:
            why[point.key] = problem
        elif proof is not None:
            found[point.key] = proof
    return found, why


def _unproved(point: Point, proof: Proof | None, by_key: Mapping[str, Point], facts: CopyFacts) -> str:
    """Why a proof does not count for what lies there, or what the last drill said where there is none; else ``""``."""
    if proof is None:
        attempt = facts.attempts.get(point.id)
        if attempt is None:
            return ""
        cause = f" ({attempt.cause})" if attempt.cause else ""
        return f"its last drill {_said(attempt)}{cause}, {format_instant(attempt.finished)}"
    if proof.store and facts.store and proof.store != facts.store:
        return f"it was drilled in another store, {proof.store}"
    if not point.renamed and proof.artifacts and point.key not in proof.artifacts:
        return "another object was drilled under this time"
    if min(point.size, proof.size) >= 0 and point.size != proof.size:
        return f"it had {proof.size} bytes when it was drilled, and has {point.size} now"
    links = list(chain_of(point, by_key))
    written = max(link.modified for link in links)
    # What was written while it was drilled may not be what was read then.
    if written > (proof.started or proof.finished) + facts.skew:
        what = "it" if point.modified == written else "what it builds on"
        return f"{what} was written again since it was drilled, {format_instant(written)}"
    if proof.chain != tuple(link.id for link in reversed(links)):
        return "what it builds on is not there as it was when it was drilled"
    return ""


def _said(attempt: Attempt) -> str:
    words = {"failed": "failed", "error": "could not verify it"}
    return words.get(attempt.verdict, "is no proof any more" if attempt.scope == "whole" else "was not a whole one")


class _Gate:
    """One copy while it is decided about."""

    def __init__(self, facts: CopyFacts, now: float, zone: ZoneInfo) -> None:
        self.facts = facts
        self.points = facts.points
        self.now = now
        self.zone = zone
        self.proofs, self.why = standing(facts)
        self.by_key = {point.key: point for point in facts.points}
        self.reasons: dict[str, list[Reason]] = {}
        self.notes: list[str] = []

    def decide(self, holds: Iterable[Hold]) -> CopyDecision:
        newest = self._newest()
        self._keep_newest(newest)
        if self.facts.rule is not None:
            self._keep_promised(self.facts.rule)
        self._keep_together()
        for hold in holds:
            self._keep_held(hold)
        self._keep_chains()
        decisions = tuple(self._decision(point, newest) for point in self.points)
        proved = next((each for each in decisions if newest is not None and each.point is newest), None)
        if self.facts.rule is None and any(not each.stays for each in decisions):
            self.notes.append(
                "the catalogue has no retention: nothing asks for what is older than the newest proved one"
            )
        return CopyDecision(self.facts.name, decisions, proved, tuple(self.notes))

    def _newest(self) -> Point | None:
        """The newest proved one; what is dated later than now is newer than others in name only."""
        for point in self.points:
            if point.key in self.proofs:
                if point.taken_at <= self.now + self.facts.skew:
                    return point
                self.notes.append(f"{point.id} is proved, and is dated in the future: nothing goes because of it")
        return None

    def _keep(self, point: Point, rule: str, text: str) -> None:
        self.reasons.setdefault(point.key, []).append(Reason(rule, text))

    def _keep_newest(self, newest: Point | None) -> None:
        for point in self.points:
            if newest is None:
                self._keep(point, "nothing-proved", "no snapshot of this copy is proved: nothing goes before one is")
            elif point is newest:
                proof = self.proofs[point.key]
                when = format_instant(proof.finished)
                self._keep(point, "newest-proved", f"the newest snapshot that a drill proved ({proof.run}, {when})")
                return
            else:
                self._keep(point, "not-proved-yet", f"newer than {newest.id}, the newest that is proved")

    # --- the policy -------------------------------------------------------------------------------------------------

    def _keep_promised(self, rule: RetentionRule) -> None:
        for point in self.points[: rule.at_least]:
            self._keep(point, "retention", f"one of the newest {rule.at_least} (at_least)")
        ordered = sorted(self.points, key=lambda point: point.taken_at)
        times = [point.taken_at for point in ordered]
        for period in PERIODS:
            wanted = getattr(rule, period)
            for bucket in buckets(period, wanted, self.now, self.zone):
                first, after = bisect.bisect_left(times, bucket.start), bisect.bisect_left(times, bucket.end)
                name = f"{period} {bucket.label}"
                if first < after:
                    self._keep(self._best(ordered[first:after]), "retention", f"{name} (keeps {wanted})")
                else:
                    self._keep_around(ordered, first, bucket, name)

    def _best(self, points: Sequence[Point]) -> Point:
        """Of a period's points, oldest first, the one that stays: proved before unknown before bad, then the newest."""

        def worth(place: int) -> tuple[int, int]:
            point = points[place]
            attempt = self.facts.attempts.get(point.id)
            bad = attempt is not None and attempt.verdict == "failed"
            return (2 if point.key in self.proofs else 0 if bad else 1), place

        return points[max(range(len(points)), key=worth)]

    def _keep_around(self, ordered: Sequence[Point], place: int, bucket: Bucket, name: str) -> None:
        """A job that drifts skips a day now and then: the points around it stand in for it, if they are close."""
        if not 0 < place < len(ordered):
            return
        before, after = ordered[place - 1], ordered[place]
        if after.taken_at - before.taken_at <= bucket.end - bucket.start + self.facts.drift:
            for point in (before, after):
                self._keep(point, "retention", f"stands in for {name}, which has none of its own")

    # --- sets, holds and chains --------------------------------------------------------------------------------------

    def _keep_together(self) -> None:
        """A newer snapshot of one target goes with none of the others where their backups stopped."""
        for snapshot, each in self.facts.together:
            for point in self.points:
                if point.id == snapshot:
                    when = format_instant(each.finished)
                    self._keep(point, "set", f"the set {each.name} last came back whole from it ({each.run}, {when})")

    def _keep_held(self, hold: Hold) -> None:
        if hold.copy_ not in (None, self.facts.name):
            return
        today = datetime.fromtimestamp(self.now, self.zone).date()
        if hold.released is not None and hold.released <= today:
            return
        missing = set(hold.snapshots) - {point.id for point in self.points}
        self.notes += [f"the hold {hold.id} names {name}, which does not lie here" for name in sorted(missing)]
        for point in self.points:
            if hold.snapshots:
                held = point.id in hold.snapshots
            else:
                day = datetime.fromtimestamp(point.taken_at, self.zone).date()
                held = (hold.first is None or hold.first <= day) and (hold.last is None or day <= hold.last)
            if held:
                self._keep(point, "hold", f"{hold.id}: {hold.reason} (ordered by {hold.by})")

    def _keep_chains(self) -> None:
        for point in self.points:  # newest first: what is needed always comes later
            if point.key not in self.reasons:
                continue
            link = self.by_key.get(point.needs)
            while link is not None:
                known = self.reasons.setdefault(link.key, [])
                if any(reason.rule == "chain" for reason in known):
                    break  # and everything below it, too
                known.append(Reason("chain", f"{point.id} is restored from it"))
                link = self.by_key.get(link.needs)

    def _decision(self, point: Point, newest: Point | None) -> Decision:
        kept = self.reasons.get(point.key)
        proof, why = self.proofs.get(point.key), self.why.get(point.key, "")
        if kept:
            return Decision(point, stays=True, reasons=tuple(kept), proof=proof, unproved=why)
        assert newest is not None  # noqa: S101 - else everything is kept
        text = f"{newest.id} is newer and proved, and neither retention nor a hold asks for this one"
        return Decision(point, stays=False, reasons=(Reason("superseded", text),), proof=proof, unproved=why)
