"""tar, read as a stream: v7, ustar, GNU, star and pax, by a reader that goes on to the last byte.

GNU tar, bsdtar and Python's ``tarfile`` take a cut at a member's boundary, a zero block in the middle or a damaged
header for the end, some of them silently. This reader accepts an archive only when two zero blocks end it and nothing
but zeros follows. A single zero block before the very end is accepted with a note, as GNU tar does ("A lone zero
block"): nothing can be missing after it that would show.

Source: POSIX.1-2017 ``pax``, the GNU tar manual ("Tar Internals"), libarchive's tar(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar

from restore_drill.archives.base import Archive
from restore_drill.archives.blocks import CUT, Blocks
from restore_drill.archives.dumpdir import MOST_DUMPDIR_BYTES
from restore_drill.archives.dumpdir import parse as parse_dumpdir
from restore_drill.archives.extended import MOST_NAME_BYTES, MOST_PAX_BYTES, Extents, Extra, old_gnu_map, pax_map
from restore_drill.archives.headers import BLOCK, ZERO_BLOCK, Header, damaged, gnu_changed, is_header, parse
from restore_drill.archives.members import ATTRIBUTES_DROPPED, SPECIAL, Member, Tree, Type
from restore_drill.archives.names import normalise
from restore_drill.errors import BackupFailed
from restore_drill.model import Stage

_FILES = frozenset((b"0", b"\0", b"7"))
_TYPES = {
    b"1": Type.HARDLINK, b"2": Type.SYMLINK, b"3": Type.CHARACTER, b"4": Type.BLOCK,
    b"5": Type.DIRECTORY, b"6": Type.FIFO, b"D": Type.DIRECTORY,
}  # fmt: skip
#: Headers that go before a member and speak of it.
_MOST_AHEAD = 64
_NANO = 10**9
_NUMBERED = re.compile(rb" Volume [0-9]+\Z")


class TarArchive(Archive):
    """The tape archive."""

    name: ClassVar[str] = "tar"
    suffixes: ClassVar[tuple[str, ...]] = (".tar",)

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """Whether the first block has a checksum that fits, or is the zero block of an archive without members."""
        first = head[:BLOCK]
        return first == ZERO_BLOCK or is_header(first)

    def unpack(self, chunks: Iterator[bytes], tree: Tree) -> None:
        """Write every member of the stream into the tree."""
        _Reading(Blocks(chunks), tree).run()


class _Reading:
    """One pass over one stream."""

    def __init__(self, blocks: Blocks, tree: Tree) -> None:
        self._blocks = blocks
        self._tree = tree
        self._global = Extra()
        self._extra: Extra | None = None
        self._long: dict[bytes, bytes] = {}
        self._ahead = 0
        #: A label says that this is one volume of several, as GNU tar writes it with -M -V.
        self._is_volume = False

    def run(self) -> None:
        try:
            self._run()
        except BackupFailed as problem:
            if not (self._is_volume and self._blocks.exhausted):
                raise
            raise _multi_volume() from problem

    def _run(self) -> None:
        if not self._blocks.peek():
            raise _failed("the archive is empty (0 bytes)")
        while True:
            block = self._blocks.next()
            if block == ZERO_BLOCK:
                self._none_ahead()
                if self._ends():
                    return
            elif len(block) < BLOCK:
                raise self._no_end(block)
            elif not is_header(block):
                raise damaged("is damaged: its checksum does not fit", self._blocks.offset - BLOCK)
            else:
                self._header(parse(block), block)

    def _header(self, header: Header, block: bytes) -> None:
        kind = header.type
        if kind in _FILES and not self._ahead:
            self._file(header, header.name, header.size)
        elif kind in (b"x", b"X", b"g"):
            self._extended(kind, header.size)
        elif kind in (b"L", b"K"):
            self._long[kind] = self._small(header.size, MOST_NAME_BYTES).partition(b"\0")[0]
            self._announce()
        elif kind == b"V":
            self._pass_over(header.size)
            self._label(header.name)
        elif kind in (b"A", b"E"):
            self._pass_over(header.size)
            self._tree.note(ATTRIBUTES_DROPPED)
        elif kind == b"M":
            raise _multi_volume()
        elif kind == b"N":
            raise damaged("is of a kind (old GNU long names) that cannot be restored safely")
        else:
            self._described(header, block)

    def _extended(self, kind: bytes, size: int) -> None:
        data = self._small(size, MOST_PAX_BYTES)
        if kind == b"g":
            self._global.update(data)
            extra = self._global
        else:
            extra = self._extra = self._extra or Extra(dict(self._global.values))
            extra.update(data)
        if any(key.startswith(b"GNU.volume.") and key != b"GNU.volume.label" for key in extra.values):
            raise _multi_volume()
        if b"GNU.volume.label" in extra.values:
            self._label(extra.values.pop(b"GNU.volume.label"))
        self._announce()

    def _label(self, text: bytes) -> None:
        self._tree.note("volume labels passed over")
        self._is_volume = self._is_volume or bool(_NUMBERED.search(text))

    def _announce(self) -> None:
        self._ahead += 1
        if self._ahead > _MOST_AHEAD:
            raise damaged(f"is one of more than {_MOST_AHEAD} that speak of one member")

    def _none_ahead(self) -> None:
        if self._long or self._extra:
            raise damaged("speaks of a member that does not follow")
        self._ahead = 1 if self._global.values else 0

    def _described(self, header: Header, block: bytes) -> None:
        """A member that is no plain file, or that headers before it speak of."""
        extra = self._extra or Extra(dict(self._global.values))
        values, long = extra.values, self._long
        name = values.get(b"GNU.sparse.name") or values.get(b"path") or long.get(b"L") or header.name
        target = values.get(b"linkpath") or long.get(b"K") or header.target
        header = header._replace(uid=extra.integer(b"uid", header.uid), gid=extra.integer(b"gid", header.gid))
        size, mtime = extra.integer(b"size", header.size), extra.mtime(header.mtime * _NANO)
        kind = _TYPES.get(header.type)
        if kind is None:
            self._file(header, name, size, extra, mtime, block)
        else:
            changed = extra.changed() or gnu_changed(block)
            self._without_data(header, kind, size, name, values.get(b"GNU.dumpdir"), changed)
            member = Member(name, kind, 0, header.mode, mtime, header.uid, header.gid, target, header.device)
            self._tree.add(member._replace(attributes=extra.attributes))
            if kind in SPECIAL and self._tree.listings is not None:
                self._tree.listings.add_special(normalise(name))
        self._extra, self._long = None, {}
        self._none_ahead()

    def _file(
        self, header: Header, name: bytes, size: int, extra: Extra | None = None, mtime: int | None = None,
        block: bytes = b"",
    ) -> None:  # fmt: skip
        mtime = header.mtime * _NANO if mtime is None else mtime
        if name[-1:] == b"/":
            self._without_data(header, Type.DIRECTORY, size, name)
            self._tree.add(Member(name, Type.DIRECTORY, 0, header.mode, mtime, header.uid, header.gid))
            return
        extents, apparent = None, size
        if header.type not in _FILES and header.type != b"S":
            self._tree.note("members of an unknown type, taken as files")
        if extra is not None and (sparse := self._holes(header, extra, block)):
            extents, taken = sparse
            size, apparent = size - taken, extents.size
            if extents.stored != size:
                raise damaged("has a map of holes that contradicts the data's size")
        data = self._blocks.data(size)
        owner, attributes = (header.uid, header.gid), extra.attributes if extra else {}
        self._tree.add(
            Member(name, Type.FILE, apparent, header.mode, mtime, *owner, b"", (0, 0), size, extents, attributes), data
        )
        if type(data) is not tuple:
            _exhaust(data)

    def _holes(self, header: Header, extra: Extra, block: bytes) -> tuple[Extents, int] | None:
        if header.type == b"S":
            return old_gnu_map(block, self._whole_block), 0
        return pax_map(extra, self._whole_block)

    def _whole_block(self) -> bytes:
        block = self._blocks.next()
        if len(block) < BLOCK:
            raise _failed("the archive ends inside a map of holes")
        return block

    def _without_data(
        self, header: Header, kind: Type, size: int, name: bytes, dumpdir: bytes | None = None, changed: int = 0
    ) -> None:
        """Take in what a member that needs no data brings along.

        Old archivers state the size of a linked file without its data; POSIX allows the data after a hard link; the
        directories of an incremental GNU archive hold a list. What follows tells the first from the others.
        """
        if header.type == b"D":
            dumpdir, size = self._small(size, MOST_DUMPDIR_BYTES), 0
        if dumpdir and kind is Type.DIRECTORY:
            self._tree.list(parse_dumpdir(name, dumpdir, changed))
        if not size or is_header(following := self._blocks.peek()) or following in (ZERO_BLOCK, b""):
            return
        if kind is not Type.HARDLINK:
            raise damaged("gives data to a member that cannot have any")
        self._tree.note("hard links that repeat their data")
        self._pass_over(size)

    def _pass_over(self, size: int) -> None:
        _exhaust(self._blocks.data(size))

    def _small(self, size: int, most: int) -> bytes:
        if size > most:
            raise damaged(f"is followed by {size} bytes of names or attributes, more than {most}")
        return b"".join(self._blocks.data(size))

    def _ends(self) -> bool:
        """Whether nothing but zeros follows the zero block that was just read."""
        end = self._blocks.offset - BLOCK
        if not self._blocks.peek():
            self._tree.note("ended by a lone zero block")
            return True
        if not self._blocks.skip_zeros():
            return True
        self._follows(end)
        return False

    def _follows(self, end: int) -> None:
        """Something other than zeros lies after the end: read on where that is allowed."""
        another = is_header(self._blocks.peek())
        if another and self._tree.limits.concatenated:
            self._tree.note("archives that follow the first one")
            return
        if another:
            raise _failed(
                f"zero blocks at byte {end} end the tar archive, but another archive or more members follow",
                "If archives are written one after the other on purpose, set limits.concatenated: true; else it was "
                "overwritten with zeros in the middle: take another copy.",
            )
        raise _failed(
            f"something that is no archive follows the end of the tar archive (at byte {self._blocks.offset})",
            "Find out what appended to it, or which part of it was overwritten; take another copy.",
        )

    def _no_end(self, block: bytes) -> BackupFailed:
        if block.strip(b"\0"):
            return _failed("the archive ends inside a header")
        end = self._blocks.offset
        return _failed(f"the tar archive ends without end-of-archive blocks (at byte {end}): members may be missing")


def _exhaust(data: Iterable[bytes | memoryview]) -> None:
    for _ in data:
        pass


def _multi_volume() -> BackupFailed:
    return _failed(
        "it is one part of a multi-volume archive, which only the program that wrote it can read with all its parts",
        "Back up to one archive (tar without -M); where a file must be smaller, cut that one (split -b) and name the "
        "pieces in the catalogue.",
    )


def _failed(cause: str, remedy: str = CUT) -> BackupFailed:
    return BackupFailed(cause, remedy=remedy, stage=Stage.UNPACK)
