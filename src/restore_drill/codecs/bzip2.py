"""bzip2 (bzip2 manual, "The file format"; there is no standard), decoded by the standard library's libbz2.

Policy: several streams one after the other are one stream, as for the program and for what pbzip2 and lbzip2 write.
Anything else behind the last stream is refused, zero bytes too: the program passes over them with a warning only.
"""

from __future__ import annotations

import bz2
import platform
from collections.abc import Iterator
from typing import Any

from restore_drill.codecs._source import Ended, Refused, Source, empty, foreign, member, trailing, truncated
from restore_drill.codecs.base import Codec, damaged

_MAGIC = b"BZh"
_LEVELS = b"123456789"
#: What follows the magic and the level: a block (pi in decimal digits), or the end of an empty stream (its root).
_BLOCK, _END = bytes.fromhex("314159265359"), bytes.fromhex("177245385090")


class Bzip2Codec(Codec):
    """bzip2: the CRC-32 of every block, and of every stream as a whole, is verified."""

    name = "bzip2"
    suffixes = (".bz2",)
    _streams = 0

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """By ten bytes, as "BZh" alone could be the beginning of a text."""
        return _begins(head[:4]) and head[4:10] in (_BLOCK, _END)

    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Decompress all streams; see :meth:`Codec.decode`."""
        source, self._streams = Source(chunks), 0
        while self._another(source):
            self._streams += 1
            yield from self._stream(source)

    def facts(self) -> dict[str, Any]:
        """How many streams there were, and which library read them."""
        return {"streams": self._streams, "library": f"libbz2 of Python {platform.python_version()}"}

    def _another(self, source: Source) -> bool:
        start = source.peek(4)
        if _begins(start):
            return True
        if not self._streams:
            raise foreign(self.name, start, _MAGIC) if start else empty(self.name)
        if start:
            raise trailing(self.name, "stream", source.position)
        return False

    def _stream(self, source: Source) -> Iterator[bytes]:
        try:
            # It raises OSError, and ValueError once it has failed; errors of the source pass by it.
            yield from member(source, bz2.BZ2Decompressor(), OSError)
        except Ended as problem:
            raise truncated(self.name, f"inside stream {self._streams}", source.position) from problem
        except Refused as problem:
            where = f"(stream {self._streams}, near byte {source.position})"
            raise damaged(self.name, f"damaged: a block or a CRC-32 is wrong {where}") from problem


def _begins(start: bytes) -> bool:
    return len(start) == 4 and start.startswith(_MAGIC) and start[3] in _LEVELS
