"""What lies beside a backup by its name: digests, signatures, markers; and what has such a name and belongs to none."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from restore_drill.checksums import SIDECAR_SUFFIXES
from restore_drill.discovery.model import Heap
from restore_drill.discovery.names import Pieces, Reading, text_of
from restore_drill.model import Artifact
from restore_drill.repositories.names import stems

#: Different names (their times left out) that are told apart.
_MOST = 50_000
#: Endings that backups have, too: a Git bundle, and what gpg armours.
_BACKUPS = (".asc", ".bundle")
_ENDINGS = (
    *SIDECAR_SUFFIXES, *_BACKUPS, ".sig", ".minisig", ".sigstore", ".done", ".complete", ".completed", ".ok",
    ".success", ".finished", ".counts.json", ".meta.json", ".metadata.json", ".manifest", ".manifest.json", "-wal",
    "-shm", "-journal",
)  # fmt: skip
_ENDING = re.compile(f"(?:{'|'.join(map(re.escape, _ENDINGS))})\\Z", re.I)


def ending_of(name: str) -> str:
    """The ending by which a name belongs to another object, in lower case; ``""`` where it has none."""
    found = _ENDING.search(name)
    return found[0].lower() if found and found.start() else ""


def shape_of(pieces: Pieces) -> str | None:
    """What names of these pieces have in common."""
    return text_of(pieces, kinds="{kind}")


@dataclass(frozen=True, slots=True)
class Stray:
    """Companions whose main object is not there.

    Attributes:
        shape: What their names have in common, without the ending.
        heap: The pieces of their names, and of the ending, and the last written of them.
        may_be_backups: Whether they end like backups, too.
    """

    shape: str
    ending: str
    heap: Heap
    may_be_backups: bool


@dataclass(slots=True)
class Companions:
    """All that a listing has, by what the names of their main objects have in common."""

    _heaps: dict[str, dict[str, Heap]] = field(default_factory=dict)

    def add(self, artifact: Artifact, ending: str, reading: Reading) -> bool:
        """One more: its name, read without its ending. ``False`` when there are too many to tell apart."""
        shape = shape_of(reading.pieces) or artifact.key
        if shape not in self._heaps and len(self._heaps) >= _MOST:
            return False
        known = self._heaps.setdefault(shape, {})
        if ending not in known:
            known[ending] = Heap((*reading.pieces, artifact.key[-len(ending) :]))
        known[ending].add(artifact, reading.kind)
        return True

    def of(self, shape: str) -> Counter[str]:
        """How many there are of each ending."""
        return Counter({ending: heap.count for ending, heap in self._heaps.get(shape, {}).items()})

    def strays(self, shapes: Iterable[str]) -> Iterator[Stray]:
        """Those beside none of these objects; what may be a backup belongs only to the one whose name it has."""
        ordered = sorted(shapes)
        exact = {stem for shape in ordered for stem in stems(shape)}
        for shape, heaps in self._heaps.items():
            if shape in exact:
                continue
            near = any(_begins(ordered, shape + mark) for mark in "./-_{")
            for ending, heap in heaps.items():
                is_backup = ending in _BACKUPS
                if is_backup or not near:
                    yield Stray(shape, ending, heap, is_backup)


def _begins(ordered: list[str], start: str) -> bool:
    at = bisect_left(ordered, start)
    return at < len(ordered) and ordered[at].startswith(start)
