"""A snapshot that was split: its parts, in the order in which they are one stream, and which of them are there.

What writes them: split(1) of GNU coreutils (``-b 1G - name.part-`` gives ``aa``, ``ab`` …; ``-d`` gives ``00``, ``01``
…; without ``-a`` both become longer when they run out, ``zaaa`` and ``9000``), and programs that cut their output into
volumes (``.001``, ``.002`` …). Parts of unequal width are refused: whatever sorts them by name would mix them up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from restore_drill.checksums import SIDECAR_SUFFIXES, strip_suffix
from restore_drill.errors import BackupFailed
from restore_drill.model import Artifact, Stage
from restore_drill.patterns import PathPattern
from restore_drill.stores.base import Store

#: Endings under which tools write before they rename.
_UPLOAD = re.compile(
    r"(?P<name>.+)\.(?:tmp|temp|part|partial|filepart|crdownload|incomplete|inprogress|upload)", re.DOTALL
)
#: How many missing parts are named.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Parts:
    """What lies in a store of one snapshot that was split.

    Attributes:
        whole: The stream that the parts make, under the name it would have; no such object exists.
        parts: In order.
        missing: Names of parts that must have been there, as far as is known; a few of them.
        confused: Why the order of the parts is not known, or ``""``.
        unfinished: A part that is being written under another name, or ``""``.
    """

    whole: Artifact
    parts: tuple[Artifact, ...] = ()
    missing: tuple[str, ...] = ()
    confused: str = ""
    unfinished: str = ""

    @property
    def empty(self) -> str:
        """The name of a part without a byte, or ``""``."""
        return next((part.name for part in self.parts if part.size == 0), "")


def look(store: Store, pattern: PathPattern, whole: Artifact, also: tuple[str, ...] = ()) -> Parts:
    """List the parts of a snapshot.

    Args:
        store: Where they lie.
        pattern: How they are named.
        whole: The snapshot's artifact, as a survey has it.
        also: Keys of parts that something else says there must be.

    Raises:
        CouldNotVerify: The store cannot be listed.
    """
    before, after = pattern.around_part(whole.key)
    found: dict[str, Artifact] = {}
    claimed = {part for key in also if (part := _part(pattern, key, whole))}
    unfinished = ""
    for artifact in store.list(before):
        if part := _part(pattern, artifact.key, whole):
            found[part] = artifact
        elif part := _part(pattern, strip_suffix(artifact.key, SIDECAR_SUFFIXES) or "", whole):
            claimed.add(part)
        elif (upload := _UPLOAD.fullmatch(artifact.key)) and _part(pattern, upload["name"], whole):
            unfinished = artifact.name
    confused = _confused(list(found))
    if confused:
        return Parts(whole, tuple(found.values()), confused=confused, unfinished=unfinished)
    parts = tuple(found[part] for part in sorted(found))
    lost = () if not found else tuple(_lost(pattern, found, claimed - found.keys()))
    directory = before.rpartition("/")[2]
    return Parts(whole, parts, tuple(f"{directory}{part}{after}" for part in lost), unfinished=unfinished)


def _part(pattern: PathPattern, key: str, whole: Artifact) -> str:
    match = pattern.match(key) if key else None
    return match.part if match and match.joined == whole.key else ""


def _confused(parts: list[str]) -> str:
    if len({part.isdigit() for part in parts}) > 1:
        return "some of its parts are numbered with digits and some with letters"
    if len(widths := sorted({len(part) for part in parts})) > 1:
        return f"its parts have numbers of {' and '.join(map(str, widths))} characters, so that their order is not sure"
    return ""


def _lost(pattern: PathPattern, found: dict[str, Artifact], claimed: set[str]) -> Iterator[str]:
    """The first few parts that are missing between the first and the last one known of."""
    width, is_number = len(next(iter(found))), next(iter(found)).isdigit()
    have = sorted(_value(part) for part in found)
    last = max([have[-1], *(_value(part) for part in claimed if len(part) == width and part.isdigit() is is_number)])
    starts = [_value(first) for first in pattern.first_parts if first.isdigit() is is_number] or [0]
    at = next((start for start in starts if start == have[0]), max(starts))
    present, count = set(have), 0
    while at <= last and count < _NAMED:
        if at not in present:
            count += 1
            yield _written(at, width, is_number=is_number)
        at += 1


def _value(part: str) -> int:
    if part.isdigit():
        return int(part)
    value = 0
    for letter in part:
        value = 26 * value + ord(letter) - ord("a")
    return value


def _written(value: int, width: int, *, is_number: bool) -> str:
    if is_number:
        return f"{value:0{width}}"
    letters = ""
    for _ in range(width):
        value, digit = divmod(value, 26)
        letters = chr(ord("a") + digit) + letters
    return letters


def unfinished(parts: Parts, *, settling: bool) -> str | None:
    """Why the parts cannot be all of them, or ``None``; see :meth:`..base.Repository.unfinished`.

    A part that is still missing later is no upload under way: fetching them fails, and says which one it is.
    """
    if parts.empty:
        return f"its part {parts.empty} is empty (0 bytes)"
    if settling and parts.missing:
        return f"its part {parts.missing[0]} is missing"
    if settling and parts.unfinished:
        return f"{parts.unfinished} has the name of an upload under way"
    return None


def problem(store: Store, parts: Parts) -> BackupFailed | None:
    """Why the parts cannot be joined, or ``None``."""
    if not parts.parts:
        cause = "no part of the snapshot is there any more"
    elif parts.confused:
        cause = parts.confused
    elif parts.missing:
        plural = "s" if len(parts.missing) > 1 else ""
        cause = f"the part{plural} {', '.join(parts.missing)} of the snapshot {'are' if plural else 'is'} missing"
    elif parts.empty:
        cause = f"its part {parts.empty} is empty (0 bytes)"
    else:
        return None
    hint = "Give all parts numbers of one width (split -a 3)." if parts.confused else ""
    return BackupFailed(
        cause,
        looked_at=store.where(parts.whole.key),
        remedy=hint or "The backup job must store every part: look at its uploads.",
        stage=Stage.FETCH,
    )
