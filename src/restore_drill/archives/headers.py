"""The 512-byte header blocks of tar: v7, POSIX ustar, GNU and star.

Sources: POSIX.1-2017 ``pax`` ("ustar Interchange Format"), the GNU tar manual ("Basic Tar Format"), libarchive's
tar(5). Numbers are octal text or, with the top bit of the first byte set, base-256 two's complement.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from typing import NamedTuple

from restore_drill.errors import BackupFailed
from restore_drill.model import Stage

BLOCK = 512
ZERO_BLOCK = bytes(BLOCK)

_FIELDS = struct.Struct("100s8s8s8s12s12s8x1s100s8s64x8s8s155s12s")
_ADLER = 65521
_CHECKSUM = slice(148, 156)
#: Seconds since the epoch that a file's time may state; what a file system cannot hold of them it rounds itself.
_MOST_SECONDS = 2**40


class Header(NamedTuple):
    """One header block, its fields read but not yet judged.

    Attributes:
        name: With the ustar prefix joined on.
        mtime: Seconds since the epoch.
        type: The type flag.
    """

    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    type: bytes
    target: bytes
    device: tuple[int, int]


def is_header(block: bytes) -> bool:
    """Whether a block carries a checksum that fits it."""
    if len(block) < BLOCK:
        return False
    field = block[148:156]
    try:
        stated = number(field)
    except ValueError:
        return False
    if not stated and not field.strip(b"\0 "):
        return False
    # Adler-32's low half is 1 + the sum of the bytes, modulo 65521: the sum without a loop in Python. The checksum
    # counts its own eight bytes as blanks.
    others = (zlib.adler32(block) & 0xFFFF) - 1 - sum(field) + 8 * 0x20
    return (others - stated) % _ADLER == 0 or stated == _signed_sum(block)


def _signed_sum(block: bytes) -> int:
    """The checksum as some historic systems computed it, with bytes taken as signed."""
    return sum(memoryview(block).cast("b")) - sum(memoryview(block)[_CHECKSUM].cast("b")) + 8 * 0x20


def parse(block: bytes) -> Header:
    """Read a block whose checksum is right.

    Raises:
        BackupFailed: A number cannot be read or is out of range.
    """
    name, mode, uid, gid, size, mtime, kind, target, magic, major, minor, prefix, star = _FIELDS.unpack(block)
    try:
        bits, owner, group = _repeated(mode), _repeated(uid), _repeated(gid)
        length, seconds = number(size), number(mtime)
        device = (number(major), number(minor)) if kind in (b"3", b"4") else (0, 0)
    except ValueError as problem:
        raise damaged("holds a number that cannot be read") from problem
    if length < 0:
        raise damaged("states a negative size")
    if not -_MOST_SECONDS < seconds < _MOST_SECONDS:
        raise damaged("states a time out of range")
    name = name.partition(b"\0")[0]
    if prefix[0] and magic[:6] == b"ustar\0":
        # star keeps access and change times in the last 24 bytes of the prefix and signs with "tar\0".
        front = prefix[:131] if star[8:] == b"tar\0" else prefix
        name = front.partition(b"\0")[0] + b"/" + name
    target = target.partition(b"\0")[0] if target[0] else b""
    return Header(name, bits & 0o7777, owner, group, length, seconds, kind, target, device)


def gnu_changed(block: bytes) -> int:
    """``ctime`` in seconds since the epoch, which GNU tar states in incremental archives of its own format; else 0.

    Source: ``struct oldgnu_header`` in ``src/tar.h`` of GNU tar: 12 bytes at offset 357.
    """
    if block[257:265] != b"ustar  \0":
        return 0
    try:
        return max(number(block[357:369]), 0)
    except ValueError:
        return 0


def number(field: bytes) -> int:
    """A numeric field; a blank one is 0.

    Raises:
        ValueError: It is neither octal nor base-256.
    """
    digits = field[:-1]
    if digits.isdigit() and field[-1] in (0x00, 0x20):  # as nearly every archiver writes it
        return int(digits, 8)
    if field[:1] >= b"\xc0":  # the marker, and below it the sign
        return int.from_bytes(field, "big", signed=True)
    if field[:1] >= b"\x80":
        return int.from_bytes(field, "big") - (0x80 << 8 * (len(field) - 1))
    digits = field.partition(b"\0")[0].strip(b" ")
    if digits and not digits.isdigit():
        raise ValueError(f"{digits!r} is not octal")
    return int(digits or b"0", 8)


#: Modes and owners repeat from member to member.
_repeated = lru_cache(1024)(number)


def damaged(how: str, at: int | None = None) -> BackupFailed:
    """The error for a header that breaks the format's rules."""
    where = "" if at is None else f" at byte {at}"
    return BackupFailed(
        f"a header{where} of the tar archive {how}",
        remedy="Compare its size and digest with the original; take the backup again if the original is as bad.",
        stage=Stage.UNPACK,
    )
