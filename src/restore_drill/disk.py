"""Disk space: budgeted before it is used, watched while it is used."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from restore_drill.errors import CouldNotVerify
from restore_drill.model import Stage
from restore_drill.quantities import format_size

#: Bytes written between two looks at what is left.
_LOOK_EVERY = 32 << 20
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
        raise _full(f"{purpose} needs about {format_size(needed)}, {format_size(max(available, 0))} are usable", path)


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
        size, look_at = 0, _LOOK_EVERY
        try:
            for chunk in chunks:
                _write_all(descriptor, chunk)
                size += len(chunk)
                if size >= look_at:
                    look_at += _LOOK_EVERY
                    self._look()
        except OSError as problem:
            if problem.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise _full(f"no space is left after {format_size(size)}", self._path) from problem
        finally:
            os.close(descriptor)
        return size

    def _look(self) -> None:
        if free_space(self._path.parent) < self._reserve:
            raise _full(f"less than {format_size(self._reserve)} would stay free", self._path)


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _full(cause: str, path: Path) -> CouldNotVerify:
    return CouldNotVerify(
        f"the disk is too small for this drill: {cause}",
        looked_at=str(path.parent),
        remedy="Free space, or give --work-dir a larger disk.",
        stage=Stage.FETCH,
    )
