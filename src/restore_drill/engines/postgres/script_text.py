r"""Splitting a script of SQL into statements as psql does: strings, comments, dollar quotes, rows of COPY, commands.

Bounded memory: the file is mapped, and what is inside of strings and data is passed over without being looked at.
Runs inside the sandbox.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

#: Everything that cannot end a statement, passed over at once. Words are taken whole, so that the letter E counts as a
#: mark of an escape string only where a word may begin, and ``a$b$`` is a name.
_BODY: Final = re.compile(
    rb"""(?:
        [^'"$\\;/A-Za-z_\x80-\xff-]++
      | [eE]'(?:[^'\\]|\\.)*+'
      | [A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*+
      | '[^']*+'
      | "[^"]*+"
      | --[^\n]*+
      | -(?!-)
      | /(?!\*)
      | \$(?![A-Za-z_\x80-\xff$])
    )*+""",
    re.X | re.S,
)
_DOLLAR: Final = re.compile(rb"\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$")
_SPACE: Final = re.compile(rb"(?:\s++|\xef\xbb\xbf)*+")
_COMMENT_MARK: Final = re.compile(rb"/\*|\*/")
_COPY: Final = re.compile(rb"COPY\s.*\sFROM\s+STDIN\b", re.I | re.S)
_END_OF_DATA: Final = re.compile(rb"\n\\\.\r?(?:\n|\Z)")
#: How much of a statement is looked at.
HEAD: Final = 8192


class Kind(Enum):
    """What a piece of a script is."""

    STATEMENT = "statement"
    COMMENT = "comment"
    COMMAND = "command"
    DATA = "data"


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a script: where it begins and ends, and whether it ends as it must."""

    kind: Kind
    begin: int
    end: int
    whole: bool = True


def pieces(text: mmap.mmap | bytes) -> Iterator[Piece]:
    """Every piece of a script, in order.

    A metacommand inside of a statement is a piece of its own, and so is what follows it.
    """
    place, size = 0, len(text)
    while True:
        place = _SPACE.match(text, place).end()  # type: ignore[union-attr]
        if place >= size:
            return
        two = text[place : place + 2]
        if two == b"--":
            piece = Piece(Kind.COMMENT, place, _line_end(text, place))
        elif two == b"/*":
            end, whole = _comment_end(text, place)
            piece = Piece(Kind.COMMENT, place, end, whole)
        elif two[:1] == b"\\":
            piece = Piece(Kind.COMMAND, place, _line_end(text, place))
        else:
            end, whole = _statement_end(text, place)
            piece = Piece(Kind.STATEMENT, place, end, whole)
        yield piece
        place = piece.end
        if piece.kind is Kind.STATEMENT and piece.whole and copies(text[piece.begin : piece.begin + HEAD]):
            found = _END_OF_DATA.search(text, _line_end(text, place))
            end = found.end() if found else size
            yield Piece(Kind.DATA, _line_end(text, place) + 1, end, found is not None)
            place = end


def copies(statement: bytes) -> bool:
    """Whether data follows this statement."""
    return statement[:4].upper() == b"COPY" and _COPY.match(statement) is not None


def _line_end(text: mmap.mmap | bytes, place: int) -> int:
    end = text.find(b"\n", place)
    return len(text) if end < 0 else end


def _comment_end(text: mmap.mmap | bytes, place: int) -> tuple[int, bool]:
    """Comments nest."""
    depth = 0
    for mark in _COMMENT_MARK.finditer(text, place):
        depth += 1 if mark[0] == b"/*" else -1
        if depth == 0:
            return mark.end(), True
    return len(text), False


def _statement_end(text: mmap.mmap | bytes, begin: int) -> tuple[int, bool]:
    """Where a statement ends: behind its semicolon, before a metacommand, or unfinished at the end of the text."""
    place, size = begin, len(text)
    while True:
        place = _BODY.match(text, place).end()  # type: ignore[union-attr]
        if place >= size:
            return size, False
        mark = text[place : place + 1]
        if mark == b";":
            return place + 1, True
        if mark == b"\\":
            return place, False
        if mark == b"/":
            place, whole = _comment_end(text, place)
        elif mark == b"$":
            place, whole = _dollar_end(text, place)
        else:  # a quote that nothing closes
            return size, False
        if not whole:
            return size, False


def _dollar_end(text: mmap.mmap | bytes, place: int) -> tuple[int, bool]:
    tag = _DOLLAR.match(text, place)
    if tag is None:
        return place + 1, True
    end = text.find(tag[0], tag.end())
    return (len(text), False) if end < 0 else (end + len(tag[0]), True)
