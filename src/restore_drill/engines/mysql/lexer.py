"""Cuts the text of a dump into statements, as the families' own clients do. Runs inside the sandbox.

A statement ends at the delimiter outside of strings, quoted names and comments; ``DELIMITER`` at the beginning of a
line changes it. What stands in ``/*! … */`` and ``/*M! … */`` is executed and therefore text like any other. Outside of
strings a backslash introduces a command to the client, which no backup contains but for the sandbox line.

The file is mapped and matched where it lies: no statement is copied, however long it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from mmap import mmap
from typing import Final, NamedTuple

#: White space and comments between statements.
_BLANK: Final = re.compile(
    rb"(?:[ \t\r\n\f\v\0]++|--(?=[\s]|\Z)[^\n]*+|\#[^\n]*+|/\*(?!M?!)(?s:.*?)\*/"
    rb"|/\*M?!999999\\- enable the sandbox mode \*/)*+"
)
_DELIMITER: Final = re.compile(rb"delimiter[ \t]+(?:\"([^\"\n]+)\"|'([^'\n]+)'|(\S+))[^\n]*(?:\n|\Z)", re.I)
_ROWS: Final = re.compile(rb"(?:INSERT|REPLACE) (?: ?IGNORE )?(?:DELAYED )?INTO ", re.I)
#: Bytes of an executed comment's opening: ``/*!50003`` and ``/*M!100100``.
_OPENING: Final = rb"/\*M?!\d*"


class End(Enum):
    """How a statement ends."""

    DELIMITED = "delimited"
    COMMAND = "command"
    QUOTE = "quote"
    EOF = "eof"


class Statement(NamedTuple):
    """One statement: where it begins and ends (its delimiter not included), and how.

    Attributes:
        rows: It only adds rows to a table, and its inside was not looked at.
    """

    start: int
    end: int
    how: End
    rows: bool = False


def statements(text: mmap, *, escaped: bool) -> Iterator[Statement]:
    r"""Every statement in order; the last one when it has no end, too.

    Args:
        text: The dump.
        escaped: Its writer is known to write a line break inside of a value as ``\n``, so that the end of rows is found
            by looking for the end of a line.
    """
    place, delimiter, size = 0, b";", len(text)
    if text[:3] == b"\xef\xbb\xbf":
        place = 3
    while (place := _after(_BLANK, text, place)) < size:
        if changed := _DELIMITER.match(text, place):
            delimiter = (changed[1] or changed[2] or changed[3]).strip()[:16] or b";"
            place = changed.end()
            continue
        if escaped and delimiter == b";" and _ROWS.match(text, place):
            end = _end_of_rows(text, place)
            if end >= 0:
                yield Statement(place, end, End.DELIMITED, rows=True)
                place = end + 1
                continue
        statement, place = _next(text, place, delimiter)
        yield statement


def _end_of_rows(text: mmap, start: int) -> int:
    end = text.find(b";\n", start)
    windows = text.find(b";\r\n", start, end if end >= 0 else len(text))
    return windows if windows >= 0 else end


def _next(text: mmap, start: int, delimiter: bytes) -> tuple[Statement, int]:
    end = _after(_body(delimiter), text, start)
    if text[end : end + len(delimiter)] == delimiter:
        return Statement(start, end, End.DELIMITED), end + len(delimiter)
    if end >= len(text):
        return Statement(start, end, End.EOF), end
    if text[end : end + 1] == b"\\":
        # Commands of the client end where their line does.
        line = text.find(b"\n", end)
        return Statement(start, end, End.COMMAND), len(text) if line < 0 else line + 1
    return Statement(start, end, End.QUOTE), len(text)


@lru_cache(64)
def _body(delimiter: bytes) -> re.Pattern[bytes]:
    """Everything up to a delimiter, a backslash, or a quote or comment that has no end."""
    first = re.escape(delimiter[:1])
    return re.compile(
        rb"(?s)(?:[^'\"`#/\\\-" + first + rb"]++|(?!" + re.escape(delimiter) + rb")(?:"
        rb"'[^'\\]*+(?:\\.[^'\\]*+)*+'|\"[^\"\\]*+(?:\\.[^\"\\]*+)*+\"|`[^`]*+`"
        rb"|--(?=\s|\Z)[^\n]*+|-|\#[^\n]*+|"
        + _OPENING
        + rb"|/\*(?!M?!).*?\*/|/(?!\*)|(?![\\'\"`/\-#])"
        + first
        + rb"))*+"
    )


def _after(pattern: re.Pattern[bytes], text: mmap, place: int) -> int:
    found = pattern.match(text, place)
    return found.end() if found else place


def line_of(text: mmap, place: int) -> int:
    """The number of the line at this place, from 1."""
    count, at = 1, 0
    while at < place:
        step = min(1 << 20, place - at)
        count += text[at : at + step].count(b"\n")
        at += step
    return count
