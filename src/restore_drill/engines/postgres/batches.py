"""Many small questions at once: balanced over sessions, bound by one deadline, each with an outcome of its own.

An execution inside a container takes tens of milliseconds, and one that must be ended takes the container with it.
So questions share executions and statements, and the server itself ends what is not done in time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from restore_drill.engines.postgres.server import Answer, PostgresServer, Row, Session
from restore_drill.errors import CouldNotVerify, DeadlineExceeded

#: What every session has: nothing that a restored database defines is run unasked (event triggers), and nothing of it
#: stands before what the system defines.
_QUIET: Final[Mapping[str, str]] = {
    "role": "none",
    "session_replication_role": "replica",
    "search_path": "pg_catalog",
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "row_security": "off",
    "lc_messages": "C",
}
#: Bytes of a table up to which it shares a statement with others, and how much one statement reads then.
_SMALL: Final = 4 << 20
_TOGETHER: Final = 64
_MOST_TEXT: Final = 60_000
#: Bytes of the statements of all sessions: the kernel takes 2 MiB of arguments in all.
_MOST_ARGUMENTS: Final = 1_000_000
#: Statements of one execution: each is four arguments and two of ours.
_MOST_STATEMENTS: Final = 400
_BEGIN: Final = "select set_config('restore_drill.until', (clock_timestamp() + interval '{seconds} s')::text, false)"
_LEFT: Final = (
    "select set_config('statement_timeout', greatest(1, (extract(epoch from "
    "current_setting('restore_drill.until')::timestamptz - clock_timestamp()) * 1000)::bigint)::text, false)"
)


def quiet(server: PostgresServer) -> dict[str, str]:
    """The settings of a session of ours; those that are to run even so (``enable always``) are kept off since 17."""
    return {**_QUIET, "event_triggers": "off"} if server.major >= 17 else dict(_QUIET)


def reading(server: PostgresServer) -> dict[str, str]:
    """The same for a session that changes nothing."""
    return {**quiet(server), "default_transaction_read_only": "on"}


@dataclass(frozen=True, slots=True)
class Piece:
    """One question.

    Attributes:
        key: By which its outcome is found.
        sql: A statement that gives at most one row; ``select … from …`` unless ``alone``.
        weight: Bytes that it reads, roughly.
        alone: It cannot be part of a larger statement (``copy``).
    """

    key: str
    sql: str
    weight: int = 0
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a question.

    Attributes:
        values: The row, empty when there was none.
        problem: Why there is no answer.
        state: The SQLSTATE of that, where the server gave one.
    """

    values: tuple[str | None, ...] = ()
    problem: CouldNotVerify | None = None
    state: str = ""

    @property
    def late(self) -> bool:
        """Whether time did not suffice."""
        return isinstance(self.problem, DeadlineExceeded)

    @property
    def damage(self) -> bool:
        """Whether the server says that what it read is damaged.

        Class XX (internal error, data or index corrupted), class 58 (a file is missing or unreadable), and text that is
        not in the database's encoding (22021), which no faithful copy holds.
        """
        return self.state.startswith(("XX", "58")) or self.state == "22021"


@dataclass(slots=True)
class _Statement:
    pieces: list[Piece]
    weight: int = 0
    text: int = 0

    def takes(self, piece: Piece) -> bool:
        """Whether another one fits."""
        if piece.alone or self.pieces[0].alone or len(self.pieces) >= _TOGETHER:
            return False
        return self.weight + piece.weight <= _SMALL and self.text + len(piece.sql) <= _MOST_TEXT

    def add(self, piece: Piece) -> None:
        """Take it in."""
        self.pieces.append(piece)
        self.weight += piece.weight
        self.text += len(piece.sql)

    @property
    def sql(self) -> str:
        if self.pieces[0].alone:
            return self.pieces[0].sql
        return " union all ".join(f"({number_of(place, piece.sql)})" for place, piece in enumerate(self.pieces))


def number_of(place: int, sql: str) -> str:
    """A question that says which of its statement it is."""
    return f"select {place}::text, answer.* from ({sql}) answer"


@dataclass(slots=True)
class _Worker:
    weight: int = 0
    statements: list[_Statement] = field(default_factory=list)


def ask(
    server: PostgresServer, database: str, pieces: Sequence[Piece], *, until: float, parallel: int = 1
) -> dict[str, Outcome]:
    """The outcome of every question, by key.

    Args:
        server: It runs.
        database: Where they are asked.
        pieces: The questions.
        until: ``time.monotonic()`` from which they are given up.
        parallel: How many sessions may work at once.
    """
    outcomes = _round(server, database, _together(pieces), until, parallel)
    if again := [piece for piece in pieces if piece.key not in outcomes]:  # one of a statement may have spoilt it
        alone = [_Statement([piece], piece.weight, len(piece.sql)) for piece in again]
        outcomes |= _round(server, database, alone, until, parallel)
    return outcomes


def _together(pieces: Iterable[Piece]) -> list[_Statement]:
    statements: list[_Statement] = []
    for piece in sorted(pieces, key=lambda piece: (piece.alone, -piece.weight)):
        if statements and statements[-1].takes(piece):
            statements[-1].add(piece)
        else:
            statements.append(_Statement([piece], piece.weight, len(piece.sql)))
    return statements


def _round(
    server: PostgresServer, database: str, statements: list[_Statement], until: float, parallel: int
) -> dict[str, Outcome]:
    """Ask once; a statement of several questions that fails leaves them without outcome."""
    found: dict[str, Outcome] = {}
    for some in _executions(statements, parallel):
        workers = _share(some, parallel)
        seconds = max(0.0, until - time.monotonic())
        sessions = [_session(server, database, worker.statements, seconds) for worker in workers]
        for worker, session in zip(workers, sessions, strict=True):
            for statement, answer in zip(worker.statements, session.answers()[2::2], strict=True):
                found |= _outcomes(statement, answer)
    return found


def _executions(statements: list[_Statement], parallel: int) -> Iterator[list[_Statement]]:
    """As many statements as one execution of each session can be given in its arguments."""
    some: list[_Statement] = []
    text = 0
    for statement in statements:
        if some and (len(some) >= parallel * _MOST_STATEMENTS or text + statement.text > _MOST_ARGUMENTS):
            yield some
            some, text = [], 0
        some.append(statement)
        text += statement.text
    if some:
        yield some


def _share(statements: list[_Statement], parallel: int) -> list[_Worker]:
    """The heaviest first, each to the worker with the least to do."""
    workers = [_Worker() for _ in range(min(parallel, len(statements)))]
    for statement in sorted(statements, key=lambda each: -each.weight):
        least = min(workers, key=lambda worker: (worker.weight, len(worker.statements)))
        least.statements.append(statement)
        least.weight += statement.weight + 8192
    return workers


def _session(server: PostgresServer, database: str, statements: list[_Statement], seconds: float) -> Session:
    asked = [_BEGIN.format(seconds=round(seconds, 3))]
    for statement in statements:
        asked += [_LEFT, statement.sql]
    return Session(server, database, asked, seconds, reading(server))


def _outcomes(statement: _Statement, answer: Answer) -> dict[str, Outcome]:
    pieces = statement.pieces
    if answer.problem is not None and (len(pieces) == 1 or isinstance(answer.problem, DeadlineExceeded)):
        return {piece.key: Outcome((), answer.problem, answer.state) for piece in pieces}
    if answer.problem is not None:
        return {}
    if pieces[0].alone:
        return {pieces[0].key: Outcome(tuple(answer.rows[0]) if answer.rows else ())}
    return {piece.key: Outcome() for piece in pieces} | {
        pieces[int(row[0] or 0)].key: Outcome(tuple(row[1:])) for row in answer.rows
    }


def rows(server: PostgresServer, database: str, sql: str, *, seconds: float) -> list[Row]:
    """The rows of one of our own questions about a database."""
    return server.psql(database, sql, seconds=seconds, settings=reading(server))
