"""What a dump is, told by its first bytes: formats of ``pg_dump``, and scripts that PostgreSQL may have written."""

from __future__ import annotations

import re
from typing import Final

CUSTOM: Final = "postgres-custom"
TAR: Final = "postgres-tar"
SCRIPT: Final = "postgres-script"

MAGIC: Final = b"PGDMP"
_BLOCK: Final = 512
#: Behind the magic: three bytes of version, sizes of integers and offsets, and the format (3: tar).
_FORMAT: Final = 10
_AS_TAR: Final = 3
_COMMENTS: Final = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s+|--[^\n]*(?:\n|\Z)|/\*(?!!)(?:[^*]|\*(?!/))*(?:\*/|\Z))*")
#: How scripts begin; words of prose that happen to be keywords do not.
_STATEMENT: Final = re.compile(
    rb"""\\(?:restrict|connect|c|encoding)\s
    | SET\s+(?:SESSION\s+|LOCAL\s+)?[a-z_]+(?:\.[a-z_]+)?\s*(?:=|\sTO\s)\s*['\w]
    | SELECT\s+(?:pg_catalog\.)?set_config\s*\(
    | (?:BEGIN|START\s+TRANSACTION|BEGIN\s+WORK|BEGIN\s+TRANSACTION)\s*;
    | CREATE\s+(?:OR\s+REPLACE\s+)?(?:UNLOGGED\s+|TEMP\s+|GLOBAL\s+)?(?:TABLE|SCHEMA|EXTENSION|DATABASE|ROLE|USER|TYPE|
      DOMAIN|SEQUENCE|FUNCTION|VIEW)\s+(?:IF\s+NOT\s+EXISTS\s+)?["\w][\w".]*\s*(?:[(;]|AS\s|WITH\s|START\s|OWNED\s|\n)
    | DROP\s+(?:TABLE|SCHEMA|DATABASE|VIEW|SEQUENCE|TYPE|ROLE|EXTENSION|FUNCTION)\s+(?:IF\s+EXISTS\s+)?["\w][\w".,\s]*
      (?:\sCASCADE|\sRESTRICT)?\s*;
    | ALTER\s+(?:TABLE|ROLE|DATABASE)\s+(?:ONLY\s+|IF\s+EXISTS\s+)?["\w][\w".]*\s+(?:SET|ADD|OWNER|DROP|WITH|ALTER)\s
    | INSERT\s+INTO\s+["\w][\w".]*\s*(?:\([^)]*\)\s*)?VALUES\s*\(
    | COPY\s+["\w][\w".]*\s*(?:\([^)]*\)\s*)?FROM\s+stdin""",
    re.I | re.X,
)
#: What others write at the beginning of theirs.
_FOREIGN: Final = re.compile(rb"MySQL dump|MariaDB dump|phpMyAdmin|mysqldump|SQLite|/\*!\d|/\*M!|PRAGMA ", re.I)
_OWN: Final = re.compile(rb"(?:\xef\xbb\xbf)?(?:--\r?\n)?-- PostgreSQL database (?:cluster )?dump\r?\n")
_ONLY_COMMENTS: Final = 900


def recognise(head: bytes) -> str | None:
    """What content that begins with these bytes is, or ``None``."""
    if head.startswith(MAGIC):
        return CUSTOM
    inside = head[_BLOCK : _BLOCK + _FORMAT + 1]
    if head.startswith(b"toc.dat\0") and inside.startswith(MAGIC) and inside[_FORMAT:] == bytes([_AS_TAR]):
        return TAR
    if _OWN.match(head):
        return SCRIPT
    if _FOREIGN.search(head) or b"\0" in head:
        return None
    text = _COMMENTS.match(head)
    begin = text.end() if text else 0
    if begin == len(head):  # a licence may be longer than what is looked at
        return SCRIPT if begin >= _ONLY_COMMENTS and head.strip() else None
    return SCRIPT if _STATEMENT.match(head, begin) else None
