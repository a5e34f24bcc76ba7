"""Of all the recovery points that a listing passes by, those that may be drilled, and the links that these need."""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from restore_drill.model import Artifact, Kind, Snapshot
from restore_drill.repositories import chain
from restore_drill.repositories.base import KEPT, Survey

#: What comes first among points of one recorded time: a full one, and what builds on it.
_RANK = {kind: rank for rank, kind in enumerate(Kind)}


def order(snapshot: Snapshot) -> tuple[float, int, int, str]:
    """What sorts recovery points by age: names that state the day only are told apart by number and kind.

    Rotations are sorted by their number alone: whether their times agree with it is for the selection to judge.
    """
    sequence = -1 if snapshot.sequence is None else snapshot.sequence
    if snapshot.rotation is not None:
        return -snapshot.rotation, sequence, _RANK[snapshot.kind], snapshot.main.key
    return snapshot.taken_at.timestamp(), sequence, _RANK[snapshot.kind], snapshot.main.key


class Points:
    """Takes recovery points in any order and keeps the newest: bounded by the chains that they need.

    Args:
        kept: How many of each kind are kept.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        #: When each was taken, in seconds since the epoch.
        self.times = array("d")
        self._points: list[Snapshot] = []
        self._room = 4 * kept

    def every_time(self) -> array[float]:
        """The times in order."""
        return array("d", sorted(self.times))

    def add(self, snapshot: Snapshot) -> None:
        """One more."""
        self.times.append(snapshot.taken_at.timestamp())
        self._points.append(snapshot)
        if len(self._points) >= self._room:
            self._points = self.needed()
            self._room = max(4 * self._kept, 2 * len(self._points))

    def needed(self) -> list[Snapshot]:
        """The newest of each kind, and every point since the full one that the oldest of them builds on; newest first.

        Points that are added later can only make the oldest of these younger, so that what is left out now is never
        needed again.
        """
        points = sorted(self._points, key=order, reverse=True)
        seen: Counter[Kind] = Counter()
        kept, oldest = set(), -1
        for position, point in enumerate(points):
            seen[point.kind] += 1
            if seen[point.kind] <= self._kept:
                kept.add(position)
                oldest = oldest if point.kind is Kind.FULL else position
        full = (position for position in range(oldest + 1, len(points)) if points[position].kind is Kind.FULL)
        base = next(full, len(points)) if oldest >= 0 else -1
        return [point for position, point in enumerate(points) if position in kept or position <= base]


class Sets(Points):
    """The same where a snapshot lies in many objects: what is added is one of them, under the name of the whole.

    Their sizes are added up; the snapshot is as new as the newest of them.
    """

    def __init__(self, kept: int = KEPT) -> None:
        super().__init__(kept)
        self._known: dict[str, list[float]] = {}

    def every_time(self) -> array[float]:
        """One time for each set: one that was dropped as old may have come back with a further object."""
        return array("d", sorted(set(self.times)))

    def add(self, snapshot: Snapshot) -> None:
        """One more object."""
        main = snapshot.main
        known = self._known.get(main.key)
        if known is not None:
            known[0] = -1 if min(known[0], main.size) < 0 else known[0] + main.size  # unknown stays unknown
            known[1] = max(known[1], main.modified)
            return
        self._known[main.key] = [main.size, main.modified]
        super().add(snapshot)

    def needed(self) -> list[Snapshot]:
        """The newest, as :meth:`Points.needed` chooses them, each with the sums of its set so far."""
        kept = super().needed()
        self._known = {point.main.key: self._known[point.main.key] for point in kept}
        return [replace(point, artifacts=(self._whole(point.main),)) for point in kept]

    def _whole(self, main: Artifact) -> Artifact:
        size, modified = self._known[main.key]
        return replace(main, size=int(size), modified=modified)


def survey(
    read: Callable[[Survey], Iterator[Snapshot]], wanted: str = "", kind: Callable[[], Points] = Points
) -> Survey:
    """Make a survey of what a layout reads; see :meth:`restore_drill.repositories.base.Repository.survey`.

    Args:
        read: Lists the recovery points once more each time it is called, and counts in the survey what it looked at.
        wanted: Id, key or name of a snapshot that must be described however old it is.
        kind: What puts them together: :class:`Sets` where a snapshot lies in many objects.
    """
    found, points, asked = Survey(), kind(), kind()
    for snapshot in read(found):
        points.add(snapshot)
        if wanted in names(snapshot):
            asked.add(snapshot)
    found.wanted = next(iter(asked.needed()), None)
    found.times = points.every_time()
    conclude(found, points.needed())
    if found.wanted and found.wanted.kind is not Kind.FULL and found.wanted.main not in _mains(found):
        found.wanted = _with_parents(read, found.wanted, kind())
    return found


def every(read: Callable[[Survey], Iterator[Snapshot]], kind: Callable[[int], Points] = Points) -> list[Snapshot]:
    """Every recovery point, newest first, each with its direct parent: see ``Repository.every``."""
    points = kind(sys.maxsize)
    for snapshot in read(Survey()):
        points.add(snapshot)
    return directly(points.needed())


def directly(points: list[Snapshot]) -> list[Snapshot]:
    """The same points, newest first, each with what it directly builds on as its only parent."""
    pairs = zip(points, chain.nearest(points), strict=True)
    return [replace(point, parents=(parent,)) if parent else point for point, parent in pairs]


def conclude(found: Survey, points: list[Snapshot]) -> None:
    """Fill in the newest points, linked to their parents, and which of them cannot be told apart."""
    found.newest = chain.link(points, KEPT)
    found.clashes = clashes(points)
    if found.wanted:
        main = found.wanted.main
        found.wanted = next((each for each in found.newest if each.main == main), found.wanted)


def names(snapshot: Snapshot) -> tuple[str, ...]:
    """By what a snapshot can be asked for."""
    main = snapshot.main
    return snapshot.id, main.key, main.key.rstrip("/"), main.name


def clashes(points: list[Snapshot]) -> list[tuple[str, str]]:
    """Pairs of keys that claim the same instant, kind and number; of rotations, the same number."""
    seen: dict[tuple[object, ...], str] = {}
    pairs = []
    for point in points:
        rotated = point.rotation is not None
        what = (point.rotation,) if rotated else (point.taken_at, point.kind, point.sequence)
        if what in seen:
            pairs.append((seen[what], point.main.key))
        seen[what] = point.main.key
    return pairs


def _mains(found: Survey) -> list[object]:
    return [each.main for each in found.newest]


def _with_parents(read: Callable[[Survey], Iterator[Snapshot]], wanted: Snapshot, points: Points) -> Snapshot:
    """A link of an old chain with its parents: another listing, of what is not newer."""
    for snapshot in read(Survey()):
        if order(snapshot) <= order(wanted):
            points.add(snapshot)
    linked = chain.link(points.needed(), KEPT)
    return next((each for each in linked if each.main == wanted.main), wanted)
