"""Dumpdirs: the lists of directories that GNU tar's ``--listed-incremental`` writes, checked before one is acted on.

A dumpdir is a run of NUL-terminated strings, ended by an empty one; the first byte of each says what it is. ``Y``,
``N`` and ``D`` name something in the directory. ``R`` and ``T`` are the path that a directory had and the one it has
now; an empty path stands for a temporary directory, which an ``X`` before announces (a cycle of names takes one).

Source: the GNU tar manual, "Dumpdir"; ``src/incremen.c`` of GNU tar 1.34.
"""

from __future__ import annotations

import os
from pathlib import Path

from restore_drill.archives.headers import damaged
from restore_drill.archives.names import MAX_NAME, hostile, normalise
from restore_drill.archives.writing import full
from restore_drill.listings import CHANGED, DIRECTORY, HELD, SOURCE, SPECIAL, TARGET, UNCHANGED, Listing, beside, pack
from restore_drill.quantities import format_size

#: A directory of two million names takes about this much.
MOST_DUMPDIR_BYTES = 64 << 20
_NAMES = (HELD, UNCHANGED, DIRECTORY)
_TEMPORARY = b"X"
#: Bytes written between two looks at the free space.
_LOOK_EVERY = 32 << 20


def parse(directory: bytes, data: bytes, changed: int = 0) -> Listing:
    """Check a dumpdir, and give it in the form that engines read.

    Args:
        directory: The member's name as it stands in the archive.
        data: The dumpdir.
        changed: The directory's ``ctime`` in seconds since the epoch, 0 when the archive does not state it.

    Raises:
        BackupFailed: It is malformed, or names something outside its directory or the tree (stage ``unpack``).
    """
    if data[-1:] != b"\0" or (data != b"\0" and data[-2:] != b"\0\0"):
        raise damaged("lists a directory without an end")
    texts = data[:-1].split(b"\0")[:-1]
    if b"" in texts:
        raise damaged("lists a directory that goes on behind its end")
    body: list[bytes] = []
    aside, expected = False, b""
    for text in texts:
        code, name = text[:1], text[1:]
        if bool(expected) is not (code == TARGET):
            raise damaged("lists half a renaming of a directory")
        if code in _NAMES:
            _check_name(name)
        elif code == _TEMPORARY:
            _check_place(name)
            if aside:
                raise damaged("lists one temporary directory upon another")
            aside = True
            continue
        elif code in (SOURCE, TARGET):
            if not name and not aside:
                raise damaged("lists a renaming that has no name")
            if not name and code == SOURCE:
                aside = False
            name = _path(name)
            expected = TARGET if code == SOURCE else b""
        else:
            raise damaged("lists a directory's entry of an unknown kind")
        body += (code, name, b"\0")
    if expected:
        raise damaged("lists half a renaming of a directory")
    if changed > 0:
        body += (CHANGED, b"%d" % changed, b"\0")
    return Listing(normalise(directory), b"".join(body))


def _check_name(name: bytes) -> None:
    if not name or b"/" in name or name in (b".", b"..") or len(name) > MAX_NAME:
        raise hostile("the list of a directory names something that is not in it", name)


def _check_place(name: bytes) -> None:
    """Where GNU tar would make a temporary directory; it also writes absolute ones. No place is taken from it here."""
    if b".." in name.split(b"/"):
        raise hostile("the list of a directory wants a temporary directory outside the tree", name)


def _path(name: bytes) -> bytes:
    if not name:
        return name
    path = normalise(name)
    if not path:
        raise hostile("the list of a directory renames the root of the tree", name)
    return path


class Listings:
    """The file of lists beside a tree; made when the first list comes.

    Args:
        tree: The root of the tree that is written.
        reserve: Bytes that must stay free on the disk.
    """

    def __init__(self, tree: Path, reserve: int) -> None:
        self._path = beside(tree)
        self._reserve = reserve
        self._descriptor = -1
        self._look_in = 0

    def add(self, listing: Listing) -> None:
        """Write one more.

        Raises:
            CouldNotVerify: The disk is too small.
        """
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        record = memoryview(pack(listing))
        self._look_in -= len(record)
        if self._look_in < 0:
            self._look_in = _LOOK_EVERY
            status = os.fstatvfs(self._descriptor)
            if status.f_bavail * status.f_frsize < self._reserve + len(record):
                raise full(f"less than {format_size(self._reserve)} would stay free")
        while record:
            record = record[os.write(self._descriptor, record) :]

    def add_special(self, path: bytes) -> None:
        """Remember a device or FIFO where there are lists: one may name it although it could not be made here."""
        if self._descriptor >= 0:
            directory, _, name = path.rpartition(b"/")
            self.add(Listing(directory, SPECIAL + name + b"\0"))

    def close(self) -> None:
        """Close the file; may be called again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
