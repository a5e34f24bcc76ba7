"""Runs the statements of a dump on a fresh database of its own. Runs inside the sandbox."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.sqlite_connection import Deadline, Reading, connect, forbid_outside
from restore_drill.engines.sqlite_errors import ERRORS, printable, translate
from restore_drill.engines.sqlite_split import Kind, Piece
from restore_drill.engines.sqlite_text_policy import Policy, explain, refused, unistr
from restore_drill.errors import BackupFailed, RestoreDrillError
from restore_drill.model import Stage

_WORD: Final = re.compile(rb"[A-Za-z]+")
_INTO: Final = re.compile(rb"VACUUM\b.*\bINTO\b", re.IGNORECASE | re.DOTALL)
#: It is a scratch copy: nothing needs to survive a crash.
_SETTINGS: Final = (
    "PRAGMA journal_mode=OFF",
    "PRAGMA synchronous=OFF",
    "PRAGMA locking_mode=EXCLUSIVE",
)
#: Statistics that another build of SQLite keeps and this one does not: no data.
_STATISTICS: Final = re.compile(r"no such table: (main\.)?sqlite_stat\d")
#: What does not exist need not be dropped: scripts begin like this, and the shell goes on.
_NOT_THERE: Final = re.compile("no such ")


class RowsFailed(Exception):
    """One of several ``INSERT`` statements that were run together failed; it is not known which."""


class Loader:
    """Takes the pieces of a dump, in order.

    Args:
        database: An empty file.
        deadline: Ends it.
    """

    def __init__(self, database: Path, deadline: Deadline) -> None:
        self._database = database
        self._policy = Policy()
        self._selects = 0
        self._last = Piece(Kind.STATEMENT, b"", 1)
        #: Whether the dump opened a transaction itself at least once.
        self._began = False
        #: Whether the transaction under way is ours: a dump without any would be slow, each statement by itself.
        self._ours = False
        try:
            self.connection = connect(database, deadline, forbid_outside, reading=Reading.MAKING)
            for setting in _SETTINGS:
                self.connection.execute(setting).fetchall()
        except ERRORS as problem:
            raise translate(problem, "no database can be made", None, Stage.RESTORE) from problem
        self.connection.create_function("unistr", 1, unistr, deterministic=True)
        self.connection.set_authorizer(self._policy.authorize)
        self._cursor = self.connection.cursor()

    def take(self, piece: Piece) -> None:
        """Do what a piece says, or refuse it.

        Raises:
            RestoreDrillError: It is refused, or fails.
        """
        if piece.kind is Kind.COMMAND:
            self._policy.command(piece.text)
        elif piece.kind is Kind.ROWS:
            self._insert(piece)
        elif piece.kind is Kind.REMARK:
            raise BackupFailed(
                f"the dump says on line {piece.line} that its database was corrupt when it was taken",
                remedy="Check the live database (PRAGMA integrity_check), then take the backup again.",
                stage=Stage.RESTORE,
                details=(printable(piece.text.decode(errors="replace")),),
            )
        elif piece.text != b";":
            word = _WORD.match(piece.text)
            _HANDLERS.get(word[0].upper() if word else b"", Loader.run)(self, piece)

    def finish(self) -> None:
        """Make sure that the dump was whole.

        Raises:
            BackupFailed: A transaction that it opened is still open.
        """
        if self.connection.in_transaction and not self._ours:
            raise BackupFailed(
                "the dump ends without COMMIT",
                remedy="It is cut, or its job was ended: compare its size with the original, take the backup again.",
                stage=Stage.RESTORE,
            )
        self._commit_ours()
        if self._database.stat().st_size == 0:
            self.connection.execute("PRAGMA user_version=0")  # so that there is a database, without a table

    def facts(self) -> dict[str, Any]:
        """What was loaded."""
        return {"complete": "COMMIT" if self._began else "no witness"}

    def notes(self) -> list[str]:
        """What was left alone, and what could not be proved."""
        notes = []
        if not self._began:
            notes.append("the dump has no BEGIN and COMMIT: nothing in it proves that it is whole")
        if self._policy.ignored:
            notes.append(f"not obeyed, for it adds no content: {', '.join(sorted(self._policy.ignored)[:20])}")
        if self._selects:
            notes.append(f"not run, for it only reads: {self._selects} SELECT")
        return notes

    def run(self, piece: Piece, forgive: re.Pattern[str] = _STATISTICS) -> None:
        """Any statement that is not spoken of below."""
        self._begin_ours()
        self._execute(piece, forgive)

    def _insert(self, piece: Piece) -> None:
        """Run many statements in one call, which takes half the time of a call for each."""
        self._begin_ours()
        self._policy.keep_open = True
        try:
            self.connection.executescript(_text(piece))
        except (*ERRORS, sqlite3.Warning, RestoreDrillError) as problem:
            raise RowsFailed from problem
        finally:
            self._policy.keep_open = False

    def _begin(self, piece: Piece) -> None:
        self._commit_ours()
        self._began = True
        self._execute(piece)

    def _end(self, piece: Piece) -> None:
        if self._ours or not self.connection.in_transaction:
            raise BackupFailed(
                f"the dump ends a transaction on line {piece.line} that it never began",
                remedy="Its beginning is missing: compare its size with the original, take the backup again.",
                stage=Stage.RESTORE,
            )
        self._execute(piece)

    def _roll_back(self, piece: Piece) -> None:
        raise BackupFailed(
            f"the dump takes back what it contains: ROLLBACK on line {piece.line}",
            remedy=".dump writes that when it met an error: check the live database, then take the backup again.",
            stage=Stage.RESTORE,
        )

    def _pragma(self, piece: Piece) -> None:
        """Some settings can only be changed outside of a transaction."""
        self._commit_ours()
        self._execute(piece)

    def _vacuum(self, piece: Piece) -> None:
        if _INTO.match(piece.text):
            raise refused("VACUUM INTO")
        self._policy.ignored.add("VACUUM")

    def _select(self, piece: Piece) -> None:
        """Text for people: it must be allowed, and need not be run."""
        self._selects += 1
        try:
            self.connection.execute(f"EXPLAIN {_text(piece)}").close()
        except ERRORS as problem:
            if self._policy.denied:
                raise refused(self._policy.denied) from problem

    def _drop(self, piece: Piece) -> None:
        self.run(piece, _NOT_THERE)

    def _begin_ours(self) -> None:
        if not self.connection.in_transaction:
            self.connection.execute("BEGIN")
            self._ours = True

    def _commit_ours(self) -> None:
        if not self._ours:
            return
        self._ours = False
        try:
            self.connection.execute("COMMIT")
        except ERRORS as problem:
            raise explain(problem, self._last) from problem

    def _execute(self, piece: Piece, forgive: re.Pattern[str] = _STATISTICS) -> None:
        self._last = piece
        try:
            self._cursor.execute(_text(piece))
        except (*ERRORS, sqlite3.Warning) as problem:
            if self._policy.denied:
                raise refused(self._policy.denied) from problem
            if not forgive.match(str(problem)):
                raise explain(problem, piece) from problem
            self._policy.ignored.add(printable(str(problem), 80))


def _text(piece: Piece) -> str:
    try:
        if b"\0" not in piece.text:
            return piece.text.decode()
    except UnicodeDecodeError:
        pass
    raise BackupFailed(
        f"the statement that begins on line {piece.line} is not valid UTF-8 text",
        remedy="Check how the dump was written and transferred; binary values belong in x'..' literals.",
        stage=Stage.RESTORE,
    )


_HANDLERS: Final = {
    b"BEGIN": Loader._begin,
    b"SAVEPOINT": Loader._begin,
    b"COMMIT": Loader._end,
    b"END": Loader._end,
    b"ROLLBACK": Loader._roll_back,
    b"PRAGMA": Loader._pragma,
    b"VACUUM": Loader._vacuum,
    b"SELECT": Loader._select,
    b"DROP": Loader._drop,
}
