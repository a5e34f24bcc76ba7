"""What a client of the server wrote, taken apart again: read as hostile text, since names and values are the dump's."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from restore_drill.engines.mysql.server import MysqlServer

#: Seconds that the client gets beyond what its statements may take.
_GRACE: Final = 15.0
#: What batch mode writes for characters that would end a value or a line.
_ESCAPES: Final[Mapping[str, str]] = {"\\t": "\t", "\\n": "\n", "\\0": "\0", "\\\\": "\\"}
_ESCAPE: Final = re.compile(r"\\[tn0\\]")
_ERROR: Final = re.compile(r"^ERROR (?:(\d+) \(([0-9A-Z]{5})\) )?at line (\d+)[^:\n]*: (.*)$", re.M)
_LOST: Final = re.compile(r"^ERROR (\d+) \(([0-9A-Z]{5})\): (.*)$", re.M)
#: ER_STATEMENT_TIMEOUT of MariaDB, and of MySQL; ER_QUERY_INTERRUPTED.
LATE: Final = frozenset({1969, 3024, 1317})


#: Asks how many seconds the session has left.
LEFT: Final = "SELECT @until - UNIX_TIMESTAMP(SYSDATE(6))"


@dataclass(frozen=True, slots=True)
class Problem:
    """What the server said against a statement; the message may hold values of rows.

    Attributes:
        number: The server's number of the error, 0 where it is the client's own.
        line: Of the input.
    """

    number: int
    line: int
    message: str

    @property
    def late(self) -> bool:
        """Whether time ran out."""
        return self.number in LATE


@dataclass(slots=True)
class Answer:
    """What became of one statement: its rows as texts, or what was said against it."""

    rows: list[list[str]] = field(default_factory=list)
    problem: Problem | None = None


def problems(stderr: bytes) -> list[Problem]:
    """Every error that a client reported."""
    text = stderr.decode(errors="replace")
    found = [Problem(int(number or 0), int(line), message) for number, _, line, message in _ERROR.findall(text)]
    return found or [Problem(int(number), 0, message) for number, _, message in _LOST.findall(text)]


class Session:
    """One execution of the client that asks several statements, under way."""

    def __init__(
        self, server: MysqlServer, statements: Sequence[str], *, seconds: float, account: str, database: str
    ) -> None:
        self._token = secrets.token_hex(8)
        self._count = len(statements)
        #: The line on which each statement's text begins.
        self._lines: list[int] = []
        line, text = 1, []
        for number, statement in enumerate(statements):
            self._lines.append(line)
            whole = f"SELECT '{self._token}{number}'; {_limited(server.family)}; {statement};\n"
            line += whole.count("\n")
            text.append(whole)
        start = f"SET @until = UNIX_TIMESTAMP(SYSDATE(6)) + {seconds:.3f}"
        options = ["--batch", "--skip-column-names", "--force", "--quick", "--binary-mode", f"--init-command={start}"]
        argv = server.client(account, *options, *([f"--database={database}"] if database else []))
        self._running = server.begin(argv, seconds=seconds + _GRACE, stdin="".join(text).encode())

    def answers(self) -> list[Answer]:
        """Wait for all of them; a statement of which nothing is heard has a problem of its own."""
        done = self._running.result()
        answers = [Answer(problem=Problem(0, 0, "no answer")) for _ in range(self._count)]
        current: Answer | None = None
        for line in done.stdout.decode(errors="replace").split("\n")[:-1]:
            if line.startswith(self._token) and line[len(self._token) :].isdecimal():
                current = answers[int(line[len(self._token) :])]
                current.problem = None
            elif current is not None:
                current.rows.append([_ESCAPE.sub(lambda each: _ESCAPES[each[0]], value) for value in line.split("\t")])
        found = problems(done.stderr)
        for problem in found:
            place = max((number for number, line in enumerate(self._lines) if line <= problem.line), default=-1)
            if place >= 0:
                answers[place].problem = problem
        if done.returncode and not any(problem.line for problem in found):
            said = found[0] if found else Problem(0, 0, "the client ended")
            for answer in answers:
                answer.problem = answer.problem and said
        return answers


def _limited(family: str) -> str:
    """Bounds the next statement by what is left of the session's time."""
    left = "@until - UNIX_TIMESTAMP(SYSDATE(6))"
    if family == "mariadb":
        return f"SET SESSION max_statement_time = GREATEST(0.01, {left})"
    return f"SET SESSION max_execution_time = GREATEST(1, FLOOR(1000 * ({left})))"
