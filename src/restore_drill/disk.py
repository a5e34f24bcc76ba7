"""Disk space: budgeted before it is used, watched while it is used."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from restore_drill.errors import CouldNotVerify
from restore_drill.model import Stage
from restore_drill.quantities import format_size

#: Bytes written between two looks at what is left.
_LOOK_EVERY = 32 << 20
#: What is read from a staged stream at once.
_PIECE = 1 << 20
#: What stays free whatever happens: 512 MiB, or a fiftieth of a disk that is smaller than 25 GiB.
_RESERVE = 512 << 20


def free_space(path: Path) -> int:
    """Bytes that this user may still write where ``path`` lies."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def reserve(path: Path) -> int:
    """Bytes that a drill leaves free where ``path`` lies."""
    status = os.statvfs(path)
    return min(_RESERVE, status.f_blocks * status.f_frsize // 50)


def require(path: Path, needed: int, purpose: str) -> None:
    """Refuse to begin what cannot fit.

    Raises:
        CouldNotVerify: Less than ``needed`` bytes and the reserve are free (stage ``fetch``).
    """
    available = free_space(path) - reserve(path)
    if needed > available:
        raise _full(
            f"{purpose} needs about {format_size(needed)}, {format_size(max(available, 0))} are usable", path.parent
        )


class FileSink:
    """Writes a stream into a new file of the quarantine; refuses to fill the disk.

    Args:
        path: A file that must not exist yet.
        reserve: Bytes that must stay free.
    """

    def __init__(self, path: Path, reserve: int) -> None:
        self._path = path
        self._reserve = reserve

    def write(self, chunks: Iterable[bytes]) -> int:
        """Write everything and return the number of bytes.

        Raises:
            CouldNotVerify: The disk is, or would be, full.
        """
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            return write(descriptor, chunks, self._path.parent, self._reserve)
        finally:
            os.close(descriptor)


def write(descriptor: int, chunks: Iterable[bytes], directory: Path, reserve: int) -> int:
    """Write a stream into an open file of a directory, and return the number of bytes.

    Raises:
        CouldNotVerify: The disk is full, or less than ``reserve`` bytes would stay free.
    """
    size, look_at = 0, _LOOK_EVERY
    for chunk in chunks:
        try:
            _write_all(descriptor, chunk)
        except OSError as problem:
            if problem.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise _full(f"no space is left after {format_size(size)}", directory) from problem
        size += len(chunk)
        if size >= look_at:
            look_at += _LOOK_EVERY
            if free_space(directory) < reserve:
                raise _full(f"less than {format_size(reserve)} would stay free", directory)
    return size


class Staged:
    """A whole stream on disk, for a format that cannot be read from its first byte to its last.

    The file has no name: it is gone when it is closed or the process ends, however that comes about.

    Args:
        descriptor: The open file, which is taken over.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def read(self, start: int, size: int) -> bytes:
        """The bytes there, fewer only at the end; none beyond it, however far."""
        return os.pread(self._descriptor, size, min(start, self.size))

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes between two places, at most a mebibyte at a time."""
        while start < end:
            piece = self.read(start, min(_PIECE, end - start))
            if not piece:
                return
            start += len(piece)
            yield piece

    def close(self) -> None:
        """Let go of the file, which removes it; may be called again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where a stream may be staged.

    Attributes:
        directory: On a disk that may be used.
        reserve: Bytes that must stay free on it.
        expected: Size of the stream, ``-1`` when nobody knows.
    """

    directory: Path
    reserve: int = 0
    expected: int = -1

    @classmethod
    def default(cls) -> Workspace:
        """The system's directory for temporary files."""
        directory = Path(tempfile.gettempdir())
        return cls(directory, reserve(directory))

    def stage(self, chunks: Iterable[bytes]) -> Staged:
        """Put a whole stream on disk; what it raises passes through unchanged, and nothing is left then.

        Raises:
            CouldNotVerify: The disk is, or would be, full.
        """
        usable = max(free_space(self.directory) - self.reserve, 0)
        if self.expected > usable:
            needed = f"staging what cannot be read as a stream needs {format_size(self.expected)}"
            raise _full(f"{needed}, {format_size(usable)} are usable", self.directory)
        with tempfile.TemporaryFile(dir=self.directory, buffering=0) as file:
            write(file.fileno(), chunks, self.directory, self.reserve)
            return Staged(os.dup(file.fileno()))


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _full(cause: str, directory: Path) -> CouldNotVerify:
    return CouldNotVerify(
        f"the disk is too small for this drill: {cause}",
        looked_at=str(directory),
        remedy="Free space, or give --work-dir a larger disk.",
        stage=Stage.FETCH,
    )
