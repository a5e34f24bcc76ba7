"""A byte stream, chunked however it comes, read as 512-byte blocks and runs of data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from restore_drill.archives.headers import BLOCK
from restore_drill.errors import BackupFailed
from restore_drill.model import Stage

#: What to do about an archive that ends too early.
CUT = (
    "It was cut: compare its size with the original; look for a full disk or a broken upload. The first part of a "
    "multi-volume archive (tar -M) ends like this, too, and cannot be drilled: back up to one archive."
)


class Blocks:
    """Hands out blocks and data in order, holding one chunk in memory.

    Args:
        chunks: The stream; consumed once.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = b""
        # Where the next byte is in the buffer; beyond its end while padding has still to be passed over.
        self._at = 0
        self._before = 0
        #: The stream was asked for more than it had.
        self.exhausted = False

    @property
    def offset(self) -> int:
        """How many bytes lie before the next one."""
        return self._before + self._at

    def next(self) -> bytes:
        """The next block; shorter when the stream ends within it, empty at its end."""
        at = self._at
        if at + BLOCK > len(self._buffer):
            self._fill(BLOCK)
            at = self._at
        block = self._buffer[at : at + BLOCK]
        self._at = at + len(block)
        return block

    def peek(self) -> bytes:
        """The next block, which stays the next."""
        block = self.next()
        self._at -= len(block)
        return block

    def data(self, size: int) -> Iterable[bytes | memoryview]:
        """The next ``size`` bytes in pieces; their padding to whole blocks is passed over once they are consumed.

        Raises:
            BackupFailed: The stream ends before (while iterating).
        """
        if self._at + size <= len(self._buffer):
            piece = memoryview(self._buffer)[self._at : self._at + size]
            self._at += size + -size % BLOCK
            return (piece,) if size else ()
        return self._pieces(size)

    def _pieces(self, size: int) -> Iterator[memoryview]:
        left = size
        while left:
            if self._at >= len(self._buffer) and not self._fill(1):
                raise cut_inside(left)
            piece = memoryview(self._buffer)[self._at : self._at + left]
            self._at += len(piece)
            left -= len(piece)
            yield piece
        self._at += -size % BLOCK

    def skip_zeros(self) -> bool:
        """Pass over blocks of zeros, also a last one that is cut; whether a block with something else is next."""
        while self._at < len(self._buffer) or self._fill(1):
            self._fill(BLOCK)
            left = len(self._buffer) - self._at
            window = self._buffer[self._at : self._at + (left - left % BLOCK or left)]
            zeros = len(window) - len(window.lstrip(b"\0"))
            if zeros < len(window):
                self._at += zeros - zeros % BLOCK
                return True
            self._at += zeros
        return False

    def _fill(self, need: int) -> bool:
        while len(self._buffer) - self._at < need:
            chunk = next(self._chunks, None)
            if chunk is None:
                self.exhausted = True
                self._at = min(self._at, len(self._buffer))
                return False
            done = min(self._at, len(self._buffer))
            self._before += done
            self._at -= done
            self._buffer = self._buffer[done:] + chunk if done < len(self._buffer) else bytes(chunk)
        return True


def cut_inside(missing: int) -> BackupFailed:
    """The error for a stream that ends within a member's data."""
    return BackupFailed(
        f"the archive ends inside a member: at least {missing} bytes are missing",
        remedy=CUT,
        stage=Stage.UNPACK,
    )
