"""What goes before a tar header or follows it: pax records, GNU long names, and the maps of sparse files.

Sources: POSIX.1-2017 ``pax`` ("pax Extended Header"), the GNU tar manual ("Storing Sparse Files").
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from restore_drill.archives import attributes
from restore_drill.archives.headers import BLOCK, damaged, number

#: A name or target is never longer than this; a pax header may carry the list of a directory of two million names.
MOST_NAME_BYTES = 64 << 10
MOST_PAX_BYTES = 64 << 20
#: Pieces of data of one sparse file.
_MOST_EXTENTS = 4 << 20

_LENGTH = re.compile(rb"([1-9][0-9]{0,8}) ")
_USED = frozenset({b"path", b"linkpath", b"size", b"mtime", b"ctime", b"uid", b"gid"})
_GNU = (b"GNU.sparse.", b"GNU.volume.", b"GNU.dumpdir")


class Extents:
    """Where the data of a sparse file lies: (offset, length) ascending, never overlapping.

    Args:
        size: Apparent size of the file.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.stored = 0
        self._end = 0
        self._flat = array("q")

    def add(self, offset: int, length: int) -> None:
        """Take in the next piece.

        Raises:
            BackupFailed: It overlaps the one before, or reaches past the end.
        """
        if offset < self._end or length < 0 or offset + length > self.size or len(self._flat) > 2 * _MOST_EXTENTS:
            raise damaged("has a map of holes that contradicts itself")
        self._end = offset + length
        self.stored += length
        if length:
            self._flat.extend((offset, length))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        pairs = iter(self._flat)
        return zip(pairs, pairs, strict=True)


@dataclass(slots=True)
class Extra:
    """What extended headers say of the member that follows: the raw values of the keywords that matter here."""

    values: dict[bytes, bytes] = field(default_factory=dict)
    attributes: dict[bytes, bytes | None] = field(default_factory=dict)
    map_0_0: list[bytes] = field(default_factory=list)

    def update(self, data: bytes) -> None:
        """Read the records of one pax header into this.

        Raises:
            BackupFailed: A record is malformed.
        """
        for key, value in pax_records(data):
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                self._map_entry(key, value)
            elif key in _USED or key.startswith(_GNU):
                if value:
                    self.values[key] = value
                else:
                    self.values.pop(key, None)
            elif key.startswith(attributes.PREFIXES):
                attributes.take(key, value, self.attributes)

    def _map_entry(self, key: bytes, value: bytes) -> None:
        wanted = b"GNU.sparse.numbytes" if len(self.map_0_0) % 2 else b"GNU.sparse.offset"
        if key != wanted or len(self.map_0_0) >= 2 * _MOST_EXTENTS:
            raise damaged("has a map of holes that contradicts itself")
        self.map_0_0.append(value)

    def integer(self, key: bytes, otherwise: int) -> int:
        """A decimal number; only an owner's may be negative."""
        value = self.values.get(key)
        if value is None:
            return otherwise
        return -decimal(value[1:]) if value[:1] == b"-" and key in (b"uid", b"gid") else decimal(value)

    def mtime(self, otherwise: int) -> int:
        """Nanoseconds since the epoch; the records have a decimal fraction of any length."""
        value = self.values.get(b"mtime")
        if value is None:
            return otherwise
        try:
            seconds = Decimal(value.decode("ascii"))
            if not abs(seconds) < 2**40:
                raise damaged("states a time out of range")
            return int((seconds * 10**9).to_integral_value("ROUND_FLOOR"))
        except (InvalidOperation, UnicodeDecodeError) as problem:
            raise damaged("has a time that cannot be read") from problem

    def changed(self) -> int:
        """``ctime`` in whole seconds since the epoch, 0 where none is stated that makes sense: nothing is set to it."""
        try:
            seconds = int(self.values.get(b"ctime", b"0").partition(b".")[0])
        except ValueError:
            return 0
        return seconds if 0 < seconds < 2**40 else 0


def pax_records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    r"""The records ``"%d %s=%s\n" % (length, keyword, value)`` of an extended header.

    Raises:
        BackupFailed: One is malformed.
    """
    at = 0
    while at < len(data):
        length = _LENGTH.match(data, at)
        end = at + int(length[1]) if length else 0
        if length is None or end <= length.end() or end > len(data) or data[end - 1] != 0x0A:
            raise damaged("has a malformed extended record")
        key, equals, value = data[length.end() : end - 1].partition(b"=")
        if not equals or not key or (key in _USED and b"\0" in value):
            raise damaged("has a malformed extended record")
        yield key, value
        at = end


def decimal(text: bytes) -> int:
    """A decimal number.

    Raises:
        BackupFailed: It is none, or is beyond 63 bits.
    """
    if not text.isdigit() or len(text) > 19 or int(text) >= 2**63:
        raise damaged("has a number that cannot be read")
    return int(text)


def old_gnu_map(block: bytes, next_block: Callable[[], bytes]) -> Extents:
    """The map of type ``S``: four pieces in the header, 21 in each block that follows while a flag says so."""
    try:
        extents = Extents(number(block[483:495]))
        _old_gnu_pieces(block, 386, 4, extents)
        more = block[482]
        while more:
            block = next_block()
            _old_gnu_pieces(block, 0, 21, extents)
            more = block[504]
    except ValueError as problem:
        raise damaged("has a map of holes that cannot be read") from problem
    return extents


def _old_gnu_pieces(block: bytes, start: int, count: int, extents: Extents) -> None:
    for at in range(start, start + 24 * count, 24):
        if not block[at + 12]:
            return  # GNU tar leaves the rest of a map blank; a continuation flag still counts
        extents.add(number(block[at : at + 12]), number(block[at + 12 : at + 24]))


def pax_map(extra: Extra, next_block: Callable[[], bytes]) -> tuple[Extents, int] | None:
    """The map of a sparse file in pax format 0.0, 0.1 or 1.0, and how many bytes of the data it took up.

    ``None`` for a file without holes.
    """
    values = extra.values
    if values.get(b"GNU.sparse.major") == b"1":
        return _map_1_0(Extents(extra.integer(b"GNU.sparse.realsize", 0)), next_block)
    if values.get(b"GNU.sparse.major", b"0") != b"0":
        raise damaged("has a map of holes in an unknown version")
    if b"GNU.sparse.size" not in values:
        return None
    extents = Extents(decimal(values[b"GNU.sparse.size"]))
    flat = values[b"GNU.sparse.map"].split(b",") if b"GNU.sparse.map" in values else extra.map_0_0
    if len(flat) % 2:
        raise damaged("has a map of holes that contradicts itself")
    for offset, length in zip(flat[::2], flat[1::2], strict=True):
        extents.add(decimal(offset), decimal(length))
    return extents, 0


def _map_1_0(extents: Extents, next_block: Callable[[], bytes]) -> tuple[Extents, int]:
    taken, text = 0, b""

    def line() -> int:
        nonlocal taken, text
        while b"\n" not in text:
            if len(text) > BLOCK:
                raise damaged("has a map of holes that cannot be read")
            text += next_block()
            taken += BLOCK
        value, _, text = text.partition(b"\n")
        return decimal(value)

    for _ in range(line()):
        extents.add(line(), line())
    return extents, taken
