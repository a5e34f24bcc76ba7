"""Chains: which earlier snapshots a differential, incremental or log snapshot needs, and whether they are all there.

A differential builds on the last full one; an incremental (or log) on the full one and everything of its kind since.
Where names carry ``{seq}``, numbers must follow each other without a hole or a repetition.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from restore_drill.errors import BackupFailed
from restore_drill.model import Kind, Snapshot, Stage


def link(newest: list[Snapshot]) -> list[Snapshot]:
    """Give every snapshot its parents; the list and the result are newest first."""
    linked: list[Snapshot] = []
    for position, snapshot in enumerate(newest):
        parents = _parents(snapshot, newest[position + 1 :])
        linked.append(replace(snapshot, parents=parents) if parents else snapshot)
    return linked


def _parents(snapshot: Snapshot, older: list[Snapshot]) -> tuple[Snapshot, ...]:
    if snapshot.kind is Kind.FULL:
        return ()
    needed: list[Snapshot] = []
    for candidate in older:
        if candidate.kind is Kind.FULL:
            needed.append(candidate)
            break
        if snapshot.kind is not Kind.DIFFERENTIAL and candidate.kind is snapshot.kind:
            needed.append(candidate)
    return tuple(reversed(needed))


def problem(snapshot: Snapshot) -> BackupFailed | None:
    """What is wrong with the chain of a snapshot, or ``None``."""
    links = [*snapshot.parents, snapshot]
    if links[0].kind is not Kind.FULL:
        return _broken(f"{links[0].main.name} is {links[0].kind}, and the full snapshot it builds on is missing")
    for earlier, later in pairwise(links):
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
