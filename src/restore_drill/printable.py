"""Names that come from a store, an archive or a database, made harmless for a terminal and for a report.

A name may hold whatever its writer liked: escape sequences that rewrite a screen, line breaks that forge a line, marks
that turn the direction of text, bytes that are no UTF-8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def printable(text: str) -> str:
    r"""The same text with everything that is not printed written as an escape: ``\x1b``, ``\n``, ``\u202e``.

    A byte that was no UTF-8 (``surrogateescape``, PEP 383) becomes ``\xff``; a tab stays.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each == "\t" else _escaped(each) for each in text)


def shorten(text: str, width: int = 60) -> str:
    """A value in quotes as a message repeats it: on one line, and not longer than ``width``."""
    quoted = repr(text)
    return quoted if len(quoted) <= width else f"{quoted[: width - 2]}…{quoted[0]}"


def printable_values(value: Any) -> Any:
    """The same for every text in plain values, names of fields included."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable_values(name): printable_values(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [printable_values(each) for each in value]
    return value


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
