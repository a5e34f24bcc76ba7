"""The newest moment to which all targets of a set can be brought back: a snapshot of each, near to each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from restore_drill.errors import BackupFailed
from restore_drill.model import Snapshot, Stage
from restore_drill.quantities import format_duration, format_instant


@dataclass(frozen=True, slots=True)
class Candidates:
    """The snapshots of one target that may be taken.

    Attributes:
        newest: Newest first.
        timeless: It no longer changes: its newest snapshot goes with any moment.
        unfinished: Why a snapshot cannot be complete, or ``None``; asked of those only that would be taken.
    """

    newest: Sequence[Snapshot]
    timeless: bool
    unfinished: Callable[[Snapshot], str | None]


def choose(candidates: Mapping[str, Candidates], within: timedelta) -> tuple[dict[str, Snapshot], list[str]]:
    """The newest snapshot of each target such that none lies further than ``within`` from another.

    Whatever is taken with the target that is furthest behind, newer snapshots of that one do not exist: so whoever is
    furthest ahead goes back by one, until all are together.

    Returns:
        The snapshots by target, and what was stepped over because it is not complete.

    Raises:
        BackupFailed: There is no such moment.
    """
    places = dict.fromkeys(candidates, 0)
    moving = [name for name, each in candidates.items() if not each.timeless]
    notes: list[str] = []
    while True:
        taken = {name: candidates[name].newest[place] for name, place in places.items()}
        ahead = _furthest(taken, moving, within)
        if ahead is None:
            ahead = _incomplete(taken, candidates, notes)
        if ahead is None:
            return taken, notes
        places[ahead] += 1
        if places[ahead] >= len(candidates[ahead].newest):
            raise _none(candidates, moving, within)


def _furthest(taken: Mapping[str, Snapshot], moving: Sequence[str], within: timedelta) -> str | None:
    moments = {name: taken[name].moment for name in moving}
    if not moments or max(moments.values()) - min(moments.values()) <= within.total_seconds():
        return None
    return max(moments, key=moments.__getitem__)


def _incomplete(taken: Mapping[str, Snapshot], candidates: Mapping[str, Candidates], notes: list[str]) -> str | None:
    for name, snapshot in taken.items():
        why = candidates[name].unfinished(snapshot)
        if why is not None:
            notes.append(f"{name}: {snapshot.id} was stepped over: {why}")
            return name
    return None


def _none(candidates: Mapping[str, Candidates], moving: Sequence[str], within: timedelta) -> BackupFailed:
    newest = {name: candidates[name].newest[0].moment for name in moving}
    apart = format_duration(max(newest.values()) - min(newest.values())) if newest else "0 s"
    told = ", ".join(f"{name} {format_instant(at)}" for name, at in sorted(newest.items(), key=lambda pair: pair[1]))
    return BackupFailed(
        f"the targets have no common moment: their newest snapshots lie {apart} apart ({told}), and no earlier ones "
        f"within {format_duration(within)} of each other",
        remedy="Take their backups together, or raise within of the set if that much may differ.",
        stage=Stage.LOCATE,
    )
