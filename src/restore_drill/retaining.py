"""What the retention gate decides upon: every snapshot that lies in a store, and what the ledger proves of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from restore_drill.checksums import SIDECAR_SUFFIXES, strip_suffix
from restore_drill.model import Verdict
from restore_drill.policy.expiry import ExpiryFacts, Proved
from restore_drill.policy.gate import CopyDecision, CopyFacts, Decision, Point, decide, needed_by
from restore_drill.policy.proofs import BESIDE_THE_BYTES, THE_WAY_BACK
from restore_drill.registry import load, store_class

if TYPE_CHECKING:
    from restore_drill.facts import Located
    from restore_drill.model import Snapshot
    from restore_drill.plan import Plan, PlannedCase, PlannedCopy, PlannedSet, PlannedTarget
    from restore_drill.policy.proofs import Proof, Proofs
    from restore_drill.repositories.base import Repository

#: How the names of files end that belong to the one before: ``db.gz.sha256.asc``.
_COMPANIONS = (*SIDECAR_SUFFIXES, ".asc", ".sig", ".minisig", ".bundle")


@dataclass(frozen=True, slots=True)
class Retained:
    """What becomes of a copy's snapshots.

    Attributes:
        where: The address that was listed.
        root: Where the store lies on this machine, ``""`` for a remote one.
        decision: By the gate.
        at: When it was decided (seconds since the epoch).
    """

    copy: PlannedCopy
    where: str
    root: str
    decision: CopyDecision
    at: float


class Answers:
    """The decisions by the names that a prune job gives.

    A snapshot is known by its id, its key, its last name (where it is the only one of that name), or its path on this
    machine. What belongs to it goes with it: its digests and their signatures, its parts, its marker, and all that lies
    in it where it is a directory. What may be meant in two ways stays if it would in one of them.
    """

    def __init__(self, retained: Retained) -> None:
        self._root = retained.root
        self._known: dict[str, Decision] = {}
        self._ids: dict[str, list[Decision]] = {}
        self._names: dict[str, list[Decision]] = {}
        self._beside: dict[str, Decision] = {}
        self._directories = retained.copy.pattern.is_directory
        model = retained.copy.model
        templates = [each for each in (*model.parts, model.complete_when) if each and "{name}" in each]
        for each in retained.decision.decisions:
            key = each.point.key.rstrip("/")
            directory, _, name = key.rpartition("/")
            self._known[key] = each
            self._ids.setdefault(each.point.id, []).append(each)
            self._names.setdefault(name, []).append(each)
            for template in templates:
                self._beside[f"{directory}/{template.replace('{name}', name)}".removeprefix("/")] = each

    def of(self, name: str) -> tuple[Decision | None, str]:
        """The decision about a name, ``None`` where it is no snapshot's; and the key that it was understood as."""
        keys = list(dict.fromkeys(self._keys(name)))
        found = [(each, key) for key in keys if (each := self._find(key)) is not None]
        stay = [(each, each.point.key) for each, _ in found if each.stays]
        return next(iter(stay or [(each, each.point.key) for each, _ in found]), (None, keys[0]))

    def _keys(self, name: str) -> Iterator[str]:
        if not os.path.isabs(name):  # noqa: PTH117 - names of a store, taken as they are
            yield name.removeprefix("./").rstrip("/")
        path = os.path.abspath(name)  # noqa: PTH100 - likewise
        roots = (self._root, os.path.realpath(self._root)) if self._root else ()
        yield from (path[len(root) + 1 :] for root in roots if path.startswith(f"{root}/"))
        yield name

    def _find(self, key: str) -> Decision | None:
        known = self._known.get(key)
        # A name may look like the id of another: names tell the time of some clock, ids that of UTC.
        same = [*([known] if known else []), *self._ids.get(key, []), *self._names.get(key, [])]
        if same:
            only = known or (same[0] if all(each is same[0] for each in same) else None)
            return next((each for each in same if each.stays), only)
        return self._beside.get(key) or self._companion(key) or self._inside(key)

    def _companion(self, key: str) -> Decision | None:
        for _ in range(2):  # the signature of a digest
            key = strip_suffix(key, _COMPANIONS) or ""
            if key in self._known:
                return self._known[key]
        return None

    def _inside(self, key: str) -> Decision | None:
        if ".." in key.split("/"):
            return None  # it may lead out of it again
        while self._directories and (key := key.rpartition("/")[0]):
            if key in self._known:
                return self._known[key]
        return None


@dataclass(frozen=True, slots=True)
class Tonight:
    """How far this run's drill of a copy came.

    Attributes:
        located: What it found, ``None`` when it could not.
        verdicts: Of its cases.
        cause: The first thing that was wrong, with the case that says so.
        whole: Whether every case of it ran.
        newest: Whether it drills the newest snapshot.
    """

    located: Located | None
    verdicts: Mapping[PlannedCase, Verdict]
    cause: str
    whole: bool
    newest: bool

    @property
    def _ids(self) -> set[str]:
        snapshot = self.located.snapshot if self.located else None
        return {snapshot.id, *(parent.id for parent in snapshot.parents)} if snapshot else set()

    @property
    def proved(self) -> Proved | None:
        """The snapshot, when this drill proves it."""
        excused = {case.case for case, verdict in self.verdicts.items() if verdict is Verdict.EXCEPTED}
        good = all(verdict in (Verdict.PASSED, Verdict.EXCEPTED) for verdict in self.verdicts.values())
        if self.located is None or not (self.whole and good) or excused & THE_WAY_BACK:
            return None
        snapshot = self.located.snapshot
        first = [*snapshot.parents, snapshot][0]
        return Proved(snapshot.id, snapshot.taken_at.timestamp(), first.taken_at.timestamp())

    def doubts(self, chain: Iterable[str]) -> bool:
        """Whether this drill found the bytes wanting of something that has this chain."""
        bad = any(
            case.case in THE_WAY_BACK
            if verdict is Verdict.EXCEPTED
            else verdict is Verdict.FAILED and case.case not in BESIDE_THE_BYTES
            for case, verdict in self.verdicts.items()
        )
        return bad and not self._ids.isdisjoint(chain)


def expiry_facts(
    target: PlannedTarget, copy: PlannedCopy, tonight: Tonight, proofs: Callable[[], Proofs]
) -> ExpiryFacts:
    """What is proved of a copy whose backups somebody removes.

    Args:
        target: Whose copy it is.
        copy: It has an expiry.
        tonight: This run's drill of it.
        proofs: Reads the ledger, where this run's drill is not all that counts.

    Raises:
        CouldNotVerify: The ledger is needed, and cannot be read.
    """
    assert copy.expiry is not None  # noqa: S101 - the caller's part
    now = tonight.proved
    found = [now] if now else []
    if not (now and tonight.newest):
        known = proofs().of_copy(target.name, copy.name)
        found += [_as_proved(proof, known) for proof in known.values() if not tonight.doubts(proof.chain)]
    return ExpiryFacts(
        copy.name,
        copy.expiry,
        (copy.expiry.warn or target.drill_every).total_seconds(),
        found,
        tonight.located.times if tonight.located else None,
        tonight.cause.partition(":")[0],
        tonight.cause,
    )


def _as_proved(proof: Proof, known: Mapping[str, Proof]) -> Proved:
    """A proof as evidence has it: its chain is known by ids, which are times to the second."""
    first = proof.chain[0]
    if first == proof.snapshot or first in known:
        oldest = proof.taken_at if first == proof.snapshot else known[first].taken_at
    else:
        oldest = datetime.strptime(first.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    return Proved(proof.snapshot, proof.taken_at, oldest)


def sharing(plan: Plan, target: PlannedTarget) -> list[PlannedTarget]:
    """The targets whose backups are the same objects as some of this one's, or lie in them, or around them."""
    return [
        each for each in plan.targets
        if each.name != target.name and any(_share(one, other) for one in target.copies for other in each.copies)
    ]  # fmt: skip


def _share(one: PlannedCopy, other: PlannedCopy) -> bool:
    """Whether two copies may be of the same objects, or one's lie in the other's directories."""
    ours, theirs = _store(one) + one.pattern.prefix, _store(other) + other.pattern.prefix
    return ours.startswith(theirs) or theirs.startswith(ours)


def _meet(found: Retained, other: PlannedCopy) -> bool:
    """Whether anything that lies here could be of another copy, too; objects are by their names."""
    ours, theirs = _store(found.copy), _store(other)
    if any(each.is_directory or each.is_split for each in (found.copy.pattern, other.pattern)):
        return True
    places = (f"{ours}{each.point.key}" for each in found.decision.decisions)
    return any(place.startswith(theirs) and other.pattern.match(place[len(theirs) :]) for place in places)


def _store(copy: PlannedCopy) -> str:
    return copy.settings.url.rstrip("/") + "/"


def retained(
    target: PlannedTarget, copies: Iterable[PlannedCopy], proofs: Proofs, others: Sequence[PlannedTarget] = (),
    sets: Iterable[PlannedSet] = (),
) -> list[Retained]:  # fmt: skip
    """List every copy, and decide about what lies there.

    Args:
        target: Whose copies they are.
        copies: The copies.
        proofs: Of the target, and of the others.
        others: Targets that :func:`sharing` found: what one of them needs stays, too.
        sets: Those of the catalogue: what one of the past came back from stays only for a member that it still has.

    Raises:
        CouldNotVerify: A store cannot be listed.
    """
    found = []
    members = {(each.name, *member) for each in sets for member in each.members}
    for copy in copies:
        one = _retained(target, copy, proofs, members)
        for other in others:
            for theirs in other.copies:
                if _share(copy, theirs) and _meet(one, theirs):
                    needed = _retained(other, theirs, proofs, members).decision
                    decision = needed_by(one.decision, needed, other.name, _store(copy), _store(theirs))
                    one = replace(one, decision=decision)
        found.append(one)
    return found


def _retained(target: PlannedTarget, copy: PlannedCopy, proofs: Proofs, members: Set[tuple[str, str, str]]) -> Retained:
    store = store_class(copy.settings.url)(copy.settings)
    try:
        kind: type[Repository] = load("repositories", copy.layout)
        points = as_points(kind(store, copy, target.model).every())
        root = store.local_path("")
        where = store.where(copy.pattern.prefix)
    finally:
        store.close()
    now = time.time()
    facts = CopyFacts(
        copy.name,
        points,
        proofs.of_copy(target.name, copy.name),
        proofs.attempts(target.name, copy.name),
        copy.retention,
        target.model.grace.total_seconds(),
        target.model.clock_skew.total_seconds(),
        copy.store_name,
        [each for each in proofs.together(target.name, copy.name) if (each[1].name, target.name, copy.name) in members],
    )
    zone = target.model.timezone or ZoneInfo("UTC")
    return Retained(copy, where, str(root or ""), decide(facts, target.model.holds, now, zone), now)


def as_points(snapshots: Sequence[Snapshot]) -> list[Point]:
    """Snapshots as the gate knows them.

    Args:
        snapshots: Newest first, each with its direct parent.
    """
    return [
        Point(
            each.id,
            each.main.key,
            each.taken_at.timestamp(),
            str(each.kind),
            each.size,
            each.parents[-1].main.key if each.parents else "",
            each.rotation is not None,
            # A directory's changes with everything that is linked to what lies in it, and a rotation's with its name.
            each.modified if each.size >= 0 and each.rotation is None else 0.0,
        )
        for each in snapshots
    ]
