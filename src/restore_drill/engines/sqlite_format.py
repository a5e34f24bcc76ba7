"""What can be told of SQLite's files from their bytes alone: databases, write-ahead logs, rollback journals, SQL text.

Formats: https://www.sqlite.org/fileformat2.html (sections 1.3, 3 and 4).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

DATABASE: Final = "sqlite-database"
SQL_TEXT: Final = "sql-text"

MAGIC: Final = b"SQLite format 3\0"
HEADER_SIZE: Final = 100
WAL_HEADER_SIZE: Final = 32
FRAME_HEADER_SIZE: Final = 24
JOURNAL_MAGIC: Final = bytes.fromhex("d9d505f920a163d7")

_BOM: Final = b"\xef\xbb\xbf"
_WAL_VERSION: Final = 3007000
_LONG_HEAD: Final = 1000
_ENCODINGS: Final = {1: "UTF-8", 2: "UTF-16le", 3: "UTF-16be"}

#: What may stand before the first statement. Comments that the head does not hold to their end count, too.
_BLANK: Final = rb"(?:\s++|--[^\n]*+(?:\n|$)|#[^\n]*+(?:\n|$)|/\*(?s:.*?)(?:\*/|$))*+"
_NAME: Final = rb"(?:\w|[\"'`\[\]. $]|[^\x00-\x7f])+?"
_STATEMENT: Final = re.compile(
    _BLANK + rb"(?:"
    rb"PRAGMA\s+[\w.]+\s*[=;(]|BEGIN(?:\s+(?:TRANSACTION|DEFERRED|IMMEDIATE|EXCLUSIVE)\b.*?)?\s*;"
    rb"|CREATE\s+(?:TEMP\s+|TEMPORARY\s+|UNIQUE\s+|VIRTUAL\s+)?(?:TABLE|INDEX|VIEW|TRIGGER)\b"
    rb"|(?:INSERT|REPLACE)\s+(?:OR\s+\w+\s+)?INTO\b|DELETE\s+FROM\b"
    rb"|UPDATE\s+(?:OR\s+\w+\s+)?" + _NAME + rb"\s+SET\b"
    rb"|DROP\s+(?:TABLE|INDEX|VIEW|TRIGGER)\s+(?:IF\s+EXISTS\s+)?" + _NAME + rb"\s*;|ALTER\s+TABLE\b"
    rb"|SAVEPOINT\s+\S+?\s*;|(?:ANALYZE|REINDEX)\b[\s\w.\"'`]*;|ATTACH\s+(?:DATABASE\s+)?\S|VACUUM(?:\s+INTO\b|\s*;)"
    rb"|\.(?:open|read|shell|system|import|load|bail|headers?|mode|echo|output|restore|cd|print|timeout|once)\b)",
    re.IGNORECASE,
)
_ONLY_BLANK: Final = re.compile(_BLANK)
_QUOTED: Final = re.compile(rb"'[^']*+(?:'|$)|--[^\n]*+|/\*(?!M?!)(?s:.*?)(?:\*/|$)")
#: Signs of other products' dumps, which share SQLite's keywords and comments: in the comments that come first,
_FOREIGN_TITLE: Final = re.compile(
    rb"PostgreSQL database( cluster)? dump|Dumped (from database version|by pg_dump)|phpMyAdmin|HeidiSQL|/\*M?![0-9]"
    rb"|^-- *(MySQL|MariaDB|Oracle)\b.*dump|DB Server:\s*(?!SQLite)\w",
    re.IGNORECASE | re.MULTILINE,
)
#: and in the statements that follow, outside of what is quoted.
_FOREIGN_STATEMENT: Final = re.compile(
    rb";\s*(?:SET\s|USE\s|(?:CREATE|DROP)\s+(?:DATABASE|SCHEMA|EXTENSION|SEQUENCE|ROLE|USER)\b|(?:UN)?LOCK\s+TABLES\b"
    rb"|/\*M?![0-9]|\\(?:connect|restrict|c)\b)|\)\s*ENGINE\s*=\s*\w|\bNOT\s+NULL\s+AUTO_INCREMENT\b"
    rb"|^COPY\s.+\sFROM\s+stdin|^GO[ \t\r]*$",
    re.IGNORECASE | re.MULTILINE,
)


def recognise(head: bytes) -> str | None:
    """Whether content that begins with these bytes is a database, SQL text for SQLite, or neither."""
    if head.startswith(MAGIC):
        return DATABASE
    text = head.removeprefix(_BOM)
    blank = _ONLY_BLANK.match(text)
    if b"\0" in text or blank is None or _FOREIGN_TITLE.search(blank[0]):
        return None
    if _STATEMENT.match(text):
        return None if _FOREIGN_STATEMENT.search(_QUOTED.sub(b"''", text[blank.end() :])) else SQL_TEXT
    # A licence longer than the head says nothing yet, and no error page looks like that.
    licence = len(head) >= _LONG_HEAD and text.lstrip().startswith((b"--", b"/*")) and blank.end() == len(text)
    return SQL_TEXT if licence else None


@dataclass(frozen=True, slots=True)
class Header:
    """The first hundred bytes of a database.

    Attributes:
        pages: Size in pages as the header states it, 0 where that statement is stale.
        wal_mode: Whether it was last used with a write-ahead log.
        written_by: The version of SQLite that wrote it last, e.g. ``3.40.1``, or ``""``.
    """

    page_size: int
    pages: int
    wal_mode: bool
    encoding: str
    auto_vacuum: bool
    written_by: str
    written_by_number: int

    @classmethod
    def parse(cls, head: bytes) -> Header | None:
        """The header, or ``None`` when this is not the beginning of a database."""
        if len(head) < HEADER_SIZE or not head.startswith(MAGIC):
            return None
        page_size = struct.unpack_from(">H", head, 16)[0]
        page_size = 65536 if page_size == 1 else page_size
        if page_size < 512 or page_size & (page_size - 1):
            return None
        counter, pages = struct.unpack_from(">II", head, 24)
        largest_root, encoding = struct.unpack_from(">I", head, 52)[0], struct.unpack_from(">I", head, 56)[0]
        valid_for, version = struct.unpack_from(">II", head, 92)
        return cls(
            page_size=page_size,
            pages=pages if counter == valid_for else 0,
            wal_mode=head[18] == 2 or head[19] == 2,
            encoding=_ENCODINGS.get(encoding, "unset"),
            auto_vacuum=largest_root != 0,
            written_by=version_text(version) if 3_000_000 <= version < 4_000_000 else "",
            written_by_number=version if version < 4_000_000 else 0,
        )


def version_text(number: int) -> str:
    """A version number of SQLite (3040001) as people write it (3.40.1)."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


@dataclass(frozen=True, slots=True)
class WalHeader:
    """The first 32 bytes of a write-ahead log.

    Attributes:
        intact: Whether its checksum over itself is right.
    """

    page_size: int
    salt: bytes
    big_endian: bool
    checksum: tuple[int, int]
    intact: bool

    @classmethod
    def parse(cls, head: bytes) -> WalHeader | None:
        """The header, or ``None`` when this is no write-ahead log."""
        if len(head) < WAL_HEADER_SIZE:
            return None
        magic, version, page_size = struct.unpack_from(">III", head)
        if magic & ~1 != 0x377F0682 or version != _WAL_VERSION:
            return None
        big_endian = bool(magic & 1)
        stored = struct.unpack_from(">II", head, 24)
        found = wal_checksum(head[:24], (0, 0), big_endian=big_endian)
        return cls(page_size, head[16:24], big_endian, stored, found == stored)

    def frames(self, size: int) -> tuple[int, int]:
        """How many whole frames a log of ``size`` bytes has room for, and how many bytes are left over."""
        return divmod(size - WAL_HEADER_SIZE, self.page_size + FRAME_HEADER_SIZE)


def wal_checksum(data: bytes, start: tuple[int, int], *, big_endian: bool) -> tuple[int, int]:
    """The running checksum of a write-ahead log (section 4.2), over a multiple of eight bytes."""
    first, second = start
    words = struct.unpack(f"{'>' if big_endian else '<'}{len(data) // 4}I", data)
    for index in range(0, len(words), 2):
        first = (first + words[index] + second) & 0xFFFFFFFF
        second = (second + words[index + 1] + first) & 0xFFFFFFFF
    return first, second


@dataclass(frozen=True, slots=True)
class JournalHeader:
    """The beginning of a rollback journal.

    Attributes:
        spent: The transaction ended, and the journal was zeroed instead of deleted.
        intact: It begins as a journal does.
        page_size: Of the database it belongs to.
    """

    spent: bool
    intact: bool
    page_size: int

    @classmethod
    def parse(cls, head: bytes) -> JournalHeader:
        """What the first 28 bytes say."""
        intact = len(head) >= 28 and head.startswith(JOURNAL_MAGIC)
        page_size = struct.unpack_from(">I", head, 24)[0] if intact else 0
        return cls(spent=not head.strip(b"\0"), intact=intact, page_size=page_size)


def names_super_journal(tail: bytes) -> bool:
    """Whether a rollback journal that ends with these bytes refers to another file, which SQLite would delete."""
    return tail.endswith(JOURNAL_MAGIC)
