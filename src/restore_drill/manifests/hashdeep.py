"""What ``hashdeep`` writes: a header that names the columns, then size, digests and name of each file.

Source: hashdeep(1) and the output of hashdeep 4.4. Names are absolute unless ``-l`` is given; those below the directory
that it was started in (``## Invoked from:``) are taken as relative to it. It writes a name with a newline over two
lines, which not even hashdeep reads back: such a manifest is refused.
"""

from __future__ import annotations

import re
from typing import ClassVar

from restore_drill.errors import BackupFailed
from restore_drill.manifests.base import Entry, Listing, Manifest, ManifestFormat, Source, algorithm, entry_of, unusable

_MAGIC = b"%%%% HASHDEEP-1."
_INVOKED = "## Invoked from: "
_REMEDY = "Write it inside the directory: cd DIR && hashdeep -r -l . > ../hashes && mv ../hashes hashdeep.txt."
_HEX = re.compile(r"[0-9A-Fa-f]+")


class HashdeepManifest(ManifestFormat):
    """``hashdeep -r -l .``."""

    name: ClassVar[str] = "hashdeep"
    names: ClassVar[tuple[str, ...]] = ("hashdeep.txt", "hashdeep.sums", ".hashdeep")

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """By its first line."""
        return head.startswith(_MAGIC)

    def read(self, source: Source) -> Manifest:
        """Read the header and all lines."""
        listing = Listing(source, _REMEDY)
        columns: list[str] = []
        invoked = ""
        for number, line in source.lines(_REMEDY):
            if number == 1:
                continue
            if line.startswith("%%%% "):
                columns = _columns(line, columns)
            elif line.startswith("##"):
                invoked = line[len(_INVOKED) :].rstrip("/") + "/" if line.startswith(_INVOKED) else invoked
            elif line:
                name, entry = _entry(line, number, columns)
                listing.add(name.removeprefix(invoked) if invoked else name, entry)
        if not listing.entries:
            raise _malformed("it lists no file")
        return Manifest(source.name, listing.entries, notes=listing.notes)


def _columns(line: str, before: list[str]) -> list[str]:
    columns = line.removeprefix("%%%% ").split(",")
    if before or columns[0] != "size" or columns[-1] != "filename" or len(columns) < 3:
        raise _malformed("its header does not name the columns size, digests and filename")
    return columns


def _entry(line: str, number: int, columns: list[str]) -> tuple[str, Entry]:
    size, *values = line.split(",", len(columns) - 1)
    if not columns or len(values) != len(columns) - 1 or not size.isdecimal() or not size.isascii():
        raise _malformed(f"line {number} is none of hashdeep's")
    name = values.pop()
    known = []
    for column, digest in zip(columns[1:-1], values, strict=True):
        if not _HEX.fullmatch(digest):
            raise _malformed(f"line {number} has no {column} digest")
        if (found := algorithm(column)) is None:
            continue
        if len(digest) != found.length:
            raise _malformed(f"line {number} has an {column} digest of another length")
        known.append((found.name, digest.lower()))
    if not known:
        raise unusable(f"it records {'+'.join(columns[1:-1])} only, which cannot be computed here", remedy=_REMEDY)
    return name, entry_of(known, size=int(size))


def _malformed(why: str) -> BackupFailed:
    return unusable(why, remedy=_REMEDY)
