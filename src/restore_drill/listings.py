"""What an incremental archive says its directories held, on its way from the archive's reader to the engine.

A reader that finds such lists (GNU tar ``--listed-incremental``) writes them beside the tree that it unpacks: for the
tree ``NAME`` the file ``NAME.listings``, one record a directory in the archive's order. An engine that puts a chain
together applies them: names that are no longer listed go, directories that were renamed move.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_LENGTHS = struct.Struct(">II")
#: Codes of entries, as in a GNU dumpdir: held in this archive, unchanged and not in it, a directory; moved from, to.
HELD, UNCHANGED, DIRECTORY, SOURCE, TARGET = b"Y", b"N", b"D", b"R", b"T"
#: A name that the archive holds and that not every machine can make: a device, a FIFO.
SPECIAL = b"-"
#: When the directory itself was last changed by its file system's account (``ctime``): seconds since the epoch.
CHANGED = b"@"


class Entry(NamedTuple):
    """One entry of a list: a name in the directory, or for a move a path from the root (``b""``: a place aside)."""

    code: bytes
    name: bytes


class Listing(NamedTuple):
    """What one directory held.

    Attributes:
        directory: Its path from the root, ``b""`` for the root itself.
        body: The entries, each its code and its name, ended by NUL.
    """

    directory: bytes
    body: bytes

    def entries(self) -> Iterator[Entry]:
        """The entries in order."""
        for text in self.body.split(b"\0")[:-1]:
            yield Entry(text[:1], text[1:])

    def path(self, name: bytes) -> bytes:
        """A name in this directory as a path from the root."""
        return self.directory + b"/" + name if self.directory else name


def beside(tree: Path) -> Path:
    """Where the lists of a tree lie."""
    return tree.with_name(f"{tree.name}.listings")


def pack(listing: Listing) -> bytes:
    """A record of the file."""
    return _LENGTHS.pack(len(listing.directory), len(listing.body)) + listing.directory + listing.body


def read(tree: Path) -> Iterator[Listing]:
    """The lists of a tree in the archive's order; none where it has no such file."""
    try:
        file = beside(tree).open("rb")
    except FileNotFoundError:
        return
    with file:
        while lengths := file.read(_LENGTHS.size):
            directory, body = _LENGTHS.unpack(lengths)
            yield Listing(file.read(directory), file.read(body))
