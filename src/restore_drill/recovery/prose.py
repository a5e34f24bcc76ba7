"""What somebody else named, made harmless for Markdown and for a shell."""

from __future__ import annotations

import re
import shlex

from restore_drill.printable import printable

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&])")
_TICKS = re.compile(r"`+")


def text(value: object) -> str:
    """Prose of somebody else's, as itself and on one line."""
    return _SPECIAL.sub(r"\\\1", printable(" ".join(str(value).split())))


def code(value: object) -> str:
    """Somebody else's name between backticks, also inside a table."""
    line = " ".join(printable(str(value)).split()).replace("|", "\\|")
    ticks = "`" * (1 + max((len(run) for run in _TICKS.findall(line)), default=0))
    space = " " if line[:1] == "`" or line[-1:] == "`" or not line else ""
    return f"{ticks}{space}{line}{space}{ticks}"


def quoted(value: str) -> str:
    """A word of bash; what a terminal would take for something else is written as an escape."""
    if value.isprintable():
        return shlex.quote(value)
    escaped = printable(value.replace("\\", "\\\\").replace("\t", "\x1a")).replace("\\x1a", "\\t")
    return "$'" + escaped.replace("'", "\\'") + "'"
