"""Walk a restored tree without following anything, and count what is in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restore_drill.errors import CouldNotVerify
from restore_drill.model import Stage

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: Called with the path of an entry relative to the root, and the entry.
Visit = Callable[[str, "os.DirEntry[str]"], None]


def open_root(root: Path) -> int:
    """A descriptor of the tree's root.

    Raises:
        CouldNotVerify: It is not there.
    """
    try:
        return os.open(root, OPEN_DIRECTORY)
    except OSError as problem:
        raise _unreadable(problem, "") from problem


def walk(root: int, visit: Visit) -> None:
    """Visit every entry below an open directory, parents before what is in them.

    Raises:
        CouldNotVerify: A directory cannot be read.
    """
    _walk(os.dup(root), "", visit)


def _walk(descriptor: int, prefix: str, visit: Visit) -> None:
    try:
        below: list[str] = []
        with os.scandir(descriptor) as entries:
            for entry in entries:
                visit(prefix + entry.name, entry)
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
        for name in below:
            _walk(os.open(name, OPEN_DIRECTORY, dir_fd=descriptor), f"{prefix}{name}/", visit)
    except OSError as problem:
        raise _unreadable(problem, prefix) from problem
    finally:
        os.close(descriptor)


def _unreadable(problem: OSError, path: str) -> CouldNotVerify:
    return CouldNotVerify(
        f"the restored tree cannot be read: {problem.strerror}", stage=Stage.CONTENT, details=(ascii(path),)
    )


@dataclass(slots=True)
class Summary:
    """What a tree holds.

    Attributes:
        links: Symbolic links.
        bytes: Apparent bytes of the regular files; every name of a hard-linked file counts.
        others: Devices, FIFOs and sockets.
        newest: When the newest regular file was modified, in nanoseconds since the epoch.
    """

    files: int = 0
    directories: int = 0
    links: int = 0
    others: int = 0
    bytes: int = 0
    newest: int | None = None

    def count(self, status: os.stat_result) -> None:
        """Take in one entry."""
        kind = status.st_mode
        if stat.S_ISREG(kind):
            self.files += 1
            self.add(status.st_size, status.st_mtime_ns)
        elif stat.S_ISDIR(kind):
            self.directories += 1
        elif stat.S_ISLNK(kind):
            self.links += 1
        else:
            self.others += 1

    def add(self, size: int, modified: int | None) -> None:
        """Take in what some files hold that are counted already, and when the newest was modified."""
        self.bytes += size
        if modified is not None and (self.newest is None or modified > self.newest):
            self.newest = modified

    def facts(self) -> dict[str, Any]:
        """It as JSON values; ``newest`` in seconds since the epoch."""
        return {
            "files": self.files,
            "directories": self.directories,
            "links": self.links,
            "others": self.others,
            "bytes": self.bytes,
            "newest": None if self.newest is None else self.newest / 10**9,
        }


def summarise(root: int) -> Summary:
    """Count what lies below an open directory."""
    summary = Summary()
    walk(root, lambda _path, entry: summary.count(entry.stat(follow_symlinks=False)))
    return summary
