"""How dumps of Redis and Valkey begin and end: the version, the auxiliary fields, the checksum (Redis: ``rdb.c``).

Pure functions over bytes; nothing here reads values of keys.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Final

#: A dump by its magic and version; Valkey 9 and later write a magic of their own.
MAGIC: Final = re.compile(rb"(?:REDIS(\d{4})|VALKEY(\d{3}))")
#: An append-only file by its first command, behind the times that Redis 7 may note before it.
COMMANDS: Final = re.compile(rb"(?:#TS:\d{1,20}\r\n)?\*[1-9]\d{0,6}\r\n\$[1-9]\d{0,3}\r\n[A-Za-z|._-]+\r\n")
#: The newest version of the format that a release of Redis writes.
WRITES: Final[Mapping[tuple[int, int], int]] = {
    (2, 4): 2, (2, 6): 6, (2, 8): 6, (3, 0): 6, (3, 2): 7, (4, 0): 8, (5, 0): 9, (6, 0): 9, (6, 2): 9, (7, 0): 10,
    (7, 2): 11, (7, 4): 12,
}  # fmt: skip
_AUX: Final = 0xFA
_FIELDS: Final = 200
_LONGEST: Final = 1 << 16
_END: Final = 9
#: Fields that say something about the dump; others may hold names of hosts.
_KEPT: Final = frozenset({"redis-ver", "valkey-ver", "redis-bits", "ctime", "used-mem", "aof-preamble", "aof-base"})


@dataclass(frozen=True, slots=True)
class Header:
    """What the beginning of a dump says.

    Attributes:
        magic: ``REDIS`` or ``VALKEY``.
        version: Version of the format.
        fields: The auxiliary fields that are kept.
    """

    magic: str
    version: int
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """Which server wrote it: ``redis`` or ``valkey``."""
        return "valkey" if self.magic == "VALKEY" or "valkey-ver" in self.fields else "redis"

    @property
    def release(self) -> str:
        """The server's version: ``7.0.15``; ``""`` where it was not noted."""
        return self.fields.get(f"{self.family}-ver", "")

    @property
    def begins_commands(self) -> bool:
        """Whether commands may follow: it is the first part of an append-only file."""
        return any(self.fields.get(name) == "1" for name in ("aof-preamble", "aof-base"))

    @property
    def contradicts_itself(self) -> bool:
        """Whether the release that it names writes no such version of the format."""
        newest = WRITES.get(branch(self.release) or (0, 0))
        return self.family == "redis" and newest is not None and self.version > newest


def branch(release: str) -> tuple[int, int] | None:
    """Major and minor of a version: ``7.0.15`` → (7, 0)."""
    found = re.match(r"(\d{1,3})\.(\d{1,3})(?:\.|$)", release)
    return (int(found[1]), int(found[2])) if found else None


def header(file: BinaryIO) -> Header | None:
    """Read the beginning of a dump; ``None`` where the file is none. What is cut shows later."""
    found = MAGIC.fullmatch(file.read(_END))
    if found is None:
        return None
    fields: dict[str, str] = {}
    for _ in range(_FIELDS):
        if file.read(1) != bytes([_AUX]):
            break
        name, value = _text(file), _text(file)
        if name is None or value is None:
            break
        if name in _KEPT and re.fullmatch(r"[\w.+-]{1,40}", value, re.ASCII):
            fields[name] = value
    magic = "REDIS" if found[1] else "VALKEY"
    return Header(magic, int(found[1] or found[2]), fields)


def has_checksum(file: BinaryIO, size: int, version: int) -> bool:
    """Whether a dump that ends here carries a checksum: old ones do not, and ``rdbchecksum no`` leaves zeros."""
    if version < 5 or size < _END + 8:
        return False
    file.seek(size - 8)
    return file.read(8) != bytes(8)


def _text(file: BinaryIO) -> str | None:
    """A string of the format: with a length, or an integer of 8, 16 or 32 bits."""
    first = file.read(1)
    if not first:
        return None
    kind, low = first[0] >> 6, first[0] & 0x3F
    if kind == 3:
        width = {0: "<b", 1: "<h", 2: "<i"}.get(low)
        raw = file.read(struct.calcsize(width)) if width else b""
        return str(struct.unpack(width, raw)[0]) if width and len(raw) == struct.calcsize(width) else None
    if kind == 0:
        size = low
    elif kind == 1:
        size = low << 8 | int.from_bytes(file.read(1), "big")
    else:
        size = int.from_bytes(file.read(4), "big") if first[0] == 0x80 else _LONGEST + 1
    return file.read(size).decode("utf-8", "replace") if size <= _LONGEST else None
