"""Write into a restored tree: bytes from file to file, and what to say when that fails."""

from __future__ import annotations

import errno
import os

from restore_drill.archives.directories import in_the_way
from restore_drill.archives.names import hostile, shown
from restore_drill.errors import CouldNotVerify, RestoreDrillError
from restore_drill.model import Stage

#: Bytes below which a read and a write are quicker than asking the kernel to copy.
_SMALL = 1 << 18


def copy_bytes(source: int, target: int, size: int) -> int:
    """Copy up to ``size`` bytes between open files: shared blocks where the file system can, else within the kernel."""
    left = size
    while left > _SMALL:
        try:
            done = os.copy_file_range(source, target, min(left, 1 << 30))
        except OSError as problem:
            if problem.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
                raise
            break
        if not done:
            return size - left
        left -= done
    while left and (piece := os.read(source, min(left, _SMALL))):
        left -= len(piece)
        while piece:
            piece = piece[os.write(target, piece) :]
    return size - left


def cannot_write(problem: OSError, name: bytes) -> RestoreDrillError:
    """What a failed write says: a full disk and a limit are no fault of the backup."""
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return full("no space is left")
    if problem.errno == errno.EFBIG:
        return CouldNotVerify("a file is larger than the sandbox allows", stage=Stage.UNPACK)
    return CouldNotVerify(
        f"a member cannot be written here: {problem.strerror}",
        remedy="Give --work-dir a file system that can hold what was backed up (ext4, XFS, Btrfs).",
        stage=Stage.UNPACK,
        details=(f"member {shown(name)}",),
    )


def full(cause: str) -> CouldNotVerify:
    """The error for a disk that cannot hold the tree."""
    return CouldNotVerify(
        f"the disk is too small for this drill: {cause}",
        remedy="Free space, or give --work-dir a larger disk.",
        stage=Stage.UNPACK,
    )


def folded(path: bytes) -> CouldNotVerify:
    """The error for a file system that takes two names for one."""
    return CouldNotVerify(
        "the file system of the work directory takes two different names for one, as they differ only in case or form",
        remedy="Give --work-dir a file system that tells them apart (ext4 without casefold, XFS, Btrfs).",
        stage=Stage.UNPACK,
        details=(f"member {shown(path)}",),
    )


def _is_called(parent: int, leaf: bytes) -> bool:
    """Whether something has this very name."""
    with os.scandir(parent) as entries:
        return any(os.fsencode(entry.name) == leaf for entry in entries)


def occupied(parent: int, leaf: bytes, path: bytes) -> RestoreDrillError:
    """The error for a place that is taken."""
    if not _is_called(parent, leaf):
        return folded(path)
    if in_the_way(parent, leaf) == "directory":
        return hostile("a member that is no directory stands where a directory is", path)
    return hostile(
        "two members have the same path",
        path,
        "Make a new archive instead of appending to one (tar -r, -u), so that it says one thing about each file.",
    )
