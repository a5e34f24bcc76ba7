"""List a directory tree in order and in bounded memory, however many files a directory holds."""

from __future__ import annotations

import errno
import heapq
import os
import stat
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from typing import Any

from restore_drill.errors import CouldNotVerify
from restore_drill.stores.base import Oddity
from restore_drill.stores.beneath import LeadsOutside, directory, kind_of, resolve

#: Names kept at a time. A larger directory is read again for each further batch of this size.
BATCH = 20_000
#: Names read, and files looked at, in one call that is watched over.
_SLICE = 1_000

#: (sort key, name)
_Name = tuple[bytes, str]
#: Key, what stands there, and in words what keeps it from being an object (``""`` of files and directories)
_Entry = tuple[str, os.stat_result, str]
Ask = Callable[..., Any]


def walk(
    root: str,
    folder: str,
    start: str,
    ask: Ask,
    odd: Callable[[Oddity], None],
    closed: Callable[[str, str], None] | None = None,
) -> Generator[tuple[str, os.stat_result], None, None]:
    """Every regular file below a folder, in the byte order of the keys.

    Args:
        root: The directory that keys are relative to.
        folder: Where to begin; ``""`` is the root.
        start: What names in that folder must begin with.
        ask: Called with a key, a function and its arguments; an ``OSError`` it raises means that this key is absent.
        odd: Told of everything else: directories too, which are walked through nevertheless.
        closed: Told of a directory below that may not be read, and why; left out, that is an error.

    Raises:
        CouldNotVerify: Something denies access or does not answer.
    """
    levels = [(folder, _entries(root, folder, start, ask))]
    while levels:
        here, entries = levels[-1]
        try:
            entry = next(entries, None)
        except CouldNotVerify as problem:
            if closed is None or here == folder or not isinstance(problem.__cause__, PermissionError):
                raise
            closed(here, problem.cause)
            entry = None
        if entry is None:
            levels.pop()
            continue
        key, status, what = entry
        if what:
            odd(Oddity(key, status.st_mtime, what))
        elif stat.S_ISDIR(status.st_mode):
            odd(Oddity(key, status.st_mtime, kind_of(status.st_mode), is_directory=True))
            levels.append((key, _entries(root, key, "", ask)))
        else:
            yield key, status


def _entries(root: str, folder: str, start: str, ask: Ask) -> Iterator[_Entry]:
    """What stands in a folder."""
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
            return None if self._top and name == "lost+found" else (os.fsencode(name) + b"/", name)
        return os.fsencode(name), name

    def close(self) -> None:
        """Let go of the folder."""
        self._entries.close()


def _look(root: str, folder: str, names: list[_Name]) -> list[_Entry]:
    """What stands at each name; links are replaced by the files they lead to."""
    found = []
    with directory(root, folder) as here:
        for _, name in names:
            key = f"{folder}/{name}" if folder else name
            try:
                status = os.stat(name, dir_fd=here, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                continue  # gone since it was listed
            if stat.S_ISLNK(status.st_mode):
                found.append(_follow(root, key, status))
            else:
                is_odd = not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode))
                found.append((key, status, kind_of(status.st_mode) if is_odd else ""))
    return found


def _follow(root: str, key: str, link: os.stat_result) -> _Entry:
    """The file that a link leads to, or the link itself and what is wrong with it."""
    try:
        with resolve(root, key) as place:
            status = place.status
    except LeadsOutside:
        return key, link, "a symbolic link that leads out of the store"
    except (FileNotFoundError, NotADirectoryError):
        return key, link, "a symbolic link to nothing"
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            return key, link, "a symbolic link that leads in a circle"
        raise
    if stat.S_ISREG(status.st_mode):
        return key, status, ""
    return key, link, f"a symbolic link to {kind_of(status.st_mode)}"
