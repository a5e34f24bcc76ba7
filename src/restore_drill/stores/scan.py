"""List a directory tree in order and in bounded memory, however many files a directory holds."""

from __future__ import annotations

import errno
import heapq
import os
import stat
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from typing import Any

from restore_drill.stores.beneath import LeadsOutside, directory, resolve

#: Names kept at a time. A larger directory is read again for each further batch of this size.
BATCH = 20_000
#: Names read, and files looked at, in one call that is watched over.
_SLICE = 1_000

#: (sort key, name, whether it is a directory)
_Name = tuple[bytes, str, bool]
Ask = Callable[..., Any]


def walk(root: str, folder: str, start: str, ask: Ask) -> Generator[tuple[str, os.stat_result], None, None]:
    """Every regular file below a folder, in the byte order of the keys.

    Args:
        root: The directory that keys are relative to.
        folder: Where to begin; ``""`` is the root.
        start: What names in that folder must begin with.
        ask: Called with a key, a function and its arguments; an ``OSError`` it raises means that this key is absent.
    """
    levels = [_entries(root, folder, start, ask)]
    while levels:
        entry = next(levels[-1], None)
        if entry is None:
            levels.pop()
        elif stat.S_ISDIR(entry[1].st_mode):
            levels.append(_entries(root, entry[0], "", ask))
        else:
            yield entry


def _entries(root: str, folder: str, start: str, ask: Ask) -> Iterator[tuple[str, os.stat_result]]:
    """The files and directories in a folder."""
    after = b""
    while True:
        try:
            batch = heapq.nsmallest(BATCH, _names(root, folder, start, after, ask))
            names = iter(batch)
            while some := list(islice(names, _SLICE)):
                yield from ask(folder, _look, root, folder, some)
        except OSError:
            return
        if len(batch) < BATCH:
            return
        after = batch[-1][0]


def _names(root: str, folder: str, start: str, after: bytes, ask: Ask) -> Iterator[_Name]:
    scan = ask(folder, _Scan, root, folder)
    try:
        while (some := ask(folder, scan.more, start, after)) is not None:
            yield from some
    finally:
        scan.close()


class _Scan:
    """A folder being read."""

    def __init__(self, root: str, folder: str) -> None:
        self._top = not folder
        with directory(root, folder) as descriptor:
            self._entries = os.scandir(descriptor)  # keeps a descriptor of its own

    def more(self, start: str, after: bytes) -> list[_Name] | None:
        """The next names that matter, ``None`` at the end."""
        some = list(islice(self._entries, _SLICE))
        if not some:
            return None
        return [
            name for entry in some if entry.name.startswith(start) and (name := self._name(entry)) and name[0] > after
        ]

    def _name(self, entry: os.DirEntry[str]) -> _Name | None:
        name = entry.name
        if entry.is_dir(follow_symlinks=False):
            # Sorted as "name/": the order that keys below it have among the keys of files.
            return None if self._top and name == "lost+found" else (os.fsencode(name) + b"/", name, True)
        if entry.is_file(follow_symlinks=False) or entry.is_symlink():
            return os.fsencode(name), name, False
        return None

    def close(self) -> None:
        """Let go of the folder."""
        self._entries.close()


def _look(root: str, folder: str, names: list[_Name]) -> list[tuple[str, os.stat_result]]:
    """What stands at each name; links are replaced by the files they lead to, or left out."""
    found = []
    with directory(root, folder) as here:
        for _, name, is_directory in names:
            key = f"{folder}/{name}" if folder else name
            status = _status(root, key, here, name)
            if status and (stat.S_ISREG(status.st_mode) or (is_directory and stat.S_ISDIR(status.st_mode))):
                found.append((key, status))
    return found


def _status(root: str, key: str, here: int, name: str) -> os.stat_result | None:
    try:
        status = os.stat(name, dir_fd=here, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            with resolve(root, key) as place:
                return place.status
    except (FileNotFoundError, NotADirectoryError, LeadsOutside):
        return None
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            return None
        raise
    return status
