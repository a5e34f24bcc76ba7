"""Archives of ``pg_dump``: their header, table of contents and data, read without PostgreSQL.

The layout is that of PostgreSQL's ``pg_backup_archiver.c`` (``ReadHead``, ``ReadToc``), ``pg_backup_custom.c`` and
``pg_backup_directory.c``; versions 1.10 (PostgreSQL 8.0) to 1.16 (17, 18) differ by fields that were added. Every
length is hostile: nothing is read that the file does not have. Runs inside the sandbox.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO, Final

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage

_NEWEST: Final = (1, 16)
_OLDEST: Final = (1, 10)
_STRINGS: Final = 512 * 2**20
_ENTRIES: Final = 2_000_000
CUSTOM, TAR, DIRECTORY = 1, 3, 5
FORMATS: Final = {CUSTOM: "custom", TAR: "tar", DIRECTORY: "directory"}
_ALGORITHMS: Final = {0: "none", 1: "gzip", 2: "lz4", 3: "zstd"}


@dataclass(slots=True)
class Entry:
    """One line of the table of contents.

    Attributes:
        kind: What it is: ``TABLE``, ``TABLE DATA``, ``ACL``.
        dumper: Whether data belongs to it.
        file: Name of the file that has its data (tar and directory form).
        at: Where its data begins (custom form), 0 where that is not recorded, -1 where it has none.
    """

    number: int
    dumper: bool
    tag: str
    kind: str
    definition: str
    copy: str
    namespace: str
    tablespace: str
    owner: str
    file: str = ""
    at: int = 0


@dataclass(slots=True)
class Archive:
    """What the beginning of an archive says.

    Attributes:
        version: Of the format.
        form: ``custom``, ``tar`` or ``directory``.
        server: Version of the server that was dumped, as it told it.
        program: Version of ``pg_dump``.
        end: Where the table of contents ends in the file.
    """

    version: tuple[int, int, int]
    form: str
    compression: str
    database: str
    server: str
    program: str
    integer: int
    offset: int
    entries: list[Entry] = field(default_factory=list)
    end: int = 0


class Reader:
    """Reads the primitives of the format from a file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._strings = 0
        self.integer = 4
        self.offset = 8
        self.position = 0

    def take(self, size: int) -> bytes:
        """So many bytes."""
        data = self._file.read(size)
        if len(data) != size:
            raise cut("its table of contents breaks off")
        self.position += size
        return data

    def byte(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def number(self) -> int:
        """A sign and its bytes, the lowest first."""
        sign = self.byte()
        value = int.from_bytes(self.take(self.integer), "little")
        return -value if sign else value

    def text(self) -> str | None:
        """A length and its bytes; NULL has a negative length."""
        size = self.number()
        if size < 0:
            return None
        self._strings += size
        if self._strings > _STRINGS:
            raise damaged("its table of contents is longer than any honest one")
        return self.take(size).decode(errors="replace")

    def string(self) -> str:
        """The same, NULL as an empty one."""
        return self.text() or ""


def read(file: IO[bytes], *, contents: bool = True) -> Archive:
    """Read an archive's header and its table of contents.

    Raises:
        BackupFailed: It breaks off, or makes no sense.
        CouldNotVerify: Its version is unknown.
    """
    reader = Reader(file)
    if reader.take(5) != b"PGDMP":
        raise damaged("it does not begin as an archive of pg_dump")
    version = (reader.byte(), reader.byte(), reader.byte())
    if not _OLDEST <= version[:2] <= _NEWEST:
        raise CouldNotVerify(
            f"the archive has version {version[0]}.{version[1]}, and versions {_OLDEST[0]}.{_OLDEST[1]} to "
            f"{_NEWEST[0]}.{_NEWEST[1]} are known here",
            remedy="Dump it with a pg_dump of PostgreSQL 8.0 to 18, or update restore-drill.",
            stage=Stage.RESTORE,
        )
    reader.integer, reader.offset = reader.byte(), reader.byte()
    form = FORMATS.get(reader.byte())
    if form is None or not 1 <= reader.integer <= 8 or not 1 <= reader.offset <= 8:
        raise damaged("its header makes no sense")
    if version >= (1, 15):
        compression = _ALGORITHMS.get(reader.byte(), "an unknown one")
    else:
        compression = "gzip" if reader.number() else "none"
    for _ in range(7):  # when it was made, in the local time of an unknown zone
        reader.number()
    archive = Archive(
        version, form, compression, reader.string(), reader.string(), reader.string(), reader.integer, reader.offset
    )
    if contents:
        count = reader.number()
        if not 0 <= count <= _ENTRIES:
            raise damaged("its table of contents makes no sense")
        archive.entries = [_entry(reader, archive) for _ in range(count)]
    archive.end = reader.position
    return archive


def _entry(reader: Reader, archive: Archive) -> Entry:
    version = archive.version
    number, dumper = reader.number(), reader.number() != 0
    reader.text(), reader.text()  # the object's own numbers
    tag, kind = reader.string(), reader.string()
    if version >= (1, 11):
        reader.number()  # the section, which the kind tells as well
    definition, _, copy = reader.string(), reader.text(), reader.string()
    namespace, tablespace = reader.string(), reader.string()
    if version >= (1, 14):
        reader.text()  # the access method
    if version >= (1, 16):
        reader.number()  # the kind of relation
    owner = reader.string()
    reader.text()  # whether there were OIDs
    while reader.text() is not None:  # what it depends on
        pass
    entry = Entry(number, dumper, tag, kind, definition, copy, namespace, tablespace, owner)
    if archive.form == "custom":
        state = reader.byte()
        place = int.from_bytes(reader.take(archive.offset), "little")
        entry.at = {2: place, 3: -1}.get(state, 0)
    else:
        entry.file = reader.string()
    return entry


def cut(what: str) -> BackupFailed:
    """The error for an archive that is not whole."""
    return BackupFailed(
        f"the archive is cut short: {what}",
        remedy="Use another copy; check the backup job's exit status and the space it had while it wrote.",
        stage=Stage.RESTORE,
    )


def damaged(what: str) -> BackupFailed:
    """The error for an archive that makes no sense."""
    return BackupFailed(f"the archive is damaged: {what}", remedy="Use another copy.", stage=Stage.RESTORE)
