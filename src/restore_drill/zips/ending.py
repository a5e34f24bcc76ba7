"""Where the directory of a zip archive lies: told by a record at the very end (APPNOTE 4.3.14 to 4.3.16)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from restore_drill.disk import Staged
from restore_drill.errors import BackupFailed
from restore_drill.model import Stage

MEMBER = b"PK\x03\x04"
END = b"PK\x05\x06"
_END64 = b"PK\x06\x06"
_LOCATOR64 = b"PK\x06\x07"
_RECORD = struct.Struct("<4s4H2LH")
_RECORD64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_LONGEST_COMMENT = 0xFFFF
#: What a 16-bit and a 32-bit field hold when the value stands in the zip64 record.
_SHORT, _LONG = 0xFFFF, 0xFFFFFFFF
_AGAIN = "Compare its size with the original; take the backup again if the original is as bad."


@dataclass(frozen=True, slots=True)
class Ending:
    """Where the directory begins and ends, and how many entries it has."""

    start: int
    end: int
    entries: int


def bad(how: str, remedy: str = _AGAIN) -> BackupFailed:
    """The error for bytes that break the format's own rules."""
    return BackupFailed(f"the zip archive is {how}", remedy=remedy, stage=Stage.UNPACK)


def locate(whole: Staged) -> Ending:
    """Find the directory.

    Raises:
        BackupFailed: Empty, no zip archive, truncated, followed by something else, or one part of several.
    """
    head = whole.read(0, 4)
    if not head:
        raise bad("empty: not one byte", "Look for the job that should have written it.")
    if not (MEMBER.startswith(head) or END.startswith(head)):
        raise bad("damaged: it does not begin as this format does")
    base = max(0, whole.size - _LONGEST_COMMENT - _RECORD.size)
    tail = whole.read(base, whole.size - base)
    reaching = [
        base + at
        for at in _marks(tail)
        if at + _RECORD.size + int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail)
    ]
    found = [ending for at in reaching if (ending := _ending(whole, at)) is not None]
    if len(found) > 1:
        raise bad(
            "ambiguous: its comment holds a second end", "Find out what wrote it; other tools may read another part."
        )
    return found[0] if found else _not_found(whole, reaching)


def _marks(data: bytes) -> Iterator[int]:
    return (match.start() for match in re.finditer(END, data) if match.start() + _RECORD.size <= len(data))


def _ending(whole: Staged, at: int) -> Ending | None:
    """What the record at this place says, ``None`` when the directory it speaks of does not end before it.

    Raises:
        BackupFailed: It is the end of one part of several.
    """
    _, disk, first, here, entries, size, start, _ = _RECORD.unpack(whole.read(at, _RECORD.size))
    disks, end = {disk, first} - {0, _SHORT}, at
    locator = whole.read(max(0, at - _LOCATOR.size), _LOCATOR.size)
    if at >= _LOCATOR.size and locator.startswith(_LOCATOR64):
        wide = _ending64(whole, locator, at - _LOCATOR.size)
        if wide is None:
            return None
        end, *numbers = wide
        narrow = (disk, first, here, entries, size, start)
        limits = (_SHORT,) * 4 + (_LONG,) * 2
        if any(one not in (limit, other) for one, other, limit in zip(narrow, numbers, limits, strict=True)):
            return None
        disk, first, here, entries, size, start = numbers
        disks = {disk, first} - {0}
    if disks or here != entries:
        raise parted()
    return Ending(start, end, entries) if start + size == end else None


def _ending64(whole: Staged, locator: bytes, behind: int) -> tuple[int, ...] | None:
    """Where the zip64 record begins, and its numbers; it ends where the locator begins."""
    _, disk, at, disks = _LOCATOR.unpack(locator)
    if disk or disks > 1:
        raise parted()
    record = whole.read(at, _RECORD64.size)
    if len(record) < _RECORD64.size or not record.startswith(_END64):
        return None
    _, length, _, _, *numbers = _RECORD64.unpack(record)
    return (at, *numbers) if at + 12 + length == behind else None


def parted() -> BackupFailed:
    """The error for one part of several."""
    return BackupFailed(
        "the zip archive is one part of several (split, spanned)",
        remedy="Join the parts (zip -s 0 FIRST.zip --out WHOLE.zip), or let the backup job write one file.",
        stage=Stage.UNPACK,
    )


def _not_found(whole: Staged, reaching: list[int]) -> Ending:
    """Say why no end was found where it belongs: something follows it, or it is not there.

    Raises:
        BackupFailed: Always.
    """
    for at in _everywhere(whole):
        try:
            if _ending(whole, at) is None:
                continue
        except BackupFailed:
            continue
        behind = at + _RECORD.size + int.from_bytes(whole.read(at + 20, 2), "little")
        if behind > whole.size:
            raise bad(f"truncated: it ends inside its comment, after {whole.size} bytes")
        raise bad(
            f"followed by trailing bytes: from byte {behind} on, behind its end, stands something else",
            "Find out what was appended to it; most tools would ignore that part, or this one.",
        )
    if reaching:
        raise bad("damaged: its directory does not lie where its end says")
    raise bad(f"truncated: its directory, which stands at the end, is missing or cut, after {whole.size} bytes")


def _everywhere(whole: Staged) -> Iterator[int]:
    """Every place where an end may stand."""
    base, kept = 0, b""
    for piece in whole.pieces(0, whole.size):
        window = kept + piece
        yield from (base + at for at in _marks(window))
        kept = window[-_RECORD.size + 1 :]
        base += len(window) - len(kept)
