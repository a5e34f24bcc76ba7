"""What a 7z archive holds: its header, which stands at the end, compressed itself as a rule.

Everything in it is covered by a CRC-32, and every count is bounded by the bytes that it must take, so that a header of
a few bytes cannot ask for memory.
"""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass, field

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage

MAGIC = b"7z\xbc\xaf\x27\x1c"
#: What is read into memory: a header of about a million files, its parts as many at most. A few kilobytes can unpack to
#: a header that promises anything.
MOST_HEADER = 64 << 20
MOST_FILES, MOST_FOLDERS = 2_000_000, 200_000
# Property numbers.
END, HEADER, PROPERTIES, STREAMS, FILES, PACKED, FOLDERS, SUBSTREAMS = 0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x07, 0x08
SIZE, CRC, FOLDER, UNPACKED, COUNTS = 0x09, 0x0A, 0x0B, 0x0C, 0x0D
EMPTY, EMPTY_FILE, ANTI, NAMES = 0x0E, 0x0F, 0x10, 0x11
MTIME, ATTRIBUTES, ENCODED = 0x14, 0x15, 0x17
_AGAIN = "Compare its size with the original; take the backup again if the original is as bad."
#: More than any program chains.
_MOST_CODERS = 8


def bad(how: str, remedy: str = _AGAIN) -> BackupFailed:
    """The error for bytes that break the format's own rules."""
    return BackupFailed(f"the 7z archive is {how}", remedy=remedy, stage=Stage.UNPACK)


def unread(what: str) -> CouldNotVerify:
    """The error for an archive that nothing is wrong with as far as is known."""
    return CouldNotVerify(
        f"the 7z archive {what}, which is not read here",
        remedy="Let the backup job write plain LZMA2 (7zz a -m0=lzma2), no password; until then test it with 7zz t.",
        stage=Stage.UNPACK,
    )


@dataclass(frozen=True, slots=True)
class Coder:
    """One step of unpacking, by the number of its method."""

    method: bytes
    properties: bytes


@dataclass(slots=True)
class Folder:
    """What is unpacked in one go: the coders from the content to what is stored, and the files one after the other.

    Attributes:
        start: Where its data begins in the archive.
        sizes: Of the files in it.
        crcs: Of the files in it, ``None`` where there is none.
    """

    coders: list[Coder]
    size: int = 0
    crc: int | None = None
    start: int = 0
    packed: int = 0
    sizes: list[int] = field(default_factory=list)
    crcs: list[int | None] = field(default_factory=list)


@dataclass(slots=True)
class File:
    """One entry; times in units of 100 ns since 1601, ``None`` where there is none."""

    name: bytes
    has_data: bool = True
    is_directory: bool = False
    is_anti: bool = False
    mtime: int | None = None
    attributes: int = 0

    @property
    def mode(self) -> int:
        """The mode of Unix, 0 where its attributes hold none."""
        return self.attributes >> 16 if self.attributes & 0x8000 else 0

    @property
    def is_link_of_windows(self) -> bool:
        """Whether it is a link that only Windows understands (a reparse point)."""
        return not self.mode and bool(self.attributes & 0x400)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file; the archiver's own input, too, which ``… | 7zz a -si`` writes as a FIFO."""
        kind = stat.S_IFMT(self.mode)
        regular = kind in (0, stat.S_IFREG) or (kind == stat.S_IFIFO and self.has_data)
        return regular and not (self.is_directory or self.is_anti or self.is_link_of_windows)


class Cursor:
    """Takes numbers off a header.

    Args:
        data: The header.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """So many bytes."""
        piece = self._data[self._at : self._at + size]
        if size < 0 or len(piece) < size:
            raise bad("damaged: its header ends inside a field")
        self._at += size
        return piece

    def rest(self) -> bytes:
        """Everything that is left."""
        return self.take(len(self._data) - self._at)

    def byte(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def number(self) -> int:
        """A number of one to nine bytes; the leading ones of the first say how many follow."""
        first, mask, value = self.byte(), 0x80, 0
        for shift in range(8):
            if not first & mask:
                return value | (first & mask - 1) << 8 * shift
            value |= self.byte() << 8 * shift
            mask >>= 1
        return value

    def count(self, most: int) -> int:
        """How many of something follow, each of which takes a byte at least somewhere in this header."""
        number = self.number()
        if number > len(self._data):
            raise bad("damaged: its header counts more than it can hold")
        if number > most:
            raise unread(f"has more than {most:,} files or blocks")
        return number

    def flags(self, number: int) -> list[bool]:
        """A bit for each."""
        data = self.take((number + 7) // 8)
        return [bool(data[at >> 3] & 0x80 >> (at & 7)) for at in range(number)]

    def defined(self, number: int) -> list[bool]:
        """A bit for each, or a byte that stands for all."""
        return [True] * number if self.byte() else self.flags(number)

    def crcs(self, number: int) -> list[int | None]:
        """A CRC-32 for those that have one."""
        return [int.from_bytes(self.take(4), "little") if has else None for has in self.defined(number)]

    def expect(self, *allowed: int) -> int:
        """The number of the next property, which must be one of these."""
        found = self.number()
        if found not in allowed:
            raise bad(f"damaged: its header holds {found:#x} where it cannot")
        return found


def streams(cursor: Cursor) -> list[Folder]:
    """Read StreamsInfo."""
    packed: tuple[int, list[int]] = (0, [])
    folders: list[Folder] = []
    kind = cursor.expect(PACKED, FOLDERS, SUBSTREAMS, END)
    if kind == PACKED:
        packed, kind = _packed(cursor), cursor.expect(FOLDERS, SUBSTREAMS, END)
    if kind == FOLDERS:
        folders, kind = _folders(cursor), cursor.expect(SUBSTREAMS, END)
    for folder in folders:
        folder.sizes, folder.crcs = [folder.size], [folder.crc]
    if kind == SUBSTREAMS:
        _substreams(cursor, folders)
        cursor.expect(END)
    _place(folders, *packed)
    return folders


def _place(folders: list[Folder], start: int, sizes: list[int]) -> None:
    if len(sizes) != len(folders):
        raise bad("damaged: its header speaks of more or fewer streams than it describes")
    for folder, size in zip(folders, sizes, strict=True):
        folder.start, folder.packed = 32 + start, size
        start += size


def _packed(cursor: Cursor) -> tuple[int, list[int]]:
    start, number, sizes = cursor.number(), cursor.count(MOST_FOLDERS), []
    while (kind := cursor.expect(SIZE, CRC, END)) != END:
        if kind == SIZE:
            sizes = [cursor.number() for _ in range(number)]
        else:
            cursor.crcs(number)
    return start, sizes


def _folders(cursor: Cursor) -> list[Folder]:
    cursor.expect(FOLDER)
    number = cursor.count(MOST_FOLDERS)
    _inline(cursor)
    coded = [_folder(cursor) for _ in range(number)]
    cursor.expect(UNPACKED)
    folders = []
    for coders, order, main in coded:
        sizes = [cursor.number() for _ in coders]
        folders.append(Folder([coders[at] for at in order], sizes[main]))
    while cursor.expect(CRC, END) == CRC:
        for folder, crc in zip(folders, cursor.crcs(number), strict=True):
            folder.crc = crc
    return folders


def _inline(cursor: Cursor) -> None:
    if cursor.byte():
        raise unread("keeps parts of its header elsewhere")


def _folder(cursor: Cursor) -> tuple[list[Coder], list[int], int]:
    """The coders as they stand, their order from the content to what is stored, and which gives the content."""
    number = cursor.number()
    if not 0 < number <= _MOST_CODERS:
        raise bad(f"damaged: its header chains {number} methods")
    coders = [_coder(cursor) for _ in range(number)]
    #: Whose output each one's input is.
    feeds: dict[int, int] = {}
    for _ in range(number - 1):
        into, out = cursor.number(), cursor.number()
        if into >= number or out >= number or into in feeds or out in feeds.values():
            raise bad("damaged: its header chains methods in no order")
        feeds[into] = out
    (main,) = set(range(number)) - set(feeds.values())
    order = [main]
    while order[-1] in feeds:
        order.append(feeds[order[-1]])
    if len(order) != number:
        raise bad("damaged: its header chains methods in a circle")
    return coders, order, main


def _coder(cursor: Cursor) -> Coder:
    flags = cursor.byte()
    method = cursor.take(flags & 0x0F)
    if flags & 0x10:
        raise unread("splits its data over several streams (the method BCJ2)")
    if flags & 0xC0:
        raise bad("damaged: its header sets reserved bits")
    return Coder(method, cursor.take(cursor.number()) if flags & 0x20 else b"")


def _substreams(cursor: Cursor, folders: list[Folder]) -> None:
    kind = cursor.expect(COUNTS, SIZE, CRC, END)
    counts = [1] * len(folders)
    if kind == COUNTS:
        counts, kind = [cursor.count(MOST_FILES) for _ in folders], cursor.expect(SIZE, CRC, END)
    if sum(counts) > MOST_FILES:
        raise unread(f"has more than {MOST_FILES:,} files")
    for folder, number in zip(folders, counts, strict=True):
        sizes = [cursor.number() for _ in range(number - 1)] if kind == SIZE else []
        if (number > 1 and kind != SIZE) or sum(sizes) > folder.size:
            raise bad("damaged: its header divides a stream into parts that do not fit")
        folder.sizes = [*sizes, folder.size - sum(sizes)] if number else []
        folder.crcs = [folder.crc] if number == 1 else [None] * number
    if kind == SIZE:
        kind = cursor.expect(CRC, END)
    if kind == CRC:
        missing = [(folder, at) for folder in folders for at, crc in enumerate(folder.crcs) if crc is None]
        for (folder, at), crc in zip(missing, cursor.crcs(len(missing)), strict=True):
            folder.crcs[at] = crc
        cursor.expect(END)


def files(cursor: Cursor, number: int) -> list[File]:
    """Read FilesInfo, of which the number of files has been taken off already."""
    found = [File(b"") for _ in range(number)]
    empty: list[File] = []
    while (kind := cursor.number()) != END:
        part = Cursor(cursor.take(cursor.number()))
        if kind == EMPTY:
            empty = [each for each, is_empty in zip(found, part.flags(number), strict=True) if is_empty]
            for each in empty:
                each.has_data, each.is_directory = False, True
        elif kind in (EMPTY_FILE, ANTI):
            for each, flag in zip(empty, part.flags(len(empty)), strict=True):
                if kind == ANTI:
                    each.is_anti = flag
                else:
                    each.is_directory = not flag
        elif kind == NAMES:
            _names(part, found)
        elif kind in (MTIME, ATTRIBUTES):
            _numbers(part, found, kind)
    return found


def _names(part: Cursor, found: list[File]) -> None:
    _inline(part)
    rest = part.rest()
    try:
        names = rest.decode("utf-16-le", "surrogatepass").split("\0")
    except UnicodeDecodeError as problem:
        raise bad("damaged: its names are no UTF-16") from problem
    if len(names) != len(found) + 1 or names[-1]:
        raise bad("damaged: it has more or fewer names than files")
    for each, name in zip(found, names, strict=False):
        each.name = _bytes(name)


def _bytes(name: str) -> bytes:
    try:
        return name.encode()
    except UnicodeEncodeError as problem:
        raise bad("damaged: a name holds half a character") from problem


def _numbers(part: Cursor, found: list[File], kind: int) -> None:
    defined = part.defined(len(found))
    _inline(part)
    form = struct.Struct("<Q" if kind == MTIME else "<L")
    for each in (each for each, has in zip(found, defined, strict=True) if has):
        (number,) = form.unpack(part.take(form.size))
        if kind == MTIME:
            each.mtime = number
        else:
            each.attributes = number
