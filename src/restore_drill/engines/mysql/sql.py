"""Names and values as SQL of the family writes them."""

from __future__ import annotations

import re


def literal(value: str) -> str:
    """A string constant of SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A quoted name of SQL."""
    return "`" + name.replace("`", "``") + "`"


def wild(name: str) -> str:
    """A database's name where a pattern is expected."""
    return re.sub(r"([\\_%])", r"\\\1", name)
