"""What the codecs share: a chunk stream one can look ahead into, and the loop around a native decompressor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from restore_drill.codecs.base import damaged
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage

#: What a codec hands on at most at once, whatever the ratio of the stream (bytes).
CHUNK = 1 << 20
#: What a decompressor is fed first. Some formats have members of a few bytes by the thousand: what is fed beyond the
#: end of one is copied back out of the library, so the portions begin small and grow while a member lasts.
_FIRST_PORTION = 1 << 12


class Source:
    """An iterator of chunks as a stream of bytes, read without copying where a chunk holds enough.

    Args:
        chunks: The stream, in chunks of any size. Its exceptions pass through unchanged.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = memoryview(b"")
        self._offset = 0
        self._before = 0

    @property
    def position(self) -> int:
        """How many bytes have been taken so far."""
        return self._before + self._offset

    def take(self, most: int) -> memoryview:
        """At least one and at most ``most`` bytes; none at the end of the stream."""
        while self._offset == len(self._chunk):
            chunk = next(self._chunks, None)
            if chunk is None:
                return self._chunk[self._offset :]
            self._replace(chunk)
        piece = self._chunk[self._offset : self._offset + most]
        self._offset += len(piece)
        return piece

    def read(self, size: int) -> bytes | memoryview:
        """Exactly ``size`` bytes, fewer only at the end of the stream."""
        piece = self.take(size)
        if len(piece) in (0, size):
            return piece
        whole = bytearray(piece)
        while len(whole) < size and (piece := self.take(size - len(whole))):
            whole += piece
        return bytes(whole)

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes without taking them, fewer only at the end of the stream."""
        ahead = bytes(self.read(size))
        self.push_back(ahead)
        return ahead

    def push_back(self, data: bytes) -> None:
        """Return the last bytes that were taken, to be taken again."""
        if len(data) <= self._offset:
            self._offset -= len(data)
            return
        position = self.position - len(data)
        self._chunk = memoryview(data + bytes(self._chunk[self._offset :]))
        self._offset, self._before = 0, position

    def rest(self) -> Iterator[bytes]:
        """Everything that is left, in chunks."""
        while piece := self.take(CHUNK):
            yield bytes(piece)

    def skip_zeros(self) -> int:
        """Take zero bytes as long as there are some, and say how many."""
        count = 0
        while piece := self.take(CHUNK):
            other = bytes(piece).lstrip(b"\0")
            count += len(piece) - len(other)
            if other:
                self.push_back(other)
                break
        return count

    def _replace(self, chunk: bytes) -> None:
        self._before += self._offset
        self._chunk, self._offset = memoryview(chunk), 0


class Decompressor(Protocol):
    """What the decompressor objects of bz2, lzma, zstd and igzip have in common: one member, frame or stream."""

    @property
    def eof(self) -> bool:
        """Whether the end of the member was reached and verified."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing can come out before more goes in."""

    @property
    def unused_data(self) -> bytes:
        """What was fed beyond the end."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Decompress, at most so many bytes at once."""


class Ended(Exception):
    """The source ended inside a member."""


class Refused(Exception):
    """The decompressor refused its input, with these words. A wrapper, so that no error of the source looks like it."""


def member(source: Source, decompressor: Decompressor, error: type[Exception]) -> Iterator[bytes]:
    """Decompress one member and leave the source right behind it.

    Args:
        source: Stands at the member's first byte.
        decompressor: A new one.
        error: What it raises for bad input.

    Raises:
        Ended: The source ended first.
        Refused: The member is bad.
        CouldNotVerify: There is not enough memory for it.
    """
    portion = _FIRST_PORTION
    while not decompressor.eof:
        data: bytes | memoryview = b""
        if decompressor.needs_input:
            data = source.take(portion)
            if not data:
                raise Ended
            portion = min(portion * 4, CHUNK)
        try:
            # The stubs of these libraries say bytes and mean any buffer.
            content = decompressor.decompress(data, CHUNK)  # type: ignore[arg-type]
        except error as problem:
            raise Refused(str(problem)) from problem
        except MemoryError as problem:
            raise _no_memory() from problem
        if content:
            yield content
    source.push_back(decompressor.unused_data)


def _no_memory() -> CouldNotVerify:
    return CouldNotVerify(
        "this machine has not enough memory for the window or dictionary that the stream was compressed with",
        remedy="Give the drill more memory, or compress with a smaller window.",
        stage=Stage.UNPACK,
    )


def empty(codec: str) -> BackupFailed:
    """The error for a stream without a single byte."""
    return damaged(codec, "empty: not one byte", "Look for the job that should have written it.")


def truncated(codec: str, where: str, position: int) -> BackupFailed:
    """The error for a stream that ends too early."""
    return damaged(codec, f"truncated: it ends {where}, after {position} bytes")


def trailing(codec: str, unit: str, position: int) -> BackupFailed:
    """The error for bytes behind the end that the format has no meaning for."""
    return damaged(
        codec,
        f"followed by trailing bytes: from byte {position} on, behind its last {unit}, stands something else",
        "Find out what was appended to it; most tools would ignore or refuse that part.",
    )


def another_member(source: Source, codec: str, magic: bytes, *, is_first: bool) -> bool:
    """Whether one more member of a format begins here whose members may stand in a row, with zeros behind the last.

    Raises:
        BackupFailed: Something else stands here; or, of the first, nothing at all.
    """
    start = source.peek(len(magic))
    if start == magic:
        return True
    if is_first:
        raise foreign(codec, start, magic) if start else empty(codec)
    source.skip_zeros()
    if source.peek(1):
        raise trailing(codec, "member", source.position)
    return False


def foreign(codec: str, start: bytes, *magics: bytes) -> BackupFailed:
    """The error for a stream that begins as none of the format's beginnings, or in the middle of one."""
    if any(magic.startswith(start) for magic in magics):
        return truncated(codec, "inside its first bytes", len(start))
    return damaged(codec, "damaged: it does not begin as this format does")
