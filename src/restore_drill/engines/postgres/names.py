"""Names that statements of a dump speak of: roles, tablespaces, databases, extensions. Runs inside the sandbox."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

#: Roles that every server has, and words that stand where a role may.
_NO_ROLES: Final = frozenset({"public", "current_user", "session_user", "current_role", "none", "default"})
NAME: Final = r'(?:"(?:[^"]|"")*"|[^\W\d][\w$]*)'
_LIST: Final = rf"{NAME}(?:\s*,\s*{NAME})*"
_ONE: Final = re.compile(NAME)
_GROUP: Final = r"(?:GROUP\s+)?"
#: Where roles stand, by the statement's beginning. Of a GRANT only the end counts: what is granted may be anything.
_ROLES: Final = tuple(
    (re.compile(begin, re.I), re.compile(where.format(name=NAME, list=_LIST, group=_GROUP), re.I | re.S))
    for begin, where in (
        (r"ALTER\b", r"\bOWNER\s+TO\s+({name})\s*;?\s*\Z"),
        (r"(?:GRANT|ALTER\s+DEFAULT)\b",
         r"\bTO\s+{group}({list})(?:\s+WITH\s[^;\"]*)?(?:\s+GRANTED\s+BY\s+{name})?\s*;?\s*\Z"),
        (r"GRANT\b", r"\bGRANTED\s+BY\s+({name})\s*;?\s*\Z"),
        (r"(?:REVOKE|ALTER\s+DEFAULT)\b",
         r"\bFROM\s+{group}({list})(?:\s+CASCADE|\s+GRANTED\s+BY\s+{name})?\s*;?\s*\Z"),
        (r"ALTER\s+DEFAULT\b", r"\bFOR\s+(?:ROLE|USER)\s+({list})\s"),
        (r"CREATE\s+POLICY\b",
         r"\A\s*CREATE\s+POLICY\s+{name}\s+ON\s+{name}(?:\.{name})?(?:\s+AS\s+\w+)?(?:\s+FOR\s+\w+)?\s+TO\s+({list})"),
        (r"SET\s+SESSION\s+AUTHORIZATION\b", r"AUTHORIZATION\s+({name}|'(?:[^']|'')*')"),
        (r"SET\s+ROLE\b", r"ROLE\s+({name})"),
        (r"CREATE\s+SCHEMA\b", r"\bAUTHORIZATION\s+({name})"),
        (r"(?:CREATE|ALTER)\s+USER\s+MAPPING\b", r"\bFOR\s+({name})"),
        (r"CREATE\s+(?:DATABASE|TABLESPACE)\b", r"\bOWNER\s*=?\s*({name})"),
    )
)  # fmt: skip
_CREATED: Final = re.compile(rf"CREATE\s+(?:ROLE|USER|GROUP)\s+(?!MAPPING\b)({NAME})", re.I)
_EXTENSION: Final = re.compile(rf"CREATE\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?({NAME})", re.I)
_DATABASE: Final = re.compile(rf"CREATE\s+DATABASE\s+({NAME})", re.I)
_TABLESPACE: Final = re.compile(rf"SET\s+default_tablespace\s*=\s*({NAME})|\bTABLESPACE\s*=?\s+({NAME})", re.I)
_NEW_TABLESPACE: Final = re.compile(rf"CREATE\s+TABLESPACE\s+({NAME})", re.I)


def unquote(name: str) -> str:
    """A name of SQL as the server keeps it."""
    if name[:1] in "\"'":
        return name[1:-1].replace(name[0] * 2, name[0])
    return name.lower()


def roles(statement: str) -> Iterator[str]:
    """Roles that a statement needs."""
    for begin, where in _ROLES:
        if begin.match(statement) and (found := where.search(statement)):
            for name in _ONE.findall(found[1]) if found[1][:1] != "'" else [found[1]]:
                if (known := unquote(name)).lower() not in _NO_ROLES and not known.startswith("pg_"):
                    yield known


def _first(pattern: re.Pattern[str], statement: str) -> str:
    found = pattern.match(statement)
    return unquote(next(group for group in found.groups() if group)) if found else ""


def created_role(statement: str) -> str:
    """The role that it creates."""
    return _first(_CREATED, statement)


def extension(statement: str) -> str:
    """The extension that it creates."""
    return _first(_EXTENSION, statement)


def database(statement: str) -> str:
    """The database that it creates."""
    return _first(_DATABASE, statement)


def tablespace(statement: str) -> str:
    """The tablespace that it needs."""
    return _first(_TABLESPACE, statement)


def created_tablespace(statement: str) -> str:
    """The tablespace that it creates."""
    return _first(_NEW_TABLESPACE, statement)
