"""Read a directory that others may change meanwhile: quietly, following no link, noticing what happens to it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from restore_drill.archives.names import hostile, shown
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Stage

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_PIECE = 1 << 20


def open_quietly(name: str, parent: int) -> int:
    """Open a file for reading without touching its access time, where this user may ask for that."""
    try:
        return os.open(name, READ | os.O_NOATIME, dir_fd=parent)
    except PermissionError:  # only a file's owner may ask for its access time to stay
        return os.open(name, READ, dir_fd=parent)


def pieces(descriptor: int, size: int, path: str) -> Iterator[bytes]:
    """The next ``size`` bytes; fewer mean that the file changed."""
    left = size
    while left:
        with reading(path):
            piece = os.read(descriptor, min(left, _PIECE))
        if not piece:
            raise changed(path)
        left -= len(piece)
        yield piece


def extents_of(descriptor: int, size: int) -> list[tuple[int, int]]:
    """Where a file has data (lseek(2), SEEK_DATA)."""
    found: list[tuple[int, int]] = []
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as problem:
            if problem.errno != errno.ENXIO:
                raise
            break
        end = min(size, os.lseek(descriptor, start, os.SEEK_HOLE))
        found.append((start, end - start))
    return found


def sparse_pieces(descriptor: int, extents: list[tuple[int, int]], path: str) -> Iterator[bytes]:
    """The data of a file with holes."""
    for offset, length in extents:
        os.lseek(descriptor, offset, os.SEEK_SET)
        yield from pieces(descriptor, length, path)


class reading:  # noqa: N801 - used as a statement; a generator would cost as much as the system call inside
    """Tell a source that cannot be read from a target that cannot be written."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        if isinstance(problem, OSError):
            raise cannot_read(problem, self._path) from problem


def cannot_read(problem: OSError, path: str) -> RestoreDrillError:
    """What a failed read says: gone or changed is the backup's fault, everything else is not known."""
    details = (shown(os.fsencode(path)),)
    if problem.errno in (errno.ENOENT, errno.ESTALE):
        return BackupFailed(
            "a part of the backup vanished while it was read",
            remedy="Drill when neither the backup job nor the clean-up of old generations is running.",
            stage=Stage.FETCH,
            details=details,
        )
    if problem.errno in (errno.ELOOP, errno.ENOTDIR):
        return changed(path)
    if problem.errno == errno.ENAMETOOLONG:
        return hostile("a name of the backup is too long to be read", os.fsencode(path))
    remedy = "Run the drill as root or as a user who may read all of the backup."
    return CouldNotVerify(
        f"a part of the backup cannot be read: {problem.strerror}",
        remedy=remedy if isinstance(problem, PermissionError) else "Check the file system and the disk it lies on.",
        stage=Stage.FETCH,
        details=details,
    )


def changed(path: str) -> BackupFailed:
    """The error for a source that is not what it was a moment ago."""
    return BackupFailed(
        "the backup changed while it was read",
        remedy="Drill when the backup job is not running; a finished generation must not change.",
        stage=Stage.FETCH,
        details=(shown(os.fsencode(path or ".")),),
    )
