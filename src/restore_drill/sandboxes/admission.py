"""Let the programs' account read what was restored: runs in the sandbox's own process."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from restore_drill.errors import CouldNotVerify
from restore_drill.sandboxes.base import Call

ADMIT = "restore_drill.sandboxes.admission:admit"
#: Directories in one another that are gone through, each of which is held open.
_DEPTH = 200
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NAMED = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def admit(call: Call, path: str, group: int | None) -> None:
    """Make a file or tree readable, and the way to it passable, for a group (``None``: for its owner, who is us).

    Nobody else gains anything by it, and nothing becomes writable. Symbolic links stay what they are.
    """
    parts = Path(path).parts
    directory = os.open(call.work, _OPEN)
    try:
        for part in parts[:-1]:
            _grant(directory, part, group, passing=True)
            inner = os.open(part, _OPEN, dir_fd=directory)
            os.close(directory)
            directory = inner
        if parts:
            _admit(directory, parts[-1], group, 0)
        else:
            _admit_all(directory, group, 0)
    finally:
        os.close(directory)


def _admit(parent: int, name: str, group: int | None, depth: int) -> None:
    if not _grant(parent, name, group):
        return
    if depth >= _DEPTH:
        raise CouldNotVerify(f"what was restored has more than {_DEPTH} directories in one another")
    directory = os.open(name, _OPEN, dir_fd=parent)
    try:
        _admit_all(directory, group, depth + 1)
    finally:
        os.close(directory)


def _admit_all(directory: int, group: int | None, depth: int) -> None:
    for name in _names(directory):
        _admit(directory, name, group, depth)


def _names(directory: int) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in entries:
            yield entry.name


def _grant(parent: int, name: str, group: int | None, *, passing: bool = False) -> bool:
    """Give a file or directory to the group, for reading; says whether it is a directory."""
    # A descriptor that only names it opens nothing, and the path through it cannot lead elsewhere meanwhile.
    named = os.open(name, _NAMED, dir_fd=parent)
    try:
        state = os.fstat(named)
        is_directory = stat.S_ISDIR(state.st_mode)
        if not is_directory and not stat.S_ISREG(state.st_mode):
            return False
        path = f"/proc/self/fd/{named}"
        wanted = (0o100 if passing else 0o500) if is_directory else 0o400
        mode = stat.S_IMODE(state.st_mode) & 0o777
        if group is not None:
            if state.st_gid != group:
                os.chown(path, -1, group)
            # The group is another one now: what its members may is what is granted here.
            wanted = (mode & 0o707) | wanted | wanted >> 3
        else:
            wanted |= mode
        if stat.S_IMODE(state.st_mode) != wanted:
            os.chmod(path, wanted)  # noqa: PTH101 - a path of its own is what this is about
        return is_directory
    finally:
        os.close(named)
