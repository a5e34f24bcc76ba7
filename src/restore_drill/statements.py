"""Statements of SQL as people write them into a catalogue: with remarks before them, and a semicolon at their end."""

from __future__ import annotations

import re
from typing import Final

_COMMENT: Final = re.compile(r"\s*(--[^\n]*(\n|\Z)|/\*.*?\*/)", re.S)
#: The end of a statement, with comments behind it; quotes may mean that it is the end of a text.
_END: Final = re.compile(r";\s*(--[^\n'\"$]*\s*)+\Z")


def bare(sql: str) -> str:
    """A statement without what may stand before and behind it: comments, spaces, semicolons."""
    text = sql.strip()
    while before := _COMMENT.match(text):
        text = text[before.end() :].lstrip()
    return _END.sub("", text).rstrip("; \t\r\n")
