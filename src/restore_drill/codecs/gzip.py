"""gzip (RFC 1952), decoded by ISA-L.

Policy: several members one after the other are one stream, as for the program; zero bytes behind the last member are
padding (tapes, block devices); anything else behind it is refused, also a member behind padding, which the program
ignores. The header is read here and not by ISA-L, which reports a false checksum error when a header with FHCRC is
divided between two inputs, and lets reserved flags pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast
from zlib import crc32

from isal import igzip_lib

from restore_drill.codecs._source import Ended, Refused, Source, another_member, member, truncated
from restore_drill.codecs.base import Codec, damaged, library

_MAGIC = b"\x1f\x8b"
_DEFLATE = 8
# The stubs declare this class as an instance.
_ISAL_ERROR = cast("type[Exception]", igzip_lib.IsalError)
# Flags of RFC 1952, section 2.3.1.
_FHCRC, _FEXTRA, _FNAME, _FCOMMENT, _RESERVED = 0x02, 0x04, 0x08, 0x10, 0xE0


class GzipCodec(Codec):
    """gzip: CRC-32 and length of every member are verified."""

    name = "gzip"
    suffixes = (".gz",)
    _members = 0

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """By the two magic bytes."""
        return head.startswith(_MAGIC)

    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Decompress all members; see :meth:`Codec.decode`."""
        source, self._members = Source(chunks), 0
        while another_member(source, self.name, _MAGIC, is_first=not self._members):
            self._members += 1
            yield from self._member(source)

    def facts(self) -> dict[str, Any]:
        """How many members there were, and which library read them."""
        return {"members": self._members, "library": library("isal")}

    def _member(self, source: Source) -> Iterator[bytes]:
        decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP_NO_HDR_VER)
        try:
            _header(source)
            yield from member(source, decompressor, _ISAL_ERROR)
        except Ended as problem:
            raise truncated(self.name, f"inside member {self._members}", source.position) from problem
        except Refused as problem:
            where = f"(member {self._members}, near byte {source.position})"
            if "checksum" in str(problem):
                raise damaged(self.name, f"damaged: CRC-32 or length do not fit the content {where}") from problem
            raise damaged(self.name, f"damaged: {str(problem).partition(' ')[2]} {where}") from problem


class _Header:
    """Takes header fields from a source and keeps the CRC that FHCRC holds the lower half of."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.crc = 0

    def take(self, size: int) -> bytes:
        data = bytes(self._source.read(size))
        if len(data) < size:
            raise Ended
        self.crc = crc32(data, self.crc)
        return data

    def skip_text(self) -> None:
        """Pass over a zero-terminated field; it has no length limit, so it is not kept."""
        while True:
            data = bytes(self._source.take(4096))
            if not data:
                raise Ended
            text, zero, rest = data.partition(b"\0")
            self.crc = crc32(text + zero, self.crc)
            if zero:
                self._source.push_back(rest)
                return


def _header(source: Source) -> None:
    """Take one member's header.

    Raises:
        Ended: The source ended inside it.
        BackupFailed: It breaks a rule of RFC 1952.
    """
    header = _Header(source)
    fixed = header.take(10)
    method, flags = fixed[2], fixed[3]
    if method != _DEFLATE:
        raise damaged("gzip", f"damaged: its header names compression method {method}, and only 8 exists")
    if flags & _RESERVED:
        raise damaged("gzip", f"damaged: its header sets reserved flags ({flags:#04x})")
    if flags & _FEXTRA:
        header.take(int.from_bytes(header.take(2), "little"))
    for flag in (_FNAME, _FCOMMENT):
        if flags & flag:
            header.skip_text()
    if flags & _FHCRC:
        expected = header.crc & 0xFFFF
        if int.from_bytes(header.take(2), "little") != expected:
            raise damaged("gzip", "damaged: the CRC of its header does not fit")
