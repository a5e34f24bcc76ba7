"""Remove a directory tree that somebody else made, whatever is in it.

Nothing is followed and nothing is left: every step names one entry of a directory that is held open, so a symbolic
link is an entry like any other, unreadable and read-only directories are opened first, names need not be text, and a
path may be longer than the system can name. What is mounted in it is not touched.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from itertools import islice
from pathlib import Path

_BATCH = 4096
#: Directories held open at a time; what lies deeper is brought up first.
_DEPTH = 48
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: Path, spare: frozenset[str] = frozenset()) -> list[str]:
    """Remove a directory and everything in it, and return what is left: one line for each, with the reason.

    Args:
        path: The directory; its parent is trusted.
        spare: Names directly in it that are kept, and with them the directory itself.
    """
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not spare:
            with contextlib.suppress(OSError):
                os.rmdir(path.name, dir_fd=parent)
                return []
        removal = _Removal(parent, path)
        left = removal.empty(spare)
        if not left and not spare:
            os.rmdir(path.name, dir_fd=parent)
    except FileNotFoundError:
        return []
    except OSError as problem:
        return [f"{path}: {problem.strerror}"]
    finally:
        os.close(parent)
    return left


def empty_tree(path: Path) -> list[str]:
    """Remove everything in a directory and keep the directory; returns what is left, as :func:`remove_tree` does."""
    try:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return _Removal(parent, path).empty(frozenset())
        finally:
            os.close(parent)
    except OSError as problem:
        return [f"{path}: {problem.strerror}"]


class _Removal:
    def __init__(self, parent: int, path: Path) -> None:
        self.left: list[str] = []
        self._path = path
        self._hoisted = 0
        self._top = _open(path.name, parent)
        self._device = os.fstat(self._top).st_dev

    def empty(self, spare: frozenset[str]) -> list[str]:
        try:
            self._empty(self._top, str(self._path), 0, spare)
        finally:
            os.close(self._top)
        return self.left

    def _empty(self, directory: int, where: str, depth: int, spare: frozenset[str] = frozenset()) -> None:
        """Remove what is in a directory, in passes: removing what is deep brings entries up into the top."""
        kept = set(spare)
        while True:
            with os.scandir(directory) as entries:
                batch = list(islice((entry for entry in entries if entry.name not in kept), _BATCH))
            if not batch:
                return
            for entry in batch:
                try:
                    if not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.name, dir_fd=directory)
                    elif not self._remove_directory(directory, entry.name, f"{where}/{entry.name}", depth):
                        kept.add(entry.name)
                except FileNotFoundError:
                    continue
                except OSError as problem:
                    kept.add(entry.name)
                    self.left.append(f"{where}/{entry.name}: {_reason(problem)}")

    def _remove_directory(self, parent: int, name: str, where: str, depth: int) -> bool:
        """Remove a directory or bring it up into the top; says False when something in it had to be left."""
        if _remove_if_empty(parent, name):
            return True
        directory = _open(name, parent)
        try:
            if os.fstat(directory).st_dev != self._device:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            if depth >= _DEPTH:
                self._hoisted += 1
                os.rename(name, f".hoisted-{os.getpid()}-{self._hoisted}", src_dir_fd=parent, dst_dir_fd=self._top)
                return True
            found = len(self.left)
            self._empty(directory, where, depth + 1)
        finally:
            os.close(directory)
        if len(self.left) > found:
            return False
        os.rmdir(name, dir_fd=parent)
        return True


def _remove_if_empty(parent: int, name: str) -> bool:
    """Remove a directory that is empty; says False when it is not.

    Raises:
        OSError: It cannot be removed; EBUSY when something is mounted there, on the same device included.
    """
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError as problem:
        if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _open(name: str, parent: int) -> int:
    """Open a directory for reading and make it one that may be emptied."""
    try:
        directory = os.open(name, _FLAGS, dir_fd=parent)
    except PermissionError:
        _make_accessible(name, parent)
        directory = os.open(name, _FLAGS, dir_fd=parent)
    mode = os.fstat(directory).st_mode
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        with contextlib.suppress(PermissionError):
            os.fchmod(directory, stat.S_IRWXU)
    return directory


def _make_accessible(name: str, parent: int) -> None:
    # A descriptor that only names the directory needs no permission on it, and the path through it follows no link.
    naming = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        Path(f"/proc/self/fd/{naming}").chmod(stat.S_IRWXU)
    finally:
        os.close(naming)


def _reason(problem: OSError) -> str:
    if problem.errno == errno.EBUSY:
        return "something is mounted there"
    return problem.strerror or "cannot be removed"
