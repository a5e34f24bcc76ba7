"""Tar streams for an engine's archive interface, written and read without holding more than a block."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

_BLOCK: Final = 512
_CHUNK: Final = 1 << 20
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def directories(entries: Iterable[tuple[str, int, int, int]]) -> bytes:
    """An archive of empty directories: (path without leading slash, mode, user, group)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, mode, user, group in entries:
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, user, group
            archive.addfile(entry)
    return stream.getvalue()


def tree(path: Path, name: str) -> Iterator[bytes]:
    """An archive of a file or directory, as the engine is sent it: owned by root, readable by all, links as links.

    What is neither a file nor a directory nor a link is left out, as it is by a payload.

    Args:
        path: What is sent; its parent is trusted.
        name: What it is called in the archive.

    Raises:
        OSError: It cannot be read, or changed while it was.
    """
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield from _member(parent, path.name, PurePosixPath(name))
    finally:
        os.close(parent)
    yield bytes(2 * _BLOCK)


def _member(parent: int, entry: str, name: PurePosixPath) -> Iterator[bytes]:
    state = os.stat(entry, dir_fd=parent, follow_symlinks=False)
    kind = stat.S_IFMT(state.st_mode)
    if kind == stat.S_IFLNK:
        yield _header(name, tarfile.SYMTYPE, 0o777, link=os.readlink(entry, dir_fd=parent))
    elif kind == stat.S_IFDIR:
        yield _header(name, tarfile.DIRTYPE, 0o755)
        directory = os.open(entry, _OPEN | os.O_DIRECTORY, dir_fd=parent)
        try:
            for child in sorted(os.listdir(directory)):  # noqa: PTH208 - of a descriptor
                yield from _member(directory, child, name / child)
        finally:
            os.close(directory)
    elif kind == stat.S_IFREG:
        yield from _file(parent, entry, name, state.st_mode)


def _file(parent: int, entry: str, name: PurePosixPath, mode: int) -> Iterator[bytes]:
    descriptor = os.open(entry, _OPEN, dir_fd=parent)
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - opened above, without following a link
        size = os.fstat(descriptor).st_size
        yield _header(name, tarfile.REGTYPE, 0o444 | (0o111 if mode & 0o111 else 0), size=size)
        left = size
        while left:
            chunk = file.read(min(_CHUNK, left))
            if not chunk:
                raise OSError(f"{name} became shorter while it was sent")
            left -= len(chunk)
            yield chunk
        yield bytes(-size % _BLOCK)


def _header(name: PurePosixPath, kind: bytes, mode: int, *, size: int = 0, link: str = "") -> bytes:
    entry = tarfile.TarInfo(str(name))
    entry.type, entry.mode, entry.size, entry.linkname = kind, mode, size, link
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def first_file(chunks: Iterable[bytes], limit: int) -> bytes:
    """The content of the first file of an archive that an engine sends, up to a limit in bytes.

    The rest is not read: whoever calls this closes the answer.
    """
    received = bytearray()
    for chunk in chunks:
        received += chunk
        if len(received) > limit + (64 << 10):
            break
    with contextlib.suppress(tarfile.TarError), tarfile.open(fileobj=io.BytesIO(received), mode="r:") as archive:
        for entry in archive:
            if entry.isreg() and (content := archive.extractfile(entry)):
                return content.read(limit)
    return b""


def open_to_all(path: Path) -> None:
    """Let every account read a file or directory and all in it (``chmod a+rX``); links are not followed.

    Raises:
        OSError: It is not ours to change.
    """
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _open_to_all(parent, path.name)
    finally:
        os.close(parent)


def _open_to_all(parent: int, entry: str) -> None:
    state = os.stat(entry, dir_fd=parent, follow_symlinks=False)
    if stat.S_ISREG(state.st_mode):
        more = 0o444 | (0o111 if state.st_mode & 0o111 else 0)
        _add_mode(parent, entry, _OPEN, state.st_mode, more)
    elif stat.S_ISDIR(state.st_mode):
        _add_mode(parent, entry, _OPEN | os.O_DIRECTORY, state.st_mode, 0o755)
        directory = os.open(entry, _OPEN | os.O_DIRECTORY, dir_fd=parent)
        try:
            with os.scandir(directory) as children:
                for child in children:
                    _open_to_all(directory, child.name)
        finally:
            os.close(directory)


def _add_mode(parent: int, entry: str, flags: int, mode: int, more: int) -> None:
    """Change the mode of what was looked at, and of nothing that took its place."""
    if mode & more == more:
        return
    # A directory or file that we own may be closed to ourselves; the parent is held open, and nobody else's.
    if not mode & stat.S_IRUSR:
        os.chmod(f"/proc/self/fd/{parent}/{entry}", stat.S_IMODE(mode) | more)  # noqa: PTH101
        return
    descriptor = os.open(entry, flags, dir_fd=parent)
    try:
        os.fchmod(descriptor, stat.S_IMODE(mode) | more)
    finally:
        os.close(descriptor)
