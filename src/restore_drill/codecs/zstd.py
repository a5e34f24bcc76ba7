"""Zstandard (RFC 8878), decoded by the standard library from Python 3.14 on and by its backport below.

Policy: several frames one after the other are one stream, skippable frames among them are passed over, anything else
behind the last frame is refused. A frame need not carry a checksum: a flipped bit may then go unnoticed, and the facts
say so. Each frame's header is read here before the library sees the frame, for its dictionary, window and checksum.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from restore_drill.codecs._source import Ended, Refused, Source, empty, foreign, member, trailing, truncated
from restore_drill.codecs.base import Codec, damaged
from restore_drill.errors import CouldNotVerify, RestoreDrillError
from restore_drill.model import Stage

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MAGIC = b"\x28\xb5\x2f\xfd"
_LZ4_MAGIC = b"\x04\x22\x4d\x18"
#: The sixteen magic numbers of skippable frames (RFC 8878, section 3.1.2), little-endian without their low digit.
_SKIPPABLE = b"\x2a\x4d\x18"
#: As far as the library goes on a 64-bit machine: 2 GiB, what ``zstd --long=31`` writes.
WINDOW_LOG_MAX = 31
_LONGEST_HEADER = 4 + 14


class ZstdCodec(Codec):
    """Zstandard: structure is always verified, the content by a checksum where the frame carries one."""

    name = "zstd"
    suffixes = (".zst", ".zstd")
    #: A frame may be written without its checksum; :meth:`facts` say of the stream that was read.
    self_checking = False

    _frames = 0
    _skipped = 0
    _unchecked = 0
    _window = 0

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """By the magic number of a frame; of a skippable one (which lz4 shares) together with what follows it."""
        while head[1:4] == _SKIPPABLE and 0x50 <= head[0] <= 0x5F:
            behind = head[8 + int.from_bytes(head[4:8], "little") :]
            if not behind:
                return True
            head = behind
        return head.startswith(_MAGIC)

    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Decompress all frames; see :meth:`Codec.decode`."""
        source = Source(chunks)
        self._frames = self._skipped = self._unchecked = self._window = 0
        while (header := self._another(source)) is not None:
            self._count(header)
            yield from self._frame(source)

    def facts(self) -> dict[str, Any]:
        """Frames, whether all carry a checksum, the largest window in bytes, and which library read them."""
        return {
            "frames": self._frames,
            "skippable_frames": self._skipped,
            "content_checksum": self._unchecked == 0,
            "self_checking": self._unchecked == 0,
            "window": self._window,
            "library": f"zstd {zstd.zstd_version}",
        }

    def _another(self, source: Source) -> FrameHeader | None:
        """The header of the next frame, which is not taken; ``None`` at the end."""
        start = source.peek(_LONGEST_HEADER)
        if start.startswith(_MAGIC) or (start[1:4] == _SKIPPABLE and 0x50 <= start[0] <= 0x5F):
            return _header(start)
        if self._frames + self._skipped:
            if start:
                raise trailing(self.name, "frame", source.position)
            return None
        raise foreign(self.name, start, _MAGIC) if start else empty(self.name)

    def _count(self, header: FrameHeader) -> None:
        if header.skippable:
            self._skipped += 1
            return
        self._frames += 1
        self._unchecked += not header.checksum
        self._window = max(self._window, header.window)
        if header.dictionary:
            raise CouldNotVerify(
                f"the zstd stream was compressed with the dictionary {header.dictionary}, which is not held",
                remedy="Let the backup job compress without -D; if it does, the frame's header is damaged.",
                stage=Stage.UNPACK,
            )

    def _frame(self, source: Source) -> Iterator[bytes]:
        decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG_MAX})
        number = self._frames + self._skipped
        try:
            yield from member(source, decompressor, zstd.ZstdError)
        except Ended as problem:
            raise truncated(self.name, f"inside frame {number}", source.position) from problem
        except Refused as problem:
            raise self._refusal(problem, f"(frame {number}, near byte {source.position})") from problem

    def _refusal(self, problem: Refused, where: str) -> RestoreDrillError:
        text = str(problem).rpartition(": ")[2]
        if "memory" in text:
            return _too_large(self._window)
        return damaged(self.name, f"damaged: {text} {where}")


def _too_large(window: int) -> CouldNotVerify:
    return CouldNotVerify(
        f"the zstd stream needs a window of {max(window >> 20, 1)} MiB, more memory than there is for it",
        remedy=f"Compress with --long={WINDOW_LOG_MAX} at most; else give the drill more memory, or suspect damage.",
        stage=Stage.UNPACK,
    )


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What a frame says about itself (RFC 8878, section 3.1.1.1).

    Attributes:
        skippable: It holds no data; the rest says nothing then.
        checksum: Whether its content is followed by a checksum.
        dictionary: The number of the dictionary it needs, 0 for none or an unnamed one.
        window: Bytes of memory that decoding it takes.
    """

    skippable: bool = False
    checksum: bool = True
    dictionary: int = 0
    window: int = 0


def _header(start: bytes) -> FrameHeader:
    """Read a frame's first bytes; a header that is cut short is left for the library to refuse."""
    if not start.startswith(_MAGIC) or len(start) < 5:
        return FrameHeader(skippable=not start.startswith(_MAGIC))
    descriptor, at = start[4], 5
    single = bool(descriptor & 0x20)
    window = 0
    if not single:
        window, at = _window(start[at : at + 1]), at + 1
    dictionary_size = (0, 1, 2, 4)[descriptor & 3]
    dictionary = int.from_bytes(start[at : at + dictionary_size], "little")
    if single:
        # The content is its own window.
        at += dictionary_size
        window = int.from_bytes(start[at : at + (1, 2, 4, 8)[descriptor >> 6]], "little")
    return FrameHeader(checksum=bool(descriptor & 4), dictionary=dictionary, window=window)


def _window(descriptor: bytes) -> int:
    if not descriptor:
        return 0
    base = 1 << (10 + (descriptor[0] >> 3))
    return base + base // 8 * (descriptor[0] & 7)
