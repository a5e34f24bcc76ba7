"""lzip (lzip manual, "File format"), decoded by the standard library's liblzma, which knows LZMA but not this frame.

Policy: several members one after the other are one stream, as plzip writes them; zero bytes behind the last one are
padding; anything else behind it is refused, which the program passes over. Versions 1 and 0 (of before 2009) are read.
"""

from __future__ import annotations

import lzma
import platform
from collections.abc import Iterator
from typing import Any
from zlib import crc32

from restore_drill.codecs._source import Ended, Refused, Source, another_member, member, truncated
from restore_drill.codecs.base import Codec, damaged

_MAGIC = b"LZIP"
_HEADER = 6
#: Bytes behind the data: CRC-32 and size, and from version 1 on the size of the whole member.
_TRAILER = {0: 12, 1: 20}
_SMALLEST, _LARGEST = 12, 29


class LzipCodec(Codec):
    """lzip: CRC-32 and size of every member are verified."""

    name = "lzip"
    suffixes = (".lz",)
    _members = 0

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """By the four magic bytes and a version that exists."""
        return head.startswith(_MAGIC) and head[4:5] in (b"\0", b"\1")

    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Decompress all members; see :meth:`Codec.decode`."""
        source, self._members = Source(chunks), 0
        while another_member(source, self.name, _MAGIC, is_first=not self._members):
            self._members += 1
            yield from self._member(source)

    def facts(self) -> dict[str, Any]:
        """How many members there were, and which library read them."""
        return {"members": self._members, "library": f"liblzma of Python {platform.python_version()}"}

    def _member(self, source: Source) -> Iterator[bytes]:
        begun, crc, size = source.position, 0, 0
        try:
            header = _take(source, _HEADER)
            for piece in member(source, _decompressor(header), lzma.LZMAError):
                crc, size = crc32(piece, crc), size + len(piece)
                yield piece
            trailer = _take(source, _TRAILER[header[4]])
        except Ended as problem:
            raise truncated(self.name, f"inside member {self._members}", source.position) from problem
        except Refused as problem:
            where = f"(member {self._members}, near byte {source.position})"
            raise damaged(self.name, f"damaged: {problem} {where}") from problem
        found = (crc, size, source.position - begun)
        if not all(int.from_bytes(trailer[at:end], "little") == value for at, end, value in _fields(trailer, found)):
            raise damaged(self.name, f"damaged: CRC-32 or sizes do not fit the content (member {self._members})")


def _take(source: Source, size: int) -> bytes:
    data = bytes(source.read(size))
    if len(data) < size:
        raise Ended
    return data


def _fields(trailer: bytes, found: tuple[int, int, int]) -> Iterator[tuple[int, int, int]]:
    """Where each number stands and what it should be."""
    ends = (0, 4, 12, 20)
    return ((at, end, value) for at, end, value in zip(ends, ends[1:], found, strict=False) if end <= len(trailer))


def _decompressor(header: bytes) -> lzma.LZMADecompressor:
    """The decoder for a member with this header.

    Raises:
        BackupFailed: It states a version or a dictionary that does not exist.
    """
    version, coded = header[4], header[5]
    bits, eighths = coded & 0x1F, coded >> 5
    if version not in _TRAILER or not _SMALLEST <= bits <= _LARGEST or (bits == _SMALLEST and eighths):
        raise damaged("lzip", "damaged: its header names a version or a dictionary size that does not exist")
    size = (1 << bits) - eighths * (1 << bits - 4)
    # The parameters are the same in every lzip file.
    chain = {"id": lzma.FILTER_LZMA1, "dict_size": size, "lc": 3, "lp": 0, "pb": 2}
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[chain])
