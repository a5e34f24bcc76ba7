"""Which snapshots were proved by a drill, and are still: from evidence documents, in the order of the ledger.

A snapshot is proved by a whole drill of it that passed. The proof stands until a later drill finds its bytes, or those
of any link of its chain, wanting; then only another drill that passes proves it again. *Later* is meant both ways: what
was recorded later or ended later takes a proof away, so that a clock that is wrong never keeps one.

A failure that says nothing of the bytes (too old, a gap, slow, left something behind) takes no proof away and gives
none; nor does a drill that could not verify. A failure under an approved exception leaves the drill a proof, unless the
exception excuses that the backup cannot be read or is damaged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from restore_drill.policy.standings import name_of, seconds
from restore_drill.sampling import is_of_newest, split

#: Cases that judge something else than whether these bytes can be brought back.
BESIDE_THE_BYTES = frozenset({"rpo", "gap", "encrypted", "rto", "disposed", "runbook"})
#: Cases without which there is no way back: excused, they prove nothing.
THE_WAY_BACK = frozenset({"located", "fetched", "unpacks", "chain", "restores", "integrity"})
#: How deep a drill must have come.
_RESTORED = frozenset({"restore", "query"})
_GOOD = frozenset({"passed", "excepted"})
_BAD = frozenset({"failed", "error"})


@dataclass(frozen=True, slots=True)
class Proof:
    """The last drill that proved a snapshot.

    Attributes:
        run, finished: The run, and when the drill ended (seconds since the epoch).
        verdict: ``passed``, or ``excepted``.
        scope: ``whole``.
        depth: How deep it came: ``restore`` or ``query``.
        taken_at: The time of the snapshot (seconds since the epoch).
        sha256: Of the stored bytes that were read, by key: those of its parents are among them.
        snapshot, kind: Its id, and ``full``, ``differential``, ``incremental`` or ``log``.
        parents: Ids of the snapshots that it needs, oldest first.
        artifacts, size: Its keys, and their stored bytes as listed (``-1`` where a listing does not say).
        store: The store that it lay in, by the catalogue's name; ``""`` where that is not known.
        started: When the drill began to look at it (seconds since the epoch), 0 where that is not known.
    """

    run: str
    finished: float
    verdict: str
    scope: str
    depth: str
    taken_at: float
    sha256: Mapping[str, str] = field(default_factory=dict)
    snapshot: str = ""
    kind: str = "full"
    parents: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    size: int = -1
    store: str = ""
    started: float = 0.0

    @property
    def chain(self) -> tuple[str, ...]:
        """Everything that it is restored from, oldest first."""
        return (*self.parents, self.snapshot)


@dataclass(frozen=True, slots=True)
class Attempt:
    """The last drill of a snapshot, whatever it found.

    Attributes:
        cause: The case that was not good (``rows/orders``), ``""`` when all were.
    """

    run: str
    finished: float
    verdict: str
    scope: str
    cause: str = ""


@dataclass(frozen=True, slots=True)
class SetProof:
    """The last drill that brought a set back whole.

    Attributes:
        name: Of the set.
        members: The snapshot of each target and copy.
    """

    name: str
    run: str
    finished: float
    members: Mapping[tuple[str, str], str]


@dataclass(slots=True)
class _Copy:
    """What is known of one copy: proofs with their place in the ledger, the last doubt about each snapshot.

    Attributes:
        last: The last drill of the newest snapshot, or of none.
    """

    proofs: dict[str, tuple[int, Proof]] = field(default_factory=dict)
    doubts: dict[str, tuple[int, float]] = field(default_factory=dict)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    last: Attempt | None = None

    def doubt(self, chain: Iterable[str], place: int, finished: float) -> None:
        for link in chain:
            known = self.doubts.get(link, (place, finished))
            self.doubts[link] = (max(known[0], place), max(known[1], finished))

    def stands(self, place: int, proof: Proof) -> bool:
        doubts = (self.doubts[link] for link in proof.chain if link in self.doubts)
        return all(later < place and ended < proof.finished for later, ended in doubts)

    def trim(self, keep: int) -> None:
        if len(self.proofs) > 2 * keep:
            newest = sorted(self.proofs.items(), key=lambda each: each[1][1].taken_at)[-keep:]
            self.proofs = dict(newest)
            self.attempts = {name: each for name, each in self.attempts.items() if name in self.proofs}


class Proofs:
    """What drills proved, by target and copy."""

    def __init__(self) -> None:
        self._copies: dict[tuple[str, str], _Copy] = {}
        self._sets: dict[str, SetProof] = {}
        self._place = 0
        self._users = False

    @classmethod
    def of(
        cls,
        documents: Iterable[Mapping[str, Any]],
        *,
        targets: Collection[str] | None = None,
        keep: int | None = None,
    ) -> Proofs:
        """Read documents in the order of the ledger; runs of the demo estate are left aside where there are others.

        Args:
            documents: Of every run, from the ledger's first; the stages of their drills are not looked at.
            targets: Only of these, all when left out.
            keep: How many of each copy's newest snapshots are remembered at least, all when left out.
        """
        found = cls()
        for document in documents:
            found._read(document, targets, keep)
        return found

    def of_copy(self, target: str, copy: str) -> dict[str, Proof]:
        """The proofs that stand, by snapshot id, the oldest snapshot first."""
        known = self._copies.get((target, copy), _Copy())
        standing = [proof for place, proof in known.proofs.values() if known.stands(place, proof)]
        return {proof.snapshot: proof for proof in sorted(standing, key=lambda each: (each.taken_at, each.snapshot))}

    def together(self, target: str, copy: str) -> list[tuple[str, SetProof]]:
        """The snapshots of a copy by which sets came back whole the last time, with the sets."""
        key = (target, copy)
        return [(each.members[key], each) for each in self._sets.values() if key in each.members]

    def newest(self, target: str, copy: str) -> Proof | None:
        """The proof of the newest snapshot that has one, whether it still lies there or not."""
        return next(reversed(self.of_copy(target, copy).values()), None)

    def attempts(self, target: str, copy: str) -> dict[str, Attempt]:
        """The last drill of each snapshot, whatever it found, by snapshot id."""
        return dict(self._copies.get((target, copy), _Copy()).attempts)

    def last(self, target: str, copy: str) -> Attempt | None:
        """The last drill of a copy's newest snapshot, also when it found none; a partial one only when it was bad."""
        return self._copies.get((target, copy), _Copy()).last

    def _read(self, document: Mapping[str, Any], targets: Collection[str] | None, keep: int | None) -> None:
        run = document["run"]
        of_demo = run.get("estate") == "demo"
        if not of_demo and not self._users:
            self._users = True
            self._copies.clear()  # all that was read so far is of the demo
            self._sets.clear()
        if of_demo and self._users:
            return
        self._place += 1
        ended = seconds(run.get("finished") or run["started"])
        for drill in document.get("drills", ()):
            if targets is None or drill["target"] in targets:
                # Drills of older snapshots beside the newest one's have a slot behind the copy's name.
                key = (drill["target"], split(str(drill["copy"]))[0])
                copy = self._copies.setdefault(key, _Copy())
                self._drill(copy, run["id"], drill, ended)
                if keep is not None:
                    copy.trim(max(1, keep))
        for each in document.get("sets", ()):
            if each.get("scope") == "whole" and each["verdict"] in _GOOD:
                known = [one for one in each["members"] if one.get("snapshot")]
                members = {(one["target"], one["copy"]): str(one["snapshot"]["id"]) for one in known}
                finished = seconds(each["finished"]) if each.get("finished") else ended
                self._sets[each["set"]] = SetProof(each["set"], run["id"], finished, members)

    def _drill(self, copy: _Copy, run: str, drill: Mapping[str, Any], run_ended: float) -> None:
        finished = seconds(drill["finished"]) if drill.get("finished") else run_ended
        verdict, scope = str(drill["verdict"]), str(drill.get("scope", ""))
        bad = [case for case in drill["cases"] if case["verdict"] not in _GOOD and not case.get("blocked_by")]
        attempt = Attempt(run, finished, verdict, scope, name_of(bad[0]) if bad else "")
        if is_of_newest(drill) and (scope == "whole" or verdict in _BAD):
            copy.last = attempt
        if not (snapshot := drill.get("snapshot")):
            return
        name, parents = str(snapshot["id"]), tuple(map(str, snapshot.get("parents", ())))
        copy.attempts[name] = attempt
        if any(map(_is_damage, drill["cases"])):
            copy.doubt((*parents, name), self._place, finished)
        if not _proves(drill):
            return
        copy.proofs[name] = self._place, Proof(
            run, finished, verdict, scope, str(drill.get("reached", "")), seconds(snapshot["taken_at"]),
            snapshot.get("sha256", {}), name, str(snapshot.get("kind", "full")), parents,
            tuple(snapshot.get("artifacts", ())), int(snapshot.get("size", -1)),
            str(drill.get("store") or ""), seconds(drill["started"]) if drill.get("started") else 0.0,
        )  # fmt: skip


def _is_damage(case: Mapping[str, Any]) -> bool:
    """Whether a case says that these bytes cannot be brought back; an exception excuses that, and mends nothing."""
    if case["verdict"] == "excepted":
        return case["case"] in THE_WAY_BACK
    return case["verdict"] == "failed" and case["case"] not in BESIDE_THE_BYTES and not case.get("blocked_by")


def _proves(drill: Mapping[str, Any]) -> bool:
    if drill.get("scope") != "whole" or drill["verdict"] not in _GOOD or drill.get("reached") not in _RESTORED:
        return False
    return not any(case["verdict"] == "excepted" and case["case"] in THE_WAY_BACK for case in drill["cases"])
