"""Unpack what archives hold, whatever the ratio a mebibyte at a time; shared by the formats that hold files."""

from __future__ import annotations

import lzma
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast

from isal import igzip_lib

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.quantities import format_size

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: What is handed on at most at once (bytes).
CHUNK = 1 << 20
#: Expansion is not judged below this many unpacked bytes.
RATIO_FREE = 256 << 20
#: Enough for the largest dictionary that xz itself writes (1536 MiB).
MEMORY = 1600 << 20


class Surplus(Exception):
    """There is data behind the end of what was compressed."""


class Decompressor(Protocol):
    """What the standard library's decompressors and igzip's have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end was reached."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing can come out before more goes in."""

    @property
    def unused_data(self) -> bytes:
        """What was fed beyond the end."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Decompress, at most so many bytes at once."""


def run(decompressor: Decompressor, packed: Iterator[bytes]) -> Iterator[bytes]:
    """Everything up to the end that the data itself marks."""
    while not decompressor.eof:
        data = b""
        if decompressor.needs_input:
            data = next(packed, b"")
            if not data:
                raise EOFError("its data ends early")
        piece = decompressor.decompress(data, CHUNK)
        if piece:
            yield piece
    if decompressor.unused_data:
        raise Surplus


def run_to(decompressor: Decompressor, packed: Iterator[bytes], size: int) -> Iterator[bytes]:
    """So many bytes; nothing marks the end."""
    while size and not decompressor.eof:
        data = b""
        if decompressor.needs_input:
            data = next(packed, b"")
            if not data:
                raise EOFError("its data ends early")
        piece = decompressor.decompress(data, min(size, CHUNK))
        size -= len(piece)
        if piece:
            yield piece


def inflate() -> Decompressor:
    """A decompressor of raw deflate data."""
    return cast("Decompressor", igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE))


def unzstd() -> Decompressor:
    """A decompressor of a zstd frame."""
    return cast("Decompressor", zstd.ZstdDecompressor())


def lzma1(properties: bytes, size: int) -> dict[str, Any]:
    """The filter of liblzma for the five bytes that LZMA's properties take.

    Args:
        properties: One byte of parameters, four of the dictionary's size.
        size: Of the content: a dictionary larger than that is never looked into.

    Raises:
        EOFError: They are no properties.
        MemoryError: The dictionary is larger than anything writes.
    """
    if len(properties) != 5 or properties[0] >= 9 * 5 * 5:
        raise EOFError("its properties are damaged")
    rest, lc = divmod(properties[0], 9)
    pb, lp = divmod(rest, 5)
    return {
        "id": lzma.FILTER_LZMA1, "lc": lc, "lp": lp, "pb": pb,
        "dict_size": dictionary(int.from_bytes(properties[1:], "little"), size),
    }  # fmt: skip


def dictionary(stated: int, size: int) -> int:
    """The dictionary to reserve for content of so many bytes."""
    needed = max(4096, min(stated, size))
    if needed > MEMORY:
        raise MemoryError
    return needed


#: What the libraries raise for data that they refuse (the stubs of igzip declare its class as an instance).
ERRORS = (
    cast("type[Exception]", igzip_lib.IsalError), OSError, ValueError, EOFError, lzma.LZMAError, zstd.ZstdError,
    Surplus,
)  # fmt: skip


def refusal(problem: Exception, damaged: Callable[[str], BackupFailed]) -> Exception:
    """What an error of :data:`ERRORS` says; one that the system raised is no fault of the data.

    Args:
        problem: The error.
        damaged: Makes the error for damaged data, from what is the matter with it.
    """
    if isinstance(problem, OSError) and problem.errno is not None:
        return problem
    text = "data is left over" if isinstance(problem, Surplus) else str(problem) or type(problem).__name__
    return too_large() if "emory" in text else damaged(f"cannot be unpacked ({text})")


def exceeds(what: str, option: str) -> BackupFailed:
    """The error for an archive that would give more than a limit allows."""
    return BackupFailed(
        f"unpacking it would give {what}",
        remedy=f"If this backup really is like that, raise {option} of the target.",
        stage=Stage.UNPACK,
    )


def too_large() -> CouldNotVerify:
    """The error for a dictionary that this machine cannot hold."""
    return CouldNotVerify(
        "this machine has not enough memory for the dictionary that a member of the archive needs",
        remedy=f"Give the drill more memory, or compress with a smaller dictionary (at most {format_size(MEMORY)}).",
        stage=Stage.UNPACK,
    )
