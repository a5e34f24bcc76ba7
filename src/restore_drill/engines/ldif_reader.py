"""Reading LDIF (RFC 2849), entry by entry, in bounded memory. Runs inside the sandbox."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Final, NoReturn

from restore_drill.errors import BackupFailed
from restore_drill.model import Stage

#: Bytes of a line, and of an entry, at most.
_LONGEST: Final = 64 << 20
_NAME: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9.-]*(?:;[A-Za-z0-9-]+)*")
_CHANGES: Final = frozenset({"changetype", "control"})


@dataclass(slots=True)
class Entry:
    """One entry: where it begins, its name, and its attributes in order (names in lower case, options left out).

    Attributes:
        skipped: The line behind a version that stands alone before a blank line, which RFC 2849 allows and slapadd
            takes for an entry; 0 for all entries but the first, and where there is no such thing.
    """

    line: int
    dn: str
    skipped: int = 0
    attributes: list[tuple[str, bytes]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """The values of an attribute."""
        return [value.decode(errors="replace") for known, value in self.attributes if known == name]


def entries(file: IO[bytes]) -> Iterator[Entry]:
    """Every entry of a file.

    Raises:
        BackupFailed: It is no LDIF, a value is no valid base64, or it has what an export never has: change records and
            values that are to be fetched from somewhere.
    """
    entry: Entry | None = None
    begun = False
    version = alone = 0
    for number, line in _lines(file):
        if not line:
            version, alone = 0, alone or version
            if entry is not None:
                yield entry
            entry = None
            continue
        name, value = _parse(line, number)
        if entry is not None:
            _check(name, number)
            entry.attributes.append((name.partition(";")[0], value))
        elif name == "dn":
            entry = Entry(number, value.decode(errors="replace"), alone)
            version = alone = 0
        elif name == "version" and not begun and value == b"1":
            version = number + 1
        else:
            refuse("an entry does not begin with its name (dn)", number)
        begun = True
    if entry is not None:
        yield entry


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Whole lines, put together from folded ones, with the number of their first; empty ones end entries."""
    parts: list[bytes] = []
    size = begun = number = 0
    comment = False
    line = b""
    while line := file.readline(_LONGEST):
        number += 1
        if not line.endswith(b"\n"):
            refuse("the file is cut short: its last line has no end, or one is too long", number)
        text = line.rstrip(b"\r\n")
        if text[:1] == b" ":
            if not comment and not parts:
                refuse("a line continues nothing", number)
            parts += [] if comment else [text[1:]]
            size += len(text)
            if size > _LONGEST:
                refuse("a value is too long", begun)
            continue
        if parts:
            yield begun, b"".join(parts)
        comment = text[:1] == b"#"
        parts, begun, size = ([] if comment or not text else [text]), number, len(text)
        if not text:
            yield number, b""
    if parts:
        yield begun, b"".join(parts)


def _parse(line: bytes, number: int) -> tuple[str, bytes]:
    name, colon, value = line.partition(b":")
    if not colon or not _NAME.fullmatch(name):
        refuse("a line has no attribute and value", number)
    if value[:1] == b":":
        try:
            return name.decode().lower(), binascii.a2b_base64(value[1:].strip(b" "), strict_mode=True)
        except binascii.Error:
            refuse("a value is no valid base64", number)
    if value[:1] == b"<":
        refuse(
            "a value is to be read from an address or a file, which is never followed", number,
            "No directory exports that: look at who wrote it, and load it nowhere.",
        )  # fmt: skip
    return name.decode().lower(), value.lstrip(b" ")


def _check(name: str, number: int) -> None:
    if name in _CHANGES:
        refuse(
            "it holds change records (changetype), no entries", number,
            "Back up an export of all entries: slapcat, or ldapsearch with '*' and '+'.",
        )  # fmt: skip


def refuse(cause: str, line: int, remedy: str = "Use another copy, and check that the export ended well.") -> NoReturn:
    """Raise what the line at this number means for the backup."""
    raise BackupFailed(cause, looked_at=f"line {line}", remedy=remedy, stage=Stage.RESTORE)
