"""Resolve names below a directory, link by link, without ever leaving it.

Every component is looked up relative to an open directory and never through a link, so that a directory or link that
is exchanged meanwhile cannot lead elsewhere (the discipline of ``openat2(2)`` with ``RESOLVE_IN_ROOT``, which the
standard library does not offer; it refuses links that lead outside instead of bending them).
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

#: As in the kernel (path_resolution(7)).
_MAX_LINKS = 40
# O_PATH needs no read permission on the directories that are only passed through (mode 0711).
_PASS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class LeadsOutside(OSError):
    """A link whose target does not lie below the root."""


class NotRegular(OSError):
    """A device, FIFO, socket or directory where a file was expected."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name led: an open directory, the name in it and what stands there; never a link.

    Attributes:
        directory: A descriptor that is closed when the context of :func:`resolve` ends.
        name: ``"."`` when the name led to ``directory`` itself.
    """

    directory: int
    name: str
    status: os.stat_result


@contextmanager
def resolve(root: str, key: str) -> Iterator[Place]:
    """Find what a name below ``root`` stands for, following links that stay inside.

    Raises:
        LeadsOutside: A link, or the name itself, leads out of the root.
        OSError: As ``open`` and ``stat`` raise it; ``ELOOP`` after 40 links.
    """
    with ExitStack() as opened:
        walk = _Walk(root, opened)
        yield walk.to(key)


@contextmanager
def directory(root: str, key: str) -> Iterator[int]:
    """Open a directory below ``root`` for listing.

    Raises:
        OSError: As :func:`resolve`; ``ENOTDIR`` when it is something else.
    """
    with resolve(root, key) as place:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(place.name, flags, dir_fd=place.directory)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def open_file(root: str, key: str) -> int:
    """Open a regular file below ``root`` for reading; its access time is left alone where that is allowed.

    Raises:
        NotRegular: It is something else, which is not opened (opening a tape rewinds it, a FIFO waits).
        OSError: As :func:`resolve`.
    """
    with resolve(root, key) as place:
        if not stat.S_ISREG(place.status.st_mode):
            raise NotRegular(errno.EINVAL, kind_of(place.status.st_mode))
        try:
            descriptor = os.open(place.name, _READ | getattr(os, "O_NOATIME", 0), dir_fd=place.directory)
        except PermissionError:  # O_NOATIME is for owners only (open(2))
            descriptor = os.open(place.name, _READ, dir_fd=place.directory)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise NotRegular(errno.EINVAL, kind_of(status.st_mode))
    return descriptor


def kind_of(mode: int) -> str:
    """What a file is, in words."""
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a character device",
        stat.S_IFBLK: "a block device",
        stat.S_IFLNK: "a symbolic link",
    }
    return kinds.get(stat.S_IFMT(mode), "not a regular file")


class _Walk:
    """One resolution: the chain of directories from the root to where it has come."""

    def __init__(self, root: str, opened: ExitStack) -> None:
        self._root = root
        self._opened = opened
        # The root itself may be reached through links: it is the one name that is trusted.
        self._chain = [self._open(root, _PASS, None)]
        self._links = 0

    def to(self, key: str) -> Place:
        """Walk to a name."""
        pending = deque(key.split("/"))
        while pending:
            part = pending.popleft()
            if part in ("", "."):
                continue
            if part == "..":
                self._up()
                continue
            status = os.stat(part, dir_fd=self._chain[-1], follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                pending.extendleft(reversed(self._target(part)))
            elif not any(piece not in ("", ".") for piece in pending):
                return Place(self._chain[-1], part, status)
            else:
                self._chain.append(self._open(part, _PASS | os.O_NOFOLLOW, self._chain[-1]))
        return Place(self._chain[-1], ".", os.fstat(self._chain[-1]))

    def _open(self, name: str, flags: int, parent: int | None) -> int:
        descriptor = os.open(name, flags, dir_fd=parent)
        self._opened.callback(os.close, descriptor)
        return descriptor

    def _up(self) -> None:
        if len(self._chain) == 1:
            raise LeadsOutside(errno.EXDEV, "leads outside")
        self._chain.pop()

    def _target(self, link: str) -> list[str]:
        self._links += 1
        if self._links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = os.readlink(link, dir_fd=self._chain[-1])
        if not target.startswith("/"):
            return target.split("/")
        for root in {self._root, os.path.realpath(self._root)}:
            if f"{target}/".startswith(f"{root.rstrip('/')}/"):
                del self._chain[1:]
                return target[len(root.rstrip("/")) :].split("/")
        raise LeadsOutside(errno.EXDEV, "leads outside")
