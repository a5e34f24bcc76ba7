"""How files of text begin and end: what the readers of CSV and NDJSON share."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Final, cast

from restore_drill.errors import BackupFailed
from restore_drill.model import Stage

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Bytes of the longest line, and characters of the longest field.
LONGEST: Final = 16 << 20
#: What separates fields, as far as it is found out by looking.
DELIMITERS: Final = (",", ";", "\t", "|", "\x01")
_BINARY: Final = re.compile(rb"[\x00\x02-\x08\x0b\x0e-\x1f\x7f]")
#: As many bytes as a drill looks at, and the fields from which on one line that fills them is a record.
_HEAD: Final = 1024
_WIDE: Final = 5
#: A name of a column: some words, no sentence.
_WORDS: Final = 6
_LONGEST_NAME: Final = 128


def sniff(head: bytes) -> str | None:
    """The delimiter of a CSV file that begins like this; ``""`` for a single column, ``None`` for another format."""
    text = _decode(head)
    if text is None or text.lstrip()[:1] in ("", "<", "{", "["):
        return None
    lines = [line for line in text.splitlines()[:50] if line]
    if len(lines) > 1 and not text.endswith(("\n", "\r")):
        lines.pop()  # the head may end anywhere
    best, most = None, 1
    for delimiter in DELIMITERS:
        rows = _rows(lines, delimiter)
        width = len(rows[0]) if rows else 0
        agreeing = sum(len(row) == width for row in rows)
        regular = 2 * agreeing > len(rows) if len(rows) > 1 else len(head) >= _HEAD and width > _WIDE
        if width > most and (regular or all(map(_is_name, rows[0]))):
            best, most = delimiter, width
    if best is None and len(lines) > 1 and not any(re.search(r"[\s:]", line) for line in lines):
        return ""
    return best


def _decode(head: bytes) -> str | None:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return head[: len(head) // 2 * 2].decode("utf-16", "replace")
    return None if _BINARY.search(head) else head.removeprefix(b"\xef\xbb\xbf").decode("latin-1")


def _rows(lines: list[str], delimiter: str) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter))
    except csv.Error:
        return []


def _is_name(field: str) -> bool:
    words = field.split()
    return bool(words) and len(words) <= _WORDS and len(field) <= _LONGEST_NAME and not field.endswith((".", "!", "?"))


class Watched(io.RawIOBase):
    """A file that is read once, front to back, and what its bytes say of it.

    Attributes:
        size: Bytes so far.
        nuls: NUL bytes among them.
        last: The last byte, or ``b""``.

    Raises:
        BackupFailed: A line is longer than :data:`LONGEST`, which is told before memory is taken for it.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self.size = 0
        self.nuls = 0
        self.last = b""
        self._open_line = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read, and look at what was read."""
        count = cast(int, self._raw.readinto(buffer))
        if count:
            data = bytes(memoryview(buffer)[:count])
            self.size += count
            self.nuls += data.count(0)
            self.last = data[-1:]
            end = max(data.rfind(b"\n"), data.rfind(b"\r"))
            self._open_line = self._open_line + count if end < 0 else count - end - 1
            if self._open_line > LONGEST:
                raise BackupFailed(
                    f"a line is longer than {LONGEST >> 20} MiB",
                    remedy="It is damaged, or no such text: look at what the backup job wrote.",
                    stage=Stage.RESTORE,
                )
        return count

    @property
    def ends_in_a_line(self) -> bool:
        """Whether the last line has no end."""
        return self.size > 0 and self.last not in (b"\n", b"\r", b"\0")
