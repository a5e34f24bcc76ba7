"""Names that differ in a number or a hash, another one each time: they are one series."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise

from restore_drill.discovery.model import Heap
from restore_drill.discovery.names import Piece, Pieces, Variable

_VARYING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|(?<![0-9A-Za-z])(?=[a-f]*\d)[0-9a-f]{7,64}(?![0-9A-Za-z])|\d+(?:\.\d+)*"
)
_VERSION = re.compile(r"\d+\.\d+")


def merged(heaps: Iterable[Heap]) -> list[Heap]:
    """Join those whose names differ in a number or hash that is another one each time."""
    alike: dict[Pieces, list[Heap]] = defaultdict(list)
    for heap in heaps:
        alike[tuple(_erased(piece) if isinstance(piece, str) else piece for piece in heap.pieces)].append(heap)
    found = []
    for erased, group in alike.items():
        one_each = len(group) >= 3 and sum(heap.count for heap in group) <= 1.5 * len(group)
        if not _has_time(erased) or not (one_each or _follow_each_other(group)):
            found += group
            continue
        joined = Heap(tuple(_wildcards(group)))
        for heap in group:
            joined.absorb(heap)
        found.append(joined)
    return found


def _follow_each_other(group: list[Heap]) -> bool:
    """Whether they differ in a version, and one begins where the other has ended."""
    if len(group) < 2 or not all(any(_VERSION.search(str(piece)) for piece in heap.pieces) for heap in group):
        return False
    spans = sorted((min(each[0] for each in heap.newest), max(each[0] for each in heap.newest)) for heap in group)
    return all(earlier[1] < later[0] for earlier, later in pairwise(spans))


def _erased(literal: str) -> str:
    """Without the numbers and hashes in the name of the object; a directory is a place of its own."""
    above, slash, name = literal.rpartition("/")
    return above + slash + _VARYING.sub("\0", name)


def _has_time(pieces: Pieces) -> bool:
    return any(isinstance(piece, Variable) and piece.what == "time" for piece in pieces)


def _wildcards(group: list[Heap]) -> Iterator[Piece]:
    """The pieces of a group, with a wildcard for each number in which its members differ."""
    for column in zip(*(heap.pieces for heap in group), strict=True):
        first = column[0]
        if not isinstance(first, str) or len(set(column)) == 1:
            yield first
            continue
        above, slash, name = first.rpartition("/")
        numbers = [_VARYING.findall(str(piece).rpartition("/")[2]) for piece in column]
        literals = _VARYING.split(name)
        literals[0] = above + slash + literals[0]
        for at, literal in enumerate(literals):
            if literal:
                yield literal
            if at < len(literals) - 1:
                same = len({each[at] for each in numbers}) == 1
                yield numbers[0][at] if same else Variable("any")
