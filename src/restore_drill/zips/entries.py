"""The directory of a zip archive, entry by entry (APPNOTE 4.3.12), and what stands before each member (4.3.7)."""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from restore_drill.disk import Staged
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.zips.ending import MEMBER, Ending, bad, parted

_ENTRY = struct.Struct("<4s2B5H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_DESCRIPTOR = b"PK\x07\x08"
_LONG = 0xFFFFFFFF
#: Systems whose names are byte strings divided by "/" and whose attributes are a mode (4.4.2): Unix, and macOS.
_UNIX = frozenset({3, 19})
# General purpose flags (4.4.4).
_ENCRYPTED, DESCRIBED_LATER, _STRONG, _UTF8, _MASKED = 0x1, 0x8, 0x40, 0x800, 0x2000
#: Extra fields (4.5, 4.6).
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075


class Entry(NamedTuple):
    """One entry of the directory.

    Attributes:
        name: As it stands there.
        host: The system that wrote it.
        stamp: Time and date as MS-DOS keeps them.
        start: Where the member begins.
        extra: Its extra fields, by number.
    """

    name: bytes
    host: int
    flags: int
    method: int
    stamp: tuple[int, int]
    crc: int
    packed: int
    size: int
    attributes: int
    start: int
    extra: dict[int, bytes]

    @property
    def on_unix(self) -> bool:
        """Whether a system wrote it whose names and modes are ours."""
        return self.host in _UNIX

    @property
    def mode(self) -> int:
        """The mode that its attributes hold, 0 when they hold none."""
        return self.attributes >> 16 if self.on_unix else 0

    @property
    def is_directory(self) -> bool:
        """By its type, or the slash at the end of its name."""
        return (
            stat.S_ISDIR(self.mode) or self.name.endswith(b"/") or (not self.on_unix and bool(self.attributes & 0x10))
        )

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file; the archiver's own input, too, which ``… | zip - -`` writes as a FIFO."""
        kind = stat.S_IFMT(self.mode)
        from_input = kind == stat.S_IFIFO and (self.size > 0 or self.name == b"-")
        return not self.is_directory and (from_input or kind in (0, stat.S_IFREG))

    @property
    def is_encrypted(self) -> bool:
        """Whether a password was used."""
        return bool(self.flags & (_ENCRYPTED | _STRONG | _MASKED))


def entries(whole: Staged, ending: Ending) -> Iterator[tuple[int, Entry]]:
    """Every entry with the place where it stands.

    Raises:
        BackupFailed: The directory is damaged, or not as long as the end of the archive says.
    """
    at = ending.start
    for number in range(ending.entries):
        if at + _ENTRY.size > ending.end:
            raise bad(f"damaged: its directory ends after {number} of {ending.entries} entries")
        before = at
        entry, at = entry_at(whole, at)
        if at > ending.end:
            raise bad("damaged: an entry reaches beyond the end of its directory")
        yield before, entry
    if at != ending.end:
        raise bad(f"damaged: its directory goes on behind its {ending.entries} entries")


def entry_at(whole: Staged, at: int) -> tuple[Entry, int]:
    """The entry at a place, and the place behind it."""
    fixed = whole.read(at, _ENTRY.size)
    if len(fixed) < _ENTRY.size or not fixed.startswith(b"PK\x01\x02"):
        raise bad(f"damaged: no entry of its directory stands at byte {at}")
    (
        _,
        _,
        host,
        _,
        flags,
        method,
        time,
        date,
        crc,
        packed,
        size,
        names,
        extras,
        comment,
        disk,
        _,
        attributes,
        start,
    ) = _ENTRY.unpack(fixed)
    at += _ENTRY.size
    variable = whole.read(at, names + extras)
    extra = _extra(variable[names:])
    size, packed, start, disk = _wide(extra, (size, _LONG), (packed, _LONG), (start, _LONG), (disk, 0xFFFF))
    if disk:
        raise parted()
    entry = Entry(variable[:names], host, flags, method, (time, date), crc, packed, size, attributes, start, extra)
    return entry, at + names + extras + comment


def _extra(data: bytes) -> dict[int, bytes]:
    """The extra fields; what cannot be read behind them is padding of some writers."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        kind, size = struct.unpack_from("<2H", data, at)
        if at + 4 + size > len(data):
            break
        found.setdefault(kind, data[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def _wide(extra: dict[int, bytes], *fields: tuple[int, int]) -> list[int]:
    """Values of which those that are all ones stand in the zip64 field instead, in this order (4.5.3)."""
    field, found = extra.get(_ZIP64, b""), []
    for value, ones in fields:
        width = 4 if ones == 0xFFFF else 8
        if value == ones and _ZIP64 in extra:
            if len(field) < width:
                raise bad("damaged: a zip64 field is too short")
            found.append(int.from_bytes(field[:width], "little"))
            field = field[width:]
        else:
            found.append(value)
    return found


def data_of(whole: Staged, entry: Entry, following: int) -> int:
    """Where the member's data begins, once what stands before and behind it agrees with the directory.

    Args:
        whole: The archive.
        entry: What the directory says.
        following: Where the next member, or the directory, begins.

    Raises:
        BackupFailed: They differ, or something else stands between the members.
    """
    fixed = whole.read(entry.start, _LOCAL.size)
    if len(fixed) < _LOCAL.size or not fixed.startswith(MEMBER):
        raise bad(f"damaged: no member stands at byte {entry.start}, where its directory says")
    _, _, flags, method, _, _, crc, packed, size, names, extras = _LOCAL.unpack(fixed)
    variable = whole.read(entry.start + _LOCAL.size, names + extras)
    name, extra = variable[:names], _extra(variable[names:])
    size, packed = _wide(extra, (size, _LONG), (packed, _LONG))
    described = (crc, packed, size) == (entry.crc, entry.packed, entry.size)
    later = bool(flags & DESCRIBED_LATER)
    # What is described behind the data stands here, too, or is left blank.
    blank = later and crc in (0, entry.crc) and packed in (0, entry.packed) and size in (0, entry.size)
    same = name == entry.name and method == entry.method and not (flags ^ entry.flags) & (_ENCRYPTED | _STRONG)
    if not (same and (described or blank)):
        raise bad(f"damaged: the member at byte {entry.start} and its directory contradict each other")
    start: int = entry.start + _LOCAL.size + names + extras
    _between(whole, entry, start + entry.packed, following, described=described, later=later)
    return start


def _between(whole: Staged, entry: Entry, end: int, following: int, *, described: bool, later: bool) -> None:
    """Judge what stands behind a member's data: what describes it (4.3.9), padding, or nothing.

    Raises:
        BackupFailed: Something else, or the next member before the data ends.
    """
    if end > following:
        raise overlapping()
    if later:
        start = whole.read(end, min(24, following - end))
        for mark in (_DESCRIPTOR, b""):
            for width in ("L", "Q"):
                form = mark + struct.pack("<L", entry.crc) + struct.pack(f"<2{width}", *_least(entry, width))
                if start.startswith(form):
                    return _padding(whole, end + len(form), following)
        if not described:
            raise bad(f"damaged: what follows the data of the member at byte {entry.start} contradicts its directory")
    return _padding(whole, end, following)


def _least(entry: Entry, width: str) -> tuple[int, int]:
    mask = _LONG if width == "L" else 2**64 - 1
    return entry.packed & mask, entry.size & mask


def _padding(whole: Staged, start: int, end: int) -> None:
    for piece in whole.pieces(start, end):
        if piece.strip(b"\0"):
            raise bad(
                f"damaged: its directory does not speak of what stands at byte {start}",
                "A member may be missing from it: make the archive anew instead of changing it in place.",
            )


def overlapping() -> BackupFailed:
    """The error for members that share their bytes, as those of a bomb do."""
    return bad("hostile: two of its members overlap", "No archiver writes that: find out what made it.")


def name_of(entry: Entry) -> tuple[bytes, str]:
    """The member's name as bytes of a Unix file system, and a remark where they are not what the archive says.

    Raises:
        BackupFailed: It is said to be UTF-8 and is not, by a system whose names are not bytes.
    """
    name = entry.name
    if entry.flags & _UTF8:
        try:
            name.decode("utf-8")
        except UnicodeDecodeError as problem:
            if not entry.on_unix:
                raise bad("damaged: a member's name is said to be UTF-8 and is not") from problem
            return name, "names that are said to be UTF-8 and are not, taken as they are"
        return name, ""
    field = entry.extra.get(_UNICODE_PATH, b"")
    if field[:1] == b"\x01" and field[1:5] == zlib.crc32(name).to_bytes(4, "little"):  # 4.6.9
        return field[5:], ""
    if name.isascii() or entry.on_unix:
        return name, ""
    return name.decode("cp437").encode(), "names translated from code page 437"


def locked() -> CouldNotVerify:
    """The error for a member that a password protects."""
    return CouldNotVerify(
        "a member of the zip archive is encrypted with a password, which is not read here",
        remedy="Let the backup job encrypt the whole archive with age or OpenPGP instead; until then test it by hand.",
        stage=Stage.UNPACK,
    )
