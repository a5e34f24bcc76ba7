"""Chains: which earlier snapshots a differential, incremental or log snapshot needs, and whether they are all there.

A differential builds on the last full one; an incremental (or log) on the full one and everything of its kind since.
Where names carry ``{seq}``, numbers must follow each other without a hole or a repetition; where they do not, times
must tell the links apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, pairwise

from restore_drill.errors import BackupFailed
from restore_drill.model import Kind, Snapshot, Stage


def link(points: list[Snapshot], kept: int) -> list[Snapshot]:
    """Give the newest snapshots of each kind their parents.

    Args:
        points: Newest first, with everything that the newest ones build on.
        kept: How many of each kind are wanted; the others only serve as parents.
    """
    linked: list[Snapshot] = []
    seen: Counter[Kind] = Counter()
    for position, snapshot in enumerate(points):
        seen[snapshot.kind] += 1
        if seen[snapshot.kind] <= kept:
            parents = _parents(snapshot, points, position)
            linked.append(replace(snapshot, parents=parents) if parents else snapshot)
    return linked


def _parents(snapshot: Snapshot, points: list[Snapshot], position: int) -> tuple[Snapshot, ...]:
    if snapshot.kind is Kind.FULL:
        return ()
    needed: list[Snapshot] = []
    for candidate in islice(points, position + 1, None):
        if candidate.kind is Kind.FULL:
            needed.append(candidate)
            break
        if snapshot.kind is not Kind.DIFFERENTIAL and candidate.kind is snapshot.kind:
            needed.append(candidate)
    return tuple(reversed(needed))


def nearest(points: Sequence[Snapshot]) -> list[Snapshot | None]:
    """What each snapshot directly builds on, ``None`` for a full one, and where it is missing.

    Following it from one to the next gives what :func:`link` gives, in memory that does not grow with the chains.

    Args:
        points: Every one, newest first.
    """
    found: list[Snapshot | None] = []
    full: Snapshot | None = None
    last: dict[Kind, Snapshot] = {}
    for snapshot in reversed(points):
        if snapshot.kind is Kind.FULL:
            found.append(None)
            full, last = snapshot, {}
        else:
            found.append(full if snapshot.kind is Kind.DIFFERENTIAL else last.get(snapshot.kind, full))
            last[snapshot.kind] = snapshot
    return found[::-1]


def problem(snapshot: Snapshot) -> BackupFailed | None:
    """What is wrong with the chain of a snapshot, or ``None``."""
    links = [*snapshot.parents, snapshot]
    if links[0].kind is not Kind.FULL:
        return _broken(f"{links[0].main.name} is {links[0].kind}, and the full snapshot it builds on is missing")
    for earlier, later in pairwise(links):
        if earlier.sequence == later.sequence and earlier.kind is later.kind and earlier.taken_at == later.taken_at:
            return _broken(f"{earlier.main.name} and {later.main.name} claim the same time: their order is not known")
        if earlier.sequence is None or later.sequence is None or later.kind is Kind.DIFFERENTIAL:
            continue
        step = later.sequence - earlier.sequence
        if step > 1:
            return _broken(f"{step - 1} link(s) between {earlier.main.name} and {later.main.name} are missing")
        if step < 1:
            return _broken(f"{later.main.name} does not follow {earlier.main.name}: their numbers overlap")
    return None


def _broken(cause: str) -> BackupFailed:
    return BackupFailed(
        f"the chain is broken: {cause}",
        remedy="Take a full backup now: nothing after the break can be restored.",
        stage=Stage.CHAIN,
    )
