"""Names that are numbered anew with every backup: the lowest number is the newest, and has no time in it."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise

from restore_drill.discovery.model import LeftOut, Point, Series
from restore_drill.model import Artifact

_NUMBER = re.compile(
    r"(?P<head>.*[^\d./])(?P<dot>[.-])(?P<number>\d{1,3})(?P<tail>(?:\.[A-Za-z][A-Za-z0-9]*)*)\Z", re.S
)
_ENCODED = re.compile(r"(?:\.(?:gz|xz|bz2|zst|lz4|age|gpg|enc))+\Z", re.I)


def rotations(static: dict[str, Artifact]) -> tuple[list[Series], dict[str, Artifact], list[LeftOut]]:
    """Series among files without a time, the files that belong to none, and what is numbered like one and is none."""
    alike: dict[tuple[str, str, str], dict[int, Artifact]] = defaultdict(dict)
    for key, artifact in static.items():
        found = _NUMBER.fullmatch(key)
        if found and (found["number"] == "0" or not found["number"].startswith("0")):
            alike[found["head"], found["dot"], found["tail"]][int(found["number"])] = artifact
    series: list[Series] = []
    taken: set[str] = set()
    left_out: list[LeftOut] = []
    for (head, dot, tail), numbered in alike.items():
        first = static.get(head + tail)
        ordered = ([first] if first else []) + [numbered[number] for number in sorted(numbered)]
        if not _counts_up(sorted(numbered), has_first=first is not None):
            continue
        if not _ages(ordered):
            if dot == "." and len(ordered) > 2:
                taken.update(artifact.key for artifact in ordered)
                why = "numbered like rotations, and not written in that order: nothing tells which one is the newest"
                left_out.append(LeftOut(f"{head}.#{tail}", why, len(ordered)))
            continue
        if "{" in head + tail or "}" in head + tail:
            continue
        pattern = f"{head}{{rotation:{dot}}}{tail}" if first else f"{head}{dot}{{rotation}}{tail}"
        points = [Point(artifact.modified, artifact) for artifact in ordered]
        size = sum(max(artifact.size, 0) for artifact in ordered)
        series.append(Series((pattern,), (), points, len(points), size, is_rotated=True, pattern=pattern))
        taken.update(artifact.key for artifact in ordered)
    return series, {key: artifact for key, artifact in static.items() if key not in taken}, left_out


def _counts_up(numbers: list[int], *, has_first: bool) -> bool:
    start = numbers[0]
    return (
        start == (1 if has_first else min(start, 1))
        and numbers == list(range(start, start + len(numbers)))
        and (len(numbers) + has_first > 1)
    )


def _ages(ordered: list[Artifact]) -> bool:
    """Whether each is older than the one before it; what was copied here at once has no order."""
    return all(earlier.modified > later.modified + 1 for earlier, later in pairwise(ordered))
