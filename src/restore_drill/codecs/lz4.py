"""lz4 (lz4_Frame_format.md, version 1.6.4), decoded by liblz4.

Policy: several frames one after the other are one stream, skippable frames among them are passed over, anything else
behind the last frame is refused. A frame need not carry a checksum of its content (the program writes one, several
libraries do not): a flipped bit may then go unnoticed, and the facts say so. Checksums of single blocks do not count,
as they leave open whether the block is compressed and how many there are. The legacy format (``lz4 -l``) has neither an
end nor any checksum, so that whether it is whole cannot be told: it gives no verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from restore_drill.codecs._source import Ended, Refused, Source, empty, foreign, member, trailing, truncated
from restore_drill.codecs.base import Codec, damaged
from restore_drill.codecs.base import library as version_of
from restore_drill.errors import CouldNotVerify
from restore_drill.model import Stage
from restore_drill.registry import library

_MAGIC = b"\x04\x22\x4d\x18"
_LEGACY = b"\x02\x21\x4c\x18"
#: The sixteen magic numbers of skippable frames, little-endian without their low digit; zstd shares them.
_SKIPPABLE = b"\x2a\x4d\x18"
#: Bits of a frame descriptor's first byte (section "Frame Descriptor").
_CONTENT_CHECKSUM, _DICTIONARY = 0x04, 0x01


class Lz4Codec(Codec):
    """lz4 frames: structure is always verified, the content by a checksum where the frame carries one."""

    name = "lz4"
    suffixes = (".lz4",)
    #: A frame may be written without its checksum; :meth:`facts` say of the stream that was read.
    self_checking = False

    _frames = 0
    _skipped = 0
    _unchecked = 0
    _library = ""

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """By the magic number of a frame; of a skippable one together with what follows it."""
        while _is_skippable(head):
            head = head[8 + int.from_bytes(head[4:8], "little") :]
        return head.startswith((_MAGIC, _LEGACY))

    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Decompress all frames; see :meth:`Codec.decode`."""
        source = Source(chunks)
        self._frames = self._skipped = self._unchecked = 0
        while start := self._another(source):
            self._count(start)
            yield from self._frame(source)

    def facts(self) -> dict[str, Any]:
        """Frames, whether all carry a checksum of their content, and which library read them."""
        return {
            "frames": self._frames,
            "skippable_frames": self._skipped,
            "content_checksum": self._unchecked == 0,
            "self_checking": self._unchecked == 0,
            **({"library": self._library} if self._library else {}),
        }

    def _another(self, source: Source) -> bytes:
        """The first bytes of the next frame, which are not taken; none at the end."""
        start = source.peek(5)
        if start.startswith((_MAGIC, _LEGACY)) or _is_skippable(start):
            return start
        if self._frames + self._skipped:
            if start:
                raise trailing(self.name, "frame", source.position)
            return b""
        raise foreign(self.name, start, _MAGIC) if start else empty(self.name)

    def _count(self, start: bytes) -> None:
        if start.startswith(_LEGACY):
            raise _legacy()
        if not start.startswith(_MAGIC):
            self._skipped += 1
            return
        self._frames += 1
        descriptor = start[4] if len(start) > 4 else 0
        self._unchecked += not descriptor & _CONTENT_CHECKSUM
        if descriptor & _DICTIONARY:
            raise CouldNotVerify(
                "the lz4 stream was compressed with a dictionary, which is not held",
                remedy="Let the backup job compress without -D; if it does, the frame's header is damaged.",
                stage=Stage.UNPACK,
            )

    def _frame(self, source: Source) -> Iterator[bytes]:
        number = self._frames + self._skipped
        decompressor = _Decompressor()
        self._library = version_of("lz4")
        try:
            yield from member(source, decompressor, RuntimeError)
        except Ended as problem:
            raise truncated(self.name, f"inside frame {number}", source.position) from problem
        except Refused as problem:
            words = str(problem).rpartition("ERROR_")[2]
            where = f"(frame {number}, near byte {source.position})"
            raise damaged(self.name, f"damaged: liblz4 says {words} {where}") from problem


class _Decompressor:
    """One frame, as the library's decompressor would be if it kept to the interface of the others."""

    def __init__(self) -> None:
        self._decompressor = library("lz4.frame", "an lz4 stream", "lz4").LZ4FrameDecompressor()
        self.decompress = self._decompressor.decompress

    @property
    def eof(self) -> bool:
        return bool(self._decompressor.eof)

    @property
    def needs_input(self) -> bool:
        return bool(self._decompressor.needs_input)

    @property
    def unused_data(self) -> bytes:
        return self._decompressor.unused_data or b""


def _is_skippable(start: bytes) -> bool:
    return start[1:4] == _SKIPPABLE and 0x50 <= start[0] <= 0x5F


def _legacy() -> CouldNotVerify:
    return CouldNotVerify(
        "the lz4 stream is in the legacy format, without an end or a checksum: whether it is whole cannot be told",
        remedy="Let the backup job write lz4's own frames: lz4 without -l.",
        stage=Stage.UNPACK,
    )
