"""Which parts of a dump several clients may load at once, without a result that depends on who is first.

mysqldump and mariadb-dump write a dump table by table: the table is dropped and created, and its rows are added. Such
sections depend on nothing but what is set at the dump's beginning, as long as foreign keys are not checked. Their locks
are left out: who has locked one table may not use another that refers to it, and nobody else is there to lock out. What
stands between them (views, triggers) is kept for afterwards; from the first statement on that is of another kind,
nothing is loaded out of its order any more. Runs inside the sandbox.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from mmap import mmap
from typing import Final

from restore_drill.engines.mysql.lexer import Statement

#: Bytes of a statement of rows in which the names of its columns must end.
_LOOK: Final = 8192
#: More sections than are worth their pieces.
_MOST: Final = 400
#: What a part is, where it is not the number of a section.
BETWEEN: Final = -1
LOCK: Final = -2
_NAME: Final = rb"`((?:[^`]|``)+)`"
_DROP: Final = re.compile(rb"DROP TABLE IF EXISTS " + _NAME + rb"\Z")
_CREATE: Final = re.compile(rb"CREATE TABLE (?:IF NOT EXISTS )?" + _NAME + rb" \(")
_ROWS: Final = re.compile(
    rb"(?:INSERT|REPLACE) (?: ?IGNORE )?INTO " + _NAME + rb"\s*(?:\((?:`(?:[^`]|``)+`[, ]*)+\)\s*)?VALUES"
)
_ABOUT: Final = re.compile(rb"(?:LOCK TABLES " + _NAME + rb" WRITE|ALTER TABLE " + _NAME + rb" (?:DIS|EN)ABLE KEYS)\Z")
_LOCKS: Final = (b"LOCK TABLES ", b"UNLOCK TABLES")
_UNTIL_CREATED: Final = re.compile(
    rb"SET (?:@saved_cs_client = @@character_set_client|character_set_client = \w+)\Z", re.I
)
_ONCE_CREATED: Final = re.compile(
    rb"(?:UNLOCK TABLES|COMMIT|SET autocommit=[01]|SET character_set_client = @saved_cs_client)\Z", re.I
)
_BEFORE: Final = re.compile(rb"SET (?:NAMES|@|TIME_ZONE|SQL_MODE|UNIQUE_CHECKS|FOREIGN_KEY_CHECKS|CHARACTER_SET)", re.I)
_DATABASE: Final = re.compile(rb"(?:CREATE DATABASE\s+IF NOT EXISTS\b|USE\s)", re.I)
_KEYS: Final = re.compile(rb"\bFOREIGN_KEY_CHECKS *= *(\w+)", re.I)
_AFTER: Final = re.compile(
    rb"(?:CREATE\s+(?:OR\s+REPLACE\s+)?(?:DEFINER|ALGORITHM|SQL|VIEW|TRIGGER|FUNCTION|PROCEDURE|EVENT)\b"
    rb"|DROP\s+(?:VIEW|TRIGGER|FUNCTION|PROCEDURE|EVENT)\b|VIEW\b|ALGORITHM\b"
    rb"|SET\s+(?:@saved_\w+|character_set_(?:client|results)|collation_connection|sql_mode|time_zone)\s*=)",
    re.I,
)


@dataclass(slots=True)
class _Section:
    name: bytes
    start: int
    created: bool = False
    locks: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Sections:
    """Is told every statement of a dump in order.

    Attributes:
        found: Whole sections: from where to where, and their locks.
    """

    found: list[tuple[int, int, list[tuple[int, int]]]] = field(default_factory=list)
    _names: set[bytes] = field(default_factory=set)
    _current: _Section | None = None
    #: Where the statement before ended, its delimiter included.
    _end: int = 0
    _begun: bool = False
    _closed: bool = False
    _unchecked: bool = False

    def rows(self, text: mmap, statement: Statement) -> None:
        """A statement that adds rows, and was not looked into."""
        if not self._closed:
            match = _ROWS.match(text[statement.start : min(statement.end, statement.start + _LOOK)])
            current = self._current
            if match is None or current is None or not current.created or match[1] != current.name:
                self._close()
            self._end = statement.end + 1

    def other(self, text: mmap, statement: Statement, look: bytes) -> None:
        """Any other statement; ``look`` is its beginning, without what makes comments of it."""
        if self._closed:
            return
        plain = (
            text[statement.end : statement.end + 1] == b";" and text[statement.end + 1 : statement.end + 2].isspace()
        )
        look = b" ".join(look.split())
        if not plain or not (self._goes_on(look) or self._begins(look, statement.start)):
            self._leave()
            if (not self._begun and not self._is_before(look)) or (self._begun and not _AFTER.match(look)):
                self._close()
        elif self._current is not None and look.upper().startswith(_LOCKS):
            self._current.locks.append((statement.start, statement.end + 1))
        self._end = statement.end + 1

    def parts(self, size: int) -> list[tuple[int, int, int]]:
        """The text in parts, in order: from where to where, and the number of the section (or what else it is).

        Nothing where there are no sections that may be loaded at once.

        Args:
            size: Bytes of the text, all of which was told.
        """
        self._close()
        if not (self._unchecked and 1 < len(self.found) <= _MOST):
            return []
        parts: list[tuple[int, int, int]] = []
        place = 0
        for number, (start, end, locks) in enumerate(self.found):
            parts.append((place, start, BETWEEN))
            place = start
            for first, last in locks:
                parts += [(place, first, number), (first, last, LOCK)]
                place = last
            parts.append((place, end, number))
            place = end
        return [part for part in [*parts, (place, size, BETWEEN)] if part[0] < part[1]]

    def _goes_on(self, look: bytes) -> bool:
        """Whether it belongs to the section under way."""
        current = self._current
        if current is None:
            return False
        if match := _CREATE.match(look):
            if current.created or match[1] != current.name:
                return False
            current.created = True
            return True
        about = _ABOUT.match(look)
        if about:
            return current.created and (about[1] or about[2]) == current.name
        return bool((_ONCE_CREATED if current.created else _UNTIL_CREATED).match(look))

    def _begins(self, look: bytes, start: int) -> bool:
        """Whether a section begins with it."""
        match = _DROP.match(look)
        if match is None:
            return False
        self._leave()
        self._begun = True
        # Names that differ in capitals only may be one table.
        if match[1].lower() in self._names:
            self._close()
        else:
            self._current = _Section(match[1], start)
        return True

    def _is_before(self, look: bytes) -> bool:
        """Whether it belongs to the beginning, which every client is given."""
        if keys := _KEYS.search(look):
            self._unchecked = keys[1] == b"0"
        return bool(_BEFORE.match(look) or _DATABASE.match(look))

    def _leave(self) -> None:
        """The section under way ends before this statement; one in which nothing was created was none."""
        current, self._current = self._current, None
        if current is not None and current.created:
            self.found.append((current.start, self._end, current.locks))
            self._names.add(current.name.lower())

    def _close(self) -> None:
        self._leave()
        self._closed = True
