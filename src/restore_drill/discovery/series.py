"""A listing becomes series: objects whose names differ in what says when, and in nothing else.

Memory is bounded by the number of different names without their times, and of dated directories, not by the number of
objects.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from restore_drill.discovery.companions import Companions, ending_of, shape_of
from restore_drill.discovery.folders import (
    BACKUP_ENDING,
    LISTS,
    Folder,
    compiled,
    cut,
    folder_end,
    is_tree,
    spelled,
    tree,
)
from restore_drill.discovery.forms import choose_forms
from restore_drill.discovery.merging import merged
from restore_drill.discovery.model import Heap, LeftOut, Point, Series
from restore_drill.discovery.names import WEEKDAY, Pieces, Variable, any_kind, read, text_of
from restore_drill.discovery.rotations import rotations
from restore_drill.discovery.tools import MARKS, TOOLS, tool_of
from restore_drill.model import Artifact

#: Different names without a time that are told apart; more are only counted.
_MOST_STATIC = 20_000
#: Different names with a time (their times left out), different directories of what is counted, repositories.
_MOST_SHAPES, _MOST_CROWDS, _MOST_TOOLS = 50_000, 500, 100
#: Files of one directory without a time in their names; with more of them it is somebody's file tree.
_MOST_BESIDE = 120
_UNFINISHED = re.compile(
    r"\.(?:tmp|temp|part|partial|filepart|crdownload|incomplete|inprogress|upload)\Z|(?:\A|/)\.[^/]*\Z", re.I
)
_POINTER = re.compile(r"(?<![A-Za-z])(?i:latest|current|newest|last)(?![A-Za-z])")


@dataclass(slots=True)
class Listing:
    """What a store holds, as far as names tell."""

    listed: int = 0
    size: int = 0
    heaps: dict[Pieces, Heap] = field(default_factory=dict)
    folders: dict[Pieces, Folder] = field(default_factory=dict)
    static: dict[str, Artifact] = field(default_factory=dict)
    companions: Companions = field(default_factory=Companions)
    tools: dict[str, str] = field(default_factory=dict)
    crowds: Counter[str] = field(default_factory=Counter)
    hidden: Counter[str] = field(default_factory=Counter)
    many: Counter[tuple[str, str]] = field(default_factory=Counter)
    left_out: list[LeftOut] = field(default_factory=list)
    lists: set[str] = field(default_factory=set)

    def add(self, artifact: Artifact) -> None:
        """One more object."""
        self.listed += 1
        self.size += max(artifact.size, 0)
        key = artifact.key
        self._note_tool(key)
        name = key.rpartition("/")[2]
        if _UNFINISHED.search(key):
            if not name.startswith("."):
                self.leave(key, "it has the name of an upload under way", artifact.size)
            else:
                place = f"{key.partition('/')[0]}/**/.*" if "/" in key else ".*"
                self.hidden[place if place in self.hidden or len(self.hidden) < _MOST_CROWDS else "**/.*"] += 1
            return
        ending = ending_of(name)
        reading = read(key[: len(key) - len(ending)] if ending else key)
        if name.lower() in LISTS and not reading.has_time:
            if len(self.lists) < _MOST_CROWDS:
                self.lists.add(key)
            else:
                self.leave(key, "one of too many lists of digests", artifact.size)
            return
        if ending:
            if not self.companions.add(artifact, ending, reading):
                self.leave(key, "one of too many different names", artifact.size)
            return
        self._file(artifact, reading.pieces, reading.kind)

    def leave(self, key: str, why: str, size: int = 0) -> None:
        """Leave out one object by its name; of a place that has many the others by their directory."""
        if len(self.left_out) < _MOST_CROWDS:
            self.left_out.append(LeftOut(key, why, 1, size))
            return
        directory = f"{key.rpartition('/')[0]}/"
        known = (directory, why) in self.many or len(self.many) < _MOST_CROWDS
        self.many[directory if known else "(elsewhere)", why] += 1

    def _file(self, artifact: Artifact, pieces: Pieces, kind: str) -> None:
        at = folder_end(pieces)
        if at is not None:
            folder, rest = cut(pieces, at)
            name = spelled(artifact.key, rest)
            if folder not in self.folders and len(self.folders) >= _MOST_SHAPES:
                self._crowd(artifact.key)
                return
            self.folders.setdefault(folder, Folder(folder)).add(artifact, name, rest, kind)
        elif (pieces in self.heaps or len(self.heaps) < _MOST_SHAPES) and any(
            isinstance(piece, Variable) and piece.what in ("time", "part") for piece in pieces
        ):
            self.heaps.setdefault(pieces, Heap(pieces)).add(artifact, kind)
        elif len(self.static) < _MOST_STATIC:
            self.static[artifact.key] = artifact
        else:
            self._crowd(artifact.key)

    def _crowd(self, key: str) -> None:
        """Count it only, by its directory."""
        directory = f"{key.rpartition('/')[0]}/"
        self.crowds[directory if directory in self.crowds or len(self.crowds) < _MOST_CROWDS else "(elsewhere)"] += 1

    def _note_tool(self, key: str) -> None:
        found = tool_of(key) if len(self.tools) < _MOST_TOOLS else None
        if found:
            self.tools.setdefault(*found)

    def conclude(self) -> list[Series]:
        """All series, and in ``left_out`` what is none."""
        self._file_strays()
        self._leave_tools()
        found = [*self._of_folders(), *self._of_heaps()]
        rotated, self.static, disordered = rotations(self.static)
        self.left_out += disordered
        self.left_out += [LeftOut(directory, f"of each: {why}", count) for (directory, why), count in self.many.items()]
        return [*found, *rotated, *self._of_static()]

    # --- companions of nothing --------------------------------------------------------------------------------------

    def _file_strays(self) -> None:
        """What has the name of a companion, and no main object: a backup itself, or left out."""
        trees = {pieces for pieces, folder in self.folders.items() if folder.overflow or is_tree(folder)}
        for stray in [*self.companions.strays(self._shapes())]:
            at = folder_end(stray.heap.pieces)
            directory, _, name = stray.shape.rpartition("/")
            if at is not None and cut(stray.heap.pieces, at)[0] in trees:
                continue  # a file of that tree
            if name.lower() in LISTS or f"{directory}/" in self.crowds or "(elsewhere)" in self.crowds:
                continue
            if stray.may_be_backups:
                stray.heap.trim()
                for _, key, artifact, kind in stray.heap.newest:
                    self._file(artifact, read(key).pieces, kind)
                if filed := self.heaps.get(read(stray.heap.newest[0][1]).pieces):
                    filed.count += stray.heap.count - len(stray.heap.newest)
            elif not any(stray.shape.startswith(root) for root in self.tools):
                why = "by its name it belongs to an object that is not there"
                if stray.heap.count == 1:
                    self.leave(stray.heap.newest[0][1], why, stray.heap.size)
                else:
                    self.left_out.append(LeftOut(stray.shape + stray.ending, why, stray.heap.count, stray.heap.size))

    def _shapes(self) -> Iterator[str]:
        """What the names of all objects, and of dated directories, have in common."""
        yield from self.static
        for pieces, heap in self.heaps.items():
            yield shape_of(pieces) or heap.newest[0][1]
        for pieces, folder in self.folders.items():
            above = shape_of(pieces)
            if above is not None:
                yield above
                yield from (above + text for text in folder.kept)

    # --- repositories of tools -----------------------------------------------------------------------------------

    def _leave_tools(self) -> None:
        roots = {root: tool for root, tool in self.tools.items() if self._is_tool(root, tool)}
        counts: Counter[str] = Counter()
        for root, tool in sorted(roots.items()):
            if any(root.startswith(other) and other != root for other in roots):
                continue
            for pieces, heap in [*self.heaps.items()]:
                if all(each[1].startswith(root) for each in heap.newest):
                    counts[root] += heap.count
                    del self.heaps[pieces]
            for pieces, folder in [*self.folders.items()]:
                if all(name.startswith(root) for name in folder.generations):
                    counts[root] += folder.files
                    del self.folders[pieces]
            for key in [key for key in self.static if key.startswith(root)]:
                counts[root] += 1
                del self.static[key]
            self.left_out.append(LeftOut(root or "(the whole place)", f"{tool}: {TOOLS[tool]}", counts[root]))

    def _is_tool(self, root: str, tool: str) -> bool:
        seen = {key.removeprefix(root) for key in self.static if key.startswith(root)}
        seen |= {name.removeprefix(root) for folder in self.folders.values() for name in folder.generations}
        seen |= {each[1].removeprefix(root) for heap in self.heaps.values() for each in heap.newest[:1]}
        return MARKS[tool](seen)

    # --- dated directories ---------------------------------------------------------------------------------------

    def _of_folders(self) -> Iterator[Series]:
        for folder in self.folders.values():
            if folder.overflow or is_tree(folder):
                yield from tree(folder, self.left_out)
                continue
            heaps = [heap for text, heap in folder.kept.items() if text.lower() not in LISTS]
            for heap in heaps:
                series = self._series(heap)
                if series:
                    series.shared = len(heaps) > 1
                    yield series

    # --- objects with a time ---------------------------------------------------------------------------------------

    def _of_heaps(self) -> Iterator[Series]:
        for heap in merged(self.heaps.values()):
            series = self._series(heap)
            if series:
                yield series

    def _series(self, heap: Heap) -> Series | None:
        heap.trim()
        forms = choose_forms(heap)
        if forms is None:  # numbers that are no times
            for _, key, artifact, _ in heap.newest:
                self.static[key] = artifact
            if heap.count > len(heap.newest):
                self.crowds[heap.newest[0][1].rpartition("/")[0] + "/"] += heap.count - len(heap.newest)
            return None
        series = Series(heap.pieces, forms, count=heap.count, size=heap.size, words=+heap.kinds)
        series.words.pop("", None)
        series.pattern = text_of(heap.pieces, forms, next(iter(series.words), "")) or ""
        reader = compiled(text_of(heap.pieces, forms, any_kind(series.words)))
        if reader is None:
            self.left_out.append(
                LeftOut(heap.newest[0][1], "its name cannot be written as a path of the catalogue", heap.count)
            )
            return None
        for _, key, artifact, word in heap.newest:
            match = reader.match(key)
            if match:
                stamp = match.taken_at.timestamp() if reader.has_time else artifact.modified
                series.points.append(Point(stamp, artifact, word))
        series.points.sort(key=lambda point: (-point.stamp, point.artifact.key))
        if any(isinstance(piece, Variable) and piece.what == "part" for piece in heap.pieces):
            _join_parts(series)
        if len(series.points) > 2 and len({(point.stamp, point.kind) for point in series.points}) == 1:
            why = "every name has the same time, which does not say when each was made; write the path by hand"
            self.left_out.append(LeftOut(series.pattern, why, heap.count, heap.size))
            return None
        return series if series.points else None

    # --- objects without one ---------------------------------------------------------------------------------------

    def _leave_overwritten(self, directory: str, keys: list[str]) -> list[str]:
        """Leave out what a job overwrites every week, and what stands for the newest of something else."""
        by_day: dict[str, list[str]] = defaultdict(list)
        for key in keys:
            name = key.rpartition("/")[2]
            erased = WEEKDAY.sub("*", name)
            if erased != name:
                by_day[erased].append(key)
        gone: set[str] = set()
        for erased, group in by_day.items():
            if len(group) > 2:
                gone.update(group)
                why = "one file for each day of the week: names carry no date, let the job write one"
                self.left_out.append(LeftOut(f"{directory}/{erased}".lstrip("/"), why, len(group)))
        for key in keys:
            if key not in gone and _POINTER.search(key.rpartition("/")[2]):
                gone.add(key)
                self.left_out.append(
                    LeftOut(key, "by its name it stands for the newest of others, and changes with them")
                )
        return [key for key in keys if key not in gone]

    def _of_static(self) -> Iterator[Series]:
        by_directory: dict[str, list[str]] = defaultdict(list)
        for key in self.static:
            by_directory[key.rpartition("/")[0]].append(key)
        for directory, listed in by_directory.items():
            keys = self._leave_overwritten(directory, listed)
            crowded = len(keys) > _MOST_BESIDE
            others = 0
            for key in keys:
                if crowded and not BACKUP_ENDING.search(key):
                    others += 1
                    continue
                artifact = self.static[key]
                if "{" in key or "}" in key or compiled(key) is None:
                    self.left_out.append(LeftOut(key, "its name cannot be written as a path of the catalogue"))
                    continue
                yield Series((key,), (), [Point(artifact.modified, artifact)], 1, max(artifact.size, 0), pattern=key)
            if others:
                self.crowds[f"{directory}/"] += others
        for place, count in self.hidden.most_common(_MOST_CROWDS):
            self.left_out.append(LeftOut(place, "hidden files: under such names uploads are under way", count))
        for directory, count in self.crowds.items():
            self.left_out.append(LeftOut(directory, "files without a time in their names: no series of backups", count))


def _join_parts(series: Series) -> None:
    """One point for all parts of a snapshot: the first part, with the size of all."""
    joined: dict[tuple[float, str], Point] = {}
    for point in series.points:
        first = joined.setdefault((point.stamp, point.kind), point)
        if first is not point:
            joined[point.stamp, point.kind] = replace(first, others=first.others + point.size)
    series.parts = len(series.points) / len(joined)
    series.points = list(joined.values())
