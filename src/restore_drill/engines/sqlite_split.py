"""Cuts SQL text into statements as it arrives, with the rules of SQLite's own shell.

A statement ends at a semicolon outside of strings, quoted names and comments; a trigger's ends at the semicolon after
the ``END`` that follows a semicolon (``sqlite3_complete``, https://www.sqlite.org/c3ref/complete.html). A line that
begins with a dot where a statement could begin is a command to the shell, one that begins with ``#`` a comment.

Every byte is looked at a fixed number of times, however the text is cut into chunks and however long a statement is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage

#: Bytes a single statement may have: it is held in memory several times while SQLite reads it.
STATEMENT_LIMIT: Final = 256 << 20

_SPACE: Final = re.compile(rb"[ \t\n\f\r\v]*+")
#: A stretch without anything that could end the statement, as far as it is complete. A dash or slash that is the last
#: byte is left for the next chunk to decide.
_PLAIN: Final = re.compile(
    rb"(?:[^;'\"`\[/\-]++|'[^']*+'|\"[^\"]*+\"|`[^`]*+`|\[[^\]]*+\]|--[^\n]*+\n|/\*(?s:.*?)\*/|-(?=[^\-])|/(?=[^*]))*+"
)
#: A whole statement, for the usual case: nothing of it in another chunk, and no CREATE, which could be a trigger.
_WHOLE: Final = re.compile(rb"[ \t\n\f\r\v]*+((?=[ABD-Zabd-z])" + _PLAIN.pattern + rb";)")
#: Many statements at once, for the most usual case: rows, but not those of SQLite's own tables.
_ROWS: Final = re.compile(
    rb"(?:[ \t\n\f\r\v]*+INSERT[ \t\n\f\r\v]++INTO[ \t\n\f\r\v]++(?![\"'`\[]?sqlite_)" + _PLAIN.pattern + rb";)++",
    re.IGNORECASE,
)
_CLOSING: Final = {b"'": b"'", b'"': b'"', b"`": b"`", b"[": b"]", b"-": b"\n", b"/": b"*/"}
_BLANK: Final = rb"(?:[ \t\n\f\r\v]++|--[^\n]*+(?:\n|\Z)|/\*(?s:.*?)\*/)*+"
_TRIGGER: Final = re.compile(
    rb"CREATE\b" + _BLANK + rb"(?:TEMP(?:ORARY)?\b" + _BLANK + rb")?TRIGGER\b",
    re.IGNORECASE,
)
_END: Final = re.compile(_BLANK + rb"END" + _BLANK, re.IGNORECASE)


class Kind(Enum):
    """What a piece of text is."""

    STATEMENT = "statement"
    ROWS = "rows"
    COMMAND = "command"
    REMARK = "remark"


class Piece(NamedTuple):
    """A statement, several ``INSERT``, a command to the shell, or a remark in which ``.dump`` reports an error.

    Attributes:
        text: Its bytes, without what stands before it; a statement's semicolon included.
        line: The line on which it begins, from 1.
    """

    kind: Kind
    text: bytes
    line: int


class Splitter:
    """Takes chunks and gives pieces.

    Args:
        limit: Bytes that a statement may have.
        together: Give the ``INSERT`` statements that follow each other in a chunk as one piece.
    """

    def __init__(self, limit: int = STATEMENT_LIMIT, *, together: bool = False) -> None:
        self._limit = limit
        self._together = together
        self._buffer = bytearray()
        #: Where the piece under way begins, and up to where it has been looked at.
        self._start = self._seen = 0
        #: Whether the piece under way is known to be a statement; before that, blanks are passed over.
        self._in_statement = False
        #: What ends the quoted text or comment that the buffer ends in.
        self._closing = b""
        self._is_trigger: bool | None = None
        self._last_semicolon = 0
        #: The line of the byte at ``_counted``.
        self._line = 1
        self._counted = 0

    def feed(self, chunk: bytes, *, last: bool = False) -> Iterator[Piece]:
        """Take a chunk, and give the pieces that end in it."""
        self._buffer += chunk
        while (piece := self._whole() or self._next(last=last)) is not None:
            yield piece
        self._forget()
        if len(self._buffer) > self._limit:
            raise CouldNotVerify(
                f"the statement that begins on line {self._line} is longer than {self._limit >> 20} MiB",
                remedy="Back up the database file itself (.backup or VACUUM INTO) instead of its text.",
                stage=Stage.RESTORE,
            )

    def rest(self) -> Piece | None:
        """The statement that the text ends in the middle of, once all of it was fed.

        Raises:
            BackupFailed: It ends inside of a comment.
        """
        if self._in_statement:
            return self._piece(Kind.STATEMENT, self._start, len(self._buffer))
        if self._closing == b"*/":
            raise BackupFailed(
                "the text ends inside of a comment", remedy="Take the backup again: it is cut.", stage=Stage.RESTORE
            )
        return None

    def _whole(self) -> Piece | None:
        if self._in_statement or self._closing:
            return None
        if self._together and (rows := _ROWS.match(self._buffer, self._seen)):
            self._start = self._seen = rows.end()
            return self._piece(Kind.ROWS, rows.start(), rows.end())
        match = _WHOLE.match(self._buffer, self._seen)
        if match is None:
            return None
        self._count_lines(match.start(1))
        self._start = self._seen = match.end()
        return Piece(Kind.STATEMENT, match[1], self._line)

    def _next(self, *, last: bool) -> Piece | None:
        if not self._in_statement:
            piece = self._pass_blanks(last=last)
            if piece is not None or not self._in_statement:
                return piece
        return self._finish_statement()

    def _pass_blanks(self, *, last: bool) -> Piece | None:
        """Pass over what stands before a statement, and stop where one begins."""
        while True:
            if self._closing:
                if not self._skip_to(self._closing):
                    return None
                self._closing = b""
            match = _SPACE.match(self._buffer, self._seen)
            self._start = self._seen = match.end() if match else self._seen
            if len(self._buffer) - self._start < 64 and not last:
                return None  # too little to tell a remark from a comment
            head = bytes(self._buffer[self._start : self._start + 64])
            if head.startswith((b"/****** CORRUPTION ERROR", b"/**** ERROR: (")):
                self._seen += 4
                self._closing = b"*/"
                return self._piece(Kind.REMARK, self._start, self._start + len(head))
            if not head.startswith((b"--", b"/*", b"#")):
                return self._begin(head, last=last)
            self._seen += 1 if head.startswith(b"#") else 2
            self._closing = b"*/" if head.startswith(b"/*") else b"\n"

    def _begin(self, head: bytes, *, last: bool) -> Piece | None:
        if not head:
            return None
        if head.startswith(b"."):
            end = self._buffer.find(b"\n", self._start)
            if end < 0 and not last:
                return None
            end = len(self._buffer) if end < 0 else end + 1
            piece = self._piece(Kind.COMMAND, self._start, end)
            self._start = self._seen = end
            return piece
        self._in_statement, self._is_trigger, self._last_semicolon = True, None, self._start
        return None

    def _finish_statement(self) -> Piece | None:
        """Look for the end of the statement under way, from where the last chunk left off."""
        while True:
            if self._closing:
                if not self._skip_to(self._closing):
                    return None
                self._closing = b""
            match = _PLAIN.match(self._buffer, self._seen)
            self._seen = match.end() if match else self._seen
            following = bytes(self._buffer[self._seen : self._seen + 2])
            if following.startswith(b";"):
                self._seen += 1
                if self._ends_here():
                    return self._take()
            elif following[:1] in _CLOSING and (len(following) == 2 or following[:1] not in (b"-", b"/")):
                self._closing = _CLOSING[following[:1]]
                self._seen += 2 if following[:1] in (b"-", b"/") else 1
            else:
                return None

    def _ends_here(self) -> bool:
        if self._is_trigger is None:
            self._is_trigger = _TRIGGER.match(self._buffer, self._start, self._seen) is not None
        if not self._is_trigger:
            return True
        previous, self._last_semicolon = self._last_semicolon, self._seen
        return _END.fullmatch(self._buffer, previous, self._seen - 1) is not None

    def _take(self) -> Piece:
        piece = self._piece(Kind.STATEMENT, self._start, self._seen)
        self._start = self._seen
        self._in_statement = False
        return piece

    def _skip_to(self, closing: bytes) -> bool:
        """Go on behind what ends a quoted text or a comment, if it is there."""
        found = self._buffer.find(closing, self._seen)
        if found < 0:
            # The first half of what closes a comment may have arrived.
            self._seen = max(self._seen, len(self._buffer) - len(closing) + 1)
            return False
        self._seen = found + len(closing)
        return True

    def _piece(self, kind: Kind, start: int, end: int) -> Piece:
        self._count_lines(start)
        with memoryview(self._buffer) as view:
            return Piece(kind, bytes(view[start:end]), self._line)

    def _count_lines(self, position: int) -> None:
        self._line += self._buffer.count(b"\n", self._counted, position)
        self._counted = position

    def _forget(self) -> None:
        """Drop what was passed over or given out."""
        done = self._start if self._in_statement else self._seen
        self._count_lines(done)
        del self._buffer[:done]
        self._start, self._seen, self._counted = max(0, self._start - done), self._seen - done, 0
        self._last_semicolon -= done
