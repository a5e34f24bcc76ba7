"""xz (https://tukaani.org/xz/xz-file-format.txt), decoded by the standard library's liblzma.

Policy: several streams one after the other are one, with or without stream padding (zero bytes, a multiple of four,
section 2.2 of the format); anything else behind the last stream is refused. The older ``.lzma`` files have no magic
bytes and are not recognised, nor are ``.lz`` files (lzip).
"""

from __future__ import annotations

import lzma
import platform
from collections.abc import Iterator
from typing import Any

from restore_drill.codecs._source import Ended, Refused, Source, empty, foreign, member, trailing, truncated
from restore_drill.codecs.base import Codec, damaged
from restore_drill.errors import CouldNotVerify, RestoreDrillError
from restore_drill.model import Stage

_MAGIC = b"\xfd7zXZ\0"
#: Enough for the largest dictionary that xz itself writes (1536 MiB); a header may ask for 4 GiB.
MEMORY_LIMIT = 1600 * 2**20
_PADDING = 4
_CHECKS = {
    lzma.CHECK_NONE: "none",
    lzma.CHECK_CRC32: "crc32",
    lzma.CHECK_CRC64: "crc64",
    lzma.CHECK_SHA256: "sha256",
    lzma.CHECK_UNKNOWN: "unknown",
}


class XzCodec(Codec):
    """xz: headers and index are always verified, the content by the check that each stream names (or none)."""

    name = "xz"
    suffixes = (".xz",)
    #: A stream may be written with ``--check=none``; :meth:`facts` say of the one that was read.
    self_checking = False

    _streams = 0
    _checks: frozenset[str] = frozenset()

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """By the six magic bytes."""
        return head.startswith(_MAGIC)

    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Decompress all streams; see :meth:`Codec.decode`."""
        source, self._streams, self._checks = Source(chunks), 0, frozenset()
        while self._another(source):
            self._streams += 1
            yield from self._stream(source)

    def facts(self) -> dict[str, Any]:
        """How many streams there were, by what their content is checked, and which library read them."""
        return {
            "streams": self._streams,
            "content_check": sorted(self._checks),
            "self_checking": "none" not in self._checks,
            "library": f"liblzma of Python {platform.python_version()}",
        }

    def _another(self, source: Source) -> bool:
        zeros = source.skip_zeros() if self._streams else 0
        if zeros % _PADDING:
            raise trailing(self.name, "stream", source.position - zeros)
        start = source.peek(len(_MAGIC))
        if start == _MAGIC:
            return True
        if not self._streams:
            raise foreign(self.name, start, _MAGIC) if start else empty(self.name)
        if start:
            raise trailing(self.name, "stream", source.position)
        return False

    def _stream(self, source: Source) -> Iterator[bytes]:
        decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY_LIMIT)
        try:
            yield from member(source, decompressor, lzma.LZMAError)
        except Ended as problem:
            raise truncated(self.name, f"inside stream {self._streams}", source.position) from problem
        except Refused as problem:
            raise _refusal(problem, f"(stream {self._streams}, near byte {source.position})") from problem
        self._checks |= {_CHECKS.get(decompressor.check, str(decompressor.check))}


def _refusal(problem: Refused, where: str) -> RestoreDrillError:
    """What an error of liblzma says about the backup: the texts are those of CPython's ``_lzmamodule.c``."""
    text = str(problem)
    if "Memory usage limit" in text:
        return CouldNotVerify(
            f"the xz stream needs more memory than the {MEMORY_LIMIT >> 20} MiB it may have {where}",
            remedy="Compress with a dictionary of at most 1536 MiB (xz's own limit), or try xz --decompress by hand.",
            stage=Stage.UNPACK,
        )
    if "nsupported" in text:
        # Headers carry a CRC that was right: they are whole, and of a kind that came after this library.
        return CouldNotVerify(
            f"the xz stream uses a filter or check that this machine's liblzma does not know: {text} {where}",
            remedy="Drill on a machine with a newer liblzma.",
            stage=Stage.UNPACK,
        )
    return damaged("xz", f"damaged: {text} {where}")
