"""What discovery knows of a place: series, what was guessed of them and why, and what is no series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from restore_drill.discovery.names import Pieces
from restore_drill.model import Artifact

#: How many objects of a series are remembered of each kind, the last written ones.
KEPT = 400


@dataclass(slots=True)
class Heap:
    """Objects whose names have the same pieces: how many, and the last written of them."""

    pieces: Pieces
    count: int = 0
    size: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    newest: list[tuple[float, str, Artifact, str]] = field(default_factory=list)

    def add(self, artifact: Artifact, kind: str = "") -> None:
        """One more."""
        self.count += 1
        self.size += max(artifact.size, 0)
        self.kinds[kind] += 1
        self.newest.append((artifact.modified, artifact.key, artifact, kind))
        if len(self.newest) >= 2 * KEPT * len(self.kinds):
            self.trim()

    def trim(self) -> None:
        """Forget all but the last written of each kind: full backups are few among the changes since."""
        self.newest.sort(key=lambda each: each[:2], reverse=True)
        seen: Counter[str] = Counter()
        kept = []
        for each in self.newest:
            seen[each[3]] += 1
            if seen[each[3]] <= KEPT:
                kept.append(each)
        self.newest = kept

    def absorb(self, other: Heap) -> None:
        """Take in what another one holds."""
        self.count += other.count
        self.size += other.size
        self.kinds += other.kinds
        self.newest += other.newest
        self.trim()


@dataclass(frozen=True, slots=True)
class Point:
    """One snapshot as its name tells it.

    Attributes:
        stamp: The time in its name read as UTC (seconds since the epoch), or when it was written, where it has none.
        artifact: The object; of a directory its name with a slash, its size and when it was last written into.
        kind: The word for its kind.
        others: Bytes of its other parts, where it lies in several.
    """

    stamp: float
    artifact: Artifact
    kind: str = ""
    others: int = 0

    @property
    def size(self) -> int:
        """Stored bytes of all of it."""
        return max(self.artifact.size, 0) + self.others


@dataclass(slots=True)
class Series:
    """Snapshots of one thing.

    Attributes:
        pieces: What its names have in common.
        forms: How each time in them is read.
        points: The newest snapshots, newest first.
        count, size: Objects and their bytes.
        words: The words for kinds, and how often each stands there.
        inside: Of directories, files inside one of the newest (some of them), and ``inside_of`` the name of that one.
        manifests: Of directories, the lists of digests that lie in each that has any.
        shared: Whether other series lie in the same dated directories.
        parts: Objects that make one snapshot.
        remarks: What else a person should know.
    """

    pieces: Pieces
    forms: tuple[str, ...] = ()
    points: list[Point] = field(default_factory=list)
    count: int = 0
    size: int = 0
    words: Counter[str] = field(default_factory=Counter)
    inside: tuple[Artifact, ...] = ()
    inside_of: str = ""
    manifests: Mapping[str, set[str]] = field(default_factory=dict)
    is_directory: bool = False
    is_rotated: bool = False
    pattern: str = ""
    shared: bool = False
    parts: float = 1.0
    remarks: list[str] = field(default_factory=list)

    @property
    def is_static(self) -> bool:
        """Whether it is one file without a time in its name."""
        return not self.is_rotated and "{time" not in self.pattern

    @property
    def newest(self) -> Artifact:
        """What the newest snapshot is."""
        return self.points[0].artifact


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What no target was made of, and why."""

    what: str
    why: str
    count: int = 1
    size: int = 0
